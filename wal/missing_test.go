package wal

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// knownQueue is a directory of which the test knows every count.
type knownQueue struct {
	name                                    string
	dir                                     string
	accepted, deployed, dropped, dead, held uint64 // held: what the committed file says was accepted
}

// known closes a queue and notes its counts.
func known(t *testing.T, name string, q *Queue) knownQueue {
	t.Helper()
	s := q.Stats()
	checkIdentity(t, s)
	if s.Damaged != 0 || s.Segments < 3 {
		t.Fatalf("%s: %+v", name, s)
	}
	closeQueue(t, q)
	c, _, ok := readCommitted(q.o.Dir)
	if !ok {
		t.Fatalf("%s: no committed file", name)
	}
	return knownQueue{name, q.o.Dir, s.Accepted, s.Deployed, s.Dropped, s.Dead, c.seq}
}

// acknowledge reads n events and commits them, two of them as dead letters.
func acknowledge(t *testing.T, q *Queue, n int) {
	t.Helper()
	r := q.Reader()
	defer r.Close()
	left := n
	if err := r.Read(func(*Entry) bool {
		left--
		return left >= 0
	}); err != nil {
		t.Fatal(err)
	}
	if err := q.Commit(r.Position(), uint64(n-2), 2); err != nil {
		t.Fatal(err)
	}
}

// knownQueues are the shapes that a queue may have when files get lost.
func knownQueues(t *testing.T) (all []knownQueue) {
	t.Helper()
	options := func() Options { return testOptions(filepath.Join(memDir(t), "queue")) }

	q := openQueue(t, options())
	appendEvents(t, q, 1, 10)
	acknowledge(t, q, 5)
	appendEvents(t, q, 11, 80)
	all = append(all, known(t, "committed in the first segment", q))

	q = openQueue(t, options())
	appendEvents(t, q, 1, 90)
	acknowledge(t, q, 45)
	all = append(all, known(t, "committed in the middle, in the file only", q))

	q = openQueue(t, options())
	appendEvents(t, q, 1, 70)
	acknowledge(t, q, 45)
	appendEvents(t, q, 71, 20)
	acknowledge(t, q, 3)
	all = append(all, known(t, "committed in the middle", q))

	o := options()
	o.MaxBytes = 8 << 10
	q = openQueue(t, o)
	appendEvents(t, q, 1, 30)
	acknowledge(t, q, 10)
	appendEvents(t, q, 31, 200)
	acknowledge(t, q, 4)
	all = append(all, known(t, "after the quota", q))

	o = options()
	o.MaxBytes, o.Policy = 20<<10, Thin
	o.Series = thinOptions(t).Series
	q = openQueue(t, o)
	appendThin(t, q, 1, 30)
	acknowledge(t, q, 10)
	appendThin(t, q, 31, 400)
	if q.Stats().Dropped == 0 || q.ahead == 0 {
		t.Fatalf("nothing was thinned: %+v", q.Stats())
	}
	acknowledge(t, q, 4)
	all = append(all, known(t, "thinned", q))

	q = openQueue(t, options())
	appendEvents(t, q, 1, 90)
	commitAll(t, q)
	all = append(all, known(t, "all committed", q))
	return all
}

// Damages of one file.
const (
	intact = iota
	missing
	headless // its first frame is garbage; of the committed file, one slot
	rubbish
	damageKinds
)

var damageNames = [damageKinds]string{"intact", "missing", "headless", "rubbish"}

func damageFile(t *testing.T, path string, how int) {
	t.Helper()
	if how == intact {
		return
	}
	if how == missing {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return
	}
	b := readFile(t, path)
	n := len(b)
	if how == headless {
		n = min(n, 40)
		if filepath.Base(path) == committedName {
			_, _, first := parseSlot(b)
			_, _, second := parseSlot(b[min(len(b), slotDistance):])
			if n = slotSize; !first || !second {
				n = 0
			}
		}
	}
	for i := range b[:n] {
		b[i] = byte(i*7 + 1)
	}
	writeFile(t, path, b)
}

// commitAll commits everything that can be read as deployed and returns how much that is.
func commitAll(t *testing.T, q *Queue) (n uint64) {
	t.Helper()
	r := q.Reader()
	defer r.Close()
	if err := r.Read(func(*Entry) bool { n++; return true }); err != nil {
		t.Fatal(err)
	}
	if err := q.Commit(r.Position(), n, 0); err != nil {
		t.Fatal(err)
	}
	return n
}

func counts(s Stats) [6]uint64 {
	return [6]uint64{s.Accepted, s.Deployed, s.Pending, s.Dropped, s.Dead, s.Damaged}
}

