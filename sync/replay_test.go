package sync

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

// keeping runs f in a box whose queue keeps so many acknowledged bytes.
func keeping(t *testing.T, keep, atMost int64, f func(b *box)) {
	t.Helper()
	inBox(t, nil, func(b *box) {
		b.stop()
		b.keep, b.atMost = keep, atMost
		b.start()
		b.elapse(time.Minute)
		f(b)
	})
}

// writes is how often the cloud has got each of the times 1 to n of a device, as runs: "9x1 50x2".
func (b *box) writes(device proto.UUID, n int64) string {
	b.Helper()
	got := make([]int, n)
	for _, p := range b.tenant.Series(device, "t") {
		if p.TS < 1 || p.TS > n {
			b.Fatalf("a row at %d", p.TS)
		}
		got[p.TS-1] = p.Writes
	}
	var runs []string
	for i := 0; i < len(got); {
		k := i
		for k < len(got) && got[k] == got[i] {
			k++
		}
		runs = append(runs, fmt.Sprintf("%dx%d", k-i, got[i]))
		i = k
	}
	return strings.Join(runs, " ")
}

// again orders a replay of what was accepted from one time to another.
func (b *box) again(from, to time.Time, entities ...proto.UUID) {
	b.Helper()
	o := ReplayOrder{From: from, To: to}
	for _, id := range entities {
		o.Entities = append(o.Entities, proto.FormatUUID(id))
	}
	if err := b.agent.Replay(b.Context(), o); err != nil {
		b.Fatal(err)
	}
}

// What was acknowledged goes up once more: of the time and the entity that are asked for, with its
// own times, counted as accepted and as replayed; nothing else does.
func TestReplay(t *testing.T) {
	keeping(t, 1<<20, 0, func(b *box) {
		one, other := b.device("one").ID, b.device("other").ID
		b.post(one, upTo(1000)...)
		b.post(other, upTo(1000)...)
		b.attribute(one, "mode", 1)
		b.elapse(time.Minute)
		from := time.Now()
		var times []int64
		for ts := int64(1001); ts <= 3000; ts++ {
			times = append(times, ts)
		}
		b.post(one, times...)
		b.post(other, times...)
		b.attribute(one, "mode", 2)
		to := time.Now()
		b.elapse(time.Minute)
		b.post(one, 3001)
		b.elapse(time.Minute)
		before := b.agent.Snapshot()
		b.again(from, to, one)
		if err := b.agent.Replay(b.Context(), ReplayOrder{}); !errors.Is(err, errReplayRuns) {
			b.Errorf("a second one: %v", err)
		}
		b.elapse(time.Minute)
		b.expect("of the one", b.writes(one, 3001), "1000x1 2000x2 1x1")
		b.expect("of the other", b.writes(other, 3000), "3000x1")
		s := b.agent.Snapshot()
		b.expect("accepted", s.Accepted, before.Accepted+2000)
		b.expect("deployed", s.Deployed, before.Deployed+2000)
		b.expect("replayed", s.Replayed, 2000)
		b.expect("state", s.Replay.State, replayDone)
		b.expect("events", []uint64{s.Replay.Events, s.Replay.Left}, []uint64{2000, 0})
		if _, err := os.Stat(filepath.Join(b.dir, "replay")); !errors.Is(err, os.ErrNotExist) {
			b.Errorf("the file: %v", err)
		}
		if err := b.agent.StopReplay(b.Context()); !errors.Is(err, errNoReplay) {
			b.Errorf("stop: %v", err)
		}
		attributes := 0
		count := func(u *proto.UplinkMsg) bool {
			for _, d := range u.GetEntityData() {
				if d.GetPostAttributesMsg() != nil {
					attributes++
				}
			}
			return false
		}
		b.sent(count)
		b.expect("attributes without being asked for", attributes, 2)
		if err := b.agent.Replay(b.Context(), ReplayOrder{From: from, To: to, Attributes: true}); err != nil {
			b.Fatal(err)
		}
		b.elapse(time.Minute)
		attributes = 0
		b.sent(count)
		b.expect("attributes that were asked for", attributes, 1)
		b.cloud.Push(b.edge.ID, b.tenant.Unassign(one))
		b.elapse(time.Minute)
		b.again(from, to)
		b.elapse(time.Minute)
		s = b.agent.Snapshot()
		b.expect("of a device that is gone", s.Replay.Left, 2000)
		b.expect("of the other", b.writes(other, 3000), "1000x1 2000x3")
	})
}

