package device

import (
	"crypto/tls"
	"io"
	"net/http"
	"sync"
	"time"
)

// Limits on HTTP connections. All times leave room for a long poll of 30 s (API.md 2).
const (
	headerLimit = 10 * time.Second // for the headers
	bodyGrace   = 15 * time.Second // for the body, and one second more for each bodyRate bytes
	bodyRate    = 1 << 10          // bytes of the body that have come
	bodyLimit   = 60 * time.Second // for the whole request up to wholeBody: 17 KiB/s
	steadyRate  = 16 << 10         // bytes beyond that take one second more for each so many
	answerLimit = 60 * time.Second // for the answer
	restLimit   = 90 * time.Second // between two requests of a connection
	maxHeader   = 16 << 10         // bytes of headers
)

// WebTLSConfig is the configuration of a TLS listener for HTTP; get returns the certificate of a
// new connection. The server speaks HTTP/1.1, which is what devices speak.
func WebTLSConfig(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{GetCertificate: get, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
}

type slotKey struct{}

// Secure reports whether a request to a server of Doors.ListenWeb came over TLS.
func Secure(r *http.Request) bool {
	p, _ := r.Context().Value(slotKey{}).(*slot)
	if p == nil {
		return false
	}
	w, _ := p.Conn.(*webConn)
	if w == nil {
		return false
	}
	_, ok := w.Conn.(*tls.Conn)
	return ok
}

// arrivals notes on the slot of a connection when its request has come whole, and cuts bodies off
// that come too slowly.
type arrivals struct{ http.Handler }

// ServeHTTP implements http.Handler.
func (u arrivals) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, _ := r.Context().Value(slotKey{}).(*slot)
	switch {
	case p == nil:
	case r.Body == http.NoBody:
		p.become(served, false)
	default:
		b := &arrival{ReadCloser: r.Body, slot: p, begun: time.Now()}
		b.extend()
		r.Body = b
	}
	u.Handler.ServeHTTP(w, r)
}

// arrival is a body that is being received. Its methods but Read and Close may be called on nil.
// The handlers of other packages use Stood and Cut too.
type arrival struct {
	io.ReadCloser
	slot  *slot
	whole bool

	mu      sync.Mutex // guards what follows
	begun   time.Time
	bytes   int64
	refused bool // nothing more is to be read
}

// Read implements io.Reader. When the body has come whole, its sender has done all that it must.
func (a *arrival) Read(b []byte) (int, error) {
	n, err := a.ReadCloser.Read(b)
	a.mu.Lock()
	a.bytes += int64(n)
	a.mu.Unlock()
	if a.whole {
		return n, err
	}
	if a.whole = err == io.EOF; !a.whole {
		a.extend()
		return n, err
	}
	// From here on, reading is only to learn that the device has left.
	_ = a.slot.SetReadDeadline(time.Now().Add(answerLimit))
	a.slot.become(served, false)
	return n, err
}

// extend sets the deadline of the body, which grows with the bytes that have come.
func (a *arrival) extend() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused {
		return
	}
	limit, most := bodyGrace+time.Duration(a.bytes)*time.Second/bodyRate, bodyLimit
	if more := a.bytes - wholeBody; more > 0 {
		most += time.Duration(more) * time.Second / steadyRate
		_ = a.slot.SetWriteDeadline(a.begun.Add(most + answerLimit)) // the server's own is for less
	}
	_ = a.slot.SetReadDeadline(a.begun.Add(min(limit, most)))
}

// Stood notes that the body was not read for a time because of us, which does not count against its
// sender.
func (a *arrival) Stood(d time.Duration) {
	if a == nil || d == 0 {
		return
	}
	a.mu.Lock()
	a.begun = a.begun.Add(d)
	a.mu.Unlock()
	a.extend()
}

// Cut ends reading. Any goroutine may call it.
func (a *arrival) Cut() {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused = true
	_ = a.slot.SetReadDeadline(time.Unix(1, 0))
}
