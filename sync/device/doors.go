package device

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/clock"
	"edgesync/sync/complaint"
	"edgesync/sync/device/foreign"
	"edgesync/sync/guess"
	"edgesync/sync/refusal"
	"edgesync/sync/registry"
	"edgesync/sync/share"
	"edgesync/sync/sighting"
	"edgesync/wal"
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
	Seen      *sighting.Book // of devices; nil: nobody looks
	// Provisioned is told of provisioning requests. It must not block; nil: nobody is told.
	Provisioned func(*Provisioned)
	Foreign     *foreign.Set // topics that ThingsBoard does not know; nil: there are none
	// Synced reports whether a sync has completed once: before that nobody is told that a token is
	// wrong. nil: it has.
	Synced func() bool
	Log    *slog.Logger
	Clock  *clock.Clock // nil: the clock of the machine is right
	// Lane is held while a body of 256 KiB and more is parsed and stored, of which the queue makes
	// several copies; nil: nobody else takes much memory.
	Lane share.Lane
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
	took       [2]wal.Times   // answers to telemetry and attributes, by refusal.Door
	guesses    *guess.Limiter // of all protocols: an address has one count
	// checking is held while a device gets its credentials, so that only one of several requests
	// gets them.
	checking sync.Mutex

	mu sync.Mutex
	// owners has at most one session for each device (API.md 3.1), so connections and known devices
	// bound it.
	owners map[proto.UUID]owner
	names  int    // bytes of the names among owners, with nameCost each
	turns  uint64 // how often gateways have named devices
	// gateways are the sessions that speak for devices besides their own.
	gateways map[*session]struct{}
	polls    map[proto.UUID][]*poll // HTTP requests that wait
	claims   []claimed              // the latest, at most maxClaims
	upcalls  upcalls                // calls of devices to the cloud
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
		owners: make(map[proto.UUID]owner), gateways: make(map[*session]struct{}), polls: make(map[proto.UUID][]*poll),
	}
	d.slots = newSlots(func() {
		d.complain("there are more connections than slots; those that make no progress are closed", "", nil)
	})
	return d
}

func (d *Doors) owner(id proto.UUID) (owner, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o, ok := d.owners[id]
	return o, ok
}

// Connected reports whether a session speaks for a device now: its own or its gateway's, over MQTT.
func (d *Doors) Connected(id proto.UUID) bool {
	_, ok := d.owner(id)
	return ok
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
		d.Seen.Forget(dev.ID)
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

// Session says whether a device is connected over MQTT now, and by which gateway: zero for a device
// that is connected itself.
func (d *Doors) Session(id proto.UUID) (gateway proto.UUID, connected bool) {
	o, ok := d.owner(id)
	if ok && o.name != "" {
		gateway = o.session.device.ID
	}
	return gateway, ok
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

// AnswerTimes is how long the doors took to answer telemetry and attributes, in this life.
func (d *Doors) AnswerTimes() (list []agent.DoorTimes) {
	for i := range d.took {
		list = append(list, agent.DoorTimes{Door: refusal.Door(i).String(), TimeCounts: d.took[i].Noted()})
	}
	return list
}

// Refusals are the traces of what the doors have refused in this life.
func (d *Doors) Refusals() *refusal.Ledger { return d.refusals }

// synced reports whether a sync has completed once.
func (d *Doors) synced() bool { return d.Synced == nil || d.Synced() }

// errNotSynced is why a token or secret that is unknown is not called wrong.
var errNotSynced = errors.New("this edge has not learned its devices from the cloud yet; try again later")

// complainEvery is how often the same complaint about a device is logged at most.
const complainEvery = time.Minute

// complain logs a mistake of ours that devices see. What a device does wrong goes to refusals. text
// is a constant; device is the name of a device, or an address, or "". How many lines that makes at
// most package complaint says: a thousand devices fill no log.
func (d *Doors) complain(text, device string, err error) {
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	d.complaints.Warn(time.Now(), text, device, reason)
}
