package proto

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	pb "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// decodeFragment reads a fragment as an element of an UplinkMsg and checks that the generated code
// writes the same bytes.
func decodeFragment(t *testing.T, fragment []byte, kind Kind) protoreflect.Message {
	t.Helper()
	var u UplinkMsg
	if err := pb.Unmarshal(fragment, &u); err != nil {
		t.Fatal(err)
	}
	if got := marshal(t, &u); string(got) != string(fragment) {
		t.Errorf("%v: %x, generated %x", kind, fragment, got)
	}
	f := u.ProtoReflect().Descriptor().Fields().ByNumber(protoreflect.FieldNumber(kind))
	list := u.ProtoReflect().Get(f).List()
	if list.Len() != 1 || len(u.ProtoReflect().GetUnknown()) > 0 {
		t.Fatalf("%v: %d elements", kind, list.Len())
	}
	return list.Get(0).Message()
}

// TestUpdatesAreWhatWasMeant: every kind of update has the bytes that the generated code makes of
// the same content. The numbers of the fields come from CONTRACT.md 1.5.
func TestUpdatesAreWhatWasMeant(t *testing.T) {
	updates := 0
	for kind := Kind(1); kind < kindEnd; kind++ {
		if entityField[kind] == 0 {
			continue
		}
		updates++
		if kind.Rank() == 0 || !kind.Barrier() {
			t.Errorf("%v: rank %d, barrier %v", kind, kind.Rank(), kind.Barrier())
		}
		for _, typ := range []UpdateMsgType{0, 1, 2, 3, 4} {
			for _, json := range []string{"", `{"name":"é"}`} {
				prefix := []byte("kept")
				out := AppendUpdate(prefix, kind, typ, testID, json)
				if string(out[:4]) != "kept" {
					t.Fatal("what was there is gone")
				}
				m := decodeFragment(t, out[4:], kind)
				fields := m.Descriptor().Fields()
				get := func(name protoreflect.Name) any {
					f := fields.ByName(name)
					if f == nil {
						return nil
					}
					return m.Get(f).Interface()
				}
				if get("entity") != json {
					t.Errorf("%v: entity %v", kind, get("entity"))
				}
				if typed := get("msgType"); typed != nil && typed != protoreflect.EnumNumber(typ) {
					t.Errorf("%v: type %v, want %v", kind, typed, typ)
				}
				if msb := get("idMSB"); msb != nil && (msb != int64(testMSB) || get("idLSB") != int64(testLSB)) {
					t.Errorf("%v: id %v %v", kind, msb, get("idLSB"))
				}
				m.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
					switch f.Name() {
					case "entity", "msgType", "idMSB", "idLSB":
					default:
						t.Errorf("%v has a field %v", kind, f.Name())
					}
					return true
				})
			}
		}
	}
	if updates != 18 {
		t.Errorf("%d kinds of updates", updates)
	}
	defer func() {
		if recover() == nil {
			t.Error("a request was taken for an update")
		}
	}()
	AppendUpdate(nil, KindAttributesAsk, 0, testID, "")
}

func TestRequestFragments(t *testing.T) {
	m := decodeFragment(t, AppendAttributesRequest(nil, testID, "DEVICE", "SHARED_SCOPE"), KindAttributesAsk).Interface()
	if want := (&AttributesRequestMsg{
		EntityIdMSB: testMSB, EntityIdLSB: testLSB, EntityType: "DEVICE",
		Scope: "SHARED_SCOPE",
	}); !pb.Equal(m, want) {
		t.Errorf("%v", m)
	}
	for _, kind := range []Kind{KindRelationAsk, KindCalculatedFieldAsk, KindEntityViewsAsk} {
		m := decodeFragment(t, AppendRequest(nil, kind, testID, "ASSET"), kind)
		f := m.Descriptor().Fields()
		if m.Get(f.ByNumber(1)).Int() != testMSB || m.Get(f.ByNumber(2)).Int() != testLSB ||
			m.Get(f.ByName("entityType")).String() != "ASSET" {
			t.Errorf("%v: %v", kind, m)
		}
	}
	for _, kind := range []Kind{KindRuleChainMetadataAsk, KindUserCredentialsAsk, KindDeviceCredentialsAsk, KindWidgetBundleTypesAsk} {
		m := decodeFragment(t, AppendRequest(nil, kind, testID, ""), kind)
		f := m.Descriptor().Fields()
		if m.Get(f.ByNumber(1)).Int() != testMSB || m.Get(f.ByNumber(2)).Int() != testLSB || f.Len() != 2 || kind.Barrier() {
			t.Errorf("%v: %v", kind, m)
		}
	}
}

