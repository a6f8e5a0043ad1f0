package sighting

import (
	"encoding/binary"
	"testing"
	"time"

	"edgesync/proto"
)

var (
	start = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	pump  = proto.UUID{1}
)

func all(proto.UUID) bool { return true }

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

// The door is the one where the device was seen last; events say when, and not where.
func TestLastAndDoor(t *testing.T) {
	b := New(start, all)
	if s := b.Of(at(5), pump); s != (Sighting{}) {
		t.Errorf("never seen: %+v", s)
	}
	b.Saw(at(0), pump, HTTP, 0)
	b.Observe(at(70), []proto.Event{
		{Kind: proto.KindEntityData, Action: proto.ActionTimeseriesUpdated, Entity: pump},
		{Kind: proto.KindEntityData, Action: proto.ActionPostAttributes, Entity: pump},
		{Kind: proto.KindDevice, Action: proto.ActionUpdated, Entity: proto.UUID{2}},               // a person's change
		{Kind: proto.KindEntityData, Action: proto.ActionAttributesUpdated, Entity: proto.UUID{3}}, // the same
	})
	if s := b.Of(at(90), pump); !s.Last.Equal(at(70)) || s.Door != HTTP || s.Minute != 2*60/90.0 {
		t.Errorf("%+v", s)
	}
	b.Saw(at(100), pump, Gateway, 0)
	if s := b.Of(at(100), pump); !s.Last.Equal(at(100)) || s.Door.String() != "gateway" {
		t.Errorf("%+v", s)
	}
	for _, id := range []proto.UUID{{2}, {3}} {
		if s := b.Of(at(100), id); s != (Sighting{}) {
			t.Errorf("%v was seen: %+v", id, s)
		}
	}
	b.Forget(pump)
	if s := b.Of(at(100), pump); s != (Sighting{}) {
		t.Errorf("after Forget: %+v", s)
	}
}

// One event each ten seconds is six a minute, in the middle of a window as at its ends; an hour
// after the last it is none.
func TestEventsAMinute(t *testing.T) {
	b := New(start, all)
	for second := 0; second <= 1500; second += 10 {
		b.Saw(at(second), pump, MQTT, 1)
		if got := b.Of(at(second), pump).Minute; second >= 600 && (got < 5.9 || got > 6.3) {
			t.Errorf("after %d s: %v a minute", second, got)
		}
	}
	for second, want := range map[int]float64{1800: 0.2, 2100: 0, 5000: 0} {
		if got := b.Of(at(second), pump).Minute; got != want {
			t.Errorf("%d: %v, want %v", second, got, want)
		}
	}
}

// What is no device here has no record, and more records than there may be devices do not come.
func TestBookIsBounded(t *testing.T) {
	known := proto.UUID{9}
	b := New(start, func(id proto.UUID) bool { return id == known })
	b.Saw(start, pump, HTTP, 1)
	b.Saw(start, known, HTTP, 1)
	if len(b.devices) != 1 {
		t.Errorf("%d records", len(b.devices))
	}
	b = New(start, all)
	for n := range uint32(maxDevices + 100) {
		var id proto.UUID
		binary.BigEndian.PutUint32(id[:], n)
		b.Saw(start, id, HTTP, 1)
	}
	if len(b.devices) != maxDevices {
		t.Errorf("%d records", len(b.devices))
	}
	var none *Book
	none.Saw(start, pump, HTTP, 1)
	none.Forget(pump)
	if none.Of(start, pump) != (Sighting{}) {
		t.Error("a nil book knows a device")
	}
}
