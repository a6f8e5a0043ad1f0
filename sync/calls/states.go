package calls

import (
	"slices"
	"time"

	"edgesync/proto"
)

// The states of a persistent call, as a server names them (API.md 4.2). A one-way call ends with
// Delivered, another one with Successful, Expired or Failed. Queued is whoever's who first offers
// the call to its device.
const (
	Queued     = "QUEUED"
	Sent       = "SENT" // over MQTT with QoS 1: the device is to acknowledge it
	Delivered  = "DELIVERED"
	Successful = "SUCCESSFUL"
	Timeout    = "TIMEOUT" // the device has not acknowledged it
	Expired    = "EXPIRED"
	Failed     = "FAILED"
)

const (
	ackLimit   = 10 * time.Second // for a device to acknowledge a call
	maxUnacked = 64               // one-way calls that are over and not acknowledged
	maxInfo    = 8 << 10          // bytes of Call.Info
)

// unacked is a one-way call that is over, and that its device has not acknowledged yet.
type unacked struct {
	Call
	due time.Time
}

// Watch names who is told of the states of persistent calls. fn is called with a lock of the table
// held: it must not block, and not call the table. Before the first call.
func (t *Table) Watch(fn func(c *Call, state, answer string)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watch = fn
}

// tell tells a state of a call. The caller holds mu.
func (t *Table) tell(c *Call, state, answer string) {
	if t.watch != nil && c.Persisted {
		t.watch(c, state, answer)
	}
}

// tellRefused tells the state of a call that is not taken. The caller holds mu.
func (t *Table) tellRefused(c *proto.DeviceRpcCallMsg, word string) {
	if !c.GetPersisted() { // spare what a flood of others would cost
		return
	}
	p := newPending(c, time.UnixMilli(c.GetExpirationTime()))
	switch word {
	case TimedOut:
		t.tell(&p.Call, Expired, "")
	case Internal:
		t.tell(&p.Call, Failed, "")
	}
}

// Sent is Delivered for a transport whose device acknowledges the call: Acknowledged follows. For
// the caller it is the same.
func (t *Table) Sent(device proto.UUID, id int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.find(device, id)
	if c == nil {
		return
	}
	c.offered = true
	if c.sent++; c.Persisted && c.sent > c.acked {
		c.due = time.Now().Add(ackLimit)
		t.tell(&c.Call, Sent, "")
		t.nudge() // the end of the wait is due
	}
	if !c.OneWay {
		return
	}
	t.finish(c, "{}", "")
	if !c.due.IsZero() {
		if len(t.unacked) == maxUnacked {
			t.unacked = slices.Delete(t.unacked, 0, 1)
		}
		own := unacked{c.Call, c.due}
		if len(own.Method)+len(own.Params) > maxInfo { // 64 of them are to be small
			own.Params = "null"
		}
		t.unacked = append(t.unacked, own)
	}
}

// Acknowledged says that the device has acknowledged a call that was sent.
func (t *Table) Acknowledged(device proto.UUID, id int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.find(device, id); c != nil {
		c.acked++ // maybe before Sent is heard of
		c.due = time.Time{}
		t.tell(&c.Call, Delivered, "")
		return
	}
	i := slices.IndexFunc(t.unacked, func(u unacked) bool { return u.Device == device && u.ID == id })
	if i >= 0 {
		t.tell(&t.unacked[i].Call, Delivered, "")
		t.unacked = slices.Delete(t.unacked, i, i+1)
	}
}

// expireAcks tells which calls were not acknowledged in time, and calls sooner with the time of
// those that may still be. The caller holds mu.
func (t *Table) expireAcks(now time.Time, sooner func(time.Time)) {
	for _, list := range t.calls {
		for _, c := range list {
			switch {
			case c.due.IsZero():
			case c.due.After(now):
				sooner(c.due)
			default:
				c.due = time.Time{}
				t.tell(&c.Call, Timeout, "")
			}
		}
	}
	t.unacked = slices.DeleteFunc(t.unacked, func(u unacked) bool {
		if u.due.After(now) {
			sooner(u.due)
			return false
		}
		t.tell(&u.Call, Timeout, "")
		return true
	})
}
