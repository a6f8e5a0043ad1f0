package registry_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// metered opens the registry in dir and counts the bytes that it writes from now on.
func metered(t *testing.T, dir string) (r *registry.Registry, written func() int64) {
	t.Helper()
	var bytes int64
	r, err := registry.Open(registry.Options{
		Dir: filepath.Join(dir, "registry"), CorruptDir: filepath.Join(dir, "corrupt"), MaxBytes: 64 << 20,
		Meter: func(_, n int64, _ int) { bytes += n },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, func() int64 { return bytes }
}

func text(key, value string) *proto.KeyValueProto {
	return &proto.KeyValueProto{Key: key, Type: proto.KeyValueType_STRING_V, StringV: value}
}

// posted takes client attributes of device 1 as its door does.
func posted(t *testing.T, r *registry.Registry, kvs ...*proto.KeyValueProto) {
	t.Helper()
	if err := r.Posted(id(1), "CLIENT_SCOPE", &proto.PostAttributeMsg{Kv: kvs}); err != nil {
		t.Fatal(err)
	}
}

func flush(t *testing.T, r *registry.Registry) {
	t.Helper()
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
}

// many are n attributes of a length in bytes, by names that do not come in their order.
func many(n, length int) (kvs []*proto.KeyValueProto) {
	for i := range n {
		kvs = append(kvs, text(fmt.Sprintf("name-%03d", i*7%n), strings.Repeat("v", length)))
	}
	return kvs
}

// A change of one attribute writes a record of some 1 KiB at most, however many attributes the
// device has, and compactions double that at most.
func TestOneAttributeCostsLittle(t *testing.T) {
	for _, c := range []struct {
		name             string
		count, length    int // what the device has
		posts            int
		value            int // bytes of the value that is posted
		each, altogether int64
	}{
		{"200 of 100 bytes", 200, 100, 1000, 50, 1100, 2100 << 10},
		{"1,000 of 400 bytes", 1000, 400, 1000, 50, 1100, 2600 << 10},
		{"one of 50 bytes alone", 1, 50, 1000, 50, 120, 200 << 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, written := metered(t, t.TempDir())
			apply(t, r, devices(device(1, "d")))
			posted(t, r, many(c.count, c.length)...)
			flush(t, r)
			begun := written()
			var most int64
			var plain []int64
			for i := range c.posts {
				before := written()
				posted(t, r, text("name-000", fmt.Sprintf("%0*d", c.value, i)))
				flush(t, r)
				plain = append(plain, written()-before)
			}
			slices.Sort(plain)
			most = plain[len(plain)*9/10]
			t.Logf("a post writes %d bytes, nine of ten at most %d; all %d bytes", plain[len(plain)/2], most, written()-begun)
			if most > c.each || written()-begun > c.altogether {
				t.Errorf("a post writes %d bytes, want %d at most; %d posts %d, want %d at most",
					most, c.each, c.posts, written()-begun, c.altogether)
			}
			if got, want := all(r)["name-000"], fmt.Sprintf("%0*d", c.value, c.posts-1); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// Posts between two flushes are written once.
func TestPostsAreCoalesced(t *testing.T) {
	r, written := metered(t, t.TempDir())
	apply(t, r, devices(device(1, "d")))
	posted(t, r, many(200, 100)...)
	flush(t, r)
	before := written()
	for i := range 1000 {
		posted(t, r, text("name-000", fmt.Sprintf("%050d", i)))
	}
	flush(t, r)
	if got := written() - before; got > 1100 {
		t.Errorf("1,000 posts before a flush wrote %d bytes", got)
	}
}

// A small attribute does not pay for a large one beside it.
func TestLargeAttributesStandAlone(t *testing.T) {
	r, written := metered(t, t.TempDir())
	apply(t, r, devices(device(1, "d")))
	posted(t, r, text("a", "1"), text("b", strings.Repeat("x", 200<<10)), text("c", "1"))
	flush(t, r)
	before := written()
	for i := range 100 {
		posted(t, r, text("a", fmt.Sprint(i)), text("c", fmt.Sprint(i)))
		flush(t, r)
	}
	if got := written() - before; got > 100*150 {
		t.Errorf("100 posts of two small attributes wrote %d bytes", got)
	}
}

// all are the client attributes of device 1.
func all(r *registry.Registry) map[string]string {
	m := make(map[string]string)
	last := ""
	r.Attributes(id(1), registry.ClientScope, nil, func(kv *proto.KV) {
		if string(kv.Key) <= last {
			panic("not by name")
		}
		last = string(kv.Key)
		m[last] = string(kv.Str)
	})
	return m
}

// Whatever is set and deleted, what is read is what a plain map holds, by name and all, before and
// after a restart, and no record is larger than it must be.
func TestAttributesAgainstAMap(t *testing.T) {
	dir := t.TempDir()
	r, _ := metered(t, dir)
	apply(t, r, devices(device(1, "d")))
	want := make(map[string]string)
	rnd := rand.New(rand.NewPCG(3, 5))
	name := func() string {
		return strings.Repeat(string(rune('a'+rnd.IntN(3))), 1+rnd.IntN(3)) + fmt.Sprint(rnd.IntN(60))
	}
	for step := range 1500 {
		switch rnd.IntN(10) {
		case 0, 1, 2:
			var names []string
			for range 1 + rnd.IntN(12) {
				names = append(names, name())
			}
			for _, n := range names {
				delete(want, n)
			}
			if err := r.DeleteAttributes(id(1), registry.ClientScope, names, 0); err != nil {
				t.Fatal(err)
			}
		default:
			var kvs []*proto.KeyValueProto
			for range 1 + rnd.IntN(6) {
				length := rnd.IntN(200)
				if rnd.IntN(30) == 0 {
					length = 3000
				}
				kvs = append(kvs, text(name(), strings.Repeat(string(rune('a'+step%26)), length)))
			}
			for _, kv := range kvs {
				want[kv.Key] = kv.StringV
			}
			posted(t, r, kvs...)
		}
		if step%50 == 0 {
			flush(t, r)
		}
		if step%200 == 0 {
			r.Close()
			r, _ = metered(t, dir)
		}
		if got := all(r); !maps.Equal(got, want) {
			t.Fatalf("step %d: %d attributes, want %d", step, len(got), len(want))
		}
		n := name()
		got, there := "", false
		r.Attributes(id(1), registry.ClientScope, []string{n}, func(kv *proto.KV) { got, there = string(kv.Str), true })
		if v, ok := want[n]; got != v || there != ok {
			t.Fatalf("step %d: %s is %.40q %v, want %.40q %v", step, n, got, there, v, ok)
		}
	}
	flush(t, r)
	for _, key := range r.Keys("attrs") {
		if length, n := r.AttributeRecord(key); length > registry.RecordMost && n > 1 {
			t.Errorf("a record of %d attributes has %d bytes", n, length)
		}
	}
	apply(t, r, devices(gone(1)))
	if got := r.Kinds("edit"); got != "" {
		t.Errorf("of a device that is gone is left %s", got)
	}
}

// While the medium refuses, what devices and people write is staged up to the bound and then not
// kept, whatever the queue still takes.
func TestAttributesAreBoundedWhileTheMediumRefuses(t *testing.T) {
	r, _ := metered(t, t.TempDir())
	for n := range 8 {
		apply(t, r, devices(device(n, fmt.Sprint("d", n))))
	}
	r.RefuseWrites()
	var errs int
	for i := range 100 {
		name, value := fmt.Sprintf("name-%02d", i), strings.Repeat("v", 100<<10)
		scope, kv := []registry.Scope{registry.ServerScope, registry.SharedScope}[i%2], proto.KVOf(text(name, value))
		err := r.SaveAttributes(id(i%8), scope, int64(i), []proto.KV{kv})
		if e := r.Posted(id(i%8), "CLIENT_SCOPE", &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{text(name, value)}}); e != nil {
			err = e
		}
		if err != nil {
			errs++
		}
	}
	if n := r.Staged(); n > 1<<20+400<<10 || errs < 90 {
		t.Errorf("%d bytes are staged, and %d of 100 errors were returned", n, errs)
	}
	// The same of calls, of changes made here and of devices made here.
	was := r.Staged()
	for n := range 100 {
		call := &proto.DeviceRpcCallMsg{RequestUuidLSB: int64(n), RequestMsg: &proto.RpcRequestMsg{Params: strings.Repeat("p", 100<<10)}}
		asset := registry.Edit{Kind: proto.KindAsset, ID: id(1000 + n), Text: `{"name":"` + strings.Repeat("a", 1000) + `"}`}
		_, _, made := r.Prepare(&proto.NewDevice{Name: fmt.Sprint("made ", n)}, time.Now())
		for what, err := range map[string]error{"call": r.KeepCall(call), "edit": r.Edit(1, asset), "device": made} {
			if err == nil {
				t.Errorf("a %s is taken", what)
			}
		}
		if err := r.DeleteAttributes(id(n%8), registry.ServerScope, []string{"name-00"}, 1); err == nil {
			t.Error("a deletion is taken")
		}
	}
	if n := r.Staged(); n != was {
		t.Errorf("%d bytes are staged, %d before", n, was)
	}
}
