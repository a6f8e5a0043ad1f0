package rules

import (
	"errors"
	"fmt"
	"sort"

	"edgesync/proto"
)

// tryStart is the clock at the beginning of a file of steps, in ms since the epoch.
const tryStart int64 = 1767225600000

const (
	// maxWakes bounds the timers that fire before one step.
	maxWakes = 100_000
	// maxTried bounds what comes out of one step, and what a trial stores of each kind.
	maxTried = 100_000
	// maxAt is the latest moment of a step, in ms after the first one: three hundred years.
	maxAt = 1e13
)

// Trial is an edge in memory that runs the steps of a file (RULES.md 6). One goroutine uses it.
type Trial struct {
	e        *Engine
	now      int64
	tenant   Entity
	entities map[Entity]*tree
	chains   map[string]proto.UUID // by name of the device profile
	values   map[string]Stored
	history  map[string][]Stored
	stored   int // values of the history
	alarms   []*Alarm
	calls    []*Call
	out      *tree
	outs     int // what out holds
	wakes    int // maxWakes, but in tests
}

var tryLists = [...]string{"cloud", "saved", "attributes", "device", "failed", "unsupported", "dropped"}

// NewTrial makes an edge of the JSON of a file: what it stores and the chains that it was sent
// (RULES.md 6), or one chain as people export it (Export). Without a trial the error is that of
// the file; beside one it says which chains were refused, and the trial runs without them.
func NewTrial(edge []byte, opt Options) (*Trial, error) {
	in, err := parseFile(edge)
	if err != nil {
		return nil, err
	}
	t := &Trial{
		now: tryStart, entities: make(map[Entity]*tree), chains: make(map[string]proto.UUID),
		values: make(map[string]Stored), history: make(map[string][]Stored),
		tenant: Entity{"TENANT", proto.UUID{15: 1}}, wakes: maxWakes,
	}
	opt.Now = func() int64 { return t.now }
	t.e = New(t, t, opt)
	t.clear()
	if in.get("ruleChain") != nil {
		head, metadata, err := exported(in)
		if err == nil {
			err = t.take(head, metadata)
		}
		return t, err
	}
	world, downlinks := in.get("world"), in.get("downlinks")
	if world == nil && downlinks == nil {
		return nil, fault(`neither "world" and "downlinks" of an edge nor a rule chain's export`)
	}
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
	if !downlinks.null() {
		for _, d := range downlinks.items {
			err = errors.Join(err, t.take(d.get("ruleChainUpdateMsg"), d.get("ruleChainMetadataUpdateMsg")))
		}
	}
	return t, err
}

// take takes a chain's head and metadata, each of which may be nil.
func (t *Trial) take(head, metadata *tree) (err error) {
	if head != nil {
		if tenant := entityOf(head.get("tenantId")); tenant.Type != "" {
			t.tenant = tenant
		}
		err = t.e.Head([]byte(head.String()))
	}
	if metadata != nil && err == nil {
		_, err = t.e.Metadata([]byte(metadata.String()))
	}
	return err
}

