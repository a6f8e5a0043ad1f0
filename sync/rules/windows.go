package rules

import (
	"encoding/binary"
	"math"
	"sort"
	"strconv"

	"edgesync/proto"
	"edgesync/sync/rules/script"
)

// Bounds of windows, in bytes.
const (
	// maxPane bounds what the messages of one window take once they are read, because they are read
	// together when it goes.
	maxPane = 3 << 20
	// paneSize is what an open window takes beside its messages: its place in the node, its timer,
	// and what a journal knows of it.
	paneSize = 512
)

// pane is the open window of an originator. Its messages are bytes, written against the first one:
// those of a device are mostly alike. Its methods are called with the shard of the originator
// locked.
type pane struct {
	first  *Message // that came
	number uint32   // in the journal
	next   uint32   // place of the next message
	count  int
	cost   int64  // of the messages once they are read
	held   int64  // what the pane takes now
	data   []byte // entries: place, length, message
}

// What is said of a message in a window.
const (
	wasPushed = 1 << iota
	wasOdd
	isLike  // type, calls and keys of the metadata are those of the first
	hasFrom // it has another originator than the first
	hasRaw  // what entered the chain follows: it was another message
	isTimed // of the metadata only the time is another, by as much as the message's
)

// newPane opens a window with its first message, which stays the caller's.
func (e *Engine) newPane(m *Message) *pane {
	p := &pane{first: m.copyOf()}
	// The message that came must not stay in memory for its metadata.
	p.first.Metadata = append([]script.Pair(nil), m.Metadata...)
	p.first.from, p.first.pushed = nil, false
	p.held = paneSize + p.first.size()
	lock(&e.tick)
	e.seq++
	p.number = e.seq
	unlock(&e.tick)
	return p
}

// add puts a message behind the others.
func (p *pane) add(place uint32, entry []byte, cost int64) {
	was := cap(p.data)
	if n := len(p.data) + len(entry) + 2*binary.MaxVarintLen32; n > was { // by less than append would
		p.data = append(make([]byte, 0, n+n/8), p.data...)
	}
	p.data = append(addNumber(addNumber(p.data, uint64(place)), uint64(len(entry))), entry...)
	p.held += int64(cap(p.data) - was)
	p.next = max(p.next, place+1)
	p.count++
	p.cost += cost
}

// messages reads all messages. What was damaged on the medium is left out.
func (p *pane) messages() (list []*Message) {
	r := records{b: p.data}
	for len(r.b) > 0 && p.cost <= 2*maxPane {
		place := uint32(r.number())
		entry := records{b: r.take(r.number())}
		if m := entry.message(p.first, false); !entry.bad && !r.bad {
			m.seq = place
			list = addMessage(list, m)
		}
	}
	return list
}

// keep leaves those messages in the window.
func (p *pane) keep(list []*Message) {
	p.held -= int64(cap(p.data))
	p.data, p.count, p.cost = nil, 0, 0
	for _, m := range list {
		entry := p.first.entry(nil, m)
		p.add(m.seq, entry, m.size()+int64(len(entry)))
	}
}

// entry writes a message against the first one of its window.
func (m *Message) entry(b []byte, of *Message) []byte {
	from := of.from
	var raw *Message
	flags := byte(0)
	if from != nil {
		if of.pushed || from.pushed {
			flags = wasPushed
		} else if len(from.raw) == 1 { // of several, which a window took together, the message itself counts
			raw = from.raw[0]
		}
		if from.odd {
			flags |= wasOdd
		}
		if raw != nil && (raw.Type != of.Type || raw.Originator != of.Originator || raw.Data != of.Data || raw.when() != of.when()) {
			flags |= hasRaw
		}
	}
	if of.Originator != m.Originator {
		flags |= hasFrom
	}
	like := of.Type == m.Type && of.count == m.count && len(of.stack) == len(m.stack) && len(of.Metadata) == len(m.Metadata)
	for i := 0; like && i < len(m.stack); i++ {
		like = of.stack[i] == m.stack[i]
	}
	for i := 0; like && i < len(m.Metadata); i++ {
		like = of.Metadata[i].Key == m.Metadata[i].Key
	}
	timed := like && of.changedTime(m)
	if timed {
		flags |= isTimed
	}
	if like {
		flags |= isLike
	}
	b = addSigned(addByte(b, flags), of.Time-m.Time)
	if flags&hasFrom != 0 {
		b = addText(addField(b, of.Originator.Type), string(of.Originator.ID[:]))
	}
	switch {
	case timed:
	case like:
		for i := range m.Metadata {
			if was, is := m.Metadata[i].Value, of.Metadata[i].Value; was != is {
				n, ok := wholeOf(was)
				if k, too := wholeOf(is); ok && too { // times
					b = addSigned(addNumber(b, uint64(i+1)<<1|1), k-n)
				} else {
					b = addChange(addNumber(b, uint64(i+1)<<1), was, is)
				}
			}
		}
		b = addNumber(b, 0)
	default:
		b = of.addLists(addNumber(addField(b, of.Type), uint64(of.count)))
	}
	b = addChange(b, m.Data, of.Data)
	if flags&hasRaw != 0 {
		c := *raw
		c.from = nil
		b = m.entry(b, &c)
	}
	return b
}

