package sync

import (
	"errors"
	"time"

	"edgesync/proto"
	"edgesync/sync/link"
)

// This file holds every transition of the connection state (architecture, "The connection states"):
//
//	Disconnected ──dial──> Reconnecting ──ACCEPTED──> Draining ──backlog through──> Processing <──> Connected
//	     ^                      │                        │                              │              │
//	     └──────failed──────────┴────────────────────────┴───────the session ended──────┴──────────────┘

// Ends of a session that are ours to declare.
var (
	errAckTimeout   = errors.New("the cloud did not acknowledge a batch within " + ackTimeout.String())
	errProbeTimeout = errors.New("the cloud did not answer a probe within " + probeTimeout.String())
	errSyncStuck    = errors.New("the sync made no progress twice; asking anew over a new stream")
	errEdgeGone     = errors.New("the edge was deleted in the cloud; events stay in the queue until it exists again (check cloud.routing_key)")
)

func (l *loop) enter(s State, now time.Time) {
	if l.state != s {
		l.log.Debug("state", "from", l.state, "to", s)
		l.state, l.since = s, now
	}
}

// settleState moves between Draining, Processing and Connected by what is pending. Called once a turn.
func (l *loop) settleState(now time.Time) {
	if l.sess == nil {
		return
	}
	committed, end := l.queue.Committed(), l.queue.End()
	switch {
	case committed.Seq >= end.Seq && len(l.win.batches) == 0:
		l.enter(Connected, now)
	case l.state == Draining && committed.Seq < l.backlogEnd:
	default:
		l.enter(Processing, now)
	}
}

// dialed handles the outcome of an attempt.
func (l *loop) dialed(r dialResult, now time.Time) {
	l.dialing = false
	if r.err != nil {
		l.failed(r.err, now)
		return
	}
	s := r.sess
	l.sess, l.acceptedAt, l.lastReceived = s, now, now
	if l.firstAccepted.IsZero() {
		l.firstAccepted = now
	}
	l.counters.connects++
	l.refusals.Reset()
	l.dialTimeout.Reset()
	l.acknowledged, l.probeID, l.probeAt = false, 0, time.Time{}
	l.lastErr = ""
	l.reader.Seek(l.queue.Committed())
	l.backlogEnd = l.queue.End().Seq
	l.enter(Draining, now)
	l.setEdge(s.Config())
	l.clock.fresh, l.questions, l.asking, l.askDue, l.deafSince = false, nil, false, time.Time{}, time.Time{}
	l.calls.Online()
	l.log.Info("connected", "cloud", l.dialer.Addr(), "edge", s.Config().GetName(), "backlog", l.backlogEnd-l.queue.Committed().Seq)
	if t := s.Config().GetCloudType(); t != "" && t != "CE" {
		l.log.Warn("the cloud is no ThingsBoard CE; only the common protocol is spoken", "cloudType", t)
	}
	l.beginSync(now)
}

// failed plans the next attempt after one that did not reach ACCEPTED.
func (l *loop) failed(err error, now time.Time) {
	var wait time.Duration
	var refused *link.RefusedError
	switch {
	case errors.As(err, &refused) && refused.Code == proto.ConnectResponseCode_BAD_CREDENTIALS:
		wait = l.refusals.Next()
	case errors.Is(err, link.ErrTimeout):
		l.dialTimeout.Next()
		wait = l.jitter(l.reconnect.Next())
	default:
		l.dialTimeout.Reset()
		wait = l.jitter(l.reconnect.Next())
	}
	l.disconnected(err, wait, now)
}

// ended takes leave of a session. What was in flight is sent again in the next one.
func (l *loop) ended(err error, now time.Time) {
	l.suspect(err, now)
	l.sess.Close()
	l.closing = l.sess.Done()
	l.sess = nil
	l.win.reset()
	l.open = nil
	l.deadTry = nil
	l.deadDue = time.Time{}
	l.answers = l.answers[:0]
	l.callsOffline()
	if l.syncing {
		l.setSyncing(false)
		l.reg.AbortSync()
	}
	wait := time.Duration(-1)
	switch {
	case errors.Is(err, errEdgeGone):
		wait = l.refusals.Next()
	case errors.Is(err, link.ErrCleanEnd) && now.Sub(l.acceptedAt) < quickEnd:
		if l.quickEnds++; l.quickEnds >= quickEndsMax {
			l.reconnect.Top()
			wait = l.reconnect.Peek()
			err = errSecondAgent
		}
	default:
		l.quickEnds = 0
	}
	if wait < 0 {
		wait = l.jitter(l.reconnect.Next())
	}
	l.disconnected(err, wait, now)
}

// Three clean ends within ten seconds of ACCEPTED: the server completes the older stream of an edge that connects again
// (wire contract 2.6), so two agents with one key throw each other out for ever unless one of them waits.
const (
	quickEnd     = 10 * time.Second
	quickEndsMax = 3
)

var errSecondAgent = errors.New("another agent uses this routing key: the cloud closes each stream right after accepting it")

func (l *loop) disconnected(err error, wait time.Duration, now time.Time) {
	l.enter(Disconnected, now)
	l.nextDial = now.Add(wait)
	l.lastErr = link.Redact(link.Explain(err, &l.cfg.Cloud), l.secret())
	l.complain("not connected", l.lastErr, now, "next_attempt", wait.Round(time.Millisecond))
}

// suspect remembers with which batch in flight the server ended the stream: a message that it cannot read ends the session with
// no word of the reason (wire contract 1.1, 2.5). The batch that stands first at two such ends is split, and parked when it ends the
// stream alone.
func (l *loop) suspect(err error, now time.Time) {
	if len(l.win.batches) == 0 || !link.CanBeAnswer(err) {
		return
	}
	b := l.win.batches[0]
	if b.dead > 0 || b.state != inFlight {
		return
	}
	if l.endsAt != b.start.Offset {
		l.endsAt, l.ends = b.start.Offset, 1
		return
	}
	l.ends++
	switch {
	case b.events > 1:
		l.narrow(b)
		l.ends = 0
	case l.ends >= poisonEnds && len(l.win.batches) == 1:
		l.ends = 0
		l.park(b, "the stream ended each time this event was in flight: "+link.FirstLine(err.Error()), true, now)
	}
}

// poisonEnds is how often in a row an event must have been alone in flight when the server ended the stream.
const poisonEnds = 3