// emulated is true where the tests run on an emulated processor, on which all cases take minutes.
// There every seventh is tried.
const emulated = runtime.GOARCH == "mipsle" || runtime.GOARCH == "arm"

// Whatever is lost of a queue, its counters stay balanced, nothing that nobody acknowledged counts
// as deployed, and what is accepted from then on counts exactly.
func TestCountsAfterDamage(t *testing.T) {
	for _, k := range knownQueues(t) {
		segments := segmentsOf(t, k.dir)
		chosen := []string{segments[0], segments[len(segments)/2], segments[len(segments)-1]}
		for i := range damageKinds * damageKinds * damageKinds * damageKinds {
			if emulated && i%7 != 0 {
				continue
			}
			kinds := [4]int{i % 4, i / 4 % 4, i / 16 % 4, i / 64}
			checkDamaged(t, k, kinds, i%3 == 0, func(dir string) {
				for n, path := range chosen {
					damageFile(t, filepath.Join(dir, filepath.Base(path)), kinds[n])
				}
				damageFile(t, filepath.Join(dir, committedName), kinds[3])
			})
		}
		for committed := range damageKinds {
			checkDamaged(t, k, [4]int{missing, missing, missing, committed}, false, func(dir string) {
				for _, path := range segmentsOf(t, dir) {
					damageFile(t, path, missing)
				}
				damageFile(t, filepath.Join(dir, committedName), committed)
			})
		}
	}
}

func checkDamaged(t *testing.T, k knownQueue, kinds [4]int, repaired bool, damage func(dir string)) {
	t.Helper()
	dir := copyDir(t, k.dir)
	defer os.RemoveAll(filepath.Dir(dir))
	damage(dir)
	o := testOptions(dir)
	o.CorruptDir = ""
	names := make([]string, len(kinds))
	for i, n := range kinds {
		names[i] = damageNames[n]
	}
	what := fmt.Sprintf("%s, first middle last committed %s, %d accepted", k.name, strings.Join(names, " "), k.accepted)

	if repaired {
		what += ", repaired"
		if err := Repair(dir, "", slog.New(slog.DiscardHandler)); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	seen, err := Inspect(dir)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	q := openQueue(t, o)
	s := q.Stats()
	if counts(s) != counts(seen) {
		t.Errorf("%s: inspect counts %v, the queue %v", what, counts(seen), counts(s))
	}
	check := func(when string, s Stats, delivered, added uint64) {
		t.Helper()
		if s.Accepted != s.Deployed+s.Pending+s.Dropped+s.Dead+s.Damaged {
			t.Errorf("%s, %s: unbalanced %v", what, when, counts(s))
		}
		if s.Deployed > k.deployed+delivered {
			t.Errorf("%s, %s: %d deployed, and %d were acknowledged", what, when, s.Deployed, k.deployed+delivered)
		}
		if s.Dropped > k.dropped || s.Dead > k.dead {
			t.Errorf("%s, %s: %d dropped and %d dead, true are %d and %d", what, when, s.Dropped, s.Dead, k.dropped, k.dead)
		}
		if kinds[3] == intact && s.Accepted < k.held+added {
			t.Errorf("%s, %s: %d accepted, and the committed file knows of %d", what, when, s.Accepted, k.held)
		}
		if kinds[3] == intact && (s.Deployed < k.deployed || s.Dropped < k.dropped) {
			t.Errorf("%s, %s: %v, true are %d deployed, %d dropped", what, when, counts(s), k.deployed, k.dropped)
		}
	}
	check("opened", s, 0, 0)
	const added = 7
	appendEvents(t, q, 1001, added)
	if got := q.Stats().Accepted; got != s.Accepted+added {
		t.Errorf("%s: %d accepted after %d and %d more", what, got, s.Accepted, added)
	}
	before := q.Stats()
	closeQueue(t, q)
	q = openQueue(t, o)
	s = q.Stats()
	if s.Accepted != before.Accepted || s.Deployed != before.Deployed || s.Dropped+s.Damaged != before.Dropped+before.Damaged {
		t.Errorf("%s: %v before a restart and %v after it", what, counts(before), counts(s))
	}
	read := commitAll(t, q)
	s = q.Stats()
	check("read", s, read, added)
	if s.Pending != 0 || s.Deployed < added {
		t.Errorf("%s: at the end %v", what, counts(s))
	}
	closeQueue(t, q)
	if again, err := Inspect(dir); err != nil || counts(again) != counts(s) {
		t.Errorf("%s: at the end %v, after a restart %v (%v)", what, counts(s), counts(again), err)
	}
}
