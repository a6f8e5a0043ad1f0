package ruling

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"

	"edgesync/proto"
	"edgesync/sync/device/payload"
	"edgesync/sync/registry"
	"edgesync/sync/rules"
)

// What one outcome gathers before it goes to the queue, in bytes. It goes there whole, in one group
// commit, up to inlineBytes, and beyond them as long as all outcomes together take at most
// wideBytes more. An outcome that is larger goes in parts: if the queue refuses a later one, the
// device sends all of it again.
const (
	inlineBytes = 256 << 10
	wideBytes   = 1 << 20
	eventBytes  = 72 // of an event beside its fragment
)

// take gathers what comes of some events in their chains: a rules.Outlet and a rules.Ledger. One
// goroutine has it; what no caller waits for is in one that many goroutines share.
type take struct {
	*Rules
	shared bool
	finish func(refused error, done func(error)) error // t.end, bound once

	mu     sync.Mutex // guards what follows
	out    []proto.Event
	bytes  int
	most   int   // that bytes may be
	parted bool  // a part of out is in the queue already
	lost   error // of the queue: it has refused a part of out, which is gone
	parser payload.Parser
	stored bool // the registry has something that is not durable
	kept   bool // the journal has
	notes  []*rules.Note
	gone   []forgotten // of the journal, once out is durable
	undo   []step      // what was done, should out be refused
	tally  rules.Tally

	// cur is the event whose message is run, nil for one of something else. Its fragment goes up
	// again where the message comes to a push node as it was.
	cur  *proto.Event
	data string
	time int64 // in its metadata
}

func (t *take) init(r *Rules, shared bool) {
	t.Rules, t.shared, t.most = r, shared, inlineBytes
	t.finish = t.end
}

// way is what becomes of an event, as far as it is known without a look at it; nil: it is none of
// a device's messages.
func (r *Rules) way(e *proto.Event, chain *proto.UUID) *rules.Way {
	if e.Kind != proto.KindEntityData {
		return nil
	}
	typ := rules.PostTelemetry
	switch e.Action {
	case proto.ActionTimeseriesUpdated:
	case proto.ActionPostAttributes:
		typ = rules.PostAttributes
	default:
		return nil
	}
	if r.several.Load() {
		*chain = proto.UUID{}
		if d, ok := r.Registry.ByID(e.Entity); ok {
			p, _ := r.Registry.Profile(d.ProfileID)
			*chain = p.Chain
		}
	}
	w, ok := r.engine.WayOf(*chain, typ)
	if !ok {
		return nil // no chain is known: as the default one does (RULES.md 7.2)
	}
	return w
}

// untouched reports whether an event goes to the queue as it is, and its values are stored here. If
// so, it has taken its way.
func untouched(w *rules.Way, e *proto.Event) bool {
	if w == nil {
		return true
	}
	if w.Run || !w.Push || !w.Save || w.Scope != "" && w.Scope != proto.ClientScope {
		return false
	}
	w.Count(e.Entity)
	return true
}

// Take runs events of devices through the chains. finish is nil if they go to the queue as they
// are. Else out is what goes there in their place, until finish is called; finish is called once
// out is in the queue, also if there is nothing in it, or with the error of the queue. It makes
// durable what nodes keep, or has them forget what is refused, and calls done then, or, if done is
// nil, waits and returns the error. An error says that nothing is kept: try again.
func (r *Rules) Take(events []proto.Event) (out []proto.Event, finish func(refused error, done func(error)) error, err error) {
	if r.Off {
		return nil, nil, nil
	}
	var chain proto.UUID
	first := 0
	for first < len(events) && untouched(r.way(&events[first], &chain), &events[first]) {
		first++
	}
	if first == len(events) {
		return nil, nil, nil
	}
	t := r.takes.Get().(*take)
	t.out = append(t.out[:0], events[:first]...)
	for k := first; k < len(events); k++ {
		e := &events[k]
		switch w := r.way(e, &chain); {
		case untouched(w, e):
			t.out = append(t.out, *e)
		case w.Run:
			err = t.run(e)
		default:
			err = t.pass(e, w)
		}
		if err != nil {
			return nil, nil, t.end(err, nil)
		}
	}
	if err := t.secure(); err != nil {
		return nil, nil, t.end(err, nil)
	}
	return t.out, t.finish, nil
}

