package ruling

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/wal"
)

// A queue that is full refuses values of a meter, which sends them again until there is room: the
// deltas that go up add to the last reading all the same.
func TestDeltasWhileTheQueueIsFull(t *testing.T) {
	g := newRig(t)
	g.chain(chainID, true, []string{
		`metadata.CalculateDeltaNode|d|{"inputValueKey":"n","outputValueKey":"d","useCache":true}`, pushNode,
	}, "0>1:Success")
	g.Start()
	defer g.close(false)
	q, err := wal.Open(wal.Options{
		Dir: filepath.Join(g.dir, "queue"), SegmentSize: 4 << 10, MaxBytes: 12 << 10, Policy: wal.RejectNew, Log: discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	intake := agent.NewIntake(q)
	intake.Rule(g.Rules, func([]proto.Event) {})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var sum, refused int64
	r := q.Reader()
	defer r.Close()
	// drain has the cloud take what there is.
	drain := func() {
		t.Helper()
		n := uint64(0)
		err := r.Read(func(e *wal.Entry) bool {
			n++
			f, _ := open(e.Fragment)
			for _, kv := range f.values() {
				if string(kv.Key) == "d" {
					sum += kv.Long
				}
			}
			return true
		})
		if err == nil {
			err = q.Commit(r.Position(), n, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const last = 600
	for n := int64(1); n <= last; n++ {
		for tries := 0; ; tries++ {
			list := events(t, 1, fmt.Sprintf(`{"n":%d}`, n))
			if n%2 == 0 {
				err = intake.Accept(ctx, list)
			} else {
				done := make(chan error, 1)
				if err = intake.Submit(ctx, list, func(err error) { done <- err }); err == nil {
					err = <-done
				}
			}
			if err == nil {
				break
			}
			if refused++; !errors.Is(err, wal.ErrFull) {
				t.Fatal(err)
			}
			if tries == 3 {
				drain()
			}
		}
	}
	drain()
	if sum != last-1 || refused < 10 {
		t.Errorf("the deltas add to %d, want %d, with %d refusals", sum, last-1, refused)
	}
}

// What becomes of a post goes to the queue whole, so that nothing of it is there twice when the
// queue refuses it and the device sends it again. Only one that is more than all gather goes
// there in parts: where the queue refuses one of them, the post is refused, also if there is room
// for what is left.
func TestPartOfAPostIsRefused(t *testing.T) {
	g := newRig(t)
	defer g.close(false)
	g.chain(chainID, true, []string{
		`transform.TbTransformMsgNode|add|{"scriptLang":"TBEL","tbelScript":"msg.m = msg.n; return {msg: msg, metadata: metadata, ` +
			`msgType: msgType};"}`, pushNode,
	}, "0>1:Success")
	var rows []string
	const most = 10_000
	for n := range most {
		rows = append(rows, fmt.Sprintf(`{"ts":%d,"values":{"n":%d,"text":"%s"}}`, 1000+n, n, strings.Repeat("x", 100)))
	}
	list := events(t, 1, "["+strings.Join(rows, ",")+"]")
	if out, finish, err := g.Take(list[:4000]); err != nil || len(out) != 4000 || len(g.queue) != 0 {
		t.Errorf("%d events of a post of 4000, %d in the queue before: %v", len(out), len(g.queue), err)
	} else if err = finish(errFull, nil); !errors.Is(err, errFull) {
		t.Error(err)
	}
	if n := g.wide.Load(); n != 0 {
		t.Errorf("%d bytes are gathered of a post that is refused", n)
	}
	g.refuse = errFull
	if out, _, err := g.Take(list); !errors.Is(err, errFull) {
		t.Errorf("%d of %d events are left of a post of which a part is refused: %v", len(out), most, err)
	}
	if s := g.engine.Sums(); s.Received+s.Made+s.Accepted+s.Filtered != 0 {
		t.Errorf("of a refused post: %+v", s)
	}
	g.refuse = nil
	out, finish, err := g.Take(list)
	if err != nil || len(g.queue)+len(out) != most {
		t.Fatalf("%d and %d events, %v, want %d", len(g.queue), len(out), err, most)
	}
	if err := finish(nil, func(error) {}); err != nil {
		t.Error(err)
	}
}

// While the medium takes nothing of what waits, a message that a window would keep is refused and
// leaves no trace, however often its device sends it; nor does one that was on its way then.
func TestNothingIsKeptWhileTheMediumRefuses(t *testing.T) {
	g := newRig(t)
	g.chain(chainID, true, []string{windowNode, pushNode}, "0>1:Success")
	one := events(t, 1, `{"n":1}`)
	g.want(one, "")
	log := &g.journal.open
	if err := log.queue.Close(); err != nil {
		t.Fatal(err)
	}
	_, finish, err := g.Take(one)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	_ = finish(nil, func(err error) { done <- err })
	g.journal.write()
	g.journal.do()
	if <-done == nil {
		t.Fatal("it is kept, and cannot be")
	}
	for range 10 {
		if _, _, err := g.Take(one); err == nil {
			t.Error("it is not refused")
		}
	}
	if s := g.engine.Sums(); s.Received != 1 || s.Held != 1 || s.Accepted+s.Filtered+s.Made+s.Safety != 0 {
		t.Errorf("while nothing is kept: %+v", s)
	}
	log.queue = nil // as it is before the log is opened
	select {
	case <-g.journal.wake: // a refused message has the medium tried again
		g.journal.write()
	default:
		t.Error("the medium is not tried again")
	}
	g.want(one, "")
	if s := g.engine.Sums(); s.Received != 2 || s.Held != 2 {
		t.Errorf("when it is kept again: %+v", s)
	}
	g.close(true)
	g.open()
	defer g.close(false)
	if c := g.Counts(); c.Held != 2 {
		t.Errorf("after a kill: %+v", c)
	}
}

// Of a post that a window keeps and that goes up as well nothing is in the queue if the medium does
// not take what the window keeps: its device sends it again.
func TestNothingGoesUpOfWhatCannotBeKept(t *testing.T) {
	g := newRig(t)
	defer g.close(false)
	g.chain(chainID, true, fourWays, "0>1:raw", "0>2:window", "2>3:Success", "3>4:Success")
	one := events(t, 1, `{"n":3}`)
	g.want(one, `{"n":3}`)
	if err := g.journal.open.queue.Close(); err != nil {
		t.Fatal(err)
	}
	if out, _, err := g.take(one); err == nil || len(out) != 0 {
		t.Errorf("%d events go to the queue, %v", len(out), err)
	}
	if s := g.engine.Sums(); s.Received != 1 || s.Made != 1 || s.Held != 1 || s.Accepted != 1 {
		t.Errorf("%+v", s)
	}
	g.journal.open.queue = nil
	g.journal.write()
	g.want(one, `{"n":3}`)
	if s := g.engine.Sums(); s.Received != 2 || s.Made != 2 || s.Held != 2 || s.Accepted != 2 {
		t.Errorf("when it is kept again: %+v", s)
	}
}

// A device does not send again what is in the queue because what a node remembers of it cannot be
// written.
func TestPushedThoughNothingIsRemembered(t *testing.T) {
	g := newRig(t)
	g.chain(chainID, true, []string{
		`metadata.CalculateDeltaNode|d|{"inputValueKey":"n","outputValueKey":"d","useCache":true}`, pushNode,
	}, "0>1:Success")
	g.want(events(t, 1, `{"n":1}`), `{"n":1,"d":0}`)
	if err := g.journal.store.Close(); err != nil {
		t.Fatal(err)
	}
	for n := 2; n < 5; n++ {
		g.want(events(t, 1, fmt.Sprintf(`{"n":%d}`, n)), fmt.Sprintf(`{"n":%d,"d":1}`, n))
	}
	if err := g.reg.Close(); err != nil {
		t.Error(err)
	}
}

// On a medium that is nearly full no window takes the room that the queue needs to take what comes
// of windows: messages go up as they came, what waits goes, and its log is given up.
func TestWindowsLeaveRoomForTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		defer g.close(false)
		g.chain(chainID, true, []string{windowNode, pushNode}, "0>1:Success")
		one := events(t, 1, `{"n":1}`)
		g.want(one, "")
		for free, up := range map[int64]string{0: `{"n":1}`, spare - 1: `{"n":1}`, 2 * spare: "", 1 << 40: ""} {
			g.journal.free = func(string) (int64, error) { return free, nil }
			g.journal.write()
			g.want(one, up)
		}
		g.journal.free = func(string) (int64, error) { return 0, nil }
		g.journal.write()
		time.Sleep(2 * time.Minute)
		g.engine.Tick()
		if err := g.flush(); err != nil {
			t.Error(err)
		}
		g.journal.write()
		if c := g.Counts(); c.Held != 0 || c.Merged != 3 || g.journal.open.Live != 0 {
			t.Errorf("%+v, %d bytes wait in the log", c, g.journal.open.Live)
		}
	})
}
