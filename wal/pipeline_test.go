package wal

import (
	"errors"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/wal/disk"
	"edgesync/wal/medium"
)

// The next group is written while the fsync of the one in front of it runs. Its own fsync begins
// when that fsync is over. No caller gets an outcome before the end of the fsync that covers its
// events.
func TestPipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := openPipelined(t, roomy(t))
		p.fsyncs = make(chan error)
		p.q.own.Lock()
		p.submit("a", 1)
		p.submit("a2", 2)
		all := []string{"a", "a2"}
		for range 5 { // a quarter of these and of what waits is two appends
			p.submit("a3", 1)
			all = append(all, "a3")
		}
		p.q.own.Unlock()
		p.expect("the fsync of a runs", []string{"write", "sync", "fsync"}, nil, 2, 10)
		p.submit("b", 3)
		p.expect("b is written meanwhile", []string{"write-beside", "sync"}, nil, 2, 13)
		p.submit("c", 2)
		p.expect("c waits", nil, nil, 2, 13)
		p.fsyncs <- nil
		p.expect("a is durable: b is synced, and c waits until the writers of a may have come again",
			[]string{"fsync"}, all, 10, 13)
		p.submit("c2", 2)
		p.expect("a quarter of the writers has come", []string{"write-beside", "sync"}, all, 10, 17)
		p.fsyncs <- nil
		p.expect("b is durable", []string{"fsync"}, append(all, "b"), 13, 17)
		p.fsyncs <- nil
		p.expect("c is durable, and nothing is behind it", nil, append(all, "b", "c", "c2"), 17, 17)
		if s := p.q.Stats(); s.Commits != 5 || s.Today.Fsyncs < 5 {
			t.Errorf("%d commits, %d fsyncs", s.Commits, s.Today.Fsyncs)
		}
		close(p.fsyncs)
	})
}

// Whatever fails in a pipeline, what was durable before is accepted, the rest is refused and cut
// off, and the queue comes back by itself.
func TestPipelineRefused(t *testing.T) {
	for _, test := range []struct {
		name     string
		step     string  // step that fails for b while a is synced
		fsyncs   []error // how the fsyncs of a and b end, as far as there are any
		outcomes []string
		left     uint64
	}{
		{"the write of the second", "write-beside", []error{nil}, []string{"a", "b refused"}, 5},
		{"the beginning of its fsync", "sync", []error{nil}, []string{"a", "b refused"}, 5},
		{"its fsync", "", []error{nil, syscall.EIO}, []string{"a", "b refused"}, 5},
		{"the fsync of the first, not that of the second", "", []error{syscall.EIO, nil}, []string{"a refused", "b refused"}, 2},
		{"both fsyncs", "", []error{syscall.EIO, syscall.EIO}, []string{"a refused", "b refused"}, 2},
		{"the fsync of the first and the write of the second", "write-beside", []error{syscall.EIO}, []string{"a refused", "b refused"}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := openPipelined(t, roomy(t))
				p.fsyncs = make(chan error)
				p.submit("a", 3)
				synctest.Wait() // a is in its fsync
				p.arm(test.step)
				p.submit("b", 3)
				synctest.Wait()
				for _, err := range test.fsyncs {
					p.fsyncs <- err
				}
				synctest.Wait()
				p.since()
				p.expect("refused", nil, test.outcomes, test.left, test.left)
				if s := p.q.Stats(); s.Writable || !errors.Is(s.LastError, ErrUnavailable) {
					t.Fatalf("%+v", s)
				}
				p.clear()
				close(p.fsyncs)
				time.Sleep(fileAfter)
				p.next = test.left + 1
				p.submit("again", 4)
				synctest.Wait()
				p.since()
				p.expect("and back", nil, append(test.outcomes, "again"), test.left+4, test.left+4)
			})
		})
	}
}

