package sync

import (
	"fmt"
	"time"

	"edgesync/proto"
)

// syncing is the sync that runs. It belongs to a session.
type syncing struct {
	running  bool
	full     bool // it was asked for with fullSync
	proof    bool // for the sake of creations (proof.go)
	partial  bool // some of it was left out
	began    time.Time
	received int                // messages
	part     string             // what came last, in words
	progress time.Time          // last
	retried  bool               // it stood still once in this session
	report   func(running bool) // Deps.Syncing; it outlives the session
}

func (s *syncing) endSession() { *s = syncing{report: s.report} }

// beginSync asks for what belongs to this edge: changes made while we were away come in no other
// way (CONTRACT.md 3.5).
func (l *loop) beginSync(now time.Time) {
	full := l.cfg.Sync.Full == "always" || l.cfg.Sync.Full == "first" && !l.reg.FullySynced()
	l.askSync(full, false, now)
}

// askSync asks for a sync; proof is whether it is only to show what creations have become of.
func (l *loop) askSync(full, proof bool, now time.Time) {
	l.setSyncing(true)
	l.syncing = syncing{running: true, full: full, proof: proof, began: now, progress: now, report: l.syncing.report}
	l.proofs.asks()
	l.reg.BeginSync(full, l.queue.Committed().Seq)
	if proof { // what goes while we are connected is told (CONTRACT.md 6.3)
		l.reg.RemoveNothing()
	}
	l.write(proto.AppendSyncRequest(nil, full))
}

// setSyncing notes whether a sync runs, and says so to Deps.Syncing.
func (l *loop) setSyncing(running bool) {
	if l.syncing.running != running && l.syncing.report != nil {
		l.syncing.report(running)
	}
	l.syncing.running = running
}

// since is when the sync made progress last; zero while none runs.
func (s *syncing) since() time.Time {
	if !s.running {
		return time.Time{}
	}
	return s.progress
}

// syncOverdue restarts a sync that stands still: first by clearing the server's flag on this
// stream, then by a new stream (CONTRACT.md 3.6).
func (l *loop) syncOverdue(now time.Time) error {
	s := &l.syncing
	if !s.running || now.Sub(l.since(s.progress)) < syncPatience {
		return nil
	}
	if s.retried {
		return errSyncStuck
	}
	l.complain("the sync makes no progress", fmt.Sprintf("%d messages, then none for %v; asking again", s.received, syncPatience), now)
	l.write(proto.AppendSyncEscape(nil))
	l.reg.AbortSync()
	l.askSync(s.full, s.proof, now)
	s.retried = true
	return nil
}

// countSync notes that a sync makes progress.
func (l *loop) countSync(d *proto.DownlinkMsg, now time.Time) {
	s := &l.syncing
	if !s.running {
		return
	}
	s.received++
	s.progress = now
	if d.GetSyncCompletedMsg() == nil {
		s.part = firstPart(d)
	}
}

// endSync handles the end of a sync. False: it cannot be stored, so it is not acknowledged and
// comes again.
func (l *loop) endSync(now time.Time) bool {
	if !l.syncing.running {
		return true
	}
	removed, err := l.reg.EndSync()
	if err != nil {
		l.complain("the end of the sync cannot be stored", err.Error(), now)
		return false
	}
	s := &l.syncing
	l.setSyncing(false)
	l.proofs.next = now.Add(proofPause(now.Sub(s.began), s.received))
	l.judgeTaken(!s.partial, now)
	if s.proof { // the questions were asked at the connect
		l.planAsking(false)
		l.log.Debug("synchronised", "messages", s.received, "devices", l.reg.Devices(), "removed", removed)
		return true
	}
	l.planAsking(true)
	l.log.Info("synchronised", "messages", l.syncing.received, "devices", l.reg.Devices(), "removed", removed)
	return true
}

// text is the sync in words for people; "" while none runs.
func (s *syncing) text() string {
	switch {
	case !s.running:
		return ""
	case s.part == "":
		return fmt.Sprintf("sync: %d received", s.received)
	}
	return fmt.Sprintf("sync: %d received, %s", s.received, s.part)
}

// firstPart names the first part of a message, in the order of the fields in its definition, in
// words: "device profiles".
func firstPart(d *proto.DownlinkMsg) string {
	m := d.ProtoReflect()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); f.Message() != nil && m.Has(f) {
			return PartWords(string(f.Name()))
		}
	}
	return ""
}
