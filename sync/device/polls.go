package device

import (
	"edgesync/proto"
	agent "edgesync/sync"
)

// maxPolls is how many long polls of one device may wait at a time. The slots of connections bound
// those of all devices.
const maxPolls = 8

// pollKind is what a poll waits for.
type pollKind uint8

const (
	pollAttributes pollKind = iota
	pollCalls
)

// poll is an HTTP request that waits. It gets at most one result.
type poll struct {
	kind pollKind
	got  chan pollResult // of capacity 1
}

// pollResult is what a poll is answered with: one of the three.
type pollResult struct {
	body    []byte // JSON
	call    *agent.Call
	deleted bool // the device was deleted
}

// wait registers a poll. It returns false if too many polls of the device wait.
func (d *Doors) wait(id proto.UUID, p *poll) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.polls[id]) == maxPolls {
		return false
	}
	d.polls[id] = append(d.polls[id], p)
	return true
}

// forget removes a poll, whether it has its result or not.
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

// serve gives r to all polls of the device that wait for kind; if the device was deleted, to all of
// its polls. It reports whether there were any.
func (d *Doors) serve(id proto.UUID, kind pollKind, r pollResult) (any bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.polls[id] {
		if p.kind == kind || r.deleted {
			select {
			case p.got <- r:
				any = true
			default: // it has its result already
			}
		}
	}
	return any
}
