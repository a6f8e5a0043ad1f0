package rig

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/test/bufconn"
)

// Link is the network between one agent and its cloud, in memory, so that both run under a fake
// clock. The cloud serves it as a net.Listener; the agent dials it. The faults may be switched at
// any time. Safe for concurrent use.
type Link struct {
	*bufconn.Listener
	// Refuse makes dials fail at once.
	Refuse atomic.Bool
	// Hole makes dials wait until their context ends.
	Hole atomic.Bool
	// Swallow loses what the agent writes, as behind a NAT entry that is gone: no reset, no error.
	Swallow atomic.Bool

	last atomic.Pointer[conn] // dialled last
	mu   sync.Mutex           // guards Listener for Dial
}

// NewLink returns a link without faults.
func NewLink() *Link { return &Link{Listener: bufconn.Listen(1 << 20)} }

// Renew lets a cloud serve the link again that was stopped, and so has closed it.
func (l *Link) Renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Listener = bufconn.Listen(1 << 20)
}

// Dial connects the agent to the cloud, whatever the address.
func (l *Link) Dial(ctx context.Context, _ string) (net.Conn, error) {
	if l.Refuse.Load() {
		return nil, &net.OpError{Op: "dial", Err: io.ErrClosedPipe}
	}
	if l.Hole.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	l.mu.Lock()
	listener := l.Listener
	l.mu.Unlock()
	c, err := listener.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	n := &conn{Conn: c, link: l, closed: make(chan struct{})}
	l.last.Store(n)
	return n, nil
}

// Hang loses what the agent writes on the last connection, even its end: the cloud notices nothing,
// as when the power of the agent's machine fails.
func (l *Link) Hang() { l.last.Load().mute.Store(true) }

// Freeze is Hang that also holds back what comes down: nothing passes either way.
func (l *Link) Freeze() {
	l.last.Load().frozen.Store(true)
	l.Hang()
}

// conn is the agent's end of a connection.
type conn struct {
	net.Conn
	link         *Link
	mute, frozen atomic.Bool
	closed       chan struct{}
	once         sync.Once
}

func (c *conn) Write(b []byte) (int, error) {
	if c.mute.Load() || c.link.Swallow.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.frozen.Load() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	if c.mute.Load() {
		return c.SetReadDeadline(time.Now()) // ends the agent's reads; the cloud's end stays open
	}
	return c.Conn.Close()
}
