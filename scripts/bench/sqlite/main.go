// Bench-sqlite compares the queue with the usual alternative: an outbox table with a status column,
// in SQLite. Both get the same events in the same groups in the same directory, in turns in one
// run, and so does a bare loop of write and fdatasync.
//
//	ingest    groups of events, each durable before the next
//	together  the same; of each hundred pending a batch is read in order and acknowledged
//	drain     a backlog, in batches of a hundred
//
// There are three outboxes. "plain" has the columns of cloud_event, its id as the primary key and
// an index for the reader, and marks a batch in a transaction of its own. It changes one setting of
// SQLite, synchronous=FULL, and so keeps SQLite's rollback journal. The bound is on "plain".
// "tuned" is the same table with a write-ahead log, the file held exclusively and a larger cache.
// "lean" is the best possible table: tuned, with no more columns than the queue's frames have
// fields, the order as the primary key and therefore no index at all, and marks in the transaction
// of the next group.
//
// The cost of a commit depends on the medium. Where an fsync takes long, only the number of commits
// makes a difference. On ext4 SQLite has an advantage over files that grow, as the queue's and the
// bare one do: its log keeps its size, so that fdatasync writes no journal.
//
// The command is a module of its own, so that the product does not depend on SQLite. The driver is
// github.com/mattn/go-sqlite3, which is SQLite itself in C and faster than the translations to Go;
// it needs a C compiler.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

func main() {
	in := flag.String("dir", "build", "where to make the directory that is measured on")
	round := flag.Duration("round", 250*time.Millisecond, "of each thing in each of its rounds")
	flag.Parse()
	under, err := run(*in, *round)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-sqlite:", err)
		os.Exit(1)
	}
	if under > 0 {
		// No error: the bounds are for the machine of scripts/bench/README.md.
		fmt.Printf("\n%d figures are beyond their bounds\n", under)
	}
}

const (
	rounds = 4   // in turns, so that other load on the machine affects all alike
	bound  = 5   // times SQLite, at groups of 100, ingest and drain together
	batch  = 100 // events read and acknowledged at a time
)

func run(in string, round time.Duration) (under int, err error) {
	sqlite, err := version()
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(in, 0o755); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp(in, "bench-sqlite-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	fmt.Printf("%s/%s, %d CPUs, %s, SQLite %s: synchronous=FULL, one connection, prepared statements; tuned and lean: journal_mode=WAL\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), sqlite)
	fmt.Printf("events of %d bytes; events per second; bytes written to the disk per event byte, "+
		"without the file system's journal\n\n", fragment)
	fmt.Printf("%-40s %9s %9s %9s %8s %8s  %-10s %s\n", "what", "edgesync", "SQLite", "bare", "/SQLite", "/bare",
		"bound", "written: ours, SQLite's")
	for _, drain := range []bool{false, true} {
		for _, size := range []int{1, 16, 100, 256} {
			for _, k := range []kind{plain, tuned, lean} {
				what := fmt.Sprintf("ingest, groups of %d, %s", size, k)
				if drain {
					what = fmt.Sprintf("together, groups of %d, %s", size, k)
				}
				ok, err := measure(dir, what, size, round, drain, k)
				if err != nil {
					return under, fmt.Errorf("%s: %w", what, err)
				}
				if !ok {
					under++
				}
			}
		}
	}
	for _, k := range []kind{plain, tuned} { // lean has no next group that marks could ride in
		if err := backlog(dir, k); err != nil {
			return under, fmt.Errorf("drain: %w", err)
		}
	}
	return under, nil
}

// box is one of the three things compared.
type box interface {
	// put makes a group durable.
	put(*group) error
	// drain reads the next events in order, at most n, marks them as acknowledged by the cloud and
	// returns their number.
	drain(n int) (int, error)
	// pending counts the events that are not acknowledged.
	pending() (int, error)
	close() error
}

// account is the work that one box has done.
type account struct {
	events, groups int
	written        int64 // bytes that the kernel was made to write, by /proc/self/io
	took           time.Duration
}

func (a *account) rate() float64 { return float64(a.events) / a.took.Seconds() }

