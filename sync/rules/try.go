package rules

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sort"
	"strconv"

	"edgesync/proto"
	"edgesync/sync/rules/script"
)

// tryStart is the clock at the beginning of a file of steps, in ms since the epoch.
const tryStart int64 = 1767225600000

// Try runs the steps of a file against the chains of an edge (RULES.md 6), and prints an object a
// step: what has gone to the cloud, was saved, sent to devices, and what failed since the step
// before.
func Try(edge []byte, steps io.Reader, w io.Writer, opt Options) error {
	t, err := newTrial(edge, opt)
	if err != nil {
		return err
	}
	in := bufio.NewScanner(steps)
	in.Buffer(make([]byte, 0, 64<<10), MaxMetadata)
	for n := 1; in.Scan(); n++ {
		if len(trim(in.Text())) == 0 {
			continue
		}
		out, err := t.step(in.Text())
		if err != nil {
			return fmt.Errorf("step %d: %w", n, err)
		}
		if _, err := w.Write(append(out.appendJSON(nil), '\n')); err != nil {
			return err
		}
	}
	return in.Err()
}

// trial is an edge in memory. One goroutine uses it.
type trial struct {
	e        *Engine
	now      int64
	tenant   Entity
	entities map[Entity]*tree
	chains   map[string]proto.UUID // by name of the device profile
	values   map[string]Stored
	history  map[string][]Stored
	alarms   []*Alarm
	calls    []*Call
	out      *tree
}

var tryLists = [...]string{"cloud", "saved", "attributes", "device", "failed", "unsupported", "dropped"}

func newTrial(edge []byte, opt Options) (*trial, error) {
	in, err := parseTree(string(edge))
	if err != nil {
		return nil, fmt.Errorf("the edge: %w", err)
	}
	t := &trial{
		now: tryStart, entities: make(map[Entity]*tree), chains: make(map[string]proto.UUID),
		values: make(map[string]Stored), history: make(map[string][]Stored),
		tenant: Entity{"TENANT", proto.UUID{15: 1}},
	}
	opt.Now = func() int64 { return t.now }
	t.e = New(t, t, opt)
	world := in.get("world")
	if list := world.get("entities"); !list.null() {
		for _, item := range list.items {
			t.entities[entityOf(item.get("entity"))] = item
		}
	}
	t.readValues(world)
	for _, kind := range [...]string{"deviceProfiles", "assetProfiles"} {
		if p := world.get(kind); !p.null() {
			for i, name := range p.keys {
				t.chains[name], _ = proto.ParseUUID(textOf(p.items[i], "defaultEdgeRuleChainId"))
			}
		}
	}
	if f, ok := world.get("maxRuleNodeExecutionsPerMessage").number(); ok {
		t.e.SetLimit(int(f))
	}
	t.clear()
	if list := in.get("downlinks"); !list.null() {
		for _, d := range list.items {
			if h := d.get("ruleChainUpdateMsg"); h != nil {
				if tenant := entityOf(h.get("tenantId")); tenant.Type != "" {
					t.tenant = tenant
				}
				err = errors.Join(err, t.e.Head([]byte(h.String())))
			}
			if m := d.get("ruleChainMetadataUpdateMsg"); m != nil {
				_, bad := t.e.Metadata([]byte(m.String()))
				err = errors.Join(err, bad)
			}
		}
	}
	return t, err
}

func (t *trial) readValues(world *tree) {
	each := func(all *tree, do func(id, key string, v *tree)) {
		if all.null() {
			return
		}
		for i, id := range all.keys {
			for j, key := range all.items[i].keys {
				do(id, key, all.items[i].items[j])
			}
		}
	}
	each(world.get("attributes"), func(id, scope string, kv *tree) {
		for i, key := range kv.keys {
			t.values[id+scope+key] = Stored{0, kv.items[i].String()}
		}
	})
	each(world.get("latest"), func(id, key string, v *tree) {
		ts, _ := v.get("ts").number()
		t.values[id+key] = Stored{int64(ts), v.get("value").String()}
	})
}

func entityOf(t *tree) Entity { return Entity{textOf(t, "entityType"), idOf(t)} }

