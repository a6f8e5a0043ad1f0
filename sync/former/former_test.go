package former

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/wal"
)

var (
	old = Edge{ID: proto.UUID{1}, Tenant: proto.UUID{2}, Customer: proto.NullUUID, Name: "old"}
	now = Edge{ID: proto.UUID{11}, Tenant: proto.UUID{12}, Customer: proto.NullUUID, Name: "new"}
	one = proto.UUID{0x21}
	two = proto.UUID{0x22}
)

func open(t *testing.T, dir string, maxBytes int64) *Store {
	t.Helper()
	s, err := Open(Options{Dir: dir, CorruptDir: filepath.Join(filepath.Dir(dir), "corrupt"), MaxBytes: maxBytes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// begin marks the change with the entities one and two.
func begin(t *testing.T, s *Store) {
	t.Helper()
	check(t, s.Begin(old, 0, 1000, func(fn func(proto.UUID, string, string) bool) {
		_ = fn(one, "DEVICE", "one") && fn(two, "ASSET", "two")
	}))
}

func telemetry(id proto.UUID, typ string, offset uint64) Event {
	kv := []proto.KV{{Key: []byte("t"), Type: proto.KeyValueType_LONG_V, Long: int64(offset)}}
	return Event{Offset: offset, Event: wal.Event{
		Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Time: 1, Entity: id,
		Fragment: proto.AppendTelemetry(nil, id, typ, int64(offset), kv),
	}}
}

func put(t *testing.T, s *Store, events ...Event) {
	t.Helper()
	check(t, s.Put(context.Background(), events))
}

// target takes what returns; names says which names are there.
type target struct {
	Target
	got []wal.Event
	err error
}

func newTarget(names map[string]proto.UUID) *target {
	r := &target{}
	r.Target = Target{
		Edge: now,
		Find: func(typ, name string, _ proto.UUID) (id proto.UUID, ok bool) {
			id, ok = names[typ+" "+name]
			return id, ok
		},
		Append: func(events ...wal.Event) error {
			if r.err == nil {
				r.got = append(r.got, events...)
			}
			return r.err
		},
	}
	return r
}

func (r *target) returnAll(t *testing.T, s *Store) (n int) {
	t.Helper()
	for {
		m, more, err := s.Return(r.Target)
		check(t, err)
		if n += m; !more {
			return n
		}
	}
}

func (r *target) offsets() string {
	var list []string
	for _, e := range r.got {
		var u proto.UplinkMsg
		if err := pb.Unmarshal(e.Fragment, &u); err != nil || len(u.EntityData) != 1 {
			return "no telemetry"
		}
		d := u.EntityData[0]
		if id := proto.UUIDOf(d.EntityIdMSB, d.EntityIdLSB); id != e.Entity {
			return "another id inside"
		}
		list = append(list, fmt.Sprint(e.Entity[0], ":", d.PostTelemetryMsg.TsKvList[0].Ts))
	}
	return strings.Join(list, " ")
}

func has(s *Store, id proto.UUID, offset uint64) bool {
	e := telemetry(id, "DEVICE", offset)
	return s.Has(&e.Event, offset)
}

// A mark is void while the registry still has the edge that it is about, but for an unfinished one
// that it has replaced.
func TestMarkIsVoidUntilTheEdgeChanges(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "former"), 0)
	begin(t, s)
	none := func(func(proto.UUID, string, string) bool) {}
	marked := func(present Edge) string {
		e, _, _, ok := s.Marked(present.ID)
		if !ok {
			return "none"
		}
		return e.Name
	}
	expect(t, "before the change, behind it", []string{marked(old), marked(now)}, []string{"none", "old"})
	check(t, s.Begin(now, 0, 1000, none)) // from the new edge to a third one, or back
	expect(t, "back", []string{marked(now), marked(old), marked(Edge{ID: proto.UUID{9}})}, []string{"old", "new", "new"})
	check(t, s.Finish())
	expect(t, "finished", marked(old), "none")
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestNothingIsWrittenWithoutAChange(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "former")
	s := open(t, dir, 0)
	expect(t, "stats", s.Stats(nil), Stats{})
	check(t, s.Finish())
	check(t, s.Close())
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("made: %v", err)
	}
}

