package rules

import (
	"strings"
	"testing"
)

func tbel(kind, name, text string) string {
	return kind + "|" + name + `|{"scriptLang":"TBEL","tbelScript":"` + text + `"}`
}

// TestNestedChains: outputs go on behind the node that called, with their own names (RULES.md
// 3.7).
func TestNestedChains(t *testing.T) {
	const thirdID = "00000000-0000-0000-0000-0000000000c3"
	input := func(name, id string) string {
		return `flow.TbRuleChainInputNode|` + name + `|{"ruleChainId":"` + id + `"}`
	}
	mark := func(name string) string {
		return tbel("transform.TbTransformMsgNode", name, "msg."+name+" = true; return {msg: msg};")
	}
	e := testEdge(t, Options{})
	// The called chain comes behind its caller, as in a sync.
	e.chain(t, rootID, true, []string{input("call", otherID), mark("hot"), mark("cold"), push}, "0>1:HOT", "0>2:Cold",
		"1>3:Success", "2>3:Success")
	want(t, e.post(t, 0, `{"t":1}`), `cloud {"t":1} failure; failed call`)
	e.chain(t, otherID, false, []string{
		input("deeper", thirdID), onlyHot, `flow.TbRuleChainOutputNode|Hot|{}`,
		`flow.TbRuleChainOutputNode|cold|{}`,
	},
		"0>1:back", "1>2:True", "1>3:False")
	e.chain(t, thirdID, false, []string{mark("third"), `flow.TbRuleChainOutputNode|Back|{}`}, "0>1:Success")
	want(t, e.post(t, 1, `{"t":1}`), `cloud {"t":1,"third":true,"cold":true}`)
	want(t, e.post(t, 2, `{"t":31}`), `cloud {"t":31,"third":true,"hot":true}`)
	// An output without a caller ends the message, a chain that calls itself fails.
	e.chain(t, rootID, true, []string{`flow.TbRuleChainOutputNode|x|{}`})
	want(t, e.post(t, 3, `{"t":1}`), ``)
	e.chain(t, rootID, true, []string{input("self", rootID), push}, "0>1:Failure")
	want(t, e.post(t, 4, `{"t":1}`), `cloud {"t":1}`)
	// forwardMsgToDefaultRuleChain: the chain of the device's profile.
	e.chain(t, otherID, false, []string{mark("profile"), push}, "0>1:Success")
	e.chain(t, thirdID, true, []string{
		`transform.TbChangeOriginatorNode|to|{"originatorSource":"ENTITY","entityType":"DEVICE","entityNamePattern":"meter-1"}`,
		`flow.TbRuleChainInputNode|in|{"ruleChainId":"` + rootID + `","forwardMsgToDefaultRuleChain":true}`,
	}, "0>1:Success")
	want(t, e.post(t, 5, `{"t":1}`), `cloud {"t":1,"profile":true}`)
	// Old servers jump without a return.
	if _, err := e.e.Metadata([]byte(`{"ruleChainId":{"id":"` + thirdID + `"},"firstNodeIndex":0,"nodes":[{"type":"` + typePrefix +
		`flow.TbAckNode","name":"a"}],"ruleChainConnections":[{"fromIndex":0,"targetRuleChainId":{"id":"` + otherID +
		`"},"type":"Success"}]}`)); err != nil {
		t.Fatal(err)
	}
	want(t, e.post(t, 6, `{"t":2}`), `cloud {"t":2,"profile":true}`)
}

