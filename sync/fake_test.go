package sync

import (
	"edgesync/proto"
	"edgesync/sync/link"
)

// fakeSession is a stream whose other end is the test: what is sent stays in its slots until the test takes it.
type fakeSession struct {
	out    chan []byte
	in     chan link.Inbound
	done   chan struct{}
	closed bool
}

func newFakeSession() *fakeSession {
	return &fakeSession{out: make(chan []byte, link.Slots), in: make(chan link.Inbound, 64), done: make(chan struct{})}
}

func (s *fakeSession) Config() *proto.EdgeConfiguration {
	return &proto.EdgeConfiguration{EdgeIdMSB: 1, EdgeIdLSB: 2, Name: "test", CloudType: "CE"}
}
func (s *fakeSession) ServerMax() int             { return link.DefaultServerMax }
func (s *fakeSession) Queued() int                { return len(s.out) }
func (s *fakeSession) Inbox() <-chan link.Inbound { return s.in }
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
