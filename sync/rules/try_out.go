package rules

import (
	"strconv"

	"edgesync/proto"
)

// body is the body of an event (RULES.md 4.4).
func (e *Event) body() *tree {
	data, err := parseTree(e.Data)
	if err != nil {
		data = textTree(e.Data)
	}
	switch e.Action {
	case "TIMESERIES_UPDATED":
		return members("data ts", data, wholeTree(e.Time))
	case "POST_ATTRIBUTES":
		return members("kv ts scope isPostAttributes", data, wholeTree(e.Time), textTree(e.Scope), boolTree(true))
	case AttributesUpdated:
		return members("kv ts scope", data, wholeTree(e.Time), textTree(e.Scope))
	case AttributesDeleted:
		return members("keys scope", data.get("attributes"), textTree(e.Scope))
	}
	id, _ := strconv.ParseInt(e.Message.meta("requestId"), 10, 64)
	return members("requestId serviceId sessionId method params", wholeTree(id), textTree(e.Message.meta("serviceId")),
		textTree(e.Message.meta("sessionId")), data.get("method"), textTree(data.get("params").plain()))
}

// Push implements Outlet.
func (t *Trial) Push(e *Event) error {
	if e.Alarm == (proto.UUID{}) {
		t.add("cloud", members("action entity body", textTree(e.Action), e.Entity.ref(), e.body()))
		return nil
	}
	v := members("action", textTree(e.Action))
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
func (t *Trial) Save(v *Values) error {
	kv := &tree{kind: isObject}
	id := proto.FormatUUID(v.Entity.ID)
	for _, p := range v.Pairs {
		value, err := parseTree(p.Value)
		if err != nil {
			return err
		}
		kv.set(p.Key, value)
		if v.Scope == "" && v.History && t.stored < maxTried {
			t.stored++
			t.history[id+p.Key] = append(t.history[id+p.Key], Stored{v.Time, p.Value})
		}
		old, known := t.values[id+v.Scope+p.Key]
		if !known && len(t.values) >= maxTried {
			return faultAt("more than % values to store", maxTried)
		}
		if old.Time <= v.Time && (v.Scope != "" || v.Latest) {
			t.values[id+v.Scope+p.Key] = Stored{v.Time, p.Value}
		}
	}
	if v.Scope == "" {
		t.add("saved", members("entity ts values", v.Entity.ref(), wholeTree(v.Time), kv))
	} else {
		t.add("attributes", members("entity scope kv", v.Entity.ref(), textTree(v.Scope), kv))
	}
	return nil
}

// Delete implements Outlet.
func (t *Trial) Delete(e *Entity, scope string, keys []string, _ bool) error {
	names := &tree{kind: isList}
	for _, key := range keys {
		delete(t.values, proto.FormatUUID(e.ID)+scope+key)
		names.items = append(names.items, textTree(key))
	}
	t.add("attributes", members("entity scope deleted", e.ref(), textTree(scope), names))
	return nil
}

// SaveAlarm implements Outlet.
func (t *Trial) SaveAlarm(a *Alarm) error {
	if a.ID == (proto.UUID{}) {
		if len(t.alarms) >= maxTried {
			return faultAt("more than % alarms to store", maxTried)
		}
		a.ID = proto.UUID{0: 0xa1, 13: byte(len(t.alarms) >> 16), 14: byte(len(t.alarms) >> 8), 15: byte(len(t.alarms))}
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
func (t *Trial) Call(c *Call) error {
	call := members("method params", textTree(c.Method), textTree(c.Params))
	t.add("device", members("entity rpc oneway", c.Device.ref(), call, boolTree(c.OneWay)))
	if !c.OneWay {
		t.calls = append(t.open(), c)
	}
	return nil
}

// open are the calls that may still be answered.
func (t *Trial) open() []*Call {
	n := 0
	for _, c := range t.calls {
		if c.Expires > t.now {
			t.calls[n] = c
			n++
		}
	}
	return t.calls[:n]
}

// Reply implements Outlet.
func (t *Trial) Reply(r *Reply) error {
	t.add("device", members("entity reply", r.Device.ref(), members("requestId response", textTree(r.Request), textTree(r.Answer))))
	return nil
}

// Answered implements Outlet.
func (t *Trial) Answered(c *Call, answer, word string) {
	id, _ := strconv.ParseInt(c.Message.meta("requestId"), 10, 64)
	body := members("requestUUID expirationTime oneway requestId", textTree(c.UUID), wholeTree(c.Expires),
		boolTree(c.OneWay), wholeTree(id))
	if body.set("response", textTree(answer)); word != "" {
		body.set("error", textTree(word))
	}
	t.out.set("answered", members("action entity body", textTree("RPC_CALL"), c.Device.ref(), body))
}

// Change implements Outlet.
func (t *Trial) Change(c *Change) error {
	v := members("change entity other relation delete", textTree(c.Kind), c.Entity.ref(), c.Other.ref(),
		textTree(c.Relation), boolTree(c.Delete))
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
func (t *Trial) Log(string, string) {}

// Instead implements Outlet.
func (t *Trial) Instead(m *Message, why Why) error {
	if why == NotCalled {
		d := m.object()
		call := members("method params", d.get("method"), textTree(d.get("params").plain()))
		t.add("device", members("entity rpc oneway instead", m.Originator.ref(), call,
			boolTree(is(m.meta("oneway"), "true")), textTree(why.String())))
		return nil
	}
	t.push(m, why.String())
	return nil
}

// push notes a message of a device that goes up as it entered.
func (t *Trial) push(m *Message, why string) {
	e := &Event{Action: pushAction(m), Entity: m.Originator, Time: m.when(), Scope: "CLIENT_SCOPE", Data: m.Data, Message: m}
	t.add("cloud", members("action entity body instead", textTree(e.Action), e.Entity.ref(), e.body(), textTree(why)))
}

// Failed implements Outlet.
func (t *Trial) Failed(node, text string) {
	t.add("failed", members("node error", textTree(node), textTree(text)))
}

// Dropped implements Outlet.
func (t *Trial) Dropped(m *Message) {
	t.add("dropped", members("message entity", textTree(m.Type), m.Originator.ref()))
}

// Unsupported implements Outlet.
func (t *Trial) Unsupported(node, kind string, m *Message) {
	t.add("unsupported", members("node type message", textTree(node), textTree(kind), textTree(m.Type)))
}