// secure makes durable what the journal has before the rest goes to the queue: what the medium does
// not take is refused while nothing of it is in the queue. No lock is held, for undoing others
// takes locks in the goroutine that writes.
func (t *take) secure() error {
	if !t.kept || len(t.out) == 0 {
		return nil
	}
	t.kept = false
	return t.journal.wait(true)
}

// pass does with an event what its way says.
func (t *take) pass(e *proto.Event, w *rules.Way) error {
	t.Count(t.engine.Passed(w, 1))
	w.Count(e.Entity)
	if w.Save {
		t.save(e)
	}
	switch {
	case !w.Push:
	case w.Scope == "" || w.Scope == proto.ClientScope:
		t.out = append(t.out, *e)
	default: // of attributes, with a scope of the chain's choice (RULES.md 1.5)
		f, ok := open(e.Fragment)
		if !ok {
			return errFragment
		}
		return t.add(proto.Event{
			Kind: e.Kind, Action: e.Action, Time: e.Time, Entity: e.Entity,
			Fragment: proto.AppendPostAttributes(nil, e.Entity, f.entityType, w.Scope, f.values()),
		})
	}
	return nil
}

// save stores the values of an event here.
func (t *take) save(e *proto.Event) {
	if e.Action == proto.ActionTimeseriesUpdated {
		t.Latest.Observe([]proto.Event{*e})
		return
	}
	if f, ok := open(e.Fragment); ok {
		t.stored = true
		if err := t.Registry.KeepValues(e.Entity, registry.ClientScope, 0, f.values()); err != nil {
			t.Rules.Options.Log.Debug("attributes of a device are not kept here", "error", err)
		}
	}
}

// run runs the message of an event.
func (t *take) run(e *proto.Event) error {
	m, at, ok := t.message(e)
	if !ok {
		t.out = append(t.out, *e) // it is not for chains
		return nil
	}
	t.cur, t.data, t.time = e, m.Data, at
	known, err := t.engine.Handle(m, t)
	t.cur = nil
	switch {
	case err == nil && t.lost != nil:
		err = t.lost
	case !known && err == nil:
		t.out = append(t.out, *e)
	}
	return err
}

// reset gives the take back.
func (t *take) reset() {
	clear(t.out)
	clear(t.notes)
	clear(t.undo)
	t.notes, t.undo, t.tally, t.lost = t.notes[:0], t.undo[:0], rules.Tally{}, nil
	t.wide.Add(int64(inlineBytes - t.most))
	t.out, t.bytes, t.most, t.parted, t.gone = t.out[:0], 0, inlineBytes, false, t.gone[:0]
	t.stored, t.kept, t.cur, t.data = false, false, nil, ""
	if cap(t.out) <= 1024 && t.parser.Retained() <= maxRetained {
		t.takes.Put(t)
	}
}

// maxRetained bounds the memory of a parser that is used again.
const maxRetained = 64 << 10

// end is what Take returns as finish.
func (t *take) end(refused error, done func(error)) error {
	if refused == nil && t.stored && len(t.out) == 0 && !t.parted {
		// Else it is on its way, and what devices wrote may wait for a flush (sync/doc.go).
		refused, t.stored = t.Registry.Flush(), false
	}
	switch kept := t.kept; {
	case refused == nil && kept && done != nil:
		t.kept = false
		t.journal.commit(true, func(err error) { _ = t.end(err, done) })
		return nil
	case refused == nil && kept:
		t.kept = false
		refused = t.journal.wait(true)
	}
	switch {
	case refused == nil:
		return t.keep(done)
	case done == nil:
		t.refuse()
		return refused
	}
	// It is the queue's goroutine, which must not wait for a chain that waits for the queue, or the
	// journal's, which is writing.
	why := refused
	t.journal.later(func() {
		t.refuse()
		done(why)
	})
	return nil
}

