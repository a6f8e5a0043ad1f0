package script

import (
	"sync"
	"time"
)

// The bounds of a run (RULES.md 5.2, 7.4).
const (
	maxSteps  = 100_000 // statements, rounds of loops, calls, and pieces of work inside functions
	maxCalls  = 64      // calls of the script's own functions that are open at once
	maxMemory = 1 << 20 // bytes of texts, lists and maps that the variables of the run hold
	maxMade   = 4 << 20 // bytes of all that the run makes, what is garbage already too
	maxFrames = 3_000   // expressions and statements that are open at once, by the nesting of the source
)

// What the parts of a value are accounted with, in bytes. They are a 64-bit machine's, rounded up.
const (
	valueSize  = 56
	objectSize = 160
)

// Language is the language of a script.
type Language uint8

// The languages of rule chains (RULES.md 5.1).
const (
	TBEL Language = iota
	JavaScript
)

// String names the language as scriptLang of a node does.
//
//go:noinline
func (l Language) String() string {
	if l == JavaScript {
		return "JS"
	}
	return "TBEL"
}

// Pair is one text of a message's metadata.
type Pair struct {
	_          [0]func() // not comparable: there were four functions that compare one to three Pairs
	Key, Value string
}

// Args are what a script is called with. A script cannot change them.
type Args struct {
	Msg      *Doc   // parsed; the data of the message
	Metadata []Pair // keys are unique
	MsgType  string
}

// Env is the world of a script: nothing else of it can be reached.
type Env struct {
	Now    func() time.Time // the clock; time.Now if nil
	Zone   *time.Location   // the zone of local dates; UTC if nil
	Random func() float64   // of Math.random, from 0 to below 1; 0.5 if nil
}

// Program is a compiled script. It does not change: any number of goroutines may run it.
type Program struct {
	lang Language
	main *proto
}

// Language is the language of the script.
func (p *Program) Language() Language { return p.lang }

// scope holds the variables of one call; up is the call that the function was made in.
type scope struct {
	vars []*Value
	up   *scope
}

// run is the state of one run. One goroutine owns it; runs are reused.
type run struct {
	lang    Language
	args    Args
	env     Env
	steps   int // that may be made, in eighths
	memory  int // bytes that may be made before what is held is counted
	base    int // memory at the last count
	made    int // bytes that may be made at all
	calls   int
	frames  int
	sc      *scope
	ret     *Value
	argv    []*Value // the arguments of the calls that are being made
	spare   []*scope // scopes to use again
	callers []*scope // of the calls that are open
	top     *scope   // the scope of the arguments
	root    *scope   // the same, if it can be used again
	cache   []*pattern
}

var runs = sync.Pool{New: func() any { return &run{} }}

// step accounts for n pieces of work.
//
//go:noinline
func (r *run) step(n int) { r.work(n << 3) }

// work accounts for n eighths of a step.
//
//go:noinline
func (r *run) work(n int) {
	if r.steps -= n; r.steps < 0 {
		panic(limitAt("the script made more than % steps", maxSteps))
	}
}

// use accounts for n bytes of memory.
//
//go:noinline
func (r *run) use(n int) {
	if r.memory -= n; r.memory < 0 {
		r.recount(n)
	}
}

// text makes a text that a function built.
//
//go:noinline
func (r *run) text(s string) *Value {
	r.use(len(s) + 16)
	return textOf(s)
}

//go:noinline
func (r *run) list(vs []*Value) *Value {
	r.use(objectSize + len(vs)*valueSize)
	return listOf(vs)
}

// put sets a key of a map. A map of TBEL never holds null (RULES.md 5.4.3).
//
//go:noinline
func (r *run) put(o *object, key, v *Value) {
	if v.k == Null && r.lang == TBEL {
		r.drop(o, key)
		return
	}
	r.step(len(o.keys) >> 6)
	if r.lang == JavaScript && o.putScript(key, v) || r.lang == TBEL && o.put(key, v) {
		r.use(2 * valueSize)
	}
}

// drop takes a key out of a map. What is behind the key moves up, and an index is made anew.
//
//go:noinline
func (r *run) drop(o *object, key *Value) (*Value, bool) {
	r.step(len(o.keys) >> 2)
	return o.remove(key)
}

func (r *run) newScope(n int, up *scope) *scope {
	var sc *scope
	if k := len(r.spare); k > 0 {
		sc = r.spare[k-1]
		r.spare = r.spare[:k-1]
	} else {
		sc = &scope{}
	}
	if cap(sc.vars) < n {
		sc.vars = make([]*Value, n, n+4)
	} else {
		sc.vars = sc.vars[:n]
	}
	unset(sc.vars)
	sc.up = up
	return sc
}

// unset makes variables undefined.
//
//go:noinline
func unset(vars []*Value) {
	for i := range vars {
		vars[i] = undefined
	}
}

