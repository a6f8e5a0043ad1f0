package sync_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
)

// javaByREST are the lines of the recording java-edge in which the Java edge sent what a user did
// at its REST API; the tests of the local REST API compare them.
var javaByREST = map[int]string{
	35:  "server attributes saved",
	38:  "shared attributes saved",
	41:  "same shared attribute again",
	44:  "server attribute deleted",
	49:  "device created",
	52:  "device updated",
	55:  "device credentials updated",
	58:  "device with MQTT basic credentials",
	61:  "asset created",
	64:  "relation added",
	67:  "relation with additional info",
	70:  "relation deleted",
	75:  "two relations, then all deleted",
	79:  "alarm severity updated: a comment",
	82:  "alarm comment",
	85:  "alarm acknowledged: a comment",
	88:  "alarm cleared: a comment",
	91:  "alarm deleted",
	94:  "entity view created",
	97:  "dashboard created",
	100: "asset updated",
	103: "asset deleted",
	104: "asset deleted: its relation",
	108: "device deleted",
}

// javaMore are the lines of javaByREST for which the local REST API sends something else.
var javaMore = map[int]string{
	79:  "the alarm; the Java edge sends only a comment on it",
	82:  "nothing: no comments are made here",
	85:  "the acknowledgement; the Java edge sends only a comment on it",
	88:  "the clearing; the Java edge sends only a comment on it",
	104: "the relations of an asset go with it in the cloud",
}

// javaOnly are the lines for which this agent sends nothing, with the reason.
var javaOnly = map[int]string{
	29:  "counters of the Java edge about itself, each minute; ours are in status and metrics, and cost no uplink",
	72:  "as 29",
	113: "as 29",
	145: "as 29",
}

// credentialsIn returns the token in a recorded downlink.
func credentialsIn(m *proto.DownlinkMsg) string {
	var j struct{ CredentialsID string }
	_ = json.Unmarshal([]byte(m.GetDeviceCredentialsUpdateMsg()[0].GetEntity()), &j)
	return j.CredentialsID
}

