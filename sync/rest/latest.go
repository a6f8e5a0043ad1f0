package rest

import (
	"bytes"
	"slices"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"

	"edgesync/proto"
	"edgesync/sync/clock"
)

// Bounds of the latest values.
const (
	latestBytes = 512 << 10 // of all, about
	latestKeys  = 256       // of one entity
	latestValue = 4 << 10   // bytes of one value
	latestCost  = 96        // bytes that a value takes beside its own
)

// Latest holds the latest value of each time series that was accepted here, in memory. What is
// older than the process is known from the cloud only. Over the bound the entity gives way that
// sent nothing for the longest time. Safe for concurrent use.
type Latest struct {
	clock *clock.Clock

	mu       sync.Mutex
	entities map[proto.UUID]*series
	bytes    int
	turn     uint64
}

// series are the values of one entity.
type series struct {
	turn uint64 // of the last value; a higher one is later
	list []value
}

type value struct {
	key, kv []byte // kv is a KeyValueProto
	ts      int64
}

// NewLatest returns an empty Latest. A value that comes before the clock is set gets the time of c
// when it comes, which may be an estimate.
func NewLatest(c *clock.Clock) *Latest {
	return &Latest{clock: c, entities: make(map[proto.UUID]*series)}
}

// Observe takes the telemetry among events that were accepted. It keeps none of their bytes.
func (l *Latest) Observe(events []proto.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range events {
		if e := &events[i]; e.Kind == proto.KindEntityData && e.Action == proto.ActionTimeseriesUpdated {
			l.observe(e.Entity, e.Fragment)
		}
	}
}

// Replace is Observe of one entity's events. undo brings back what was here before, unless others
// have come since; more is Observe of more of them that undo takes back too.
func (l *Latest) Replace(id proto.UUID, events []proto.Event) (undo func(), more func([]proto.Event)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var was []value
	before := uint64(0)
	s := l.entities[id]
	there := s != nil
	if there {
		before = s.turn
		for _, v := range s.list {
			was = append(was, value{bytes.Clone(v.key), bytes.Clone(v.kv), v.ts})
		}
	}
	turn := uint64(0)
	observe := func(events []proto.Event) {
		for i := range events {
			l.observe(id, events[i].Fragment)
		}
		if s = l.entities[id]; s != nil { // else there is no room
			turn = s.turn
		}
	}
	observe(events)
	undo = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if s == nil || l.entities[id] != s || s.turn != turn {
			return
		}
		l.drop(id)
		if !there {
			return
		}
		s.list, s.turn = was, before
		l.entities[id] = s
		l.bytes += latestCost
		for i := range was {
			l.bytes += latestCost + len(was[i].key) + len(was[i].kv)
		}
	}
	return undo, func(events []proto.Event) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if ours := s != nil && l.entities[id] == s && s.turn == turn; ours {
			observe(events)
			return
		}
		for i := range events {
			l.observe(id, events[i].Fragment)
		}
	}
}

// observe walks over a fragment: entityData, its postTelemetryMsg (4), its tsKvList (1), with ts
// (1) and kv (2), without decoding the values.
func (l *Latest) observe(id proto.UUID, fragment []byte) {
	data, ok := part(fragment, protowire.Number(proto.KindEntityData))
	if ok {
		data, ok = part(data, 4)
	}
	if ok {
		data, ok = part(data, 1)
	}
	if !ok {
		return
	}
	s := l.entities[id]
	if s == nil {
		s = new(series)
		l.entities[id] = s
		l.bytes += latestCost
	}
	l.turn++
	s.turn = l.turn
	ts, next, seen := int64(0), 0, 0
	for b := data; len(b) > 0 && seen < latestKeys; {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		switch {
		case num == 1 && typ == protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return
			}
			ts, b = int64(v), b[n:]
			if _, undated := proto.Uptime(ts); undated {
				ts = l.clock.Now()
			}
		case num == 2 && typ == protowire.BytesType:
			kv, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return
			}
			next = l.set(s, ts, kv, next)
			seen++
			b = b[n:]
		default:
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return
			}
			b = b[n:]
		}
	}
	for l.bytes > latestBytes {
		l.evict()
	}
}

// part returns the first field of that number that holds bytes.
func part(b []byte, want protowire.Number) ([]byte, bool) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, false
		}
		b = b[n:]
		if num == want && typ == protowire.BytesType {
			v, n := protowire.ConsumeBytes(b)
			return v, n >= 0
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return nil, false
		}
		b = b[n:]
	}
	return nil, false
}

// set takes one value. A device mostly sends the same keys in the same order, so the value is
// looked for at the index next first. set returns the index behind the one that it used.
func (l *Latest) set(s *series, ts int64, kv []byte, next int) int {
	key, ok := part(kv, 1)
	if !ok || len(kv) > latestValue {
		return next
	}
	at := next
	if at >= len(s.list) || !bytes.Equal(s.list[at].key, key) {
		at = slices.IndexFunc(s.list, func(v value) bool { return bytes.Equal(v.key, key) })
	}
	switch {
	case at >= 0 && s.list[at].ts > ts:
	case at >= 0:
		v := &s.list[at]
		l.bytes += len(kv) - len(v.kv)
		v.kv, v.ts = append(v.kv[:0], kv...), ts
	case len(s.list) < latestKeys:
		at = len(s.list)
		s.list = append(s.list, value{bytes.Clone(key), bytes.Clone(kv), ts})
		l.bytes += latestCost + len(key) + len(kv)
	}
	return at + 1
}

// Value is the latest value of a series that was accepted here.
func (l *Latest) Value(id proto.UUID, key string) (ts int64, kv proto.KV, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.entities[id]; s != nil {
		for i := range s.list {
			if v := &s.list[i]; string(v.key) == key {
				kv, ok = proto.ParseKV(bytes.Clone(v.kv))
				kv.ConvertToStored()
				return v.ts, kv, ok
			}
		}
	}
	return 0, kv, false
}

// evict forgets the entity that sent nothing for the longest time.
func (l *Latest) evict() {
	var id proto.UUID
	var oldest *series
	for k, s := range l.entities {
		if oldest == nil || s.turn < oldest.turn {
			id, oldest = k, s
		}
	}
	l.drop(id)
}

// drop forgets an entity. The caller holds mu.
func (l *Latest) drop(id proto.UUID) {
	s := l.entities[id]
	if s == nil {
		return
	}
	delete(l.entities, id)
	l.bytes -= latestCost
	for i := range s.list {
		l.bytes -= latestCost + len(s.list[i].key) + len(s.list[i].kv)
	}
}

func (l *Latest) forget(id proto.UUID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(id)
}

// remove forgets the values that match.
func (l *Latest) remove(id proto.UUID, match func(key string, ts int64) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.entities[id]
	if s == nil {
		return
	}
	s.list = slices.DeleteFunc(s.list, func(v value) bool {
		gone := match(string(v.key), v.ts)
		if gone {
			l.bytes -= latestCost + len(v.key) + len(v.kv)
		}
		return gone
	})
}

// Each calls fn for the values of an entity; kv is fn's to keep.
func (l *Latest) Each(id proto.UUID, fn func(ts int64, kv proto.KV)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.entities[id]; s != nil {
		for i := range s.list {
			if kv, ok := proto.ParseKV(bytes.Clone(s.list[i].kv)); ok {
				kv.ConvertToStored()
				fn(s.list[i].ts, kv)
			}
		}
	}
}
