package proto

import (
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

func fragmentOf(t testing.TB, u *UplinkMsg) []byte {
	t.Helper()
	b, err := proto.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestContent(t *testing.T) {
	id := UUID{1, 2, 15: 9}
	msb, lsb := Halves(id)
	kv := []KV{
		{Key: []byte("t"), Type: KeyValueType_DOUBLE_V, Double: -21.5},
		{Key: []byte("n"), Type: KeyValueType_LONG_V, Long: 7},
		{Key: []byte("on"), Type: KeyValueType_BOOLEAN_V},
		{Key: []byte("s"), Type: KeyValueType_STRING_V, Str: []byte("a \"b\"\n")},
		{Key: []byte("j"), Type: KeyValueType_JSON_V, Str: []byte(`{"z":1, "wifi_password":"hush","a":[null,true,{"token":["hush"]}]}`)},
		{Key: []byte("apiKey"), Type: KeyValueType_STRING_V, Str: []byte("hush")},
	}
	values := `"values":{"t":-21.5,"n":7,"on":false,"s":"a \"b\"\n","j":{"z":1,"wifi_password":"***","a":[null,true,` +
		`{"token":["***"]}]},"apiKey":"***"}`
	for _, c := range []struct {
		name, entity, want string
		fragment           []byte
	}{
		{"telemetry", "DEVICE", `{"ts":1767225600000,` + values + `}`, AppendTelemetry(nil, id, "DEVICE", 1767225600000, kv)},
		{"posted attributes", "ASSET", `{"scope":"CLIENT_SCOPE",` + values + `}`, AppendPostAttributes(nil, id, "ASSET", ClientScope, kv)},
		{
			"attributes with a time", "DEVICE", `{"scope":"SERVER_SCOPE","ts":0,"values":{}}`,
			AppendAttributesUpdated(nil, id, "DEVICE", "SERVER_SCOPE", 0, nil),
		},
		{
			"deleted attributes", "DEVICE", `{"scope":"SHARED_SCOPE","deleted":["a","b"]}`,
			AppendAttributeDelete(nil, id, "DEVICE", "SHARED_SCOPE", []string{"a", "b"}),
		},
		{
			"device", "DEVICE", `{"msgType":"ENTITY_CREATED_RPC_MESSAGE","id":"01020000-0000-0000-0000-000000000009",` +
				`"entity":{"name":"pump","secretKey":"***"}}`,
			fragmentOf(t, &UplinkMsg{DeviceUpdateMsg: []*DeviceUpdateMsg{{
				IdMSB: msb, IdLSB: lsb,
				Entity: `{"name":"pump","secretKey":"hush"}`,
			}}}),
		},
		{
			"device credentials", "DEVICE", `{"entity":{"id":{"id":"x"},"deviceId":{"entityType":"DEVICE","id":"d"},` +
				`"credentialsType":"ACCESS_TOKEN","credentialsId":"***","credentialsValue":null,"more":{"n":"***","l":["***"]}}}`,
			fragmentOf(t, &UplinkMsg{DeviceCredentialsUpdateMsg: []*DeviceCredentialsUpdateMsg{{
				Entity: `{"id":{"id":"x"},"deviceId":{"entityType":"DEVICE","id":"d"},` +
					`"credentialsType":"ACCESS_TOKEN","credentialsId":"hush","credentialsValue":null,"more":{"n":1234,"l":["hush"]}}`,
			}}}),
		},
		{
			"user credentials that are no JSON", "USER", `{"entity":"(9 bytes that are no JSON)"}`,
			fragmentOf(t, &UplinkMsg{UserCredentialsUpdateMsg: []*UserCredentialsUpdateMsg{{Entity: `hush-hush`}}}),
		},
		{
			"rpc", "DEVICE", `{"deviceId":"01020000-0000-0000-0000-000000000009",` +
				`"requestUuid":"00000000-0000-0000-0000-000000000000","requestId":5,"requestMsg":{"method":"login",` +
				`"params":{"user":"me","password":"***"}}}`,
			fragmentOf(t, &UplinkMsg{DeviceRpcCallMsg: []*DeviceRpcCallMsg{{
				DeviceIdMSB: msb, DeviceIdLSB: lsb, RequestId: 5, RequestMsg: &RpcRequestMsg{
					Method: "login",
					Params: `{"user":"me","password":"hush"}`,
				},
			}}}),
		},
		{
			"attributes request", "DEVICE", `{"entityId":"01020000-0000-0000-0000-000000000009","entityType":"DEVICE",` +
				`"scope":"SHARED_SCOPE"}`,
			fragmentOf(t, &UplinkMsg{AttributesRequestMsg: []*AttributesRequestMsg{{
				EntityIdMSB: msb,
				EntityIdLSB: lsb, EntityType: "DEVICE", Scope: "SHARED_SCOPE",
			}}}),
		},
	} {
		got, entity, err := AppendContent([]byte("> "), c.fragment)
		if err != nil || string(got) != "> "+c.want || entity != c.entity {
			t.Errorf("%s: %v, %q\ngot  %s\nwant > %s", c.name, err, entity, got, c.want)
		}
		if !json.Valid(got[2:]) || strings.Contains(string(got), "hush") {
			t.Errorf("%s: no JSON, or a secret in it: %s", c.name, got)
		}
	}
	for _, bad := range []string{"", "\xff", "hush", "\x12\x05abc"} {
		if got, _, err := AppendContent(nil, []byte(bad)); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %s, %v, want an error", bad, got, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, n := range KindNames() {
		if k, ok := ParseKind(strings.ToLower(strings.ReplaceAll(n, "_", "-"))); !ok || k.String() != n || k.Rank() == 0 {
			t.Errorf("kind %s reads back as %v", n, k)
		}
	}
	if len(KindNames()) != len(serverOrder) {
		t.Errorf("%d kinds have names, of %d", len(KindNames()), len(serverOrder))
	}
	for _, n := range ActionNames() {
		if a, ok := ParseAction(n); !ok || a.String() != n {
			t.Errorf("action %s reads back as %v", n, a)
		}
	}
	if _, ok := ParseKind("KIND_1"); ok {
		t.Error("1 is no kind")
	}
	if Kind(1).String() != "KIND_1" {
		t.Error(Kind(1).String())
	}
}

func FuzzContent(f *testing.F) {
	f.Add(AppendTelemetry(nil, UUID{1}, "DEVICE", 5, []KV{{Key: []byte("k"), Type: KeyValueType_JSON_V, Str: []byte(`[{"password":1}]`)}}))
	f.Add(fragmentOf(f, &UplinkMsg{DeviceCredentialsUpdateMsg: []*DeviceCredentialsUpdateMsg{{Entity: `{"credentialsId":"x"}`}}}))
	f.Add(fragmentOf(f, &UplinkMsg{DeviceRpcCallMsg: []*DeviceRpcCallMsg{{RequestMsg: &RpcRequestMsg{Params: `[[`}}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, _, err := AppendContent(nil, b)
		if err == nil && !json.Valid(got) {
			t.Errorf("%x becomes %s", b, got)
		}
	})
}
