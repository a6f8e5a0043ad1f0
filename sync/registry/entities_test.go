package registry_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
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

// Every server action of a recording leaves what it should, and a restart at any moment changes nothing (wire contract 6.3).
func TestRecordedEntities(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	want := map[int]string{
		41:  "", // a user of a foreign customer
		92:  "asset 1, devcreds 1, device 1",
		103: "asset 1, devcreds 1, device 1, relation 1",
		108: "asset 1, devcreds 1, device 1",
		114: "asset 1, devcreds 1, device 1, view 1",
		126: "asset 1, dashboard 1, devcreds 1, device 1, view 1",
		143: "asset 1, chain 1, dashboard 1, devcreds 1, device 1, metadata 1, view 1",
		150: "asset 1, chain 1, customer 1, dashboard 1, devcreds 1, device 1, metadata 1, view 1",
		173: "asset 1, chain 1, customer 1, dashboard 1, devcreds 1, device 1, metadata 1, user 1, usercreds 1, view 1",
		210: "asset 1, chain 1, customer 1, dashboard 1, devcreds 1, device 1, field 1, metadata 1, user 1, usercreds 1, view 1",
		220: "asset 1, chain 1, customer 1, dashboard 1, devcreds 1, device 1, metadata 1, user 1, usercreds 1, view 1", // an OTA package and a resource are not kept
		225: "asset 1, chain 1, customer 1, dashboard 1, devcreds 1, device 1, metadata 1, view 1",
		233: "asset 1, chain 1, dashboard 1, devcreds 1, device 1, metadata 1, view 1",
		238: "asset 1, chain 1, dashboard 1, devcreds 1, device 1, metadata 1",
		243: "asset 1, chain 1, devcreds 1, device 1, metadata 1",
		253: "chain 1, devcreds 1, device 1, metadata 1",
		263: "chain 1, metadata 1",
		268: "chain 1, devcreds 1, device 1, metadata 1",
		273: "chain 1, metadata 1",
	}
	met := 0
	replay(t, &r, "downlink-each", true, func(line int) {
		w, ok := want[line]
		if !ok {
			return
		}
		met++
		for range 2 {
			if got := r.Kinds("devprofile", "assetprofile"); got != w {
				t.Errorf("line %d: %q, want %q", line, got, w)
			}
			r.Close()
			r = open(t, dir)
		}
	})
	if met != len(want) {
		t.Errorf("%d of %d lines met", met, len(want))
	}
}

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

// A recording of a tenant with a push-to-edge node: attributes, telemetry, alarms (wire contract 6.3, 7.3).
func TestRecordedPush(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	dev := proto.UUIDOf(-5719559084652162575, -6909334337722902882)
	shared := map[int]string{
		22:  `deep={"a":1} num=12 sh=1 text="x"`,
		34:  `deep={"a":1} fast=2 num=12 sh=1 text="x"`,
		39:  `deep={"a":1} fast=2 num=12 text="x"`,
		97:  `again=1 deep={"a":1} fast=2 num=12 text="x"`,
		109: `again=1 deep={"a":1} fast=2 num=12 off=2 text="x"`,
	}
	server := map[int]string{27: "se=1", 46: "inactivityTimeout=600000 se=1", 51: "ca=1 inactivityTimeout=600000 se=1"} // activity is not kept
	kinds := map[int]string{
		61: "alarm 1, attrs 3", 66: "alarm 1, attrs 3, comment 1", 71: "attrs 3", // cleared by a user's comment: history
		78: "attrs 3", 113: "alarm 1, attrs 3", 115: "alarm 1, attrs 3, comment 1",
	}
	met := 0
	replay(t, &r, "downlink-push", false, func(line int) {
		for range 2 {
			if w, ok := shared[line]; ok {
				met++
				if got := values(r, dev, registry.SharedScope); got != w {
					t.Errorf("line %d: shared %s, want %s", line, got, w)
				}
			}
			if w, ok := server[line]; ok {
				met++
				if got := values(r, dev, registry.ServerScope); got != w {
					t.Errorf("line %d: server %s, want %s", line, got, w)
				}
			}
			if w, ok := kinds[line]; ok {
				met++
				if got := r.Kinds("devprofile", "device", "devcreds"); got != w {
					t.Errorf("line %d: %s, want %s", line, got, w)
				}
			}
			r.Close()
			r = open(t, dir)
		}
	})
	if met != 2*(len(shared)+len(server)+len(kinds)) {
		t.Errorf("%d checks met", met)
	}
	if got := values(r, dev, registry.Latest); !strings.Contains(got, "off=1") || !strings.Contains(got, "b=\"x\"") {
		t.Errorf("latest telemetry %s", got)
	}
}

