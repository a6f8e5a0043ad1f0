package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// RoutingKey and Secret are the credentials of the one edge of the cloud in a box.
const (
	RoutingKey = "demo-key"
	Secret     = "demo-secret"
)

// maxAnswer bounds an answer of the control port, in bytes; 9,000 rows of a series take less than 1
// MB.
const maxAnswer = 64 << 20

// Cloud is a running cloud in a box. Safe for concurrent use.
type Cloud struct {
	*process
	GRPC    string // host:port for the agent
	control string
}

// Device is a device of the cloud, as the control port lists it.
type Device struct {
	Name  string `json:"name"`
	ID    string `json:"id"`
	Token string `json:"token"`
}

// Row is one stored row of a time series; Writes is 1 + the number of duplicates.
type Row struct {
	TS     int64           `json:"ts"`
	Value  json.RawMessage `json:"value"`
	Writes int             `json:"writes"`
}

// Stats are the counters of the cloud since its start.
type Stats struct {
	Uplinks    uint64 `json:"uplinks"`
	Events     uint64 `json:"events"`
	WireBytes  uint64 `json:"wire_bytes"`
	Points     uint64 `json:"points"`
	Duplicates uint64 `json:"duplicates"`
	Dropped    uint64 `json:"dropped"`

	PendingDownlinks int `json:"pending_downlinks"` // events that wait for edges

	Accepted       uint64 `json:"accepted"`        // connects
	Refused        uint64 `json:"refused"`         // connects
	SyncsCompleted uint64 `json:"syncs_completed"` // acknowledged to the end
	Connected      int    `json:"edges_connected"` // now
}

// Second says how many connections came in during a second, those too that the cloud closed at once
// because it was away.
type Second struct {
	At    int64 `json:"at"` // since the epoch
	Count int   `json:"count"`
}

// StartCloud starts the cloud in a box with that many devices and waits until it listens. With
// "--edges N" in extra they are devices of each edge.
func StartCloud(ctx context.Context, bin, logPath string, devices int, extra ...string) (*Cloud, error) {
	args := append([]string{
		"--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--devices", strconv.Itoa(devices),
		"--routing-key", RoutingKey, "--secret", Secret, "--quiet",
	}, extra...)
	first := &firstLine{got: make(chan string, 1)}
	p, err := start(ctx, "the cloud in a box", logPath, first, bin, args...)
	if err != nil {
		return nil, err
	}
	c := &Cloud{process: p}
	select {
	case line := <-first.got:
		if c.GRPC, c.control, err = parseListening(line); err != nil {
			p.Kill()
			return nil, err
		}
		return c, nil
	case <-p.Done():
		return nil, p.died()
	case <-time.After(StartLimit):
		p.Kill()
		return nil, fmt.Errorf("the cloud in a box did not say where it listens within %v\n%s", StartLimit, Tail(logPath, 10))
	}
}

// parseListening reads `listening grpc=ADDR control=ADDR`.
func parseListening(line string) (grpc, control string, err error) {
	for _, f := range strings.Fields(line) {
		switch k, v, _ := strings.Cut(f, "="); k {
		case "grpc":
			grpc = v
		case "control":
			control = v
		}
	}
	if grpc == "" || control == "" {
		return "", "", fmt.Errorf("the cloud in a box said %q instead of `listening grpc=ADDR control=ADDR`", line)
	}
	return grpc, control, nil
}

// firstLine sends the first line that begins with "listening" to a channel and discards all others.
type firstLine struct {
	mu   sync.Mutex
	buf  []byte
	got  chan string
	done bool
}

func (f *firstLine) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done {
		return len(b), nil
	}
	f.buf = append(f.buf, b...)
	for {
		line, rest, ok := bytes.Cut(f.buf, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		if bytes.HasPrefix(line, []byte("listening")) {
			f.done = true
			f.got <- string(line)
			f.buf = nil
			return len(b), nil
		}
		f.buf = rest
	}
}

var controlClient = &http.Client{Timeout: 30 * time.Second}

func (c *Cloud) get(ctx context.Context, path string, q url.Values, v any) error {
	u := "http://" + c.control + path
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	body, err := answer(req)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("control port %s: %w", path, err)
	}
	return nil
}

func answer(req *http.Request) ([]byte, error) {
	res, err := controlClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 != 2 {
		return nil, fmt.Errorf("control port %s: %s: %.200s", req.URL.Path, res.Status, body)
	}
	return body, nil
}

// Devices lists the devices with their tokens.
func (c *Cloud) Devices(ctx context.Context) ([]Device, error) {
	var d []Device
	err := c.get(ctx, "/devices", nil, &d)
	return d, err
}

// Stats returns the counters.
func (c *Cloud) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	err := c.get(ctx, "/stats", nil, &s)
	return s, err
}

// Attempts lists the seconds in which connections came in, of the last hour at least.
func (c *Cloud) Attempts(ctx context.Context) ([]Second, error) {
	var s []Second
	err := c.get(ctx, "/attempts", nil, &s)
	return s, err
}

// Series returns the rows of one key of a device, sorted by TS.
func (c *Cloud) Series(ctx context.Context, device, key string) ([]Row, error) {
	var r []Row
	err := c.get(ctx, "/series", url.Values{"device": {device}, "key": {key}}, &r)
	return r, err
}

// Arrivals returns the timestamps of one key of a device in the order in which they first arrived.
func (c *Cloud) Arrivals(ctx context.Context, device, key string) ([]int64, error) {
	var ts []int64
	err := c.get(ctx, "/arrivals", url.Values{"device": {device}, "key": {key}}, &ts)
	return ts, err
}

// Command runs a command line of scripts/cloud: "away 8s", "stall 5s", "dropacks 3", "kick".
func (c *Cloud) Command(ctx context.Context, line string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.control+"/command", strings.NewReader(line+"\n"))
	if err != nil {
		return err
	}
	_, err = answer(req)
	return err
}