func TestScriptNodes(t *testing.T) {
	for text, result := range map[string]string{
		"return 'One';":                 `cloud {"a":1,"b":1}`,
		"return ['one', 'two', 'one'];": `cloud {"a":1,"b":1}; cloud {"a":1,"b":2}`,
		"return [];":                    ``,
		"return 'Failure';":             `cloud {"a":1} failure; failed sw`,
		"return ['Failure', 'one'];":    `cloud {"a":1,"b":1}`,
		"return 5;":                     `cloud {"a":1} failure; failed sw`,
		"return ['one', 5];":            `cloud {"a":1} failure; failed sw`,
		"return msg.nope.x;":            `cloud {"a":1} failure; failed sw`,
	} {
		e := testEdge(t, Options{})
		e.chain(t, rootID, true, []string{
			tbel("filter.TbJsSwitchNode", "sw", text),
			tbel("transform.TbTransformMsgNode", "1", "msg.b = 1; return {msg: msg};"),
			tbel("transform.TbTransformMsgNode", "2", "msg.b = 2; return {msg: msg};"), push,
		}, "0>1:one", "0>2:TWO", "1>3:Success", "2>3:Success")
		want(t, e.post(t, 0, `{"a":1}`), result)
	}
	for text, result := range map[string]string{
		"return msg;":                  `cloud {"a":1}`,
		"return {msg: 5};":             `cloud 5`,
		"return [{msg: 1}, {msg: 2}];": `cloud 1; cloud 2`,
		"return [{msg: 1}];":           `cloud 1`,
		"return [];":                   `cloud {"a":1} failure; failed tr`,
		"return [{msg: 1}, 2];":        `cloud {"a":1} failure; failed tr`,
		"return 1;":                    `cloud {"a":1} failure; failed tr`,
		"return {msgType: 'POST_X'};":  `cloud {"a":1} failure; failed push`,
		"return {msg: msg, metadata: {ts: 5, x: [1, 'a'], y: {b: 1.5}, z: null}, msgType: ''};": `cloud {"a":1}`,
	} {
		e := testEdge(t, Options{})
		e.chain(t, rootID, true, []string{tbel("transform.TbTransformMsgNode", "tr", text), push}, "0>1:Success")
		want(t, e.post(t, 0, `{"a":1}`), result)
	}
	e := testEdge(t, Options{})
	e.chain(t, rootID, true, []string{
		tbel("transform.TbTransformMsgNode", "tr", "return {metadata: {x: [1, 'a'], y: {b: 1.5}, z: null, n: 2.0}};"),
		`transform.TbCopyKeysNode|copy|{"copyFrom":"METADATA","keys":["."]}`,
		`transform.TbRenameKeysNode|ren|{"renameIn":"METADATA","renameKeysMapping":{"x":"q"}}`,
		`transform.TbDeleteKeysNode|del|{"deleteFrom":"METADATA","keys":["y"]}`,
		`transform.TbCopyKeysNode|copy|{"copyFrom":"METADATA","keys":["q","y"]}`, push,
	}, "0>1:Success", "1>2:Success", "2>3:Success", "3>4:Success", "4>5:Success")
	want(t, e.post(t, 0, `{}`), `cloud {"x":"[1, a]","y":"{b=1.5}","n":"2.0","q":"[1, a]"}`)
	// A node without scriptLang is JavaScript.
	e.chain(t, rootID, true, []string{`filter.TbJsFilterNode|js|{"jsScript":"return msg.t > 3 && !msg.x;",` +
		`"tbelScript":"return false;"}`, push}, "0>1:True")
	want(t, e.post(t, 1, `{"t":4}`), `cloud {"t":4}`)
	want(t, e.post(t, 2, `{"t":2}`), ``)
}

// TestAttributes: what is saved, told of, and deleted.
func TestAttributes(t *testing.T) {
	e := testEdge(t, Options{})
	saves := `telemetry.TbMsgAttributesNode|save|{"scope":"SHARED_SCOPE","sendAttributesUpdatedNotification":true,` +
		`"updateAttributesOnlyOnValueChange":true,"processingSettings":{"type":"ON_EVERY_MESSAGE"}}`
	deletes := `telemetry.TbMsgDeleteAttributesNode|del|{"scope":"SERVER_SCOPE","keys":["$[key]"," "],` +
		`"sendAttributesDeletedNotification":true}`
	e.chain(t, rootID, true, []string{`filter.TbMsgTypeSwitchNode|s|{}`, saves, deletes, push},
		"0>1:Post attributes", "0>2:Other", "0>3:Attributes Updated", "0>3:Attributes Deleted")
	want(t, e.send(t, 0, deviceID, PostAttributes, `{"a":"07","c":true}`),
		`cloud {"kv":{"a":7,"c":true},"ts":1767225600000,"scope":"SHARED_SCOPE"}; attributes {"a":7,"c":true}`)
	want(t, e.send(t, 1, deviceID, PostAttributes, `{"a":7,"c":false}`),
		`cloud {"kv":{"c":false},"ts":1767225600001,"scope":"SHARED_SCOPE"}; attributes {"c":false}`)
	want(t, e.send(t, 2, deviceID, PostAttributes, `{"c":false}`), ``)
	want(t, e.send(t, 3, deviceID, "X", `{"key":"c"}`), `cloud {"keys":["c"],"scope":"SERVER_SCOPE"}; attributes ["c"]`)
	out := e.say(t, `{"at":4,"in":{"msgType":"POST_ATTRIBUTES_REQUEST","originator":{"entityType":"DEVICE","id":"`+deviceID+
		`"},"metadata":{"scope":"NOPE"},"data":{"a":1}}}`)
	want(t, out, `cloud {"kv":{"a":1},"ts":1767225600004,"scope":"CLIENT_SCOPE","isPostAttributes":true} failure; failed save`)
}

