package rules

import (
	"math"
	"strconv"
	"strings"
	"time"

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
	m *Message
	t *tree // the data; nil: the metadata
}

// into begins to enrich the message; ok is false if the node has failed.
func (r *round) into(data bool) (to target, ok bool) {
	to = target{m: r.m}
	if data {
		if to.t = r.m.object(); to.t == nil {
			r.fail(notObject)
			return to, false
		}
	}
	return to, true
}

func (to *target) put(key string, v *tree) {
	if to.t != nil {
		to.t.set(key, v)
		return
	}
	to.m.setMeta(key, v.plain())
}

// done ends the node.
func (to *target) done(r *round) {
	if to.t != nil {
		to.m.Data = to.t.String()
	}
	r.tell("Success")
}

// attributes are the attributes and series that a node reads.
type attributes struct {
	Latest []string `conf:"latestTsKeyNames"`
	Client []string `conf:"clientAttributeNames"`
	Shared []string `conf:"sharedAttributeNames"`
	Server []string `conf:"serverAttributeNames"`
	Strict bool     `conf:"tellFailureIfAbsent"`
	Times  bool     `conf:"getLatestValueWithTs"`
	Data   bool     `conf:"fetchTo DATA"`
}

// fetch enriches the message with what is wanted of an entity.
func (w *attributes) fetch(r *round, who *Entity) {
	to, ok := r.into(w.Data)
	if !ok {
		return
	}
	missing := ""
	scopes := [...]string{"CLIENT_SCOPE", "SHARED_SCOPE", "SERVER_SCOPE", ""}
	prefixes := [...]string{"cs_", "shared_", "ss_", ""}
	for i, names := range [...][]string{w.Client, w.Shared, w.Server, w.Latest} {
		for _, p := range names {
			key, _ := r.m.pattern(p)
			v, ok := r.e.reg.Attribute(who, scopes[i], key)
			t, err := parseTree(v.Value)
			key = prefixes[i] + key
			if !ok || err != nil {
				missing += " [" + key + "]"
				continue
			}
			if scopes[i] == "" && w.Times {
				t = members("ts value", wholeTree(v.Time), t)
			}
			to.put(key, t)
		}
	}
	if missing != "" && w.Strict {
		if to.t != nil {
			to.m.Data = to.t.String()
		}
		r.failOn("The following attribute/telemetry keys is not present in the DB:%", missing)
		return
	}
	to.done(r)
}

func (w *attributes) do(r *round) { w.fetch(r, &r.m.Originator) }

type deviceAttributes struct {
	attributes `conf:""`
	Query      *query `conf:"deviceRelationsQuery"`
}

func (w *deviceAttributes) do(r *round) {
	who, ok := w.Query.first(r.e.reg, &r.m.Originator)
	if !ok {
		r.fail("Failed to find related device to message originator!")
		return
	}
	w.fetch(r, &who)
}

// fields enriches the message with fields of an entity.
type fields struct {
	Mapping []script.Pair `conf:"dataMapping"`
	Ignore  bool          `conf:"ignoreNullStrings"`
	Data    bool          `conf:"fetchTo DATA"`
	listed  bool          // in the order of Mapping, else in that of Java's HashMap
}

func (f *fields) do(r *round) { f.fetch(r, &r.m.Originator) }

func (f *fields) fetch(r *round, who *Entity) {
	text, ok := r.e.reg.Fields(who)
	fields, err := parseTree(text)
	if !ok || err != nil {
		r.failOn("the entity is not stored here: %", who.Type)
		return
	}
	to, ok := r.into(f.Data)
	if !ok {
		return
	}
	order := hashOrder
	if f.listed {
		order = func(pairs []script.Pair) []script.Pair { return pairs }
	}
	var found []script.Pair
	for _, p := range order(f.Mapping) {
		v := fields.under(p.Key)
		if v == nil {
			continue
		}
		if id := v.get("id"); id != nil && v.get("entityType") != nil {
			v = id
		}
		value := v.plain()
		if f.Ignore && (v.kind == isNull || value == "") {
			continue
		}
		key, _ := r.m.pattern(p.Value)
		found = addPair(found, key, value)
	}
	for _, p := range order(found) {
		to.put(p.Key, textTree(p.Value))
	}
	to.done(r)
}

// mapped enriches the message with attributes, latest values or fields of an entity.
type mapped struct {
	Fields bool `conf:"dataToFetch FIELDS"`
	Latest bool `conf:"dataToFetch LATEST_TELEMETRY"`
	fields `conf:""`
}