func (t *Trial) readValues(world *tree) {
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

func (t *Trial) clear() {
	t.out = &tree{kind: isObject}
	t.outs = 0
	for _, list := range tryLists {
		t.out.set(list, &tree{kind: isList})
	}
}

func (t *Trial) add(list string, v *tree) {
	if t.outs++; t.outs <= maxTried {
		l := t.out.get(list)
		l.items = addTree(l.items, v)
	}
}

// until lets time pass, up to a moment.
func (t *Trial) until(at int64) error {
	for n := 0; ; n++ {
		due, ok := t.e.Due()
		if !ok || due > at {
			t.now = max(t.now, at)
			return nil
		}
		if n == t.wakes {
			return faultAt("more than % timers fire before it", t.wakes)
		}
		t.now = max(t.now, due)
		t.e.Tick()
	}
}

// Step runs one step, which is a line of JSON: time passes, and then a message enters or a device
// answers. The result is an object of the lists of all that happened since the step before:
// cloud, saved, attributes, device, failed, unsupported and dropped. After an error the trial is
// of no more use.
func (t *Trial) Step(line []byte) ([]byte, error) {
	out, err := t.step(string(line))
	if err != nil {
		return nil, err
	}
	return out.appendJSON(nil), nil
}

func (t *Trial) step(line string) (*tree, error) {
	s, err := parseTree(line)
	if err != nil {
		return nil, err
	}
	at, ok := s.get("at").number()
	if !ok || s.get("at").kind != isNumber || at < 0 || at > maxAt {
		return nil, fault(`"at" must be a number of milliseconds from 0 on`)
	}
	if err := t.until(tryStart + int64(at)); err != nil {
		return nil, err
	}
	if a := s.get("rpcAnswer"); !a.null() {
		t.answer(a)
	}
	if in := s.get("in"); !in.null() {
		if err := t.enter(in); err != nil {
			return nil, err
		}
	}
	if s := t.e.Sums(); s.Received+s.Made != s.Accepted+s.Filtered+s.Merged+uint64(s.Held) {
		return nil, fmt.Errorf("the sums do not agree: %+v", s)
	}
	if t.outs > maxTried {
		return nil, faultAt("more than % results of one step", maxTried)
	}
	out := t.out
	t.clear()
	full := members("at", s.get("at"))
	for i, key := range out.keys {
		full.set(key, out.items[i])
	}
	return full, nil
}

// enter brings a message.
func (t *Trial) enter(in *tree) error {
	m := &Message{Type: textOf(in, "msgType"), Originator: entityOf(in.get("originator")), Time: t.now, Data: in.get("data").String()}
	if m.Type == "" || m.Originator.ID == (proto.UUID{}) {
		return fault(`"in" has no "msgType", or no "originator" with entityType and id`)
	}
	if ts, ok := in.get("ts").number(); ok {
		m.Time = int64(ts)
	}
	if md := in.get("metadata"); !md.null() {
		for i, key := range md.keys {
			m.setMeta(key, md.items[i].plain())
		}
	}
	known, err := t.e.Handle(m, nil)
	if !known && !t.e.opt.Likeness && (m.Type == PostTelemetry || m.Type == PostAttributes) {
		t.pushDefault(m)
	}
	return err
}

// pushDefault does with a message what the agent does as long as no chain is known: it goes up,
// as in the default chain (RULES.md 7.2).
func (t *Trial) pushDefault(m *Message) {
	dropped := t.out.get("dropped")
	dropped.items = dropped.items[:len(dropped.items)-1]
	t.push(m, "no chain")
}

// Report describes the chains, in no order.
func (t *Trial) Report() []ChainReport { return t.e.Report() }

func (t *Trial) answer(a *tree) {
	id, _ := proto.ParseUUID(textOf(a, "device"))
	t.calls = t.open()
	for i, c := range t.calls {
		if c.Device.ID == id {
			t.calls = append(t.calls[:i], t.calls[i+1:]...)
			t.e.Answer(c.ID, a.get("response").String(), textOf(a, "error"))
			return
		}
	}
}

// Fields implements Registry.
func (t *Trial) Fields(e *Entity) (string, bool) {
	item := t.entities[*e]
	if item == nil {
		return "", false
	}
	f := members("id", e.ref())
	for i, key := range item.keys {
		if !is(key, "entity") && !is(key, "profile") && !is(key, "container") {
			f.set(key, item.items[i])
		}
	}
	return f.String(), true
}

// Profile implements Registry.
func (t *Trial) Profile(e *Entity) (string, proto.UUID, bool) {
	item := t.entities[*e]
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
func (t *Trial) Attribute(e *Entity, scope, key string) (Stored, bool) {
	v, ok := t.values[proto.FormatUUID(e.ID)+scope+key]
	return v, ok
}

// History implements Registry.
func (t *Trial) History(e *Entity, key string, from, to int64) (list []Stored) {
	for _, v := range t.history[proto.FormatUUID(e.ID)+key] {
		if v.Time >= from && v.Time < to {
			list = append(list, v)
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].Time < list[j].Time })
	return list
}

// Find implements Registry.
func (t *Trial) Find(kind, name string) (Entity, bool) {
	for e, item := range t.entities {
		if e.Type == kind && textOf(item, "name") == name {
			return e, true
		}
	}
	return Entity{}, false
}

// Owner implements Registry.
func (t *Trial) Owner(e *Entity) (Entity, bool) {
	if e.Type == "CUSTOMER" {
		return *e, true
	}
	for _, key := range [...]string{"customer", "customerId"} {
		if c := entityOf(t.entities[*e].get(key)); c.Type != "" && c.ID != proto.NullUUID {
			return c, true
		}
	}
	return Entity{}, false
}

// Tenant implements Registry.
func (t *Trial) Tenant() Entity { return t.tenant }

// Related implements Registry: of relations there are those of containers.
func (t *Trial) Related(e *Entity, out bool) (list []Relation) {
	if !out {
		if c := entityOf(t.entities[*e].get("container")); c.Type != "" {
			list = append(list, Relation{"Contains", c})
		}
		return list
	}
	for other, item := range t.entities {
		if entityOf(item.get("container")) == *e {
			list = append(list, Relation{"Contains", other})
		}
	}
	sort.Slice(list, func(i, j int) bool {
		return textOf(t.entities[list[i].Other], "name") < textOf(t.entities[list[j].Other], "name")
	})
	return list
}

// Credentials implements Registry.
func (t *Trial) Credentials(e *Entity) (kind, value string, ok bool) {
	c := t.entities[*e].get("credentials")
	return textOf(c, "type"), textOf(c, "value"), c != nil
}

// OpenAlarm implements Registry.
func (t *Trial) OpenAlarm(e *Entity, kind string) *Alarm {
	for i := len(t.alarms) - 1; i >= 0; i-- {
		if a := t.alarms[i]; a.Originator == *e && a.Type == kind && !a.Cleared {
			return a
		}
	}
	return nil
}

// AlarmByID implements Registry.
func (t *Trial) AlarmByID(id proto.UUID) *Alarm {
	for _, a := range t.alarms {
		if a.ID == id {
			return a
		}
	}
	return nil
}