// Copies that a replay has made are no events of the time in which they were made: a later replay
// leaves them out, after a restart too, unless it is asked for them.
func TestReplayLeavesCopiesOut(t *testing.T) {
	keeping(t, 1<<20, 0, func(b *box) {
		id := b.device("one").ID
		from := time.Now()
		b.post(id, upTo(500)...)
		b.elapse(time.Minute)
		b.again(from, time.Now())
		b.elapse(time.Minute)
		b.expect("once more", b.writes(id, 500), "500x2")
		b.stop()
		b.start()
		b.elapse(time.Minute)
		b.post(id, 501)
		b.elapse(time.Minute)
		b.again(from, time.Now())
		b.elapse(time.Minute)
		b.expect("the events and no copies", b.writes(id, 501), "500x3 1x2")
		r := b.agent.Snapshot().Replay
		b.expect("events, left", []uint64{r.Events, r.Left}, []uint64{501, 0})
		if err := b.agent.Replay(b.Context(), ReplayOrder{From: from, To: time.Now(), Copies: true}); err != nil {
			b.Fatal(err)
		}
		b.elapse(time.Minute)
		b.expect("copies that were asked for", b.writes(id, 501), "500x6 1x4")
	})
}

// A replay during an outage waits for the link, and goes on after a kill in its middle with at most
// what was read since its position was written; new events overtake it.
func TestReplayIsCutOff(t *testing.T) {
	const n = 20_000
	keeping(t, 4<<20, 0, func(b *box) {
		id, live := b.device("meter").ID, b.device("live").ID
		from := time.Now()
		b.post(id, upTo(n)...)
		b.elapse(time.Minute)
		b.link.Refuse.Store(true)
		b.cloud.EndSessions(0)
		b.elapse(2 * time.Second)
		b.again(from, time.Now())
		b.elapse(time.Minute)
		r := b.agent.Snapshot().Replay
		b.expect("without a link", []any{r.Events, r.Waits}, []any{uint64(0), "for the link"})
		b.stop()
		b.start()
		b.link.Refuse.Store(false)
		b.cloud.DelayAcks(100 * time.Millisecond)
		b.elapse(time.Millisecond)
		for events := uint64(0); events < n/3; events = b.agent.Snapshot().Replay.Events {
			b.elapse(10 * time.Millisecond)
		}
		b.post(live, 1)
		var waited time.Duration
		for ; len(b.tenant.Arrivals(live, "t")) == 0; waited += 10 * time.Millisecond {
			b.elapse(10 * time.Millisecond)
		}
		r = b.agent.Snapshot().Replay
		if r.State != ReplayRuns || waited > 3*time.Second {
			b.Errorf("a new event has waited for %v; the replay: %+v", waited, r)
		}
		killed := b.T.TempDir() // the files as a kill leaves them
		if err := os.CopyFS(killed, os.DirFS(b.dir)); err != nil {
			b.Fatal(err)
		}
		b.stop()
		b.dir = killed
		b.start()
		b.elapse(5 * time.Minute)
		s := b.agent.Snapshot()
		b.expect("state", s.Replay.State, replayDone)
		twice, more := 0, 0
		for _, p := range b.tenant.Series(id, "t") {
			switch {
			case p.Writes == 2:
				twice++
			case p.Writes > 2:
				more++
			}
		}
		b.expect("of all", twice+more, n)
		if bound := 2*(replaySaved+replayLooked)/frameBytes + 2*replayPending; more == 0 || more > bound {
			b.Errorf("%d of %d went up more than twice, at most %d may", more, n, bound)
		}
	})
}

