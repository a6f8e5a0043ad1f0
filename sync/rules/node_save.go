package rules

import (
	"strconv"
	"strings"

	"edgesync/sync/rules/script"
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

// due reports whether the message, of that time, is the first one of its originator in its
// interval. Each which of a node has intervals of its own.
func (i *interval) due(r *round, at, which int64) bool {
	if i.each == 0 {
		return !i.skip
	}
	m, mem := r.m, r.n.mem
	number := at/i.each*2 + which
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
// front, or nothing.
func isPlain(s string) bool {
	s = strings.TrimPrefix(s, "-")
	return s != "" && isNumeral("1"+s) && !strings.ContainsAny(s, "eE")
}

// typed is a value as it is stored: a text that is a plain number becomes one. Of a number the
// digits behind the point count, as Java's BigDecimal has them: without any it is whole, unless it
// was written with a point and no exponent, and with more than 16 a text (RULES.md 2.1).
func typed(v *tree) string {
	s := v.text
	if v.kind != isNumber && (v.kind != isText || !isPlain(s)) {
		return v.String()
	}
	mantissa, exponent := s, 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa = s[:i]
		exponent, _ = strconv.Atoi(s[i+1:])
	}
	digits, part, point := strings.Cut(mantissa, ".")
	digits += part
	behind := len(part) - min(max(exponent, -1<<20), 1<<20) // an int of 32 bits holds that
	some := strings.TrimRight(digits, "0")
	if point && mantissa == s || len(digits)-len(some) < behind && some != "" && some != "-" {
		if behind <= 16 {
			if f, err := strconv.ParseFloat(s, 64); err == nil {
				return string(appendDouble(nil, f+0)) // +0: no zero below zero
			}
		}
	} else if some == "" || some == "-" {
		return "0"
	} else {
		digits = digits[:len(digits)-min(max(behind, 0), len(digits)-len(some))]
		if n, err := strconv.ParseInt(digits+strings.Repeat("0", min(max(-behind, 0), 20)), 10, 64); err == nil {
			return decimal(n)
		}
	}
	return textTree(s).String()
}

// values are the pairs of an object as they are stored. A store takes no null.
func values(t *tree) (pairs []script.Pair, err error) {
	if t == nil || t.kind != isObject {
		return nil, fault(notObject)
	}
	for i, key := range t.keys {
		if t.items[i].kind == isNull {
			return nil, faultOn("Can't parse value: % is null", shortened(key))
		}
		pairs = addPair(pairs, key, typed(t.items[i]))
	}
	return pairs, nil
}

// seriesOf reads telemetry in its forms: {k:v}, {"ts","values"} and arrays of both.
func seriesOf(t *tree, now int64) (all []*Values, err error) {
	items := []*tree{t}
	if t.kind == isList {
		items = t.items
	}
	for _, item := range items {
		v := &Values{Time: now}
		if ts, of := item.get("ts"), item.get("values"); ts != nil && of != nil {
			f, ok := ts.number()
			if !ok {
				return nil, faultOn("Can't parse value: %", shortened(ts.String()))
			}
			v.Time, item = toLong(f), of
		}
		if v.Pairs, err = values(item); err != nil {
			return nil, err
		}
		if len(v.Pairs) > 0 {
			all = append(all, v)
		}
	}
	return all, nil
}

type saveSeries struct {
	_              uncompared
	TTL            int64 `conf:"defaultTTL"`
	ServerTime     bool  `conf:"useServerTs"`
	latest, series interval
	same           bool // both are of one interval
	look           bool // the data are looked at where neither is stored, too
}

func (f *saveSeries) prepare(n *node, c *config) {
	f.latest, f.series = c.processing("latest"), c.processing("timeseries")
	if f.latest.always() && f.series.always() && f.TTL == 0 && !f.ServerTime {
		n.plain = plainSeries
	}
	how := textOf(c.t.get("processingSettings"), "type")
	f.same = how != "ADVANCED"
	shown, counted := c.processing("webSockets"), c.processing("calculatedFields")
	f.look = how == "WEBSOCKETS_ONLY" || !f.same && !(shown.skip && counted.skip)
}

func (f *saveSeries) do(r *round) {
	m := r.m
	if m.Type != PostTelemetry {
		r.failOn("Unsupported msg type: %", m.Type)
		return
	}
	at := m.when()
	if f.ServerTime {
		at = r.e.opt.Now()
	}
	isLatest := f.latest.due(r, at, 0)
	isSeries := isLatest
	if !f.same {
		isSeries = f.series.due(r, at, 1)
	}
	kept := isLatest || isSeries
	if !kept && !f.look {
		r.tell("Success")
		return
	}
	t, err := parseTree(m.Data)
	if !r.check(err) {
		return
	}
	all, err := seriesOf(t, at)
	if !r.check(err) {
		return
	}
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
		if kept && !r.check(r.out.Save(v)) {
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
	pairs, err := values(m.object())
	if !r.check(err) {
		return
	}
	if len(pairs) == 0 || !f.when.due(r, m.when(), 0) {
		r.tell("Success")
		return
	}
	scope, ok := r.scopeOf(f.Scope)
	if !ok {
		return
	}
	v := &Values{Entity: m.Originator, Scope: scope, Time: r.e.opt.Now()}
	for i := range pairs {
		p := &pairs[i]
		if old, ok := r.e.reg.Attribute(&m.Originator, scope, p.Key); !f.Changed || !ok || old.Value != p.Value {
			v.Pairs = addPair(v.Pairs, p.Key, p.Value)
		}
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
				value, _ := parseTree(v.Pairs[i].Value)
				data.set(v.Pairs[i].Key, value)
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
	names := &tree{kind: isObject}
	for _, p := range f.Keys {
		key, ok := m.pattern(p)
		if !ok {
			r.fail(noJSON)
			return
		}
		if trim(key) != "" {
			names.set(key, textTree(key))
		}
	}
	if len(names.keys) > 0 {
		scope, ok := r.scopeOf(f.Scope)
		if !ok {
			return
		}
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
