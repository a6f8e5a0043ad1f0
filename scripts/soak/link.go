//go:build linux

package main

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link is the network between the agent and the cloud: a proxy with faults, which may be switched
// at any time. Safe for concurrent use.
type link struct {
	listener net.Listener
	target   atomic.Pointer[string] // host:port of the cloud, which changes when the cloud is restarted
	closed   chan struct{}          // by close

	mu     sync.Mutex
	conns  map[net.Conn]*pair
	refuse bool          // new connections end at once
	hole   bool          // new connections lose everything
	rate   int           // bytes a second each way; 0 = as they come
	delay  time.Duration // of each piece of at most linkPiece bytes
}

// pair is a connection of the agent and the one to the cloud that belongs to it.
type pair struct {
	hole atomic.Bool // everything is lost from now on, the ends too
}

// linkPiece is how much a slow link passes at a time, in bytes.
const linkPiece = 1024

func newLink(target string) (*link, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{listener: lis, conns: map[net.Conn]*pair{}, closed: make(chan struct{})}
	l.target.Store(&target)
	go l.accept()
	return l, nil
}

func (l *link) address() string { return l.listener.Addr().String() }

func (l *link) accept() {
	for {
		agent, err := l.listener.Accept()
		if err != nil {
			return // closed
		}
		go l.join(agent)
	}
}

func (l *link) join(agent net.Conn) {
	l.mu.Lock()
	refuse, hole := l.refuse, l.hole
	l.mu.Unlock()
	if refuse {
		agent.Close()
		return
	}
	if hole { // the cloud hears nothing of it
		p := &pair{}
		p.hole.Store(true)
		l.note(p, agent)
		l.pass(nil, agent, p)
		return
	}
	cloud, err := net.Dial("tcp", *l.target.Load())
	if err != nil {
		agent.Close()
		return
	}
	p := &pair{}
	l.note(p, agent, cloud)
	go l.pass(cloud, agent, p)
	l.pass(agent, cloud, p)
}

// note lets the faults to come reach connections, and those that began meanwhile too.
func (l *link) note(p *pair, conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		l.conns[c] = p
		if l.refuse {
			c.Close()
		}
	}
	if l.hole {
		p.hole.Store(true)
	}
}

// pass copies until one side ends, then ends both. In a hole the other side, of which there may be
// none, hears nothing of the end.
func (l *link) pass(to, from net.Conn, p *pair) {
	defer func() {
		from.Close()
		if !p.hole.Load() {
			to.Close()
		}
		l.mu.Lock()
		delete(l.conns, from)
		l.mu.Unlock()
	}()
	buf := make([]byte, 32<<10)
	for {
		l.mu.Lock()
		rate, delay := l.rate, l.delay
		l.mu.Unlock()
		b := buf
		if rate > 0 {
			b = buf[:linkPiece]
		}
		n, err := from.Read(b)
		if rate > 0 && n > 0 {
			t := time.NewTimer(delay + time.Second*time.Duration(n)/time.Duration(rate))
			select {
			case <-t.C:
			case <-l.closed:
				t.Stop()
				return
			}
		}
		if n > 0 && !p.hole.Load() {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut ends all connections, and new ones at once, until it is switched off.
func (l *link) cut(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = on
	if on {
		for c := range l.conns {
			c.Close()
		}
	}
}

// swallow loses everything that is sent over the connections that there are, for good, and over new
// ones until it is switched off: nobody hears of it.
func (l *link) swallow(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hole = on
	if on {
		for _, p := range l.conns {
			p.hole.Store(true)
		}
	}
}

// slow limits the bytes a second each way and delays each piece; 0 and 0 end that.
func (l *link) slow(rate int, delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate, l.delay = rate, delay
}

func (l *link) close() {
	l.listener.Close()
	close(l.closed)
	l.cut(true)
}
