package medium

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"syscall"
	"time"

	"edgesync/wal/disk"
)

// Bounds of the trial at start: it must neither hold the start up nor wear the flash.
const (
	trialName    = "trial.TEMP" // in the directory; the next trial or the queue's repair removes one that was left
	trialFrame   = 132          // bytes: a frame of an event of 100
	trialCommits = 4            // after one that pays for the new file
	trialTime    = 2 * time.Second
	trialMost    = 1 << 20 // bytes; a commit that seems to cost more counts the writes of others
)

// CommitCost measures what one small commit to a file in dir costs the medium, in bytes: five times
// a frame and an fsync, while the kernel counts the sectors that reach the device. Of the last four
// commits the lower median counts, because others who write at the time can only add. Where the
// kernel does not count, bytes is what can be known otherwise or AssumedCommit, and in RAM 0;
// source says which, for people. It takes at most 2 s, writes 660 bytes and leaves no file.
func CommitCost(dir string) (bytes int64, source string) {
	m, d, err := read("/", dir)
	if err != nil {
		return AssumedCommit, "assumed"
	}
	m.measure(dir, d)
	return m.CommitBytes, m.CommitSource
}

// measure replaces what is assumed of a commit by what is measured on d, if it can be.
func (m *Medium) measure(dir string, d device) error {
	if m.RAM || m.ReadOnly {
		return nil
	}
	costs, err := trial(dir, d.written, trialTime)
	if n, ok := typical(costs); ok {
		m.CommitBytes, m.CommitSource = n, "measured on "+d.name
	}
	return err
}

// typical is the lower median of the costs of at least three commits; false if they make no sense.
func typical(costs []uint64) (int64, bool) {
	if len(costs) < 3 {
		return 0, false
	}
	sort.Slice(costs, func(i, j int) bool { return costs[i] < costs[j] })
	n := costs[(len(costs)-1)/2]
	return int64(n), n > 0 && n <= trialMost
}

// trial makes the commits and returns what each of them added to the count; fewer when time or the
// medium does not allow more. An fsync cannot be called off: one that outlasts the limit is left to
// end by itself, and its file goes then.
func trial(dir string, count func() (uint64, bool), limit time.Duration) ([]uint64, error) {
	f, remove, err := trialFile(dir)
	if err != nil {
		return nil, err
	}
	type result struct {
		cost uint64
		err  error
	}
	results := make(chan result, 1+trialCommits)
	deadline := time.Now().Add(limit)
	go func() {
		defer close(results)
		defer remove()
		frame := make([]byte, trialFrame)
		for i := range frame {
			frame[i] = byte(rand.Uint32()) // some file systems compress
		}
		for i := range 1 + trialCommits {
			before, counts := count()
			_, err := f.Write(frame)
			if err == nil {
				err = f.Sync()
			}
			after, _ := count()
			if err != nil {
				results <- result{err: err}
				return
			}
			if !counts || after < before || !time.Now().Before(deadline) {
				return
			}
			if i > 0 {
				results <- result{cost: after - before}
			}
		}
	}()
	var costs []uint64
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case r, more := <-results:
			if !more {
				return costs, nil
			}
			if r.err != nil {
				return costs, r.err
			}
			costs = append(costs, r.cost)
		case <-timer.C:
			return costs, nil
		}
	}
}

// trialFile creates the file to try with. On ext4 and xfs it has no name, so that even a crash
// leaves nothing. Elsewhere an fsync of such a file costs other than that of a real one (f2fs makes
// a checkpoint, btrfs logs nothing), so it gets a name.
func trialFile(dir string) (f *os.File, remove func(), err error) {
	path := filepath.Join(dir, trialName)
	if err := disk.MakeWay(path, disk.File, filepath.Join(dir, "corrupt"), nil); err != nil {
		return nil, nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) == nil && (uint32(st.Type) == magicExt || uint32(st.Type) == magicXFS) {
		const tmpfile = 0x400000 | syscall.O_DIRECTORY // O_TMPFILE, on every platform that is built for
		if f, err := os.OpenFile(dir, os.O_WRONLY|tmpfile, 0o600); err == nil {
			return f, func() { f.Close() }, nil
		}
	}
	if f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, nil, err
	}
	return f, func() { os.Remove(path); f.Close() }, nil
}

// refusesAllocation reports whether the file system under dir has no fallocate(2): under an overlay
// that is JFFS2 or UBIFS, and none of the file systems of disks and cards.
func refusesAllocation(dir string) bool {
	f, remove, err := trialFile(dir)
	if err != nil {
		return false
	}
	defer remove()
	return errors.Is(disk.Retry(func() error { return syscall.Fallocate(int(f.Fd()), 0, 0, disk.Block) }), syscall.EOPNOTSUPP)
}
