package sync

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"edgesync/proto"
	"edgesync/sync/calls"
	"edgesync/sync/clock"
	"edgesync/sync/complaint"
	"edgesync/sync/config"
	"edgesync/sync/link"
	"edgesync/sync/tally"
	"edgesync/wal"
)

// loop is one run of the agent. Its one goroutine owns everything here; the goroutine of an attempt
// and those of a session only send it messages. Nothing in it waits for the network: see doc.go.
type loop struct {
	// What the loop works with, see Deps.
	cfg        *config.Config // a copy: Reload changes it
	log        *slog.Logger
	queue      *wal.Queue
	deadLog    *wal.DeadLog
	reg        Registry
	clock      *clock.Clock
	calls      *calls.Table
	doors      Doors // nil: nobody takes calls
	coming     func(d *proto.DownlinkMsg) (came func())
	link       *link.Dialer
	history    *link.History
	board      *board
	hint       <-chan struct{}
	orders     <-chan *order
	complaints *complaint.Log

	// State, by the file that owns it. What belongs to one session is in these parts and nowhere
	// else: forgetSession resets all of them.
	conn      connection // state.go
	sending   sending    // uplink.go
	receiving receiving  // receive.go
	syncing   syncing    // syncing.go
	probing   probing    // probe.go
	asking    asking     // ask.go
	direct    direct     // direct.go
	rpc       rpc        // rpc.go
	retries   retries    // deadletters.go
	repeating repeating  // repeat.go

	// State that outlives a session.
	dialing    dialing           // dial.go
	contact    contact           // contact.go
	pace       pace              // capacity.go
	tally      *tally.File       // nil: nobody keeps it
	search     search            // refused.go
	outage     outage            // outage.go
	dependents dependents        // dependents.go
	proofs     proofs            // proof.go
	room       roomAccount       // room.go
	refused    *refusedCreations // for publish
	quiet      quiet             // quiet.go
	former     formerEdge        // otheredge.go
	overflow   overflow          // overflow.go
	replaying  replaying         // replay.go
	halfMade   halfMade          // halfmade.go
	looked     time.Time         // for what nobody waits for, last
	flushed    time.Time         // the registry without anybody who waits, last
	grown      grown             // quiet.go
	stopping   bool
	counters   counters
}

// part is a part of the loop's state that belongs to a session.
type part interface {
	// endSession forgets what belongs to the session. It sets the whole part to a new value that
	// names what is kept, so that a field that is added is forgotten unless it is named.
	endSession()
}

// forgetSession resets everything that belongs to the session.
func (l *loop) forgetSession() {
	for _, p := range l.sessionParts() {
		p.endSession()
	}
}

func (l *loop) sessionParts() []part {
	return []part{&l.conn, &l.sending, &l.receiving, &l.syncing, &l.probing, &l.asking, &l.direct, &l.rpc, &l.retries, &l.repeating}
}

func newLoop(a *Agent) *loop {
	own := *a.Config
	c := &own
	l := &loop{
		cfg: c, log: a.Log, queue: a.Queue, deadLog: a.Dead, reg: a.Registry, clock: a.Clock,
		tally: a.Tally, calls: a.calls, doors: a.doors, coming: a.Coming, link: &a.dialer, history: a.History,
		board: &a.board, hint: a.hint, orders: a.orders, complaints: complaint.New(a.Log, complainEvery),
		conn:       connection{since: time.Now()},
		dialing:    newDialing(c, a.jitter),
		sending:    newSending(a.Queue.Reader()),
		syncing:    syncing{report: a.Syncing},
		grown:      grown{report: a.Devices},
		search:     search{batchSize: c.Batch.Size},
		asking:     newAsking(),
		direct:     newDirect(),
		retries:    newRetries(),
		repeating:  newRepeating(a.Queue, c),
		dependents: newDependents(),
		proofs:     newProofs(),
		halfMade:   make(halfMade),
		room:       roomAccount{room: &a.room},
	}
	l.sending.take = l.take
	l.rpc.deliver = func(c *Call) bool { return l.doors != nil && l.doors.Deliver(c) }
	if e := l.reg.Edge(); e != nil {
		l.conn.edge = e.GetName()
	}
	l.former.store = a.Former
	l.overflow = newOverflow(a.Overflow, time.Now())
	l.recallFormer()
	l.recallCalls(time.Now())
	l.reg.Awaits(l.dependents.await)
	l.loadRefusedCreations()
	l.recallOutage(time.Now())
	l.recallRepetition()
	l.recallReplay(a.Replays)
	if err := l.countBacklog(); err != nil {
		l.complain("the queue cannot be read", err.Error(), time.Now())
	}
	l.publish(time.Now())
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
			l.reportDiscarded(time.Now())
			return
		case r := <-l.dialing.results:
			l.dialed(r, time.Now())
		case in := <-l.inbox():
			l.received(in, time.Now())
		case <-l.queue.Wake():
		case <-l.calls.Wake():
		case <-l.hint:
			l.dialNow()
		case o := <-l.orders:
			l.obey(o, time.Now())
		case <-timer.C:
		}
	}
}

