package wal

// standing is where the queue of a directory stands.
type standing struct {
	end, committed Position
	counters       counters
	ahead          uint64
	gap            Gap
}

// standingOf works out where a directory stands. c is what the committed file says, or memory after
// a failure, if ok; of it and the newest control frame of the tail the later one counts. If both
// are lost, everything that is still there is sent again.
//
// When the log is known to have reached further than the tail does now, what is missing was
// acknowledged to devices and cannot be read any more. Its offsets are not used again: an old
// committed offset, or a reader, would pass over what is written there.
func standingOf(dir string, t tail, c control, ok bool, reach uint64) (p standing) {
	p.end = Position{Offset: t.last, Seq: t.seq}
	known := uint64(0) // events known to have been accepted
	lost := !ok
	if ok {
		known = c.seq
	}
	if t.found && (!ok || t.newest.newer(&c)) {
		c, ok = t.newest, true
	}
	if !ok {
		if first, seq, found := startSeq(dir); found {
			p.committed = Position{Offset: first - 1, Seq: min(seq, p.end.Seq)}
			p.counters.deployed = p.committed.Seq
		}
		return p
	}
	p.committed, p.counters, p.ahead, p.gap = c.committed, c.counters, c.ahead, c.gap
	if !t.seqSure {
		p.end.Seq = c.committed.Seq + max(t.last, c.committed.Offset) - c.committed.Offset
	}
	p.end.Seq = max(p.end.Seq, c.committed.Seq, known)
	p.end.Offset = max(p.end.Offset, reach, c.committed.Offset)
	if p.committed.Offset == p.end.Offset { // nothing is left to read: what is missing is counted now
		p.counters.damaged += p.end.Seq - p.committed.Seq
		p.committed = p.end
	}
	if first, seq, found := startSeq(dir); lost && found && p.committed.Offset < first-1 && seq >= p.committed.Seq {
		// The control frame is older than a drop. Only what the committed offset had passed is
		// dropped, so what is gone was not pending.
		seq = min(seq, p.end.Seq)
		passed := seq - p.committed.Seq
		already := min(p.ahead, passed) // counted when it was thinned
		p.counters.deployed += passed - already
		p.counters.dropped += already
		p.ahead -= already
		p.committed.Offset, p.committed.Seq = first-1, seq
	}
	p.ahead = min(p.ahead, p.end.Seq-p.committed.Seq)
	return p
}

// startSeq finds the first offset that is still there and how many events were accepted before it.
func startSeq(dir string) (first, seq uint64, ok bool) {
	firsts, err := listSegments(dir)
	if err != nil || len(firsts) == 0 {
		return 0, 0, false
	}
	for i, f := range firsts[:min(4, len(firsts))] {
		if seq, ok := headSeq(dir, f); ok {
			if i > 0 { // events before it cannot be told from control frames
				seq -= min(seq, f-firsts[0])
			}
			return firsts[0], seq, true
		}
	}
	return firsts[0], 0, true
}
