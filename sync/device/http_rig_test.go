package device

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// fakeIntake keeps the fragments that it accepted.
type fakeIntake struct {
	mu    sync.Mutex
	calls int
	got   []string // fragments
	err   error
	hold  chan struct{} // if not nil, Accept waits for it or the context

	waiting atomic.Int64 // calls that wait for hold
}

func (f *fakeIntake) Accept(ctx context.Context, events []proto.Event) error {
	if f.hold != nil {
		f.waiting.Add(1)
		select {
		case <-f.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.err != nil {
		return f.err
	}
	for _, e := range events {
		f.got = append(f.got, string(e.Fragment))
	}
	return nil
}

func (f *fakeIntake) count() (calls, events int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls, len(f.got)
}

// nullIntake accepts everything and keeps nothing.
type nullIntake struct{}

func (nullIntake) Accept(context.Context, []proto.Event) error { return nil }

// keepingIntake refuses events and goes on reading them, as an intake may after its context ended.
type keepingIntake struct{ kept, copies [][]byte }

func (k *keepingIntake) Accept(_ context.Context, events []proto.Event) error {
	for _, e := range events {
		k.kept, k.copies = append(k.kept, e.Fragment), append(k.copies, bytes.Clone(e.Fragment))
	}
	return errors.New("not now")
}

// waiting is an intake whose Submit waits as Accept does.
type waiting struct{ Intake }

func (i waiting) Submit(ctx context.Context, events []proto.Event, done func(error)) error {
	done(i.Accept(ctx, events))
	return nil
}

const goodToken = "A1B2C3D4E5F6G7H8I9J0"

// telemetryPost is a request of the thermometer that brings telemetry.
func telemetryPost(body io.Reader) *http.Request {
	return httptest.NewRequest("POST", "/api/v1/"+goodToken+"/telemetry", body)
}

// wantsCreation is a provisioning request to the profile "create", with more members.
func wantsCreation(members string) string {
	return `{"provisionDeviceKey":"key of create","provisionDeviceSecret":"secret of create"` + members + `}`
}

// creates adds the profile "create", whose devices are made when they ask for credentials.
func (s *stand) creates() {
	id := proto.UUID{0xf1}
	s.book.profiles[id] = registry.Profile{ID: id, Name: "create", Provisioning: "ALLOW_CREATE_NEW_DEVICES"}
}

// thermometerID is the device of goodToken.
var thermometerID = proto.UUID{0x78, 0x4f, 0x39, 0x4c}

// newTestDoor returns an HTTP door at which only the thermometer is known.
func newTestDoor(intake Intake, maxBody int64) *HTTP {
	book := &book{tokens: map[string]registry.Device{goodToken: {ID: thermometerID, Name: "thermometer"}}}
	return NewHTTP(NewDoors(Ports{
		Intake: waiting{intake}, Lookups: book, Packages: book, Calls: &switchboard{}, Creations: book,
		Log: slog.New(slog.DiscardHandler),
	}), maxBody)
}

// countingReader counts what is read from r.
type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += n
	return n, err
}

// pipeListener hands out in-memory connections, so that the clock can be fake.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipeListener) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// discardWriter is a ResponseWriter that costs nothing.
type discardWriter struct {
	head   http.Header
	status int
}

func (d *discardWriter) Header() http.Header         { return d.head }
func (d *discardWriter) Write(b []byte) (int, error) { return len(b), nil }
func (d *discardWriter) WriteHeader(status int)      { d.status = status }
