package rules

import (
	"math"
	"strconv"
	"strings"

	"edgesync/proto"
	"edgesync/sync/rules/script"
)

//go:noinline
func trim(s string) string { return strings.TrimSpace(s) }

// uuid is the id of a node as text.
//
//go:noinline
func (n *node) uuid() string { return proto.FormatUUID(n.id) }

// target is where an enrichment node puts values: the metadata, or the data.
type target struct {
	data bool
	m    *Message
	t    *tree // of the data
}

// into begins to enrich the message; ok is false if the node has failed.
func (r *round) into(data bool) (to target, ok bool) {
	to = target{data: data, m: r.m}
	if data {
		if to.t = r.m.object(); to.t == nil {
			r.fail("Message body is not an object!")
			return to, false
		}
	}
	return to, true
}

func (to *target) put(key string, v *tree) {
	if to.data {
		to.t.set(key, v)
		return
	}
	to.m.setMeta(key, v.plain())
}

//go:noinline
func (to *target) done() {
	if to.data {
		to.m.Data = to.t.String()
	}
}

//go:noinline
func (c *config) toData() bool { return c.text("fetchTo") == "DATA" }

// wanted are the attributes and series that a node reads.
type wanted struct {
	client, shared, server, latest []string
	strict, times, data            bool
}

func (c *config) wanted() *wanted {
	return &wanted{
		c.list("clientAttributeNames"), c.list("sharedAttributeNames"), c.list("serverAttributeNames"),
		c.list("latestTsKeyNames"), c.flag("tellFailureIfAbsent"), c.flag("getLatestValueWithTs"), c.toData(),
	}
}

// fetch enriches the message with what is wanted of an entity.
func (w *wanted) fetch(r *round, who Entity) {
	to, ok := r.into(w.data)
	if !ok {
		return
	}
	missing := ""
	read := func(names []string, scope, prefix string) {
		for _, p := range names {
			key, _ := r.m.pattern(p)
			v, ok := r.e.reg.Attribute(who, scope, key)
			t, err := parseTree(v.Value)
			if !ok || err != nil {
				missing += " [" + prefix + key + "]"
				continue
			}
			if scope == "" && w.times {
				t = members("ts value", wholeTree(v.Time), t)
			}
			to.put(prefix+key, t)
		}
	}
	read(w.latest, "", "")
	read(w.client, "CLIENT_SCOPE", "cs_")
	read(w.shared, "SHARED_SCOPE", "shared_")
	read(w.server, "SERVER_SCOPE", "ss_")
	to.done()
	if missing != "" && w.strict {
		r.fail("The following attribute/telemetry keys is not present in the DB:" + missing)
		return
	}
	r.tell("Success")
}

func makeAttributes(_ *node, c *config) work {
	w := c.wanted()
	return func(r *round) { w.fetch(r, r.m.Originator) }
}

func makeDeviceAttributes(_ *node, c *config) work {
	w, q := c.wanted(), c.query("deviceRelationsQuery")
	return func(r *round) {
		who, ok := q.first(r.e.reg, r.m.Originator)
		if !ok {
			r.fail("Failed to find related device to message originator!")
			return
		}
		w.fetch(r, who)
	}
}

func makeFields(_ *node, c *config) work {
	mapping, ignore, data := c.pairs("dataMapping"), c.flag("ignoreNullStrings"), c.toData()
	return func(r *round) { r.fields(r.m.Originator, mapping, ignore, data) }
}

func (r *round) fields(who Entity, mapping []script.Pair, ignore, data bool) {
	text, ok := r.e.reg.Fields(who)
	fields, err := parseTree(text)
	if !ok || err != nil {
		r.fail("the entity is not stored here: " + who.Type)
		return
	}
	to, ok := r.into(data)
	if !ok {
		return
	}
	for _, p := range mapping {
		v := fields
		for name := range strings.SplitSeq(p.Key, ".") {
			v = v.get(name)
		}
		if v == nil {
			continue
		}
		if id := v.get("id"); id != nil && v.get("entityType") != nil {
			v = id
		}
		value := v.plain()
		if ignore && (v.kind == isNull || value == "") {
			continue
		}
		key, _ := r.m.pattern(p.Value)
		to.put(key, textTree(value))
	}
	to.done()
	r.tell("Success")
}

