package registry

import (
	"testing"

	"edgesync/proto"
)

// panicking is a watcher that panics at the first shared attribute.
type panicking struct{ n int }

func (p *panicking) DeviceChanged(Device, Change) {}
func (p *panicking) SharedAttributes(proto.UUID, []proto.KV, []string) {
	if p.n++; p.n == 1 {
		panic("watcher")
	}
}

// A watcher that panics in the goroutine of a request, which net/http recovers, must not leave the
// writers waiting for ever.
func TestPanicOfTheWatcherAtTheBound(t *testing.T) {
	var u unheard
	u.room.L = &u.mu
	w := &panicking{}
	big := notice{to: w, set: []proto.KV{{Key: []byte("k"), Str: make([]byte, maxUnheard)}}}
	u.add([]notice{{to: w, set: []proto.KV{{Key: []byte("k")}}}, big})
	func() {
		defer func() { recover() }()
		u.deliver()
	}()
	u.waitForRoom() // what lock does for the next writer
	if w.n != 2 {
		t.Errorf("the watcher heard %d notices, want 2", w.n)
	}
}
