package sync

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"

	"edgesync/proto"
	"edgesync/sync/clock"
	"edgesync/sync/config"
	"edgesync/wal"
)

// Time limits of a session (architecture, "Time limits and other numbers").
const (
	ackTimeout   = 60 * time.Second // oldest unacknowledged batch
	probeAfter   = 30 * time.Second // of hearing nothing with nothing in flight
	probeTimeout = 20 * time.Second
	pauseMin     = time.Second // after a rate limit answer
	pauseMax     = 60 * time.Second
	stopTimeout  = 5 * time.Second  // for the acknowledgements due at a stop
	heartbeat    = 5 * time.Second  // the loop turns at least this often
	flushEvery   = time.Minute      // what is staged in the registry and waits for nobody
	askGiveBack  = 20 * time.Second // while much is asked about, memory is given back so often
	quietFor     = 2 * time.Second  // after work, before memory is given back
	complainAt   = 30 * time.Second // the same complaint is logged at most this often
)

// loop is the state of one run of the agent. Its one goroutine owns everything here; dialler, receiver and sender only send it
// messages.
type loop struct {
	*Agent
	cfg    *config.Config
	log    *slog.Logger
	queue  *wal.Queue
	reg    Registry
	reader *wal.Reader

	state State
	since time.Time

	// The attempt and the session.
	dialing       bool
	dials         chan dialResult
	nextDial      time.Time
	reconnect     doubling
	refusals      doubling
	dialTimeout   doubling
	sess          *session
	acceptedAt    time.Time
	firstAccepted time.Time // of this life
	acknowledged  bool      // something in this session
	lastReceived  time.Time
	quickEnds     int
	backlogEnd    uint64 // Seq of the last event from before the session
	lastErr       string
	edge          string

	// Sending.
	win        window
	open       *batch // being filled
	take       func(e *wal.Entry) bool
	now        time.Time // of this turn, for take
	id         int32
	maxEvents  int    // of a batch; less than batch.size while a culprit is searched
	single     bool   // one batch in flight: after a refusal, until what was refused has passed
	suspectEnd uint64 // offset up to which single and maxEvents hold; 0 = until one batch passes
	pause      doubling
	pauseUntil time.Time
	limited    bool // the last answer to a batch was the rate limit
	endsAt     uint64
	ends       int
	stopping   bool
	flushed    time.Time // the registry, last
	worked     bool      // since memory was given back last
	gaveBack   time.Time

	// The dead-letter log's retries.
	deadDue time.Time
	deadTry *deadTry
	tries   map[uint64]int        // of letters tried in this life; bounded by the log
	unborn  map[proto.UUID]unborn // by entity; bounded by the log

	probeID int32 // 0 = none
	probeAt time.Time

	// Receiving.
	syncing      bool
	syncReceived int
	syncPart     string // what came last
	syncProgress time.Time
	syncKicked   bool
	answers      []int32 // downlink ids applied and not yet durable

	// RPC and questions, beside the batches.
	strays    []stray
	direct    map[int32]sent // not acknowledged, by id
	callsDue  time.Time      // when the next call or request is over
	callsWait time.Time      // no answer goes before: the cloud limits the rate
	clock     serverClock
	questions []question
	asking    bool                     // the last questions are not acknowledged
	asked     map[proto.UUID]time.Time // entities asked about lately; bounded by askTogether, askPause and echoFor
	askDue    time.Time
	deafSince time.Time // our edge was asked about, and nothing has come down since; zero: no

	counters counters

	complained map[string]*complaint
}

type dialResult struct {
	sess *session
	err  error
}

// complaint is one kind of warning, so that a cloud away for a week fills no log.
type complaint struct {
	text   string
	at     time.Time
	silent int
}

