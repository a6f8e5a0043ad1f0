package sync

import (
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

func event(offset uint64, kind proto.Kind, action proto.Action, entity byte, size int) *wal.Entry {
	return &wal.Entry{
		Event:    wal.Event{Kind: uint8(kind), Action: uint8(action), Entity: proto.UUID{entity}, Fragment: make([]byte, size)},
		Position: wal.Position{Offset: offset, Seq: offset},
	}
}

// A batch closes before an event that may not stand behind the events in it (CONTRACT.md 4.2, 4.3).
func TestBatchTakes(t *testing.T) {
	telemetry := func(o uint64, entity byte) *wal.Entry {
		return event(o, proto.KindEntityData, proto.ActionTimeseriesUpdated, entity, 100)
	}
	attribute := func(o uint64, entity byte) *wal.Entry {
		return event(o, proto.KindEntityData, proto.ActionPostAttributes, entity, 100)
	}
	device := func(o uint64) *wal.Entry { return event(o, proto.KindDevice, proto.ActionAdded, 1, 100) }
	made := func(o uint64, entity byte) *wal.Entry {
		return event(o, proto.KindDevice, proto.ActionAdded, entity, 9)
	}
	credentials := func(o uint64, entity byte) *wal.Entry {
		return event(o, proto.KindDeviceCredentials, proto.ActionCredentialsUpdated, entity, 9)
	}
	relation := func(o uint64, entity byte) *wal.Entry {
		return event(o, proto.KindRelation, proto.ActionRelationAddOrUpdate, entity, 9)
	}
	alarm := func(o uint64) *wal.Entry { return event(o, proto.KindAlarm, proto.ActionAdded, 1, 9) }
	big := func(o uint64, size int) *wal.Entry {
		return event(o, proto.KindEntityData, proto.ActionTimeseriesUpdated, 1, size)
	}
	for _, c := range []struct {
		name   string
		events []*wal.Entry
		limits limits
		taken  int
		urgent bool
		closed bool
	}{
		{"two events wait for more events", []*wal.Entry{telemetry(1, 1), telemetry(2, 2)}, limits{100, 4 << 20}, 2, false, false},
		{"the event limit closes", []*wal.Entry{telemetry(1, 1), telemetry(2, 2), telemetry(3, 1)}, limits{2, 4 << 20}, 2, false, true},
		{"the byte limit closes", []*wal.Entry{big(1, 200<<10), big(2, 56<<10), big(3, 1)}, limits{100, 4 << 20}, 2, false, true},
		{"one large event goes alone", []*wal.Entry{big(1, 300<<10), big(2, 1)}, limits{100, 4 << 20}, 1, false, true},
		{"the server's limit closes", []*wal.Entry{telemetry(1, 1), telemetry(2, 1)}, limits{100, 200}, 1, false, true},
		{"an attribute is urgent", []*wal.Entry{attribute(1, 1)}, limits{100, 4 << 20}, 1, true, false},
		{"attributes of two entities go together", []*wal.Entry{attribute(1, 1), attribute(2, 2)}, limits{100, 4 << 20}, 2, true, false},
		{
			"attributes of one entity do not",
			[]*wal.Entry{attribute(1, 1), telemetry(2, 1), attribute(3, 1)},
			limits{100, 4 << 20},
			2, true, true,
		},
		{"data of a device waits until it is proved", []*wal.Entry{device(1), telemetry(2, 1)}, limits{100, 4 << 20}, 1, true, true},
		{
			"devices that are created one behind the other, each with what belongs to it, go together",
			[]*wal.Entry{made(1, 1), credentials(2, 1), relation(3, 1), made(4, 2), credentials(5, 2), relation(6, 2)},
			limits{100, 4 << 20},
			6, true, false,
		},
		{
			"what would be worked off before its device's last event does not",
			[]*wal.Entry{made(1, 1), relation(2, 1), made(3, 2), credentials(4, 1)},
			limits{100, 4 << 20},
			3, true, true,
		},
		{
			"a device beside data of another one does not",
			[]*wal.Entry{made(1, 1), telemetry(2, 9), made(3, 2)},
			limits{100, 4 << 20},
			1, true, true,
		},
		{"data before a device does not", []*wal.Entry{telemetry(1, 1), device(2)}, limits{100, 4 << 20}, 1, false, true},
		{"an alarm waits until the data is through", []*wal.Entry{telemetry(1, 1), alarm(2)}, limits{100, 4 << 20}, 1, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b batch
			b.reset(wal.Position{})
			taken := 0
			for _, e := range c.events {
				if !b.take(e, c.limits, time.Now()) {
					break
				}
				taken++
			}
			if taken != c.taken || b.events != c.taken || b.urgent != c.urgent || b.closed != c.closed {
				t.Errorf("took %d (counted %d), urgent %v, closed %v; want %d, %v, %v",
					taken, b.events, b.urgent, b.closed, c.taken, c.urgent, c.closed)
			}
			if b.end.Offset != uint64(taken) {
				t.Errorf("end = %d, want %d", b.end.Offset, taken)
			}
		})
	}
}

