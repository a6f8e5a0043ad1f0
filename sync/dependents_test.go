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