func ref(kind string, n int) string {
	return `{"entityType":"` + kind + `","id":"` + proto.FormatUUID(id(n)) + `"}`
}

func user(n int, authority string, customer int) *proto.UserUpdateMsg {
	msb, lsb := proto.Halves(id(n))
	return &proto.UserUpdateMsg{IdMSB: msb, IdLSB: lsb, Entity: `{"email":"u@x","authority":"` + authority + `","customerId":` + ref("CUSTOMER", customer) + `}`}
}

func userCreds(n int) *proto.UserCredentialsUpdateMsg {
	return &proto.UserCredentialsUpdateMsg{Entity: `{"userId":` + ref("USER", n) + `,"enabled":true,"password":"$2a$10$abc","activateToken":"secret-token","resetToken":"r"}`}
}

func edgeOf(customer int) *proto.EdgeConfiguration {
	c := &proto.EdgeConfiguration{EdgeIdMSB: 1, TenantIdMSB: 2, Name: "e"}
	c.CustomerIdMSB, c.CustomerIdLSB = proto.Halves(proto.NullUUID)
	if customer > 0 {
		c.CustomerIdMSB, c.CustomerIdLSB = proto.Halves(id(customer))
	}
	return c
}

// Only tenant administrators and users of the edge's own customer are stored, and they go with that customer (wire contract 2.8, 6.3).
func TestUsers(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	give := func(u ...*proto.UserUpdateMsg) {
		t.Helper()
		m := &proto.DownlinkMsg{UserUpdateMsg: u}
		for n := 20; n < 26; n++ {
			m.UserCredentialsUpdateMsg = append(m.UserCredentialsUpdateMsg, userCreds(n))
		}
		apply(t, r, m)
	}
	check := func(want string) {
		t.Helper()
		if got := r.Kinds(); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	everybody := []*proto.UserUpdateMsg{
		user(20, "TENANT_ADMIN", 0), user(21, "CUSTOMER_USER", 7), user(22, "CUSTOMER_USER", 8), user(23, "SYS_ADMIN", 7), user(24, "", 7),
	}
	give(everybody...) // before we know who we are
	check("user 1, usercreds 1")
	if err := r.SetEdge(edgeOf(7)); err != nil {
		t.Fatal(err)
	}
	give(everybody...)
	check("user 2, usercreds 2")
	if got := r.Record("usercreds", id(21)); got != `{"enabled":true,"password":"$2a$10$abc"}` {
		t.Errorf("stored %s", got)
	}
	give(user(21, "CUSTOMER_USER", 8)) // moved to a foreign customer
	check("user 1, usercreds 1")
	give(user(21, "CUSTOMER_USER", 7))
	if err := r.SetEdge(edgeOf(8)); err != nil { // the edge goes to another customer
		t.Fatal(err)
	}
	check("user 1, usercreds 1")
	give(user(22, "CUSTOMER_USER", 8))
	check("user 2, usercreds 2")
	msb, lsb := proto.Halves(id(8))
	apply(t, r, &proto.DownlinkMsg{CustomerUpdateMsg: []*proto.CustomerUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}}})
	check("user 1, usercreds 1")
	msb, lsb = proto.Halves(id(20))
	apply(t, r, &proto.DownlinkMsg{UserUpdateMsg: []*proto.UserUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}}})
	check("")
	stored, err := os.ReadFile(filepath.Join(dir, "registry", "store"))
	if err != nil || strings.Contains(string(stored), "secret-token") {
		t.Errorf("an activation token is stored, %v", err)
	}
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
		RuleChainMetadataUpdateMsg: []*proto.RuleChainMetadataUpdateMsg{{Entity: `{"ruleChainId":` + ref("RULE_CHAIN", n) + `,"nodes":[]}`}},
		DashboardUpdateMsg:         []*proto.DashboardUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"title":"b"}`}},
		AlarmUpdateMsg:             []*proto.AlarmUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"originator":` + ref("DEVICE", n) + `}`}},
		AlarmCommentUpdateMsg:      []*proto.AlarmCommentUpdateMsg{{Entity: `{"id":` + ref("", n) + `,"alarmId":` + ref("ALARM", n) + `}`}},
		CustomerUpdateMsg:          []*proto.CustomerUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"title":"c"}`}},
		RelationUpdateMsg: []*proto.RelationUpdateMsg{
			{Entity: `{"from":` + ref("ASSET", 1) + `,"to":` + ref("DEVICE", n) + `,"type":"Contains","typeGroup":"COMMON"}`},
			{Entity: `{"from":` + ref("ASSET", 1) + `,"to":` + ref("DEVICE", 2) + `,"type":"Contains","typeGroup":"COMMON"}`},
		},
		WidgetsBundleUpdateMsg:   []*proto.WidgetsBundleUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"title":"w"}`}},
		WidgetTypeUpdateMsg:      []*proto.WidgetTypeUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"fqn":"w"}`}},
		UserUpdateMsg:            []*proto.UserUpdateMsg{user(n, "TENANT_ADMIN", 0), user(n+100, "CUSTOMER_USER", 7)},
		UserCredentialsUpdateMsg: []*proto.UserCredentialsUpdateMsg{userCreds(n), userCreds(n + 100)},
		AdminSettingsUpdateMsg:   []*proto.AdminSettingsUpdateMsg{{Entity: `{"key":"jwt","jsonValue":{"tokenSigningKey":"very-secret"}}`}},
		OtaPackageUpdateMsg:      []*proto.OtaPackageUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"title":"o","data":"AAEC","dataSize":3}`}},
		TenantUpdateMsg:          []*proto.TenantUpdateMsg{{Entity: `{"id":` + ref("TENANT", n) + `}`}},
		TenantProfileUpdateMsg:   []*proto.TenantProfileUpdateMsg{{Entity: `{"id":` + ref("TENANT_PROFILE", n) + `}`}},
		ResourceUpdateMsg:        []*proto.ResourceUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"resourceType":"IMAGE","data":"AA=="}`}},
		CalculatedFieldUpdateMsg: []*proto.CalculatedFieldUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"entityId":` + ref("DEVICE", n) + `}`}},
		EntityData: []*proto.EntityDataProto{{
			EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: "DEVICE", PostAttributeScope: "SHARED_SCOPE",
			AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{{Key: "k", Type: proto.KeyValueType_LONG_V, LongV: 1}}},
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
	always = "alarm 1, asset 1, assetprofile 1, attrs 1, chain 1, comment 1, customer 1, dashboard 1, devcreds 1, device 1, devprofile 1, field 1, metadata 1, " +
		"relation 2, tenant 1, tenantprofile 1, user 2, usercreds 2, view 1"
	everything = "alarm 1, asset 1, assetprofile 1, attrs 1, bundle 1, chain 1, comment 1, customer 1, dashboard 1, devcreds 1, device 1, devprofile 1, field 1, " +
		"metadata 1, ota 1, relation 2, resource 1, tenant 1, tenantprofile 1, user 2, usercreds 2, view 1, widget 1"
)

