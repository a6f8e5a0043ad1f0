package sync

import (
	"context"
	"errors"
	"time"

	"edgesync/proto"
	"edgesync/sync/calls"
	"edgesync/sync/link"
)

// What the doors test for.
var (
	ErrTimeout  = calls.ErrTimeout
	ErrOffline  = calls.ErrOffline
	ErrTooMany  = calls.ErrTooMany
	ErrTooLarge = calls.ErrTooLarge
	ErrCall     = calls.ErrNoAnswer
	// ErrNameTaken: there is a device of that name.
	ErrNameTaken = errors.New("there is a device of that name")
)

// Registry is what the loop needs of sync/registry. The loop's goroutine calls the methods, and
// where it is said, any goroutine.
type Registry interface {
	// Apply stages what m brings; used reports whether any part of it was understood and kept.
	// An error means that it could not be stored (the medium); m may then be applied again later.
	Apply(m *proto.DownlinkMsg) (used bool, err error)
	// TakePackage takes a large OTA package on its way in; its goroutine is a session's.
	link.Packages
	// Flush makes everything staged durable: one fsync for all of it.
	Flush() error
	// BeginSync and EndSync bracket a sync. What was not seen between is no longer ours and is
	// removed (CONTRACT.md 3.5); EndSync returns the number of entities removed, makes all of it
	// durable, and remembers that a sync has completed. full says whether the sync is a full one;
	// committed is the Seq that the cloud has acknowledged so far.
	BeginSync(full bool, committed uint64)
	EndSync() (removed int, err error)
	// Incomplete notes that not all of the running sync could be taken: EndSync removes nothing
	// then. The sync counts as completed all the same.
	Incomplete()
	// RemoveNothing lets the end of the running sync remove nothing.
	RemoveNothing()
	// Awaits names the function that says whether the creation of an entity made here waits to be
	// taken by the cloud: no sync can bring such an entity, and EndSync keeps it. EndSync calls
	// the function.
	Awaits(waits func(id proto.UUID) bool)
	// AbortSync forgets that a sync began: the link was lost before its end.
	AbortSync()
	// Synced reports whether a sync has completed once for this edge, now or in an earlier life;
	// FullySynced, whether a full one has, with every bulky kind that is to be kept now.
	Synced() bool
	FullySynced() bool
	// ToAsk calls fn for what the cloud should be asked about: devices and assets that were not
	// here before, once each, and, if all is true, every other device too.
	ToAsk(all bool, fn func(id proto.UUID, entityType string, fresh bool))
	// KeepCall and DropCall stage a persistent call, later its answer in its place, and its end;
	// Calls lists those kept over a restart.
	KeepCall(c *proto.DeviceRpcCallMsg) error
	DropCall(c *proto.DeviceRpcCallMsg) error
	Calls() []*proto.DeviceRpcCallMsg
	// Prepare makes a device durable and invisible. taken: a device has that name (its id is in b)
	// or those credentials, and nothing was made. Adopt makes the device visible once its creation
	// is in the queue at or before seq; Discard takes the device back. PendingCreations lists what
	// a crash left between the two. Any goroutine.
	Prepare(n *proto.NewDevice, now time.Time) (b proto.Creation, taken bool, err error)
	Adopt(id proto.UUID, seq uint64) error
	Discard(id proto.UUID) error
	PendingCreations() []proto.Creation
	// WithGateway is the JSON of a device with the gateway as its lastConnectedGateway; ok is false
	// where that stands there already, or the device is not here. SetGateway stores that JSON; its
	// event is in the queue at or before seq. Any goroutine.
	WithGateway(device, gateway proto.UUID) (entity string, ok bool)
	SetGateway(device proto.UUID, entity string, seq uint64) error
	// Posted takes attributes of a device that are in the queue, so that it reads back what it
	// wrote. Any goroutine.
	Posted(id proto.UUID, scope string, p *proto.PostAttributeMsg) error
	// SetEdge stores who we are, durably. ChangeEdge does it for a different edge id than before:
	// it makes Synced false and wipes what the old edge had, but for the devices made here that
	// mine picks, whose creations stand in the queue at or before seq.
	SetEdge(c *proto.EdgeConfiguration) error
	ChangeEdge(c *proto.EdgeConfiguration, mine func(id proto.UUID, seq uint64) bool) error
	// Edge is the last stored configuration; nil if none. The secret in it is the one to use while
	// configuredSecret is unchanged since it was stored; otherwise Secret returns configuredSecret.
	Edge() *proto.EdgeConfiguration
	Secret(configuredSecret string) string
	// AlarmID is the id under which the cloud has an alarm that may have been raised here under
	// another one (CONTRACT.md 13.5); mostly id itself.
	AlarmID(id proto.UUID) proto.UUID
	// Devices is the number of devices; HasDevice reports whether there is this one.
	Devices() int
	HasDevice(id proto.UUID) bool
	// SetHalfMade stages that the cloud has a device made here, assigned to nobody; HalfMade
	// reports it.
	SetHalfMade(id proto.UUID, half bool) error
	HalfMade(id proto.UUID) bool
	// TakenAway reports whether the cloud has deleted or unassigned an entity in this life.
	TakenAway(id proto.UUID) bool
	// DeviceNamed finds a device by its name. Any goroutine.
	DeviceNamed(name string) (proto.UUID, bool)
	// Knows reports whether an entity is this edge's, or the edge, its tenant or its customer.
	// Named calls fn for the entities that have a name and may have data, devices first, until it
	// returns false; fn must not call the registry. Any goroutine.
	Knows(id proto.UUID) bool
	Named(fn func(id proto.UUID, entityType, name string) bool)
}

