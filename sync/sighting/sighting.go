// Package sighting keeps of each device when it was seen last, over which door, and how many events
// it sends, so that a person can tell where a sensor is. Everything is in memory and begins with
// the process: nothing of it is written to flash.
//
// A device costs one record of 16 bytes in a map, some 45 bytes with its key, and only once it was
// seen. A [Book] has at most maxDevices records; beyond that, which the registry does not let come,
// no further device is kept.
package sighting

import (
	"math"
	"sync"
	"time"

	"edgesync/proto"
)

// Door is where a device was seen.
type Door uint8

// The doors.
const (
	Nowhere Door = iota
	HTTP
	MQTT
	Gateway // over MQTT, by a gateway that speaks for it
	REST    // somebody posted its telemetry over the REST API
	doors
)

var doorNames = [doors]string{"", "http", "mqtt", "gateway", "rest"}

// String is the door's name in JSON; "" for Nowhere.
func (d Door) String() string { return doorNames[d] }

const (
	// maxDevices bounds the records; the registry keeps 15,000 devices.
	maxDevices = 1 << 14
	// window is what events are counted over, in seconds. What comes less often than once in it has
	// a rate of 0 at times; a person looks at when it came last then.
	window = 300
)

// record is a device. The zero record: never seen.
type record struct {
	last    uint32 // seconds since the book was begun, plus 1
	count   uint32 // events in the window that last is in
	before  uint32 // events in the window before that
	counted uint16 // number of that window, its low bits; 65,536 windows are 227 days
	door    Door
}

// Book keeps the records. Its methods may be called by any goroutine; a nil Book keeps nothing.
type Book struct {
	begun time.Time
	knows func(id proto.UUID) bool

	mu      sync.Mutex // innermost
	devices map[proto.UUID]record
}

// New returns an empty book. knows reports whether an entity is a device that is here; it is called
// without a lock, once for each event of an entity that has no record.
func New(now time.Time, knows func(id proto.UUID) bool) *Book {
	return &Book{begun: now, knows: knows, devices: make(map[proto.UUID]record)}
}

// seconds is the time since the book was begun. It goes by the monotonic clock.
func (b *Book) seconds(now time.Time) uint32 {
	return uint32(min(max(now.Sub(b.begun)/time.Second, 0), math.MaxUint32-1))
}

// turn brings the counts of r to the window that second is in.
func (r *record) turn(second uint32) {
	w := uint16(second / window)
	switch w - r.counted {
	case 0:
		return
	case 1:
		r.before = r.count
	default:
		r.before = 0
	}
	r.counted, r.count = w, 0
}

// Saw notes that a device was seen, and that so many of its events were accepted. With Nowhere the
// door stays the one where it was seen before.
func (b *Book) Saw(now time.Time, id proto.UUID, door Door, events int) {
	if b == nil {
		return
	}
	second := b.seconds(now)
	for {
		b.mu.Lock()
		r, ok := b.devices[id]
		if ok {
			b.note(id, r, second, door, events)
			b.mu.Unlock()
			return
		}
		full := len(b.devices) >= maxDevices
		b.mu.Unlock()
		if full || !b.knows(id) {
			return
		}
		b.mu.Lock()
		if _, ok := b.devices[id]; !ok {
			b.devices[id] = record{counted: uint16(second / window)}
		}
		b.mu.Unlock()
	}
}

// note changes a record. The caller holds mu.
func (b *Book) note(id proto.UUID, r record, second uint32, door Door, events int) {
	r.turn(second)
	r.last = second + 1
	r.count += uint32(events)
	if door != Nowhere {
		r.door = door
	}
	b.devices[id] = r
}

// Observe takes events that were accepted: telemetry and attributes that devices send. The door is
// noted by who knows it.
func (b *Book) Observe(now time.Time, events []proto.Event) {
	for i := 0; i < len(events); {
		e := &events[i]
		n := 0
		for ; i < len(events) && events[i].Entity == e.Entity; i++ {
			if sent(&events[i]) {
				n++
			}
		}
		if n > 0 {
			b.Saw(now, e.Entity, Nowhere, n)
		}
	}
}

// sent reports whether an event is what a device has sent.
func sent(e *proto.Event) bool {
	return e.Kind == proto.KindEntityData &&
		(e.Action == proto.ActionTimeseriesUpdated || e.Action == proto.ActionPostAttributes)
}

// Forget forgets a device.
func (b *Book) Forget(id proto.UUID) {
	if b == nil {
		return
	}
	b.mu.Lock()
	delete(b.devices, id)
	b.mu.Unlock()
}

// Sighting is what is known of a device.
type Sighting struct {
	Last   time.Time // zero: never in this life of the process
	Door   Door      // where it was seen last
	Minute float64   // events a minute, over some five minutes
}

// Of is what is known of a device. The time is by the clock of the machine as it is now.
func (b *Book) Of(now time.Time, id proto.UUID) (s Sighting) {
	if b == nil {
		return s
	}
	b.mu.Lock()
	r := b.devices[id]
	b.mu.Unlock()
	if r.last == 0 {
		return s
	}
	second := b.seconds(now)
	s.Last, s.Door = now.Add(-time.Duration(second-min(second, r.last-1))*time.Second).Round(0), r.door
	r.turn(second)
	// As much of the window before as is missing from five minutes; less while the process is
	// young, but a minute at least.
	in := second % window
	events := float64(r.count) + float64(r.before)*float64(window-in)/window
	s.Minute = events * 60 / float64(max(60, min(second, window)))
	return s
}
