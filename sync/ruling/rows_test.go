package ruling

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/sync/clock"
	"edgesync/sync/registry"
	"edgesync/sync/rest"
)

// What undoes a post of thousands of rows is bounded by what is stored of the device, not by the
// rows.
func TestUndoOfManyRowsIsBounded(t *testing.T) {
	const rows = 20_000
	for name, nodes := range map[string][]string{
		"latest values": {saveNode, `metadata.CalculateDeltaNode|d|{"inputValueKey":"a","outputValueKey":"d","useCache":false}`},
		"a memory":      {switchNode, `metadata.CalculateDeltaNode|d|{"inputValueKey":"a","outputValueKey":"d","useCache":true}`},
		"attributes": {
			`transform.TbTransformMsgNode|as attributes|{"scriptLang":"TBEL",` +
				`"tbelScript":"return {msg: msg, metadata: metadata, msgType: 'POST_ATTRIBUTES_REQUEST'};"}`,
			`telemetry.TbMsgAttributesNode|keep|{"processingSettings":{"type":"ON_EVERY_MESSAGE"},"scope":"SERVER_SCOPE"}`,
		},
	} {
		g := newRig(t)
		latest := rest.NewLatest(new(clock.Clock))
		g.Options.Latest = latest
		g.readsLatest.Store(true)
		g.chain(chainID, true, append(nodes, pushNode), "0>1:Success", "0>1:Post telemetry", "1>2:Success")
		var keys, list []string
		for n := range 200 {
			keys = append(keys, fmt.Sprintf(`"k%d":%d`, n, n))
		}
		latest.Observe(events(t, 1, "{"+strings.Join(keys, ",")+"}"))
		for n := range rows {
			list = append(list, fmt.Sprintf(`{"ts":%d,"values":{"a":%d}}`, 1000+n, n))
		}
		post := events(t, 1, "["+strings.Join(list, ",")+"]")
		used := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before := used()
		_, finish, err := g.Take(post)
		g.mu.Lock()
		g.queue = nil
		g.mu.Unlock()
		after := used()
		if err != nil || finish == nil {
			t.Fatal(err)
		}
		if after-before > 2<<20 {
			t.Errorf("%s: %d bytes for %d rows", name, after-before, rows)
		}
		value := func() (text string) {
			g.reg.Attributes(device(1), registry.ServerScope, []string{"a"}, func(kv *proto.KV) { text = fmt.Sprint(kv.Long) })
			return text
		}
		if name == "attributes" && value() != "19999" {
			t.Errorf("a is %s", value())
		}
		if err := finish(errFull, nil); err != errFull {
			t.Error(err)
		}
		if value() != "" {
			t.Errorf("%s: an attribute of a refused post is left: %s", name, value())
		}
		if _, _, ok := latest.Value(device(1), "a"); ok {
			t.Errorf("%s: a value of a refused post is left", name)
		}
		if _, kv, ok := latest.Value(device(1), "k7"); !ok || kv.Long != 7 {
			t.Errorf("%s: %v %v", name, kv, ok)
		}
		runtime.KeepAlive(post)
		g.close(false)
	}
}