// registry.keep chooses the bulky kinds; what is not kept is counted; admin settings are never stored (wire contract 10.21).
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
			"otaPackageUpdateMsg": {Received: 2, Kept: kept}, "resourceUpdateMsg": {Received: 2, Kept: kept}, "relationUpdateMsg": {Received: 4, Kept: 4},
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
		// What is no longer to be kept goes at the next start.
		r = openKeeping(t, dir)
		if got := r.Kinds(); got != always {
			t.Errorf("after a restart that keeps nothing bulky: %s", got)
		}
	}
}

// What a sync did not bring is no longer ours: of each kind, if the sync is one that brings it (wire contract 3.2, 3.5).
func TestDiffOfEveryKind(t *testing.T) {
	for _, full := range []bool{false, true} {
		r := openKeeping(t, t.TempDir(), "widgets", "images", "ota")
		if err := r.SetEdge(edgeOf(7)); err != nil {
			t.Fatal(err)
		}
		apply(t, r, everyKind(3))
		r.BeginSync(full, 0)
		apply(t, r, everyKind(3))
		if n, err := r.EndSync(); n != 0 || err != nil || r.Kinds() != everything {
			t.Errorf("full %v: removed %d (%v) although all came again: %s", full, n, err, r.Kinds())
		}
		r.BeginSync(full, 0)
		if _, err := r.EndSync(); err != nil {
			t.Fatal(err)
		}
		// Tenants stay; so do relations of what was not here.
		want := "relation 1, tenant 1, tenantprofile 1"
		if !full {
			want = "bundle 1, chain 1, metadata 1, ota 1, relation 1, resource 1, tenant 1, tenantprofile 1, user 1, usercreds 1, widget 1"
		}
		if got := r.Kinds(); got != want {
			t.Errorf("full %v: left %s, want %s", full, got, want)
		}
		if r.FullySynced() != full || !r.Synced() {
			t.Errorf("full %v: fully synced %v", full, r.FullySynced())
		}
	}
}

