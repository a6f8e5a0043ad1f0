package sync

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"edgesync/proto"
	"edgesync/wal"
	"edgesync/wal/disk"
)

// A person may have acknowledged events go up once more, because somebody has deleted data in the
// cloud (edgesync replay). The loop walks the segments that queue.keep_acknowledged has left, and
// appends what is asked for to the queue as events of their own, with the times that they carry.
// So they are accepted, counted, sent, refused and kept over a crash as all others are. They are
// marked as copies (wal.Event.Again), so that a later replay of the same time leaves them out.
//
// New events go first: a small group is appended only while hardly anything waits (replayPending),
// and not while a sync runs, the server limits the rate or the flash budget is short. The segments
// that are still to be read are pinned (wal.Queue.Pin). The position is in a file, which is written
// after each replaySaved bytes read: after a kill at most so much goes up twice.
//
// All of this is rare, so nothing of it is inlined: that would be 4 kB more on MIPS.

// ReplayOrder says which acknowledged events go up once more. From and To are times at which events
// were accepted, both included.
type ReplayOrder struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Entities []string  `json:"entities,omitempty"` // ids, at most MaxReplayEntities; none: all entities
	// Attributes: those too. They carry no time, so an old value may stand over a newer one.
	Attributes bool `json:"attributes,omitempty"`
	// Copies: those too that an earlier replay has made of events. What they are copies of may be
	// here as well.
	Copies bool `json:"copies,omitempty"`
}

// MaxReplayEntities bounds the entities of a ReplayOrder.
const MaxReplayEntities = 16

// Check says what is wrong with an order.
func (o *ReplayOrder) Check() error {
	_, err := o.ids()
	if err == nil && o.To.Before(o.From) {
		err = errors.New("a replay begins before it ends: from is behind to")
	}
	return err
}