func newLoop(a *Agent) *loop {
	c := a.Config
	l := &loop{
		Agent: a, cfg: c, log: a.Log, queue: a.Queue, reg: a.Registry, reader: a.Queue.Reader(),
		dials:       make(chan dialResult, 1),
		reconnect:   doubling{min: c.Reconnect.Interval, max: c.Reconnect.MaxInterval},
		refusals:    doubling{min: refusedMin, max: refusedMax},
		dialTimeout: doubling{min: c.Cloud.Timeout, max: max(timeoutMax, c.Cloud.Timeout)},
		pause:       doubling{min: pauseMin, max: pauseMax},
		win:         newWindow(), maxEvents: c.Batch.Size, since: time.Now(),
		tries: make(map[uint64]int), unborn: make(map[proto.UUID]unborn), asked: make(map[proto.UUID]time.Time), direct: make(map[int32]sent), complained: make(map[string]*complaint),
	}
	l.take = func(e *wal.Entry) bool {
		date, ok := l.date(e)
		if !ok {
			return false
		}
		if len(l.unborn) > 0 && l.orphan(&e.Event, e.Offset) {
			return l.takeOrphan(e, l.now)
		}
		if !l.open.take(e, limits{events: l.maxEvents, server: l.sess.serverMax}, l.now) {
			return false
		}
		if date != e.Time {
			proto.SetTime(l.open.buf[len(l.open.buf)-len(e.Fragment):], e.Time, date)
		}
		return true
	}
	if e := l.reg.Edge(); e != nil {
		l.edge = e.GetName()
	}
	l.recallCalls(time.Now())
	l.loadUnborn()
	return l
}

func (l *loop) run(ctx context.Context) {
	// A session outlives ctx by the moment that stop needs to flush.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		l.turn(base, now)
		l.publish(now)
		timer.Reset(max(0, l.deadline(now).Sub(now)))
		select {
		case <-ctx.Done():
			l.stop(cancel)
			l.tellDiscarded(time.Now())
			return
		case r := <-l.dials:
			l.dialed(r, time.Now())
		case in := <-l.inbox():
			l.received(in, time.Now())
		case <-l.queue.Wake():
		case <-l.calls.wake:
		case <-l.hint:
			if l.sess == nil && !l.dialing {
				l.nextDial = time.Time{}
			}
		case o := <-l.orders:
			l.obey(o, time.Now())
		case <-timer.C:
		}
	}
}

// inbox is the receiver's channel, or nil while there is no room to acknowledge what it would bring.
func (l *loop) inbox() <-chan inbound {
	if l.sess == nil || len(l.sess.out) >= outHigh {
		return nil
	}
	return l.sess.in
}

// turn does everything that is due.
func (l *loop) turn(ctx context.Context, now time.Time) {
	l.now = now
	l.Clock.Update()
	if !l.firstAccepted.IsZero() && now.Sub(l.firstAccepted) >= clock.Patience {
		l.Clock.AcceptEstimate()
	}
	l.maybeFlush(now)
	if l.sess == nil {
		l.maybeCall(now)
		l.maybeDial(ctx, now)
		return
	}
	if err := l.overdue(now); err != nil {
		l.ended(err, now)
		return
	}
	l.maybeCall(now)
	l.maybeSend(now)
	l.maybeAsk(now)
	l.maybeRetryDead(now)
	l.maybeProbe(now)
	l.settleState(now)
	l.maybeGiveBack(now)
}

func (l *loop) maybeDial(ctx context.Context, now time.Time) {
	if l.dialing || now.Before(l.nextDial) {
		return
	}
	l.dialing = true
	l.nextDial = time.Time{}
	l.counters.attempts++
	l.enter(Reconnecting, now)
	secret, timeout := l.secret(), l.dialTimeout.Peek()
	go func() {
		s, err := l.link.open(ctx, secret, timeout)
		l.dials <- dialResult{s, err}
	}()
}

func (l *loop) secret() string { return l.reg.Secret(l.cfg.Cloud.RoutingSecret) }