// A bulky kind that is to be kept from now on needs a full sync once more.
func TestKeepMoreNeedsAFullSync(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		keep   []string
		before bool
	}{{nil, false}, {nil, true}, {[]string{"ota"}, false}, {[]string{"ota"}, true}, {nil, true}, {[]string{"images", "ota"}, false}} {
		r := openKeeping(t, dir, c.keep...)
		if r.FullySynced() != c.before {
			t.Errorf("keep %v: fully synced %v", c.keep, r.FullySynced())
		}
		r.BeginSync(true, 0)
		if _, err := r.EndSync(); err != nil || !r.FullySynced() {
			t.Errorf("keep %v: %v", c.keep, err)
		}
		r.BeginSync(false, 0) // one that is not full takes nothing back
		if _, err := r.EndSync(); err != nil || !r.FullySynced() {
			t.Errorf("keep %v: %v", c.keep, err)
		}
		r.Close()
	}
}

// With an entity goes what belonged to it.
func TestDeletionTakesAlong(t *testing.T) {
	r := open(t, t.TempDir())
	apply(t, r, everyKind(3))
	msb, lsb := proto.Halves(id(3))
	apply(t, r, devices(gone(3)))
	if got := r.Kinds("user", "usercreds"); got != "asset 1, assetprofile 1, chain 1, customer 1, dashboard 1, devprofile 1, metadata 1, relation 1, tenant 1, tenantprofile 1, view 1" {
		t.Error(got)
	}
	apply(t, r, &proto.DownlinkMsg{RuleChainUpdateMsg: []*proto.RuleChainUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}}})
	apply(t, r, &proto.DownlinkMsg{RelationUpdateMsg: []*proto.RelationUpdateMsg{{
		MsgType: deleted, Entity: `{"typeGroup":"COMMON","type":"Contains","to":` + ref("DEVICE", 2) + `,"from":` + ref("ASSET", 1) + `,"additionalInfo":{}}`,
	}}})
	if got := r.Kinds("user", "usercreds"); got != "asset 1, assetprofile 1, customer 1, dashboard 1, devprofile 1, tenant 1, tenantprofile 1, view 1" {
		t.Error(got)
	}
}

// DELETED of ids that were never here come by the hundred (wire contract 6.3): no write, no change, not used.
func TestForeignDeletions(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	apply(t, r, everyKind(3))
	before := r.Kinds()
	st, _ := os.Stat(filepath.Join(dir, "registry", "store"))
	msb, lsb := proto.Halves(id(99))
	if apply(t, r, &proto.DownlinkMsg{
		DeviceUpdateMsg: []*proto.DeviceUpdateMsg{gone(99)}, AssetUpdateMsg: []*proto.AssetUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}},
		DashboardUpdateMsg: []*proto.DashboardUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}}, EntityViewUpdateMsg: []*proto.EntityViewUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}},
		DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}}, UserUpdateMsg: []*proto.UserUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}},
		CustomerUpdateMsg: []*proto.CustomerUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}},
	}) {
		t.Error("used")
	}
	after, _ := os.Stat(filepath.Join(dir, "registry", "store"))
	if r.Kinds() != before || after.Size() != st.Size() {
		t.Errorf("%s; %d bytes became %d", r.Kinds(), st.Size(), after.Size())
	}
}

