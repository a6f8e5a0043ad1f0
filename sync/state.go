package sync

import (
	"errors"
	"time"

	"edgesync/proto"
	"edgesync/sync/former"
	"edgesync/sync/link"
	"edgesync/sync/plain"
)

// This file holds every transition of the connection state:
//
//	Disconnected ──dial─> Reconnecting ──ACCEPTED─> Draining ──through─> Processing <─> Connected
//	     ^                     │                       │                     │              │
//	     └───────failed────────┴───────────────────────┴──the session ended──┴──────────────┘
//
// Draining, Processing and Connected change to Refused and back (outage.go).

// connection is the state of the link to the cloud, and its session.
type connection struct {
	state         State
	since         time.Time
	lastErr       string
	edge          string    // its name
	firstAccepted time.Time // of this life

	// Of the session.
	sess         link.Session // nil: none
	acceptedAt   time.Time
	acknowledged bool // something
	lastReceived time.Time
	heard        time.Time // the last bytes of a large message, see link.Session
	backlogEnd   uint64    // Seq of the last event from before the session
	overrun      bool      // a message found no slot
}

func (c *connection) endSession() {
	*c = connection{state: c.state, since: c.since, lastErr: c.lastErr, edge: c.edge, firstAccepted: c.firstAccepted}
}

// SecondAgent is in the cause of a link that ends again and again because another agent has the
// same key.
const SecondAgent = "another agent uses this routing key"

// Ends of a session that are ours to declare.
var (
	errAckTimeout   = errors.New("the cloud did not acknowledge a batch")
	errProbeTimeout = errors.New("the cloud did not answer a probe within " + probeTimeout.String())
	errSyncStuck    = errors.New("the sync made no progress twice; asking anew over a new stream")
	errSilence      = errors.New("the cloud sends nothing down, although it was asked, for " + silenceAfter.String() +
		"; asking anew over a new stream")
	errOverrun  = errors.New("more was to be sent than the session holds; sending again over a new stream")
	errEdgeGone = errors.New("the edge was deleted in the cloud; events stay in the queue until it exists again" +
		" (check cloud.routing_key)")
	errSecondAgent = errors.New(SecondAgent + ": the cloud closes each stream right after accepting it")
)

func (l *loop) enter(s State, now time.Time) {
	if l.conn.state != s {
		l.log.Debug("state", "from", l.conn.state, "to", s)
		l.conn.state, l.conn.since = s, now
	}
}

// updateState moves between Draining, Processing, Connected and Refused by what is pending. Called
// once a turn.
func (l *loop) updateState(now time.Time) {
	if l.conn.sess == nil {
		return
	}
	committed, end := l.queue.Committed(), l.queue.End()
	switch {
	case l.outage.holding:
		l.enter(Refused, now)
	case committed.Seq >= end.Seq && len(l.sending.win.batches) == 0:
		l.enter(Connected, now)
	case l.conn.state == Draining && committed.Seq < l.conn.backlogEnd:
	case l.conn.state == Refused && committed.Seq < l.conn.backlogEnd:
		l.enter(Draining, now)
	default:
		l.enter(Processing, now)
	}
}

// dialed handles the outcome of an attempt.
func (l *loop) dialed(r dialResult, now time.Time) {
	l.dialing.running = false
	if r.err != nil {
		l.secretRefused(r.err)
		l.disconnected(r.err, l.dialing.afterFailure(r.err), now)
		return
	}
	c, edge := &l.conn, r.sess.Config()
	if err := l.beEdge(l.keepSecret(edge), now); err != nil {
		r.sess.Close()
		l.dialing.before = r.sess
		l.disconnected(err, l.dialing.afterFailure(err), now)
		return
	}
	c.sess, c.acceptedAt, c.lastReceived = r.sess, now, now
	if c.firstAccepted.IsZero() {
		c.firstAccepted = now
	}
	l.contact.heard(now, l.counters.attempts)
	l.history.Accepted(l.wallTime(now, now), now)
	c.lastErr = l.outage.reason
	c.backlogEnd = l.queue.End().Seq
	l.counters.connects++
	l.dialing.refusals.Reset()
	l.dialing.timeout.Reset()
	l.sending.reader.Seek(l.queue.Committed())
	l.enter(Draining, now)
	l.calls.Online()
	backlog := c.backlogEnd - l.queue.Committed().Seq
	l.log.Info("connected", "cloud", l.link.Addr(), "edge", edge.GetName(), "backlog", backlog)
	if t := edge.GetCloudType(); t != "" && t != "CE" {
		l.log.Warn("the cloud is no ThingsBoard CE; only the common protocol is spoken", "cloudType", t)
	}
	l.reviveFitting(now)
	l.beginSync(now)
}

// progress notes the first acknowledgement of a session: only now the link counts as good and the
// backoff starts anew.
func (l *loop) progress() {
	if !l.conn.acknowledged {
		l.conn.acknowledged = true
		l.dialing.reconnect.Reset()
	}
}

// ended closes a session and plans the next attempt. What was in flight is sent again in the next
// session.
func (l *loop) ended(err error, now time.Time) {
	l.suspect(err, now)
	l.storeAside(now)
	l.planRepetition(err, now)
	l.conn.sess.Close()
	l.dialing.before = l.conn.sess
	l.history.Ended(l.wallTime(l.conn.lastReceived, now), now)
	lived := now.Sub(l.conn.acceptedAt)
	l.callsOffline()
	if l.syncing.running {
		l.setSyncing(false)
		l.reg.AbortSync()
	}
	l.forgetSession()
	wait, err := l.dialing.afterEnd(err, lived)
	l.disconnected(err, wait, now)
}

func (l *loop) disconnected(err error, wait time.Duration, now time.Time) {
	l.enter(Disconnected, now)
	l.dialing.next = now.Add(wait)
	l.conn.lastErr = l.redact(link.Explain(err, &l.cfg.Cloud, l.history.Past(l.wallTime(now, now))))
	l.contact.failed(l.conn.lastErr, link.Told(err))
	l.complain("not connected", l.conn.lastErr, now, "next_attempt", wait.Round(time.Millisecond))
}

// wallTime is a moment that was not after now, in milliseconds since the epoch; 0 while the time is
// not known.
func (l *loop) wallTime(t, now time.Time) int64 {
	ms := l.clock.Stamp()
	if _, undated := proto.Uptime(ms); undated {
		return 0
	}
	return ms - now.Sub(t).Milliseconds()
}

// setEdge remembers who we are, and a new secret (CONTRACT.md 2.8). Within a session the edge is
// the one that it began with: a configuration of another one is hostile or a mistake, and changes
// nothing.
func (l *loop) setEdge(c *proto.EdgeConfiguration) {
	if c == nil {
		return
	}
	if isOther(l.reg.Edge(), c) {
		l.complain("the cloud sends the configuration of another edge within a session; it is ignored",
			plain.Cut(former.Named(edgeOf(c)), maxEdgeName), time.Now())
		return
	}
	l.conn.edge = plain.Cut(c.GetName(), maxText)
	if err := l.reg.SetEdge(c); err != nil {
		l.complain("the edge's configuration cannot be stored", err.Error(), time.Now())
	}
}
