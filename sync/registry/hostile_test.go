package registry_test

import (
	"strings"
	"testing"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

func TestHostileJSON(t *testing.T) {
	r := open(t, t.TempDir())
	apply(t, r, devices(device(1, "a")))
	for _, bad := range []string{
		"", "{", "null", "[]", `{"name":""}`, `{"name":5}`, `{"name":"x","label":7}`, `{"name":"x","deviceProfileId":{"id":"zz"}}`,
		`{"name":"` + strings.Repeat("n", 2000) + `"}`, `{"name":"x","y":` + strings.Repeat("[", 100000),
		`{"name":"x","y":` + strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 66),
	} {
		u := device(1, "a")
		u.Entity = bad
		if apply(t, r, devices(u)) {
			t.Errorf("%.40q was used", bad)
		}
	}
	for _, bad := range []string{"", "{}", creds(1, "PASSWORD", "x").Entity, creds(1, "ACCESS_TOKEN", "").Entity} {
		if apply(t, r, tokens(&proto.DeviceCredentialsUpdateMsg{Entity: bad})) {
			t.Errorf("%.40q was used", bad)
		}
	}
	if got := state(r); got != "a/default//NONE" {
		t.Errorf("left %q", got)
	}
	if used, err := r.Apply(nil); used || err != nil {
		t.Error(used, err)
	}
}

func FuzzApply(f *testing.F) {
	m := &proto.DownlinkMsg{
		DeviceUpdateMsg:            []*proto.DeviceUpdateMsg{device(1, "a"), gone(2)},
		DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{creds(1, "ACCESS_TOKEN", "t1")},
		EdgeConfiguration:          &proto.EdgeConfiguration{EdgeIdMSB: 1, Secret: "s"},
		DeviceProfileUpdateMsg:     []*proto.DeviceProfileUpdateMsg{{IdMSB: 1, Entity: `{"name":"default"}`}},
	}
	raw, err := pb.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{})
	every := everyKind(3)
	every.EdgeConfiguration = edgeOf(7)
	if raw, err = pb.Marshal(every); err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m proto.DownlinkMsg
		if pb.Unmarshal(raw, &m) != nil {
			return
		}
		dir := t.TempDir()
		r := openKeeping(t, dir, "widgets", "images", "ota")
		apply(t, r, &m)
		apply(t, r, &m)
		n, kinds, edge := r.Devices(), r.Kinds(), r.Edge()
		apply(t, r, &m)
		if r.Kinds() != kinds {
			t.Fatalf("%s, and once more %s", kinds, r.Kinds())
		}
		r.Close()
		r = openKeeping(t, dir, "widgets", "images", "ota")
		if r.Devices() != n || r.Kinds() != kinds || !pb.Equal(r.Edge(), edge) {
			t.Fatalf("%d devices, %s before and %d, %s after a restart", n, kinds, r.Devices(), r.Kinds())
		}
	})
}

func TestHostileEntities(t *testing.T) {
	r := openKeeping(t, t.TempDir(), "widgets", "images", "ota")
	for _, bad := range []string{"", "null", "[]", "{", `"x"`, "{}x", `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}"} {
		m := everyKind(3)
		m.DeviceUpdateMsg, m.DeviceCredentialsUpdateMsg, m.EntityData, m.UserUpdateMsg = nil, nil, nil, nil
		for _, u := range []*string{
			&m.AssetUpdateMsg[0].Entity, &m.AssetProfileUpdateMsg[0].Entity, &m.EntityViewUpdateMsg[0].Entity,
			&m.RuleChainUpdateMsg[0].Entity,
			&m.RuleChainMetadataUpdateMsg[0].Entity, &m.DashboardUpdateMsg[0].Entity, &m.AlarmUpdateMsg[0].Entity,
			&m.AlarmCommentUpdateMsg[0].Entity,
			&m.CustomerUpdateMsg[0].Entity, &m.RelationUpdateMsg[0].Entity, &m.RelationUpdateMsg[1].Entity,
			&m.WidgetsBundleUpdateMsg[0].Entity,
			&m.WidgetTypeUpdateMsg[0].Entity, &m.OtaPackageUpdateMsg[0].Entity, &m.TenantUpdateMsg[0].Entity,
			&m.TenantProfileUpdateMsg[0].Entity,
			&m.ResourceUpdateMsg[0].Entity, &m.CalculatedFieldUpdateMsg[0].Entity,
			&m.DeviceProfileUpdateMsg[0].Entity, &m.UserCredentialsUpdateMsg[0].Entity,
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
		RelationUpdateMsg:     []*proto.RelationUpdateMsg{{Entity: `{"from":{"id":"x"},"to":{},"type":"T"}`}},
		TenantUpdateMsg:       []*proto.TenantUpdateMsg{{Entity: `{"id":{"id":"zz"}}`}},
		AlarmCommentUpdateMsg: []*proto.AlarmCommentUpdateMsg{{Entity: `{"id":{"id":"1"}}`}},
	})
	if got := r.Kinds(); got != "" {
		t.Errorf("kept %s", got)
	}
}
