package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// largestPost is how many readings a station puts into one array when it has fallen behind.
const largestPost = 200

// sender posts the readings of one station over HTTP at a steady pace and repeats each post until
// it is answered with 200. The goroutine of run owns everything but the counters.
type sender struct {
	station *Station
	token   string
	address *atomic.Pointer[string] // host:port of the agent's door; changes when the agent is started anew
	client  *http.Client

	acked   atomic.Int64 // readings answered with 200
	posts   atomic.Int64 // posts answered with 200
	repeats atomic.Int64 // posts that had to be repeated
}

// run sends all readings within about the given time, if the agent keeps up. An error means that
// the agent refused a post for good.
func (s *sender) run(ctx context.Context, over time.Duration) error {
	begin := time.Now()
	all := s.station.Readings
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var body []byte
	for next, post := 0, 0; next < len(all); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		due := min(len(all), int(int64(len(all))*int64(time.Since(begin))/int64(over)))
		if due <= next {
			continue
		}
		// Every other post is a single reading. The next one brings all readings that became due
		// meanwhile.
		n := 1
		body = body[:0]
		if post%2 == 1 && due-next > 1 {
			n = min(due-next, largestPost)
			body = append(body, '[')
			for i, r := range all[next : next+n] {
				if i > 0 {
					body = append(body, ',')
				}
				body = s.station.appendJSON(body, r)
			}
			body = append(body, ']')
		} else {
			body = s.station.appendJSON(body, all[next])
		}
		if err := s.deliver(ctx, body); err != nil {
			return err
		}
		next += n
		post++
		s.acked.Add(int64(n))
		s.posts.Add(1)
	}
	return nil
}

// deliver posts a body until it is accepted.
func (s *sender) deliver(ctx context.Context, body []byte) error {
	for {
		status, text, err := s.post(ctx, body)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && status == http.StatusOK:
			return nil
		case err == nil && status < 500:
			return fmt.Errorf("%s: the agent refused a post with %d %.200q", s.station.Name, status, text)
		}
		// No connection, a broken connection, or 503: it is unknown whether the readings were
		// accepted, so they are sent again.
		s.repeats.Add(1)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *sender) post(ctx context.Context, body []byte) (status int, text []byte, err error) {
	url := "http://" + *s.address.Load() + "/api/v1/" + s.token + "/telemetry"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	text, err = io.ReadAll(io.LimitReader(res.Body, 4096))
	return res.StatusCode, text, err
}
