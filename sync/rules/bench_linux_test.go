package rules

import (
	"fmt"
	"testing"

	"edgesync/sync/rules/spent"
)

// BenchmarkCompile is a chain of 50 nodes from its metadata on, as the cloud sends them: five times
// a switch of types, filters, enrichments, transformations, a window, saving and pushing. Each
// chain is another one than that before, so that the engine takes it.
func BenchmarkCompile(b *testing.B) {
	const parts = 5
	var nodes, links []string
	for part := range parts {
		at := len(nodes)
		nodes = append(nodes,
			`filter.TbMsgTypeSwitchNode|switch|{"version":0}`,
			tbel("filter.TbJsFilterNode", "range", "return msg.t > 30 && msg.t < 80 && metadata.deviceType == 'thermostat';"),
			tbel("filter.TbJsSwitchNode", "level", "if (msg.t > 60) { return ['hot', 'alarm']; } return msg.t > 30 ? 'warm' : 'cold';"),
			`metadata.TbGetAttributesNode|limits|{"fetchTo":"METADATA","tellFailureIfAbsent":false,"clientAttributeNames":[],`+
				`"sharedAttributeNames":["limit","unit"],"serverAttributeNames":["active"],`+
				`"latestTsKeyNames":["t"],"getLatestValueWithTs":false}`,
			tbel("transform.TbTransformMsgNode", "unit", "msg.f = toFixed(msg.t * 1.8 + 32, 1); var sum = 0; "+
				"foreach (k : msg.keySet()) { sum += msg[k]; } msg.sum = sum; return {msg: msg, metadata: metadata, msgType: msgType};"),
			`transform.TbRenameKeysNode|names|{"renameIn":"DATA","renameKeysMapping":{"t":"temperature","h":"humidity"}}`,
			minute, save,
			tbel("filter.TbJsFilterNode", "old", "var limit = parseDouble(metadata.limit); return msg.t > limit;"),
			push,
		)
		for i := 1; i < 10; i++ {
			relation := []string{"Post telemetry", "True", "warm", "Success", "Success", "Success", "Success", "Success", "True"}[i-1]
			links = append(links, fmt.Sprintf("%d>%d:%s", at+i-1, at+i, relation))
		}
		if part > 0 {
			links = append(links, fmt.Sprintf("%d>%d:False", at-9, at))
		}
	}
	texts := [2][]byte{metadataOf(rootID, nodes, links...), metadataOf(rootID, nodes, links[1:]...)}
	e := New(nil, nil, Options{Now: func() int64 { return tryStart }})
	if len(nodes) != 50 {
		b.Fatal(len(nodes))
	}
	if _, err := e.Metadata(texts[1]); err != nil {
		b.Fatal(err)
	}
	for _, c := range e.chains {
		for _, n := range c.nodes {
			if n.work == nil {
				b.Fatalf("%s is not executed: %s", n.name, n.reason)
			}
		}
	}
	i := 0
	b.ReportAllocs()
	report := spent.From(b)
	for ; b.Loop(); i++ {
		if changed, err := e.Metadata(texts[i%2]); err != nil || !changed {
			b.Fatal(changed, err)
		}
	}
	report()
}