func TestRPCFragments(t *testing.T) {
	call := &DeviceRpcCallMsg{
		DeviceIdMSB: testMSB, DeviceIdLSB: testLSB, RequestUuidMSB: -5, RequestUuidLSB: 7, RequestId: 3,
		ExpirationTime: 1767225610000, Oneway: true,
		RequestMsg: &RpcRequestMsg{Method: "x"},
	}
	for _, c := range []struct{ response, word string }{{`{"ok":true}`, ""}, {"", "TIMEOUT"}, {"", ""}} {
		want := pb.Clone(call).(*DeviceRpcCallMsg)
		want.RequestMsg, want.ResponseMsg = nil, &RpcResponseMsg{Response: c.response, Error: c.word}
		got := decodeFragment(t, AppendRPCAnswer(nil, call, c.response, c.word), KindRPC).Interface().(*DeviceRpcCallMsg)
		if !pb.Equal(got, want) || got.ResponseMsg == nil {
			t.Errorf("%v, want %v", got, want)
		}
	}
	// The request id is 0, as the server's first one is (CONTRACT.md 8.1).
	bare := &DeviceRpcCallMsg{DeviceIdMSB: 1, DeviceIdLSB: 2, RequestUuidMSB: 3, RequestUuidLSB: 4}
	if got := decodeFragment(t, AppendRPCAnswer(nil, bare, "{}", ""),
		KindRPC).Interface().(*DeviceRpcCallMsg); got.RequestUuidLSB != 4 || got.Oneway {
		t.Errorf("%v", got)
	}
	service, session := "edge", "s1"
	want := &DeviceRpcCallMsg{
		DeviceIdMSB: testMSB, DeviceIdLSB: testLSB, RequestId: 9, ServiceId: &service, SessionId: &session,
		RequestMsg: &RpcRequestMsg{Method: "getTime", Params: "{}"},
	}
	if got := decodeFragment(t, AppendRPCRequest(nil, testID, 9, service, session, "getTime", "{}"),
		KindRPC).Interface(); !pb.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestKVThereAndBack(t *testing.T) {
	kvs, protos := sampleKVs()
	for i := range kvs {
		b := AppendKV(nil, &kvs[i])
		got, ok := ParseKV(b)
		if ok != (len(kvs[i].Key) > 0) {
			t.Errorf("%v: %v", protos[i], ok)
		}
		if again := AppendKV(nil, &got); ok && string(again) != string(b) {
			t.Errorf("%x became %x", b, again)
		}
		of := KVOf(protos[i])
		if again := AppendKV(nil, &of); string(again) != string(b) {
			t.Errorf("KVOf: %x became %x", b, again)
		}
	}
}

func FuzzParseKV(f *testing.F) {
	kvs, _ := sampleKVs()
	for i := range kvs {
		f.Add(AppendKV(nil, &kvs[i]))
	}
	f.Add([]byte{0x0a, 0xff})
	f.Add(protowire.AppendTag(nil, 3, protowire.StartGroupType))
	f.Fuzz(func(t *testing.T, b []byte) {
		kv, ok := ParseKV(b)
		if !ok {
			return
		}
		once := AppendKV(nil, &kv)
		again, ok := ParseKV(once)
		if !ok || string(AppendKV(nil, &again)) != string(once) {
			t.Errorf("%x became %x", b, once)
		}
	})
}

// TestRecordedParts takes every part of the uplinks that other edges, the Java edge among them,
// sent to a real server: the appenders encode the same content to the same message.
func TestRecordedParts(t *testing.T) {
	files, err := filepath.Glob("../sync/cloudtest/testdata/*.jsonl")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	met := map[Kind]int{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range bytes.Split(data, []byte("\n")) {
			var j struct{ Up []byte }
			var m RequestMsg
			if json.Unmarshal(line, &j) != nil || pb.Unmarshal(j.Up, &m) != nil || m.UplinkMsg == nil {
				continue
			}
			m.UplinkMsg.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
				if !f.IsList() {
					return true
				}
				kind := Kind(f.Number())
				for i := range v.List().Len() {
					part := v.List().Get(i).Message()
					fragment := appendPart(kind, part)
					if fragment == nil {
						continue
					}
					met[kind]++
					if got := decodeFragment(t, fragment, kind).Interface(); !pb.Equal(got, part.Interface()) {
						t.Errorf("%s:%d: %v, recorded %v", file, n+1, got, part.Interface())
					}
				}
				return true
			})
		}
	}
	for kind := Kind(1); kind < kindEnd; kind++ {
		if kind.Rank() > 0 && kind != KindEntityData && met[kind] == 0 {
			t.Errorf("no recorded %v was compared", kind)
		}
	}
}

// appendPart writes a part with the appenders. It returns nil for a part that they do not write.
func appendPart(kind Kind, m protoreflect.Message) []byte {
	fields := m.Descriptor().Fields()
	number := func(name protoreflect.Name) int64 {
		f := fields.ByName(name)
		switch {
		case f == nil:
			return 0
		case f.Kind() == protoreflect.EnumKind:
			return int64(m.Get(f).Enum())
		}
		return m.Get(f).Int()
	}
	text := func(name protoreflect.Name) string {
		if f := fields.ByName(name); f != nil {
			return m.Get(f).String()
		}
		return ""
	}
	switch kind {
	case KindEntityData:
		return nil // see TestRecorded
	case KindAttributesAsk:
		return AppendAttributesRequest(nil, UUIDOf(number("entityIdMSB"), number("entityIdLSB")), text("entityType"), text("scope"))
	case KindRPC:
		c := m.Interface().(*DeviceRpcCallMsg)
		switch {
		case c.ResponseMsg != nil && c.RequestMsg == nil && c.Persisted == nil && c.ServiceId == nil:
			return AppendRPCAnswer(nil, c, c.ResponseMsg.Response, c.ResponseMsg.Error)
		case c.RequestMsg != nil && c.ServiceId != nil && c.SessionId != nil && c.RequestUuidMSB == 0:
			return AppendRPCRequest(nil, UUIDOf(c.DeviceIdMSB, c.DeviceIdLSB), c.RequestId, *c.ServiceId,
				*c.SessionId, c.RequestMsg.Method, c.RequestMsg.Params)
		}
		return nil
	}
	if entityField[kind] != 0 {
		return AppendUpdate(nil, kind, UpdateMsgType(number("msgType")), UUIDOf(number("idMSB"), number("idLSB")), text("entity"))
	}
	return AppendRequest(nil, kind, UUIDOf(m.Get(fields.ByNumber(1)).Int(), m.Get(fields.ByNumber(2)).Int()), text("entityType"))
}
