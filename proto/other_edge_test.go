package proto

import (
	"strings"
	"testing"

	pb "google.golang.org/protobuf/proto"
)

// Telemetry, attributes and deletions come out with the other id and all else as it was.
func TestAppendForEntity(t *testing.T) {
	from, to := UUID{1, 15: 2}, UUID{0xff, 15: 0xfe}
	kv := []KV{{Key: []byte("k"), Type: KeyValueType_LONG_V, Long: -7}}
	for name, fragment := range map[string][]byte{
		"telemetry":  AppendTelemetry(nil, from, "DEVICE", 5, kv),
		"posted":     AppendPostAttributes(nil, from, "DEVICE", "CLIENT_SCOPE", kv),
		"attributes": AppendAttributesUpdated(nil, from, "ASSET", "SERVER_SCOPE", 9, kv),
		"deleted":    AppendAttributeDelete(nil, from, "DEVICE", "SERVER_SCOPE", []string{"k"}),
		"zero id":    AppendTelemetry(nil, UUID{}, "DEVICE", 5, kv),
	} {
		out, ok := AppendForEntity([]byte("x"), fragment, to)
		var was, is UplinkMsg
		if !ok || out[0] != 'x' || pb.Unmarshal(fragment, &was) != nil || pb.Unmarshal(out[1:], &is) != nil {
			t.Fatalf("%s: %v", name, ok)
		}
		was.EntityData[0].EntityIdMSB, was.EntityData[0].EntityIdLSB = Halves(to)
		if !pb.Equal(&was, &is) {
			t.Errorf("%s: %v, want %v", name, &is, &was)
		}
	}
	for _, bad := range [][]byte{nil, {0x12}, {0x12, 5, 1}, {0x1a, 0}, append(AppendTelemetry(nil, from, "DEVICE", 5, kv), 0)} {
		if out, ok := AppendForEntity([]byte("x"), bad, to); ok || string(out) != "x" {
			t.Errorf("%x: %x, %v", bad, out, ok)
		}
	}
	if got := EntityTypeOf(AppendTelemetry(nil, from, "ASSET", 5, kv)); got != "ASSET" {
		t.Errorf("type %q", got)
	}
}

func TestMapIDs(t *testing.T) {
	a, b, c := UUID{1}, UUID{2}, UUID{3}
	left := `","y":"` + FormatUUID(c) + `-","z":` + FormatUUID(a) + `}`
	text := []byte(`{"id":"` + FormatUUID(a) + `","x":"` + strings.ToUpper(FormatUUID(b)) + left)
	size := len(text)
	n := MapIDs(text, func(id UUID) (UUID, bool) { return UUID{id[0] + 0x10}, true })
	want := `{"id":"` + FormatUUID(UUID{0x11}) + `","x":"` + FormatUUID(UUID{0x12}) + left
	if n != 2 || string(text) != want || len(text) != size {
		t.Errorf("%d\n%s\n%s", n, text, want)
	}
	from, to := &EdgeConfiguration{}, &EdgeConfiguration{}
	from.TenantIdMSB, from.TenantIdLSB = Halves(a)
	from.CustomerIdMSB, from.CustomerIdLSB = Halves(NullUUID)
	to.TenantIdMSB, to.TenantIdLSB = Halves(b)
	to.CustomerIdMSB, to.CustomerIdLSB = Halves(c)
	text = []byte(`{"tenantId":"` + FormatUUID(a) + `","customerId":"` + FormatUUID(NullUUID) + `"}`)
	if !MoveTenant(text, from, to) || string(text) != `{"tenantId":"`+FormatUUID(b)+`","customerId":"`+FormatUUID(NullUUID)+`"}` {
		t.Errorf("%s", text)
	}
	if MoveTenant(text, from, to) {
		t.Error("moved twice")
	}
}

func TestOriginatorOf(t *testing.T) {
	id := UUID{7}
	for text, want := range map[string]bool{
		`{"id":{"id":"` + FormatUUID(UUID{1}) + `"},"originator":{"entityType":"DEVICE","id":"` + FormatUUID(id) + `"}}`: true,
		`{"id":{"id":"` + FormatUUID(id) + `"}}`: false,
		`{"originator":{"id":"` + FormatUUID(id): false,
		`{"originator":{"id":7}}`:                false,
	} {
		got, ok := OriginatorOf(AppendUpdate(nil, KindAlarm, 0, id, text))
		if ok != want || ok && got != id {
			t.Errorf("%s: %v, %v", text, got, ok)
		}
	}
}

// FuzzForOtherEdge: whatever lies in the queue, nothing panics, a text keeps its length, and what
// is taken for telemetry is one afterwards.
func FuzzForOtherEdge(f *testing.F) {
	id := UUID{1, 15: 2}
	f.Add(AppendTelemetry(nil, id, "DEVICE", 5, []KV{{Key: []byte("k"), Type: KeyValueType_LONG_V, Long: 1}}))
	f.Add(AppendUpdate(nil, KindAlarm, 0, id, `{"originator":{"id":"`+FormatUUID(id)+`"}}`))
	f.Add([]byte{0x12, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		out, ok := AppendForEntity(nil, b, UUID{9})
		if again, ok2 := AppendForEntity(nil, out, UUID{9}); ok && (!ok2 || string(again) != string(out)) {
			t.Errorf("%x, then %x", out, again)
		}
		EntityTypeOf(b)
		OriginatorOf(b)
		size := len(b)
		c := append([]byte(nil), b...)
		if MapIDs(c, func(u UUID) (UUID, bool) { return UUID{u[0] + 1}, true }); len(c) != size {
			t.Error("another length")
		}
	})
}
