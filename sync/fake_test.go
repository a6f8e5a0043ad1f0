package sync

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/config"
	"edgesync/sync/link"
	"edgesync/wal"
)

// fakeSession is a session whose other end is the test: a message that is sent stays in its slot
// until the test takes it.
type fakeSession struct {
	out    chan []byte
	in     chan link.Inbound
	done   chan struct{}
	closed bool
	heard  time.Time // what Heard says
}

func newFakeSession() *fakeSession {
	return &fakeSession{out: make(chan []byte, link.Slots), in: make(chan link.Inbound, 1000), done: make(chan struct{})}
}

func (s *fakeSession) Config() *proto.EdgeConfiguration {
	return &proto.EdgeConfiguration{EdgeIdMSB: 1, EdgeIdLSB: 2, Name: "test", CloudType: "CE"}
}
func (s *fakeSession) ServerMax() int             { return link.DefaultServerMax }
func (s *fakeSession) Queued() int                { return len(s.out) }
func (s *fakeSession) Inbox() <-chan link.Inbound { return s.in }
func (s *fakeSession) Heard() time.Time           { return s.heard }
func (s *fakeSession) Done() <-chan struct{}      { return s.done }
func (s *fakeSession) Finish()                    {}

func (s *fakeSession) Close() {
	if !s.closed {
		s.closed = true
		close(s.done)
	}
}

func (s *fakeSession) Send(b []byte) bool {
	select {
	case s.out <- b:
		return true
	default:
		return false
	}
}

// loopAlone returns a loop that does not run, on an empty queue, with a fakeSession.
func loopAlone(t *testing.T) *loop {
	t.Helper()
	dir := t.TempDir()
	q, err := wal.Open(wal.Options{Dir: filepath.Join(dir, "queue")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	dead, err := wal.OpenDead(filepath.Join(dir, "dead"), 1<<20, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dead.Close() })
	c := config.Defaults()
	l := newLoop(NewAgent(Deps{Config: &c, Queue: q, Dead: dead, Registry: &fakeRegistry{}, Log: slog.New(slog.DiscardHandler)}))
	l.conn.sess = newFakeSession()
	return l
}
