package sync

import (
	"time"

	"edgesync/proto"
	"edgesync/sync/link"
	"edgesync/wal"
)

// An event goes to the dead letters because it is refused while others pass. When the cloud refuses
// everything it is the cloud, and no event is at fault: the queue stays as it is, and the loop
// knocks from time to time.
//
// The first event that is refused alone is moved to the dead letters at once, from where it is
// tried again. When the next one is refused too and nothing was accepted between, the loop holds.
// In each round it sends one after the other, alone: that first dead letter, the event at the head
// of the queue, and a few scouts. A scout is an event from behind the head, of another device where
// there is one.
//
//   - The dead letter or the head is accepted: the cloud takes events again.
//   - A scout is accepted: the head is tried once more, and when it is refused even now it is moved
//     to the dead letters.
//   - Nothing is accepted: the next round comes after a pause, which doubles.
//
// A scout that was accepted is sent a second time in its turn, as is what was behind a refused
// batch.

// HoldWords begin Snapshot.LastError while the cloud refuses everything.
const HoldWords = "the cloud takes no event at the moment; all stay in the queue"

// outage is what the loop knows of a cloud that may refuse everything. It outlives sessions.
type outage struct {
	refused bool // an event was refused alone, and moved, since anything was accepted
	offset  uint64
	entity  proto.UUID

	holding bool
	knock   knock // the next
	sending bool  // the head is being sent
	next    time.Time
	pause   doubling
	reason  string // to report
	passes  bool   // a scout was accepted; the head was not

	// Where to look for the next scout, and the entities that were tried and those that are created
	// behind the head. At most maxScouted of each.
	scouts  int    // of this round
	alone   bool   // the last round found no scout
	end     uint64 // Seq of the last event then
	from    wal.Position
	scouted []proto.UUID
	created []proto.UUID
}

// knock is a step of a round.
type knock uint8

const (
	knockDeadLetter knock = iota
	knockHead
	knockScouts
)

// mayMove reports whether a refused event may go to the dead letters: others pass, as far as it is
// known. A hopeless text is about the event: what the same entity sent before it counts as one with
// it. A creation may always go: the cloud may refuse creations only, and what the entity sends
// waits with it.
func (o *outage) mayMove(e *wal.Event, offset uint64, hopeless bool) bool {
	return isCreation(e) || !o.refused || o.passes || o.offset == offset || hopeless && o.entity == e.Entity
}

// moved notes that a refused event is in the dead letters. With a scout accepted there is nothing
// left to hold for.
func (o *outage) moved(e *wal.Event, offset uint64) (passes bool) {
	if o.passes {
		*o = outage{}
		return true
	}
	if !o.refused {
		o.refused, o.offset, o.entity = true, offset, e.Entity
	}
	return false
}

// recallOutage takes the first dead letter that waits for the one that was refused last: the outage
// may go on from an earlier life. The first event that is accepted shows that it does not.
func (l *loop) recallOutage(now time.Time) {
	err := l.deadLog.Waiting(0, func(d *wal.DeadLetter) bool {
		if isDependentLetter(d) || d.Reason == takenReason || l.dependents.waits(d.Entity, d.Offset) {
			return true
		}
		l.outage.moved(&d.Event, d.Offset)
		return false
	})
	if err != nil {
		l.complain("the dead-letter log cannot be read", err.Error(), now)
	}
}

// hold keeps the queue as it is, because the cloud refuses everything.
func (l *loop) hold(reason string, now time.Time) {
	o := &l.outage
	if !o.holding {
		o.holding, o.knock, o.next = true, knockScouts, now // the head was refused just now
		o.pause = doubling{min: pauseMin, max: pauseMax}
	}
	l.search.one()
	o.reason = HoldWords + ": " + link.FirstLine(reason)
	l.conn.lastErr = o.reason
	l.complain("the cloud refuses everything; events stay in the queue", link.FirstLine(reason), now)
}

// takesEvents notes that the cloud has accepted an event, and ends the hold.
func (l *loop) takesEvents() {
	held := l.outage.holding
	l.outage = outage{}
	l.retries.refused = refusedDeadLetters{}
	l.repeating.resume(true)
	if held {
		l.release()
	}
}

// release lets events go their ordinary way again.
func (l *loop) release() {
	l.search.end(l.cfg.Batch.Size)
	l.storeAside(l.sending.now)
	l.sending.forgetAside()
	l.sending.open, l.sending.aside, l.sending.apart = nil, aside{}, apart{}
	l.sending.reader.Seek(l.queue.Committed())
	l.conn.lastErr = ""
	l.log.Info("the cloud takes events again")
}