// keep says that what was done stays. Only now the journal gets what follows from that; if the
// medium does not take it, the device is not to send again what is in the queue.
func (t *take) keep(done func(error)) error {
	r, hard := t.Rules, len(t.gone) > 0
	r.journal.forget(t.gone)
	noted := len(t.notes) > 0
	t.settle()
	r.stage(t.notes)
	t.reset()
	switch {
	case (hard || noted) && done != nil:
		r.journal.commit(hard, func(err error) {
			r.unkept(err)
			done(nil)
		})
	case hard || noted:
		r.unkept(r.journal.wait(hard))
	case done != nil:
		done(nil)
	}
	return nil
}

// Count implements rules.Ledger.
func (t *take) Count(n rules.Tally) {
	s := &t.tally
	s.Received, s.Made, s.Accepted, s.Filtered = s.Received+n.Received, s.Made+n.Made, s.Accepted+n.Accepted, s.Filtered+n.Filtered
	s.Safety += n.Safety
}

// add puts an event behind the others. Its fragment is t's. Once the queue has refused some, all is
// refused: a node's failure, of which the chain makes something else, would not say what is gone.
func (t *take) add(e proto.Event) error {
	if t.lost != nil {
		return t.lost
	}
	t.out = append(t.out, e)
	if t.bytes += len(e.Fragment) + eventBytes; t.bytes < t.most {
		return nil
	}
	if t.shared { // settle looks after it
		t.engine.Wake()
		return nil
	}
	if t.wide.Add(inlineBytes) <= wideBytes {
		t.most += inlineBytes
		return nil
	}
	t.wide.Add(-inlineBytes)
	ctx, cancel := context.WithTimeout(context.Background(), appendLimit)
	defer cancel()
	err := t.append(ctx, t.out)
	clear(t.out)
	t.out, t.bytes = t.out[:0], 0
	if err != nil {
		t.lost = fmt.Errorf("push to the cloud: %w", err)
	}
	t.parted = t.parted || err == nil
	return t.lost
}

// large reports whether what is gathered is to go to the queue.
func (t *take) large() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bytes >= inlineBytes || len(t.out) >= 512
}

// cut takes what is gathered.
func (t *take) cut() (out []proto.Event, gone []forgotten, some bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	out, gone, some = t.out, t.gone, t.kept || len(t.out)+len(t.gone) > 0
	t.out, t.gone, t.kept, t.bytes = nil, nil, false, 0
	return out, gone, some
}

// putBack puts in front what could not be made durable.
func (t *take) putBack(out []proto.Event, gone []forgotten) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range out {
		t.bytes += len(out[i].Fragment) + eventBytes
	}
	t.out, t.gone = append(out, t.out...), append(gone, t.gone...)
}

// Keep implements rules.Journal.
func (t *take) Keep(key string, record []byte) error {
	if err := t.keeps(); err != nil {
		return err
	}
	return t.journal.Keep(key, record)
}

// keeps notes that the journal has something that is not durable. While the medium takes nothing,
// a device's message is refused before a node has it, for the device sends it again and again.
func (t *take) keeps() error {
	if t.cur != nil && t.journal.refuses() {
		t.lost = errMedium
		return t.lost
	}
	t.mu.Lock()
	t.kept = true
	t.mu.Unlock()
	if t.shared {
		t.engine.Wake()
	}
	return nil
}

// Forget implements rules.Journal. What the take has pushed is to be durable before: others have
// the journal written at any time.
func (t *take) Forget(key string) error {
	t.forget(forgotten{what: key})
	return nil
}

func (t *take) forget(f forgotten) {
	t.mu.Lock()
	t.gone = append(t.gone, f)
	t.mu.Unlock()
	if t.shared {
		t.engine.Wake()
	}
}

// Window implements rules.Journal.
func (t *take) Window(kind uint8, record []byte) error {
	if kind == rules.WindowGone {
		t.forget(forgotten{what: string(record), window: true})
		return nil
	}
	if err := t.keeps(); err != nil {
		return err
	}
	return t.journal.window(kind, record)
}

// Note implements rules.Journal.
func (t *take) Note(n *rules.Note) {
	t.mu.Lock()
	t.notes = append(t.notes, n)
	t.mu.Unlock()
	if t.shared {
		t.engine.Wake()
	}
}

