package registry_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
	"edgesync/wal/store"
)

// A power cut at any byte of the writes that split records, move values and remove records leaves
// all attributes of one moment.
func TestPowerCutWhileAttributesAreSplit(t *testing.T) {
	base := t.TempDir()
	r, _ := metered(t, base)
	path := filepath.Join(base, "registry", "store")
	apply(t, r, devices(device(1, "d")))
	type version struct {
		end  int64
		want map[string]string
	}
	var versions []version
	note := func() {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, version{st.Size(), all(r)})
	}
	note()
	for i := range 12 {
		var kvs []*proto.KeyValueProto
		for k := range 4 {
			kvs = append(kvs, text(fmt.Sprintf("n-%02d", (i*5+k*11)%40), strings.Repeat(string(rune('a'+i)), 100+i)))
		}
		posted(t, r, kvs...)
		flush(t, r)
		note()
	}
	if n := len(r.Keys("attrs")); n < 3 {
		t.Fatalf("%d records: nothing was split", n)
	}
	for i := range 4 { // whole records go
		var names []string
		for k := range 8 {
			names = append(names, fmt.Sprintf("n-%02d", i*8+k))
		}
		if err := r.DeleteAttributes(id(1), registry.ClientScope, names, 0); err != nil {
			t.Fatal(err)
		}
		note()
	}
	r.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range versions[1:] {
		begin, end := versions[i].end, v.end
		for cut := begin; cut <= end; cut += max(1, (end-begin)/9) {
			if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
				t.Fatal(err)
			}
			want := versions[i].want
			if cut == end {
				want = v.want
			}
			r, _ := metered(t, base)
			if got := all(r); !maps.Equal(got, want) {
				t.Fatalf("cut at %d between %d and %d: %d attributes, want %d", cut, begin, end, len(got), len(want))
			}
			r.Close()
		}
	}
}

// A store that holds all attributes of an entity in one record is read as it is, and the first
// change splits that record.
func TestOneRecordOfBefore(t *testing.T) {
	base := t.TempDir()
	r, _ := metered(t, base)
	apply(t, r, devices(device(1, "d")))
	r.Close()
	want := make(map[string]string)
	for i := range 300 {
		want[fmt.Sprintf("name-%03d", i)] = strings.Repeat("v", 100)
	}
	s, err := store.Open(store.Options{Path: filepath.Join(base, "registry", "store")})
	if err != nil {
		t.Fatal(err)
	}
	var b store.Batch
	b.Put(registry.OldAttributes(id(1), registry.ClientScope, 1, want))
	if err := s.Apply(&b); err != nil {
		t.Fatal(err)
	}
	s.Close()
	r, written := metered(t, base)
	check := func(what string, records int) {
		t.Helper()
		if got := all(r); !maps.Equal(got, want) {
			t.Errorf("%s: %d attributes, want %d", what, len(got), len(want))
		}
		if got := len(r.Keys("attrs")); got < records || records == 1 && got != 1 {
			t.Errorf("%s: %d records, want %d", what, got, records)
		}
	}
	check("as it was", 1)
	set := func(value string) int64 {
		t.Helper()
		before := written()
		want["name-150"] = value
		posted(t, r, text("name-150", value))
		flush(t, r)
		return written() - before
	}
	if n := set("first"); n < 30_000 {
		t.Errorf("the first change wrote %d bytes; it splits the record", n)
	}
	check("split", 30)
	if n := set("second"); n > 1100 {
		t.Errorf("the second change wrote %d bytes", n)
	}
	r.Close()
	r, written = metered(t, base)
	check("after a restart", 30)
	if n := set("third"); n > 1100 {
		t.Errorf("after a restart a change wrote %d bytes", n)
	}
	check("changed again", 30)
}