// maybeKnock sends the next event of a round, when it is due and nothing else is in flight.
func (l *loop) maybeKnock(now time.Time) {
	o := &l.outage
	if l.repeating.active() {
		return
	}
	if o.holding && o.alone && l.queue.End().Seq > o.end { // the first that could be a scout
		o.alone, o.knock, o.next = false, knockScouts, now
	}
	for o.holding && !l.stopping && !now.Before(o.next) && l.maySend(now) && l.knocks() == 0 {
		switch o.knock {
		case knockDeadLetter:
			o.knock = knockHead
			l.tryFirstDeadLetter(now)
		case knockHead:
			o.knock = knockScouts
			o.sending = true
			l.maybeSend(now)
			o.sending = false
			if o.holding && l.knocks() == 0 && l.sending.aside.why == 0 && l.queue.Committed().Seq >= l.queue.End().Seq {
				*o = outage{refused: o.refused, offset: o.offset, entity: o.entity} // the quota has dropped it
				l.release()
			}
		default:
			if o.scouts < scoutsARound && l.sendScout(now) {
				o.scouts++
				continue
			}
			o.alone, o.end = o.scouts == 0, l.queue.End().Seq
			o.knock, o.scouts = knockDeadLetter, 0
			o.next = now.Add(o.pause.Next())
		}
	}
}

// knocks counts what is in flight of the queue and the dead letters.
func (l *loop) knocks() int {
	n := len(l.sending.win.batches) + l.direct.scouts
	if l.retries.try != nil {
		n++
	}
	return n
}

// tryFirstDeadLetter sends the dead letter that was refused first, if it waits to be tried.
func (l *loop) tryFirstDeadLetter(now time.Time) {
	if l.outage.offset > l.queue.DurablyCommitted().Offset || l.former.holdsLetters() {
		return
	}
	d, ok, err := l.deadLog.Get(l.outage.offset)
	switch {
	case err != nil:
		l.complain("the dead-letter log cannot be read", err.Error(), now)
	case ok && !d.Resting && !l.dependents.waits(d.Entity, d.Offset) && l.unsendable(&d) == "":
		l.tryDeadLetters([]wal.DeadLetter{d}, now)
	}
}

// sendScout sends one event from behind the head, alone; false if there is none to try. The last
// scout of a round is the farthest that one look reaches: many events at the head may be at fault.
func (l *loop) sendScout(now time.Time) bool {
	o := &l.outage
	l.storeAside(now)
	l.rewind(l.queue.Committed())
	reader := l.sending.reader
	head := reader.Position()
	defer reader.Seek(head)
	farthest := o.scouts == scoutsARound-1
	if farthest || o.from.Offset <= head.Offset {
		o.from, o.scouted, o.created = head, o.scouted[:0], o.created[:0]
	}
	reader.Seek(o.from)
	var (
		scout  []byte // of an entity that was not tried
		other  []byte // if there is none such: the event that stands so far behind as within says
		within = 1 << (4 * o.scouts)
		looked int
		first  = o.from == head // the head itself comes first
	)
	err := reader.Read(func(e *wal.Entry) bool {
		if scout != nil || looked == scoutsLooked || len(o.scouted) >= maxScouted || len(o.created) >= maxScouted {
			return false
		}
		looked++
		if isCreation(&e.Event) {
			o.created = append(o.created, e.Entity)
		}
		switch {
		case first:
			first = false
			o.scouted = append(o.scouted, e.Entity)
		case !l.mayScout(e) || contains(o.created, e.Entity):
		case !farthest && !contains(o.scouted, e.Entity):
			scout = l.appendUplink(nil, e)
			o.scouted = append(o.scouted, e.Entity)
		case farthest || looked <= within || other == nil:
			other = l.appendUplink(other[:0], e)
		}
		return true
	})
	if err != nil {
		l.complain("the queue cannot be read", err.Error(), now)
	}
	if o.from = reader.Position(); scout == nil {
		scout, o.from = other, wal.Position{} // from the head on again
	}
	if scout == nil || !l.sendDirect(scout, sent{at: now, scout: true}) {
		return false
	}
	l.direct.scouts++
	return true
}

// mayScout reports whether an event may go ahead of its turn: data of an entity that the cloud has,
// as far as it is known, for data of others is acknowledged and dropped (CONTRACT.md 4.7).
func (l *loop) mayScout(e *wal.Entry) bool {
	if proto.Kind(e.Kind) != proto.KindEntityData || l.isFormer(&e.Event, e.Offset) || l.setAside(e).why != 0 {
		return false
	}
	_, dated := l.date(e)
	return dated
}

// appendUplink appends the fragment of an event, with its time.
func (l *loop) appendUplink(b []byte, e *wal.Entry) []byte {
	b = append(b, e.Fragment...)
	if date, _ := l.date(e); date != e.Time {
		proto.SetTime(b, e.Time, date)
	}
	return b
}

func contains(list []proto.UUID, id proto.UUID) bool {
	for i := range list {
		if list[i] == id {
			return true
		}
	}
	return false
}

// scoutAnswered handles the answer to a scout.
func (l *loop) scoutAnswered(accepted bool) {
	l.direct.scouts--
	if o := &l.outage; accepted && o.holding {
		o.passes, o.knock = true, knockHead
	}
}