// The mark, the names and the events survive a restart; what returns has the new ids, in order, and
// what has no name here stays, over restarts too.
func TestKeepAndReturn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "former")
	s := open(t, dir, 0)
	begin(t, s)
	put(t, s, telemetry(one, "DEVICE", 5), telemetry(two, "ASSET", 6), telemetry(one, "DEVICE", 7))
	put(t, s, telemetry(old.ID, "EDGE", 8), telemetry(proto.UUID{0x99}, "DEVICE", 9))
	r := newTarget(map[string]proto.UUID{"DEVICE one": {0x31}})
	if _, _, err := s.Return(r.Target); !errors.Is(err, ErrMoving) {
		t.Errorf("while it moves: %v", err)
	}
	check(t, s.End(900))
	check(t, s.End(950))
	check(t, s.Close())

	s = open(t, dir, 0)
	edge, end, letters, ok := s.Marked(now.ID)
	expect(t, "mark", []any{edge, end, letters, ok}, []any{old, 900, false, true})
	expect(t, "has", []any{has(s, one, 9), has(s, one, 10), has(s, proto.UUID{5}, 9)}, []any{true, false, false})
	expect(t, "keeps", []any{s.Keeps(one, 7), s.Keeps(one, 10), s.Keeps(proto.UUID{5}, 7)}, []any{true, false, false})
	check(t, s.LettersMoved())
	check(t, s.Finish())
	expect(t, "kept", s.Stats(nil), Stats{Kept: 5, Edge: Named(old), Entities: 4})
	expect(t, "returned", r.returnAll(t, s), 3)
	expect(t, "as", r.offsets(), "49:5 49:7 11:8")
	check(t, s.Close())

	s = open(t, dir, 0)
	expect(t, "left", s.Stats(nil), Stats{Kept: 2, Returned: 3, Edge: Named(old), Entities: 2})
	expect(t, "again", r.returnAll(t, s), 0)
	expect(t, "list", s.List(9), []Left{
		{Named(old), "DEVICE", "", proto.FormatUUID(proto.UUID{0x99}), 1}, {Named(old), "ASSET", "two", proto.FormatUUID(two), 1},
	})
	r = newTarget(map[string]proto.UUID{"ASSET two": {0x32}})
	expect(t, "the asset", []any{r.returnAll(t, s), r.offsets()}, []any{1, "50:6"})
	n, err := s.Drop()
	check(t, err)
	expect(t, "dropped", n, 1)
	expect(t, "at the end", s.Stats(nil), Stats{Returned: 4, Discarded: 1})
	if files, _ := filepath.Glob(filepath.Join(dir, "events-*")); len(files) != 0 {
		t.Errorf("left on flash: %v", files)
	}
	begin(t, s) // and from the beginning
	put(t, s, telemetry(one, "DEVICE", 15))
	expect(t, "the next change", s.Stats(nil).Kept, 1)
}

// A failure of the queue leaves all as it is; the next walk begins anew and sends nothing twice.
func TestReturnFails(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "former"), 0)
	begin(t, s)
	for n := uint64(1); n <= 600; n++ {
		put(t, s, telemetry(one, "DEVICE", n))
	}
	put(t, s, telemetry(two, "ASSET", 601))
	check(t, s.Finish())
	r := newTarget(map[string]proto.UUID{"DEVICE one": {0x31}})
	taken := r.Append
	r.Append = func(events ...wal.Event) error {
		if len(r.got) > 300 {
			return wal.ErrFull
		}
		return taken(events...)
	}
	n, _, err := s.Return(r.Target)
	if !errors.Is(err, wal.ErrFull) || n != 512 {
		t.Errorf("%d, %v", n, err)
	}
	r.Append = taken
	expect(t, "the others", r.returnAll(t, s), 88)
	expect(t, "all, once", len(r.got), 600)
	expect(t, "left", s.Stats(nil).Kept, 1)
}

// A crash between the events and their number: opening counts them, once.
func TestCrashBeforeTheNumber(t *testing.T) {
	for _, letter := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "former")
		s := open(t, dir, 0)
		begin(t, s)
		put(t, s, telemetry(one, "DEVICE", 5))
		before, err := os.ReadFile(filepath.Join(dir, "store"))
		check(t, err)
		e := telemetry(one, "DEVICE", 6)
		e.Letter = letter
		put(t, s, e, telemetry(two, "ASSET", 7))
		check(t, s.Close())
		check(t, os.WriteFile(filepath.Join(dir, "store"), before, 0o600))
		for range 2 {
			s = open(t, dir, 0)
			expect(t, "kept", s.Stats(nil).Kept, 3)
			expect(t, "has", []any{has(s, two, 7), has(s, two, 8), s.HasLetter(6)}, []any{true, false, letter})
			check(t, s.Close())
		}
	}
}