// measure runs the boxes in turns, prints a line and reports whether the bound was kept.
func measure(dir, what string, size int, round time.Duration, drain bool, k kind) (ok bool, err error) {
	dir = filepath.Join(dir, strings.ReplaceAll(what, " ", "-"))
	ours, err := openQueue(dir)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, ours.close()) }()
	theirs, err := openTable(dir, k)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, theirs.close()) }()
	raw, err := os.Create(filepath.Join(dir, "bare"))
	if err != nil {
		return false, err
	}
	defer raw.Close()

	var a, b, c account
	gs := newGroups(size)
	for range rounds {
		before := ours.q.Stats().Today.Written
		groups := a.groups
		if err := a.run(ours, gs[0], round, drain); err != nil {
			return false, err
		}
		if err := b.run(theirs, gs[1], round, drain); err != nil {
			return false, err
		}
		each := max(1, (ours.q.Stats().Today.Written-before)/int64(a.groups-groups))
		if err := c.bare(raw, make([]byte, each), a.groups-groups, size); err != nil {
			return false, err
		}
	}
	for _, x := range []struct {
		box
		*account
	}{{ours, &a}, {theirs, &b}} {
		want := x.events
		if drain {
			want %= batch
		}
		if n, err := x.pending(); err != nil || n != want {
			return false, fmt.Errorf("%d events are pending, %d should be: %w", n, want, err)
		}
	}
	verdict := "-"
	ok = true
	ratio := a.rate() / b.rate()
	if drain && size == batch && k == plain {
		verdict = fmt.Sprintf(">= %d PASS", bound)
		if !(ratio >= bound) { // written so that NaN does not pass
			verdict, ok = fmt.Sprintf(">= %d under", bound), false
		}
	}
	fmt.Printf("%-40s %9.0f %9.0f %9.0f %8.2f %8.2f  %-10s %6.2f %6.2f\n", what, a.rate(), b.rate(), c.rate(),
		ratio, a.rate()/c.rate(), verdict, a.amplification(), b.amplification())
	return ok, nil
}

func (a *account) amplification() float64 { return float64(a.written) / float64(a.events*fragment) }

// run lets a box work for d.
func (a *account) run(b box, g *group, d time.Duration, drain bool) error {
	w, err := written()
	if err != nil {
		return err
	}
	ready, err := b.pending()
	if err != nil {
		return err
	}
	begin := time.Now()
	for time.Since(begin) < d {
		if err := b.put(g); err != nil {
			return err
		}
		a.events += len(g.events)
		a.groups++
		ready += len(g.events)
		for ; drain && ready >= batch; ready -= batch {
			if n, err := b.drain(batch); err != nil || n != batch {
				return fmt.Errorf("%T: a batch of %d events: %w", b, n, err)
			}
		}
	}
	a.took += time.Since(begin)
	after, err := written()
	a.written += after - w
	return err
}

// backlog measures draining alone.
func backlog(dir string, k kind) (err error) {
	const events, size = 100_000, 1000
	what := fmt.Sprintf("drain of %d, %s", events, k)
	dir = filepath.Join(dir, strings.ReplaceAll(what, " ", "-"))
	ours, err := openQueue(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ours.close()) }()
	theirs, err := openTable(dir, k)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, theirs.close()) }()
	var rates [2]float64
	for i, b := range []box{ours, theirs} {
		g := newGroups(size)[0]
		for range events / size {
			if err := b.put(g); err != nil {
				return err
			}
		}
		begin := time.Now()
		for range events / batch {
			if n, err := b.drain(batch); err != nil || n != batch {
				return fmt.Errorf("%T: a batch of %d events: %w", b, n, err)
			}
		}
		rates[i] = events / time.Since(begin).Seconds()
		if n, err := b.pending(); err != nil || n != 0 {
			return fmt.Errorf("%T: %d events are left: %w", b, n, err)
		}
	}
	fmt.Printf("%-40s %9.0f %9.0f %9s %8.2f %8s\n", what, rates[0], rates[1], "-", rates[0]/rates[1], "-")
	return nil
}

// written returns how many bytes this process has made the kernel write to disks so far.
func written() (int64, error) {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(b), "\nwrite_bytes: ")
	if !ok {
		return 0, errors.New("/proc/self/io has no write_bytes")
	}
	line, _, _ := strings.Cut(rest, "\n")
	return strconv.ParseInt(line, 10, 64)
}
