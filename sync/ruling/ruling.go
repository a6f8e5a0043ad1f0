package ruling

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"edgesync/proto"
	"edgesync/sync/clock"
	"edgesync/sync/registry"
	"edgesync/sync/rules"
	"edgesync/wal"
	"edgesync/wal/disk"
)

// Queue is where events go; *wal.Queue is one.
type Queue interface {
	Append(ctx context.Context, events ...wal.Event) error
}

// Latest are the latest values of series; *rest.Latest is one. Any goroutine.
type Latest interface {
	Observe(events []proto.Event)
	// Replace is Observe of one entity's events, and gives what undoes it, and what is Observe of
	// more that is undone with it.
	Replace(id proto.UUID, events []proto.Event) (undo func(), more func([]proto.Event))
	// Value is the newest value of a series that was saved here.
	Value(id proto.UUID, key string) (ts int64, kv proto.KV, ok bool)
}

// Options are what rules work with.
type Options struct {
	Dir        string // of what nodes keep
	CorruptDir string
	Registry   *registry.Registry
	Queue      Queue
	Latest     Latest
	Clock      *clock.Clock
	Log        *slog.Logger
	Meter      disk.Meter
	Fill       bool     // as of the queue: the file system overwrites in place
	Off        bool     // no chain is executed
	Drop       bool     // a message whose node failed ends, as on a real edge
	Presence   Presence // of devices
	// Much is told when much begins to wait in windows, delays and calls, and when no longer; nil:
	// nobody is.
	Much func(bool)
	// File is a chain as ThingsBoard's UI exports it, which counts in place of the cloud's; nil:
	// those of the cloud count.
	File []byte
}

// Rules are the rule chains of an edge, before its queue. Any goroutine may call the methods; the
// one of Run owns chains, time, and what comes of both.
type Rules struct {
	Options
	engine  *rules.Engine
	journal *journal
	before  Counts // of earlier lives
	takes   sync.Pool
	back    take         // what no caller waits for
	wide    atomic.Int64 // bytes beyond inlineBytes that takes may gather
	alarms  alarms
	calls   callers
	steps   steps

	present  map[proto.UUID]*presence // activity.go; the goroutine of work owns both
	nextLook time.Time

	// several: there is more than one chain, so that the profile of a device counts.
	several atomic.Bool
	// readsLatest: a node has read a latest value, so that what a refused message saved must go.
	readsLatest atomic.Bool

	changed  atomic.Bool            // chains in the registry, or that of next
	next     atomic.Pointer[[]byte] // in place of Options.File; nil: it is taken
	heads    map[proto.UUID]sum     // what was taken of them
	bodies   map[proto.UUID]sum
	facts    map[string]bool       // that were logged
	mu       sync.Mutex            // guards what follows
	problems map[proto.UUID]string // of chains that are not taken
	root     Root

	dayMu  sync.Mutex           // guards said24; a report holds mu for long, and messages do not wait for it
	said24 map[string]time.Time // what is logged once a day

	much    bool          // what Options.Much was told last; the goroutine of journal.run
	written time.Time     // the counters
	last    Counts        // what was written then
	extra   atomic.Uint64 // events that nodes made beside messages
	said    atomic.Int64  // when a node's failure was last logged, in s
	failing bool          // the queue refuses what back holds
	grumble time.Time     // the last complaint of that

	stop context.CancelFunc
	done chan struct{}
}

// sum is a hash of a text that was taken.
type sum = [sha256.Size]byte

// Open brings back the chains and what waited in them. Run begins with the first call of Start.
func Open(o Options) (*Rules, error) {
	j, err := openJournal(&o)
	if err != nil {
		return nil, err
	}
	r := &Rules{
		Options: o, journal: j, before: readCounts(j.store),
		heads: make(map[proto.UUID]sum), bodies: make(map[proto.UUID]sum), done: make(chan struct{}),
		problems: make(map[proto.UUID]string), present: make(map[proto.UUID]*presence), said24: make(map[string]time.Time),
	}
	r.last, r.written = r.before, time.Now()
	r.back.init(r, true)
	r.takes.New = func() any {
		t := new(take)
		t.init(r, false)
		return t
	}
	r.engine = rules.New(r, &r.back, rules.Options{Drop: o.Drop, Now: o.Clock.Now, Journal: &r.back})
	r.alarms.init()
	r.calls.init()
	switch err := r.load(); {
	case err != nil && o.File != nil:
		return nil, errors.Join(fmt.Errorf("the rule chain of rules.file: %w", err), j.close())
	case err != nil:
		o.Log.Warn("a rule chain of the cloud is not executed", "error", err)
	}
	j.restore(r.engine)
	o.Registry.Hear(r.hear)
	return r, nil
}

