package device

import (
	"edgesync/proto"
	agent "edgesync/sync"
)

// maxPolls is how many long polls of one device may wait at a time; HTTP connections bound those of all devices.
const maxPolls = 8

// pollKind is what a poll waits for.
type pollKind uint8

const (
	pollAttributes pollKind = iota
	pollCalls
)

// poll is an HTTP request that waits. It is served once.
type poll struct {
	kind pollKind
	got  chan pollResult // with room for one
}

type pollResult struct {
	body    []byte
	call    *agent.Call
	deleted bool
}

// wait registers a poll; false if too many wait.
func (d *Doors) wait(id proto.UUID, p *poll) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.polls[id]) == maxPolls {
		return false
	}
	d.polls[id] = append(d.polls[id], p)
	return true
}

// forget ends a poll, served or not.
func (d *Doors) forget(id proto.UUID, p *poll) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.polls[id]
	for i := range list {
		if list[i] == p {
			list[i] = list[len(list)-1]
			list[len(list)-1] = nil
			d.polls[id] = list[:len(list)-1]
			break
		}
	}
	if len(d.polls[id]) == 0 {
		delete(d.polls, id)
	}
}

// serve gives r to all polls of the device that wait for that kind of thing, of every kind if it was deleted; it tells whether there were any.
func (d *Doors) serve(id proto.UUID, kind pollKind, r pollResult) (any bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.polls[id] {
		if p.kind == kind || r.deleted {
			select {
			case p.got <- r:
				any = true
			default: // served already
			}
		}
	}
	return any
}
