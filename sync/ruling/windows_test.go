package ruling

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/sync/rules"
	"edgesync/wal"
	"edgesync/wal/disk/powercut"
	"edgesync/wal/store"
)

var powercutStates = flag.String("powercut", "some", "states that TestPowerCut opens: some or all")

// Nodes that collect the values of a minute, and name them.
const (
	allNode  = `deduplication.TbMsgDeduplicationNode|all|{"interval":60,"strategy":"ALL","outMsgType":"POST_TELEMETRY_REQUEST"}`
	nameNode = `transform.TbTransformMsgNode|names|{"scriptLang":"TBEL",` +
		`"tbelScript":"var s = ''; foreach (m : msg) { s = s + m.msg.n + ','; } ` +
		`return {msg: {all: s}, metadata: metadata, msgType: msgType};"}`
)

// windows is a chain of such windows.
func (g *rig) windows() {
	g.chain(chainID, true, []string{allNode, nameNode, pushNode}, "0>1:Success", "1>2:Success")
}

// tick does what is due, and hands what comes of it to the queue.
func (g *rig) tick() {
	g.Helper()
	g.engine.Tick()
	if err := g.flush(); err != nil {
		g.Fatal(err)
	}
}

// values are those of the events in the queue.
func (g *rig) values() (list []string) {
	for i := range g.queue {
		f, _ := open(g.queue[i].Fragment)
		list = append(list, string(f.appendJSON(nil)))
	}
	return list
}

// The log of windows stays small, whatever waits beside what goes, and each value costs it less
// than it costs the queue.
func TestWindowLogIsCleaned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.chain(chainID, true, []string{
			`filter.TbJsFilterNode|mine|{"scriptLang":"TBEL","tbelScript":"return msg.a == null;"}`,
			`deduplication.TbMsgDeduplicationNode|long|{"interval":86400,"strategy":"LAST"}`,
			allNode, nameNode, pushNode,
		}, "0>2:True", "0>1:False", "2>3:Success", "3>4:Success")
		g.journal.open.floor = 4 << 10
		raw := 0
		for n := range 600 {
			time.Sleep(time.Second)
			key := "n"
			if n%10 == 0 {
				key = "a"
			}
			list := events(t, 1, fmt.Sprintf(`{%q:%d}`, key, n))
			raw += len(list[0].Fragment) + 32
			g.post(list)
			g.tick()
			g.journal.write()
			if w := &g.journal.open; w.total > 2*w.Live+w.floor+cleanStep {
				t.Fatalf("%d bytes for %d", w.total, w.Live)
			}
		}
		if w := g.journal.open.queue.Stats(); int(g.journal.open.last.Written) > raw {
			t.Errorf("%d bytes for values that take %d in the queue; %d in the log", g.journal.open.last.Written, raw, w.Bytes)
		}
		if c := g.Counts(); c.Held < 60 || c.Held > 60+61 {
			t.Errorf("%+v", c)
		}
		held := g.Counts().Held
		g.close(true)
		if c := ReadCounts(filepath.Join(g.dir, "rules")); c.Held != held {
			t.Errorf("the files say %d, want %d", c.Held, held)
		}
		g.open()
		if c := g.Counts(); c.Held != held {
			t.Errorf("%d came back, want %d", c.Held, held)
		}
		g.chain(chainID, true, []string{saveNode})
		g.tick()
		all := g.values()
		for n := 0; n < 600; n += 10 {
			if !slices.Contains(all, fmt.Sprintf(`{"a":%d}`, n)) {
				t.Errorf("a = %d is missing", n)
			}
		}
		g.close(false)
	})
}

