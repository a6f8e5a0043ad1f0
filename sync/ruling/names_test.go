package ruling

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"edgesync/proto"
	"edgesync/sync/device/payload"
	"edgesync/sync/rules"
)

// namesOfAnyScript are texts as people name things: in JSON, as they are in data, and, where that
// is something else, as the names of chains are.
var namesOfAnyScript = []struct{ name, json, want, shown string }{
	{"emoji", `"🌡️ 👩‍🔧"`, "🌡️ 👩‍🔧", ""},
	{"escaped", `"\ud83d\ude00\u00e9"`, "😀é", ""},
	{"combining", `"e\u0301 und é"`, "e\u0301 und é", ""},
	{"right to left", `"מד חום \u202eabc\u202c"`, "מד חום \u202eabc\u202c", ""},
	{"four bytes", `"𠜎𝒳"`, "𠜎𝒳", ""},
	{"quotes", `"\"a\\b\"\n\t</script>"`, "\"a\\b\"\n\t</script>", ""},
	{"NUL", `"a\u0000b"`, "a\x00b", ""},
	{"half a pair", `"a\ud800b"`, "a?b", "a\ufffdb"},
	{"the other half", `"a\udc00b"`, "a?b", "a\ufffdb"},
	{"no UTF-8", "\"a\xff\xc3b\"", "a\ufffd\ufffdb", ""},
	{"lines of JavaScript", `"a\u2028b\u2029"`, "a\u2028b\u2029", ""},
}

// Names in any script go through chains as they are: those of devices, chains, nodes and relations,
// keys, values, types of alarms. What goes up and what is shown is UTF-8.
func TestNamesInAnyScript(t *testing.T) {
	for _, c := range namesOfAnyScript {
		t.Run(c.name, func(t *testing.T) {
			g := newRig(t)
			defer g.close(false)
			if c.shown == "" {
				c.shown = c.want
			}
			text := string(proto.AppendJSONString(nil, c.want))
			d := &proto.DeviceUpdateMsg{Entity: `{"name":` + c.json + `,"type":"default","label":` + c.json + `}`}
			d.IdMSB, d.IdLSB = proto.Halves(device(1))
			g.down(&proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{d}})
			named, _ := g.reg.ByID(device(1))

			ref := `{"entityType":"RULE_CHAIN","id":"` + proto.FormatUUID(chainID) + `"}`
			script := func(s string) string {
				b, _ := json.Marshal(s)
				return `{"scriptLang":"TBEL","tbelScript":` + string(b) + `}`
			}
			node := func(typ, config string) string {
				return `{"type":"org.thingsboard.rule.engine.` + typ + `","name":` + c.json + `,"configuration":` + config + `}`
			}
			texts := [2]string{
				`{"id":` + ref + `,"name":` + c.json + `,"root":true}`,
				`{"ruleChainId":` + ref + `,"firstNodeIndex":0,"nodes":[` +
					node("filter.TbJsSwitchNode", script(`return [msg.way];`)) + `,` +
					node("transform.TbTransformMsgNode",
						script(`msg.name = metadata.deviceName; return {msg: msg, metadata: metadata, msgType: msgType};`)) +
					`,` + node("edge.TbMsgPushToCloudNode", `{"scope":"CLIENT_SCOPE"}`) +
					`,` + node("action.TbCreateAlarmNode",
					`{"alarmType":"$[way]","severity":"MAJOR","scriptLang":"TBEL","alarmDetailsBuildTbel":"return msg;"}`) +
					`],"connections":[{"fromIndex":0,"toIndex":1,"type":` + text + `},{"fromIndex":1,"toIndex":2,"type":"success"},` +
					`{"fromIndex":2,"toIndex":3,"type":"Success"}]}`,
			}
			if err := g.engine.Head([]byte(texts[0])); err != nil {
				t.Fatal(err)
			}
			if _, err := g.engine.Metadata([]byte(texts[1])); err != nil {
				t.Fatal(err)
			}

			key, jsonKey := c.want, c.json
			list, err := new(payload.Parser).Telemetry([]byte(`{`+jsonKey+`:1,"way":`+c.json+`}`), device(1), 1)
			if err != nil { // markup and NUL, which the server refuses in a key
				key = "k"
				if list, err = new(payload.Parser).Telemetry([]byte(`{"k":1,"way":`+c.json+`}`), device(1), 1); err != nil {
					t.Fatal(err)
				}
			}
			out, finish, err := g.Take(list)
			if err != nil || len(out) != 1 {
				t.Fatal(len(out), err)
			}
			f, ok := open(out[0].Fragment)
			if !ok {
				t.Fatal("not readable")
			}
			got := map[string]string{}
			for _, kv := range f.values() {
				if !utf8.Valid(kv.Key) || !utf8.Valid(kv.Str) {
					t.Errorf("%q: %q", kv.Key, kv.Str)
				}
				got[string(kv.Key)] = string(proto.AppendJSONValue(nil, &kv))
			}
			name := string(proto.AppendJSONString(nil, named.Name))
			if want := fmt.Sprint(map[string]string{key: "1", "way": text, "name": name}); fmt.Sprint(got) != want {
				t.Errorf("%v, want %v", got, want)
			}
			if err := finish(nil, nil); err != nil {
				t.Error(err)
			}
			a := g.OpenAlarm(&rules.Entity{Type: "DEVICE", ID: device(1)}, c.want)
			if a == nil || !utf8.ValidString(a.Details) {
				t.Errorf("alarm %+v", a)
			}
			for _, contents := range []bool{true, false} {
				b, err := json.Marshal(g.Report(contents))
				var r Report
				if err != nil || !utf8.Valid(b) || json.Unmarshal(b, &r) != nil {
					t.Fatal(string(b), err)
				}
				chain := &r.Chains[0]
				if r.Root != c.shown || chain.Name != c.shown || chain.Nodes[0].Name != c.shown || chain.Nodes[0].Out[c.want] != 1 {
					t.Errorf("%q %+v, want %q", r.Root, chain.Nodes[0], c.want)
				}
				if strings.Contains(string(b), "</script>") {
					t.Errorf("%s", b)
				}
			}
			if s := g.engine.Sums(); s.Received+s.Made != s.Accepted+s.Filtered+uint64(s.Held)+s.Merged {
				t.Errorf("%+v", s)
			}
		})
	}
}
