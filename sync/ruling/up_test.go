package ruling

import (
	"fmt"
	"testing"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// What people make is in the queue already: a push node passes it on. It sends what the chain has
// made something else of, and refuses the types that a real edge refuses (RULES.md 4.4).
func TestWhatIsUpIsNotSentTwice(t *testing.T) {
	alarm := `{"id":{"entityType":"ALARM","id":"a0000000-0000-0000-0000-000000000009"},"type":"Hot","severity":"MAJOR",` +
		`"originator":{"entityType":"DEVICE","id":"` + proto.FormatUUID(device(1)) + `"}}`
	kv := []proto.KV{{Key: []byte("k"), Type: proto.KeyValueType_LONG_V, Long: 7}}
	attributes := proto.Event{
		Kind: proto.KindEntityData, Action: proto.ActionAttributesUpdated, Entity: device(1),
		Fragment: proto.AppendAttributesUpdated(nil, device(1), "DEVICE", "SHARED_SCOPE", 5, kv),
	}
	entity := proto.Event{Kind: proto.KindDevice, Action: proto.ActionUpdated, Entity: device(1)}
	raised := proto.Event{Kind: proto.KindAlarm, Action: proto.ActionAdded, Entity: proto.UUID{0xa0, 15: 9}}
	for _, c := range []struct {
		name, script string
		e            proto.Event
		sent, failed uint64
	}{
		{"attributes", `return {msg: msg, metadata: metadata, msgType: msgType};`, attributes, 0, 0},
		{"changed attributes", `msg.k = 8; return {msg: msg, metadata: metadata, msgType: msgType};`, attributes, 1, 0},
		{"attributes as telemetry", `return {msg: msg, metadata: metadata, msgType: 'POST_TELEMETRY_REQUEST'};`, attributes, 1, 0},
		{"an entity", `return {msg: msg, metadata: metadata, msgType: msgType};`, entity, 0, 1},
		{"an entity as telemetry", `return {msg: {n: msg.name}, metadata: {}, msgType: 'POST_TELEMETRY_REQUEST'};`, entity, 1, 0},
		{"an alarm", `return {msg: msg, metadata: metadata, msgType: msgType};`, raised, 0, 1},
		{"an alarm as one", `return {msg: msg, metadata: {isNewAlarm: 'true'}, msgType: 'ALARM'};`, raised, 0, 0},
	} {
		g := newRig(t)
		if err := g.reg.Edit(0, registry.Edit{Kind: proto.KindAlarm, ID: raised.Entity, Text: alarm}); err != nil {
			t.Fatal(err)
		}
		g.chain(chainID, true, []string{
			fmt.Sprintf(`transform.TbTransformMsgNode|t|{"scriptLang":"TBEL","tbelScript":%q}`, c.script), pushNode,
		}, "0>1:Success")
		g.Entered([]proto.Event{c.e}, registry.User{}, 0, 0)()
		s := g.engine.Sums()
		if uint64(len(g.queue)) != c.sent || s.Failed != c.failed {
			t.Errorf("%s: %d sent, %d failed; want %d, %d", c.name, len(g.queue), s.Failed, c.sent, c.failed)
		}
		if s.Received+s.Made != s.Accepted+s.Filtered+uint64(s.Held)+s.Merged {
			t.Errorf("%s: %+v", c.name, s)
		}
		g.close(false)
	}
}