// A group that needs more than room in the tail waits until no fsync is under way.
func TestPipelineStops(t *testing.T) {
	for _, test := range []struct {
		name    string
		options func(o *Options)
		events  int // of the second group
		beside  bool
	}{
		{"nothing is needed", func(*Options) {}, 3, true},
		{"at the end of the segment", func(o *Options) { o.SegmentSize = 1024 }, 8, false},
		{"at the quota", func(o *Options) { o.MaxBytes, o.Policy = 700, RejectNew }, 3, false},
		{"without tokens of the flash budget", func(o *Options) {
			o.FlashBudget, o.MaxDelay = 24*40*medium.AssumedCommit, time.Second
		}, 3, false},
		{"with an interval", func(o *Options) { o.Interval = time.Second }, 3, false},
		{"with a gap to be reported", func(o *Options) {
			o.Record = func(Gap, uint64) (Event, bool) { return Event{}, false }
		}, 3, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := roomy(t)
				test.options(&o)
				p := openPipelined(t, o)
				p.q.own.Lock()
				p.q.budget.tokens = 0
				p.q.mu.Lock()
				p.q.gap.Events = 1
				p.q.mu.Unlock()
				p.at["write"] = func() { p.submit("b", test.events) }
				p.submit("a", 3)
				p.q.own.Unlock()
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if steps := p.since(); slices.Contains(steps, "write-beside") != test.beside {
					t.Errorf("steps %q", steps)
				}
			})
		})
	}
}

// A group under way is charged when it is durable. Its tokens are not there for the next group.
func TestPipelineSpendsTokensOnce(t *testing.T) {
	for _, test := range []struct {
		commits int64 // commits that there are tokens for
		beside  bool
	}{{1, false}, {2, true}} {
		synctest.Test(t, func(t *testing.T) {
			o := roomy(t)
			o.FlashBudget, o.MaxDelay = 24*40*medium.AssumedCommit, time.Minute
			p := openPipelined(t, o)
			p.q.own.Lock()
			p.q.budget.refill(time.Now())
			p.q.budget.tokens = test.commits*medium.AssumedCommit + disk.Block
			p.at["sync"] = func() { p.submit("b", 3) }
			p.submit("a", 3)
			p.q.own.Unlock()
			synctest.Wait()
			if steps := p.since(); slices.Contains(steps, "write-beside") != test.beside {
				t.Errorf("tokens for %d: steps %q", test.commits, steps)
			}
		})
	}
}

// With fsyncs of a millisecond, group follows group. Each writer's events stay in order, none is
// missing or there twice, and the upkeep has its turn though the segment has not ended and no
// writer pauses. With slow fsyncs nothing is written beside them, once the first has shown that
// they are slow.
func TestPipelineOfManyWriters(t *testing.T) {
	for _, test := range []struct {
		name   string
		fsync  time.Duration
		beside bool
	}{{"quick medium", time.Millisecond, true}, {"slow medium", 50 * time.Millisecond, false}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const writers, each = 8, 700
				o := roomy(t)
				o.SegmentSize = 4 << 20
				p := openPipelined(t, o)
				p.takes = test.fsync
				began := time.Now()
				p.writers(writers, each)
				beside, run, longest := 0, 0, 0
				for _, s := range p.since() {
					switch s {
					case "write":
						run = 0
					case "write-beside":
						beside++
						run++
					}
					longest = max(longest, run)
				}
				if !test.beside && beside > 1 || longest > int(pipelineMost/time.Millisecond)+1 {
					t.Errorf("%d groups were written beside the fsync of another, up to %d in one pipeline, in %v",
						beside, longest, time.Since(began))
				}
				if test.beside && (beside < each || time.Since(began) < pipelineMost) {
					t.Errorf("%d groups in %v prove little", beside, time.Since(began))
				}
				last := make(map[uint64]uint64)
				for _, n := range pendingNumbers(t, p.q)[2:] {
					if want, ok := last[n/each]; ok && n != want+1 || !ok && n%each != 0 {
						t.Fatalf("writer %d: event %d behind %d", n/each, n%each, want%each)
					}
					last[n/each] = n
				}
				for w, n := range last {
					if n != w*each+each-1 {
						t.Errorf("writer %d ends at event %d", w, n%each)
					}
				}
				if len(last) != writers {
					t.Errorf("%d writers, want %d", len(last), writers)
				}
			})
		})
	}
}

