package rest_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	pb "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"edgesync/proto"
	"edgesync/wal"
)

// javaUplinks are the uplinks of a Java edge by their line in the recording.
func javaUplinks(t *testing.T) map[int]*proto.UplinkMsg {
	t.Helper()
	f, err := os.Open("../cloudtest/testdata/java-edge.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list := map[int]*proto.UplinkMsg{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var j struct {
			Line int
			Up   string
		}
		var m proto.RequestMsg
		if err := json.Unmarshal(s.Bytes(), &j); err != nil {
			t.Fatal(err)
		}
		if raw, err := base64.StdEncoding.DecodeString(j.Up); err == nil && pb.Unmarshal(raw, &m) == nil && m.UplinkMsg != nil {
			list[j.Line] = m.UplinkMsg
		}
	}
	return list
}

// volatile are members that differ from run to run; those of credentials the server makes itself.
var volatile = []string{"createdTime", "startTs", "endTs", "ackTs", "clearTs"}

// plain is a message as JSON values, without what is volatile or null (CONTRACT.md 5.1: absent is
// null), JSON inside it included.
func plain(m protoreflect.Message) map[string]any {
	out := map[string]any{}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch name := string(f.Name()); {
		case strings.HasSuffix(name, "LSB"):
		case strings.HasSuffix(name, "MSB"):
			l := m.Descriptor().Fields().ByName(protoreflect.Name(strings.TrimSuffix(name, "MSB") + "LSB"))
			out["id"] = proto.FormatUUID(proto.UUIDOf(v.Int(), m.Get(l).Int()))
		case name == "attributeTs" || name == "ts":
			out[name] = v.Int() > 1700000000000
		case name == "entity":
			var e map[string]any
			_ = json.Unmarshal([]byte(v.String()), &e)
			if m.Descriptor().Name() == "DeviceCredentialsUpdateMsg" {
				delete(e, "id")
			}
			out[name] = trim(e)
		case f.IsList() && f.Message() != nil:
			var list []any
			for i := range v.List().Len() {
				list = append(list, plain(v.List().Get(i).Message()))
			}
			out[name] = list
		case f.IsList():
			var list []any
			for i := range v.List().Len() {
				list = append(list, v.List().Get(i).String())
			}
			out[name] = list
		case f.Message() != nil:
			out[name] = plain(v.Message())
		default:
			out[name] = v.Interface()
		}
		return true
	})
	return out
}

func trim(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	for k, e := range m {
		if e == nil || slices.Contains(volatile, k) {
			delete(m, k)
		} else {
			m[k] = trim(e)
		}
	}
	return m
}

// canonical writes an uplink for comparison: names stand for ids.
func canonical(u *proto.UplinkMsg, names map[string]string) string {
	u = pb.Clone(u).(*proto.UplinkMsg)
	u.UplinkMsgId = 0
	b, _ := json.MarshalIndent(plain(u.ProtoReflect()), "", " ")
	text := string(b)
	for id, name := range names {
		text = strings.ReplaceAll(text, id, name)
	}
	return text
}

// uplink is what the new events are on the wire.
func (r *rig) uplink() *proto.UplinkMsg {
	r.Helper()
	var raw []byte
	if err := r.reader.Read(func(e *wal.Entry) bool { raw = append(raw, e.Fragment...); return true }); err != nil {
		r.Fatal(err)
	}
	u := new(proto.UplinkMsg)
	if err := pb.Unmarshal(raw, u); err != nil {
		r.Fatal(err)
	}
	return u
}