// Windows of an older release, a record of the store for each message, come back, and move into
// the log.
func TestWindowsOfAnOlderRelease(t *testing.T) {
	g := newRig(t)
	g.windows()
	g.post(events(t, 1, `{"n":1}`))
	// The record of the log begins with the chain, the node and the message, as the older one's key
	// and value did.
	var begun []byte
	r := g.journal.open.queue.Reader()
	if err := r.Read(func(e *wal.Entry) bool { begun = slices.Clone(e.Fragment); return false }); err != nil {
		t.Fatal(err)
	}
	r.Close()
	n := int(begun[25]) // number [1] | chain [16] | node [8] | length | message
	key, record := string(begun[1:25])+"\x00\x00\x00\x09", begun[26:26+n]
	g.close(true)
	if err := os.RemoveAll(filepath.Join(g.dir, "rules")); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(store.Options{Path: filepath.Join(g.dir, "rules", "store")})
	if err != nil {
		t.Fatal(err)
	}
	var b store.Batch
	b.Put(key, record)
	if err := s.Apply(&b); err != nil {
		t.Fatal(err)
	}
	s.Close()
	g.open()
	if c := g.Counts(); c.Held != 1 {
		t.Errorf("%+v", c)
	}
	g.tick()
	g.journal.write()
	if g.journal.store.Has(key) {
		t.Error("the record is still in the store")
	}
	g.close(true)
	g.open()
	if c := g.Counts(); c.Held != 1 {
		t.Errorf("%+v", c)
	}
	g.chain(chainID, true, []string{saveNode})
	g.tick()
	if got := g.values(); !slices.Equal(got, []string{`{"n":1}`}) {
		t.Errorf("%q", got)
	}
	g.close(false)
}

// cutWindows follows what of the log of windows is durable.
type cutWindows struct {
	disk   *powercut.Disk
	need   map[string]bool // values that must be there, and, where the medium keeps the order, none else
	next   map[string]bool // the same when what is being written is there
	states []cutState
}

type cutState struct {
	powercut.State
	need, may map[string]bool
}

// look takes the states of an interval that ends here, and says that what is there is durable.
func (c *cutWindows) look() {
	d := c.disk
	if _, err := os.Stat(d.Dir); err != nil {
		return
	}
	d.Scan()
	p := &powercut.Point{Op: "append", Names: d.Names, Data: d.Data, Synced: d.Synced, Kept: d.Kept, Ops: d.Ops, Slots: "committed"}
	need, may := maps.Clone(c.need), maps.Clone(c.need)
	maps.Copy(may, c.next)
	maps.DeleteFunc(need, func(v string, _ bool) bool { return !c.next[v] })
	for _, s := range p.States() {
		c.states = append(c.states, cutState{s, need, may})
	}
	d.Synced, d.Kept, d.Ops = maps.Clone(d.Data), d.Names, nil
}

// A power cut at any time leaves every value that was accepted in its window until what came of
// the window is in the queue, whatever the log's cleaning does meanwhile, and none that went.
func TestPowerCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.windows()
		c := &cutWindows{disk: powercut.New(filepath.Join(g.dir, "rules", "windows")), need: map[string]bool{}, next: map[string]bool{}}
		w := &g.journal.open
		w.segment, w.floor, w.look = 2<<10, 256, c.look
		rnd := rand.New(rand.NewPCG(3, 1))
		n := 0
		for range 150 {
			time.Sleep(time.Duration(rnd.IntN(4000)) * time.Millisecond)
			sent := len(g.queue)
			g.tick()
			for _, v := range g.values()[sent:] {
				_, v, _ = strings.Cut(v, `:"`)
				for n := range strings.SplitSeq(v, ",") {
					delete(c.next, fmt.Sprintf(`{"n":%s}`, n))
				}
			}
			g.journal.commit(true, func(error) { c.need = maps.Clone(c.next) })
			for range rnd.IntN(3) {
				n++
				v := fmt.Sprintf(`{"n":%d}`, n)
				c.next[v] = true
				out, finish, err := g.Take(events(t, 1+rnd.IntN(2), v))
				if err != nil || len(out) != 0 {
					t.Fatal(out, err)
				}
				if err := finish(nil, func(err error) {
					if err != nil {
						t.Error(err)
					}
				}); err != nil {
					t.Fatal(err)
				}
			}
			g.journal.write()
		}
		c.look()
		if st := w.queue.Stats(); st.First == 1 || st.Committed == 0 {
			t.Errorf("nothing was cleaned: %+v", st)
		}
		g.close(false)
		other := newRig(t) // whose chain has no windows
		other.chain(chainID, true, []string{saveNode})
		other.Rules.Close()
		order := rnd.Perm(len(c.states))
		if *powercutStates != "all" {
			order = order[:min(len(order), 400)]
		}
		seen := map[uint64]bool{}
		dir := filepath.Join(memDir(t), "rules")
		for _, i := range order {
			s := &c.states[i]
			if !s.Build(t, filepath.Join(dir, "windows"), seen, slices.Sorted(maps.Keys(s.need)), slices.Sorted(maps.Keys(s.may))) {
				continue
			}
			other.queue = nil
			r, err := Open(Options{Dir: dir, Registry: other.reg, Queue: other, Latest: other, Log: discard})
			if err != nil {
				t.Fatalf("%s: %v", s, err)
			}
			other.Rules = r
			other.tick()
			got := other.values()
			for v := range s.need {
				if !slices.Contains(got, v) {
					t.Fatalf("%s: %s is missing of %q", s, v, got)
				}
			}
			for k, v := range got {
				if s.Strict && !s.may[v] || slices.Contains(got[:k], v) {
					t.Fatalf("%s: %s is there again: %q", s, v, got)
				}
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("%d of %d states looked at, %d different ones opened", len(order), len(c.states), len(seen))
		other.reg.Close()
	})
}

