package ruling

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
	"edgesync/sync/rules"
	"edgesync/sync/rules/script"
)

// offered is a line of what a server offers for chains of edges.
type offered struct {
	Type, Verdict string
	Version       int `json:"configurationVersion"`
	Relations     []string
	Default       json.RawMessage
}

func offers(t *testing.T) (list []offered) {
	t.Helper()
	b, err := os.ReadFile("../rules/testdata/nodes.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var o offered
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err)
		}
		o.Type = strings.TrimPrefix(o.Type, "org.thingsboard.rule.engine.")
		list = append(list, o)
	}
	return list
}

// tell runs a message through a chain of one node, and says by which relation it left and as what.
func (g *rig) tell(node string, relations []string, m *rules.Message) []string {
	g.Helper()
	nodes, links := []string{node}, []string(nil)
	for i, name := range relations {
		nodes = append(nodes, `transform.TbTransformMsgNode|`+name+`|{"scriptLang":"TBEL","tbelScript":"`+
			`return {msg: {r: '`+name+`', d: JSON.stringify(msg)}, metadata: {}, msgType: 'POST_TELEMETRY_REQUEST'};"}`)
		at := fmt.Sprint(1 + i)
		links = append(links, "0>"+at+":"+name, at+">"+fmt.Sprint(1+len(relations))+":Success")
	}
	g.chain(proto.UUID{0xc0, 15: 2}, false, []string{nodes[len(nodes)-1], `flow.TbRuleChainOutputNode|done|{}`}, "0>1:Success")
	g.chain(chainID, true, append(nodes, pushNode), links...)
	g.mu.Lock()
	g.queue = nil
	g.mu.Unlock()
	g.Start()
	g.handleQuietly(m)
	time.Sleep(62 * time.Second) // what waits goes on
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	var said []string
	for i := range g.queue {
		e := &g.queue[i]
		f, ok := open(e.Fragment)
		v := map[string]string{}
		for _, kv := range f.values() {
			v[string(kv.Key)] = string(kv.Str)
		}
		var j struct {
			Type, Severity string
			Details        json.RawMessage
		}
		_ = json.Unmarshal([]byte(v["d"]), &j)
		text := strings.TrimSpace(v["r"] + " " + v["d"])
		var state struct{ LastConnectTime, LastInactivityAlarmTime int64 }
		_ = json.Unmarshal([]byte(v["d"]), &state)
		switch {
		case !ok && strings.Contains(string(e.Fragment), proto.FormatUUID(proto.NullUUID)):
			text = "unassigned"
		case !ok && strings.Contains(string(e.Fragment), proto.FormatUUID(acme)):
			text = "assigned"
		case v["r"] == "":
			text = "pushed " + string(f.appendJSON(nil))
		case j.Severity != "":
			text = v["r"] + " " + j.Type + " " + j.Severity + " " + string(j.Details)
		case state.LastConnectTime > 0:
			text = v["r"] + " lastConnectTime " + fmt.Sprint(state.LastConnectTime)
		case state.LastInactivityAlarmTime > 0:
			text = v["r"] + " lastInactivityAlarmTime " + fmt.Sprint(state.LastInactivityAlarmTime)
		}
		if n := e.Entity[15]; n > 1 && e.Entity == device(int(n)) && ok {
			text += fmt.Sprint(" of ", n)
		}
		said = append(said, text)
	}
	return said
}

var acme = proto.UUID{0xac}