// mapped enriches the message with attributes, latest values or fields of an entity.
type mapped struct {
	what    string
	mapping []script.Pair
	data    bool
}

func (c *config) mapped() *mapped {
	return &mapped{c.text("dataToFetch"), c.pairs("dataMapping"), c.toData()}
}

func (f *mapped) fetch(r *round, who Entity, ok bool) {
	if !ok {
		r.fail("Failed to find the entity that is related to the message originator!")
		return
	}
	if f.what == "FIELDS" {
		r.fields(who, f.mapping, true, f.data)
		return
	}
	scope := "SERVER_SCOPE"
	if f.what == "LATEST_TELEMETRY" {
		scope = ""
	}
	to, ok := r.into(f.data)
	if !ok {
		return
	}
	for _, p := range f.mapping {
		key, _ := r.m.pattern(p.Key)
		if v, ok := r.e.reg.Attribute(who, scope, key); ok {
			if t, err := parseTree(v.Value); err == nil {
				name, _ := r.m.pattern(p.Value)
				to.put(name, t)
			}
		}
	}
	to.done()
	r.tell("Success")
}

func makeRelatedData(_ *node, c *config) work {
	f, q := c.mapped(), c.query("relationsQuery")
	return func(r *round) {
		who, ok := q.first(r.e.reg, r.m.Originator)
		f.fetch(r, who, ok)
	}
}

func makeCustomerData(_ *node, c *config) work {
	f := c.mapped()
	return func(r *round) {
		who, ok := r.e.reg.Owner(r.m.Originator)
		f.fetch(r, who, ok)
	}
}

func makeTenantData(_ *node, c *config) work {
	f := c.mapped()
	return func(r *round) { f.fetch(r, r.e.reg.Tenant(), true) }
}

func makeCustomerDetails(_ *node, c *config) work {
	f := c.details("customer_")
	return func(r *round) {
		who, ok := r.e.reg.Owner(r.m.Originator)
		f.fetch(r, who, ok)
	}
}

func makeTenantDetails(_ *node, c *config) work {
	f := c.details("tenant_")
	return func(r *round) { f.fetch(r, r.e.reg.Tenant(), true) }
}

// details are fields of a customer or tenant under names with a prefix.
func (c *config) details(prefix string) *mapped {
	f := &mapped{what: "FIELDS", data: c.toData()}
	for _, d := range c.list("detailsList") {
		name := strings.ToLower(d)
		field := name
		switch name {
		case "additional_info":
			field = "additionalInfo.description"
		}
		f.mapping = addPair(f.mapping, field, prefix+name)
	}
	return f
}

func makeCredentials(_ *node, c *config) work {
	data := c.toData()
	return func(r *round) {
		kind, value, ok := r.e.reg.Credentials(r.m.Originator)
		if !ok {
			r.fail("Failed to get Device Credentials for the message originator!")
			return
		}
		to, ok := r.into(data)
		if !ok {
			return
		}
		v := textTree(value)
		if kind == "MQTT_BASIC" {
			if t, err := parseTree(value); err == nil {
				v = t
			}
		}
		to.put("credentialsType", textTree(kind))
		to.put("credentials", v)
		to.done()
		r.tell("Success")
	}
}

func makeDelta(_ *node, c *config) work {
	in, out, cached := c.text("inputValueKey"), c.text("outputValueKey"), c.flag("useCache")
	period, periodKey := c.flag("addPeriodBetweenMsgs"), c.text("periodValueKey")
	digits := c.size("round", -1)
	strict, exclude := c.flag("tellFailureIfDeltaIsNegative"), c.flag("excludeZeroDeltas")
	return func(r *round) {
		m := r.m
		t := m.object()
		value := t.get(in)
		if m.Type != PostTelemetry || value == nil {
			r.tell("Other")
			return
		}
		f, _ := value.number()
		before, known, err := previous(r, in, cached)
		if !r.check(err) {
			return
		}
		delta := 0.0
		at := m.when()
		if cached {
			lock(&r.n.mem.mu)
			c, _, gone := r.cell(m.Originator)
			c.value, c.time = f, at
			r.changed(m.Originator, c, gone)
			unlock(&r.n.mem.mu)
		}
		if known {
			delta = f - before.value
		}
		if strict && delta < 0 {
			r.fail("Delta value is negative!")
			return
		}
		if exclude && delta == 0 {
			r.tell("Success")
			return
		}
		if digits >= 0 {
			delta = rounded(delta, digits)
		}
		if delta == math.Trunc(delta) && math.Abs(delta) < 1e15 {
			t.set(out, wholeTree(int64(delta)))
		} else {
			t.set(out, &tree{kind: isNumber, text: strconv.FormatFloat(delta, 'e', -1, 64)})
		}
		if period {
			passed := int64(0)
			if known {
				passed = at - before.time
			}
			t.set(periodKey, wholeTree(passed))
		}
		m.Data = t.String()
		r.tell("Success")
	}
}

