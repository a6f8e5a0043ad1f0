package wal

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"edgesync/wal/disk"
)

// afterRemove is a medium that calls a function when segments are deleted and the queue has not
// noted it yet: while the fsync of the directory runs, say.
type afterRemove struct {
	disk.System
	do func()
}

func (a afterRemove) Remove(dir string, names []string) (int, error) {
	n, err := a.System.Remove(dir, names)
	a.do()
	return n, err
}

// Stats has read the committed position; then the events there are committed and their segment is
// deleted; then Stats looks for the oldest event. That is no damage.
func TestStatsBesideADrop(t *testing.T) {
	var log strings.Builder
	o := testOptions(queueDir(t))
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	var q *Queue
	looked := make(chan struct{})
	var once sync.Once
	var damaged int
	o.ops = afterRemove{do: func() {
		q.oldestBehind(Position{}) // second half of a Stats that began before the Commit
		q.mu.Lock()
		damaged = len(q.damaged)
		q.mu.Unlock()
		once.Do(func() { close(looked) })
	}}
	q = openQueue(t, o)
	var all []Event
	for n := uint64(1); n <= 2000; n++ {
		all = append(all, testEvent(n))
	}
	if err := q.Append(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	r := q.Reader()
	defer r.Close()
	var last Position
	if err := r.Read(func(e *Entry) bool { last = e.Position; return true }); err != nil {
		t.Fatal(err)
	}
	if err := q.Commit(last, 2000, 0); err != nil {
		t.Fatal(err)
	}
	select {
	case <-looked:
	case <-time.After(time.Minute):
		t.Fatal("nothing was dropped")
	}
	closeQueue(t, q)
	if damaged != 0 || strings.Contains(log.String(), "cannot be read") {
		t.Errorf("%d segments count as damaged; log:\n%s", damaged, log.String())
	}
}
