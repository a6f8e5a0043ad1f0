package rules

import (
	"strings"

	"edgesync/proto"
	"edgesync/sync/rules/script"
)

// Registry is what nodes read of the entities that are stored here. Any goroutine calls it, with
// a lock of the engine held: it must not call the engine. Values are JSON text. An entity that is
// asked for is the caller's again when the method returns.
type Registry interface {
	// Fields is an entity as the server sends it: an object with name, type, label, createdTime….
	Fields(e *Entity) (json string, ok bool)
	// Profile is the profile of a device or an asset: its name, and the chain that it names,
	// which is zero if it names none.
	Profile(e *Entity) (name string, chain proto.UUID, ok bool)
	// Attribute is one attribute of a scope; with the scope "" it is the latest value of a
	// series.
	Attribute(e *Entity, scope, key string) (v Stored, ok bool)
	// History are the values of a series from a time on and before another one, the oldest first.
	// It is nil where none are kept.
	History(e *Entity, key string, from, to int64) []Stored
	// Find is the entity of a type by its name.
	Find(kind, name string) (Entity, bool)
	// Owner is the customer of an entity, of a customer itself.
	Owner(e *Entity) (Entity, bool)
	Tenant() Entity
	// Related are the relations from an entity (out), or to it, each once.
	Related(e *Entity, out bool) []Relation
	// Credentials are those of a device. They are never logged.
	Credentials(e *Entity) (kind, value string, ok bool)
	// OpenAlarm is the newest alarm of a type that is not cleared; nil if there is none.
	OpenAlarm(e *Entity, kind string) *Alarm
	// AlarmByID is nil where there is no such alarm.
	AlarmByID(id proto.UUID) *Alarm
}

// Stored is a value of an attribute or a series, as JSON text.
type Stored struct {
	Time  int64
	Value string
}

// Relation is a relation of the group COMMON; Other is its other end.
type Relation struct {
	Type  string
	Other Entity
}

// Outlet is what nodes do. The engine calls it in the order of the messages of an originator,
// with a lock held: it must not call the engine, but from another goroutine. An error is the
// node's failure.
type Outlet interface {
	// Push queues an event for the cloud. The event is the engine's again when it returns.
	Push(e *Event) error
	// Save stores the latest values of a series, or attributes.
	Save(v *Values) error
	// Delete removes attributes.
	Delete(e *Entity, scope string, keys []string, notify bool) error
	// SaveAlarm stores an alarm; one without id is new and gets one.
	SaveAlarm(a *Alarm) error
	// Call sends a call to a device. Unless it is one way, the answer is brought to
	// Engine.Answer.
	Call(c *Call) error
	// Reply answers a call of a device.
	Reply(r *Reply) error
	// Answered tells the caller of a device, by the call's UUID, what the device has answered, or
	// the word of an error, as TIMEOUT.
	Answered(c *Call, answer, word string)
	// Change changes a relation or the owner of an entity, or fires an event of a device's state.
	Change(c *Change) error
	// Log writes a line of a log node.
	Log(node, line string)
	// Instead does what no chain did with a message, so that nothing is lost (RULES.md 7.2). Its
	// error is that of Handle.
	Instead(m *Message, why Why) error
	// Failed says that a node failed and no connection took the failure, Dropped that a message
	// met no chain, Unsupported that a message met a node that is not executed.
	Failed(node, text string)
	Dropped(m *Message)
	Unsupported(node, kind string, m *Message)
}

// uncompared is in a struct whose values nobody compares: the compiler then makes no function that
// does, of up to 500 bytes each.
type uncompared [0]func()

// Event is what a push node queues for the cloud (RULES.md 4.4).
type Event struct {
	_      uncompared
	Action string // TIMESERIES_UPDATED, POST_ATTRIBUTES, ATTRIBUTES_UPDATED, …
	Entity Entity
	Time   int64
	Scope  string     // of attributes
	Data   string     // of the message
	Alarm  proto.UUID // of an alarm's actions; the alarm is read when the event is sent
	// Message is the message that is pushed; of a call of a device its metadata name the request.
	Message *Message
}

// Values are values that a node saves. With the scope "" they are time series.
type Values struct {
	Entity Entity
	Scope  string
	Time   int64
	Pairs  []script.Pair // key and JSON
	TTL    int64         // seconds, 0 for ever
	Notify bool          // tell the device of its shared attributes
	// Of series: whether the values become the latest ones, if they are not older than those, and
	// whether they belong to the history, where one is kept.
	Latest, History bool
}

// Call is a call of a device.
type Call struct {
	_       uncompared
	ID      uint32 // what Engine.Answer is told; 0 if the call is one way
	Device  Entity
	Method  string
	Params  string
	OneWay  bool
	Expires int64 // ms since the epoch
	UUID    string
	Message *Message
}

// Reply answers the call of a device that the message's metadata name.
type Reply struct {
	_                         uncompared
	Device                    Entity
	Request, Service, Session string
	Answer                    string
}

// Change is a change of what surrounds an entity.
type Change struct {
	_        uncompared
	Kind     string // relation, customer or state
	Entity   Entity
	Other    Entity // the other end of the relation, or the customer; zero: none
	Relation string
	Delete   bool
	Event    string // of a device's state: CONNECT_EVENT, …
	Time     int64
}

// Alarm is an alarm as nodes see it.
type Alarm struct {
	ID                                  proto.UUID
	Type, Severity                      string
	Originator                          Entity
	OriginatorName, OriginatorLabel     string
	Acknowledged, Cleared               bool
	Created, Start, End                 int64
	AcknowledgedAt, ClearedAt           int64
	Details                             string // JSON
	Propagate, PropagateOwner, ToTenant bool
	Relations                           []string
}

// Why says why the engine does something instead of a chain.
type Why uint8

// The reasons of Outlet.Instead.
const (
	// Unreached: a node that is not supported was on the way, and no push node was reached. The
	// original message is to be pushed.
	Unreached Why = iota
	// AfterFailure: a node failed. The original message is to be pushed.
	AfterFailure
	// Vanished: the message waited in a node that is gone. It is to be pushed.
	Vanished
	// NotCalled: a call met no node that calls the device. It is to be sent.
	NotCalled
	// NotAnswered: nothing answered or pushed the call of a device. The cloud is to be asked.
	NotAnswered
)

// String names the reason.
//
//go:noinline
func (w Why) String() string {
	return [...]string{"unreached", "failure", "vanished", "not called", "not answered"}[w]
}

// JSON is the entity's reference as a server writes it, {"entityType","id"}.
func (e Entity) JSON() string { return e.ref().String() }

// JSON is the relation of a Change as a server writes it.
func (c *Change) JSON() string {
	return members("from to type typeGroup additionalInfo", c.Entity.ref(), c.Other.ref(), textTree(c.Relation), textTree("COMMON"),
		&tree{}).String()
}

// ref is an entity as JSON.
func (e *Entity) ref() *tree {
	if e.Type == "" {
		return &tree{}
	}
	return members("entityType id", textTree(e.Type), textTree(proto.FormatUUID(e.ID)))
}

// members is an object of values, whose keys are divided by blanks.
//
//go:noinline
func members(keys string, values ...*tree) *tree {
	t := &tree{kind: isObject}
	for i, key := range strings.Fields(keys) {
		t.set(key, values[i])
	}
	return t
}