// For each step of a device at the Java edge, and of the cloud at its devices, the agent sends what
// the Java edge sent, or something else for a reason that stands here. Downlinks are the recorded
// ones, and each step is at its recorded time.
func TestAsTheJavaEdge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newJavaRig(t)
		r.elapse(5 * time.Second)
		c := r.cloud.LastConnect()
		if c.GetEdgeRoutingKey() != "key" || c.GetEdgeSecret() != "secret" || c.GetEdgeVersion() == 0 || c.GetMaxInboundMessageSize() == 0 {
			t.Errorf("connected with %v", c)
		}
		if s := r.cloud.Stats(); s.Syncs != 1 || s.SyncsCompleted != 1 || s.Downlinks == 0 || s.Downlinks != s.DownlinkAcks {
			t.Errorf("synchronised: %+v", s)
		}
		r.new()

		r.at(11125) // the device is assigned: it is asked about, in one message
		r.push(3)
		r.same(5, 6, 7)
		token := credentialsIn(r.down[3])
		r.at(16500)
		r.post(token, "telemetry", `{"warmup":1}`)
		r.same(11)

		r.at(19740)
		r.post(token, "telemetry", `{"ts":1767225600123,"values":{"l":5,"d":21.5,"b":true,"s":"on","j":{"unit":"C","a":[1,2]}}}`)
		r.same(14)
		r.at(24580)
		r.post(token, "telemetry", `{"temperature":20.25}`)
		r.same(17)
		r.at(27851) // an array goes up in one message, in the device's order; the Java edge sent three, 2 before 1
		r.post(token, "telemetry", `[{"ts":1767225601000,"values":{"a":1}},{"ts":1767225602000,"values":{"a":2}},`+
			`{"ts":1767225603000,"values":{"a":3}}]`)
		r.same(21, 20, 22)
		r.at(32650)
		r.post(token, "telemetry", `{"i":9223372036854775807,"m":-9223372036854775808,"big":92233720368547758080,"e":1e3,"f":5.0,`+
			`"num":"12","dec":"1.5","u":"żółw ☂","long":"0.12345678901234567890"}`)
		r.same(27)
		r.at(36690)
		r.post(token, "attributes", `{"fw":1.2,"on":true,"n":7}`)
		// Attributes without a time count from their arrival, so that a wrong clock of the edge
		// cannot block the key (CONTRACT.md 7.2).
		for _, l := range r.up[32].EntityData {
			l.AttributeTs = nil
		}
		r.same(32)

		r.at(150000)
		d := r.connect(token, "v1/devices/me/rpc/request/+", "v1/devices/me/attributes/response/+", "v1/devices/me/rpc/response/+")
		d.answer(`{"ok":true,"pin":4}`)
		r.at(153867)
		r.push(111)
		r.same(115)
		d.received(`v1/devices/me/rpc/request/N {"method":"setGpio","params":{"pin":4}}`)
		d.answer("")
		r.at(162035)
		r.push(118)
		r.same(120)
		d.received(`v1/devices/me/rpc/request/N {"method":"beep","params":true}`)
		d.answer(`{"pin":5}`)
		r.at(167164)
		r.push(123)
		r.better("the Java edge answers with an id of its own, and the device's answer stays at the edge",
			`deviceRpcCallMsg:{deviceIdMSB:7970211565720244721 deviceIdLSB:-6909334337722902882 `+
				`requestUuidMSB:-886509354220107104 requestUuidLSB:-7715430190055509621 `+
				`requestId:2 expirationTime:1795463722855 responseMsg:{response:"{\"pin\":5}"}}`, 125)
		d.received(`v1/devices/me/rpc/request/N {"method":"setGpio","params":{"pin":5}}`)

		r.at(171202) // of the cloud's shared attributes nothing comes by itself; what the edge has it answers from
		r.cloud.Push(r.edge, &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{fan()}})
		r.at(175218)
		d.publish("v1/devices/me/attributes/request/1", `{"sharedKeys":"fan"}`)
		r.better("as the Java edge, nothing", "")
		d.received(`v1/devices/me/attributes/response/1 {"shared":{"fan":false}}`)
		r.at(181219)
		d.publish("v1/devices/me/rpc/request/5", `{"method":"getTime","params":{}}`)
		r.elapse(time.Second)
		u := r.new()
		if c := u.GetDeviceRpcCallMsg(); len(c) != 1 || c[0].GetRequestMsg().GetMethod() != "getTime" ||
			c[0].GetDeviceIdMSB() != 7970211565720244721 || c[0].GetSessionId() == "" {
			t.Errorf("the call of a device: %v; the Java edge sends none, and the device waits in vain (CONTRACT.md 8.2)", u)
		}
		d.received() // the cloud in a box has no answer
		r.at(186160)
		d.publish("v1/devices/me/telemetry", `{"m":1}`)
		r.same(131)

		r.at(190000)
		d.conn.Close()
		r.at(191220)
		r.push(134)
		r.elapse(10 * time.Second)
		r.better("the caller hears the true word: nobody was there to call; the Java edge says TIMEOUT",
			strings.Replace(oneLine(&proto.UplinkMsg{DeviceRpcCallMsg: r.up[136].DeviceRpcCallMsg}), "TIMEOUT", "NO_ACTIVE_CONNECTION", 1),
			136)

		r.at(208000)
		r.push(139)
		r.better("as the Java edge, nothing", "")
		if d, ok := r.reg.ByToken(token); !ok || d.Name != "je-renamed-463556" {
			t.Errorf("renamed: %+v %v", d, ok)
		}
		r.at(215000)
		r.push(142)
		r.better("as the Java edge, nothing", "")
		_, old := r.reg.ByToken(token)
		if _, ok := r.reg.ByToken("jenew2463556"); !ok || old {
			t.Errorf("new token %v, old token %v", ok, old)
		}
		r.gateway("jenew2463556")
		r.complete()
	})
}

// fan is a shared attribute of the recorded device.
func fan() *proto.EntityDataProto {
	ts := int64(1795463593703)
	return &proto.EntityDataProto{
		EntityIdMSB: 7970211565720244721, EntityIdLSB: -6909334337722902882, EntityType: "DEVICE",
		PostAttributeScope: "SHARED_SCOPE", AttributeTs: &ts,
		AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{{Key: "fan", Type: proto.KeyValueType_BOOLEAN_V}}},
	}
}

