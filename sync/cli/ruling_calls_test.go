package cli

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"edgesync/proto"
)

// Calls go through the chain, both ways: what it changes reaches the device, its answer goes on in
// the chain, and what the chain answers does not go to the cloud.
func TestCallsThroughAChain(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	tbel := func(script string) string {
		return `{"scriptLang":"TBEL","tbelScript":` + fmt.Sprintf("%q", script) + `}`
	}
	s.chain("calls", []string{
		`filter.TbMsgTypeSwitchNode|switch|{"version":0}`,
		`transform.TbTransformMsgNode|double|` +
			tbel(`msg.params = "{\"pin\":2}"; return {msg: msg, metadata: metadata, msgType: msgType};`),
		`rpc.TbSendRPCRequestNode|call|{"timeoutInSeconds":60}`,
		`transform.TbTransformMsgNode|result|` +
			tbel(`return {msg: {answered: 1}, metadata: metadata, msgType: "POST_TELEMETRY_REQUEST"};`),
		pushNode,
		`transform.TbTransformMsgNode|reply|` + tbel(`return {msg: {here: msg.method}, metadata: metadata, msgType: msgType};`),
		`rpc.TbSendRPCReplyNode|reply|{}`,
		`filter.TbJsFilterNode|local|` + tbel(`return msg.method == "local";`),
	}, "0>1:RPC Request to Device", "1>2:Success", "2>3:Success", "3>4:Success", "0>7:RPC Request from Device", "7>5:True", "5>6:Success")
	s.ruled("calls")
	d := s.mustBeNamed("station 0")
	c, in, code, err := mqttDial(r.snapshot().MQTTAddress, "token-0")
	if err != nil || code != 0 {
		t.Fatalf("CONNACK %d, %v", code, err)
	}
	defer c.Close()
	c.Write(mqttPacket(0x82, []byte{0, 1}, mqttString("v1/devices/me/rpc/request/+"), []byte{1}))
	c.Write(mqttPacket(0x82, []byte{0, 2}, mqttString("v1/devices/me/rpc/response/+"), []byte{1}))
	answer := make(chan string, 1)
	go func() {
		got, err := s.cloud.CallRPC(t.Context(), d.ID, "setGpio", `{"pin":1}`, false, patience)
		answer <- fmt.Sprint(got, " ", err)
	}()
	topic, payload := mqttMessage(t, in)
	if payload != `{"method":"setGpio","params":{"pin":2}}` {
		t.Fatalf("%s %s", topic, payload)
	}
	c.Write(mqttPacket(0x32, mqttString(strings.Replace(topic, "request", "response", 1)), []byte{0, 3}, []byte(`{"ok":true}`)))
	if got := <-answer; got != `{"ok":true} <nil>` {
		t.Errorf("the cloud got %s", got)
	}
	s.arrived(d, "answered", 1)
	ask := func(id, method, want string) {
		t.Helper()
		c.Write(mqttPacket(0x32, mqttString("v1/devices/me/rpc/request/"+id), []byte{0, 4}, []byte(`{"method":"`+method+`","params":{}}`)))
		if topic, payload := mqttMessage(t, in); topic != "v1/devices/me/rpc/response/"+id || payload != want {
			t.Errorf("%s: %s %s, want %s", method, topic, payload, want)
		}
	}
	ask("7", "local", `{"here":"local"}`)
	s.cloud.AnswerRPC(func(*proto.DeviceRpcCallMsg) *proto.RpcResponseMsg {
		return &proto.RpcResponseMsg{Response: `{"there":1}`}
	})
	ask("8", "cloud", `{"there":1}`) // which no node answers
	summed(t, r.snapshot())
}