// A person ends a replay: what is in the queue goes up, the rest does not, nor after a restart.
func TestReplayIsStopped(t *testing.T) {
	const n = 20_000
	keeping(t, 4<<20, 0, func(b *box) {
		id := b.device("meter").ID
		from := time.Now()
		b.post(id, upTo(n)...)
		b.elapse(time.Minute)
		b.cloud.DelayAcks(100 * time.Millisecond)
		b.again(from, time.Now())
		b.elapse(time.Millisecond)
		for events := uint64(0); events < n/4; events = b.agent.Snapshot().Replay.Events {
			b.elapse(10 * time.Millisecond)
		}
		if err := b.agent.StopReplay(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.elapse(time.Minute)
		s := b.agent.Snapshot()
		b.expect("state", s.Replay.State, replayStopped)
		b.expect("in the cloud", b.writes(id, n), fmt.Sprintf("%dx2 %dx1", s.Replayed, n-s.Replayed))
		b.stop()
		b.start()
		b.elapse(time.Minute)
		if s := b.agent.Snapshot(); s.Replay != nil || s.Replayed != 0 {
			b.Errorf("after a restart: %+v", s.Replay)
		}
	})
}

// A replay on a queue that is nearly full takes no room from what waits: it reads on while what it
// reads gives way.
func TestReplayOfAFullQueue(t *testing.T) {
	const n = 3000
	keeping(t, 128<<10, 256<<10, func(b *box) {
		id := b.device("meter").ID
		from := time.Now()
		for i := int64(0); i < n; i += 100 {
			b.post(id, upTo(n)[i:i+100]...)
			b.elapse(5 * time.Second)
		}
		b.elapse(time.Minute)
		kept := b.queue.Stats().Acknowledged
		if kept < 100<<10 || kept > 128<<10 {
			b.Fatalf("%d bytes are kept", kept)
		}
		b.again(from, time.Now())
		for range 60 { // a device goes on meanwhile
			b.post(id, upTo(n)[:50]...)
			b.elapse(20 * time.Millisecond)
		}
		b.elapse(5 * time.Minute)
		s := b.agent.Snapshot()
		b.expect("dropped, pending", []uint64{s.Dropped, s.Pending}, []uint64{0, 0})
		b.expect("state", s.Replay.State, replayDone)
		last := b.tenant.Series(id, "t")[n-1]
		if s.Replayed < 500 || last.Writes != 2 {
			b.Errorf("%d were replayed; the last one has %d writes", s.Replayed, last.Writes)
		}
	})
}

// What is no file of a replay, or one of another queue, is given up with a word in the log.
func TestReplayFileIsBad(t *testing.T) {
	good := `{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z","start":1,"offset":2,"until":3,"state":"running"}`
	for content, want := range map[string]string{
		"{":                                    "cannot be read",
		"":                                     "cannot be read",
		strings.Repeat(" ", 5000):              "too large",
		`{}`:                                   "in no order",
		strings.Replace(good, ":2,", ":4,", 1): "in no order",
		strings.Replace(good, "2026-01-02", "2025-01-02", 1):        "from is behind to",
		strings.Replace(good, `"start"`, `"entities":["x"],"s"`, 1): "named by their ids",
		strings.Replace(good, `"until":3`, `"until":300`, 1):        "of another queue",
	} {
		inBox(t, nil, func(b *box) {
			b.stop()
			path := filepath.Join(b.dir, "replay")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				b.Fatal(err)
			}
			b.start()
			b.elapse(time.Minute)
			if !strings.Contains(b.log.String(), "the replay that was under way is given up") || !strings.Contains(b.log.String(), want) {
				b.Errorf("%q: %s", content, b.log.String())
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				b.Errorf("%q: the file: %v", content, err)
			}
		})
	}
	if p, err := LoadReplay(filepath.Join(t.TempDir(), "replay")); p != nil || err != nil {
		t.Errorf("none: %v, %v", p, err)
	}
}

// Only telemetry goes up again without being asked for, and attributes that were set if they are.
func TestReplayedKinds(t *testing.T) {
	for kind := range proto.Kind(20) {
		for action := range proto.ActionClaim + 1 {
			e := wal.Event{Kind: uint8(kind), Action: uint8(action)}
			data := kind == proto.KindEntityData
			plain := data && action == proto.ActionTimeseriesUpdated
			with := plain || data && (action == proto.ActionPostAttributes || action == proto.ActionAttributesUpdated)
			for o, want := range map[*ReplayOrder]bool{{}: plain, {Attributes: true}: with} {
				if o.Takes(&e) != want {
					t.Errorf("%v %v: %v", kind, action, !want)
				}
				e.Again = true
				if o.Takes(&e) {
					t.Errorf("%v %v: a copy", kind, action)
				}
				if o.Copies = true; o.Takes(&e) != want {
					t.Errorf("%v %v: a copy that is asked for: %v", kind, action, !want)
				}
				e.Again = false
			}
		}
	}
}