//go:noinline
func (r *run) freeScope(sc *scope) {
	clear(sc.vars)
	sc.up = nil
	r.spare = append(r.spare, sc)
}

// Run executes the script on a message. The value stays valid; its texts share the text of the
// message. An error is an *Error with reason Failed or Limit, or Unsupported for what shows itself
// only at run time (a pattern, a zone, a format). Run is safe for concurrent use.
func (p *Program) Run(env Env, args Args) (v *Value, err error) {
	size := len(args.MsgType)
	if args.Msg != nil {
		size += len(args.Msg.src)
	}
	for i := range args.Metadata {
		size += len(args.Metadata[i].Key) + len(args.Metadata[i].Value)
	}
	if size > maxMessage {
		return nil, tooLong(size)
	}
	r := runs.Get().(*run)
	v, err = p.on(r, env, args)
	if cap(r.argv) <= 256 { // a run that grew is left to the collector
		runs.Put(r)
	}
	return v, err
}

// on executes the script on a run that nobody else uses, and leaves it ready for the next one.
func (p *Program) on(r *run, env Env, args Args) (v *Value, err error) {
	defer func() {
		if x := recover(); x != nil {
			e, ok := thrown(x)
			if !ok {
				panic(x)
			}
			v, err = nil, e
		}
		r.release()
	}()
	r.lang, r.args, r.env = p.lang, args, env
	r.steps, r.memory, r.base, r.made = maxSteps<<3, maxMemory, maxMemory, maxMade
	r.calls, r.frames = 0, p.main.nesting
	r.sc = r.newScope(p.main.slots, nil)
	r.top, r.root = r.sc, r.sc
	if p.main.escapes {
		// The scope belongs to closures of the result from now on; it is not used again.
		r.root = nil
	}
	r.ret = null
	if p.lang == JavaScript {
		r.ret = undefined
	}
	r.exec(p.main.body)
	return r.ret, nil
}

// release forgets what the run held of the message.
//
//go:noinline
func (r *run) release() {
	if r.root != nil {
		r.freeScope(r.root)
	}
	r.args, r.env, r.sc, r.top, r.root, r.ret = Args{}, Env{}, nil, nil, nil, nil
	clear(r.argv[:cap(r.argv)])
	clear(r.callers[:cap(r.callers)])
	r.argv, r.callers = r.argv[:0], r.callers[:0]
	if len(r.spare) > 8 {
		clear(r.spare[8:])
		r.spare = r.spare[:8]
	}
}

//go:noinline
func (r *run) now() time.Time {
	if r.env.Now != nil {
		return r.env.Now()
	}
	return time.Now()
}

//go:noinline
func (r *run) zone() *time.Location {
	if r.env.Zone != nil {
		return r.env.Zone
	}
	return time.UTC
}

// The slots of the arguments in the first scope.
const (
	slotMsg = iota
	slotMetadata
	slotType
	argSlots
)

// argument is the value of an argument, built when it is first asked for: metadata of TBEL in the
// order of Java's HashMap.
func (r *run) argument(slot int) *Value {
	v := r.top.vars[slot]
	if v.k != Unset {
		return v
	}
	switch slot {
	case slotMsg:
		v = null
		if r.args.Msg != nil && len(r.args.Msg.cells) > 0 {
			v = r.args.Msg.build(r, 0, r.lang)
		}
	case slotType:
		v = textOf(r.args.MsgType)
	case slotMetadata:
		pairs := r.args.Metadata
		r.use(objectSize + 2*valueSize*len(pairs))
		v = newMap()
		if r.lang == TBEL {
			hashOrder(pairs, func(p Pair) { v.o.put(textOf(p.Key), textOf(p.Value)) })
		} else {
			for _, p := range pairs {
				v.o.put(textOf(p.Key), textOf(p.Value))
			}
		}
	}
	r.top.vars[slot] = v
	return v
}

// hashOrder calls do for the pairs in the order in which Java's HashMap holds them: by bucket, and
// in a bucket as they came.
func hashOrder(pairs []Pair, do func(Pair)) {
	buckets := uint32(16)
	for len(pairs) > int(buckets/4*3) {
		buckets *= 2
	}
	places := make([]*Value, len(pairs))
	for i, p := range pairs {
		h := javaHash(p.Key)
		places[i] = longOf(int64((h^h>>16)&(buckets-1))<<32 | int64(i))
	}
	sortStable(places, func(a, b *Value) int { return order(float64(a.n), float64(b.n)) })
	for _, place := range places {
		do(pairs[uint32(place.n)])
	}
}

func javaHash(s string) uint32 {
	h := uint32(0)
	for _, c := range s {
		first, second := surrogates(c)
		if h = 31*h + uint32(first); second != 0 {
			h = 31*h + uint32(second)
		}
	}
	return h
}