// effect is what a node does: what left it, and what is stored.
func (g *rig) effect(node, in string) string {
	customer := &proto.CustomerUpdateMsg{Entity: `{"title":"ACME"}`}
	customer.IdMSB, customer.IdLSB = proto.Halves(acme)
	d := &proto.DeviceUpdateMsg{Entity: `{"name":"pump 3","type":"default","customerId":{"entityType":"CUSTOMER","id":"` +
		proto.FormatUUID(acme) + `"}}`}
	d.IdMSB, d.IdLSB = proto.Halves(device(3))
	g.down(&proto.DownlinkMsg{
		CustomerUpdateMsg: []*proto.CustomerUpdateMsg{customer}, DeviceUpdateMsg: []*proto.DeviceUpdateMsg{d},
	})
	kv := []proto.KV{{Key: []byte("limit"), Type: proto.KeyValueType_LONG_V, Long: 20}}
	if err := g.reg.KeepValues(device(1), registry.SharedScope, 1, kv); err != nil {
		g.Fatal(err)
	}
	m := telemetryOf(1, in)
	switch in {
	case "alarm":
		a := &rules.Alarm{Type: "Hot", Severity: "MAJOR", Originator: m.Originator, Details: "{}"}
		if err := g.saveAlarm(a); err != nil {
			g.Fatal(err)
		}
		m.Data = a.JSON(g)
	case "attributes":
		m.Type, m.Data, m.Metadata = rules.PostAttributes, `{"limit":7}`, nil
	case "of 3":
		m.Originator.ID, m.Data = device(3), `{"t":5}`
	}
	relations := []string{
		"Success", "Failure", "True", "False", "Other", "Post telemetry", "Device", "default", "Created", "Cleared", "Rate limited",
		"done",
	}
	said := g.tell(node, relations, m)
	switch {
	case strings.Contains(node, "DeviceState"): // its event comes from another goroutine
		slices.Sort(said)
	case strings.HasPrefix(node, "filter."):
		for i, text := range said {
			said[i], _, _ = strings.Cut(text, " {")
		}
	case in == "attributes":
		v, _ := g.Attribute(&m.Originator, "SERVER_SCOPE", "limit")
		said[0] += `; attribute {"limit":` + v.Value + "}"
	case strings.Contains(node, "DeleteAttributes"):
		if _, here := g.Attribute(&m.Originator, "SHARED_SCOPE", "limit"); !here {
			said[0] += "; no limit"
		}
	}
	return strings.Join(said, ";")
}

func telemetryOf(n int, data string) *rules.Message {
	return &rules.Message{
		Type: rules.PostTelemetry, Originator: rules.Entity{Type: "DEVICE", ID: device(n)}, Time: 1000, Data: data,
		Metadata: []script.Pair{{Key: "ts", Value: "1000"}},
	}
}

// Every node that is to be executed is, with the configuration that a server offers.
func TestOfferedNodes(t *testing.T) {
	musts := 0
	for _, o := range offers(t) {
		if o.Verdict != "must" {
			continue
		}
		musts++
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t)
			defer g.close(false)
			g.tell(o.Type+"|n|"+string(o.Default), []string{"Success"}, telemetryOf(1, `{"temperature":5}`))
			if n := g.Report(true).Chains[0].Nodes[0]; !n.Supported || strings.HasPrefix(n.LastError, "a fault") {
				t.Errorf("%s: %s%s", o.Type, n.Reason, n.LastError)
			}
		})
	}
	if musts != 38 {
		t.Errorf("%d of 38 nodes", musts)
	}
}