func TestWindowAdmits(t *testing.T) {
	mk := func(size int, barrier bool, attrs ...byte) *batch {
		b := &batch{buf: make([]byte, size), events: 1, barrier: barrier}
		for _, a := range attrs {
			b.attrs = append(b.attrs, proto.UUID{a})
		}
		return b
	}
	for _, c := range []struct {
		name   string
		flight []*batch
		next   *batch
		limit  int
		want   bool
	}{
		{"an empty window takes anything", nil, mk(2<<20, true, 1), 1, true},
		{"room for a second", []*batch{mk(9, false)}, mk(9, false), 16, true},
		{"two are the first size", []*batch{mk(9, false), mk(9, false)}, mk(9, false), 16, false},
		{"one at a time after a refusal", []*batch{mk(9, false)}, mk(9, false), 1, false},
		{"bytes", []*batch{mk(900<<10, false)}, mk(200<<10, false), 16, false},
		{"a barrier waits", []*batch{mk(9, false)}, mk(9, true), 16, false},
		{"nothing passes a barrier", []*batch{mk(9, true)}, mk(9, false), 16, false},
		{"one entity's attributes", []*batch{mk(9, false, 7)}, mk(9, false, 7), 16, false},
		{"another entity's attributes", []*batch{mk(9, false, 7)}, mk(9, false, 8), 16, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWindow()
			for _, b := range c.flight {
				w.push(b)
			}
			if got := w.admits(c.next, c.limit); got != c.want {
				t.Errorf("admits = %v, want %v", got, c.want)
			}
		})
	}
}

// Acknowledgements overtake each other, and only batches without a gap before them are committed.
func TestWindowPopsPrefix(t *testing.T) {
	w := newWindow()
	for id := int32(1); id <= 3; id++ {
		w.push(&batch{id: id, buf: make([]byte, 10), attrs: []proto.UUID{{byte(id)}}})
	}
	w.find(2).state = acked
	if b := w.pop(); b != nil {
		t.Fatalf("popped %d before the first was acknowledged", b.id)
	}
	if w.find(2) != nil {
		t.Fatal("a batch is found twice")
	}
	w.find(1).state = acked
	for _, want := range []int32{1, 2} {
		if b := w.pop(); b == nil || b.id != want {
			t.Fatalf("popped %v, want batch %d", b, want)
		}
	}
	if b := w.pop(); b != nil || w.bytes != 10 || len(w.attrs) != 1 || w.unanswered() != 1 {
		t.Fatalf("left: %v, %d bytes, %d entities, %d unanswered", b, w.bytes, len(w.attrs), w.unanswered())
	}
}

func TestWindowAdapts(t *testing.T) {
	w := newWindow()
	full := func() *batch { return &batch{slot: w.size} }
	for i := range 20 {
		w.adapt(full(), 10*time.Millisecond, true)
		if want := min(windowStart+i+1, windowMax); w.size != want {
			t.Fatalf("after %d quick acknowledgements: size %d, want %d", i+1, w.size, want)
		}
	}
	w.adapt(full(), 260*time.Millisecond, true)
	w.adapt(full(), 300*time.Millisecond, true)
	if w.size != windowMax {
		t.Errorf("neither quick nor slow: size %d, want %d", w.size, windowMax)
	}
	for range 20 {
		w.adapt(full(), 510*time.Millisecond, true)
	}
	if w.size != 1 {
		t.Errorf("after slow acknowledgements: size %d, want 1", w.size)
	}
	w.adapt(full(), 20*time.Millisecond, false)
	if w.size != 1 {
		t.Errorf("a window that was not full grew to %d", w.size)
	}
	w.adapt(full(), 20*time.Millisecond, true)
	w.adapt(&batch{slot: 1}, 20*time.Millisecond, true)
	if w.size != 2 {
		t.Errorf("size %d, want 2: the second batch left while the size was 1, and says nothing about 2", w.size)
	}
}

