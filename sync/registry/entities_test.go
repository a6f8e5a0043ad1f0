package registry_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/sync/registry"
)

const (
	created = proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE
	updated = proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE
	deleted = proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE
)

// values prints the attributes of a scope.
func values(r *registry.Registry, id proto.UUID, s registry.Scope, keys ...string) string {
	var b []byte
	r.Attributes(id, s, keys, func(kv *proto.KV) {
		if len(b) > 0 {
			b = append(b, ' ')
		}
		b = append(append(b, kv.Key...), '=')
		b = proto.AppendJSONValue(b, kv)
	})
	return string(b)
}

func ref(kind string, n int) string {
	return `{"entityType":"` + kind + `","id":"` + proto.FormatUUID(id(n)) + `"}`
}

func edgeOf(customer int) *proto.EdgeConfiguration {
	c := &proto.EdgeConfiguration{EdgeIdMSB: 1, TenantIdMSB: 2, Name: "e"}
	c.CustomerIdMSB, c.CustomerIdLSB = proto.Halves(proto.NullUUID)
	if customer > 0 {
		c.CustomerIdMSB, c.CustomerIdLSB = proto.Halves(id(customer))
	}
	return c
}

// everyKind is one message with an entity of each kind, all with id n.
func everyKind(n int) *proto.DownlinkMsg {
	msb, lsb := proto.Halves(id(n))
	return &proto.DownlinkMsg{
		DeviceUpdateMsg:            []*proto.DeviceUpdateMsg{device(n, "d")},
		DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{creds(n, "ACCESS_TOKEN", "t")},
		DeviceProfileUpdateMsg:     []*proto.DeviceProfileUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"name":"p"}`}},
		AssetProfileUpdateMsg:      []*proto.AssetProfileUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"name":"p"}`}},
		AssetUpdateMsg:             []*proto.AssetUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"name":"a"}`}},
		EntityViewUpdateMsg:        []*proto.EntityViewUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"name":"v"}`}},
		RuleChainUpdateMsg:         []*proto.RuleChainUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"name":"r","root":true}`}},
		RuleChainMetadataUpdateMsg: []*proto.RuleChainMetadataUpdateMsg{{Entity: `{"ruleChainId":` +
			ref("RULE_CHAIN", n) + `,"nodes":[]}`}},
		DashboardUpdateMsg:    []*proto.DashboardUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"title":"b"}`}},
		AlarmUpdateMsg:        []*proto.AlarmUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"originator":` + ref("DEVICE", n) + `}`}},
		AlarmCommentUpdateMsg: []*proto.AlarmCommentUpdateMsg{{Entity: `{"id":` + ref("", n) + `,"alarmId":` + ref("ALARM", n) + `}`}},
		CustomerUpdateMsg:     []*proto.CustomerUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"title":"c"}`}},
		RelationUpdateMsg: []*proto.RelationUpdateMsg{
			{Entity: `{"from":` + ref("ASSET", 1) + `,"to":` + ref("DEVICE", n) + `,"type":"Contains","typeGroup":"COMMON"}`},
			{Entity: `{"from":` + ref("ASSET", 1) + `,"to":` + ref("DEVICE", 2) + `,"type":"Contains","typeGroup":"COMMON"}`},
		},
		WidgetsBundleUpdateMsg:   []*proto.WidgetsBundleUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"title":"w"}`}},
		WidgetTypeUpdateMsg:      []*proto.WidgetTypeUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"fqn":"w"}`}},
		UserUpdateMsg:            []*proto.UserUpdateMsg{user(n, "TENANT_ADMIN", 0), user(n+100, "CUSTOMER_USER", 7)},
		UserCredentialsUpdateMsg: []*proto.UserCredentialsUpdateMsg{userCreds(n), userCreds(n + 100)},
		AdminSettingsUpdateMsg:   []*proto.AdminSettingsUpdateMsg{{Entity: `{"key":"jwt","jsonValue":{"tokenSigningKey":"very-secret"}}`}},
		OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{{
			IdMSB: msb, IdLSB: lsb,
			Entity: `{"title":"o","data":"AAEC","dataSize":3}`,
		}},
		TenantUpdateMsg:        []*proto.TenantUpdateMsg{{Entity: `{"id":` + ref("TENANT", n) + `}`}},
		TenantProfileUpdateMsg: []*proto.TenantProfileUpdateMsg{{Entity: `{"id":` + ref("TENANT_PROFILE", n) + `}`}},
		ResourceUpdateMsg:      []*proto.ResourceUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"resourceType":"IMAGE","data":"AA=="}`}},
		CalculatedFieldUpdateMsg: []*proto.CalculatedFieldUpdateMsg{{
			IdMSB: msb, IdLSB: lsb,
			Entity: `{"entityId":` + ref("DEVICE", n) + `}`,
		}},
		EntityData: []*proto.EntityDataProto{{
			EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: "DEVICE", PostAttributeScope: "SHARED_SCOPE",
			AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{{
				Key:  "k",
				Type: proto.KeyValueType_LONG_V, LongV: 1,
			}}},
		}},
		QueueUpdateMsg:            []*proto.QueueUpdateMsg{{Entity: `{}`}},
		NotificationRuleUpdateMsg: []*proto.NotificationRuleUpdateMsg{{}},
		OAuth2ClientUpdateMsg:     []*proto.OAuth2ClientUpdateMsg{{}},
		AiModelUpdateMsg:          []*proto.AiModelUpdateMsg{{}},
		ApiKeyUpdateMsg:           []*proto.ApiKeyUpdateMsg{{}},
	}
}

func openKeeping(t testing.TB, dir string, keep ...string) *registry.Registry {
	t.Helper()
	r, err := registry.Open(registry.Options{Dir: filepath.Join(dir, "registry"), CorruptDir: filepath.Join(dir, "corrupt"), Keep: keep})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

const (
	always = "alarm 1, asset 1, assetprofile 1, attrs 1, chain 1, comment 1, customer 1, dashboard 1, " +
		"devcreds 1, device 1, devprofile 1, field 1, metadata 1, " +
		"relation 2, tenant 1, tenantprofile 1, user 2, usercreds 2, view 1"
	everything = "alarm 1, asset 1, assetprofile 1, attrs 1, bundle 1, chain 1, comment 1, customer 1, " +
		"dashboard 1, devcreds 1, device 1, devprofile 1, field 1, " +
		"metadata 1, ota 1, relation 2, resource 1, tenant 1, tenantprofile 1, user 2, usercreds 2, view 1, widget 1"
)

// registry.keep chooses the bulky kinds; what is not kept is counted; admin settings are never
// stored (CONTRACT.md 10.21).
func TestKeep(t *testing.T) {
	for _, c := range []struct {
		keep []string
		want string
	}{{nil, always}, {[]string{"widgets", "images", "ota"}, everything}} {
		dir := t.TempDir()
		r := openKeeping(t, dir, c.keep...)
		if err := r.SetEdge(edgeOf(7)); err != nil {
			t.Fatal(err)
		}
		for range 2 { // twice is once
			if !apply(t, r, everyKind(3)) {
				t.Error("not used")
			}
			if got := r.Kinds(); got != c.want {
				t.Errorf("keep %v: %s, want %s", c.keep, got, c.want)
			}
		}
		counts := map[string]registry.Count{}
		for _, n := range r.Counts() {
			counts[n.Part] = n
		}
		kept := uint64(0)
		if c.keep != nil {
			kept = 2
		}
		for part, want := range map[string]registry.Count{
			"adminSettingsUpdateMsg": {Received: 2}, "queueUpdateMsg": {Received: 2}, "widgetTypeUpdateMsg": {Received: 2, Kept: kept},
			"otaPackageUpdateMsg": {Received: 2, Kept: kept}, "resourceUpdateMsg": {Received: 2, Kept: kept},
			"relationUpdateMsg": {Received: 4, Kept: 4},
		} {
			if want.Part = part; counts[part] != want {
				t.Errorf("keep %v: counted %+v, want %+v", c.keep, counts[part], want)
			}
		}
		if len(counts) != 29 {
			t.Errorf("%d parts counted", len(counts))
		}
		r.Close()
		stored, err := os.ReadFile(filepath.Join(dir, "registry", "store"))
		if err != nil || strings.Contains(string(stored), "very-secret") {
			t.Errorf("the server's signing key is stored, %v", err)
		}
		// What registry.keep names no more is removed at the next start.
		r = openKeeping(t, dir)
		if got := r.Kinds(); got != always {
			t.Errorf("after a restart that keeps nothing bulky: %s", got)
		}
	}
}

// What belonged to an entity is removed with it.
func TestDeletionTakesAlong(t *testing.T) {
	r := open(t, t.TempDir())
	apply(t, r, everyKind(3))
	msb, lsb := proto.Halves(id(3))
	apply(t, r, devices(gone(3)))
	if got := r.Kinds("user", "usercreds"); got != "asset 1, assetprofile 1, chain 1, customer 1, dashboard 1, "+
		"devprofile 1, metadata 1, relation 1, tenant 1, tenantprofile 1, view 1" {
		t.Error(got)
	}
	apply(t, r, &proto.DownlinkMsg{RuleChainUpdateMsg: []*proto.RuleChainUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}}})
	apply(t, r, &proto.DownlinkMsg{RelationUpdateMsg: []*proto.RelationUpdateMsg{{
		MsgType: deleted, Entity: `{"typeGroup":"COMMON","type":"Contains","to":` + ref("DEVICE", 2) + `,"from":` +
			ref("ASSET", 1) + `,"additionalInfo":{}}`,
	}}})
	if got := r.Kinds("user", "usercreds"); got != "asset 1, assetprofile 1, customer 1, dashboard 1, "+
		"devprofile 1, tenant 1, tenantprofile 1, view 1" {
		t.Error(got)
	}
}

// Deletions of ids that were never here come by the hundred (CONTRACT.md 6.3): no write, no change,
// not used.
func TestForeignDeletions(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	apply(t, r, everyKind(3))
	before := r.Kinds()
	st, _ := os.Stat(filepath.Join(dir, "registry", "store"))
	msb, lsb := proto.Halves(id(99))
	if apply(t, r, &proto.DownlinkMsg{
		DeviceUpdateMsg:        []*proto.DeviceUpdateMsg{gone(99)},
		AssetUpdateMsg:         []*proto.AssetUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}},
		DashboardUpdateMsg:     []*proto.DashboardUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}},
		EntityViewUpdateMsg:    []*proto.EntityViewUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}},
		DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}},
		UserUpdateMsg:          []*proto.UserUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}},
		CustomerUpdateMsg:      []*proto.CustomerUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}},
	}) {
		t.Error("used")
	}
	after, _ := os.Stat(filepath.Join(dir, "registry", "store"))
	if r.Kinds() != before || after.Size() != st.Size() {
		t.Errorf("%s; %d bytes became %d", r.Kinds(), st.Size(), after.Size())
	}
}

// A power cut anywhere in the last flush, whatever it held: before or after, never between.
func TestPowerCutOfEveryKind(t *testing.T) {
	base := t.TempDir()
	all := []string{"widgets", "images", "ota"}
	r := openKeeping(t, base, all...)
	if err := r.SetEdge(edgeOf(7)); err != nil {
		t.Fatal(err)
	}
	apply(t, r, everyKind(3))
	path := filepath.Join(base, "registry", "store")
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	before := r.Kinds()
	m := everyKind(4)
	m.DeviceUpdateMsg = append(m.DeviceUpdateMsg, gone(3))
	m.DeviceUpdateMsg[0].Entity = strings.Replace(m.DeviceUpdateMsg[0].Entity, `"d"`, `"e"`, 1)
	apply(t, r, m)
	after := r.Kinds()
	r.Close()
	whole, err := os.ReadFile(path)
	if err != nil || before == after {
		t.Fatal(err, before)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for range 60 {
		cut := st.Size() + rng.Int64N(int64(len(whole))-st.Size()+1)
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		r := openKeeping(t, base, all...)
		want := before
		if cut == int64(len(whole)) {
			want = after
		}
		if got := r.Kinds(); got != want {
			t.Fatalf("cut at %d of %d: %s, want %s", cut, len(whole), got, want)
		}
		r.Close()
	}
}

// Whatever is damaged, the registry opens and serves, and a sync makes it whole.
func TestDamageIsHealedByASync(t *testing.T) {
	base := t.TempDir()
	r := open(t, base)
	if err := r.SetEdge(edgeOf(7)); err != nil {
		t.Fatal(err)
	}
	for n := 1; n < 20; n++ {
		apply(t, r, everyKind(n))
	}
	want := r.Kinds()
	r.Close()
	path := filepath.Join(base, "registry", "store")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		hurt := append([]byte(nil), whole...)
		switch at := rng.IntN(len(hurt)); rng.IntN(4) {
		case 0:
			hurt[at] ^= 1 << rng.IntN(8)
		case 1:
			hurt = hurt[:at]
		case 2:
			clear(hurt[at:min(len(hurt), at+rng.IntN(5000))])
		case 3:
			hurt = append(hurt, make([]byte, rng.IntN(5000))...)
		}
		if err := os.WriteFile(path, hurt, 0o600); err != nil {
			t.Fatal(err)
		}
		r := open(t, base)
		r.Each(func(d registry.Device) bool { return d.Name != "" })
		if err := r.SetEdge(edgeOf(7)); err != nil {
			t.Fatal(err)
		}
		r.BeginSync(true, 0)
		for n := 1; n < 20; n++ {
			apply(t, r, everyKind(n))
		}
		if _, err := r.EndSync(); err != nil || r.Kinds() != want {
			t.Fatalf("%v: %s, want %s", err, r.Kinds(), want)
		}
		r.Close()
	}
}
