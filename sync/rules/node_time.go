package rules

import (
	"strconv"

	"edgesync/sync/rules/script"
)

const windowType = "deduplication.TbMsgDeduplicationNode"

// maxPeriod bounds intervals and delays, in seconds.
const maxPeriod = 366 * 24 * 3600

// window is what a deduplication node is configured to.
type window struct {
	interval int64 // ms
	strategy string
	outType  string
	most     int
}

func makeWindow(n *node, c *config) work {
	w := &window{c.seconds("interval", maxPeriod), c.text("strategy"), c.text("outMsgType"), c.size("maxPendingMsgs", 100)}
	if w.strategy != "FIRST" && w.strategy != "LAST" && w.strategy != "ALL" {
		c.bad("strategy", "must be FIRST, LAST or ALL")
	}
	if w.strategy == "ALL" && w.outType == "" {
		c.bad("outMsgType", "is missing")
	}
	n.wake, n.again = w.wake, w.again
	return func(r *round) {
		m, mem := r.m, r.n.mem
		lock(&mem.mu)
		full := len(mem.windows[m.Originator]) >= w.most
		unlock(&mem.mu)
		if full {
			r.fail("Max limit of pending messages reached for deduplication id: " + m.Originator.Type)
			return
		}
		m.stored = r.e.opt.Now()
		if r.check(r.hold(m)) {
			w.add(r.e, r.n, m)
		}
	}
}

// add puts a message into the window of its originator. The first one starts the timer.
func (w *window) add(e *Engine, n *node, m *Message) {
	mem := n.mem
	lock(&mem.mu)
	if mem.windows == nil {
		mem.windows = make(map[Entity][]*Message)
	}
	list := addMessage(mem.windows[m.Originator], m)
	mem.windows[m.Originator] = list
	unlock(&mem.mu)
	if len(list) == 1 {
		e.schedule(&timer{at: m.stored + w.interval + 1, mem: mem, who: m.Originator})
	}
}

func (w *window) again(e *Engine, n *node, m *Message) { w.add(e, n, m) }

// wake lets the packs of a window go whose time is over (RULES.md 4.4, deduplication).
func (w *window) wake(r *round) {
	e, mem, who, now := r.e, r.n.mem, r.t.who, r.e.opt.Now()
	lock(&mem.mu)
	list := mem.windows[who]
	var packs [][]*Message
	for len(list) > 0 {
		start := list[0].when()
		for _, m := range list {
			start = min(start, m.when())
		}
		if start+w.interval > now && r.t.word == "" {
			break
		}
		var pack, rest []*Message
		for _, m := range list {
			if m.when() < start+w.interval {
				pack = addMessage(pack, m)
			} else {
				rest = addMessage(rest, m)
			}
		}
		packs, list = append(packs, pack), rest
	}
	if len(list) == 0 {
		delete(mem.windows, who)
	} else {
		mem.windows[who] = list
	}
	unlock(&mem.mu)
	if len(list) > 0 && r.t.word == "" {
		e.schedule(&timer{at: now + w.interval + 1, mem: mem, who: who})
	}
	for _, pack := range packs {
		w.merge(r, pack, now)
	}
}

// merge makes one message of a pack.
func (w *window) merge(r *round, pack []*Message, now int64) {
	best := pack[0]
	from := &origin{}
	all := &tree{kind: isList}
	for _, m := range pack {
		if w.strategy == "FIRST" && m.when() < best.when() || w.strategy == "LAST" && m.when() > best.when() {
			best = m
		}
		if !m.from.pushed {
			from.raw = append(from.raw, m.from.raw...)
		}
		from.odd = from.odd || m.from.odd
		if w.strategy == "ALL" {
			data, err := parseTree(m.Data)
			if err != nil {
				data = textTree(m.Data)
			}
			all.items = addTree(all.items, members("msg metadata", data, m.metadataTree()))
		}
		r.unhold(m)
		count(&r.e.sums.merged)
	}
	out := best.copyOf()
	if w.strategy == "ALL" {
		out = newMessage(w.outType, best.Originator, now, all.String())
		out.count, out.stack = best.count, best.stack
		out.setMeta("ts", decimal(now))
	}
	out.pushed, out.from, r.m = false, from, nil
	r.enqueue(out, "Success")
}

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
		if err := r.hold(r.m); r.check(err) {
			r.n.again(r.e, r.n, r.m)
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
		count(&r.e.sums.made)
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
		count(&r.e.sums.made)
		r.tell("Success")
	}
	return func(r *round) {
		lock(&r.n.mem.mu)
		r.n.mem.n++
		unlock(&r.n.mem.mu)
		r.end()
	}
}