// Doors is what the loop needs of sync/device; Agent.SetDoors takes it. The loop's goroutine calls
// the method, which must not block; it may call the agent's methods.
//
// The registry itself says to the doors what changes about devices (credentials, names, shared
// attributes): registry.Watcher.
type Doors interface {
	// Deliver offers a new call to whoever speaks for the device: its subscribed MQTT session, its
	// gateway's, every waiting HTTP poll (API.md 4.2: to all of them). True: somebody who takes
	// calls is there. The agent keeps the call until it is answered or expires, so a door stores
	// none: it asks Pending at each new subscription and each poll.
	Deliver(c *Call) bool
}

// Call is a command for a device: calls.Call.
type Call = calls.Call

// Request is a device's own call to the cloud: calls.Request.
type Request = calls.Request

// CallError is the end of a call made here that brought no answer: calls.Error.
type CallError = calls.Error

// The methods of notices to a gateway: see calls.Table.Notify.
const (
	MethodRenamed = calls.MethodRenamed
	MethodDeleted = calls.MethodDeleted
)

// Calls is what the doors need of the agent for RPC both ways; *Agent is one. All methods may be
// called from any goroutine and return at once.
type Calls interface {
	// Pending returns the unexpired calls for a device that have no answer yet, oldest first, those
	// delivered before included (API.md 4.2). At most 16, and 64 notices.
	Pending(device proto.UUID) []Call
	// Delivered says that a transport took the call: the bytes were written, or a poll was answered
	// with it. A one-way call is answered by that; a two-way call that expires ends with TIMEOUT
	// from now on, and no longer with NO_ACTIVE_CONNECTION.
	Delivered(device proto.UUID, id int32)
	// Sent is Delivered where the device acknowledges the call, which Acknowledged says then.
	Sent(device proto.UUID, id int32)
	Acknowledged(device proto.UUID, id int32)
	// Answer is the device's answer; it goes up at once, past the backlog. Empty is sent as {},
	// what is no JSON as it is: its caller gets 406 (API.md 4.2). False: no such call is pending
	// (unknown, answered already, expired), which no device needs to know.
	Answer(device proto.UUID, id int32, response string) bool
	// Notify calls a device by itself: one-way, held until the device takes calls, at most a day,
	// over a restart too; nobody waits for an answer. The cloud sends MethodRenamed and
	// MethodDeleted as well, and the device gets one of the two. False: too many notices of this
	// device wait already.
	Notify(device proto.UUID, method, params string) bool
	// Request sends a device's own call to the cloud (CONTRACT.md 8.2). An error means that it
	// was not sent, and that Reply will not be called: ErrOffline or ErrTooMany.
	Request(r *Request) error
}

// Creations is what the doors need of the agent to make devices: a gateway that names an unknown
// one (API.md 4.3), provisioning (API.md 5). *Agent is one. Safe for concurrent use.
type Creations interface {
	// Create makes a device at the edge and returns its id when it is durable here and on its way
	// to the cloud as entity event, with credentials and, for a gateway's device, the relation
	// (CONTRACT.md 5.5). Data accepted after the return reaches the cloud behind it. If a device of
	// that name is there, Create returns the id of that one and ErrNameTaken. Other errors: nothing
	// was made, try again.
	Create(ctx context.Context, n *NewDevice) (proto.UUID, error)
	// Connected notes, here and in the cloud, that a gateway speaks for a device that was made
	// before: lastConnectedGateway in its additionalInfo (API.md 4.3). It does nothing where that
	// stands there already, while the link is down or behind, and within an hour of the last time:
	// so the doors say it whenever the gateway names the device, until the registry shows it.
	Connected(ctx context.Context, device, gateway proto.UUID) error
}

// NewDevice describes a device to be made at the edge.
type NewDevice = proto.NewDevice