func (t *trial) clear() {
	t.out = &tree{kind: isObject}
	for _, list := range tryLists {
		t.out.set(list, &tree{kind: isList})
	}
}

func (t *trial) add(list string, v *tree) {
	l := t.out.get(list)
	l.items = append(l.items, v)
}

// until lets time pass, up to a moment.
func (t *trial) until(at int64) {
	for {
		due, ok := t.e.Due()
		if !ok || due > at {
			break
		}
		t.now = max(t.now, due)
		t.e.Tick()
	}
	t.now = max(t.now, at)
}

func (t *trial) step(line string) (*tree, error) {
	s, err := parseTree(line)
	if err != nil {
		return nil, err
	}
	at, ok := s.get("at").number()
	if !ok {
		return nil, errorText(`"at" is missing`)
	}
	t.until(tryStart + int64(at))
	if a := s.get("rpcAnswer"); !a.null() {
		t.answer(a)
	}
	if in := s.get("in"); !in.null() {
		m := &Message{Type: textOf(in, "msgType"), Originator: entityOf(in.get("originator")), Time: t.now, Data: in.get("data").String()}
		if ts, ok := in.get("ts").number(); ok {
			m.Time = int64(ts)
		}
		if md := in.get("metadata"); !md.null() {
			for i, key := range md.keys {
				m.Metadata = append(m.Metadata, script.Pair{Key: key, Value: md.items[i].plain()})
			}
		}
		if _, err := t.e.Handle(m, nil); err != nil {
			return nil, err
		}
	}
	if s := t.e.Sums(); s.Received+s.Made != s.Accepted+s.Filtered+s.Merged+uint64(s.Held) {
		return nil, fmt.Errorf("the sums do not agree: %+v", s)
	}
	out := t.out
	t.clear()
	full := object("at", s.get("at"))
	for i, key := range out.keys {
		full.set(key, out.items[i])
	}
	return full, nil
}

func (t *trial) answer(a *tree) {
	id, _ := proto.ParseUUID(textOf(a, "device"))
	for i, c := range t.calls {
		if c.Device.ID == id {
			t.calls = append(t.calls[:i], t.calls[i+1:]...)
			t.e.Answer(c.ID, a.get("response").String(), textOf(a, "error"))
			return
		}
	}
}

// Fields implements Registry.
func (t *trial) Fields(e Entity) (string, bool) {
	item := t.entities[e]
	if item == nil {
		return "", false
	}
	f := object("id", e.ref())
	for i, key := range item.keys {
		if key != "entity" && key != "profile" && key != "container" {
			f.set(key, item.items[i])
		}
	}
	return f.String(), true
}

// Profile implements Registry.
func (t *trial) Profile(e Entity) (string, proto.UUID, bool) {
	item := t.entities[e]
	if item == nil {
		return "", proto.UUID{}, false
	}
	name := textOf(item, "profile")
	if name == "" {
		name = textOf(item, "type")
	}
	return name, t.chains[name], name != ""
}

// Attribute implements Registry.
func (t *trial) Attribute(e Entity, scope, key string) (Stored, bool) {
	v, ok := t.values[proto.FormatUUID(e.ID)+scope+key]
	return v, ok
}

// History implements Registry.
func (t *trial) History(e Entity, key string, from, to int64) (list []Stored) {
	for _, v := range t.history[proto.FormatUUID(e.ID)+key] {
		if v.Time >= from && v.Time < to {
			list = append(list, v)
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].Time < list[j].Time })
	return list
}

// Find implements Registry.
func (t *trial) Find(kind, name string) (Entity, bool) {
	for e, item := range t.entities {
		if e.Type == kind && textOf(item, "name") == name {
			return e, true
		}
	}
	return Entity{}, false
}

// Owner implements Registry.
func (t *trial) Owner(e Entity) (Entity, bool) {
	if e.Type == "CUSTOMER" {
		return e, true
	}
	for _, key := range [...]string{"customer", "customerId"} {
		if c := entityOf(t.entities[e].get(key)); c.Type != "" {
			return c, true
		}
	}
	return Entity{}, false
}

// Tenant implements Registry.
func (t *trial) Tenant() Entity { return t.tenant }