// turn does everything that is due.
func (l *loop) turn(ctx context.Context, now time.Time) {
	l.sending.now = now
	l.clock.Update()
	if first := l.conn.firstAccepted; !first.IsZero() && now.Sub(first) >= clock.Patience {
		l.clock.AcceptEstimate()
	}
	l.maybeFlush(now)
	l.keepAcknowledged(now)
	l.tally.SaveIfDue()
	if l.conn.sess == nil {
		l.maybeCall(now)
		l.maybeDial(ctx, now)
		return
	}
	l.conn.heard = l.conn.sess.Heard()
	if err := l.overdue(now); err != nil {
		l.ended(err, now)
		return
	}
	l.maybeCall(now)
	l.maybeSetApart(now)
	l.maybeReturn(now)
	l.maybeReplay(now)
	l.maybeRepeat(now)
	l.maybeSend(now)
	l.maybeAsk(now)
	l.maybeProve(now)
	l.maybeRetry(now)
	l.maybeKnock(now)
	l.maybeProbe(now)
	l.updateState(now)
	l.maybeGiveBack(now)
}

// overdue says why the session counts as dead: by missing progress, never by silence of downlinks
// alone, which another edge can cause for two minutes (CONTRACT.md 6.1). While a large message
// comes over a slow link, or is being stored, nothing else can come.
func (l *loop) overdue(now time.Time) error {
	patience := l.sending.win.patience()
	late := func(since time.Time) bool { return !since.IsZero() && now.Sub(l.since(since)) >= patience }
	switch {
	case l.conn.overrun:
		return errOverrun
	case late(l.sending.win.oldest()), l.retries.try != nil && late(l.retries.try.sentAt), late(l.direct.oldest()):
		l.sending.win.timeouts++
		return fmt.Errorf("%w within %v", errAckTimeout, patience.Round(time.Second))
	case l.probing.id != 0 && now.Sub(l.since(l.probing.at)) >= probeTimeout:
		return errProbeTimeout
	case !l.asking.silentSince.IsZero() && now.Sub(l.since(l.asking.silentSince)) >= silenceAfter:
		return errSilence
	}
	return l.syncOverdue(now)
}

// since is from when on a wait for the server counts that began at t: while it sends something
// large, or that is being stored, what is awaited cannot come.
func (l *loop) since(t time.Time) time.Time {
	if !t.IsZero() && l.conn.heard.After(t) {
		return l.conn.heard
	}
	return t
}

// deadline is when the next turn is due if nothing happens.
func (l *loop) deadline(now time.Time) time.Time {
	next := first{now.Add(heartbeat)}
	at, after := next.at, next.after
	at(l.rpc.due)
	if l.conn.sess == nil {
		if !l.dialing.running {
			at(l.dialing.next)
			if l.dialing.next.IsZero() {
				at(now)
			}
		}
		return next.t
	}
	s := &l.sending
	if s.more || l.former.more {
		at(now)
	}
	if len(s.waiting) > 0 && !s.unstored {
		at(s.waitingSince.Add(asideWait))
	}
	if l.conn.sess.Queued() >= receiveBelow { // nothing else says that there are slots again
		at(now.Add(slotsPause))
	}
	if s.open != nil && !s.open.empty() && l.maySend(now) && !l.ready(s.open, now) {
		at(s.open.opened.Add(l.cfg.Batch.Timeout))
	}
	if s.pauseUntil.After(now) {
		at(s.pauseUntil)
	}
	patience := s.win.patience()
	after(l.since(s.win.oldest()), patience)
	if l.retries.try != nil {
		after(l.since(l.retries.try.sentAt), patience)
	}
	switch {
	case l.probing.id != 0:
		after(l.since(l.probing.at), probeTimeout)
	case len(s.win.batches) == 0 && l.retries.try == nil:
		after(l.since(l.conn.lastReceived), probeAfter)
	}
	at(l.wakeDue())
	if f := l.retries.last.since; !f.IsZero() {
		at(f.Add(lastLegMax))
	}
	if r := &l.retries; r.try == nil {
		for _, due := range [...]time.Time{r.due, r.birthsDue} {
			if due.After(now) {
				at(due)
			}
		}
	}
	at(l.replayDue(now))
	if due := l.overflow.due; !due.IsZero() {
		at(later(due, now))
	}
	if p := &l.proofs; p.proved {
		at(later(p.settle, now))
	}
	if due := l.proofs.due; !l.syncing.running && due.After(now) {
		at(due)
	}
	if l.repeating.held {
		at(l.repeating.due)
	}
	if l.outage.holding && l.outage.next.After(now) {
		at(l.outage.next)
	}
	after(l.since(l.syncing.since()), syncPatience)
	if a := &l.asking; len(a.questions) > 0 && !a.underWay && !l.syncing.running && a.due.After(now) {
		at(a.due)
	}
	after(l.since(l.direct.oldest()), patience)
	after(l.since(l.asking.silentSince), silenceAfter)
	if l.quiet.worked && l.conn.state == Connected && !l.syncing.running {
		at(l.giveBackDue())
	}
	return next.t
}