// A server that takes a second for a batch must not collect batches, because answers of devices and
// acknowledgements of downlinks wait behind them (CONTRACT.md 12).
func TestWindowOfASlowServer(t *testing.T) {
	for _, test := range []struct {
		name         string
		work, travel time.Duration // of a batch; there and back
		least, most  int           // batches in flight, after the first hundred
	}{
		{"slow server", time.Second, 0, 1, 2},
		{"slow server far away", time.Second, 700 * time.Millisecond, 1, 2},
		{"fast server far away", 40 * time.Millisecond, 1500 * time.Millisecond, windowMax, windowMax},
		{"fast server at hand", 5 * time.Millisecond, time.Millisecond, windowMax, windowMax},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWindow()
			var now, free time.Time
			var done []time.Time // when each batch in flight is acknowledged
			least, most := windowMax, 0
			for i := range 300 {
				for len(w.batches) < w.size {
					b := w.get()
					b.reset(wal.Position{})
					b.sentAt, b.state = now, inFlight
					w.push(b)
					if at := now.Add(test.travel / 2); free.Before(at) {
						free = at
					}
					free = free.Add(test.work)
					done = append(done, free.Add(test.travel/2))
				}
				if i >= 100 {
					least, most = min(least, len(w.batches)), max(most, len(w.batches))
				}
				now, done = done[0], done[1:]
				b := w.batches[0]
				w.adapt(b, now.Sub(b.sentAt), len(w.batches) >= w.size)
				b.state = acked
				w.put(w.pop())
			}
			if least != test.least || most != test.most {
				t.Errorf("%d to %d in flight, want %d to %d", least, most, test.least, test.most)
			}
		})
	}
}

func TestDoubling(t *testing.T) {
	d := doubling{min: 3 * time.Second, max: 60 * time.Second}
	for _, want := range []time.Duration{3, 6, 12, 24, 48, 60, 60} {
		if got := d.Next(); got != want*time.Second {
			t.Fatalf("got %v, want %v", got, want*time.Second)
		}
	}
	d.Reset()
	if got := d.Next(); got != 3*time.Second {
		t.Fatalf("after Reset: %v", got)
	}
}

func TestFullJitterStaysInBounds(t *testing.T) {
	low, high := time.Hour, time.Duration(0)
	for range 2000 {
		j := fullJitter(time.Second)
		if j <= 0 || j > time.Second {
			t.Fatalf("jitter %v", j)
		}
		low, high = min(low, j), max(high, j)
	}
	if low > 100*time.Millisecond || high < 900*time.Millisecond {
		t.Errorf("2000 draws lie between %v and %v", low, high)
	}
}

// The verdict on a refusal depends on its text (CONTRACT.md 4.5).
func TestJudge(t *testing.T) {
	for text, want := range map[string]verdict{
		"Failed to process uplink message. Rate limit reached":                             refusedLimit,
		"TENANT rate limits reached!\n\tat org":                                            refusedLimit,
		"EDGE rate limits reached!":                                                        refusedLimit,
		"Can't assign device to non-existent edge!":                                        refusedEdgeGone,
		"No enum constant org.thingsboard.server.common.data.EntityType.X":                 refusedHopeless,
		"No enum constant org.thingsboard.server.common.data.rpc.RpcError.X":               refusedHopeless,
		"Unexpected character ('n' (code 110)): was expecting":                             refusedHopeless,
		"Unexpected end-of-input: expected close marker":                                   refusedHopeless,
		"No content to map due to end-of-input":                                            refusedHopeless,
		"[{id}] alarmUpdateMsg {msgType: 2\n} cannot be converted to alarm":                refusedHopeless,
		"Cannot deserialize value of type `x`":                                             refusedHopeless,
		"Unexpected IOException (of type java.io.IOException): Missing entityType or id!":  refusedHopeless,
		"End of input at line 1 column 8 path $.broken":                                    refusedHopeless,
		"Device should be assigned to tenant!":                                             refusedHopeless,
		"Device is referencing non existing device profile!":                               refusedHopeless,
		"Device is referencing to non-existent tenant!":                                    refusedHopeless,
		"Can't assign device to non-existent customer!":                                    refusedHopeless,
		"Validation error: name length must be equal or less than 255":                     refusedHopeless,
		"Validation error: typeGroup must not be null":                                     refusedHopeless,
		"Device credentials are already assigned to another device!":                       refusedHopeless,
		"Incorrect deviceId null":                                                          refusedHopeless,
		"Dashboard title should be specified!":                                             refusedHopeless,
		"Can't delete device that has entity views or is referenced in calculated fields!": refusedHopeless,
		"Can't unassign root rule chain from edge [x]":                                     refusedHopeless,
		"Unsupported msg type UNRECOGNIZED":                                                refusedHopeless,
		"ERROR: duplicate key value violates unique constraint \"alarm_pkey\"":             refusedHopeless,
		"Hikari: connection is not available, request timed out":                           refusedEvent,
		"": refusedEvent,
	} {
		if got := judge(text); got != want {
			t.Errorf("judge(%q) = %d, want %d", text, got, want)
		}
	}
}
