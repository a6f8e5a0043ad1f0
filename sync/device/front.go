package device

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// Server serves the connections of HTTP. It answers plain posts itself (talk.go), as the handler
// says, with one read and one write for each. A connection that brings anything else is handed to
// net/http at the boundary in front of that request, with every byte that has come of it, and stays
// there. So each request has one parser.
//
// The zero Server serves nothing. Its methods may be called from any goroutine.
type Server struct {
	inner   http.Server
	handler http.Handler

	closing atomic.Bool // no request is begun any more
	mu      sync.Mutex
	talks   map[*talk]struct{}
	left    chan struct{} // closed when closing and talks is empty; nil: nobody waits
}

// NewServer returns a server for handler with every limit of HTTP connections set. It must serve
// connections of Doors.Listen: the limits of bodies apply to those only, and their slots follow
// what the requests do. log gets what the server itself reports. Of a plain post the handler sees
// the path, the address, Host, Content-Type and Content-Length; it must not keep the request, nor
// its header, when it returns.
func NewServer(handler http.Handler, log *slog.Logger) *Server {
	return &Server{
		handler: handler,
		talks:   make(map[*talk]struct{}),
		inner: http.Server{
			Handler:           arrivals{handler},
			ReadHeaderTimeout: headerLimit,
			ReadTimeout:       bodyLimit,
			WriteTimeout:      bodyLimit + answerLimit, // counts from the end of the headers
			IdleTimeout:       restLimit,
			MaxHeaderBytes:    maxHeader,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
			ConnContext: func(ctx context.Context, c net.Conn) context.Context {
				if p := slotOf(c); p != nil {
					ctx = context.WithValue(ctx, slotKey{}, p)
				}
				return ctx
			},
			ConnState: func(c net.Conn, state http.ConnState) {
				p := slotOf(c)
				switch {
				case p == nil:
				case state == http.StateActive:
					p.become(arriving, false)
				case state == http.StateIdle:
					p.become(idle, false)
				}
			},
		},
	}
}

// slotOf is the slot of a connection that was handed over, nil if it has none.
func slotOf(c net.Conn) *slot {
	if h, ok := c.(*handed); ok {
		c = h.Conn
	}
	p, _ := c.(*slot)
	return p
}

// handed is a connection that was handed over, with what had been read of it. Where that was in the
// middle of a head, net/http begins the time for the head anew: it has 20 s at most.
type handed struct {
	net.Conn
	before []byte
	failed error // what reading came to behind that; nil: it goes on
}

// Read implements net.Conn.
func (h *handed) Read(b []byte) (int, error) {
	switch {
	case len(h.before) > 0:
		n := copy(b, h.before)
		h.before = h.before[n:]
		return n, nil
	case h.failed != nil:
		return 0, h.failed
	}
	h.before = nil
	return h.Conn.Read(b)
}

// front is a listener for net/http: it yields what is handed over, and the errors of the listener
// behind it, with which net/http knows how to deal.
type front struct {
	net.Listener
	server *Server
	passed chan net.Conn
	failed chan error
	done   chan struct{} // closed when net/http accepts no more
}

// Accept implements net.Listener.
func (f *front) Accept() (net.Conn, error) {
	select {
	case c := <-f.passed:
		return c, nil
	case err := <-f.failed:
		return nil, err
	}
}

// pass hands a connection over; it returns false when net/http accepts no more.
func (f *front) pass(c net.Conn) bool {
	select {
	case f.passed <- c:
		return true
	case <-f.done:
		return false
	}
}

// accept begins a talk over each new connection.
func (f *front) accept() {
	for {
		c, err := f.Listener.Accept()
		if err == nil {
			go f.talk(c)
			continue
		}
		select {
		case f.failed <- err:
		case <-f.done:
			return
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// Serve serves the connections of l until Shutdown or Close, and returns http.ErrServerClosed then,
// or an error of l that does not pass. It may be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	f := &front{
		Listener: l, server: s,
		passed: make(chan net.Conn), failed: make(chan error), done: make(chan struct{}),
	}
	defer close(f.done)
	go f.accept()
	return s.inner.Serve(f)
}

// enter notes a talk; it returns false when none is to begin.
func (s *Server) enter(t *talk) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Load() {
		return false
	}
	s.talks[t] = struct{}{}
	return true
}

// leave ends what enter began.
func (s *Server) leave(t *talk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.talks, t)
	if s.left != nil && len(s.talks) == 0 {
		close(s.left)
		s.left = nil
	}
}

// end lets no request begin any more, and closes the connections whose requests are not being
// answered, or all. The channel is closed when none is left.
func (s *Server) end(all bool) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing.Store(true)
	for t := range s.talks {
		if t.state.CompareAndSwap(waits, ended) || all {
			_ = t.conn.Close()
		}
	}
	if s.left == nil {
		s.left = make(chan struct{})
	}
	left := s.left
	if len(s.talks) == 0 {
		close(s.left)
		s.left = nil
	}
	return left
}

// Shutdown closes the listeners and the idle connections, and waits until the requests that run are
// answered. It returns the error of ctx if that ends first.
func (s *Server) Shutdown(ctx context.Context) error {
	left := s.end(false)
	if err := s.inner.Shutdown(ctx); err != nil {
		return err
	}
	select {
	case <-left:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close closes the listeners and all connections.
func (s *Server) Close() error {
	s.end(true)
	return s.inner.Close()
}