// What is configured as people do it has the effect that RULES.md 4.3 to 4.6 say, on what the edge
// stores.
func TestNodesOnTheRegistry(t *testing.T) {
	const tbel = `{"scriptLang":"TBEL","tbelScript":"`
	alarm := `{"alarmType":"Hot","severity":"MAJOR","scriptLang":"TBEL","alarmDetailsBuildTbel":"return {t: msg.t};"}`
	for _, c := range []struct {
		node, in, want string
	}{
		{`filter.TbMsgTypeSwitchNode|n|{}`, `{"t":5}`, `Post telemetry`},
		{`filter.TbMsgTypeFilterNode|n|{"messageTypes":["X"]}`, `{"t":5}`, `False`},
		{`filter.TbOriginatorTypeSwitchNode|n|{}`, `{"t":5}`, `Device`},
		{`filter.TbOriginatorTypeFilterNode|n|{"originatorTypes":["ASSET"]}`, `{"t":5}`, `False`},
		{`filter.TbCheckMessageNode|n|{"messageNames":["t","u"],"checkAllKeys":false}`, `{"t":null}`, `True`},
		{`filter.TbDeviceTypeSwitchNode|n|{}`, `{"t":5}`, `default`},
		{`filter.TbAssetTypeSwitchNode|n|{}`, `{"t":5}`, `Failure`},
		{`filter.TbJsFilterNode|n|` + tbel + `return msg.t > 4;"}`, `{"t":5}`, `True`},
		{`filter.TbJsSwitchNode|n|` + tbel + `return ['True','Other'];"}`, `{"t":5}`, `True;Other`},
		{`filter.TbCheckAlarmStatusNode|n|{"alarmStatusList":["CLEARED_ACK"]}`, `alarm`, `False Hot MAJOR`},
		{
			`metadata.TbGetAttributesNode|n|{"fetchTo":"DATA","sharedAttributeNames":["limit"],"latestTsKeyNames":["x"]}`, `{"t":5}`,
			`Success {"t":5,"shared_limit":20}`,
		},
		{`metadata.TbGetAttributesNode|n|{"serverAttributeNames":["no"],"tellFailureIfAbsent":true}`, `{"t":5}`, `Failure {"t":5}`},
		{
			`metadata.TbGetOriginatorFieldsNode|n|{"fetchTo":"DATA","dataMapping":{"name":"who"}}`, `{"t":5}`,
			`Success {"t":5,"who":"pump 1"}`,
		},
		{`metadata.CalculateDeltaNode|n|{"inputValueKey":"t","outputValueKey":"d","useCache":true}`, `{"t":5}`, `Success {"t":5,"d":0}`},
		{`transform.TbTransformMsgNode|n|` + tbel + `return {msg: {u: msg.t * 2}};"}`, `{"t":5}`, `Success {"u":10}`},
		{`transform.TbCopyKeysNode|n|{"copyFrom":"METADATA","keys":["t."]}`, `{"t":5}`, `Success {"t":5,"ts":"1000"}`},
		{`transform.TbRenameKeysNode|n|{"renameIn":"DATA","renameKeysMapping":{"t":"u"}}`, `{"t":5}`, `Success {"u":5}`},
		{`transform.TbDeleteKeysNode|n|{"deleteFrom":"DATA","keys":["t"]}`, `{"t":5,"u":6}`, `Success {"u":6}`},
		{`transform.TbJsonPathNode|n|{"jsonPath":"$.a[0]"}`, `{"a":[{"t":5}]}`, `Success {"t":5}`},
		{`transform.TbSplitArrayMsgNode|n|{}`, `[{"t":5},{"t":6}]`, `Success {"t":5};Success {"t":6}`},
		{
			`transform.TbChangeOriginatorNode|n|{"originatorSource":"ENTITY","entityType":"DEVICE","entityNamePattern":"pump 2"}`,
			`{"t":5}`,
			`Success {"t":5} of 2`,
		},
		{`transform.TbChangeOriginatorNode|n|{"originatorSource":"CUSTOMER"}`, `{"t":5}`, `Failure {"t":5}`},
		{windowNode, `{"t":5}`, `Success {"t":5}`},
		{`telemetry.TbMsgTimeseriesNode|n|{"processingSettings":{"type":"ON_EVERY_MESSAGE"}}`, `{}`, `Failure {}`},
		{`telemetry.TbMsgAttributesNode|n|{"scope":"SERVER_SCOPE"}`, `attributes`, `Success {"limit":7}; attribute {"limit":7}`},
		{
			`telemetry.TbMsgDeleteAttributesNode|n|{"scope":"SHARED_SCOPE","keys":["$[key]"]}`, `{"key":"limit"}`,
			`Success {"key":"limit"}; no limit`,
		},
		{`edge.TbMsgPushToCloudNode|n|{"scope":"SERVER_SCOPE"}`, `{"t":5}`, `pushed {"t":5};Success {"t":5}`},
		{`action.TbCreateAlarmNode|n|` + alarm, `{"t":5}`, `Created Hot MAJOR {"t":5}`},
		{`action.TbClearAlarmNode|n|` + alarm, `alarm`, `Cleared Hot MAJOR {};False Hot MAJOR {}`},
		{`action.TbLogNode|n|` + tbel + `return 'seen ' + msg.t;"}`, `{"t":5}`, `Success {"t":5}`},
		{`math.TbMathNode|n|{"operation":"ADD","arguments":[{"name":"x","type":"MESSAGE_BODY","key":"t"},` +
			`{"name":"y","type":"ATTRIBUTE","key":"limit","attributeScope":"SHARED_SCOPE"}],` +
			`"result":{"type":"MESSAGE_BODY","key":"sum","resultValuePrecision":1}}`, `{"t":5}`, `Success {"t":5,"sum":25.0}`},
		{`rpc.TbSendRPCRequestNode|n|{"timeoutInSeconds":5}`, `{"method":"m","params":1}`, `Failure {"method":"m","params":1}`},
		{`rpc.TbSendRPCReplyNode|n|{}`, `{"t":5}`, `Failure {"t":5}`},
		{
			`debug.TbMsgGeneratorNode|n|{"msgCount":2,"periodInSeconds":10,"originatorType":"DEVICE","originatorId":"` +
				proto.FormatUUID(device(2)) + `",` + tbel[1:] + `return {msg: {g: 1}, metadata: {}, msgType: 'X'};"}`, `{"t":5}`,
			`Success {"g":1} of 2;Success {"g":1} of 2`,
		},
		{`delay.TbMsgDelayNode|n|{"periodInSeconds":30}`, `{"t":5}`, `Success {"t":5}`},
		{`profile.TbDeviceProfileNode|n|{}`, `{"t":5}`, `Success {"t":5}`},
		{`flow.TbAckNode|n|{}`, `{"t":5}`, `Success {"t":5}`},
		{`flow.TbCheckpointNode|n|{}`, `{"t":5}`, `Success {"t":5}`},
		{`flow.TbRuleChainOutputNode|n|{}`, `{"t":5}`, ``},
		{
			`flow.TbRuleChainInputNode|n|{"ruleChainId":"` + proto.FormatUUID(proto.UUID{0xc0, 15: 2}) + `"}`, `{"t":5}`,
			`done {"r":"done","d":"{\"t\":5}"}`,
		},

		{`action.TbAssignToCustomerNode|n|{"customerNamePattern":"ACME"}`, `{"t":5}`, `assigned;Success {"t":5}`},
		{`action.TbAssignToCustomerNode|n|{"customerNamePattern":"nobody"}`, `{"t":5}`, `Failure {"t":5}`},
		{`action.TbUnassignFromCustomerNode|n|{}`, `of 3`, `unassigned;Success {"t":5} of 3`},
		{`action.TbUnassignFromCustomerNode|n|{}`, `{"t":5}`, `Success {"t":5}`},
		{`action.TbDeviceStateNode|n|{"event":"CONNECT_EVENT"}`, `{"t":5}`, `Rate limited lastConnectTime 1000;Success {"t":5}`},
		{`action.TbDeviceStateNode|n|{"event":"INACTIVITY_EVENT"}`, `{"t":5}`, `Rate limited lastInactivityAlarmTime 1000;Success {"t":5}`},
	} {
		t.Run(c.node[:strings.IndexByte(c.node, '|')], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t)
				defer g.close(false)
				if got := g.effect(c.node, c.in); got != c.want {
					t.Errorf("%s on %s:\n got %s\nwant %s", c.node, c.in, got, c.want)
				}
			})
		})
	}
}