// gateway lets the recorded device become a gateway that names an unknown device. The recording has
// no such step, so what goes up is compared with the device that a user made at the Java edge.
func (r *javaRig) gateway(token string) {
	r.Helper()
	m := r.down[139]
	entity := &m.DeviceUpdateMsg[0].Entity
	*entity = strings.Replace(*entity, `"additionalInfo":null`, `"additionalInfo":{"gateway":true}`, 1)
	m.DeviceCredentialsUpdateMsg = nil
	r.push(139)
	g := r.connect(token)
	g.publish("v1/gateway/connect", `{"device":"je-local-463556","type":"default"}`)
	r.elapse(2 * time.Second)
	got, want := r.new(), r.up[49]
	if n := len(got.RelationUpdateMsg); n != 1 || !strings.Contains(got.RelationUpdateMsg[0].Entity, `"type":"Created"`) {
		r.Errorf("%d relations to the gateway: %v", n, got.RelationUpdateMsg)
	}
	// The profile is left out, because it would overwrite the tenant's (CONTRACT.md 5.5).
	want = &proto.UplinkMsg{DeviceUpdateMsg: want.DeviceUpdateMsg, DeviceCredentialsUpdateMsg: want.DeviceCredentialsUpdateMsg}
	got.RelationUpdateMsg = nil
	a, b := plain(r.T, got), plain(r.T, want)
	for key, reason := range map[string]string{ // all CONTRACT.md 5.5
		"label":           "the user's",
		"customerId":      "none is unassigned",
		"deviceProfileId": "one that the server does not know is refused; it goes by the type",
		"deviceData":      "the server makes the default one",
	} {
		if b[0][key] == nil || a[0][key] != nil {
			r.Errorf("%s (%s): ours %v, the Java edge %v", key, reason, a[0][key], b[0][key])
		}
		delete(b[0], key)
	}
	if got := fmt.Sprint(a[0]["additionalInfo"]); got != "map[lastConnectedGateway:ID]" {
		r.Errorf("additionalInfo: %v", got)
	}
	delete(a[0], "additionalInfo")
	delete(b[1], "id") // of the credentials themselves, which the server gives
	if !reflect.DeepEqual(a, b) {
		r.Errorf("made by a gateway\n%v\nby a user of the Java edge\n%v", a, b)
	}
}

var (
	anyID = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	// volatile are members that differ from entity to entity.
	volatile = []string{"createdTime", "credentialsId"}
)

// plain returns the members of the entities in a message, without those that differ from entity to
// entity; a null member counts as absent (CONTRACT.md 5.1).
func plain(t *testing.T, u *proto.UplinkMsg) (list []map[string]any) {
	t.Helper()
	var texts []string
	for _, d := range u.DeviceUpdateMsg {
		texts = append(texts, d.Entity)
	}
	for _, c := range u.DeviceCredentialsUpdateMsg {
		texts = append(texts, c.Entity)
	}
	for _, text := range texts {
		m := map[string]any{}
		if err := json.Unmarshal([]byte(anyID.ReplaceAllString(text, "ID")), &m); err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(m, func(k string, v any) bool { return v == nil || slices.Contains(volatile, k) })
		list = append(list, m)
	}
	return list
}

// complete asserts that each line of the recording is compared or explained, here or in the tests
// of the local REST API.
func (r *javaRig) complete() {
	r.Helper()
	for line := range r.up {
		byREST, only := javaByREST[line] != "", javaOnly[line] != ""
		if n := len(slices.DeleteFunc([]bool{byREST, only, r.checked[line]}, func(b bool) bool { return !b })); n != 1 {
			r.Errorf("line %d: by REST %v, only the Java edge %v, checked %v", line, byREST, only, r.checked[line])
		}
	}
	text, err := os.ReadFile(filepath.Join("rest", "java_test.go"))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		r.Fatal(err)
	}
	compared := map[string]bool{}
	for _, m := range regexp.MustCompile(`same\((\d+),`).FindAllStringSubmatch(string(text), -1) {
		compared[m[1]] = true
	}
	for line, step := range javaByREST {
		if _, more := javaMore[line]; !more && !compared[strconv.Itoa(line)] {
			r.Errorf("line %d (%s) is compared nowhere", line, step)
		}
	}
}
