package registry

import (
	"testing"
	"time"

	"edgesync/proto"
)

type panicking struct{ n int }

func (p *panicking) DeviceChanged(Device, Change) {}
func (p *panicking) SharedAttributes(proto.UUID, []proto.KV, []string) {
	if p.n++; p.n == 1 {
		panic("watcher")
	}
}

// A watcher that panics in the goroutine of a request, which net/http recovers, must not leave the
// writers waiting for ever.
func TestReviewPanicOfTheWatcherAtTheBound(t *testing.T) {
	var u unheard
	u.room.L = &u.mu
	w := &panicking{}
	big := notice{to: w, set: []proto.KV{{Key: []byte("k"), Str: make([]byte, maxUnheard)}}}
	u.add([]notice{{to: w, set: []proto.KV{{Key: []byte("k")}}}, big})
	func() {
		defer func() { recover() }()
		u.deliver()
	}()
	done := make(chan struct{})
	go func() { u.waitForRoom(); close(done) }() // what lock does for the next writer
	select {
	case <-done:
	case <-time.After(2 * time.Second):
		t.Error("nobody delivers, and every writer waits")
	}
}
