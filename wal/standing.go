package wal

// standing is where the queue of a directory stands.
type standing struct {
	end, committed Position
	counters       counters
	ahead          uint64
	gap            Gap
	kept           uint64 // behind this offset committed frames are still wanted; noneKept: none are
}

// standingOf works out where a directory stands. c is what the committed file says, or memory after
// a failure, if ok; of it and the newest control frame of the tail the later one counts. If both
// are lost, the head of one of the first segments counts. What is missing behind the committed
// position is pending until a reader has passed over it, and then damaged: whether it was
// acknowledged before is not known any more.
//
// When the log is known to have reached further than the tail does now, what is missing was
// acknowledged to devices and cannot be read any more. Its offsets are not used again: an old
// committed offset, or a reader, would pass over what is written there.
func standingOf(dir string, t tail, c control, ok bool, reach uint64) (p standing) {
	p.end = Position{Offset: t.last, Seq: t.seq}
	p.kept = noneKept
	known := uint64(0) // events known to have been accepted
	if ok {
		known = c.seq
	}
	if t.found && (!ok || t.newest.newer(&c)) {
		c, ok = t.newest, true
	}
	if !ok {
		var first uint64
		if first, c, ok = startOf(dir); !ok {
			p.committed.Offset = max(first, 1) - 1 // counting begins anew
			return p
		}
	}
	p.committed, p.counters, p.ahead, p.gap = c.committed, c.counters, c.ahead, c.gap
	if c.kept > 0 {
		p.kept = c.committed.Offset - c.kept
	}
	if !t.seqSure {
		p.end.Seq = c.committed.Seq + max(t.last, c.committed.Offset) - c.committed.Offset
	}
	if t.guessed && t.last == c.committed.Offset { // up to there the count is known
		p.end.Seq = c.committed.Seq
	}
	p.end.Seq = max(p.end.Seq, c.committed.Seq, known)
	p.end.Offset = max(p.end.Offset, reach, c.committed.Offset)
	if p.committed.Offset == p.end.Offset { // nothing is left to read: what is missing is counted now
		lost := p.end.Seq - p.committed.Seq
		thinned := min(p.ahead, lost)
		p.counters.dropped += thinned
		p.counters.damaged += lost - thinned
		p.committed = p.end
	}
	p.ahead = min(p.ahead, p.end.Seq-p.committed.Seq)
	return p
}

// behind reports whether the frames of a tail do not show how far the log has come: then a new
// segment, whose head says so, must follow.
func (p *standing) behind(t *tail) bool {
	return p.end.Offset > t.last || p.end.Seq != t.seq && t.last >= t.first
}

// startOf finds the first offset that is still there (0 if none is), and the control frame at the
// head of one of the first segments.
func startOf(dir string) (first uint64, c control, ok bool) {
	firsts, err := listSegments(dir)
	if err != nil || len(firsts) == 0 {
		return 0, c, false
	}
	for _, f := range firsts[:min(4, len(firsts))] {
		if _, c, ok = head(dir, f); ok {
			break
		}
	}
	return firsts[0], c, ok
}
