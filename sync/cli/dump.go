package cli

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"edgesync/proto"
	"edgesync/sync/config"
	"edgesync/sync/former"
	"edgesync/sync/status"
	"edgesync/wal"
)

// filter is what wal dump is asked to show.
type filter struct {
	since, until int64 // milliseconds since the Unix epoch, both included
	whose
	kind         proto.Kind // 0 = any
	action       *proto.Action
	pending, all bool
	from, limit  uint64 // limit 0 = none
	tail         uint64 // 0 = from the beginning
	follow       bool
}

// passes reports whether an event is to be shown.
func (f *filter) passes(e *wal.Event) bool {
	return e.Time >= f.since && e.Time <= f.until &&
		f.wants(e.Entity) &&
		(f.kind == 0 || uint8(f.kind) == e.Kind) &&
		(f.action == nil || uint8(*f.action) == e.Action)
}

// dump registers the flags of wal dump and returns the command.
func (t *tool) dump() func() error {
	f := filter{until: 1<<63 - 1, since: -1 << 63}
	now := time.Now()
	t.flags.BoolVar(&t.json, "json", false, "")
	t.flags.BoolVar(&f.pending, "pending", false, "")
	t.flags.BoolVar(&f.all, "all", false, "")
	t.flags.Uint64Var(&f.from, "from", 0, "")
	t.flags.Uint64Var(&f.limit, "limit", 0, "")
	t.flags.Func("since", "", func(s string) (err error) { f.since, err = parseMoment(s, now); return err })
	t.flags.Func("until", "", func(s string) (err error) { f.until, err = parseMoment(s, now); return err })
	t.flags.BoolVar(&f.follow, "follow", false, "")
	f.register(t.flags)
	t.flags.Func("tail", "", func(s string) (err error) {
		if f.tail, err = strconv.ParseUint(s, 10, 64); err != nil || f.tail-1 >= maxTail {
			return errTail
		}
		return nil
	})
	t.flags.Func("kind", "", func(s string) (err error) {
		var ok bool
		if f.kind, ok = proto.ParseKind(s); !ok {
			err = unknownName("kind", s, proto.KindNames())
		}
		return err
	})
	t.flags.Func("action", "", func(s string) error {
		a, ok := proto.ParseAction(s)
		if !ok {
			return unknownName("action", s, proto.ActionNames())
		}
		f.action = &a
		return nil
	})
	return func() error { return t.print(&f) }
}

func unknownName(what, name string, known []string) error {
	if n := config.Nearest(name, known...); n != "" {
		return fmt.Errorf("no such %s; did you mean %s?", what, n)
	}
	return fmt.Errorf("no such %s; there are %s", what, strings.Join(known, ", "))
}

// parseMoment reads a time: RFC 3339, or how long before now.
func parseMoment(s string, now time.Time) (ms int64, err error) {
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at.UnixMilli(), nil
	}
	ago, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		ago = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || ago < 0 {
		return 0, errors.New("write a time as 2026-01-31T12:00:00Z, or how long ago as 90s, 2h or 7d")
	}
	return now.Add(-ago).UnixMilli(), nil
}

// print prints the events of the queue that f lets through.
func (t *tool) print(f *filter) error {
	queue, dataDir, err := t.queueDir()
	if err != nil {
		return err
	}
	st, err := wal.Inspect(queue)
	if err != nil {
		return fmt.Errorf("read the queue at %s: %w", queue, err)
	}
	if err := f.open(t, queue); err != nil {
		return err
	}
	defer f.names.Close()
	d := dumper{
		f: f, committed: st.Committed, w: bufio.NewWriter(t.stdout), json: t.json, now: time.Now, next: f.from, end: math.MaxUint64,
	}
	if dataDir != "" { // a running agent knows better
		if s, err := status.Fetch(dataDir); err == nil && s.Running {
			d.committed = max(d.committed, s.Committed)
		}
	}
	if f.pending {
		f.from = max(f.from, d.committed+1)
	}
	_, err = wal.InspectDead(beside(queue, "dead"), d.committed, func(l *wal.DeadLetter) bool {
		d.dead = append(d.dead, l.Offset)
		return true
	})
	if err != nil {
		fmt.Fprintf(t.stderr, "edgesync: the dead letters cannot be read, so none is shown as DEAD: %v\n", err)
	}
	if d.former, err = former.Inspect(beside(queue, "former")); err != nil {
		fmt.Fprintf(t.stderr, "edgesync: the events of former edges cannot be read, so none is shown as DEAD: %v\n", err)
	}
	if f.tail > 0 {
		f.from, err = d.tailFrom(queue, st.Last)
	}
	if err == nil {
		err = wal.Walk(queue, f.from, d.record)
	}
	if err != nil {
		return fmt.Errorf("read the queue at %s: %w", queue, err)
	}
	if err := d.w.Flush(); err != nil || !f.follow {
		return err
	}
	d.next = max(d.next, st.Last+1)
	return t.follow(&d, queue, dataDir)
}
