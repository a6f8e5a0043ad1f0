package proto

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	pb "google.golang.org/protobuf/proto"
)

var testID = UUID{0x78, 0x4f, 0x39, 0x4c, 0x42, 0xb6, 0x43, 0x5a, 0x98, 0x3c, 0xb7, 0xbe, 0xff, 0x27, 0x84, 0xf9}

// MSB and LSB of testID, from the example of CONTRACT.md 5.3.
const testMSB, testLSB = 8669210807411032922, -7476899250389416711

// sampleKVs returns values of each type, among them the default value and the extremes.
func sampleKVs() ([]KV, []*KeyValueProto) {
	type row struct {
		kv   KV
		want *KeyValueProto
	}
	var rows []row
	add := func(kv KV, want *KeyValueProto) {
		want.Key, want.Type = string(kv.Key), kv.Type
		rows = append(rows, row{kv, want})
	}
	for _, b := range []bool{false, true} {
		add(KV{Key: []byte("b"), Type: KeyValueType_BOOLEAN_V, Bool: b}, &KeyValueProto{BoolV: b})
	}
	for _, l := range []int64{0, 1, -1, 127, 128, math.MaxInt64, math.MinInt64} {
		add(KV{Key: []byte("l"), Type: KeyValueType_LONG_V, Long: l}, &KeyValueProto{LongV: l})
	}
	for _, d := range []float64{0, math.Copysign(0, -1), 21.5, math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(-1), math.NaN()} {
		add(KV{Key: []byte("d"), Type: KeyValueType_DOUBLE_V, Double: d}, &KeyValueProto{DoubleV: d})
	}
	for _, s := range []string{"", "x", "Grüße 温度 🌡 \x00", strings.Repeat("s", 127), strings.Repeat("s", 128), strings.Repeat("s", 20000)} {
		add(KV{Key: []byte("s"), Type: KeyValueType_STRING_V, Str: []byte(s)}, &KeyValueProto{StringV: s})
	}
	for _, s := range []string{"", "{}", `{"unit":"C"}`} {
		add(KV{Key: []byte("j"), Type: KeyValueType_JSON_V, Str: []byte(s)}, &KeyValueProto{JsonV: s})
	}
	add(KV{Key: nil, Type: KeyValueType_LONG_V, Long: 5}, &KeyValueProto{LongV: 5})
	add(KV{Key: []byte(strings.Repeat("k", 255)), Type: KeyValueType_LONG_V, Long: 5}, &KeyValueProto{LongV: 5})
	// Only the field that the type names is written.
	add(KV{Key: []byte("mixed"), Type: KeyValueType_LONG_V, Long: 5, Bool: true, Double: 3, Str: []byte("no")}, &KeyValueProto{LongV: 5})

	kvs, want := []KV{}, []*KeyValueProto{}
	for _, r := range rows {
		kvs, want = append(kvs, r.kv), append(want, r.want)
	}
	return kvs, want
}

// checkFragment checks that the fragment is, byte for byte, what the generated code marshals for an
// UplinkMsg with just that element.
func checkFragment(t *testing.T, fragment []byte, want *EntityDataProto) {
	t.Helper()
	var got UplinkMsg
	if err := pb.Unmarshal(fragment, &got); err != nil {
		t.Fatalf("the fragment does not decode: %v", err)
	}
	uplink := &UplinkMsg{EntityData: []*EntityDataProto{want}}
	if !pb.Equal(&got, uplink) {
		t.Fatalf("decoded\n%v\nwant\n%v", &got, uplink)
	}
	if exact := marshal(t, uplink); !bytes.Equal(fragment, exact) {
		t.Fatalf("bytes\n%x\nwant\n%x", fragment, exact)
	}
}

