package sync

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// copyDir copies a directory as a kill -9 leaves it.
func copyDir(t *testing.T, from, to string) {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Error(err)
	}
}

// The process is killed after each write of the change, and of the return by name: the next start
// goes on, and each event is in the new cloud or kept.
func TestKilledWhileTheEdgeChanges(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 5
	}
	for n, more := 1, true; more; n += step {
		t.Run(fmt.Sprint("write ", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { more = killAt(t, n) })
		})
		if n > 200 {
			t.Fatal("endless")
		}
	}
}

func killAt(t *testing.T, n int) (more bool) {
	b := newBox(t, nil)
	killed := filepath.Join(t.TempDir(), "killed")
	writes, counting := 0, false
	b.meters = append(b.meters, func(int64, int64, int) {
		if counting {
			if writes++; writes == n {
				copyDir(t, b.dir, killed)
				b.link.Refuse.Store(true) // the first life delivers no more
				b.cloud.EndSessions(cloudtest.EndReset)
			}
		}
	})
	b.start()
	defer func() {
		b.stop()
		b.cloud.Stop()
		b.link.Close()
		b.innocent()
	}()
	b.elapse(time.Minute)
	one, two := b.device("one"), b.device("two")
	b.post(one.ID, 1)
	b.elapse(time.Minute)
	var id proto.UUID
	b.link.Refuse.Store(true)
	b.cloud.EndSessions(cloudtest.EndReset)
	b.elapse(2 * time.Second)
	for ts := int64(1000); ts < 1300; ts++ {
		b.post(one.ID, ts)
	}
	b.post(two.ID, 2000)
	var err error
	if id, err = b.agent.Create(b.Context(), &NewDevice{Name: "made here"}); err != nil {
		b.Fatal(err)
	}
	b.post(id, 3000)
	b.tenant.Unassign(two.ID)
	b.edge = b.cloud.RemakeEdge(b.edge.ID)
	counting = true
	b.link.Refuse.Store(false)
	b.elapse(5 * time.Minute)
	if writes < n {
		b.retryByName()
	}
	counting = false
	if more = writes >= n; more {
		b.stop()
		b.dir = killed
		b.link.Refuse.Store(false)
		b.start()
		b.elapse(5 * time.Minute)
		b.retryByName()
	}
	b.expect("one", len(b.tenant.Series(b.named("one"), "t")), 300)
	b.expect("made here", b.rows("made here"), "3000")
	b.expect("pending", b.agent.Snapshot().Pending, 0)
	list, st, _ := b.agent.DeadLetters().FormerEvents(b.Context())
	if len(list) != 1 || list[0].Name != "two" || st.Kept != 1 {
		b.Errorf("left %+v, %+v", list, st)
	}
	return more
}
