package device

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/clock"
	"edgesync/sync/complaint"
	"edgesync/sync/guess"
	"edgesync/sync/refusal"
	"edgesync/sync/registry"
	"edgesync/sync/share"
)

// Submitter takes events without making the caller wait for the medium. done is called once: with
// nil when all of the events are durable, with an error when none of them is, or, where it is an
// agent.PartialError, some are not. It is called in the order of the Submits and must not block. If
// Submit itself returns an error, done is not called. When Submit returns, the events and their
// fragments are the caller's again.
type Submitter interface {
	Submit(ctx context.Context, events []proto.Event, done func(error)) error
}

// Ports are what the doors stand on.
type Ports struct {
	Intake interface {
		Intake
		Submitter
	}
	Lookups registry.Lookups
	// Packages finds the firmware, or the software, that is assigned to a device.
	Packages interface {
		Package(device proto.UUID, software bool) (registry.Package, bool)
	}
	Calls     agent.Calls
	Creations agent.Creations
	// Synced reports whether a sync has completed once: before that nobody is told that a token is
	// wrong. nil: it has.
	Synced func() bool
	Log    *slog.Logger
	Clock  *clock.Clock // nil: the clock of the machine is right
}

// Doors knows which session speaks for which device now, over whatever protocol, and brings devices
// what comes from the cloud. It implements sync.Doors and registry.Watcher. Its methods may be
// called from any goroutine and do not block.
type Doors struct {
	Ports
	complaints *complaint.Log
	refusals   *refusal.Ledger
	slots      *slots
	answers    *share.Budget  // of largeAnswers
	guesses    *guess.Limiter // of all protocols: an address has one count
	// checking is held while a device gets its credentials, so that only one of several requests
	// gets them.
	checking sync.Mutex

	mu sync.Mutex
	// owners has at most one session for each device (API.md 3.1), so connections and known devices
	// bound it.
	owners  map[proto.UUID]owner
	names   int                    // bytes of the names among owners, with nameCost each
	polls   map[proto.UUID][]*poll // HTTP requests that wait
	claims  []claimed              // the latest, at most maxClaims
	upcalls upcalls                // calls of devices to the cloud
}

// owner is the session that speaks for a device.
type owner struct {
	session *session
	name    string // as its gateway calls it; "" for a device that is connected itself
}

// NewDoors returns doors without connections.
func NewDoors(p Ports) *Doors {
	d := &Doors{
		Ports: p, complaints: complaint.New(p.Log, complainEvery), refusals: refusal.New(p.Log),
		guesses: guess.New(), answers: share.New(largeAnswers),
		owners: make(map[proto.UUID]owner), polls: make(map[proto.UUID][]*poll),
	}
	d.slots = newSlots(func() {
		d.complain("there are more connections than slots; those that make no progress are closed", "", nil)
	})
	return d
}

// Bounds of the devices that gateways speak for, in bytes of what the gateways call them.
const (
	nameCost        = 160     // bytes that a device takes beside its name
	maxGatewayNames = 1 << 20 // of one gateway
	allGatewayNames = 8 << 20 // of all
)

// mayJoin reports whether there is room for one more name of a gateway.
func (d *Doors) mayJoin(s *session, name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	size := nameCost + len(name)
	return len(s.devices) < maxSubDevices && s.names+size <= maxGatewayNames && d.names+size <= allGatewayNames
}

// count notes that s has one name more, or one less. The caller holds mu.
func (d *Doors) count(s *session, name string, n int) {
	if name != "" {
		s.names += n * (nameCost + len(name))
		d.names += n * (nameCost + len(name))
	}
}

// own makes s the session that speaks for the device, in place of any other. A direct connection
// that did so is returned; it is closed when what has come over it is handled (API.md 3.1). A
// gateway that did so is not notified (API.md 4.3). fresh reports whether s did not speak for the
// device before.
func (d *Doors) own(id proto.UUID, s *session, name string) (fresh bool, replaced *session) {
	d.mu.Lock()
	old, ok := d.owners[id]
	switch {
	case ok && old.session == s:
		if old.name != "" && name != "" && old.name != name { // a gateway may have followed a renaming
			d.count(s, old.name, -1)
			d.count(s, name, 1)
			d.owners[id] = owner{s, strings.Clone(name)}
		}
		d.mu.Unlock()
		return false, nil
	case name != "" && d.owners[s.device.ID].session != s:
		// The gateway has connected again, and s is its former session.
		d.mu.Unlock()
		return false, nil
	}
	if ok {
		d.count(old.session, old.name, -1)
	}
	d.count(s, name, 1)
	d.owners[id] = owner{s, strings.Clone(name)} // the name may be a part of a whole payload
	if name != "" {
		if s.devices == nil {
			s.devices = make(map[proto.UUID]struct{})
		}
		s.devices[id] = struct{}{}
	}
	if ok && old.name != "" {
		delete(old.session.devices, id)
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
	if o := d.owners[id]; o.session == s {
		d.count(s, o.name, -1)
		delete(d.owners, id)
	}
	delete(s.devices, id)
}

// gone notes that s no longer speaks for any device.
func (d *Doors) gone(s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owners[s.device.ID].session == s {
		delete(d.owners, s.device.ID)
	}
	for id := range s.devices {
		if o := d.owners[id]; o.session == s {
			d.count(s, o.name, -1)
			delete(d.owners, id)
		}
	}
	s.devices = nil
}

// named finds the device that a gateway calls name among those that s speaks for.
func (d *Doors) named(s *session, name string) (proto.UUID, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range s.devices {
		if d.owners[id].name == name {
			return id, true
		}
	}
	return proto.UUID{}, false
}

// speaks reports whether s speaks for the device.
func (d *Doors) speaks(s *session, id proto.UUID) bool {
	o, ok := d.owner(id)
	return ok && o.session == s
}

// namesOf returns the devices that s speaks for, each with what the gateway calls it.
func (d *Doors) namesOf(s *session) map[proto.UUID]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := make(map[proto.UUID]string, len(s.devices))
	for id := range s.devices {
		names[id] = d.owners[id].name
	}
	return names
}