// first is the earliest of several moments. What is zero is none.
type first struct{ t time.Time }

// Inlined where deadline calls it, at would be 8 kB of code on MIPS.
//
//go:noinline
func (f *first) at(t time.Time) {
	if !t.IsZero() && t.Before(f.t) {
		f.t = t
	}
}

//go:noinline
func (f *first) after(t time.Time, d time.Duration) {
	if !t.IsZero() {
		f.at(t.Add(d))
	}
}

// maybeFlush makes the cached attributes and the marks of announced devices durable, and reports
// which dead letters the bound has pushed out. The events themselves are in the queue, so a power
// cut costs the cache at most flushEvery, and flash little. While the flash budget is short the
// cache waits longer, so that devices and the cloud need not.
func (l *loop) maybeFlush(now time.Time) {
	if now.Sub(l.looked) < flushEvery {
		return
	}
	l.looked = now
	l.reportDiscarded(now)
	if !l.queue.Spare() && now.Sub(l.flushed) < flushLatest {
		return
	}
	l.flushed = now
	if err := l.reg.Flush(); err != nil {
		l.complain("the registry cannot be written", err.Error(), now)
	}
}

// write hands a complete RequestMsg to the session. There is room: the window bounds batches, what
// goes beside them asks for slots first, and receiveBelow and turnMessages bound acknowledgements.
// If there is none all the same, the session ends and what was lost is sent again.
func (l *loop) write(b []byte) {
	if !l.conn.sess.Send(b) {
		l.conn.overrun = true
		return
	}
	l.counters.uplinkBytes += uint64(len(b))
}

// complain logs a warning of one kind once, and again when its reason changes or after a while.
//
//go:noinline
func (l *loop) complain(kind, reason string, now time.Time, args ...any) {
	l.complaints.Warn(now, kind, "", reason, args...)
}

// stop flushes: what is ready goes out, the stream is half-closed, and the acknowledgements due are
// waited for, at most stopTimeout.
func (l *loop) stop(cancel context.CancelFunc) {
	if l.dialing.running {
		cancel()
		if r := <-l.dialing.results; r.err == nil {
			r.sess.Close()
			<-r.sess.Done()
		}
		l.dialing.running = false
	}
	defer l.keepPending()
	defer l.stopReplay()
	sess := l.conn.sess
	if sess == nil {
		return
	}
	now := time.Now()
	l.sending.now = now
	l.stopping = true
	l.maybeCall(now)
	l.maybeSend(now)
	sess.Finish()
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	for open := true; open; {
		select {
		case in := <-sess.Inbox():
			if open = in.Err == nil; open {
				l.acknowledgedAtStop(in, time.Now())
			}
		case <-timeout.C:
			open = false
		}
	}
	l.storeAside(time.Now())
	sess.Close()
	<-sess.Done()
	l.history.Ended(l.wallTime(l.conn.lastReceived, time.Now()), time.Now())
	l.conn.sess = nil
	l.enter(Disconnected, time.Now())
	l.publish(time.Now())
}

// acknowledgedAtStop takes of what still comes only the acknowledgements of batches.
func (l *loop) acknowledgedAtStop(in link.Inbound, now time.Time) {
	defer in.Handled()
	r := in.Msg.GetUplinkResponseMsg()
	if r == nil || !r.GetSuccess() {
		return
	}
	if b := l.sending.win.find(r.GetUplinkMsgId()); b != nil {
		if _, ok := l.keepTaken(b, now); !ok {
			return // it is sent again
		}
		b.state = acked
		l.commit(now)
	}
}