// Related implements Registry: of relations there are those of containers.
func (t *trial) Related(e Entity, out bool) (list []Relation) {
	if !out {
		if c := entityOf(t.entities[e].get("container")); c.Type != "" {
			list = append(list, Relation{"Contains", c})
		}
		return list
	}
	for other, item := range t.entities {
		if entityOf(item.get("container")) == e {
			list = append(list, Relation{"Contains", other})
		}
	}
	sort.Slice(list, func(i, j int) bool {
		return textOf(t.entities[list[i].Other], "name") < textOf(t.entities[list[j].Other], "name")
	})
	return list
}

// Credentials implements Registry.
func (t *trial) Credentials(e Entity) (kind, value string, ok bool) {
	c := t.entities[e].get("credentials")
	return textOf(c, "type"), textOf(c, "value"), c != nil
}

// OpenAlarm implements Registry.
func (t *trial) OpenAlarm(e Entity, kind string) *Alarm {
	for i := len(t.alarms) - 1; i >= 0; i-- {
		if a := t.alarms[i]; a.Originator == e && a.Type == kind && !a.Cleared {
			return a
		}
	}
	return nil
}

// AlarmByID implements Registry.
func (t *trial) AlarmByID(id proto.UUID) *Alarm {
	for _, a := range t.alarms {
		if a.ID == id {
			return a
		}
	}
	return nil
}

// body is the body of an event (RULES.md 4.4).
func (e *Event) body() *tree {
	data, err := parseTree(e.Data)
	if err != nil {
		data = textTree(e.Data)
	}
	switch e.Action {
	case "TIMESERIES_UPDATED":
		return object("data", data, "ts", wholeTree(e.Time))
	case "POST_ATTRIBUTES":
		return object("kv", data, "ts", wholeTree(e.Time), "scope", textTree(e.Scope), "isPostAttributes", boolTree(true))
	case AttributesUpdated:
		return object("kv", data, "ts", wholeTree(e.Time), "scope", textTree(e.Scope))
	case AttributesDeleted:
		return object("keys", data.get("attributes"), "scope", textTree(e.Scope))
	}
	id, _ := strconv.ParseInt(e.Message.meta("requestId"), 10, 64)
	return object("requestId", wholeTree(id), "serviceId", textTree(e.Message.meta("serviceId")),
		"sessionId", textTree(e.Message.meta("sessionId")), "method", data.get("method"), "params", textTree(data.get("params").plain()))
}

// Push implements Outlet.
func (t *trial) Push(e *Event) error {
	if e.Alarm == (proto.UUID{}) {
		t.add("cloud", object("action", textTree(e.Action), "entity", e.Entity.ref(), "body", e.body()))
		return nil
	}
	v := object("action", textTree(e.Action))
	if a := t.AlarmByID(e.Alarm); a != nil {
		all := a.tree(t)
		some := &tree{kind: isObject}
		for _, key := range [...]string{"type", "originator", "severity", "status", "startTs", "endTs", "clearTs", "details"} {
			some.set(key, all.get(key))
		}
		v.set("alarm", some)
	}
	t.add("cloud", v)
	return nil
}

// Save implements Outlet.
func (t *trial) Save(v *Values) error {
	kv := &tree{kind: isObject}
	id := proto.FormatUUID(v.Entity.ID)
	for _, p := range v.Pairs {
		value, err := parseTree(p.Value)
		if err != nil {
			return err
		}
		kv.set(p.Key, value)
		if v.Scope == "" && v.History {
			t.history[id+p.Key] = append(t.history[id+p.Key], Stored{v.Time, p.Value})
		}
		if old := t.values[id+v.Scope+p.Key]; old.Time <= v.Time && (v.Scope != "" || v.Latest) {
			t.values[id+v.Scope+p.Key] = Stored{v.Time, p.Value}
		}
	}
	if v.Scope == "" {
		t.add("saved", object("entity", v.Entity.ref(), "ts", wholeTree(v.Time), "values", kv))
	} else {
		t.add("attributes", object("entity", v.Entity.ref(), "scope", textTree(v.Scope), "kv", kv))
	}
	return nil
}