// A pipeline is for many who wait, not for many events. A few writers who hand over a hundred
// events at a time have nothing to write while they wait.
func TestPipelineIsForManyAppends(t *testing.T) {
	for _, test := range []struct {
		appends, events int
		beside          bool
	}{{4, 100, false}, {manyWaiting - 1, 1, false}, {manyWaiting, 1, true}} {
		synctest.Test(t, func(t *testing.T) {
			o := roomy(t)
			o.SegmentSize = 1 << 20
			p := openSeen(t, o)
			submit := func() {
				for range test.appends {
					p.submit("", test.events)
				}
			}
			p.q.own.Lock()
			p.at["sync"] = func() {
				submit()
				p.mu.Lock()
				p.at["sync"] = submit
				p.mu.Unlock()
			}
			submit()
			p.q.own.Unlock()
			synctest.Wait()
			if steps := p.since(); slices.Contains(steps, "write-beside") != test.beside || slices.Contains(steps, "fsync") != test.beside {
				t.Errorf("%d appends of %d events: steps %q", test.appends, test.events, steps)
			}
			if n := p.q.Stats().Accepted; n != uint64(3*test.appends*test.events) {
				t.Errorf("%d accepted", n)
			}
		})
	}
}

// An Append that finds few writers commits by itself, and returns with its own group, whoever comes
// after it. Where many write, it leaves that to the committer, so that others can be written
// meanwhile.
func TestAppendLeadsFewOnly(t *testing.T) {
	for besideFrom, beside := range map[int]bool{1: true, 2: false} {
		synctest.Test(t, func(t *testing.T) {
			o := roomy(t)
			o.besideFrom = besideFrom
			p := openSeen(t, o)
			for range 2 {
				appendEvents(t, p.q, p.next, 1)
				p.next++
			}
			synctest.Wait()
			p.since()
			p.at["sync"] = func() { p.submit("b", 3) }
			appendEvents(t, p.q, p.next, 1)
			synctest.Wait()
			if steps := p.since(); slices.Contains(steps, "write-beside") != beside || steps[0] != "write" {
				t.Errorf("many are %d: steps %q", besideFrom, steps)
			}
		})
	}
}

// A group that begins a segment has the directory synced with it, once. A group that ends with its
// segment is durable by the library's fsync.
func TestPipelineSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(queueDir(t))
		o.SegmentSize = 1024
		o.padUpTo = 400
		p := openPipelined(t, o)
		fsyncs := func(n int, steps ...string) {
			t.Helper()
			before := p.q.Stats().Today.Fsyncs
			p.submit("", n)
			synctest.Wait()
			if got := p.since(); !slices.Equal(got, steps) {
				t.Fatalf("steps %q, want %q", got, steps)
			}
			want := uint64(0)
			for _, s := range steps {
				if s == "fsync" || s == "sync-names" { // the segment's, the directory's
					want++
				}
			}
			if !slices.Contains(steps, "fsync") {
				want++ // the library's
			}
			if got := p.q.Stats().Today.Fsyncs - before; got != want {
				t.Fatalf("%d fsyncs for %q, want %d", got, steps, want)
			}
		}
		fsyncs(3, "write", "sync", "fsync")
		fsyncs(4, "write", "sync") // ends the segment
		fsyncs(2, "write", "sync-names", "fsync")
		fsyncs(2, "write", "sync", "fsync")
	})
}

// A gap that a group reports is not in the control frame of the next group, which is written before
// the first is durable.
func TestPipelineReportsGapOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := roomy(t)
		o.Record = func(g Gap, _ uint64) (Event, bool) {
			return Event{Action: gapAction, Fragment: make([]byte, 16)}, g.Events > 0
		}
		p := openPipelined(t, o)
		r := p.q.Reader()
		defer r.Close()
		if err := r.Read(func(*Entry) bool { return true }); err != nil {
			t.Fatal(err)
		}
		p.q.own.Lock()
		p.q.mu.Lock()
		p.q.gap.Events = 7
		p.q.mu.Unlock()
		p.at["sync"] = func() { // so that a control frame rides in b
			if err := p.q.Commit(r.Position(), 2, 0); err != nil {
				t.Error(err)
			}
			p.submit("b", 4)
		}
		p.submit("a", 3)
		p.q.own.Unlock()
		synctest.Wait()
		if steps := p.since(); !slices.Contains(steps, "write-beside") {
			t.Fatalf("steps %q", steps)
		}
		o.Dir, o.ops = copyDir(t, o.Dir), nil
		crashed := openQueue(t, o)
		appendEvents(t, crashed, p.next, 1)
		if s := crashed.Stats(); s.Accepted != 2+3+1+4+1 {
			t.Errorf("%d accepted, want 11, of which one reports the gap", s.Accepted)
		}
	})
}