// stage has the journal keep what nodes remember. What came of it is in the queue.
func (r *Rules) stage(notes []*rules.Note) {
	for _, n := range notes {
		err := n.Stage(r.journal.Keep, func(key string) { r.journal.forget([]forgotten{{what: key}}) })
		r.unkept(err)
	}
}

// unkept says that the journal does not take what follows from messages that stay.
func (r *Rules) unkept(err error) {
	if err != nil {
		r.complain("what a node remembers is not kept", "", err.Error())
	}
}

// cutNotes takes the notes that are gathered.
func (t *take) cutNotes() []*rules.Note {
	t.mu.Lock()
	defer t.mu.Unlock()
	notes := t.notes
	t.notes = nil
	return notes
}

// Push implements rules.Outlet.
func (t *take) Push(e *rules.Event) error {
	if c := t.cur; c != nil && e.Entity.ID == c.Entity && e.Entity.Type == proto.DeviceEntity && same(e, c) &&
		(c.Action == proto.ActionPostAttributes || e.Time == t.time) && e.Data == t.data {
		t.out = append(t.out, *c) // one goroutine has t
		return nil
	}
	return t.push(e)
}

// push is Push of what is another event than that whose message is run.
func (t *take) push(e *rules.Event) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e.Action == "RPC_CALL" {
		return t.ask(e.Message)
	}
	list, err := t.encode(e)
	for i := range list {
		if err == nil {
			err = t.add(list[i])
		}
	}
	if t.shared {
		t.engine.Wake()
	}
	return err
}

// same reports whether a push says what an event of a device says.
func same(e *rules.Event, c *proto.Event) bool {
	return c.Action == proto.ActionTimeseriesUpdated && e.Action == "TIMESERIES_UPDATED" ||
		c.Action == proto.ActionPostAttributes && e.Action == "POST_ATTRIBUTES" && e.Scope == proto.ClientScope
}

// Instead implements rules.Outlet.
func (t *take) Instead(m *rules.Message, why rules.Why) error {
	switch why {
	case rules.NotCalled:
		t.daily("a call reaches its device although no node of its rule chain calls the device", "", meta(m, "deviceName"))
		return t.callInstead(m)
	case rules.NotAnswered:
		return t.ask(m)
	}
	e := &rules.Event{Action: "TIMESERIES_UPDATED", Entity: m.Originator, Time: m.Time, Data: m.Data, Message: m}
	if m.Type == rules.PostAttributes {
		e.Action, e.Scope = "POST_ATTRIBUTES", proto.ClientScope
	} else if ts, err := strconv.ParseInt(meta(m, "ts"), 10, 64); err == nil {
		e.Time = ts
	}
	return t.Push(e)
}

// Save implements rules.Outlet.
func (t *take) Save(v *rules.Values) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stored = t.stored || v.Scope != ""
	return t.saveValues(v)
}

// Delete implements rules.Outlet.
func (t *take) Delete(e *rules.Entity, scope string, keys []string, _ bool) error {
	s, ok := scopes[scope]
	if !ok {
		return errScope
	}
	// The registry tells the device of its shared attributes in any case. The cloud hears of it by
	// a push node, if at all: what it sends counts.
	return t.Registry.DeleteAttributes(e.ID, s, keys, 0)
}

// SaveAlarm implements rules.Outlet.
func (t *take) SaveAlarm(a *rules.Alarm) error {
	t.mu.Lock()
	t.stored = true
	t.mu.Unlock()
	before, there := t.Registry.Entity(proto.KindAlarm, a.ID) // none is without id
	if err := t.saveAlarm(a); err != nil || t.shared {
		return err
	}
	after := own(t, a.ID, func() (*[]byte, func()) {
		after := new([]byte) // the last row's
		return after, func() {
			if !there {
				t.Registry.DropAlarm(a.ID, *after)
			} else if now, ok := t.Registry.Entity(proto.KindAlarm, a.ID); ok && bytes.Equal(now, *after) {
				_ = t.Registry.KeepAlarm(a.ID, before) // else it stays as it is
			}
		}
	})
	*after, _ = t.Registry.Entity(proto.KindAlarm, a.ID)
	return nil
}
