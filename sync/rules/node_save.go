package rules

import (
	"strconv"
	"strings"
)

// intervals decide what of a save node is done for a message (RULES.md 4.4, processingSettings).
type interval struct {
	_    uncompared
	skip bool
	each int64 // ms; 0: always
}

// maxIntervals bounds the intervals that are remembered of one node.
const maxIntervals = 100

// processing reads processingSettings; part is the one of ADVANCED that is stored here.
func (c *config) processing(part string) (i interval) {
	s := c.part(c.t.get("processingSettings"))
	if s.text("type") == "ADVANCED" {
		s.t = s.t.get(part)
	}
	switch s.text("type") {
	case "WEBSOCKETS_ONLY", "SKIP":
		i.skip = true
	case "DEDUPLICATE":
		i.each = s.seconds("deduplicationIntervalSecs", 86400)
	}
	return i
}

func (i *interval) always() bool { return !i.skip && i.each == 0 }

// due reports whether the message is the first one of its originator in its interval. Each which
// of a node has intervals of its own.
func (i *interval) due(r *round, which int64) bool {
	if i.each == 0 {
		return !i.skip
	}
	m, mem := r.m, r.n.mem
	number := m.when()/i.each*2 + which
	lock(&mem.mu)
	c, made, gone := r.cell(&m.Originator)
	for _, n := range c.intervals {
		if n == number && !made {
			unlock(&mem.mu)
			return false
		}
	}
	r.add(c, number, maxIntervals)
	r.changed(&m.Originator, c, gone)
	unlock(&mem.mu)
	return true
}

// add puts a number behind those of a cell, which are at most so many. The memory is locked.
func (r *round) add(c *cell, number int64, most int) {
	if len(c.intervals) >= most {
		c.intervals = append(c.intervals[:0], c.intervals[1:]...)
	} else {
		r.e.cells.Add(8)
	}
	c.intervals = append(c.intervals, number)
}

// isPlain reports whether a store takes a text for a number: without exponent, maybe with zeros in
// front.
func isPlain(s string) bool {
	s = strings.TrimPrefix(s, "-")
	return s != "" && s[0]-'0' < 10 && isNumeral("1"+s) && !strings.ContainsAny(s, "eE")
}

// typed is a value as it is stored: a text that is a plain number becomes one (RULES.md 2.1).
func typed(v *tree) string {
	if v.kind != isText || !isPlain(v.text) {
		return v.String()
	}
	f, err := strconv.ParseFloat(v.text, 64)
	if n, bad := strconv.ParseInt(v.text, 10, 64); bad == nil {
		return decimal(n)
	}
	if digits := len(v.text); err != nil || digits > 18 || f == float64(int64(f)) && digits > 17 {
		return v.String()
	}
	return string(appendDouble(nil, f))
}

// series are the values of one time of POST_TELEMETRY_REQUEST.
func (v *Values) add(t *tree) {
	for i, key := range t.keys {
		if t.items[i].kind != isNull {
			v.Pairs = addPair(v.Pairs, key, typed(t.items[i]))
		}
	}
}

// seriesOf reads telemetry in its forms: {k:v}, {"ts","values"} and arrays of both.
func seriesOf(t *tree, now int64) (all []*Values) {
	if t.kind == isList {
		for _, item := range t.items {
			all = append(all, seriesOf(item, now)...)
		}
		return all
	}
	v := &Values{Time: now}
	if values := t.get("values"); values != nil && values.kind == isObject && t.get("ts") != nil {
		if ts, ok := t.get("ts").number(); ok {
			v.Time = int64(ts)
		}
		t = values
	}
	if v.add(t); len(v.Pairs) == 0 {
		return nil
	}
	return []*Values{v}
}

type saveSeries struct {
	_              uncompared
	TTL            int64 `conf:"defaultTTL"`
	ServerTime     bool  `conf:"useServerTs"`
	latest, series interval
	same           bool // both are of one interval
}

func (f *saveSeries) prepare(n *node, c *config) {
	f.latest, f.series = c.processing("latest"), c.processing("timeseries")
	if f.latest.always() && f.series.always() && f.TTL == 0 && !f.ServerTime {
		n.plain = plainSeries
	}
	f.same = textOf(c.t.get("processingSettings"), "type") != "ADVANCED"
}

