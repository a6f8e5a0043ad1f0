package device

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/clock"
	"edgesync/sync/registry"
)

// Submitter takes events without making the caller wait for the medium. done is called once, with nil when all of them are durable and an
// error when none is, in the order in which they were taken, and must not block. An error of Submit itself means that done will not be called.
// The events and their fragments are the caller's again when Submit returns.
type Submitter interface {
	Submit(ctx context.Context, events []proto.Event, done func(error)) error
}

// Ports is what the doors stand on.
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
	Calls  agent.Calls
	Births agent.Births
	Log    *slog.Logger
	Clock  *clock.Clock // nil: the machine's is right
}

// Doors knows who speaks for which device now, over whatever protocol: it brings them what comes from the cloud. It implements
// sync.Doors and registry.Watcher; its methods may be called from any goroutine and do not block.
type Doors struct {
	Ports
	complaints complaints
	places     *places
	wrong      *wrongTokens // of all protocols: an address has one count
	checking   sync.Mutex   // held while a device gets its credentials, so that two requests at a time do not both get them

	mu     sync.Mutex
	owners map[proto.UUID]owner   // at most one for each device (device API 3.1); so bounded by connections and known devices
	polls  map[proto.UUID][]*poll // HTTP requests that wait
	claims []claimed              // the latest
}

// owner is the session that speaks for a device.
type owner struct {
	session *session
	name    string // as its gateway calls it; "" for a device that is connected itself
}

// NewDoors returns doors at which nobody stands yet.
func NewDoors(p Ports) *Doors {
	d := &Doors{Ports: p, wrong: newWrongTokens(), owners: make(map[proto.UUID]owner), polls: make(map[proto.UUID][]*poll)}
	d.places = newPlaces(func() {
		d.complain("there are more connections than places; those give way that do not get on with it", "", nil)
	})
	return d
}

// own makes s the one that speaks for the device. Whoever did so before does no more: a direct connection is closed, when what has come over it is
// handled (device API 3.1), and returned; a gateway is not told (device API 4.3). fresh tells whether s did not speak for it before.
func (d *Doors) own(id proto.UUID, s *session, name string) (fresh bool, replaced *session) {
	d.mu.Lock()
	old, ok := d.owners[id]
	switch {
	case ok && old.session == s:
		if old.name != "" && name != "" {
			d.owners[id] = owner{s, name} // a gateway may have followed a renaming
		}
		d.mu.Unlock()
		return false, nil
	case name != "" && d.owners[s.device.ID].session != s: // the gateway has connected again, and this is what it left behind
		d.mu.Unlock()
		return false, nil
	}
	d.owners[id] = owner{s, name}
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

// disown ends that s speaks for the device.
func (d *Doors) disown(id proto.UUID, s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owners[id].session == s {
		delete(d.owners, id)
	}
	delete(s.devices, id)
}

// gone ends all that s speaks for.
func (d *Doors) gone(s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owners[s.device.ID].session == s {
		delete(d.owners, s.device.ID)
	}
	for id := range s.devices {
		if d.owners[id].session == s {
			delete(d.owners, id)
		}
	}
	s.devices = nil
}

// named finds the device that a gateway calls name, among those that it speaks for.
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

// speaks tells whether s speaks for the device, and speaksFor for how many of a gateway's it does.
func (d *Doors) speaks(s *session, id proto.UUID) bool {
	o, ok := d.owner(id)
	return ok && o.session == s
}

func (d *Doors) speaksFor(s *session) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(s.devices)
}

// namesOf returns what a gateway calls the devices that it speaks for.
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

// DeviceChanged implements registry.Watcher: live sessions follow at once.
func (d *Doors) DeviceChanged(dev registry.Device, what registry.Change) {
	if what&registry.DeviceDeleted != 0 {
		d.serve(dev.ID, 0, pollResult{deleted: true})
	}
	o, ok := d.owner(dev.ID)
	d.tellGateway(&dev, what, o)
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

// tellGateway tells the gateway of a device that this was renamed or deleted (device API 4.3): the one that speaks for it now, or else the one that did last.
func (d *Doors) tellGateway(dev *registry.Device, what registry.Change, o owner) {
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
		d.complain("a gateway is not told of what happened to its devices, for too much waits for it already", dev.Name, nil)
	}
}

// SharedAttributes implements registry.Watcher.
func (d *Doors) SharedAttributes(id proto.UUID, set []proto.KV, deleted []string) {
	o, ok := d.owner(id)
	tell := func(object []byte, set []proto.KV, deleted []string) {
		d.serve(id, pollAttributes, pollResult{body: object})
		if ok {
			o.session.attributes(o.name, object, set, deleted)
		}
	}
	if len(set) > 0 {
		tell(appendObject(nil, set), set, nil)
	}
	if len(deleted) > 0 {
		tell(appendDeleted(nil, deleted), nil, deleted)
	}
}

// complaints lets one line a minute of each kind into the log, with how many there were.
type complaints struct {
	mu    sync.Mutex
	kinds map[string]*complaint // by text, which are constants of this package
}

type complaint struct {
	logged time.Time
	count  int
}

// complain logs what devices do wrong, or what is wrong with us that they see, at most once a minute for each text.
func (d *Doors) complain(text, device string, err error) {
	d.complaints.mu.Lock()
	if d.complaints.kinds == nil {
		d.complaints.kinds = make(map[string]*complaint)
	}
	c := d.complaints.kinds[text]
	if c == nil {
		c = new(complaint)
		d.complaints.kinds[text] = c
	}
	c.count++
	now, n := time.Now(), c.count
	speak := now.Sub(c.logged) >= time.Minute
	if speak {
		c.logged, c.count = now, 0
	}
	d.complaints.mu.Unlock()
	if speak {
		d.Log.Warn(text, "device", device, "error", err, "times", n)
	}
}
