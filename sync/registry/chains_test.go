package registry_test

import (
	"fmt"
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// chainDown is the head of a rule chain.
func chainDown(n byte, root bool) *proto.DownlinkMsg {
	u := &proto.RuleChainUpdateMsg{Entity: fmt.Sprintf(`{"name":"c%d","root":%v}`, n, root)}
	u.IdMSB, u.IdLSB = proto.Halves(proto.UUID{15: n})
	return &proto.DownlinkMsg{RuleChainUpdateMsg: []*proto.RuleChainUpdateMsg{u}}
}

// One chain is the root, also where the former one lost that without a message, over a restart too;
// and who executes chains hears of each change, once.
func TestRootChain(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	var heard []byte
	r.Hear(func(what registry.Heard, id proto.UUID) {
		if what == registry.ChainHeard {
			heard = append(heard, '0'+id[15])
		}
	})
	apply := func(m *proto.DownlinkMsg) {
		t.Helper()
		if _, err := r.Apply(m); err != nil {
			t.Fatal(err)
		}
	}
	roots := func() (names string) {
		r.Entities(proto.KindRuleChain, func(_ proto.UUID, text []byte) bool {
			if strings.Contains(string(text), `"root":true`) {
				names += string(text[9:11])
			}
			return true
		})
		return names
	}
	apply(chainDown(1, true))
	apply(chainDown(2, false))
	apply(chainDown(2, false)) // nothing has changed
	apply(chainDown(2, true))
	if got := roots(); got != "c2" || string(heard) != "1212" {
		t.Errorf("the root is %q, heard %q", got, heard)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	if got := roots(); got != "c2" {
		t.Errorf("after a restart the root is %q", got)
	}
	if n := r.NodeLimit(); n != 0 {
		t.Errorf("a limit of %d", n)
	}
	apply(&proto.DownlinkMsg{TenantProfileUpdateMsg: []*proto.TenantProfileUpdateMsg{{
		Entity: `{"id":{"id":"` + proto.FormatUUID(proto.UUID{15: 9}) + `"},` +
			`"profileData":{"configuration":{"maxRuleNodeExecutionsPerMessage":50}}}`,
	}}})
	if n := r.NodeLimit(); n != 50 {
		t.Errorf("a limit of %d", n)
	}
}

// What a chain saves is here at once, and after a flush.
func TestKeptByChains(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	id := proto.UUID{15: 5}
	d := &proto.DeviceUpdateMsg{Entity: `{"name":"pump","type":"default"}`}
	d.IdMSB, d.IdLSB = proto.Halves(id)
	if _, err := r.Apply(&proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{d}}); err != nil {
		t.Fatal(err)
	}
	kvs := []proto.KV{{Key: []byte("k"), Type: proto.KeyValueType_LONG_V, Long: 7}}
	if err := r.KeepValues(id, registry.ServerScope, 1000, kvs); err != nil {
		t.Fatal(err)
	}
	alarm := proto.UUID{15: 6}
	text := `{"type":"Hot","originator":{"entityType":"DEVICE","id":"` + proto.FormatUUID(id) + `"}}`
	if err := r.KeepAlarm(alarm, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	found := int64(0)
	r.Attributes(id, registry.ServerScope, []string{"k"}, func(kv *proto.KV) { found = kv.Long })
	if _, ok := r.Entity(proto.KindAlarm, alarm); found != 7 || !ok {
		t.Errorf("k is %d, the alarm is here: %v", found, ok)
	}
	if at, ok := r.EntityNamed("DEVICE", "pump"); !ok || at != id {
		t.Errorf("%v, %v", at, ok)
	}
	if text, ok := r.EntityText("DEVICE", id); !ok || !strings.Contains(string(text), `"pump"`) {
		t.Errorf("%s", text)
	}
}

// The metadata that a chain had before stay, over a restart too, until the new ones are good, and
// go with their chain.
func TestFormerMetadata(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	id := proto.UUID{15: 1}
	apply := func(m *proto.DownlinkMsg) {
		t.Helper()
		if _, err := r.Apply(m); err != nil {
			t.Fatal(err)
		}
		if err := r.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	metadata := func(n int) {
		t.Helper()
		apply(&proto.DownlinkMsg{RuleChainMetadataUpdateMsg: []*proto.RuleChainMetadataUpdateMsg{{
			Entity: fmt.Sprintf(`{"ruleChainId":{"id":%q},"nodes":[{"name":"%d"}]}`, proto.FormatUUID(id), n),
		}}})
	}
	want := func(n int) {
		t.Helper()
		text, ok := r.FormerMetadata(id)
		if ok != (n > 0) || ok && !strings.Contains(string(text), fmt.Sprintf(`"name":"%d"`, n)) {
			t.Errorf("the former ones are %s, want those of %d", text, n)
		}
	}
	good := func(n int) {
		t.Helper()
		text := fmt.Sprintf(`{"ruleChainId":{"id":%q},"nodes":[{"name":"%d"}]}`, proto.FormatUUID(id), n)
		if err := r.GoodMetadata(id, []byte(text)); err != nil {
			t.Error(err)
		}
	}
	apply(chainDown(1, true))
	metadata(1)
	metadata(1)
	want(0)
	metadata(2)
	want(1)
	metadata(3) // nobody has called those of 2 good
	want(1)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	want(1)
	good(2) // those of 3 have come while they were read
	want(2)
	good(3)
	want(0)
	metadata(4)
	want(3)
	good(4)
	metadata(5)
	gone := chainDown(1, true)
	gone.RuleChainUpdateMsg[0].MsgType = proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE
	apply(gone)
	want(0)
	if got := r.Kinds(); got != "" {
		t.Errorf("left %s", got)
	}
}