func TestAlarms(t *testing.T) {
	create := func(more string) string {
		return `action.TbCreateAlarmNode|create|{"alarmType":"too $[what]","severity":"MAJOR","scriptLang":"TBEL",` +
			`"alarmDetailsBuildTbel":"return {n: (metadata.prevAlarmDetails == null ? 0 : 1)};"` + more + `}`
	}
	e := testEdge(t, Options{})
	only := `filter.TbMsgTypeFilterNode|only|{"messageTypes":["POST_TELEMETRY_REQUEST"]}`
	e.chain(t, rootID, true, []string{only, create(``), push}, "0>1:True", "1>2:Created", "1>2:Updated")
	if got := e.post(t, 0, `{"what":"hot"}`); !strings.Contains(got, `"type":"too hot"`) || !strings.Contains(got, `"details":{"n":0}`) {
		t.Error(got)
	}
	if got := e.post(t, 5, `{"what":"hot"}`); !strings.Contains(got, `"endTs":1767225600005`) || !strings.Contains(got,
		`"details":{"n":1}`) {
		t.Error(got)
	}
	if got := e.post(t, 6, `{"what":"cold"}`); !strings.Contains(got, `"type":"too cold"`) || len(e.alarms) != 2 {
		t.Error(got)
	}
	dynamic := strings.Replace(create(`,"dynamicSeverity":true`), `"MAJOR"`, `"$[how]"`, 1)
	e.chain(t, rootID, true, []string{only, dynamic, push}, "0>1:True", "1>2:Created")
	if got := e.post(t, 7, `{"what":"x","how":"MINOR"}`); !strings.Contains(got, `"severity":"MINOR"`) {
		t.Error(got)
	}
	want(t, e.post(t, 8, `{"what":"y","how":"BAD"}`), `cloud {"what":"y","how":"BAD"} failure; failed create`)
	use := `action.TbCreateAlarmNode|create|{"useMessageAlarmData":true}`
	e.chain(t, rootID, true, []string{only, use, push}, "0>1:True", "1>2:Created")
	if got := e.post(t, 9, `{"type":"own","severity":"WARNING","details":{"a":1}}`); !strings.Contains(got, `"details":{"a":1}`) {
		t.Error(got)
	}
	clears := `action.TbClearAlarmNode|clear|{"alarmType":"own","scriptLang":"TBEL","alarmDetailsBuildTbel":"return {};"}`
	status := `filter.TbCheckAlarmStatusNode|st|{"alarmStatusList":["CLEARED_UNACK"]}`
	e.chain(t, rootID, true, []string{`filter.TbMsgTypeFilterNode|f|{"messageTypes":["ALARM_CLEAR"]}`, clears, status, push},
		"0>1:False", "1>2:Cleared", "2>3:True", "1>3:False")
	if got := e.post(t, 10, `{"t":1}`); !strings.Contains(got, `"status":"CLEARED_UNACK"`) || !strings.Contains(got,
		`"clearTs":1767225600010`) {
		t.Error(got)
	}
	want(t, e.post(t, 11, `{"t":1}`), `cloud {"t":1}`)

	// What an alarm says to the chain makes another alarm: that ends too.
	e.chain(t, rootID, true, []string{create(``)})
	e.post(t, 12, `{"what":"z"}`)
	if s := e.e.Sums(); s.Failed != 2 {
		t.Errorf("%+v", s)
	}
}
