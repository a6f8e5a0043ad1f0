package rig

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"edgesync/sync/former"
	"edgesync/sync/registry"
	"edgesync/wal"
	"edgesync/wal/disk"
)

// Data is a data directory that is open as an agent has it open.
type Data struct {
	Queue    *wal.Queue
	Dead     *wal.DeadLog // at most 1 MiB
	Former   *former.Store
	Overflow *former.Store
	Registry *registry.Registry
}

// OpenData opens the data directory dir, which is made if it does not exist, and lets the registry
// follow the queue. log takes what the dead letters log. record is wal.Options.Record and may be
// nil. meters are told of what the stores of the registry and of former edges write. The caller
// closes.
func OpenData(
	t testing.TB, dir string, log *slog.Logger, record func(wal.Gap, uint64) (wal.Event, bool), meters ...disk.Meter,
) *Data {
	t.Helper()
	return OpenDataKeeping(t, dir, log, record, nil, meters...)
}

// OpenDataKeeping is OpenData with the bulky kinds that registry.Options.Keep names.
func OpenDataKeeping(
	t testing.TB, dir string, log *slog.Logger, record func(wal.Gap, uint64) (wal.Event, bool), keep []string, meters ...disk.Meter,
) *Data {
	t.Helper()
	var d Data
	var err error
	meter := func(at, bytes int64, fsyncs int) {
		for _, m := range meters {
			m(at, bytes, fsyncs)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	if d.Queue, err = wal.Open(wal.Options{Dir: in("queue"), CorruptDir: in("corrupt"), Record: record}); err != nil {
		t.Fatal(err)
	}
	if d.Dead, err = wal.OpenDead(in("dead"), 1<<20, d.Queue.Committed().Offset, log); err != nil {
		t.Fatal(err)
	}
	if d.Former, err = former.Open(former.Options{Dir: in("former"), CorruptDir: in("corrupt"), Log: log, Meter: meter}); err != nil {
		t.Fatal(err)
	}
	if d.Overflow, err = former.Open(former.Options{Dir: in("overflow"), CorruptDir: in("corrupt"), Log: log, Meter: meter}); err != nil {
		t.Fatal(err)
	}
	o := registry.Options{Dir: in("registry"), CorruptDir: in("corrupt"), Keep: keep, Meter: meter}
	if d.Registry, err = registry.Open(o); err != nil {
		t.Fatal(err)
	}
	d.Registry.Follow(d.Queue)
	return &d
}

// Close closes everything. The agent must have ended.
func (d *Data) Close() error {
	return errors.Join(d.Queue.Close(), d.Dead.Close(), d.Former.Close(), d.Overflow.Close(), d.Registry.Close())
}
