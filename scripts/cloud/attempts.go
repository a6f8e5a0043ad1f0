package main

import (
	"net"
	"sync"
	"time"
)

// maxSeconds bounds the seconds whose attempts are kept.
const maxSeconds = 3600

// attempts counts the connections that came in, for each second. The zero value has none. Safe for
// concurrent use.
type attempts struct {
	mu      sync.Mutex
	seconds []second // in which there were any, in their order, at most maxSeconds
}

// second is one element of GET /attempts.
type second struct {
	At    int64 `json:"at"` // since the epoch
	Count int   `json:"count"`
}

func (a *attempts) add(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := now.Unix()
	if n := len(a.seconds); n > 0 && a.seconds[n-1].At == at {
		a.seconds[n-1].Count++
		return
	} else if n == maxSeconds {
		a.seconds = append(a.seconds[:0], a.seconds[1:]...)
	}
	a.seconds = append(a.seconds, second{at, 1})
}

func (a *attempts) list() []second {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]second{}, a.seconds...)
}

// counted is a listener whose connections are counted, those too that the cloud closes at once
// because it is away.
type counted struct {
	net.Listener
	in *attempts
}

// Accept waits for a connection and counts it.
func (c *counted) Accept() (net.Conn, error) {
	n, err := c.Listener.Accept()
	if err == nil {
		c.in.add(time.Now())
	}
	return n, err
}