// Start begins to execute what is due.
func (r *Rules) Start() {
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	written := make(chan struct{})
	go func() {
		defer close(written)
		r.journal.run(ctx.Done(), r.weigh)
	}()
	worked := make(chan struct{})
	go func() {
		defer close(worked)
		r.work(ctx)
	}()
	go func() {
		defer close(r.done)
		r.engine.Run(ctx, r.settle)
		<-written
		<-worked
	}()
}

// muchHeld is what counts as much that waits, in bytes. Windows that go leave the most garbage, so
// that much is over only when nearly all have gone.
const muchHeld = 256 << 10

// weigh tells Options.Much.
func (r *Rules) weigh() {
	held := r.engine.Sums().HeldBytes
	if much := held > muchHeld || r.much && held > muchHeld/16; much != r.much && r.Much != nil {
		r.much = much
		r.Much(much)
	}
}

// Close stops what Start began, and makes durable what is left.
func (r *Rules) Close() error {
	if r.stop != nil {
		r.stop()
		<-r.done
	}
	r.journal.do()
	r.flush()
	r.stageCounts(time.Now())
	r.journal.write()
	r.journal.do() // those whom the medium refused just now
	r.journal.write()
	return r.journal.close()
}

// Hold has nothing written of what nodes keep while fn runs.
func (r *Rules) Hold(fn func()) {
	r.journal.writing.Lock()
	defer r.journal.writing.Unlock()
	r.journal.open.hold(fn)
}

// hear notes a change of the registry, whose locks are held.
func (r *Rules) hear(what registry.Heard, id proto.UUID) {
	if what == registry.AlarmHeard {
		r.alarms.touch(id)
		return
	}
	if !r.changed.Swap(true) {
		r.engine.Wake()
	}
}

// settle is called by the engine between what is due: it takes changes of chains, and hands to the
// queue what has come of time, now and then, or, if nothing more is due, all of it.
func (r *Rules) settle(last bool) bool {
	if r.changed.Swap(false) {
		if err := r.load(); err != nil {
			r.Log.Warn("a rule chain of the cloud is not executed", "error", err)
		}
	}
	if last || r.back.large() {
		r.failing = r.flush() != nil
	}
	if now := time.Now(); last && now.Sub(r.written) >= sumsEvery && r.stageCounts(now) {
		r.journal.commit(true, func(error) {})
	}
	return !r.failing
}

// flush makes durable what back has gathered: the events first, then that messages no longer wait.
func (r *Rules) flush() error {
	notes := r.back.cutNotes() // before what came with them is cut
	out, forget, some := r.back.cut()
	if !some && len(notes) == 0 {
		return nil
	}
	if len(out) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), appendLimit)
		err := r.append(ctx, out)
		cancel()
		if err != nil {
			r.back.putBack(out, forget)
			for _, n := range notes {
				r.back.Note(n)
			}
			if now := time.Now(); now.Sub(r.grumble) > complainEvery {
				r.grumble = now
				r.Log.Warn("the queue does not take what has come of a rule chain; its windows wait", "error", err)
			}
			return err
		}
	}
	r.journal.forget(forget)
	r.stage(notes)
	r.stageCounts(time.Now())
	r.journal.commit(some, func(err error) {
		if err != nil {
			r.Log.Warn("what rules keep cannot be written", "error", err)
		}
	})
	return nil
}

const (
	appendLimit   = 20 * time.Second
	complainEvery = 30 * time.Second
)

// append makes events durable in the queue.
func (r *Rules) append(ctx context.Context, events []proto.Event) error {
	list := make([]wal.Event, len(events))
	for i := range events {
		e := &events[i]
		list[i] = wal.Event{Kind: uint8(e.Kind), Action: uint8(e.Action), Time: e.Time, Entity: e.Entity, Fragment: e.Fragment}
	}
	return r.Queue.Append(ctx, list...)
}

// Counts are the counters over the life of the data directory.
func (r *Rules) Counts() Counts {
	s := r.engine.Sums()
	c := countsOf(&s)
	c.Made += r.extra.Load()
	was := r.before
	for i, f := range c.fields() {
		*f += *was.fields()[i]
	}
	return c
}

// stageCounts stages the counters if they have changed; false: they have not. The goroutine of Run.
func (r *Rules) stageCounts(now time.Time) bool {
	c := r.Counts()
	c.Held = 0
	if c == r.last {
		return false
	}
	r.written, r.last = now, c
	return r.journal.Keep(sumsKey, c.append(nil)) == nil
}
