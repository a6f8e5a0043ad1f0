package rules

const windowType = "deduplication.TbMsgDeduplicationNode"

// window is what a deduplication node is configured to.
type window struct {
	_        uncompared
	Interval seconds `conf:"interval"`
	First    bool    `conf:"strategy FIRST"`
	Last     bool    `conf:"strategy LAST"`
	All      bool    `conf:"strategy ALL"`
	Type     string  `conf:"outMsgType"`
	Most     int     `conf:"maxPendingMsgs 100"`
}

func (w *window) prepare(n *node, c *config) {
	if !w.First && !w.Last && !w.All {
		c.bad("strategy", "must be FIRST, LAST or ALL")
	}
	if w.All && w.Type == "" {
		c.bad("outMsgType", "is missing")
	}
	n.hold = int64(w.Interval)
}

func (w *window) again(e *Engine, n *node, m *Message) { _ = e.put(e.opt.Journal, n, m, true) }

func (w *window) do(r *round) {
	m, mem := r.m, r.n.mem
	lock(&mem.mu)
	p := mem.windows[m.Originator]
	full := p != nil && p.count >= w.Most || w.Most <= 0
	unlock(&mem.mu)
	if full {
		r.failOn("Max limit of pending messages reached for deduplication id: %", m.Originator.Type)
		return
	}
	m.stored = r.e.opt.Now()
	if r.check(r.e.put(r.j, r.n, m, false)) {
		r.undoPut(m)
		r.rest(m)
	}
}

// put puts a message into the window of its originator; the first one opens it, and starts its
// timer. An error means that there is no room, which there is for what comes back.
func (e *Engine) put(j Journal, n *node, m *Message, back bool) error {
	mem, s := n.mem, &e.sums
	lock(&mem.mu)
	p := mem.windows[m.Originator]
	unlock(&mem.mu)
	fresh := p == nil
	if fresh {
		p = e.newPane(m)
	}
	var buf [128]byte
	entry := p.first.entry(buf[:0], m)
	was, more, size := p.held, int64(len(entry)), m.size()+int64(len(entry))
	if fresh {
		was, more = 0, p.held
	}
	switch {
	case back:
	case p.cost+size > maxPane:
		e.flush(mem, &m.Originator)
		return errHeld
	case s.held.Load() >= int64(e.opt.MaxHeld) || s.heldBytes.Load()+more > int64(e.opt.MaxHeldBytes):
		e.flush(nil, &m.Originator)
		return errHeld
	}
	if j != nil {
		kind, b := uint8(WindowGrew), addNumber(nil, uint64(p.number))
		if fresh {
			f := frame{n.chain.id, n.key}
			kind, b = WindowBegun, addField(f.key(b), string(p.first.record()))
		}
		if err := j.Window(kind, append(addNumber(b, uint64(p.next)), entry...)); err != nil {
			return err
		}
	}
	lock(&mem.mu)
	p.add(p.next, entry, size)
	if fresh {
		mem.open(&m.Originator, p)
	}
	unlock(&mem.mu)
	s.held.Add(1)
	s.heldBytes.Add(p.held - was)
	if fresh {
		e.after(m.stored+n.hold+1, mem, &m.Originator, nil)
	}
	return nil
}

// open adds a window. The memory is locked.
func (m *memory) open(who *Entity, p *pane) {
	if m.windows == nil {
		m.windows = make(map[Entity]*pane)
	}
	m.windows[*who] = p
}

// gone says that n messages of a window, which have held so many bytes, wait no longer: those with
// such places or, without, all.
func (e *Engine) gone(j Journal, p *pane, n int, held int64, places []uint32) {
	e.sums.held.Add(int64(-n))
	e.sums.heldBytes.Add(-held)
	if j != nil {
		if err := j.Window(WindowGone, goneRecord(p.number, places)); err != nil {
			e.out.Failed(windowType, err.Error())
		}
	}
}

// wake lets the packs of a window go whose time is over (RULES.md 4.4, deduplication).
func (w *window) wake(r *round) {
	e, mem, who, now, interval := r.e, r.n.mem, r.t.who, r.e.opt.Now(), int64(w.Interval)
	lock(&mem.mu)
	p := mem.windows[who]
	unlock(&mem.mu)
	if p == nil {
		return
	}
	list := p.messages()
	var packs [][]*Message
	var places []uint32
	for len(list) > 0 {
		start := list[0].when()
		for _, m := range list {
			start = min(start, m.when())
		}
		if start > now-interval && r.t.word == "" {
			break
		}
		var pack, rest []*Message
		for _, m := range list {
			if m.when()-start < interval { // always of the first one, whatever time it has
				pack = addMessage(pack, m)
				places = append(places, m.seq)
			} else {
				rest = addMessage(rest, m)
			}
		}
		packs, list = append(packs, pack), rest
	}
	n, held := p.count, p.held
	lock(&mem.mu)
	if len(list) == 0 {
		delete(mem.windows, who)
		places = nil
	} else if len(packs) > 0 {
		p.keep(list)
		n, held = n-p.count, held-p.held
	}
	unlock(&mem.mu)
	if len(list) > 0 {
		e.after(now+interval+1, mem, &who, nil)
	}
	if len(packs) == 0 && len(list) > 0 {
		return
	}
	e.gone(r.j, p, n, held, places)
	for _, pack := range packs {
		w.merge(r, pack, now)
	}
}

// merge makes one message of a pack.
func (w *window) merge(r *round, pack []*Message, now int64) {
	best := pack[0]
	from := &origin{}
	size := 2
	for _, m := range pack {
		size += len(m.Data) + 128
	}
	all := addByte(make([]byte, 0, size), '[')
	for _, m := range pack {
		if w.First && m.when() < best.when() || w.Last && m.when() > best.when() {
			best = m
		}
		if !m.from.pushed {
			from.raw = append(from.raw, m.from.raw...)
		}
		from.odd = from.odd || m.from.odd
		if w.All {
			data, err := parseTree(m.Data)
			if err != nil {
				data = textTree(m.Data)
			}
			if len(all) > 1 {
				all = addByte(all, ',')
			}
			all = addText(data.appendJSON(addText(all, `{"msg":`)), `,"metadata":`)
			all = addByte(m.appendMetadata(all), '}')
		}
		count(&r.e.sums.merged)
	}
	out := best.copyOf()
	if w.All {
		out = newMessage(w.Type, best.Originator, now, string(addByte(all, ']')))
		out.count, out.stack = best.count, best.stack
		out.setMeta("ts", decimal(now))
	}
	out.seq, out.pushed, out.from, r.m = 0, false, from, nil
	r.enqueue(out, "Success")
}
