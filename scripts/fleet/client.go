package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// edge is what a gateway must know of an edge of the server.
type edge struct {
	Name, ID, Key, Secret string
	Made                  bool // it was not there before
}

// client is a user of a ThingsBoard. One goroutine uses it.
type client struct {
	base, user, password string
	http                 http.Client
	token                string
	// wait is called between tries; tests replace it.
	wait func(context.Context, time.Duration) error
}

// maxAnswer bounds an answer of the server, in bytes.
const maxAnswer = 1 << 20

// tries is how often a request is sent that the server is too busy for.
const tries = 6

// answerError is an answer other than 200.
type answerError struct {
	status int
	text   string
}

func (e *answerError) Error() string {
	return "the server answers " + strconv.Itoa(e.status) + " " + http.StatusText(e.status) + ": " + e.text
}

func newClient(base, user, password string) (*client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("the server must be an address such as https://thingsboard.example.org")
	}
	c := &client{base: strings.TrimRight(base, "/"), user: user, password: password}
	c.http.Timeout = 30 * time.Second
	c.wait = func(ctx context.Context, d time.Duration) error {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return c, nil
}

// send sends a request and decodes the answer. A server that limits rates, or restarts, is asked
// again; a token that has ended is renewed.
func (c *client) send(ctx context.Context, method, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	pause := time.Second
	for try := 1; ; try++ {
		err = c.once(ctx, method, path, text, answer)
		var ae *answerError
		busy, ended := false, false
		if errors.As(err, &ae) {
			busy = ae.status == http.StatusTooManyRequests || ae.status >= 502
			ended = ae.status == http.StatusUnauthorized && path != loginPath
		}
		switch {
		case err == nil, !busy && !ended, try == tries:
			return err
		case ended:
			if err := c.login(ctx); err != nil {
				return err
			}
			continue
		}
		if err := c.wait(ctx, pause); err != nil {
			return err
		}
		pause *= 2
	}
}

func (c *client) once(ctx context.Context, method, path string, body []byte, answer any) error {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if c.token != "" && path != loginPath {
		r.Header.Set("X-Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		var said struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(data, &said) != nil || said.Message == "" {
			said.Message = "no reason is given"
		}
		return &answerError{res.StatusCode, strconv.Quote(said.Message)}
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return errors.New("the server answers with something that is not ThingsBoard's JSON; is this its web address?")
	}
	return nil
}

const loginPath = "/api/auth/login"

func (c *client) login(ctx context.Context) error {
	var answer struct {
		Token string `json:"token"`
	}
	err := c.send(ctx, http.MethodPost, loginPath, map[string]string{"username": c.user, "password": c.password}, &answer)
	if err == nil && answer.Token == "" {
		err = errors.New("the server gives no token; is this its web address?")
	}
	if err != nil {
		return fmt.Errorf("log in as %s: %w", strconv.Quote(c.user), err)
	}
	c.token = answer.Token
	return nil
}

// edgeJSON is an edge as the server sends it, as far as it matters.
type edgeJSON struct {
	ID struct {
		ID string `json:"id"`
	} `json:"id"`
	Name       string `json:"name"`
	RoutingKey string `json:"routingKey"`
	Secret     string `json:"secret"`
}

// ensure is the edge of a name: the one that is there, or a new one.
func (c *client) ensure(ctx context.Context, name, kind string) (edge, error) {
	var got edgeJSON
	err := c.send(ctx, http.MethodGet, "/api/tenant/edges?edgeName="+url.QueryEscape(name), nil, &got)
	var ae *answerError
	made := false
	if errors.As(err, &ae) && ae.status == http.StatusNotFound {
		made = true
		// The server wants both from who makes an edge; its own pages make them so, too.
		err = c.send(ctx, http.MethodPost, "/api/edge", map[string]string{
			"name": name, "type": kind, "routingKey": uuid(), "secret": secret(),
		}, &got)
	}
	if err == nil && (got.RoutingKey == "" || got.Secret == "" || got.Name != name) {
		err = errors.New("the answer holds no key and secret; a tenant administrator is needed")
	}
	if err != nil {
		return edge{}, fmt.Errorf("the edge %s: %w", strconv.Quote(name), err)
	}
	return edge{name, got.ID.ID, got.RoutingKey, got.Secret, made}, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

func uuid() string {
	b := random(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func secret() string { return hex.EncodeToString(random(10)) }
