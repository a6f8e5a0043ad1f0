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
