package proto

import (
	"bytes"
	"testing"

	pb "google.golang.org/protobuf/proto"
)

func TestUndated(t *testing.T) {
	for _, up := range []int64{0, 1, 1234567, 1<<36 - 1} {
		if got, ok := Uptime(Undated(up)); got != up || !ok {
			t.Errorf("uptime %d becomes %d, %v", up, got, ok)
		}
	}
	if got, _ := Uptime(Undated(1 << 40)); got != 1<<36-1 {
		t.Errorf("an uptime beyond the span becomes %d", got)
	}
	for _, ms := range []int64{-62135596800000, 0, 1767225600000, 1<<42 - 1<<36 - 1, 1 << 42, 253402300799999} {
		if _, ok := Uptime(ms); ok {
			t.Errorf("%d counts as undated", ms)
		}
	}
}

// TestSetTime: afterwards the bytes are those of a fragment with the true time, so that no decoder
// sees a difference.
func TestSetTime(t *testing.T) {
	id, mark, now := UUID{1, 2}, Undated(5000), int64(1767225600123)
	kv := []KV{{Key: []byte("t"), Type: KeyValueType_LONG_V, Long: mark}, {Key: []byte("s"), Type: KeyValueType_STRING_V, Str: []byte("x")}}
	for name, make := range map[string]func(ts int64) []byte{
		"telemetry":  func(ts int64) []byte { return AppendTelemetry(nil, id, DeviceEntity, ts, kv) },
		"attributes": func(ts int64) []byte { return AppendAttributesUpdated(nil, id, DeviceEntity, "SERVER_SCOPE", ts, kv) },
	} {
		f := make(mark)
		if n := SetTime(f, mark, mark); n != 1 || !bytes.Equal(f, make(mark)) {
			t.Errorf("%s: counting finds %d, or changes something", name, n)
		}
		if n := SetTime(f, mark, now); n != 1 || !bytes.Equal(f, make(now)) {
			t.Errorf("%s: %d times set, %x, want %x", name, n, f, make(now))
		}
		if n := SetTime(f, mark, now+1); n != 0 || !bytes.Equal(f, make(now)) {
			t.Errorf("%s: a time that is no mark was changed", name)
		}
		f = make(mark)
		if SetTime(f, mark, 5); !bytes.Equal(f, make(1<<35)) {
			t.Errorf("%s: a time of 1970 does not become the nearest that fits", name)
		}
	}
	f := AppendPostAttributes(nil, id, DeviceEntity, ClientScope, kv) // the value of an attribute is no time
	if n := SetTime(f, mark, now); n != 0 {
		t.Errorf("%d times found in attributes without one", n)
	}
}

func FuzzSetTime(f *testing.F) {
	id := UUID{1}
	mark := Undated(77)
	f.Add(AppendTelemetry(nil, id, DeviceEntity, mark, []KV{{Key: []byte("k"), Type: KeyValueType_BOOLEAN_V, Bool: true}}))
	f.Add(AppendAttributesUpdated(nil, id, DeviceEntity, ClientScope, mark, nil))
	f.Add([]byte{0x12, 0x02, 0x48, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		was, before := len(b), pb.Unmarshal(b, new(UplinkMsg)) == nil
		n := SetTime(b, mark, 1767225600000)
		if len(b) != was || SetTime(b, mark, mark) != 0 {
			t.Fatalf("%d set, and some are left", n)
		}
		if before && pb.Unmarshal(b, new(UplinkMsg)) != nil {
			t.Fatal("a message that parsed does not any more")
		}
	})
}