// memDir makes a directory in RAM where that is possible: every state is a directory of its own.
func memDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "edgesync-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// FuzzJournal: whatever lies in rules/store and rules/windows, the agent starts, keeps what can be
// read, goes on, and says of the files what it has.
func FuzzJournal(f *testing.F) {
	g := newRig(f)
	g.windows()
	g.post(events(f, 1, `{"n":1}`))
	g.post(events(f, 1, `{"n":2}`))
	var log [][]byte
	r := g.journal.open.queue.Reader()
	if err := r.Read(func(e *wal.Entry) bool { log = append(log, slices.Clone(e.Fragment)); return true }); err != nil {
		f.Fatal(err)
	}
	r.Close()
	g.Rules.Close()
	key, record := string(log[0][1:25])+"\x00\x00\x00\x09", log[0][26:26+int(log[0][25])]
	c := Counts{Made: 3, Filtered: 300}
	f.Add(key, record, c.append(nil), log[0], log[1], []byte{1, 1})
	f.Add("x", []byte{1}, []byte{0x80}, log[1], log[0], []byte{1})
	f.Fuzz(func(t *testing.T, key string, record, counts, begun, grew, gone []byte) {
		dir := filepath.Join(memDir(t), "rules")
		s, err := store.Open(store.Options{Path: filepath.Join(dir, "store")})
		if err != nil {
			t.Fatal(err)
		}
		var b store.Batch
		b.Put(sumsKey, counts)
		if len(key) <= store.MaxKey {
			b.Put(key, record)
		}
		w := windowLog{dir: windowsDir(dir), segment: windowsSegment, log: discard}
		list := []wal.Event{
			{Kind: rules.WindowBegun, Fragment: begun}, {Kind: rules.WindowGrew, Fragment: grew}, {Kind: rules.WindowGone, Fragment: gone},
		}
		if err := errors.Join(s.Apply(&b), s.Close(), w.append(list), w.close()); err != nil {
			t.Fatal(err)
		}
		o := Options{Dir: dir, Registry: g.reg, Queue: g, Latest: g, Log: discard}
		again, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		g.TB, g.Rules, g.queue = t, again, nil
		g.tick()
		g.post(events(t, 1, `{"n":3}`))
		if s := g.engine.Sums(); s.Received+s.Made != s.Accepted+s.Filtered+s.Merged+uint64(s.Held) || s.Held < 1 {
			t.Errorf("%+v", s)
		}
		held := g.Counts().Held
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if c := ReadCounts(dir); c.Held != held {
			t.Errorf("%d wait in the files, %d in windows", c.Held, held)
		}
	})
}

// TestMuchThatWaits: who wants to know hears once that much waits in windows, and once that it does
// no longer.
func TestMuchThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		var list []bool
		g.Options.Much = func(much bool) {
			g.mu.Lock()
			defer g.mu.Unlock()
			list = append(list, much)
		}
		told := func() []bool {
			synctest.Wait()
			g.mu.Lock()
			defer g.mu.Unlock()
			return slices.Clone(list)
		}
		g.windows()
		g.Start()
		text := strings.Repeat("x", muchHeld/2)
		for n := range 2 {
			if told := told(); len(told) > 0 {
				t.Errorf("told %v with %d windows", told, n)
			}
			g.post(events(t, n+1, fmt.Sprintf(`{"n":%d,"s":%q}`, n, text)))
		}
		if told := told(); !slices.Equal(told, []bool{true}) {
			t.Errorf("told %v with two windows", told)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		g.close(false)
		if told := told(); !slices.Equal(told, []bool{true, false}) || g.Counts().Held != 0 {
			t.Errorf("told %v, %d wait", told, g.Counts().Held)
		}
	})
}