// changedTime reports whether the time in the metadata, as whole ms, is as much beyond that of
// another message as the message's time, and the rest of the metadata is the same. All keys are.
func (m *Message) changedTime(than *Message) bool {
	for i := range m.Metadata {
		was, is := than.Metadata[i].Value, m.Metadata[i].Value
		if m.Metadata[i].Key == "ts" {
			n, ok := wholeOf(was)
			if k, too := wholeOf(is); !ok || !too || k-n != m.Time-than.Time {
				return false
			}
		} else if was != is {
			return false
		}
	}
	return true
}

// message reads what entry has written.
func (r *records) message(first *Message, raw bool) *Message {
	flags := r.take(1)[0]
	m := &Message{Type: first.Type, Originator: first.Originator, Time: first.Time + r.signed(), owned: true}
	if flags&hasFrom != 0 {
		m.Originator.Type = r.text()
		copy(m.Originator.ID[:], r.take(16))
	}
	if flags&isLike != 0 {
		m.count, m.stack = first.count, first.stack
		m.Metadata = append(m.Metadata, first.Metadata...)
		for i := range m.Metadata {
			if v := &m.Metadata[i]; flags&isTimed != 0 && v.Key == "ts" {
				n, _ := wholeOf(v.Value)
				v.Value = decimal(n + m.Time - first.Time)
			}
		}
		for flags&isTimed == 0 && !r.bad {
			i := r.number()
			if i == 0 {
				break
			}
			if i>>1 == 0 || i>>1 > uint64(len(m.Metadata)) {
				r.bad = true
				break
			}
			v := &m.Metadata[i>>1-1].Value
			if i&1 == 0 {
				*v = r.change(*v)
			} else {
				n, _ := wholeOf(*v)
				*v = decimal(n + r.signed())
			}
		}
	} else {
		m.Type, m.count = r.text(), int32(r.number()&0xffff)
		r.lists(m)
	}
	m.Data = r.change(first.Data)
	if raw {
		return m
	}
	m.from = &origin{raw: []*Message{m}, live: 1, odd: flags&wasOdd != 0, pushed: flags&wasPushed != 0}
	if flags&hasRaw != 0 {
		m.from.raw[0] = r.message(first, true)
	}
	return m
}

// wholeOf is the number that a text is, if that is how it is written.
func wholeOf(s string) (n int64, ok bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && decimal(n) == s
}

// addChange writes a text as what is between the beginning and the end that it shares with
// another.
func addChange(b []byte, was, is string) []byte {
	n, k, most := 0, 0, min(len(was), len(is))
	for n < most && was[n] == is[n] {
		n++
	}
	for k < most-n && was[len(was)-1-k] == is[len(is)-1-k] {
		k++
	}
	return addField(addNumber(addNumber(b, uint64(n)), uint64(k)), is[n:len(is)-k])
}

func (r *records) change(was string) string {
	n, k := r.number(), r.number()
	mid := r.take(r.number())
	if n > uint64(len(was)) || k > uint64(len(was))-n {
		r.bad = true
		return ""
	}
	if n+k == uint64(len(was)) && len(mid) == 0 {
		return was
	}
	b := make([]byte, 0, int(n)+len(mid)+int(k))
	b = append(append(append(b, was[:n]...), mid...), was[uint64(len(was))-k:]...)
	return string(b)
}

