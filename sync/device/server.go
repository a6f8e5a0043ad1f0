package device

import (
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// MaxConnections is how many HTTP connections are served at a time; further ones wait to be accepted.
const MaxConnections = 1024

// NewServer returns a server for handler with every limit set: 10 s for the headers and 60 s for the whole request (a device on a slow
// link needs 17 KiB/s for the largest body), 60 s for the answer (long polls end after 30 s, device API 2), 90 s between
// requests of a connection, 16 KiB of headers. log gets what the server itself has to say.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		WriteTimeout:      120 * time.Second, // counts from the end of the headers: 60 s for the body, 60 s for the answer
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// LimitListener lets at most n connections of l be open at a time. Accept waits while there are so many.
func LimitListener(l net.Listener, n int) net.Listener {
	return &limitListener{Listener: l, free: make(chan struct{}, n), closed: make(chan struct{})}
}

type limitListener struct {
	net.Listener
	free   chan struct{} // holds a token for each open connection
	closed chan struct{}
	once   sync.Once
}

// Accept implements net.Listener.
func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &limitedConn{Conn: c, release: sync.OnceFunc(func() { <-l.free })}, nil
}

// Close implements net.Listener. It also ends an Accept that waits for a place.
func (l *limitListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type limitedConn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
