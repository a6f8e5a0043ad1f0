package device

import (
	"strings"
	"time"

	"edgesync/proto"
	"edgesync/sync/sighting"
)

// Bounds of the devices that gateways speak for at a time. Beyond them the device that was silent
// longest gives its place: nothing comes down for that device until its gateway names the device
// again. What a gateway publishes is stored however many devices it has.
const (
	maxSubDevices   = 4096    // of one gateway
	nameCost        = 224     // bytes that a device takes beside its name
	maxGatewayNames = 1 << 20 // bytes of the names of one gateway
	allGatewayNames = 8 << 20 // bytes of the names of all gateways
)

// spoken are the devices that a gateway speaks for, in the order in which it named them last.
// Doors.mu guards them.
type spoken struct {
	devices map[proto.UUID]*turn
	bytes   int   // of the names, with nameCost each
	latest  *turn // the ring's head; nil: there are none
}

// turn is a device in the ring of those that a gateway speaks for.
type turn struct {
	id         proto.UUID
	size       int    // of its name, with nameCost
	at         uint64 // Doors.turns when the gateway named the device last
	prev, next *turn  // next is the one that was named before
}

func (p *spoken) link(t *turn) {
	if p.latest == nil {
		t.prev, t.next = t, t
	} else {
		t.prev, t.next = p.latest.prev, p.latest
		t.prev.next, t.next.prev = t, t
	}
	p.latest = t
}

func (p *spoken) unlink(t *turn) {
	switch {
	case t.next == t:
		p.latest = nil
	case p.latest == t:
		p.latest = t.next
	}
	t.prev.next, t.next.prev = t.next, t.prev
}

// speak notes that the gateway of s names a device. The caller holds mu, as it does for what
// follows.
func (d *Doors) speak(s *session, id proto.UUID, name string) {
	p := &s.spoken
	t := p.devices[id]
	if t == nil {
		if p.devices == nil {
			p.devices = make(map[proto.UUID]*turn)
		}
		if len(p.devices) == 0 {
			d.gateways[s] = struct{}{}
		}
		t = &turn{id: id}
		p.devices[id] = t
	} else {
		p.unlink(t)
	}
	p.link(t)
	d.turns++
	size := nameCost + len(name)
	p.bytes, d.names = p.bytes+size-t.size, d.names+size-t.size
	t.size, t.at = size, d.turns
	for len(p.devices) > maxSubDevices || p.bytes > maxGatewayNames {
		d.silence(s)
	}
	for d.names > allGatewayNames {
		var longest *session
		for g := range d.gateways {
			if longest == nil || g.spoken.latest.prev.at < longest.spoken.latest.prev.at {
				longest = g
			}
		}
		d.silence(longest)
	}
}

// silence takes from a gateway the device that was silent longest.
//
//go:noinline
func (d *Doors) silence(s *session) {
	t := s.spoken.latest.prev
	delete(d.owners, t.id)
	d.unspeak(s, t.id)
}

// unspeak notes that s no longer speaks for a device, if it did.
func (d *Doors) unspeak(s *session, id proto.UUID) {
	p := &s.spoken
	t := p.devices[id]
	if t == nil {
		return
	}
	p.unlink(t)
	delete(p.devices, id)
	p.bytes, d.names = p.bytes-t.size, d.names-t.size
	if len(p.devices) == 0 {
		delete(d.gateways, s)
		p.devices = nil
	}
}

// own makes s the session that speaks for the device, in place of any other. A direct connection
// that did so is returned; it is closed when what has come over it is handled (API.md 3.1). A
// gateway that did so is not notified (API.md 4.3). fresh reports whether s did not speak for the
// device before.
func (d *Doors) own(id proto.UUID, s *session, name string) (fresh bool, replaced *session) {
	door := sighting.MQTT
	if name != "" {
		door = sighting.Gateway
	}
	d.Seen.Saw(time.Now(), id, door, 0)
	d.mu.Lock()
	old, ok := d.owners[id]
	switch {
	case ok && old.session == s:
		if old.name != "" && name != "" {
			if old.name != name { // a gateway may have followed a renaming
				d.owners[id] = owner{s, strings.Clone(name)}
			}
			d.speak(s, id, name)
		}
		d.mu.Unlock()
		return false, nil
	case name != "" && d.owners[s.device.ID].session != s:
		// The gateway has connected again, and s is its former session.
		d.mu.Unlock()
		return false, nil
	}
	if ok {
		d.unspeak(old.session, id)
	}
	d.owners[id] = owner{s, strings.Clone(name)} // the name may be a part of a whole payload
	if name != "" {
		d.speak(s, id, name)
	}
	d.mu.Unlock()
	if ok && old.name == "" {
		old.session.conn.takeOver()
		return true, old.session
	}
	return true, nil
}

// disown notes that s no longer speaks for the device.
func (d *Doors) disown(id proto.UUID, s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owners[id].session == s {
		delete(d.owners, id)
	}
	d.unspeak(s, id)
}

// gone notes that s no longer speaks for any device.
func (d *Doors) gone(s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owners[s.device.ID].session == s {
		delete(d.owners, s.device.ID)
	}
	for s.spoken.latest != nil {
		d.silence(s)
	}
}

// named finds the device that a gateway calls name among those that s speaks for.
func (d *Doors) named(s *session, name string) (proto.UUID, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range s.spoken.devices {
		if d.owners[id].name == name {
			return id, true
		}
	}
	return proto.UUID{}, false
}

// namesOf returns the devices that s speaks for, each with what the gateway calls it.
func (d *Doors) namesOf(s *session) map[proto.UUID]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := make(map[proto.UUID]string, len(s.spoken.devices))
	for id := range s.spoken.devices {
		names[id] = d.owners[id].name
	}
	return names
}