// The kinds of records in a log of windows (doc.go has their forms).
const (
	WindowBegun = 1 + iota
	WindowGrew
	WindowGone
)

// WindowLog is what the records of a log of windows come to. It is not safe for concurrent use.
type WindowLog struct {
	Live    int64 // about how many bytes of the log belong to messages that wait
	Waiting int   // messages
	Whole   bool  // what the records say is kept too, for Engine.RestoreWindows

	open map[uint32]*life
	last uint32 // the highest number
}

// life is what of a window is in the log.
type life struct {
	spans []span // places of the messages that wait, in their order
	count int
	next  uint32            // behind the highest place of all: none is used again while the log knows it
	bytes int64             // of them in the log
	base  int64             // of what the others are written against
	begun []byte            // with Whole
	grew  map[uint32][]byte // with Whole: the messages
}

// span is places one behind the other, without to.
type span struct{ from, to uint32 }

// recordCost is what a record of the log costs beside its bytes.
const recordCost = 32

// find is the span in which a place is, or in front of which it is not.
func (l *life) find(place uint32) (at int, ok bool) {
	at = sort.Search(len(l.spans), func(i int) bool { return l.spans[i].to > place })
	return at, at < len(l.spans) && l.spans[at].from <= place
}

// replace puts spans in the place of one, or, with none, in front of it.
func (l *life) replace(at, n int, by ...span) {
	l.spans = append(l.spans[:at:at], append(by, l.spans[at+n:]...)...)
}

// add adds a place that is not there, in front of a span.
func (l *life) add(at int, place uint32) {
	l.count++
	l.next = max(l.next, place+1)
	switch {
	case at > 0 && l.spans[at-1].to == place:
		l.spans[at-1].to++
		if at < len(l.spans) && l.spans[at].from == place+1 {
			l.replace(at-1, 2, span{l.spans[at-1].from, l.spans[at].to})
		}
	case at < len(l.spans) && l.spans[at].from == place+1:
		l.spans[at].from--
	default:
		l.replace(at, 0, span{place, place + 1})
	}
}

// remove removes a place, which is in a span.
func (l *life) remove(at int, place uint32) {
	l.count--
	delete(l.grew, place)
	switch s := l.spans[at]; {
	case s.from == place && s.to == place+1:
		l.replace(at, 1)
	case s.from == place:
		l.spans[at].from++
	case s.to == place+1:
		l.spans[at].to--
	default:
		l.replace(at, 1, span{s.from, place}, span{place + 1, s.to})
	}
}

// Note takes the next record. What is unreadable changes nothing.
func (w *WindowLog) Note(kind uint8, record []byte) {
	r := records{b: record}
	number := uint32(r.number())
	l := w.open[number]
	if r.bad {
		return
	}
	w.last = max(w.last, number)
	if kind == WindowGone {
		if l != nil {
			w.gone(number, l, &r)
		}
		return
	}
	if l == nil {
		if w.open == nil {
			w.open = make(map[uint32]*life)
		}
		l = new(life)
		w.open[number] = l
	}
	n := int64(len(record)) + recordCost
	if kind == WindowBegun {
		if w.Whole {
			l.begun = append([]byte(nil), r.b...)
		}
		r.begun()
		base := n - int64(len(r.b))
		w.Live += base - l.base
		n, l.base = n-base, base
	}
	if len(r.b) == 0 { // its first message is gone
		return
	}
	long := r.number()
	place := uint32(long)
	at, ok := l.find(place)
	if ok || r.bad || long >= math.MaxUint32 { // ok: a copy, which the cleaning of the log made
		return
	}
	l.add(at, place)
	if w.Whole {
		if l.grew == nil {
			l.grew = make(map[uint32][]byte)
		}
		l.grew[place] = append([]byte(nil), r.b...)
	}
	l.bytes += n
	w.Live += n
	w.Waiting++
}

