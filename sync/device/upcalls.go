package device

import (
	"fmt"

	"edgesync/proto"
	agent "edgesync/sync"
)

// Bounds of the calls of devices to the cloud that wait for their answers. The agent takes 256 of
// them in all; a device's share of these is such that eight hostile devices must agree to take all.
const (
	maxUpcalls     = 32        // of one device
	maxUpcallBytes = 256 << 10 // bytes of their methods and parameters, of one device
	allUpcallBytes = 2 << 20   // the same of all devices
	upcallCost     = 512       // bytes that a call takes beside its text
)

// upcalls counts the calls of devices that wait for the cloud. Doors.mu guards it.
type upcalls struct {
	of    map[proto.UUID]upcallShare
	bytes int
}

// upcallShare is what one device has of them.
type upcallShare struct{ calls, bytes int }

// request sends a device's own call to the cloud, within the bounds of the device and of all. An
// error means that Reply will not be called.
func (d *Doors) request(r *agent.Request) error {
	size := upcallCost + len(r.Method) + len(r.Params)
	d.mu.Lock()
	s := d.upcalls.of[r.Device]
	if s.calls >= maxUpcalls || s.bytes+size > maxUpcallBytes || d.upcalls.bytes+size > allUpcallBytes {
		d.mu.Unlock()
		return fmt.Errorf("%w: of this device %d wait for their answers", agent.ErrTooMany, s.calls)
	}
	d.upcalls.add(r.Device, 1, size)
	d.mu.Unlock()
	reply := r.Reply
	bounded := *r
	bounded.Reply = func(b []byte, err error) {
		d.mu.Lock()
		d.upcalls.add(r.Device, -1, -size)
		d.mu.Unlock()
		reply(b, err)
	}
	err := d.Calls.Request(&bounded)
	if err != nil {
		d.mu.Lock()
		d.upcalls.add(r.Device, -1, -size)
		d.mu.Unlock()
	}
	return err
}

// add changes what a device has. The caller holds Doors.mu.
func (u *upcalls) add(device proto.UUID, calls, bytes int) {
	if u.of == nil {
		u.of = make(map[proto.UUID]upcallShare)
	}
	s := u.of[device]
	if s = (upcallShare{s.calls + calls, s.bytes + bytes}); s.calls == 0 {
		delete(u.of, device)
	} else {
		u.of[device] = s
	}
	u.bytes += bytes
}