//go:noinline
func (o *ReplayOrder) ids() (ids []proto.UUID, err error) {
	for _, s := range o.Entities {
		id, ok := proto.ParseUUID(s)
		if !ok || len(ids) == MaxReplayEntities {
			return nil, errors.New("a replay is of at most 16 entities, named by their ids")
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// wants reports whether an event that the cloud has acknowledged is of those that are asked for.
// date is when it was accepted, in milliseconds since the epoch.
//
//go:noinline
func (o *ReplayOrder) wants(e *wal.Event, ids []proto.UUID, date int64) bool {
	return date >= o.From.UnixMilli() && date <= o.To.UnixMilli() && o.Takes(e) && (len(ids) == 0 || slices.Contains(ids, e.Entity))
}

// Takes reports whether an event is of a kind that the order takes: telemetry, which carries its
// times, and attributes and copies if these are asked for.
//
//go:noinline
func (o *ReplayOrder) Takes(e *wal.Event) bool {
	a := proto.Action(e.Action)
	return proto.Kind(e.Kind) == proto.KindEntityData && (o.Copies || !e.Again) &&
		(a == proto.ActionTimeseriesUpdated || o.Attributes && (a == proto.ActionPostAttributes || a == proto.ActionAttributesUpdated))
}

// Replay is what people see of a replay, and what its file holds. Offsets are of the queue.
type Replay struct {
	ReplayOrder
	Start  uint64 `json:"start"`  // it began to read behind this offset
	Offset uint64 `json:"offset"` // up to which it has read
	Until  uint64 `json:"until"`  // that it reads up to
	Events uint64 `json:"events"` // so many went into the queue once more
	// Left are those of the range that did not: their entity is not here any more, or they wait
	// among the dead letters.
	Left  uint64 `json:"left"`
	State string `json:"state"`           // ReplayRuns, or how it has ended
	Waits string `json:"waits,omitempty"` // for what it waits now
}

// States of a Replay.
const (
	ReplayRuns    = "running"
	replayDone    = "done"
	replayStopped = "stopped"
)

var (
	errReplayRuns = errors.New("a replay runs; edgesync status shows how far it is, and edgesync replay --stop ends it")
	errNoReplay   = errors.New("no replay runs")
)

// replayFile bounds the file of a replay in bytes.
const replayFile = 4 << 10

// LoadReplay reads the replay that an earlier process has left in a file; nil if there is none.
//
//go:noinline
func LoadReplay(path string) (*Replay, error) {
	b, err := disk.ReadRegular(path, replayFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	p := new(Replay)
	if err == nil {
		err = json.Unmarshal(b, p)
	}
	if err == nil {
		err = p.Check()
	}
	if err == nil && (p.Start > p.Offset || p.Offset > p.Until || p.State != ReplayRuns) {
		err = errors.New("its offsets are in no order")
	}
	if err != nil {
		return nil, fmt.Errorf("the replay that was under way is given up, because %s cannot be read: %w", path, err)
	}
	return p, nil
}

// replaying is the replay that runs, and the last of this life. It outlives sessions.
type replaying struct {
	Replay
	path    string // "": no replay can be kept
	ids     []proto.UUID
	reader  *wal.Reader // nil: none runs
	due     time.Time
	unsaved int // bytes read since the file was written
}

// recallReplay takes up the replay that an earlier process has left.
//
//go:noinline
func (l *loop) recallReplay(path string) {
	r := &l.replaying
	if r.path = path; path == "" {
		return
	}
	p, err := LoadReplay(path)
	if err == nil && p != nil && p.Until > l.queue.End().Offset {
		err = errors.New("the replay that was under way is given up: it is of another queue")
	}
	if err != nil {
		l.log.Warn(err.Error())
		l.endReplay("")
	} else if p != nil {
		l.openReplay(*p)
		l.log.Info("a replay goes on", "offset", p.Offset, "until", p.Until, "events", p.Events)
	}
}

//go:noinline
func (l *loop) openReplay(p Replay) {
	r := &l.replaying
	ids, _ := p.ids() // checked
	*r = replaying{Replay: p, path: r.path, ids: ids, reader: l.queue.Past(p.Offset)}
	l.queue.Pin(p.Offset)
}

// endReplay lets go of the replay. What went into the queue stays there.
//
//go:noinline
func (l *loop) endReplay(state string) {
	r := &l.replaying
	if r.reader != nil {
		r.reader.Close()
	}
	r.reader, r.State, r.Waits = nil, state, ""
	l.queue.Pin(math.MaxUint64)
	if err := os.Remove(r.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		l.log.Warn("the file of the replay that has ended cannot be deleted; the next start goes on with it", "error", err)
	}
	if state != "" {
		l.log.Info("the replay has ended", "state", state, "events", r.Events, "left", r.Left)
	}
}

// saveReplay makes the position durable.
//
//go:noinline
func (l *loop) saveReplay() error {
	r := &l.replaying
	b, err := json.Marshal(&r.Replay)
	if err == nil {
		err = disk.Replace(r.path, b)
	}
	if err == nil {
		r.unsaved = 0
		l.queue.Meter(0, int64(len(b)), 2)
	}
	return err
}

// Replay begins to send acknowledged events again. It is durable when Replay has returned.
func (a *Agent) Replay(ctx context.Context, o ReplayOrder) error {
	err := o.Check()
	if err != nil {
		return err
	}
	busy := a.carryOut(ctx, func(l *loop, _ time.Time) {
		r := &l.replaying
		switch {
		case r.path == "":
			err = errors.New("this agent has no place to note how far a replay is")
		case r.reader != nil:
			err = errReplayRuns
		default:
			until := l.queue.Committed().Offset
			start := min(l.queue.Stats().First-1, until)
			l.openReplay(Replay{ReplayOrder: o, Start: start, Offset: start, Until: until, State: ReplayRuns})
			if err = l.saveReplay(); err != nil {
				l.endReplay("")
				err = fmt.Errorf("nothing is sent again, because it cannot be noted how far that is: %w", err)
			} else {
				l.log.Info("acknowledged events are sent again", "from", o.From, "to", o.To, "until", until)
			}
		}
	})
	return errors.Join(busy, err)
}

// StopReplay ends the replay that runs. What it has put into the queue goes up.
func (a *Agent) StopReplay(ctx context.Context) (err error) {
	busy := a.carryOut(ctx, func(l *loop, _ time.Time) {
		if err = errNoReplay; l.replaying.reader != nil {
			err = nil
			l.endReplay(replayStopped)
		}
	})
	return errors.Join(busy, err)
}

// replayWaits says for what a replay waits; "" if nothing keeps it from going on.
//
//go:noinline
func (l *loop) replayWaits() string {
	s := l.conn.state
	switch {
	case l.replaying.reader == nil:
		return ""
	case l.conn.sess == nil:
		return "for the link"
	case l.syncing.running || l.former.active:
		return "for the sync"
	case s != Connected && s != Processing || l.sending.limited || len(l.sending.waiting) > 0:
		return "for the cloud to take what is new"
	case !l.queue.Spare():
		return "for the flash budget"
	}
	return l.replaying.Waits
}

// replayDue is when the next group of the replay is due: while hardly anything waits. Zero: not
// now.
//
//go:noinline
func (l *loop) replayDue(now time.Time) (due time.Time) {
	if l.replaying.reader != nil && l.queue.Unanswered() < replayPending {
		due = later(l.replaying.due, now)
	}
	return due
}

// maybeReplay appends the next group of the replay if that is due.
//
//go:noinline
func (l *loop) maybeReplay(now time.Time) {
	r := &l.replaying
	if !l.replayDue(now).Equal(now) {
		return
	}
	r.Waits = ""
	if l.replayWaits() != "" {
		r.due = now.Add(replayPause)
		return
	}
	if err := l.replayGroup(); err != nil {
		r.due, r.Waits = now.Add(overflowPause), "for the medium"
		l.complain("acknowledged events cannot be sent again yet", err.Error(), now)
		return
	}
	r.due = now
	var err error
	if r.Offset >= r.Until {
		l.endReplay(replayDone)
	} else if r.unsaved >= replaySaved {
		err = l.saveReplay()
	}
	if err != nil {
		l.complain("it cannot be noted how far the replay is", err.Error(), now)
	}
}

// replayGroup reads on, and appends what is asked for. After an error it stands where it stood.
//
//go:noinline
func (l *loop) replayGroup() error {
	r := &l.replaying
	var events []wal.Event
	size, looked, left := 0, 0, uint64(0)
	before := r.reader.Position()
	err := r.reader.Read(func(e *wal.Entry) bool {
		if e.Offset > r.Until || len(events) >= replayEvents || size >= replayBytes || looked >= replayLooked {
			return false
		}
		looked += len(e.Fragment) + frameBytes
		date, dated := l.date(e)
		if !r.wants(&e.Event, r.ids, date) {
			return true
		}
		if !dated || l.setAside(e).why != 0 || l.deadLog.Has(e.Offset) || l.overflow.has(e) || !l.reg.Knows(e.Entity) {
			left++
			return true
		}
		again := e.Event
		again.Again = true
		if again.Fragment = bytes.Clone(e.Fragment); date != e.Time {
			proto.SetTime(again.Fragment, e.Time, date)
		}
		size += len(again.Fragment)
		events = append(events, again)
		return true
	})
	if err == nil && len(events) > 0 {
		err = takeBack(l.queue, l.clock.Now)(events...)
	}
	if err != nil {
		r.reader.Seek(before)
		return err
	}
	n := uint64(len(events))
	r.Offset, r.Events, r.Left = max(r.Offset, min(r.reader.Position().Offset, r.Until)), r.Events+n, r.Left+left
	r.unsaved += looked
	l.counters.replayed += n
	l.queue.Pin(r.Offset)
	return nil
}

// stopReplay notes at a stop how far the replay is.
//
//go:noinline
func (l *loop) stopReplay() {
	r := &l.replaying
	if r.reader == nil {
		return
	}
	if err := l.saveReplay(); err != nil {
		l.log.Warn("it cannot be noted how far the replay is; a little is sent twice", "error", err)
	}
	r.reader.Close()
}