// An unreadable record costs the values in it, and a new value is kept all the same.
func TestUnreadableAttributes(t *testing.T) {
	base := t.TempDir()
	r, _ := metered(t, base)
	apply(t, r, devices(device(1, "d")))
	posted(t, r, many(200, 100)...)
	posted(t, r, text("name-100", "unlike all others"))
	flush(t, r)
	f, err := os.OpenFile(filepath.Join(base, "registry", "store"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	whole := make([]byte, 1<<20)
	n, _ := f.ReadAt(whole, 0)
	at := bytes.LastIndex(whole[:n], []byte("unlike all others"))
	if _, err := f.WriteAt([]byte("X"), int64(at)); err != nil {
		t.Fatal(err)
	}
	got := all(r)
	if _, there := got["name-100"]; there || len(got) < 190 || got["name-000"] == "" || got["name-199"] == "" {
		t.Errorf("%d attributes are left, name-100 %v", len(got), there)
	}
	posted(t, r, text("name-100", "again"))
	flush(t, r)
	if now := all(r); len(now) != len(got)+1 || now["name-100"] != "again" {
		t.Errorf("%d attributes, before %d", len(now), len(got))
	}
}

// The medium loses the write that split a record, and keeps a later one of a record that came of
// it. Values that had moved count once, as they were written last.
func TestLostSplit(t *testing.T) {
	base := t.TempDir()
	path := filepath.Join(base, "registry", "store")
	r, _ := metered(t, base)
	apply(t, r, devices(device(1, "d")))
	posted(t, r, many(8, 100)...)
	flush(t, r)
	before, _ := os.Stat(path)
	if n := len(r.Keys("attrs")); n != 1 {
		t.Fatalf("%d records", n)
	}
	posted(t, r, many(12, 100)...) // now there are two records
	flush(t, r)
	if n := len(r.Keys("attrs")); n < 2 {
		t.Fatalf("%d records", n)
	}
	posted(t, r, text("name-007", "new"))
	flush(t, r)
	r.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole[before.Size()+100] ^= 1
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	r, _ = metered(t, base)
	got := all(r) // panics if a name comes twice
	if got["name-007"] != "new" || got["name-000"] != strings.Repeat("v", 100) {
		t.Errorf("%d attributes, name-007 %q", len(got), got["name-007"])
	}
	posted(t, r, text("name-000", "new"))
	flush(t, r)
	if got := all(r); got["name-007"] != "new" || got["name-000"] != "new" {
		t.Errorf("%q", got)
	}
}

// Who reads while records are split and removed finds every value that was there all the time.
func TestReadersWhileAttributesAreSplit(t *testing.T) {
	r, _ := metered(t, t.TempDir())
	apply(t, r, devices(device(1, "d")))
	var steady []*proto.KeyValueProto
	for i := range 20 {
		steady = append(steady, text(fmt.Sprintf("k-%02d", i), "there"))
	}
	posted(t, r, steady...)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				n := 0
				r.Attributes(id(1), registry.ClientScope, nil, func(kv *proto.KV) {
					if string(kv.Str) == "there" {
						n++
					}
				})
				if n != len(steady) {
					t.Errorf("%d of %d attributes", n, len(steady))
					return
				}
			}
		})
	}
	for i := range 150 {
		var kvs []*proto.KeyValueProto
		var names []string
		for k := range 20 {
			names = append(names, fmt.Sprintf("k-%02d-more", k))
			kvs = append(kvs, text(names[k], strings.Repeat("m", 200+i)))
		}
		posted(t, r, kvs...)
		flush(t, r)
		if err := r.DeleteAttributes(id(1), registry.ClientScope, names, 0); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	wg.Wait()
}

// In a registry without room a value is replaced by one of its length, also where its record of
// before would have to be split.
func TestReplacementInAFullRegistry(t *testing.T) {
	base := t.TempDir()
	s, err := store.Open(store.Options{Path: filepath.Join(base, "registry", "store")})
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[string]string)
	for i := range 1000 {
		want[fmt.Sprintf("name-%03d", i)] = strings.Repeat("v", 200)
	}
	var b store.Batch
	b.Put(registry.OldAttributes(id(1), registry.ClientScope, time.Now().UnixMilli(), want))
	if err := s.Apply(&b); err != nil {
		t.Fatal(err)
	}
	s.Close()
	r, err := registry.Open(registry.Options{Dir: filepath.Join(base, "registry"), MaxBytes: 300 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	apply(t, r, devices(device(1, "d")))
	want["name-500"] = strings.Repeat("w", 200)
	posted(t, r, text("name-500", want["name-500"]))
	if got := all(r); !maps.Equal(got, want) {
		t.Errorf("the value is %.20q of %d", got["name-500"], len(got))
	}
	if err := r.Posted(id(1), "CLIENT_SCOPE", &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{text("new", "1")}}); err == nil {
		t.Error("a new value found room")
	}
}

// A reader holds one record at a time, however much an entity has: many may read at once.
func TestReadersHoldOneRecord(t *testing.T) {
	const values, size = 12, 40_000
	r, _ := metered(t, t.TempDir())
	apply(t, r, devices(device(1, "d")))
	var names []string
	for i := range values {
		names = append(names, fmt.Sprintf("n-%02d", i))
		posted(t, r, text(names[i], strings.Repeat("x", size)))
	}
	flush(t, r)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, keys := range [][]string{nil, names} {
		before := heap()
		n := 0
		r.Attributes(id(1), registry.ClientScope, keys, func(kv *proto.KV) {
			n++
			if held := heap() - before; held > values*size/2 {
				t.Errorf("value %d: %d bytes are held", n, held)
			}
			if len(kv.Str) != size {
				t.Errorf("value %d has %d bytes", n, len(kv.Str))
			}
		})
		if n != values {
			t.Errorf("%d values", n)
		}
	}
}

// A record that is split between two values of a reader makes none of them come twice or not at
// all.
func TestSplitBetweenTwoValues(t *testing.T) {
	for _, byName := range []bool{false, true} {
		r, _ := metered(t, t.TempDir())
		apply(t, r, devices(device(1, "d")))
		var names, got []string
		for i := range 60 {
			names = append(names, fmt.Sprintf("n-%02d", i))
			posted(t, r, text(names[i], strings.Repeat("x", 40)))
		}
		keys := names
		if !byName {
			keys = nil
		}
		before := len(r.Keys("attrs"))
		r.Attributes(id(1), registry.ClientScope, keys, func(kv *proto.KV) {
			got = append(got, string(kv.Key))
			i := len(got) * 7 % len(names)
			posted(t, r, text(names[i], strings.Repeat("y", 300+len(got))))
		})
		if !slices.Equal(got, names) {
			t.Errorf("by name %v: %q", byName, got)
		}
		flush(t, r)
		if after := len(r.Keys("attrs")); after <= before {
			t.Errorf("%d records, before %d: nothing was split", after, before)
		}
	}
}