func (d *Doors) owner(id proto.UUID) (owner, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o, ok := d.owners[id]
	return o, ok
}

// Deliver implements sync.Doors.
func (d *Doors) Deliver(c *agent.Call) bool {
	call := *c
	polled := d.serve(c.Device, pollCalls, pollResult{call: &call})
	o, ok := d.owner(c.Device)
	return ok && o.session.deliver(c, o.name) || polled
}

// DeviceChanged implements registry.Watcher. Live sessions follow the change at once.
func (d *Doors) DeviceChanged(dev registry.Device, what registry.Change) {
	if what&registry.DeviceDeleted != 0 {
		d.serve(dev.ID, 0, pollResult{deleted: true})
	}
	o, ok := d.owner(dev.ID)
	d.notifyGateway(&dev, what, o)
	switch {
	case !ok:
	case o.name == "" && what&(registry.CredentialsChanged|registry.DeviceDeleted) != 0:
		o.session.end(reasonRevoked)
	case what&registry.DeviceDeleted != 0:
		d.disown(dev.ID, o.session)
	case o.name == "" && what&registry.ProfileChanged != 0:
		o.session.follow(dev.ProfileID)
	}
}

// notifyGateway sends a gateway the news that its device was renamed or deleted (API.md 4.3). The
// gateway is the one that speaks for the device now, or else the last one that did.
func (d *Doors) notifyGateway(dev *registry.Device, what registry.Change, o owner) {
	if what&registry.DeviceDeleted == 0 && dev.WasNamed == "" {
		return
	}
	gateway := dev.LastGateway
	if o.name != "" {
		gateway = o.session.device.ID
	}
	if g, ok := d.Lookups.ByID(gateway); gateway == (proto.UUID{}) || !ok || !g.Gateway {
		return
	}
	method, params := agent.MethodDeleted, proto.AppendJSONString(nil, dev.Name)
	if what&registry.DeviceDeleted == 0 {
		method, params = agent.MethodRenamed, proto.AppendJSONString([]byte{'{'}, dev.WasNamed)
		params = append(proto.AppendJSONString(append(params, ':'), dev.Name), '}')
	}
	if !d.Calls.Notify(gateway, method, string(params)) {
		d.complain("a gateway is not notified of its renamed or deleted devices: too many calls wait for it",
			dev.Name, nil)
	}
}

// SharedAttributes implements registry.Watcher.
func (d *Doors) SharedAttributes(id proto.UUID, set []proto.KV, deleted []string) {
	o, ok := d.owner(id)
	send := func(object []byte, set []proto.KV, deleted []string) {
		d.serve(id, pollAttributes, pollResult{body: object})
		if ok {
			o.session.attributes(o.name, object, set, deleted)
		}
	}
	if len(set) > 0 {
		send(appendObject(nil, set), set, nil)
	}
	if len(deleted) > 0 {
		send(appendDeleted(nil, deleted), nil, deleted)
	}
}

// Refusals are the traces of what the doors have refused in this life.
func (d *Doors) Refusals() *refusal.Ledger { return d.refusals }

// synced reports whether a sync has completed once.
func (d *Doors) synced() bool { return d.Synced == nil || d.Synced() }

// errNotSynced is why a token or secret that is unknown is not called wrong.
var errNotSynced = errors.New("this edge has not learned its devices from the cloud yet; try again later")

// complainEvery is how often the same complaint about a device is logged at most.
const complainEvery = time.Minute

// complain logs a mistake of ours that devices see. What a device does wrong goes to refusals. text is a constant; device
// is the name of a device, or an address, or "". How many lines that makes at most package
// complaint says: a thousand devices fill no log.
func (d *Doors) complain(text, device string, err error) {
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	d.complaints.Warn(time.Now(), text, device, reason)
}