// For every act over REST that a Java edge was recorded with, this edge sends the same, or a
// difference that is listed here with its reason.
func TestAsTheJavaEdge(t *testing.T) {
	const (
		dev   = "6e9be130-e777-11f1-a01d-1d06ed9e169e" // assigned by the cloud
		made  = "8ebe59c0-e777-11f1-aca9-3136bda109e4" // made at the edge
		asset = "98914de0-e777-11f1-aca9-3136bda109e4"
		alarm = "6d67bd01-8427-4def-818c-ca1240d8a984"
	)
	java := javaUplinks(t)
	r := newRig(t)
	devID, _ := proto.ParseUUID(dev)
	m, l := proto.Halves(devID)
	r.apply(&proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{{
		IdMSB: m, IdLSB: l,
		Entity: `{"name":"je-dev-463556","type":"default"}`,
	}}})
	names := map[string]string{
		"e54b4450-e76e-11f1-a921-83a0d2e65086": "TENANT", text(tenant): "TENANT",
		"e55f4180-e76e-11f1-a921-83a0d2e65086": "PROFILE", text(profile): "PROFILE",
		"e5725450-e76e-11f1-a921-83a0d2e65086": "ASSETPROFILE", text(assetProfile): "ASSETPROFILE", made: "MADE",
		asset: "ASSET", alarm: "ALARM",
	}
	our := map[string]string{} // what MADE, ASSET and ALARM are here
	send := func(method, path, body string) string {
		t.Helper()
		for name, id := range our {
			path, body = strings.ReplaceAll(path, name, id), strings.ReplaceAll(body, name, id)
		}
		a := r.send(root, method, path, body)
		if a.status != 200 {
			t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
		}
		return a.body
	}
	learn := func(name, answer string) {
		t.Helper()
		var j struct{ ID struct{ ID string } }
		if err := json.Unmarshal([]byte(answer), &j); err != nil {
			t.Fatal(err)
		}
		our["$"+name], names[j.ID.ID] = j.ID.ID, name
	}
	same := func(line int, less func(u *proto.UplinkMsg)) {
		t.Helper()
		want := java[line]
		if want == nil {
			t.Fatalf("line %d is not carried", line)
		}
		if less != nil {
			want = pb.Clone(want).(*proto.UplinkMsg)
			less(want)
		}
		if got, w := canonical(r.uplink(), names), canonical(want, names); got != w {
			t.Errorf("line %d: ours\n%s\nrecorded\n%s", line, got, w)
		}
	}
	better := func(reason string, check func(u *proto.UplinkMsg) bool) {
		t.Helper()
		if u := r.uplink(); !check(u) {
			t.Errorf("%s: %s", reason, canonical(u, names))
		}
	}
	r.uplink()

	send("POST", "/api/plugins/telemetry/DEVICE/"+dev+"/attributes/SERVER_SCOPE", `{"limit":40,"name":"x"}`)
	same(35, nil)
	send("POST", "/api/plugins/telemetry/DEVICE/"+dev+"/attributes/SHARED_SCOPE", `{"fan":true}`)
	same(38, nil)
	send("POST", "/api/plugins/telemetry/DEVICE/"+dev+"/attributes/SHARED_SCOPE", `{"fan":false}`)
	same(41, nil)
	send("DELETE", "/api/plugins/telemetry/DEVICE/"+dev+"/SERVER_SCOPE?keys=name", "")
	same(44, nil)
	send("POST", "/api/plugins/telemetry/DEVICE/"+dev+"/timeseries/ANY", `{"r":1}`)
	better("the Java edge sends nothing, and the values stay at the edge", func(u *proto.UplinkMsg) bool {
		return len(u.EntityData) == 1 && u.EntityData[0].PostTelemetryMsg.TsKvList[0].Kv[0].Key == "r"
	})

	learn("MADE", send("POST", "/api/device?accessToken=qDeO79MYTinT9Hd4sB1B",
		`{"name":"je-local-463556","type":"default","label":"made here"}`))
	// It would overwrite the tenant's profile (CONTRACT.md 5.5).
	same(49, func(u *proto.UplinkMsg) { u.DeviceProfileUpdateMsg = nil })
	send("POST", "/api/device",
		`{"id":{"entityType":"DEVICE","id":"$MADE"},"name":"je-local-463556","type":"default","label":"relabelled"}`)
	same(52, func(u *proto.UplinkMsg) { u.DeviceCredentialsUpdateMsg = nil }) // they have not changed
	send("POST", "/api/device/credentials",
		`{"deviceId":{"entityType":"DEVICE","id":"$MADE"},"credentialsType":"ACCESS_TOKEN","credentialsId":"jenew463556"}`)
	same(55, nil)
	send("POST", "/api/device/credentials", `{"deviceId":{"entityType":"DEVICE","id":"$MADE"},"credentialsType":"MQTT_BASIC",`+
		`"credentialsValue":"{\"clientId\":\"c463556\",\"userName\":\"u463556\",\"password\":\"p\"}"}`)
	same(58, nil)
	learn("ASSET", send("POST", "/api/asset", `{"name":"je-asset-463556","type":"default"}`))
	same(61, func(u *proto.UplinkMsg) { u.AssetProfileUpdateMsg = nil })
	relation := `{"from":{"entityType":"ASSET","id":"$ASSET"},"to":{"entityType":"DEVICE","id":"$MADE"},"type":"Contains"`
	send("POST", "/api/relation", relation+`,"typeGroup":"COMMON"}`)
	same(64, nil)
	send("POST", "/api/relation", relation+`,"additionalInfo":{"k":1}}`)
	same(67, nil)
	send("POST", "/api/relation", relation+"}")
	r.uplink()
	send("DELETE", "/api/relation?fromId=$ASSET&fromType=ASSET&toId=$MADE&toType=DEVICE&relationType=Contains", "")
	same(70, nil)
	send("POST", "/api/relation", relation+"}")
	same(75, nil)
	send("DELETE", "/api/relations?entityId=$ASSET&entityType=ASSET", "")
	better("the Java edge sends nothing for the deletion of all relations, and they stay in the cloud", func(u *proto.UplinkMsg) bool {
		return len(u.RelationUpdateMsg) == 1 && u.RelationUpdateMsg[0].MsgType == proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE
	})
	raise := `{"type":"High temperature","originator":{"entityType":"DEVICE","id":"` + dev + `"},"details":{"t":91},"severity":`
	learn("ALARM", send("POST", "/api/alarm", raise+`"CRITICAL"}`))
	alarms := func(t proto.UpdateMsgType) func(u *proto.UplinkMsg) bool {
		return func(u *proto.UplinkMsg) bool { return len(u.AlarmUpdateMsg) == 1 && u.AlarmUpdateMsg[0].MsgType == t }
	}
	better("the Java edge sends nothing for an alarm raised by REST", alarms(proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE))
	send("POST", "/api/alarm", raise+`"MAJOR"}`)
	better("the Java edge sends a comment only", alarms(proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE))
	send("POST", "/api/alarm/$ALARM/ack", "")
	better("the Java edge sends a comment only", alarms(proto.UpdateMsgType_ALARM_ACK_RPC_MESSAGE))
	send("POST", "/api/alarm/$ALARM/clear", "")
	better("the Java edge sends a comment only", alarms(proto.UpdateMsgType_ALARM_CLEAR_RPC_MESSAGE))
	send("DELETE", "/api/alarm/$ALARM", "")
	same(91, nil)
	learn("VIEW", send("POST", "/api/entityView",
		`{"name":"je-view-463556","type":"default","entityId":{"entityType":"DEVICE","id":"`+dev+`"},`+
			`"keys":{"timeseries":["a"],"attributes":{"cs":[],"ss":[],"sh":[]}}}`))
	names["b3ca2550-e777-11f1-aca9-3136bda109e4"] = "VIEW"
	same(94, nil)
	learn("BOARD", send("POST", "/api/dashboard", `{"title":"je-dash-463556","configuration":{}}`))
	names["b6abe880-e777-11f1-aca9-3136bda109e4"] = "BOARD"
	same(97, nil)
	send("POST", "/api/asset", `{"id":{"entityType":"ASSET","id":"$ASSET"},"name":"je-asset-463556","type":"default","label":"hall"}`)
	same(100, nil)
	send("DELETE", "/api/asset/$ASSET", "")
	same(103, nil) // and not its relations one by one, which go with it in the cloud
	send("DELETE", "/api/device/$MADE", "")
	same(108, nil)
}