func marshal(t testing.TB, m pb.Message) []byte {
	t.Helper()
	b, err := pb.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFragmentsAreWhatWasMeant(t *testing.T) {
	kvs, want := sampleKVs()
	subsets := map[string]int{"none": 0, "one": 1, "all": len(kvs)}
	for name, n := range subsets {
		for _, ts := range []int64{0, 1, -1, 1767225600123, math.MaxInt64, math.MinInt64} {
			t.Run(fmt.Sprintf("telemetry %s at %d", name, ts), func(t *testing.T) {
				checkFragment(t, AppendTelemetry(nil, testID, DeviceEntity, ts, kvs[:n]), &EntityDataProto{
					EntityIdMSB: testMSB, EntityIdLSB: testLSB, EntityType: "DEVICE",
					PostTelemetryMsg: &PostTelemetryMsg{TsKvList: []*TsKvListProto{{Ts: ts, Kv: want[:n]}}},
				})
			})
			t.Run(fmt.Sprintf("attributes updated %s at %d", name, ts), func(t *testing.T) {
				checkFragment(t, AppendAttributesUpdated(nil, testID, "ASSET", "SERVER_SCOPE", ts, kvs[:n]), &EntityDataProto{
					EntityIdMSB: testMSB, EntityIdLSB: testLSB, EntityType: "ASSET",
					AttributesUpdatedMsg: &PostAttributeMsg{Kv: want[:n]}, PostAttributeScope: "SERVER_SCOPE", AttributeTs: &ts,
				})
			})
		}
		t.Run("post attributes "+name, func(t *testing.T) {
			checkFragment(t, AppendPostAttributes(nil, testID, DeviceEntity, ClientScope, kvs[:n]), &EntityDataProto{
				EntityIdMSB: testMSB, EntityIdLSB: testLSB, EntityType: "DEVICE",
				PostAttributesMsg: &PostAttributeMsg{Kv: want[:n]}, PostAttributeScope: "CLIENT_SCOPE",
			})
		})
	}
	for _, names := range [][]string{nil, {"a"}, {"a", "", strings.Repeat("n", 200)}} {
		t.Run(fmt.Sprintf("delete %d", len(names)), func(t *testing.T) {
			checkFragment(t, AppendAttributeDelete(nil, UUID{}, "EDGE", "SHARED_SCOPE", names), &EntityDataProto{
				EntityType: "EDGE", AttributeDeleteMsg: &AttributeDeleteMsg{Scope: "SHARED_SCOPE", AttributeNames: names},
			})
		})
	}
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	kvs, _ := sampleKVs()
	got := AppendTelemetry([]byte("before"), testID, DeviceEntity, 5, kvs)
	if want := append([]byte("before"), AppendTelemetry(nil, testID, DeviceEntity, 5, kvs)...); !bytes.Equal(got, want) {
		t.Fatal("the bytes before the fragment changed, or the fragment depends on them")
	}
}

func TestFrameUplink(t *testing.T) {
	kvs, want := sampleKVs()
	one := &EntityDataProto{
		EntityIdMSB: testMSB, EntityIdLSB: testLSB, EntityType: "DEVICE",
		PostTelemetryMsg: &PostTelemetryMsg{TsKvList: []*TsKvListProto{{Ts: 1, Kv: want}}},
	}
	for _, id := range []int32{0, 1, 127, 128, math.MaxInt32, -1, math.MinInt32} {
		for _, n := range []int{0, 1, 2, 100} {
			buf := make([]byte, UplinkHeader)
			uplink := &UplinkMsg{UplinkMsgId: id}
			for range n {
				buf = AppendTelemetry(buf, testID, DeviceEntity, 1, kvs)
				uplink.EntityData = append(uplink.EntityData, one)
			}
			fragments := len(buf) - UplinkHeader
			got := FrameUplink(buf, id)
			exact := marshal(t, &RequestMsg{MsgType: RequestMsgType_UPLINK_RPC_MESSAGE, UplinkMsg: uplink})
			if !bytes.Equal(got, exact) {
				t.Fatalf("id %d, %d fragments: the framed request differs from the marshalled one", id, n)
			}
			if size := RequestSize(fragments, id); size != len(exact) {
				t.Fatalf("id %d, %d fragments: RequestSize is %d, the request has %d bytes", id, n, size, len(exact))
			}
			if n > 0 && &got[len(got)-1] != &buf[len(buf)-1] {
				t.Fatal("the fragments were moved")
			}
			if n == 0 && !bytes.Equal(AppendProbe(nil, id), exact) {
				t.Fatalf("probe %d is %x, want %x", id, AppendProbe(nil, id), exact)
			}
			pad := bytes.Repeat([]byte{0xff}, 3*n)
			var padded RequestMsg
			if err := pb.Unmarshal(AppendPaddedProbe(nil, id, pad), &padded); err != nil || padded.UplinkMsg.GetUplinkMsgId() != id ||
				!bytes.HasSuffix(padded.UplinkMsg.ProtoReflect().GetUnknown(), pad) {
				t.Fatalf("padded probe %d: %v, %v", id, &padded, err)
			}
		}
	}
	// The longest possible header fits exactly.
	if h := appendUplinkHead(nil, -1, math.MaxInt32-20); len(h) != UplinkHeader {
		t.Fatalf("the longest header has %d bytes, UplinkHeader is %d", len(h), UplinkHeader)
	}
}

func TestRequests(t *testing.T) {
	opt := func(v int32) *int32 { return &v }
	yes, no := true, false
	for name, c := range map[string]struct {
		got  []byte
		want *RequestMsg
	}{
		"connect": {
			AppendConnect(nil, "key", "secret", EdgeVersion_V_4_2_0, 4<<20),
			&RequestMsg{ConnectRequestMsg: &ConnectRequestMsg{
				EdgeRoutingKey: "key", EdgeSecret: "secret",
				EdgeVersion: EdgeVersion_V_4_2_0, MaxInboundMessageSize: opt(4 << 20),
			}},
		},
		"connect without a limit": {
			AppendConnect(nil, "key", "", EdgeVersion_V_4_3_1_3, 0),
			&RequestMsg{ConnectRequestMsg: &ConnectRequestMsg{EdgeRoutingKey: "key", EdgeVersion: EdgeVersion_V_4_3_1_3}},
		},
		"sync": {
			AppendSyncRequest(nil, false),
			&RequestMsg{MsgType: RequestMsgType_SYNC_REQUEST_RPC_MESSAGE, SyncRequestMsg: &SyncRequestMsg{FullSync: &no}},
		},
		"full sync": {
			AppendSyncRequest(nil, true),
			&RequestMsg{MsgType: RequestMsgType_SYNC_REQUEST_RPC_MESSAGE, SyncRequestMsg: &SyncRequestMsg{FullSync: &yes}},
		},
		"downlink done": {
			AppendDownlinkResponse(nil, 7, ""),
			&RequestMsg{
				MsgType:             RequestMsgType_UPLINK_RPC_MESSAGE,
				DownlinkResponseMsg: &DownlinkResponseMsg{Success: true, DownlinkMsgId: 7},
			},
		},
		"downlink failed": {
			AppendDownlinkResponse(nil, math.MaxInt32, "no space"),
			&RequestMsg{
				MsgType:             RequestMsgType_UPLINK_RPC_MESSAGE,
				DownlinkResponseMsg: &DownlinkResponseMsg{ErrorMsg: "no space", DownlinkMsgId: math.MaxInt32},
			},
		},
	} {
		if want := marshal(t, c.want); !bytes.Equal(c.got, want) {
			t.Errorf("%s: %x, want %x", name, c.got, want)
		}
	}
}

// TestRecorded decodes what other edges sent to a real server: the appenders write the same
// message.
func TestRecorded(t *testing.T) {
	f, err := os.Open("testdata/recorded-uplinks.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	same, forms := 0, map[string]int{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		name, b64, _ := strings.Cut(sc.Text(), " ")
		raw, err := base64.StdEncoding.DecodeString(b64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var m RequestMsg
		if err := pb.Unmarshal(raw, &m); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, form := reencode(&m)
		if form == "" {
			continue // a message that this encoder does not write
		}
		forms[form]++
		var again RequestMsg
		if err := pb.Unmarshal(got, &again); err != nil {
			t.Fatalf("%s: ours does not decode: %v", name, err)
		}
		if !pb.Equal(&again, &m) {
			t.Errorf("%s: ours is\n%v\nrecorded\n%v", name, &again, &m)
		}
		if bytes.Equal(got, raw) {
			same++
		}
	}
	t.Logf("re-encoded %v, %d of them with the same bytes", forms, same)
	for _, form := range []string{"telemetry", "post", "updated", "delete", "connect", "sync", "downlink", "probe"} {
		if forms[form] == 0 {
			t.Errorf("no recorded message of the form %q was compared", form)
		}
	}
	if same == 0 {
		t.Error("not one recorded message was reproduced byte for byte")
	}
}

// reencode writes m with the appenders. The form is empty if m has parts that they do not write.
func reencode(m *RequestMsg) ([]byte, string) {
	switch {
	case m.ConnectRequestMsg != nil && m.MsgType == RequestMsgType_CONNECT_RPC_MESSAGE && m.UplinkMsg == nil:
		c := m.ConnectRequestMsg
		return AppendConnect(nil, c.EdgeRoutingKey, c.EdgeSecret, c.EdgeVersion, c.GetMaxInboundMessageSize()), "connect"
	case m.MsgType == RequestMsgType_SYNC_REQUEST_RPC_MESSAGE && m.SyncRequestMsg != nil && m.SyncRequestMsg.FullSync != nil:
		return AppendSyncRequest(nil, *m.SyncRequestMsg.FullSync), "sync"
	case m.MsgType != RequestMsgType_UPLINK_RPC_MESSAGE:
		return nil, ""
	case m.DownlinkResponseMsg != nil && m.UplinkMsg == nil:
		d := m.DownlinkResponseMsg
		if d.Success != (d.ErrorMsg == "") {
			return nil, ""
		}
		return AppendDownlinkResponse(nil, d.DownlinkMsgId, d.ErrorMsg), "downlink"
	case m.UplinkMsg == nil:
		return nil, ""
	}
	u := m.UplinkMsg
	rest := pb.Clone(u).(*UplinkMsg)
	rest.UplinkMsgId, rest.EntityData = 0, nil
	if pb.Size(rest) > 0 { // other parts, or fields unknown to us
		return nil, ""
	}
	if len(u.EntityData) == 0 {
		return AppendProbe(nil, u.UplinkMsgId), "probe"
	}
	buf, form := make([]byte, UplinkHeader), ""
	for _, d := range u.EntityData {
		var id UUID
		binary.BigEndian.PutUint64(id[:8], uint64(d.EntityIdMSB))
		binary.BigEndian.PutUint64(id[8:], uint64(d.EntityIdLSB))
		parts := 0
		for _, there := range []bool{
			d.PostTelemetryMsg != nil, d.PostAttributesMsg != nil,
			d.AttributesUpdatedMsg != nil, d.AttributeDeleteMsg != nil,
		} {
			if there {
				parts++
			}
		}
		switch {
		case parts > 1: // legal, but not written by the appenders
			return nil, ""
		case d.PostTelemetryMsg != nil && len(d.PostTelemetryMsg.TsKvList) == 1:
			l := d.PostTelemetryMsg.TsKvList[0]
			buf, form = AppendTelemetry(buf, id, d.EntityType, l.Ts, toKVs(l.Kv)), "telemetry"
		case d.PostAttributesMsg != nil && d.AttributeTs == nil:
			buf, form = AppendPostAttributes(buf, id, d.EntityType, d.PostAttributeScope, toKVs(d.PostAttributesMsg.Kv)), "post"
		case d.AttributesUpdatedMsg != nil && d.AttributeTs != nil:
			buf, form = AppendAttributesUpdated(buf, id, d.EntityType, d.PostAttributeScope, *d.AttributeTs,
				toKVs(d.AttributesUpdatedMsg.Kv)), "updated"
		case d.AttributeDeleteMsg != nil:
			buf, form = AppendAttributeDelete(buf, id, d.EntityType, d.AttributeDeleteMsg.Scope,
				d.AttributeDeleteMsg.AttributeNames), "delete"
		default:
			return nil, ""
		}
	}
	return FrameUplink(buf, u.UplinkMsgId), form
}

func toKVs(ps []*KeyValueProto) []KV {
	var out []KV
	for _, p := range ps {
		kv := KV{Key: []byte(p.Key), Type: p.Type, Bool: p.BoolV, Long: p.LongV, Double: p.DoubleV, Str: []byte(p.StringV)}
		if p.Type == KeyValueType_JSON_V {
			kv.Str = []byte(p.JsonV)
		}
		out = append(out, kv)
	}
	return out
}

// FuzzTelemetry encodes random values and compares with what the generated code writes.
func FuzzTelemetry(f *testing.F) {
	f.Add(uint64(1), int64(1767225600123), []byte("temperature"), []byte("21.5"))
	f.Add(uint64(2), int64(-1), []byte{}, []byte{0})
	f.Fuzz(func(t *testing.T, seed uint64, ts int64, key, str []byte) {
		key, str = bytes.ToValidUTF8(key, []byte("?")), bytes.ToValidUTF8(str, []byte("?"))
		r := rand.New(rand.NewPCG(seed, 1))
		var id UUID
		binary.BigEndian.PutUint64(id[:8], r.Uint64())
		binary.BigEndian.PutUint64(id[8:], r.Uint64()>>r.IntN(64))
		var kvs []KV
		var want []*KeyValueProto
		for range r.IntN(20) {
			kv := KV{Key: key[r.IntN(len(key)+1):], Type: KeyValueType(r.IntN(5)), Bool: r.IntN(2) == 0}
			kv.Key = bytes.ToValidUTF8(kv.Key, nil)
			kv.Long, kv.Double, kv.Str = int64(r.Uint64()>>r.IntN(64)), math.Float64frombits(r.Uint64()), str
			p := &KeyValueProto{Key: string(kv.Key), Type: kv.Type}
			switch kv.Type {
			case KeyValueType_BOOLEAN_V:
				p.BoolV = kv.Bool
			case KeyValueType_LONG_V:
				p.LongV = kv.Long
			case KeyValueType_DOUBLE_V:
				p.DoubleV = kv.Double
			case KeyValueType_STRING_V:
				p.StringV = string(str)
			case KeyValueType_JSON_V:
				p.JsonV = string(str)
			}
			kvs, want = append(kvs, kv), append(want, p)
		}
		msb, lsb := Halves(id)
		checkFragment(t, AppendTelemetry(nil, id, DeviceEntity, ts, kvs), &EntityDataProto{
			EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: DeviceEntity,
			PostTelemetryMsg: &PostTelemetryMsg{TsKvList: []*TsKvListProto{{Ts: ts, Kv: want}}},
		})
		checkFragment(t, AppendPostAttributes(nil, id, DeviceEntity, ClientScope, kvs), &EntityDataProto{
			EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: DeviceEntity,
			PostAttributesMsg: &PostAttributeMsg{Kv: want}, PostAttributeScope: ClientScope,
		})
	})
}

func TestEncodingDoesNotAllocate(t *testing.T) {
	kvs, _ := sampleKVs()
	names := []string{"a", "b"}
	buf := make([]byte, 0, 1<<20)
	if n := testing.AllocsPerRun(100, func() {
		b := buf[:UplinkHeader]
		b = AppendTelemetry(b, testID, DeviceEntity, 1767225600123, kvs)
		b = AppendPostAttributes(b, testID, DeviceEntity, ClientScope, kvs)
		b = AppendAttributesUpdated(b, testID, DeviceEntity, ClientScope, 1767225600123, kvs)
		b = AppendAttributeDelete(b, testID, DeviceEntity, ClientScope, names)
		b = FrameUplink(b, 12345)
		b = AppendProbe(b, 3)
		b = AppendDownlinkResponse(b, 3, "")
		_ = AppendSyncRequest(b, true)
	}); n != 0 {
		t.Fatalf("%v allocations, want 0", n)
	}
}

// TestFragmentField: a fragment is one field of UplinkMsg, with the number of its kind.
func TestFragmentField(t *testing.T) {
	b := AppendTelemetry(nil, testID, DeviceEntity, 1, nil)
	num, typ, n := protowire.ConsumeTag(b)
	if Kind(num) != KindEntityData || typ != protowire.BytesType {
		t.Fatalf("field %d of type %d", num, typ)
	}
	if _, m := protowire.ConsumeBytes(b[n:]); n+m != len(b) {
		t.Fatalf("the fragment has %d bytes, its field %d", len(b), n+m)
	}
}

func BenchmarkAppendTelemetry(b *testing.B) {
	kvs := []KV{
		{Key: []byte("temperature"), Type: KeyValueType_DOUBLE_V, Double: 21.5},
		{Key: []byte("humidity"), Type: KeyValueType_LONG_V, Long: 48},
		{Key: []byte("door"), Type: KeyValueType_BOOLEAN_V, Bool: true},
	}
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		_ = AppendTelemetry(buf, testID, DeviceEntity, 1767225600123, kvs)
	}
}
