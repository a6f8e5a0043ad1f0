package sync

import (
	"bytes"
	"sort"
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

// A server at a limit of its tenant answers a creation with success and does not store the entity,
// and drops in silence what follows (CONTRACT.md 13.1). So the answer proves nothing. A creation is
// done when the cloud has shown that it has the entity: a sync brings each entity of this edge, and
// so does a downlink of another cause.
//
// Until then the creation, and what went up in the same uplink, stay in the dead-letter log, as a
// refused creation does, and later events of the entity follow them there (dependents.go). A sync
// is asked for: one for all creations of a burst, and not often. What it brings is proved. What
// a complete sync does not bring, although it began after the answer, was refused in silence, and
// is tried again as a creation that is refused aloud, but more seldom.
//
// A server whose syncs do not complete proves by each message that names an entity. What it does
// not name waits for as long as that takes: sent, it might be lost, and nothing would show it.

// proofs are the creations that the cloud has taken and has not proved. It outlives sessions.
type proofs struct {
	taken  map[proto.UUID]taken // by entity; bounded by the dead-letter log
	proved bool                 // some of them are, and may leave the dead-letter log
	settle time.Time            // when to look for that again; zero: nothing waits for it
	due    time.Time            // of a sync for them; zero: none is to be asked for
	next   time.Time            // no such sync before this
	silent bool                 // since a creation was proved, one was refused in silence
	pause  doubling             // between two tries of a creation while they are refused so
}

// taken is a creation that the cloud has answered with success.
type taken struct {
	offset uint64
	sent   uint64 // offset up to which events of the entity went up with it
	asked  bool   // a sync began after the answer
	proved bool
}

func newProofs() proofs {
	return proofs{taken: make(map[proto.UUID]taken), pause: doubling{min: silentMin, max: silentMax}}
}

// The reasons of creations among the dead letters. The text of takenReason tells a creation that
// is to be proved after a restart.
const (
	takenReason  = "taken by the cloud; a sync is to show that it is there"
	silentReason = "the server took it and does not have it: a limit of the tenant?"
)

// provable reports whether a sync with fullSync=false brings what an event creates (CONTRACT.md
// 3.2). Of other kinds the answer has to do.
func provable(e *wal.Event) bool {
	switch proto.Kind(e.Kind) {
	case proto.KindDevice, proto.KindAsset, proto.KindEntityView, proto.KindDashboard:
		return isCreation(e)
	}
	return false
}

// keepTaken writes the creations of a batch that the cloud has accepted to the dead letters, with
// what went up for their entities in that batch, and counts them as those. What stands behind the
// batch was read before that was known, and is to be read again. False: the medium refuses.
func (l *loop) keepTaken(b *batch, now time.Time) (kept int, ok bool) {
	if !b.creates {
		return 0, true
	}
	var (
		letters []wal.DeadLetter
		made    = make(map[proto.UUID]taken)
	)
	reader := l.sending.reader
	defer reader.Seek(reader.Position())
	reader.Seek(b.start)
	err := reader.Read(func(e *wal.Entry) bool {
		if e.Offset > b.end.Offset {
			return false
		}
		t, of := made[e.Entity]
		creation := !of && provable(&e.Event)
		if !of && !creation || l.deadLog.Has(e.Offset) || l.isFormer(&e.Event, e.Offset) {
			return true
		}
		d := wal.DeadLetter{Event: e.Event, Offset: e.Offset, At: now, Class: wal.DeadCreation}
		d.Fragment = bytes.Clone(e.Fragment)
		if date, _ := l.clock.Date(e.Offset, e.Time); date != e.Time {
			proto.SetTime(d.Fragment, e.Time, date)
			d.Time = date
		}
		l.adapt(&e.Event, e.Offset, d.Fragment)
		if creation {
			t.offset = e.Offset
			d.Pinned, d.Reason, d.Tries = true, takenReason, 1
		}
		t.sent = e.Offset
		made[e.Entity] = t
		letters = append(letters, d)
		return true
	})
	if err != nil {
		l.complain("the queue cannot be read", err.Error(), now)
		l.sending.pauseUntil = now.Add(l.cfg.Retry.Interval)
		return 0, false
	}
	if err := l.deadLog.PutAll(letters); err != nil {
		l.notMoved(err, now)
		return 0, false
	}
	for id, t := range made {
		l.dependents.taken(id, t.offset)
		l.toProve(id, t, now)
	}
	for i := range letters {
		if letters[i].Pinned {
			l.dependents.named(letters[i].Entity, letters[i].Fragment)
		}
	}
	kept = len(letters)
	b.events, b.inside = b.events-kept, b.inside+kept
	return kept, true
}

// toProve notes that the cloud has taken a creation, and asks for a sync.
func (l *loop) toProve(id proto.UUID, t taken, now time.Time) {
	p := &l.proofs
	p.taken[id] = t
	if p.due.IsZero() {
		p.due = later(now.Add(proofWait), p.next)
	}
	l.dependents.changed = true
}

// proofPause is the time between a sync that took so long and brought so many messages, and the
// next one for the sake of proofs.
func proofPause(took time.Duration, messages int) time.Duration {
	return min(max(proofTimes*took, time.Duration(messages)*proofEach, proofMin), proofMax)
}

// stillTaken reports whether a creation is to be proved: nobody has dropped it meanwhile.
func (l *loop) stillTaken(id proto.UUID, t taken) bool {
	c, ok := l.dependents.creations[id]
	return ok && c.offset == t.offset && c.until == 0 && l.deadLog.Has(t.offset)
}

// recallTaken takes a creation of an earlier life for one to be proved by the sync at the connect.
func (l *loop) recallTaken(d *wal.DeadLetter) {
	l.dependents.taken(d.Entity, d.Offset)
	l.proofs.taken[d.Entity] = taken{offset: d.Offset, sent: d.Offset}
}

// asks notes that a sync begins, which will bring what the cloud has of all that it has taken.
func (p *proofs) asks() {
	for id, t := range p.taken {
		t.asked = true
		p.taken[id] = t
	}
	p.due = time.Time{}
}

// prove is a step before a message is applied: what the cloud names it has, or had until now.
func (l *loop) prove(d *proto.DownlinkMsg, _ time.Time) {
	p := &l.proofs
	if len(p.taken) == 0 {
		return
	}
	for _, u := range d.GetDeviceUpdateMsg() {
		p.named(proto.UUIDOf(u.GetIdMSB(), u.GetIdLSB()))
	}
	for _, u := range d.GetAssetUpdateMsg() {
		p.named(proto.UUIDOf(u.GetIdMSB(), u.GetIdLSB()))
	}
	for _, u := range d.GetEntityViewUpdateMsg() {
		p.named(proto.UUIDOf(u.GetIdMSB(), u.GetIdLSB()))
	}
	for _, u := range d.GetDashboardUpdateMsg() {
		p.named(proto.UUIDOf(u.GetIdMSB(), u.GetIdLSB()))
	}
}

func (p *proofs) named(id proto.UUID) {
	if t, ok := p.taken[id]; ok && !t.proved {
		t.proved = true
		p.taken[id] = t
		p.proved, p.settle = true, time.Time{}
	}
}

// maybeProve asks for the sync that is due, and lets what is proved go.
func (l *loop) maybeProve(now time.Time) {
	p := &l.proofs
	if p.proved && !now.Before(p.settle) {
		l.settleProofs(now)
	}
	if p.due.IsZero() || now.Before(p.due) || l.syncing.running || l.stopping || l.conn.sess.Queued() >= receiveBelow {
		return
	}
	p.due = time.Time{}
	if len(p.taken) > 0 {
		l.askSync(false, true, now)
		l.queue.Settle() // so that what is proved may leave the dead-letter log at once
	}
}

// settleProofs removes what is proved from the dead-letter log, as far as the commit that passed it
// is durable: after a crash the queue would still count as pending what counts as deployed here.
func (l *loop) settleProofs(now time.Time) {
	p := &l.proofs
	durable := l.queue.DurablyCommitted().Offset
	done := make(map[proto.UUID]taken)
	p.proved, p.settle = false, time.Time{}
	for id, t := range p.taken {
		switch {
		case !t.proved:
		case t.sent > durable:
			p.proved, p.settle = true, now.Add(settleLook)
		default:
			done[id] = t
		}
	}
	if p.proved {
		l.queue.Settle()
	}
	if len(done) == 0 {
		return
	}
	gone := make(map[uint64]bool)
	l.deadLog.Entries(func(e *wal.DeadEntry) bool {
		if t, ok := done[e.Entity]; ok && e.Offset >= t.offset && e.Offset <= t.sent && e.Class == wal.DeadCreation {
			gone[e.Offset] = true
		}
		return true
	})
	if _, err := l.deadLog.Deliver(func(o uint64) bool { return gone[o] }); err != nil {
		l.complain("the dead-letter log cannot be written", err.Error(), now)
		p.proved, p.settle = true, now.Add(l.cfg.Retry.Interval)
		return
	}
	for id, t := range done {
		delete(p.taken, id)
		delete(l.retries.tries, t.offset)
		if c, ok := l.dependents.creations[id]; ok && c.offset == t.offset && c.until == 0 {
			c.accepted = true
			l.dependents.creations[id] = c
		}
	}
	l.dependents.changed = true
	p.silent = false
	p.pause.Reset()
	l.retries.births.taken(l.cfg.Batch.Size)
	l.takesCreations(now)
}

// judgeTaken judges, when a sync has ended, the creations that it was to bring. whole: nothing of
// it was left out.
func (l *loop) judgeTaken(whole bool, now time.Time) {
	p := &l.proofs
	if len(p.taken) == 0 {
		return
	}
	var refused []uint64
	for id, t := range p.taken {
		switch {
		case t.proved:
		case !l.stillTaken(id, t):
			delete(p.taken, id)
		case t.asked && whole:
			refused = append(refused, t.offset)
		default:
			p.due = later(now.Add(proofWait), p.next)
		}
	}
	// An instance of slices.Sort would be 8 kB more of code on MIPS.
	sort.Slice(refused, func(i, j int) bool { return refused[i] < refused[j] })
	for len(refused) > 0 {
		n := l.refusedInSilence(refused, now)
		if n == 0 { // the medium refuses; the next sync tells once more
			p.due = later(now.Add(l.cfg.Retry.Interval), p.next)
			return
		}
		refused = refused[n:]
	}
}

// refusedInSilence writes on creations among the dead letters that the cloud does not have what
// they create, and plans the next try. It returns how many of the offsets it took.
func (l *loop) refusedInSilence(offsets []uint64, now time.Time) (n int) {
	var (
		put  []wal.DeadLetter
		size int
		of   = make(map[uint64]proto.UUID)
		r    = &l.retries
	)
	for _, offset := range offsets {
		if len(put) >= asideEvents || size >= asideBytes {
			break
		}
		n++
		d, ok, err := l.deadLog.Get(offset)
		if err != nil {
			l.complain("the dead-letter log cannot be read", err.Error(), now)
			return 0
		}
		if !ok {
			continue
		}
		of[offset] = d.Entity
		r.tries[offset] = r.of(&d) + 1
		rests := l.cfg.Retry.Max <= 1
		if d.Reason != silentReason || d.Resting != rests { // else it says so already
			d.Reason, d.Resting = silentReason, rests
			put = append(put, d)
			size += len(d.Fragment)
		}
	}
	if err := l.deadLog.PutAll(put); err != nil {
		l.complain("the dead-letter log cannot be written", err.Error(), now)
		return 0
	}
	for offset, id := range of {
		delete(l.proofs.taken, id)
		l.dependents.refused(id, offset)
		l.dependents.refusedFor(silentReason, false)
	}
	if len(of) > 0 {
		l.proofs.silent = true
		r.births = flow{}
		r.birthsDue = now.Add(l.proofs.pause.Next())
		l.complain("the cloud has answered creations with success and does not have what they create;"+
			" they are in the dead-letter log with what waits for them", silentReason, now, "creations", len(of))
	}
	return n
}

// notProved is for a change of the edge: the former one may have the devices whose creations it has
// taken. So these are created anew for the new edge, behind their deletion (halfmade.go). Nothing
// is lost with what is deleted, because all data of these devices waits.
func (l *loop) notProved(now time.Time) {
	var devices []proto.UUID
	for id, t := range l.proofs.taken {
		if l.stillTaken(id, t) && l.reg.HasDevice(id) {
			devices = append(devices, id)
		}
	}
	l.setHalfMade(devices, true, now)
}
