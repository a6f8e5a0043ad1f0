package rules

import (
	"strconv"

	"edgesync/proto"
	"edgesync/sync/rules/script"
)

// maxPeriod bounds intervals and delays, in seconds.
const maxPeriod = 366 * 24 * 3600

type delay struct {
	_        uncompared
	Period   int64  `conf:"periodInSeconds 60"`
	Pattern  string `conf:"periodInSecondsPattern"`
	Patterns bool   `conf:"useMetadataPeriodInSecondsPatterns"`
	Most     int    `conf:"maxPendingMsgs 1000"`
}

func (d *delay) prepare(_ *node, c *config) {
	if d.Period < 0 || d.Period > maxPeriod {
		c.bad("periodInSeconds", "must be between 0 and "+decimal(int64(maxPeriod)))
	}
}

// wait is how long a message waits.
func (d *delay) wait(m *Message) (ms int64, err error) {
	s := d.Period
	if d.Patterns {
		text, _ := m.pattern(d.Pattern)
		s, err = strconv.ParseInt(trim(text), 10, 64)
		if err != nil || s < 0 || s > maxPeriod {
			return 0, faultOn("Can't parse period value using pattern: %", shortened(text))
		}
	}
	return s * 1000, nil
}

func (d *delay) wake(r *round) {
	r.m = r.t.m
	lock(&r.n.mem.mu)
	r.n.mem.waiting--
	unlock(&r.n.mem.mu)
	r.unhold(r.m)
	r.tell("Success")
}

func (d *delay) again(e *Engine, n *node, m *Message) {
	ms, _ := d.wait(m)
	lock(&n.mem.mu)
	n.mem.waiting++
	unlock(&n.mem.mu)
	e.after(m.stored+ms, n.mem, &m.Originator, m)
}

func (d *delay) do(r *round) {
	m := r.m
	if _, err := d.wait(m); !r.check(err) {
		return
	}
	lock(&r.n.mem.mu)
	full := r.n.mem.waiting >= d.Most
	unlock(&r.n.mem.mu)
	if full {
		r.fail("Max limit of pending messages reached!")
		return
	}
	m.stored = r.e.opt.Now()
	if r.check(r.hold(m)) {
		d.again(r.e, r.n, m)
		r.undoHold(m)
	}
}

type generator struct {
	_      uncompared
	Period seconds    `conf:"periodInSeconds"`
	Most   int64      `conf:"msgCount"`
	Type   string     `conf:"originatorType"`
	ID     proto.UUID `conf:"originatorId"`
	script *script.Program
}

func (g *generator) prepare(n *node, c *config) {
	g.script = c.program("tbelScript", "jsScript", script.Names{Msg: "prevMsg", Metadata: "prevMetadata", MsgType: "prevMsgType"})
	n.period = int64(g.Period)
}

func (g *generator) do(r *round) { r.end() }

// every wakes the node again after its period.
func (r *round) every(p seconds) {
	period, now := int64(p), r.e.opt.Now()
	next := r.t.at + period
	if next <= now { // the clock jumped: the grid goes on, what was missed does not
		next += (now-next)/period*period + period
	}
	r.e.after(next, r.n.mem, &r.t.who, nil)
}

func (g *generator) wake(r *round) {
	mem, now := r.n.mem, r.e.opt.Now()
	if g.Most > 0 && mem.n >= g.Most {
		return
	}
	mem.n++
	if g.Most == 0 || mem.n < g.Most {
		r.every(g.Period)
	}
	m := mem.prev
	if m == nil {
		m = &Message{Data: "{}"}
	}
	m, ok := m.copyOf(), true
	from := &m.Originator
	*from = Entity{g.Type, g.ID}
	switch g.Type {
	case "TENANT":
		*from = r.e.reg.Tenant()
	case "", "RULE_NODE":
		*from = Entity{"RULE_NODE", r.n.id}
	default:
		_, ok = r.e.reg.Fields(from)
	}
	m.Time, m.count = now, 0
	m.from = &origin{live: 1}
	r.tally.Made++
	if r.m = m; !ok {
		r.fail("the originator of the generator is not stored here")
		return
	}
	v := r.result(g.script)
	if v == nil {
		return
	}
	m.pushed = false
	if r.check(transform(m, v, g.script.Language())) {
		mem.prev = m.copyOf()
		m.from.raw = []*Message{mem.prev}
		r.tell("Success")
	}
}

// counting tells how many messages came.
type counting struct {
	_        uncompared
	Interval seconds `conf:"interval"`
	Prefix   string  `conf:"telemetryPrefix"`
}

func (f *counting) prepare(n *node, _ *config) { n.period = int64(f.Interval) }

func (f *counting) wake(r *round) {
	mem := r.n.mem
	r.every(f.Interval)
	lock(&mem.mu)
	total := mem.n
	mem.n = 0
	unlock(&mem.mu)
	data := &tree{kind: isObject}
	data.set(f.Prefix+"_edgesync", wholeTree(total))
	r.m = newMessage(PostTelemetry, r.e.reg.Tenant(), r.e.opt.Now(), data.String())
	r.m.setMeta("delta", decimal(r.m.Time-r.t.at+int64(f.Interval)))
	r.tally.Made++
	r.tell("Success")
}

func (f *counting) do(r *round) {
	r.n.mem.add(1)
	if r.l != nil {
		mem := r.n.mem
		r.l.Undo(func() { mem.add(-1) })
	}
	r.end()
}

// add counts messages.
func (m *memory) add(n int64) {
	lock(&m.mu)
	m.n = max(0, m.n+n) // it may have been told meanwhile
	unlock(&m.mu)
}