func (f *mapped) prepare(*node, *config) { f.Ignore = true }

func (f *mapped) fetch(r *round, who *Entity, ok bool) {
	if !ok {
		r.fail("Failed to find the entity that is related to the message originator!")
		return
	}
	if f.Fields {
		f.fields.fetch(r, who)
		return
	}
	scope := "SERVER_SCOPE"
	if f.Latest {
		scope = ""
	}
	to, ok := r.into(f.Data)
	if !ok {
		return
	}
	for i := range f.Mapping {
		p := &f.Mapping[i]
		key, _ := r.m.pattern(p.Key)
		if v, ok := r.e.reg.Attribute(who, scope, key); ok {
			if t, err := parseTree(v.Value); err == nil {
				name, _ := r.m.pattern(p.Value)
				to.put(name, t)
			}
		}
	}
	to.done(r)
}

type relatedData struct {
	mapped `conf:""`
	Query  *query `conf:"relationsQuery"`
}

func (f *relatedData) do(r *round) {
	who, ok := f.Query.first(r.e.reg, &r.m.Originator)
	f.fetch(r, &who, ok)
}

type customerData struct {
	mapped `conf:""`
}

func (f *customerData) do(r *round) {
	who, ok := r.e.reg.Owner(&r.m.Originator)
	f.fetch(r, &who, ok)
}

type tenantData struct {
	_      uncompared
	mapped `conf:""`
}

func (f *tenantData) do(r *round) {
	who := r.e.reg.Tenant()
	f.fetch(r, &who, true)
}

type customerDetails struct {
	customerData `conf:""`
	Details      []string `conf:"detailsList"`
}

func (f *customerDetails) prepare(*node, *config) { f.details("customer_", f.Details) }

type tenantDetails struct {
	tenantData `conf:""`
	Details    []string `conf:"detailsList"`
}

func (f *tenantDetails) prepare(*node, *config) { f.details("tenant_", f.Details) }

// details are fields of a customer or tenant under names with a prefix.
func (f *mapped) details(prefix string, list []string) {
	f.Fields, f.Ignore, f.listed, f.Mapping = true, true, true, nil
	for _, d := range list {
		name := strings.ToLower(d)
		field := name
		if name == "additional_info" {
			name, field = "additionalInfo", "additionalInfo.description"
		}
		f.Mapping = addPair(f.Mapping, field, prefix+name)
	}
}

type credentials struct {
	_    uncompared
	Data bool `conf:"fetchTo DATA"`
}

func (f *credentials) do(r *round) {
	kind, value, ok := r.e.reg.Credentials(&r.m.Originator)
	if !ok {
		r.fail("Failed to get Device Credentials for the message originator!")
		return
	}
	to, ok := r.into(f.Data)
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
	to.done(r)
}

type delta struct {
	_         uncompared
	In        string `conf:"inputValueKey"`
	Out       string `conf:"outputValueKey"`
	Cached    bool   `conf:"useCache"`
	Period    bool   `conf:"addPeriodBetweenMsgs"`
	PeriodKey string `conf:"periodValueKey"`
	Digits    int    `conf:"round -1"`
	Strict    bool   `conf:"tellFailureIfDeltaIsNegative"`
	Exclude   bool   `conf:"excludeZeroDeltas"`
}

func (d *delta) do(r *round) {
	m := r.m
	t := m.object()
	value := t.get(d.In)
	if m.Type != PostTelemetry || value == nil {
		r.tell("Other")
		return
	}
	f, _ := value.number()
	if value.kind == isTrue { // as Jackson counts it
		f = 1
	}
	before, known, err := previous(r, d.In, d.Cached)
	if !r.check(err) {
		return
	}
	at := m.when()
	if d.Cached {
		lock(&r.n.mem.mu)
		c, _, gone := r.cell(&m.Originator)
		c.value, c.time = f, at
		r.changed(&m.Originator, c, gone)
		unlock(&r.n.mem.mu)
	}
	by, passed := 0.0, int64(0)
	if known {
		by, passed = f-before.Value, at-before.Time
	}
	if d.Strict && by < 0 {
		r.fail("Delta value is negative!")
		return
	}
	if d.Exclude && by == 0 {
		r.tell("Success")
		return
	}
	if d.Digits >= 0 {
		by = rounded(by, d.Digits)
	}
	out := wholeTree(int64(by))
	if by != math.Trunc(by) || math.Abs(by) >= 1<<63 {
		out.text = strconv.FormatFloat(by, 'e', -1, 64)
	}
	if t.set(d.Out, out); d.Period {
		t.set(d.PeriodKey, wholeTree(passed))
	}
	m.Data = t.String()
	r.tell("Success")
}

