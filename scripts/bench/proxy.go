//go:build linux

package main

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// proxy passes TCP connections on and counts their bytes.
type proxy struct {
	listener net.Listener
	target   string
	up, down atomic.Int64 // from the agent, to the agent

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, target: target, conns: map[net.Conn]struct{}{}}
	go p.accept()
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return // the listener is closed
		}
		to, err := net.Dial("tcp", p.target)
		if err != nil {
			from.Close()
			continue
		}
		p.mu.Lock()
		p.conns[from], p.conns[to] = struct{}{}, struct{}{}
		p.mu.Unlock()
		go p.pass(to, from, &p.up)
		go p.pass(from, to, &p.down)
	}
}

// pass copies until either side ends, then ends both.
func (p *proxy) pass(to, from net.Conn, count *atomic.Int64) {
	_, _ = io.Copy(counter{to, count}, from)
	to.Close()
	from.Close()
	p.mu.Lock()
	delete(p.conns, to)
	delete(p.conns, from)
	p.mu.Unlock()
}

type counter struct {
	to    io.Writer
	count *atomic.Int64
}

// Write counts before it writes: who sees what came of the bytes finds them counted.
func (c counter) Write(b []byte) (int, error) {
	c.count.Add(int64(len(b)))
	n, err := c.to.Write(b)
	c.count.Add(int64(n - len(b)))
	return n, err
}

func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}
