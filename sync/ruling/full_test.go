package ruling

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
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