// What people make goes up whatever the chain says, once, and enters the chain.
func TestPeopleBesideAChain(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	s.chain("both", []string{
		`filter.TbMsgTypeSwitchNode|switch|{"version":0}`,
		`edge.TbMsgPushToCloudNode|push|{"scope":"SERVER_SCOPE"}`,
		`transform.TbTransformMsgNode|count|{"scriptLang":"TBEL","tbelScript":"return {msg: {alarms: 1}, metadata: metadata, ` +
			`msgType: \"POST_TELEMETRY_REQUEST\"};"}`,
	}, "0>1:Attributes Updated", "0>2:Entity Created", "2>1:Success")
	s.ruled("both")
	var alarms atomic.Int32
	s.cloud.OnUplink(func(_ proto.UUID, u *proto.UplinkMsg) { alarms.Add(int32(len(u.GetAlarmUpdateMsg()))) })
	d := s.mustBeNamed("station 1")
	token, id := r.admin(), proto.FormatUUID(d.ID)
	before := r.snapshot()
	if code, text := ask(t, r.http, token, "POST", "/api/plugins/telemetry/DEVICE/"+id+"/SERVER_SCOPE", `{"limit":5}`); code != 200 {
		t.Fatalf("%d %s", code, text)
	}
	s.eventually("the attribute is in the cloud", func() bool { return r.snapshot().Deployed == before.Deployed+1 })
	if n := r.snapshot(); n.Accepted != before.Accepted+1 || n.Filtered != 0 {
		t.Errorf("accepted %d, filtered %d", n.Accepted-before.Accepted, n.Filtered)
	}
	if code, text := ask(t, r.http, token, "POST", "/api/plugins/telemetry/DEVICE/"+id+"/timeseries/x", `{"people":5}`); code != 200 {
		t.Fatalf("%d %s", code, text)
	}
	s.arrived(d, "people", 1)
	alarm := `{"type":"Fire","severity":"MAJOR","originator":{"entityType":"DEVICE","id":"` + id + `"}}`
	if code, text := ask(t, r.http, token, "POST", "/api/alarm", alarm); code != 200 {
		t.Fatalf("%d %s", code, text)
	}
	s.arrived(d, "alarms", 1) // what the chain made of it
	s.eventually("all is in the cloud", func() bool { return r.snapshot().Pending == 0 })
	if n := alarms.Load(); n != 1 {
		t.Errorf("%d alarms", n)
	}
	summed(t, r.snapshot())
	// What the cloud sets enters the chain, and a push does not send it back.
	s.chain("echo", []string{
		`filter.TbMsgTypeSwitchNode|switch|{"version":0}`,
		`edge.TbMsgPushToCloudNode|push|{"scope":"SERVER_SCOPE"}`,
		`transform.TbTransformMsgNode|echo|{"scriptLang":"TBEL","tbelScript":"return {msg: {echo: metadata.source}, metadata: ` +
			`{from: metadata.deviceName}, msgType: \"POST_TELEMETRY_REQUEST\"};"}`,
	}, "0>1:Attributes Updated", "0>2:Attributes Updated", "2>1:Success")
	s.ruled("echo")
	before = r.snapshot()
	s.share(d, "limit", true)
	s.arrived(d, "echo", 1)
	if n := r.snapshot(); n.Accepted != before.Accepted+1 {
		t.Errorf("%d events went up", n.Accepted-before.Accepted)
	}
	summed(t, r.snapshot())
	// A chain that raises alarms of its own, and pushes them.
	s.chain("alarms", []string{
		hotNode,
		`action.TbCreateAlarmNode|raise|{"alarmType":"Hot","severity":"CRITICAL","scriptLang":"TBEL",` +
			`"alarmDetailsBuildTbel":"return {t: msg.t};","propagate":false}`,
		pushNode,
	}, "0>1:True", "1>2:Created")
	s.ruled("alarms")
	for n := range 3 {
		r.mustPost(t, "token-1", fmt.Sprintf(`{"t":%d}`, 40+n))
	}
	s.eventually("the alarm is in the cloud", func() bool { return alarms.Load() == 2 })
	if out, code := s.tool("rules"); code != 0 || !strings.Contains(out, `chain "alarms" (root), 3 nodes`) ||
		!strings.Contains(out, "in 3, Created 1, Updated") && !strings.Contains(out, "Created 1") {
		t.Errorf("rules: %d\n%s", code, out)
	}
	summed(t, r.snapshot())
}