// valueAt is a number and its time.
type valueAt struct {
	Value float64
	Time  int64
}

// previous is the value before: of the cache, or the latest one that is stored.
func previous(r *round, key string, cached bool) (before valueAt, known bool, err error) {
	if cached {
		lock(&r.n.mem.mu)
		c := r.n.mem.cells[r.m.Originator]
		if known = c != nil; known {
			before = valueAt{c.value, c.time}
		}
		unlock(&r.n.mem.mu)
		if known {
			return before, true, nil
		}
	}
	v, ok := r.e.reg.Attribute(&r.m.Originator, "", key)
	if !ok {
		return before, false, nil
	}
	t, err := parseTree(v.Value)
	f, good := t.number()
	if err != nil || !good {
		err = faultOn("the stored value of % is no number", key)
	}
	return valueAt{f, v.Time}, true, err
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

type history struct {
	Names     []string      `conf:"latestTsKeyNames"`
	First     bool          `conf:"fetchMode FIRST"`
	Last      bool          `conf:"fetchMode LAST"`
	Down      bool          `conf:"orderBy DESC"`
	Aggregate string        `conf:"aggregation"`
	Limit     int           `conf:"limit 1000"`
	Patterns  bool          `conf:"useMetadataIntervalPatterns"`
	From      int64         `conf:"startInterval"`
	FromUnit  time.Duration `conf:"startIntervalTimeUnit"`
	To        int64         `conf:"endInterval"`
	ToUnit    time.Duration `conf:"endIntervalTimeUnit"`
	Begin     string        `conf:"startIntervalPattern"`
	End       string        `conf:"endIntervalPattern"`
}

func (h *history) prepare(_ *node, c *config) {
	if len(h.Names) == 0 {
		c.bad("latestTsKeyNames", "is empty")
	}
}

func (h *history) do(r *round) {
	now := r.e.opt.Now()
	from, to := now-h.From*h.FromUnit.Milliseconds(), now-h.To*h.ToUnit.Milliseconds()
	if h.Patterns {
		begin, _ := r.m.pattern(h.Begin)
		end, _ := r.m.pattern(h.End)
		var err, bad error
		from, err = strconv.ParseInt(begin, 10, 64)
		to, bad = strconv.ParseInt(end, 10, 64)
		if !r.check(err) || bad != nil && !r.check(bad) {
			return
		}
	}
	if from > to {
		r.fail("Interval start should be less than Interval end")
		return
	}
	for _, p := range h.Names {
		key, _ := r.m.pattern(p)
		if list := r.e.reg.History(&r.m.Originator, key, from, to); len(list) > 0 {
			r.m.setMeta(key, h.text(list, from+(to-from)/2))
		}
	}
	r.tell("Success")
}

// text is what the node puts into the metadata of values that are not none, the oldest first;
// middle is that of the interval.
func (h *history) text(list []Stored, middle int64) string {
	if h.First || h.Last {
		one := &list[0]
		if h.Last {
			one = &list[len(list)-1]
		}
		t, _ := parseTree(one.Value)
		return textTree(t.plain()).String() // with its quotes, as on a real edge
	}
	if h.Aggregate != "" && !is(h.Aggregate, "NONE") {
		list = []Stored{{middle, aggregated(list, h.Aggregate)}}
	}
	all := &tree{kind: isList}
	for i := range list {
		if len(all.items) >= h.Limit {
			break
		}
		v := &list[i]
		if h.Down {
			v = &list[len(list)-1-i]
		}
		t, _ := parseTree(v.Value)
		all.items = addTree(all.items, members("ts value", wholeTree(v.Time), t))
	}
	return all.String()
}

// aggregated is one value of all, of whole numbers a whole one, but for their mean.
func aggregated(list []Stored, how string) string {
	values := make([]*tree, 0, len(list))
	whole := !is(how, "AVG")
	for i := range list {
		if t, err := parseTree(list[i].Value); err == nil {
			values, whole = addTree(values, t), whole && !strings.ContainsAny(t.text, ".eE")
		}
	}
	f, ok := statistic(values, how)
	switch {
	case !ok: // it is COUNT
		return decimal(int64(len(list)))
	case whole:
		return decimal(toLong(f))
	}
	return string(appendDouble(nil, f))
}