// Delete implements Outlet.
func (t *trial) Delete(e Entity, scope string, keys []string, _ bool) error {
	names := &tree{kind: isList}
	for _, key := range keys {
		delete(t.values, proto.FormatUUID(e.ID)+scope+key)
		names.items = append(names.items, textTree(key))
	}
	t.add("attributes", object("entity", e.ref(), "scope", textTree(scope), "deleted", names))
	return nil
}

// SaveAlarm implements Outlet.
func (t *trial) SaveAlarm(a *Alarm) error {
	if a.ID == (proto.UUID{}) {
		a.ID = proto.UUID{0: 0xa1, 14: byte(len(t.alarms) >> 8), 15: byte(len(t.alarms))}
		t.alarms = append(t.alarms, a)
		return nil
	}
	for i := range t.alarms {
		if t.alarms[i].ID == a.ID {
			t.alarms[i] = a
		}
	}
	return nil
}

// Call implements Outlet.
func (t *trial) Call(c *Call) error {
	t.add("device", object("entity", c.Device.ref(), "rpc", object("method", textTree(c.Method), "params", textTree(c.Params)),
		"oneway", boolTree(c.OneWay)))
	if !c.OneWay {
		t.calls = append(t.calls, c)
	}
	return nil
}

// Reply implements Outlet.
func (t *trial) Reply(r *Reply) error {
	t.add("device", object("entity", r.Device.ref(), "reply", object("requestId", textTree(r.Request), "response", textTree(r.Answer))))
	return nil
}

// Answered implements Outlet.
func (t *trial) Answered(c *Call, answer, word string) {
	id, _ := strconv.ParseInt(c.Message.meta("requestId"), 10, 64)
	body := object("requestUUID", textTree(c.UUID), "expirationTime", wholeTree(c.Expires), "oneway", boolTree(c.OneWay),
		"requestId", wholeTree(id))
	if body.set("response", textTree(answer)); word != "" {
		body.set("error", textTree(word))
	}
	t.out.set("answered", object("action", textTree("RPC_CALL"), "entity", c.Device.ref(), "body", body))
}

// Change implements Outlet.
func (t *trial) Change(c *Change) error {
	v := object("change", textTree(c.Kind), "entity", c.Entity.ref(), "other", c.Other.ref(), "relation", textTree(c.Relation),
		"delete", boolTree(c.Delete))
	if c.Event != "" {
		v.set("event", textTree(c.Event))
	}
	if t.out.get("changes") == nil {
		t.out.set("changes", &tree{kind: isList})
	}
	t.add("changes", v)
	return nil
}

// Log implements Outlet.
func (t *trial) Log(string, string) {}

// Instead implements Outlet.
func (t *trial) Instead(m *Message, why Why) error {
	if why == NotCalled {
		d := m.object()
		call := object("method", d.get("method"), "params", textTree(d.get("params").plain()))
		t.add("device", object("entity", m.Originator.ref(), "rpc", call,
			"oneway", boolTree(m.meta("oneway") == "true"), "instead", textTree(why.String())))
		return nil
	}
	e := &Event{Action: pushAction(m), Entity: m.Originator, Time: m.when(), Scope: "CLIENT_SCOPE", Data: m.Data, Message: m}
	t.add("cloud", object("action", textTree(e.Action), "entity", e.Entity.ref(), "body", e.body(), "instead", textTree(why.String())))
	return nil
}

// Failed implements Outlet.
func (t *trial) Failed(node, text string) {
	t.add("failed", object("node", textTree(node), "error", textTree(text)))
}

// Dropped implements Outlet.
func (t *trial) Dropped(m *Message) {
	t.add("dropped", object("message", textTree(m.Type), "entity", m.Originator.ref()))
}

// Unsupported implements Outlet.
func (t *trial) Unsupported(node, kind string, m *Message) {
	t.add("unsupported", object("node", textTree(node), "type", textTree(kind), "message", textTree(m.Type)))
}

// object is an object of keys and *tree values.
func object(members ...any) *tree {
	t := &tree{kind: isObject}
	for i := 0; i < len(members); i += 2 {
		t.set(members[i].(string), members[i+1].(*tree))
	}
	return t
}