// overdue tells why the session counts as dead: by missing progress, never by silence of downlinks alone, which another edge can
// cause for two minutes (wire contract 6.1).
func (l *loop) overdue(now time.Time) error {
	if t := l.win.oldest(); !t.IsZero() && now.Sub(t) >= ackTimeout {
		return errAckTimeout
	}
	if l.probeID != 0 && now.Sub(l.probeAt) >= probeTimeout {
		return errProbeTimeout
	}
	if l.deadTry != nil && now.Sub(l.deadTry.sentAt) >= ackTimeout {
		return errAckTimeout
	}
	if t := l.oldestDirect(); !t.IsZero() && now.Sub(t) >= ackTimeout {
		return errAckTimeout
	}
	if l.deaf(now) {
		return errDeaf
	}
	return l.syncOverdue(now)
}

// deadline is when the next turn is due if nothing happens.
func (l *loop) deadline(now time.Time) time.Time {
	next := now.Add(heartbeat)
	at := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	at(l.callsDue)
	if l.sess == nil {
		if !l.dialing {
			at(l.nextDial)
			if l.nextDial.IsZero() {
				at(now)
			}
		}
		return next
	}
	if l.open != nil && !l.open.empty() && l.maySend(now) && !l.ready(l.open, now) {
		at(l.open.opened.Add(l.cfg.Batch.Timeout))
	}
	if l.pauseUntil.After(now) {
		at(l.pauseUntil)
	}
	if t := l.win.oldest(); !t.IsZero() {
		at(t.Add(ackTimeout))
	}
	switch {
	case l.probeID != 0:
		at(l.probeAt.Add(probeTimeout))
	case len(l.win.batches) == 0 && l.deadTry == nil:
		at(l.lastReceived.Add(probeAfter))
	}
	if l.deadTry == nil && l.deadDue.After(now) {
		at(l.deadDue)
	}
	at(l.syncDeadline())
	if len(l.questions) > 0 && !l.asking && !l.syncing && l.askDue.After(now) {
		at(l.askDue)
	}
	if t := l.oldestDirect(); !t.IsZero() {
		at(t.Add(ackTimeout))
	}
	if !l.deafSince.IsZero() {
		at(l.deafSince.Add(deafAfter))
	}
	if l.worked && l.state == Connected && !l.syncing {
		at(l.giveBackDue())
	}
	return next
}

// maybeFlush makes durable what devices wrote into the cache of attributes, and what of their births is only a mark, and tells what dead letters had
// to go. The events themselves are in the queue, so a power cut costs the cache at most flushEvery, and flash little.
func (l *loop) maybeFlush(now time.Time) {
	if now.Sub(l.flushed) < flushEvery {
		return
	}
	l.flushed = now
	l.tellDiscarded(now)
	if err := l.reg.Flush(); err != nil {
		l.complain("the registry cannot be written", err.Error(), now)
	}
}

// maybeGiveBack returns memory to a small machine once it has been quiet for a while after work: a first sync is megabytes of which
// little is kept, and the collector alone would hold them.
func (l *loop) maybeGiveBack(now time.Time) {
	switch {
	case l.state != Connected || l.syncing:
		l.worked = true
	case l.worked && !now.Before(l.giveBackDue()):
		l.worked = len(l.questions) > 0
		l.gaveBack = now
		uplinkGzip.release()
		debug.FreeOSMemory()
		unmapCode()
	}
}

// giveBackDue is when it is quiet. While questions are asked, for minutes if there are thousands of devices, it is quiet between two of them.
func (l *loop) giveBackDue() time.Time {
	if len(l.questions) > 0 {
		return l.gaveBack.Add(askGiveBack)
	}
	return l.lastWork().Add(quietFor)
}

// lastWork is when the link was last seen at work, while it is Connected.
func (l *loop) lastWork() time.Time {
	if l.lastReceived.After(l.since) {
		return l.lastReceived
	}
	return l.since
}

func (l *loop) maybeProbe(now time.Time) {
	if l.probeID != 0 || len(l.win.batches) > 0 || l.deadTry != nil || now.Sub(l.lastReceived) < probeAfter {
		return
	}
	l.probeID, l.probeAt = l.nextID(), now
	l.write(proto.AppendProbe(nil, l.probeID))
}

// nextID returns an id for an uplink: positive, unlike all others in flight.
func (l *loop) nextID() int32 {
	if l.id++; l.id <= 0 {
		l.id = 1
	}
	return l.id
}