// previous is the value before: of the cache, or the latest one that is stored.
func previous(r *round, key string, cached bool) (before cell, known bool, err error) {
	if cached {
		lock(&r.n.mem.mu)
		c := r.n.mem.cells[r.m.Originator]
		if known = c != nil; known {
			before = *c
		}
		unlock(&r.n.mem.mu)
		if known {
			return before, true, nil
		}
	}
	v, ok := r.e.reg.Attribute(r.m.Originator, "", key)
	if !ok {
		return cell{}, false, nil
	}
	t, err := parseTree(v.Value)
	f, good := t.number()
	if err != nil || !good {
		return cell{}, false, fault("the stored value of " + key + " is no number")
	}
	return cell{value: f, time: v.Time}, true, nil
}

// rounded rounds half up, away from zero, by the decimal digits of f.
func rounded(f float64, digits int) float64 {
	if digits > 17 {
		return f
	}
	g, err := formula("toFixed(msg.a, "+decimal(int64(digits))+")", f, 0)
	if err != nil {
		return f
	}
	return g
}

func makeHistory(_ *node, c *config) work {
	names := c.list("latestTsKeyNames")
	mode, order, aggregate := c.text("fetchMode"), c.text("orderBy"), c.text("aggregation")
	limit := c.size("limit", 1000)
	patterns := c.flag("useMetadataIntervalPatterns")
	from := c.whole("startInterval", 0) * c.unit("startIntervalTimeUnit").Milliseconds()
	to := c.whole("endInterval", 0) * c.unit("endIntervalTimeUnit").Milliseconds()
	begin, end := c.text("startIntervalPattern"), c.text("endIntervalPattern")
	if len(names) == 0 {
		c.bad("latestTsKeyNames", "is empty")
	}
	return func(r *round) {
		now := r.e.opt.Now()
		a, b := now-from, now-to
		if patterns {
			start, _ := r.m.pattern(begin)
			stop, _ := r.m.pattern(end)
			var err, bad error
			a, err = strconv.ParseInt(start, 10, 64)
			b, bad = strconv.ParseInt(stop, 10, 64)
			if !r.check(err) || bad != nil && !r.check(bad) {
				return
			}
		}
		for _, p := range names {
			key, _ := r.m.pattern(p)
			list := r.e.reg.History(r.m.Originator, key, a, b)
			if len(list) > 0 {
				r.m.setMeta(key, historyText(list, mode, order, aggregate, limit))
			}
		}
		r.tell("Success")
	}
}

// historyText is what the node puts into the metadata of values that are not none, the oldest
// first.
func historyText(list []Stored, mode, order, aggregate string, limit int) string {
	switch mode {
	case "FIRST":
		t, _ := parseTree(list[0].Value)
		return t.plain()
	case "LAST":
		t, _ := parseTree(list[len(list)-1].Value)
		return t.plain()
	}
	if aggregate != "" && aggregate != "NONE" {
		list = []Stored{aggregated(list, aggregate)}
	}
	all := &tree{kind: isList}
	for i := range list {
		if len(all.items) >= limit {
			break
		}
		v := list[i]
		if order == "DESC" {
			v = list[len(list)-1-i]
		}
		t, _ := parseTree(v.Value)
		all.items = addTree(all.items, members("ts value", wholeTree(v.Time), t))
	}
	return all.String()
}

func aggregated(list []Stored, how string) Stored {
	out := Stored{list[0].Time + (list[len(list)-1].Time-list[0].Time)/2, decimal(int64(len(list)))}
	values := make([]*tree, 0, len(list))
	for i := range list {
		if t, err := parseTree(list[i].Value); err == nil {
			values = addTree(values, t)
		}
	}
	if f, ok := statistic(values, how); ok { // else it is COUNT
		out.Value = string(appendDouble(nil, f))
	}
	return out
}
