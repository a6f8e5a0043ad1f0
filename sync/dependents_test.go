package sync

import (
	"log/slog"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

// A dead letter without a creation before it, which an earlier life put there as a dependent, goes
// up in its order, whichever release wrote its reason.
func TestDependentsOfAnEarlierLife(t *testing.T) {
	for reason, want := range map[string]bool{
		"waits for the creation of its entity, which was refused":   true,
		"the creation of its entity was refused; it waits for that": true, // until November 2026
		"Not today": false,
	} {
		d, err := wal.OpenDead(t.TempDir(), 1<<20, 9, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		e := telemetryEvent(1, 0)
		event := wal.Event{Kind: uint8(e.Kind), Action: uint8(e.Action), Time: e.Time, Entity: e.Entity, Fragment: e.Fragment}
		if err := d.Put(wal.DeadLetter{Event: event, Offset: 7, Reason: reason, Tries: 1, At: time.UnixMilli(1)}); err != nil {
			t.Fatal(err)
		}
		l := &loop{deadLog: d, dependents: newDependents()}
		l.loadRefusedCreations()
		if c, ok := l.dependents.creations[proto.UUID{1}]; ok != want || ok && !c.accepted {
			t.Errorf("%s: %+v, %v", reason, c, ok)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A creation that was announced twice, because of a crash, holds back what came between.
func TestCreationAnnouncedTwice(t *testing.T) {
	d := newDependents()
	id := proto.UUID{1}
	d.refused(id, 5)
	d.refused(id, 8)
	if !d.waits(id, 6) || !d.waits(id, 9) || d.waits(id, 4) {
		t.Errorf("%+v", d.creations)
	}
	d.delivered(&wal.DeadLetter{Event: wal.Event{Entity: id}, Offset: 5})
	if d.waits(id, 6) || !d.has(id, 6) || !d.has(id, 9) {
		t.Errorf("%+v", d.creations)
	}
}

// On the files of an agent that does not run, too, what waits for a creation is dropped with it.
func TestDropDeadTakesDependents(t *testing.T) {
	d, err := wal.OpenDead(t.TempDir(), 1<<20, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	letter := func(offset uint64, entity byte, action proto.Action, class wal.DeadClass) wal.DeadLetter {
		return wal.DeadLetter{
			Event:  wal.Event{Kind: uint8(proto.KindDevice), Action: uint8(action), Entity: proto.UUID{entity}},
			Offset: offset, Class: class, Pinned: action == proto.ActionAdded,
		}
	}
	err = d.PutAll([]wal.DeadLetter{
		letter(1, 1, proto.ActionUpdated, wal.DeadRefused), // before the creation
		letter(2, 1, proto.ActionAdded, wal.DeadCreation),
		letter(3, 1, proto.ActionUpdated, wal.DeadCreation),
		letter(4, 2, proto.ActionAdded, wal.DeadCreation),
		letter(5, 2, proto.ActionUpdated, wal.DeadCreation),
		letter(6, 1, proto.ActionUpdated, wal.DeadCreation),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		offset uint64
		n      int
	}{{2, 3}, {5, 1}, {2, 0}, {0, 2}} {
		if n, err := DropDead(d, nil, c.offset); n != c.n || err != nil {
			t.Errorf("drop %d: %d, %v; want %d", c.offset, n, err, c.n)
		}
	}
	if s := d.Stats(); s.Discarded != 6 || s.Letters != 0 {
		t.Errorf("%+v", s)
	}
}
