//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// httpConnections is how many devices post over HTTP. Each keeps one connection and waits for each
// answer.
const httpConnections = 16

// http measures posts of one event over HTTP, which are answered once the event is on flash. The
// yardstick is a loop that writes one event and calls fdatasync, as a program does that serves one
// after the other: what the posts gain by it they gain by sharing.
func (s *site) http(ctx context.Context) error {
	a, tokens, err := s.startLoaded(ctx, "http", "")
	if err != nil {
		return err
	}
	defer a.Kill()
	l, stop, err := connect(ctx, server{a.HTTP, a.PID()}, tokens[:httpConnections], func(c net.Conn, token string) (poster, error) {
		return newHTTPPoster(c, a.HTTP, token), nil
	})
	if err != nil {
		return err
	}
	defer stop()
	// A short run shows how many bytes an event takes in the file.
	before, err := a.Status(ctx)
	if err != nil {
		return err
	}
	if _, _, err := l.run(); err != nil {
		return err
	}
	after, err := a.Status(ctx)
	if err != nil {
		return err
	}
	events := after.Accepted - before.Accepted
	if events == 0 {
		return errors.New("the agent counts no events after a second of posts")
	}
	raw, err := os.Create(filepath.Join(s.dir, "raw"))
	if err != nil {
		return err
	}
	defer raw.Close()
	one := make([]byte, (after.QueueBytes-before.QueueBytes)/int64(events))
	r, err := l.measure(func() (n int, _ time.Duration, err error) {
		for until := time.Now().Add(loadTime); time.Now().Before(until) && err == nil; n++ {
			if _, err = raw.Write(one); err == nil {
				err = syscall.Fdatasync(int(raw.Fd()))
			}
		}
		return n, 0, err
	})
	if err != nil {
		return err
	}
	if after, err = a.Status(ctx); err != nil {
		return err
	}
	together := float64(after.Accepted-before.Accepted) / float64(max(after.Commits-before.Commits, 1))
	s.t.add(line{
		what: fmt.Sprintf("HTTP posts/s, %d keep-alive connections", httpConnections), measured: r.perSecond, format: "%.0f",
		atLeast: true, bound: 3.3, onRatio: true, yardstick: r.otherPerSecond,
		of: fmt.Sprintf("by a loop of write+fdatasync of %d bytes (the queue's groups are of %.1f events)", len(one), together),
	})
	s.t.add(line{what: "  CPU of the agent per 1,000 of them, ms", measured: r.cpu, format: "%.2f", bound: 50})
	return nil
}

// httpPoster is one device with a connection that it keeps.
type httpPoster struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
}

func newHTTPPoster(c net.Conn, address, token string) *httpPoster {
	request := fmt.Sprintf("POST /api/v1/%s/telemetry HTTP/1.1\r\nHost: %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		token, address, len(oneEvent), oneEvent)
	return &httpPoster{c, bufio.NewReaderSize(c, 4<<10), []byte(request)}
}

// postUntil posts one event after another. It reads answers by hand, because an HTTP client would
// take more of the machine than the agent takes.
func (p *httpPoster) postUntil(until time.Time) (n int, err error) {
	for ; time.Now().Before(until); n++ {
		if _, err := p.conn.Write(p.request); err != nil {
			return n, err
		}
		status, empty := "", false
		for {
			l, err := p.in.ReadSlice('\n')
			if err != nil {
				return n, err
			}
			text := strings.TrimRight(string(l), "\r\n")
			if text == "" {
				break
			}
			if status == "" {
				status = text
			}
			empty = empty || strings.EqualFold(text, "Content-Length: 0")
		}
		if status != "HTTP/1.1 200 OK" || !empty {
			return n, fmt.Errorf("the agent answered a post with %q, or with a body", status)
		}
	}
	return n, nil
}