func TestHostileEntities(t *testing.T) {
	r := openKeeping(t, t.TempDir(), "widgets", "images", "ota")
	for _, bad := range []string{"", "null", "[]", "{", `"x"`, "{}x", `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}"} {
		m := everyKind(3)
		m.DeviceUpdateMsg, m.DeviceCredentialsUpdateMsg, m.EntityData, m.UserUpdateMsg = nil, nil, nil, nil
		for _, u := range []*string{
			&m.AssetUpdateMsg[0].Entity, &m.AssetProfileUpdateMsg[0].Entity, &m.EntityViewUpdateMsg[0].Entity, &m.RuleChainUpdateMsg[0].Entity,
			&m.RuleChainMetadataUpdateMsg[0].Entity, &m.DashboardUpdateMsg[0].Entity, &m.AlarmUpdateMsg[0].Entity, &m.AlarmCommentUpdateMsg[0].Entity,
			&m.CustomerUpdateMsg[0].Entity, &m.RelationUpdateMsg[0].Entity, &m.RelationUpdateMsg[1].Entity, &m.WidgetsBundleUpdateMsg[0].Entity,
			&m.WidgetTypeUpdateMsg[0].Entity, &m.OtaPackageUpdateMsg[0].Entity, &m.TenantUpdateMsg[0].Entity, &m.TenantProfileUpdateMsg[0].Entity,
			&m.ResourceUpdateMsg[0].Entity, &m.CalculatedFieldUpdateMsg[0].Entity, &m.DeviceProfileUpdateMsg[0].Entity, &m.UserCredentialsUpdateMsg[0].Entity,
			&m.UserCredentialsUpdateMsg[1].Entity,
		} {
			*u = bad
		}
		apply(t, r, m)
		if got := r.Kinds(); got != "" {
			t.Errorf("%.20q: kept %s", bad, got)
		}
	}
	// Parts that need more than JSON.
	apply(t, r, &proto.DownlinkMsg{
		RelationUpdateMsg: []*proto.RelationUpdateMsg{{Entity: `{"from":{"id":"x"},"to":{},"type":"T"}`}}, TenantUpdateMsg: []*proto.TenantUpdateMsg{{Entity: `{"id":{"id":"zz"}}`}},
		AlarmCommentUpdateMsg: []*proto.AlarmCommentUpdateMsg{{Entity: `{"id":{"id":"1"}}`}},
	})
	if got := r.Kinds(); got != "" {
		t.Errorf("kept %s", got)
	}
}

// OTA packages: the binary is a file of its own, complete and checked, and goes with its record.
func TestOTA(t *testing.T) {
	dir := t.TempDir()
	r := openKeeping(t, dir, "ota")
	data := make([]byte, 3<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	sum := sha256.Sum256(data)
	pack := func(n int, data []byte, checksum string) *proto.DownlinkMsg {
		msb, lsb := proto.Halves(id(n))
		return &proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: fmt.Sprintf(
			`{"title":"fw \"data\": \\","x":{"data":"inner"},"data":%q,"version":"1","checksumAlgorithm":"SHA256","checksum":%q,"dataSize":%d}`,
			base64.StdEncoding.EncodeToString(data), checksum, len(data))}}}
	}
	good := hex.EncodeToString(sum[:])
	for range 2 {
		if !apply(t, r, pack(1, data, good)) {
			t.Fatal("not kept")
		}
		info, path, ok := r.OTA(id(1))
		file, err := os.ReadFile(path)
		if !ok || err != nil || string(file) != string(data) {
			t.Fatalf("%v %v: %d bytes", ok, err, len(file))
		}
		if want := fmt.Sprintf(`{"title":"fw \"data\": \\","x":{"data":"inner"},"data":null,"version":"1","checksumAlgorithm":"SHA256","checksum":%q,"dataSize":%d}`, good, len(data)); string(info) != want {
			t.Errorf("info %s", info)
		}
		r.Close()
		r = openKeeping(t, dir, "ota")
	}
	if apply(t, r, pack(2, data, "00"+good[2:])) {
		t.Error("a wrong checksum was taken")
	}
	broken := pack(3, data[:1000], good)
	broken.OtaPackageUpdateMsg[0].Entity = strings.Replace(broken.OtaPackageUpdateMsg[0].Entity, `"data":"`, `"data":"*`, 2)
	if apply(t, r, broken) {
		t.Error("broken base64 was taken")
	}
	// A package by URL has no binary.
	msb, lsb := proto.Halves(id(4))
	apply(t, r, &proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: `{"title":"u","url":"http://x","data":null}`}}})
	if _, path, ok := r.OTA(id(4)); !ok || path != "" {
		t.Errorf("%v %q", ok, path)
	}
	files := func() int {
		list, _ := os.ReadDir(filepath.Join(dir, "registry", "ota"))
		return len(list)
	}
	if files() != 1 || r.Kinds() != "ota 2" {
		t.Errorf("%d files, %s", files(), r.Kinds())
	}
	// Beyond the bound nothing is taken.
	for n := 10; n < 22; n++ {
		apply(t, r, pack(n, data, good))
	}
	if n := files(); n != 10 {
		t.Errorf("%d files of 3 MiB with a bound of 32 MiB", n)
	}
	// A crash between file and record leaves a file that nobody owns.
	os.WriteFile(filepath.Join(dir, "registry", "ota", proto.FormatUUID(id(77))), []byte("x"), 0o600)
	os.WriteFile(filepath.Join(dir, "registry", "ota", proto.FormatUUID(id(78))+".tmp"), []byte("x"), 0o600)
	r.Close()
	r = openKeeping(t, dir, "ota")
	if n := files(); n != 10 {
		t.Errorf("%d files after a restart", n)
	}
	msb, lsb = proto.Halves(id(1))
	apply(t, r, &proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}}})
	if n := files(); n != 9 {
		t.Errorf("%d files after a deletion", n)
	}
	r.Close()
	r = openKeeping(t, dir) // no longer kept
	if n := files(); n != 0 || r.Kinds() != "" {
		t.Errorf("%d files, %s", n, r.Kinds())
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

// 5,000 devices with 20,000 attributes: what the heap holds. Values are read from flash when they are asked for.
func TestMemoryOfAttributes(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	dir := t.TempDir()
	r := open(t, dir)
	for n := range 5000 {
		m := devices(device(n, fmt.Sprintf("meter-%d", n)))
		m.DeviceCredentialsUpdateMsg = tokens(creds(n, "ACCESS_TOKEN", fmt.Sprintf("A1B2C3D4E5F6G7H8%04d", n))).DeviceCredentialsUpdateMsg
		msb, lsb := proto.Halves(id(n))
		for _, scope := range []string{"SHARED_SCOPE", "SERVER_SCOPE"} {
			m.EntityData = append(m.EntityData, &proto.EntityDataProto{
				EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: "DEVICE", PostAttributeScope: scope,
				AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{
					{Key: "one", Type: proto.KeyValueType_STRING_V, StringV: strings.Repeat("x", 200)}, {Key: "two", Type: proto.KeyValueType_LONG_V, LongV: int64(n)},
				}},
			})
		}
		if _, err := r.Apply(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	before := heap()
	r = open(t, dir)
	used := heap() - before
	t.Logf("%d bytes of heap for %s", used, r.Kinds())
	if got := values(r, id(4999), registry.ServerScope, "two"); got != "two=4999" || r.Kinds() != "attrs 10000, devcreds 5000, device 5000" {
		t.Errorf("%s, %s", got, r.Kinds())
	}
	if used > 5<<20 {
		t.Errorf("%d bytes of heap", used)
	}
}