// Without room nothing is taken, and what is here stays.
func TestFull(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "former"), 64<<10)
	begin(t, s)
	big := telemetry(one, "DEVICE", 1)
	big.Fragment = proto.AppendTelemetry(nil, one, "DEVICE", 1, []proto.KV{{
		Key: []byte("t"), Type: proto.KeyValueType_STRING_V, Str: make([]byte, 20<<10),
	}})
	taken := uint64(0)
	var err error
	for n := uint64(1); err == nil && n < 100; n++ {
		big.Offset = n
		if err = s.Put(context.Background(), []Event{big}); err == nil {
			taken++
		}
	}
	if !errors.Is(err, wal.ErrFull) || taken == 0 {
		t.Fatalf("%d taken, %v", taken, err)
	}
	expect(t, "kept", s.Stats(nil).Kept, taken)
	if has(s, one, taken+1) {
		t.Error("the one that was refused counts as kept")
	}
}

// Names are bounded in bytes; events of entities without room are kept all the same.
func TestNamesAreBounded(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "former"), 0)
	check(t, s.Begin(old, 0, 1000, func(fn func(proto.UUID, string, string) bool) {
		for n := 0; fn(proto.UUID{1: byte(n >> 8), 2: byte(n), 15: 1}, "DEVICE", strings.Repeat("n", 200)); n++ {
			if n > 1<<16 {
				t.Fatal("endless")
			}
		}
	}))
	if s.names > maxNames || s.names < maxNames-entityCost-maxName {
		t.Errorf("%d bytes of names", s.names)
	}
	for n := range 40 {
		put(t, s, telemetry(proto.UUID{0xee, byte(n)}, "DEVICE", uint64(n+1)))
	}
	expect(t, "kept", s.Stats(nil).Kept, 40)
	if s.names > maxNames+entityCost {
		t.Errorf("%d bytes of names", s.names)
	}
	check(t, s.Finish())
	expect(t, "forgotten", s.names < 40*(entityCost+8), true)
}

// What the medium lost is counted as damaged, never as returned.
func TestDamagedEvents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "former")
	s := open(t, dir, 0)
	begin(t, s)
	put(t, s, telemetry(one, "DEVICE", 5), telemetry(two, "ASSET", 6))
	check(t, s.Finish())
	check(t, s.Close())
	check(t, os.RemoveAll(filepath.Join(dir, "events-0")))
	s = open(t, dir, 0)
	expect(t, "stats", s.Stats(nil), Stats{Damaged: 2})
}

// An alarm goes to the device of the same name: originator and tenant are the new ones.
func TestAlarmReturns(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "former"), 0)
	begin(t, s)
	id := proto.UUID{0xaa}
	text := fmt.Sprintf(`{"id":{"entityType":"ALARM","id":%q},"tenantId":{"id":%q},"originator":{"entityType":"DEVICE","id":%q}}`,
		proto.FormatUUID(id), proto.FormatUUID(old.Tenant), proto.FormatUUID(one))
	put(t, s, Event{Offset: 1, Event: wal.Event{
		Kind: uint8(proto.KindAlarm), Action: uint8(proto.ActionAdded), Entity: id,
		Fragment: proto.AppendUpdate(nil, proto.KindAlarm, 0, id, text),
	}})
	check(t, s.Finish())
	r := newTarget(map[string]proto.UUID{"DEVICE one": {0x31}})
	expect(t, "returned", r.returnAll(t, s), 1)
	for _, want := range []proto.UUID{id, now.Tenant, {0x31}} {
		if !strings.Contains(string(r.got[0].Fragment), proto.FormatUUID(want)) {
			t.Errorf("lacks %s", proto.FormatUUID(want))
		}
	}
	expect(t, "entity", r.got[0].Entity, id)
}

// The agent that runs is not disturbed, and sees what it has.
func TestInspect(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "former")
	s := open(t, dir, 0)
	begin(t, s)
	put(t, s, telemetry(one, "DEVICE", 5))
	seen, err := Inspect(dir)
	check(t, err)
	expect(t, "stats", seen.Stats(nil), s.Stats(nil))
	empty, err := Inspect(filepath.Join(t.TempDir(), "none"))
	check(t, err)
	expect(t, "none", empty.Stats(nil), Stats{})
}

// FuzzRecords: no record makes opening fail or takes more than its own bytes.
func FuzzRecords(f *testing.F) {
	c, m := count{1, 2, 3, 4, 5, 6, 7}, mark{math.MaxUint64, true, 1, 2}
	e := entity{1, 2, 3, "DEVICE", "name"}
	f.Add(c.encode())
	f.Add(m.encode())
	f.Add(old.encode())
	f.Add(e.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, v []byte) {
		if c, ok := decodeCount(v); ok && string(c.encode()) != string(v) {
			t.Error("count")
		}
		if m, ok := decodeMark(v); ok && string(m.encode()) != string(v) {
			t.Error("mark")
		}
		if e, ok := decodeEdge(v); ok && string(e.encode()) != string(v) {
			t.Error("edge")
		}
		if e, ok := decodeEntity(v); ok && string(e.encode()) != string(v) {
			t.Error("entity")
		}
	})
}
