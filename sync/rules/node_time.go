package rules

import (
	"strconv"

	"edgesync/sync/rules/script"
)

// maxPeriod bounds intervals and delays, in seconds.
const maxPeriod = 366 * 24 * 3600

func makeDelay(n *node, c *config) work {
	period, pattern := c.whole("periodInSeconds", 60), c.text("periodInSecondsPattern")
	patterns, most := c.flag("useMetadataPeriodInSecondsPatterns"), c.size("maxPendingMsgs", 1000)
	if period < 0 || period > maxPeriod {
		c.bad("periodInSeconds", "must be between 0 and "+decimal(int64(maxPeriod)))
	}
	wait := func(m *Message) (ms int64, err error) {
		if !patterns {
			return period * 1000, nil
		}
		text, _ := m.pattern(pattern)
		s, err := strconv.ParseInt(trim(text), 10, 64)
		if err != nil || s < 0 || s > maxPeriod {
			return 0, fault("Can't parse period value using pattern: " + shortened(text))
		}
		return s * 1000, nil
	}
	n.wake = func(r *round) {
		r.m = r.t.m
		lock(&r.n.mem.mu)
		r.n.mem.waiting--
		unlock(&r.n.mem.mu)
		r.unhold(r.m)
		r.tell("Success")
	}
	n.again = func(e *Engine, n *node, m *Message) {
		ms, _ := wait(m)
		lock(&n.mem.mu)
		n.mem.waiting++
		unlock(&n.mem.mu)
		e.schedule(&timer{at: m.stored + ms, mem: n.mem, who: m.Originator, m: m})
	}
	return func(r *round) {
		if _, err := wait(r.m); !r.check(err) {
			return
		}
		lock(&r.n.mem.mu)
		full := r.n.mem.waiting >= most
		unlock(&r.n.mem.mu)
		if full {
			r.fail("Max limit of pending messages reached!")
			return
		}
		r.m.stored = r.e.opt.Now()
		m := r.m
		if err := r.hold(m); r.check(err) {
			r.n.again(r.e, r.n, m)
			r.undoHold(m)
		}
	}
}

func makeGenerator(n *node, c *config) work {
	p := c.program("tbelScript", "jsScript", script.Names{Msg: "prevMsg", Metadata: "prevMetadata", MsgType: "prevMsgType"})
	n.period = c.seconds("periodInSeconds", maxPeriod)
	most := c.whole("msgCount", 0)
	who := Entity{c.text("originatorType"), c.id("originatorId")}
	n.wake = func(r *round) {
		mem := r.n.mem
		if most > 0 && mem.n >= most {
			return
		}
		mem.n++
		if most == 0 || mem.n < most {
			next := r.t.at + r.n.period
			if now := r.e.opt.Now(); next < now { // the clock jumped: the grid goes on, what was missed does not
				next += (now - next + r.n.period - 1) / r.n.period * r.n.period
			}
			r.e.schedule(&timer{at: next, mem: mem, who: r.t.who})
		}
		from, ok := who, true
		switch who.Type {
		case "TENANT":
			from = r.e.reg.Tenant()
		case "", "RULE_NODE":
			from = Entity{"RULE_NODE", r.n.id}
		default:
			_, ok = r.e.reg.Fields(from)
		}
		m := mem.prev
		if m == nil {
			m = &Message{Data: "{}"}
		}
		m = m.copyOf()
		m.Originator, m.Time, m.count = from, r.e.opt.Now(), 0
		m.from = &origin{live: 1}
		r.tally.Made++
		if r.m = m; !ok {
			r.fail("the originator of the generator is not stored here")
			return
		}
		v := r.result(p)
		if v == nil {
			return
		}
		m.pushed = false
		if r.check(transform(m, v, p.Language())) {
			mem.prev = m.copyOf()
			m.from.raw = []*Message{mem.prev}
			r.tell("Success")
		}
	}
	return func(r *round) { r.end() }
}

func makeCount(n *node, c *config) work {
	n.period = c.seconds("interval", maxPeriod)
	prefix := c.text("telemetryPrefix")
	n.wake = func(r *round) {
		mem := r.n.mem
		r.e.schedule(&timer{at: r.t.at + r.n.period, mem: mem, who: r.t.who})
		lock(&mem.mu)
		total := mem.n
		mem.n = 0
		unlock(&mem.mu)
		data := &tree{kind: isObject}
		data.set(prefix+"_edgesync", wholeTree(total))
		r.m = newMessage(PostTelemetry, r.e.reg.Tenant(), r.e.opt.Now(), data.String())
		r.m.setMeta("delta", decimal(r.n.period/1000))
		r.tally.Made++
		r.tell("Success")
	}
	return func(r *round) {
		mem := r.n.mem
		add := func(n int64) {
			lock(&mem.mu)
			mem.n = max(0, mem.n+n) // it may have been told meanwhile
			unlock(&mem.mu)
		}
		add(1)
		if r.l != nil {
			r.l.Undo(func() { add(-1) })
		}
		r.end()
	}
}