// write hands a complete RequestMsg to the sender. There is always room: batches are bounded by the window, answers by outHigh.
func (l *loop) write(b []byte) {
	l.counters.uplinkBytes += uint64(len(b))
	l.sess.out <- b
}

// received handles what the receiver brought, and whatever else is waiting behind it, so that one fsync serves many downlinks.
func (l *loop) received(in inbound, now time.Time) {
	for {
		if in.err != nil {
			l.answer(now)
			l.ended(in.err, now)
			return
		}
		l.lastReceived = now
		l.handle(in.msg, now)
		if l.sess == nil {
			return
		}
		select {
		case in = <-l.inbox():
			continue
		default:
		}
		l.answer(now)
		return
	}
}

func (l *loop) handle(m *proto.ResponseMsg, now time.Time) {
	if r := m.GetUplinkResponseMsg(); r != nil {
		l.uplinkResponse(r, now)
		if l.sess == nil {
			return
		}
	}
	if d := m.GetDownlinkMsg(); d != nil {
		l.downlink(d, now)
	}
	if u := m.GetEdgeUpdateMsg(); u != nil {
		l.setEdge(u.GetConfiguration())
	}
}

// publish lets other goroutines see the loop's state.
func (l *loop) publish(now time.Time) {
	p := published{
		turn: now, state: l.state, since: l.since, lastErr: l.lastErr, inFlight: l.win.unanswered(), window: l.win.size, rtt: l.win.rtt,
		nextDial: l.nextDial, limited: l.limited, edge: l.edge, synced: l.reg.Synced(), sync: l.syncText(), devices: l.reg.Devices(), counters: l.counters,
	}
	l.mu.Lock()
	l.published = p
	l.mu.Unlock()
}

// complain logs a warning of one kind once, and again when its text changes or after a while, with the number left out between.
func (l *loop) complain(kind, text string, now time.Time, args ...any) {
	c := l.complained[kind]
	if c == nil {
		c = &complaint{}
		l.complained[kind] = c
	}
	if c.text == text && now.Sub(c.at) < complainAt {
		c.silent++
		return
	}
	args = append(args, "reason", text)
	if c.silent > 0 {
		args = append(args, "repeated", c.silent)
	}
	l.log.Warn(kind, args...)
	*c = complaint{text: text, at: now}
}

// stop flushes: what is ready goes out, the stream is half-closed, and the acknowledgements due are waited for, at most stopTimeout.
func (l *loop) stop(cancel context.CancelFunc) {
	if l.dialing {
		cancel()
		if r := <-l.dials; r.err == nil {
			r.sess.close()
		}
		l.dialing = false
	}
	if l.sess == nil {
		return
	}
	now := time.Now()
	l.now = now
	l.stopping = true
	l.maybeCall(now)
	l.maybeSend(now)
	l.sess.finish()
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	for l.sess != nil {
		select {
		case in := <-l.sess.in:
			if in.err != nil {
				l.sess.close()
				l.sess = nil
				break
			}
			if r := in.msg.GetUplinkResponseMsg(); r != nil && r.GetSuccess() {
				if b := l.win.find(r.GetUplinkMsgId()); b != nil {
					b.state = acked
					l.commit(time.Now())
				}
			}
		case <-timeout.C:
			l.sess.close()
			l.sess = nil
		}
	}
	l.enter(Disconnected, time.Now())
	l.publish(time.Now())
}

// commit moves the committed offset over the contiguous acknowledged prefix of the window.
func (l *loop) commit(now time.Time) {
	for b := l.win.pop(); b != nil; b = l.win.pop() {
		if err := l.queue.Commit(b.end, uint64(b.events), uint64(b.dead)); err != nil && !errors.Is(err, wal.ErrClosed) {
			l.complain("the committed offset cannot be written", err.Error(), now)
		}
		if l.suspectEnd == 0 || b.end.Offset >= l.suspectEnd {
			l.suspectEnd, l.single, l.maxEvents = 0, false, l.cfg.Batch.Size
		}
		l.win.put(b)
	}
}