// gone takes a record of messages that wait no longer.
func (w *WindowLog) gone(number uint32, l *life, r *records) {
	was, all := l.count, len(r.b) == 0
	for place := uint32(0); len(r.b) > 0; {
		place += uint32(r.number())
		if at, ok := l.find(place); ok {
			l.remove(at, place)
		}
	}
	if all { // else others of them may stand further on, where the cleaning has put them
		l.count = 0
		w.Live -= l.base
		delete(w.open, number)
	}
	w.Waiting -= was - l.count
	n := l.bytes
	if was > 0 {
		n = l.bytes * int64(was-l.count) / int64(was)
	}
	l.bytes -= n
	w.Live -= n
}

// Rest is what of a record must stay in the log; nil: nothing. It is valid as long as the record.
func (w *WindowLog) Rest(kind uint8, record []byte) []byte {
	r := records{b: record}
	l := w.open[uint32(r.number())]
	if l == nil || kind == WindowGone {
		return nil
	}
	if kind == WindowBegun {
		r.begun()
	}
	head := len(record) - len(r.b)
	if _, ok := l.find(uint32(r.number())); ok && !r.bad {
		return record
	}
	if kind == WindowBegun { // the others are written against what it says
		return record[:head]
	}
	return nil
}

// begun reads what stands in front of the first message.
func (r *records) begun() (id proto.UUID, node uint64, first []byte) {
	copy(id[:], r.take(16))
	node = binary.BigEndian.Uint64(r.take(8))
	return id, node, r.take(r.number())
}

// RestoreWindows brings back the windows of a log, once the chains are there. What cannot go back
// into its node is pushed as it is, by Run. lost are messages that are unreadable. The log's copies
// of the records are gone afterwards.
func (e *Engine) RestoreWindows(w *WindowLog) (lost int) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	e.seq = max(e.seq, w.last)
	numbers := make([]uint32, 0, len(w.open))
	for n := range w.open {
		numbers = append(numbers, n)
	}
	sort.Slice(numbers, func(i, j int) bool { return numbers[i] < numbers[j] })
	for _, n := range numbers {
		l := w.open[n]
		bad := e.restoreWindow(n, l)
		lost += len(bad)
		l.begun, l.grew = nil, nil
		if len(bad) == l.count {
			bad = nil // all
		} else if len(bad) == 0 {
			continue
		}
		gone := goneRecord(n, bad)
		if j := e.opt.Journal; j != nil {
			_ = j.Window(WindowGone, gone) // always taken
		}
		w.Note(WindowGone, gone)
	}
	w.Whole = false
	return lost
}

// restoreWindow brings back a window, and gives the places of messages that are unreadable.
func (e *Engine) restoreWindow(number uint32, l *life) (bad []uint32) {
	r := records{b: l.begun}
	id, key, text := r.begun()
	first, err := readRecord(text)
	lost := err != nil || r.bad
	p := &pane{number: number, next: l.next}
	for _, s := range l.spans {
		for place := s.from; place < s.to; place++ {
			r := records{b: l.grew[place]}
			if lost || p.cost > maxPane {
				bad = append(bad, place)
				continue
			}
			m := r.message(first, false)
			if r.bad || len(r.b) > 0 {
				bad = append(bad, place)
				continue
			}
			p.add(place, l.grew[place], m.size()+int64(len(l.grew[place])))
		}
	}
	if p.count == 0 {
		return bad
	}
	p.first = first
	p.held += paneSize + first.size()
	s := &e.sums
	s.received.Add(uint64(p.count))
	s.held.Add(int64(p.count))
	s.heldBytes.Add(p.held)
	mem, at := new(memory), int64(0)
	if c := e.chains[id]; c != nil {
		if n := c.byKey(key); n != nil && n.typ == windowType && n.work != nil {
			if mem = n.mem; mem.windows[first.Originator] != nil { // it was full, or has gone, when that one was opened
				for _, m := range p.messages() {
					n.work.(holding).again(e, n, m)
				}
				e.gone(e.opt.Journal, p, p.count, p.held, nil)
				return bad
			}
			at = first.stored + n.hold + 1
		}
	}
	lock(&mem.mu)
	mem.open(&first.Originator, p)
	unlock(&mem.mu)
	e.after(at, mem, &first.Originator, nil)
	return bad
}

// goneRecord says that messages of a window wait no longer; without places, that none does.
func goneRecord(number uint32, places []uint32) []byte {
	b, last := addNumber(nil, uint64(number)), uint32(0)
	for _, p := range places {
		b = addNumber(b, uint64(p-last))
		last = p
	}
	return b
}