func (f *saveSeries) do(r *round) {
	m := r.m
	if m.Type != PostTelemetry {
		r.failOn("Unsupported msg type: %", m.Type)
		return
	}
	isLatest := f.latest.due(r, 0)
	isSeries := isLatest
	if !f.same {
		isSeries = f.series.due(r, 1)
	}
	if !isLatest && !isSeries {
		r.tell("Success")
		return
	}
	at := m.when()
	if f.ServerTime {
		at = r.e.opt.Now()
	}
	t, err := parseTree(m.Data)
	if !r.check(err) {
		return
	}
	all := seriesOf(t, at)
	if len(all) == 0 {
		r.failOn("Msg body is empty: %", shortened(m.Data))
		return
	}
	keep := f.TTL
	if text := m.meta("TTL"); text != "" {
		if keep, err = strconv.ParseInt(text, 10, 64); !r.check(err) {
			return
		}
	}
	for _, v := range all {
		v.Entity, v.TTL, v.Latest, v.History = m.Originator, keep, isLatest, isSeries
		if !r.check(r.out.Save(v)) {
			return
		}
	}
	r.tell("Success")
}

// shortened is a text for an error.
//
//go:noinline
func shortened(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}

// scopeOf is the scope that the message names, or the node's; ok is false if it is none, and the
// node has failed.
//
//go:noinline
func (r *round) scopeOf(node scope) (scope string, ok bool) {
	if scope = r.m.meta("scope"); scope == "" {
		scope = string(node)
	}
	if ok = knownScope(scope); !ok {
		r.failOn("there is no scope %", scope)
	}
	return scope, ok
}

type saveAttributes struct {
	_       uncompared
	Scope   scope `conf:"scope"`
	Notify  bool  `conf:"notifyDevice"`
	Tell    bool  `conf:"sendAttributesUpdatedNotification"`
	Changed bool  `conf:"updateAttributesOnlyOnValueChange"`
	when    interval
}

func (f *saveAttributes) prepare(n *node, c *config) {
	if f.when = c.processing("attributes"); f.when.always() {
		n.plain, n.scope = plainAttributes, string(f.Scope)
	}
}

func (f *saveAttributes) do(r *round) {
	m := r.m
	if m.Type != PostAttributes {
		r.failOn("Unsupported msg type: %", m.Type)
		return
	}
	scope, ok := r.scopeOf(f.Scope)
	if !ok {
		return
	}
	if !f.when.due(r, 0) {
		r.tell("Success")
		return
	}
	t := m.object()
	if t == nil {
		r.fail(notObject)
		return
	}
	v := &Values{Entity: m.Originator, Scope: scope, Time: r.e.opt.Now()}
	for i, key := range t.keys {
		value := typed(t.items[i])
		if t.items[i].kind == isNull {
			continue
		}
		if old, ok := r.e.reg.Attribute(&m.Originator, scope, key); f.Changed && ok && old.Value == value {
			continue
		}
		v.Pairs = addPair(v.Pairs, key, value)
	}
	if len(v.Pairs) > 0 {
		said := m.meta("notifyDevice")
		v.Notify = scope == "SHARED_SCOPE" && (f.Notify || said == "" || is(said, "true"))
		if !r.check(r.out.Save(v)) {
			return
		}
		if f.Tell && scope != "CLIENT_SCOPE" {
			data := &tree{kind: isObject}
			for i := range v.Pairs {
				key := v.Pairs[i].Key
				data.set(key, t.get(key))
			}
			r.notice(AttributesUpdated, scope, data)
		}
	}
	r.tell("Success")
}

// notice makes a message about the originator's attributes.
func (r *round) notice(typ, scope string, data *tree) {
	m := newMessage(typ, r.m.Originator, r.e.opt.Now(), data.String())
	m.setMeta("scope", scope)
	m.setMeta("ruleNodeId", r.n.uuid())
	r.make(m)
}

type deleteAttributes struct {
	_      uncompared
	Scope  scope    `conf:"scope"`
	Keys   []string `conf:"keys"`
	Tell   bool     `conf:"sendAttributesDeletedNotification"`
	Notify bool     `conf:"notifyDevice"`
}

func (f *deleteAttributes) do(r *round) {
	m := r.m
	scope, ok := r.scopeOf(f.Scope)
	if !ok {
		return
	}
	names := &tree{kind: isObject}
	for _, p := range f.Keys {
		key, ok := m.pattern(p)
		if !ok {
			r.fail(noJSON)
			return
		}
		if key = trim(key); key != "" {
			names.set(key, textTree(key))
		}
	}
	if len(names.keys) > 0 {
		told := scope == "SHARED_SCOPE" && (f.Notify || is(m.meta("notifyDevice"), "true"))
		if !r.check(r.out.Delete(&m.Originator, scope, names.keys, told)) {
			return
		}
		if f.Tell {
			r.notice(AttributesDeleted, scope, members("attributes", &tree{kind: isList, items: names.items}))
		}
	}
	r.tell("Success")
}

// noJSON is the failure of a node that fills in a pattern.
const noJSON = "Message body is no JSON!"
