package device

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Limits of time on HTTP. Long polls end after 30 s (device API 2).
const (
	headerLimit = 10 * time.Second // for the headers
	bodyGrace   = 15 * time.Second // for the body, and for each bodyRate bytes of it that come a second more
	bodyRate    = 1 << 10          // bytes
	bodyLimit   = 60 * time.Second // for the whole request: 17 KiB/s for the largest body
	answerLimit = 60 * time.Second // for the answer
	restLimit   = 90 * time.Second // between two requests of a connection
	maxHeader   = 16 << 10         // bytes of headers
)

// NewServer returns a server for handler with every limit set, above. Serve it connections of Doors.Listen: to them the limits of bodies apply, and it
// tells which of them are being served.
// log gets what the server itself has to say.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           usher{handler},
		ReadHeaderTimeout: headerLimit,
		ReadTimeout:       bodyLimit,
		WriteTimeout:      bodyLimit + answerLimit, // counts from the end of the headers
		IdleTimeout:       restLimit,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if p, ok := c.(*place); ok {
				ctx = context.WithValue(ctx, placeKey{}, p)
			}
			return ctx
		},
		ConnState: func(c net.Conn, state http.ConnState) {
			p, ok := c.(*place)
			switch {
			case !ok:
			case state == http.StateActive:
				p.become(arriving, false)
			case state == http.StateIdle:
				p.become(idle, false)
			}
		},
	}
}

type placeKey struct{}

// usher tells the places when a request has come as a whole, and cuts off who dribbles.
type usher struct{ http.Handler }

// ServeHTTP implements http.Handler.
func (u usher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, _ := r.Context().Value(placeKey{}).(*place)
	switch {
	case p == nil:
	case r.Body == http.NoBody:
		p.become(served, false)
	default:
		b := &arrival{ReadCloser: r.Body, place: p, begun: time.Now()}
		b.extend()
		r.Body = b
	}
	u.Handler.ServeHTTP(w, r)
}

// arrival is a body on its way.
type arrival struct {
	io.ReadCloser
	place *place
	begun time.Time
	bytes int64
	whole bool
}

// Read implements io.Reader. When the body has come as a whole its sender has done all that it must.
func (a *arrival) Read(b []byte) (int, error) {
	n, err := a.ReadCloser.Read(b)
	if a.bytes += int64(n); a.whole {
		return n, err
	}
	if a.whole = err == io.EOF; !a.whole {
		a.extend()
		return n, err
	}
	_ = a.place.SetReadDeadline(time.Now().Add(answerLimit)) // from here on reading only tells that the device has left
	a.place.become(served, false)
	return n, err
}

// extend gives the body time in proportion to what of it has come.
func (a *arrival) extend() {
	limit := bodyGrace + time.Duration(a.bytes)*time.Second/bodyRate
	_ = a.place.SetReadDeadline(a.begun.Add(min(limit, bodyLimit)))
}
