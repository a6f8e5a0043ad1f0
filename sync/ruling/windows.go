package ruling

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"edgesync/sync/rules"
	"edgesync/wal"
	"edgesync/wal/disk"
)

// Bounds of the log of windows, in bytes.
const (
	maxWindows     = 32 << 20  // beyond it messages are not kept: they fail, and are pushed as they are
	windowsSegment = 128 << 10 // of which two are in memory
	cleanFloor     = 256 << 10 // of messages that wait no longer, for which nothing is cleaned
	cleanStep      = 64 << 10  // what is read, and at most written again, at a time
)

// windowLog is what windows hold, on flash: a queue of its own, which begins with the first window.
// It is cleaned from its head: what still waits there is written again at its end. run's goroutine
// writes it, under journal.writing.
type windowLog struct {
	rules.WindowLog
	dir, corrupt string
	fill         bool
	segment      int   // bytes
	floor        int64 // cleanFloor, but in tests
	log          *slog.Logger
	meter        disk.Meter
	look         func() // tests look at the disk around each append

	queue *wal.Queue // nil: there is none yet
	total int64      // bytes of its records, with what they cost
	last  wal.Account
	batch []wal.Event // being written
}

// recordBytes is what a record of the log takes, about.
func recordBytes(record []byte) int64 { return int64(len(record)) + 32 }

func windowsDir(dir string) string { return filepath.Join(dir, "windows") }

// load reads the log, if there is one.
func (w *windowLog) load() error {
	if _, err := os.Stat(w.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := w.open(); err != nil {
		return err
	}
	w.Whole = true
	r := w.queue.Reader()
	defer r.Close()
	err := r.Read(func(e *wal.Entry) bool {
		w.total += recordBytes(e.Fragment)
		w.Note(e.Kind, e.Fragment)
		return true
	})
	if err != nil {
		return fmt.Errorf("read the windows of rule chains: %w", err)
	}
	return nil
}

func (w *windowLog) open() (err error) {
	if w.queue != nil {
		return nil
	}
	w.queue, err = wal.Open(wal.Options{
		Dir: w.dir, CorruptDir: w.corrupt, SegmentSize: w.segment, MaxBytes: maxWindows, Policy: wal.RejectNew, Fill: w.fill,
		Log: w.log,
	})
	if err != nil {
		return fmt.Errorf("open the windows of rule chains: %w", err)
	}
	return nil
}

// write makes the batch durable. After an error it is written before anything else.
func (w *windowLog) write() error {
	if len(w.batch) == 0 {
		return nil
	}
	if err := w.append(w.batch); err != nil {
		return err
	}
	for i := range w.batch {
		e := &w.batch[i]
		w.Note(e.Kind, e.Fragment)
	}
	clear(w.batch)
	w.batch = w.batch[:0]
	return nil
}

func (w *windowLog) append(list []wal.Event) error {
	if err := w.open(); err != nil {
		return err
	}
	if w.look != nil {
		w.look()
		defer w.look()
	}
	err := w.queue.Append(context.Background(), list...)
	if now := w.queue.Life(); w.meter != nil {
		w.meter.Add(w.last.Written, now.Written-w.last.Written, int(now.Fsyncs-w.last.Fsyncs))
		w.last = now
	}
	if err != nil {
		return fmt.Errorf("write the windows of rule chains: %w", err)
	}
	for i := range list {
		w.total += recordBytes(list[i].Fragment)
	}
	return nil
}

// clean gives up the head of the log, until at most half of it, beside a floor, is of messages that
// wait no longer. It goes through the log once at most.
func (w *windowLog) clean() error {
	if w.queue == nil {
		return nil
	}
	end := w.queue.End().Offset
	for w.total > 2*w.Live+w.floor && w.queue.Committed().Offset < end {
		var again []wal.Event
		r := w.queue.Reader()
		records, size := uint64(0), int64(0)
		err := r.Read(func(e *wal.Entry) bool {
			if size > cleanStep {
				return false
			}
			records++
			size += recordBytes(e.Fragment)
			if rest := w.Rest(e.Kind, e.Fragment); rest != nil {
				again = append(again, wal.Event{Kind: e.Kind, Fragment: append([]byte(nil), rest...)})
			}
			return true
		})
		at := r.Position()
		r.Close()
		if err == nil && len(again) > 0 {
			err = w.append(again)
		}
		if err == nil {
			err = w.queue.Commit(at, records, 0)
		}
		if err != nil {
			return err
		}
		if w.total -= size; records == 0 { // what is left cannot be read
			break
		}
	}
	return nil
}

func (w *windowLog) close() error {
	if w.queue == nil {
		return nil
	}
	return w.queue.Close()
}

// hold has nothing written while fn runs.
func (w *windowLog) hold(fn func()) {
	if w.queue == nil {
		fn()
		return
	}
	w.queue.Hold(fn)
}

// waiting are the messages in the windows of a directory that a process may hold.
func waiting(dir string) (n int) {
	st, err := wal.Inspect(windowsDir(dir))
	if err != nil {
		return 0
	}
	var w rules.WindowLog
	_ = wal.Walk(windowsDir(dir), st.Committed+1, func(r *wal.Record) bool {
		if len(r.Event.Fragment) > 0 {
			w.Note(r.Event.Kind, r.Event.Fragment)
		}
		return true
	})
	return w.Waiting
}
