package cloudtest

import (
	"strings"
	"testing"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// TestAssignCustomer: the events that come down besides the EdgeUpdateMsg (CONTRACT.md 2.8).
func TestAssignCustomer(t *testing.T) {
	b := newTenantBench(t)
	customer, user := proto.UUID{15: 40}, proto.UUID{15: 41}
	b.AddCustomer(customer, "Customer")
	down := b.AddUser(user, customer, "someone@example.org")
	if len(down.UserUpdateMsg) != 1 || len(down.UserCredentialsUpdateMsg) != 1 ||
		!strings.Contains(down.UserUpdateMsg[0].Entity, `"authority":"CUSTOMER_USER"`) {
		t.Errorf("%v", down)
	}
	events := b.AssignCustomer(b.edge, customer)
	if len(events) != 3 || len(events[0].CustomerUpdateMsg) != 1 || events[1].EdgeConfiguration == nil ||
		len(events[2].UserUpdateMsg) != 1 {
		t.Fatalf("%v", events)
	}
	if c := events[1].EdgeConfiguration; !pb.Equal(c, b.Configuration(b.edge)) ||
		proto.UUIDOf(c.CustomerIdMSB, c.CustomerIdLSB) != customer {
		t.Errorf("%v", c)
	}
	if got := len(b.Steps(b.edge, false)); got != 6 {
		t.Errorf("%d steps of a sync, want 6 with customer and user", got)
	}
	if again := b.AssignCustomer(b.edge, customer); again != nil {
		t.Errorf("assigned twice: %v", again)
	}
	events = b.AssignCustomer(b.edge, proto.NullUUID)
	if len(events) != 2 || events[0].EdgeConfiguration == nil || !pb.Equal(events[1], deletedDown(ref{typeCustomer, customer})) {
		t.Errorf("%v", events)
	}
}

// TestAllowProvisioning: the profile and how devices provision themselves come with each sync.
func TestAllowProvisioning(t *testing.T) {
	b := newTenantBench(t)
	down := b.AllowProvisioning("newborns", "key", "secret")
	if len(down.DeviceProfileUpdateMsg) != 1 {
		t.Fatalf("%v", down)
	}
	entity := down.DeviceProfileUpdateMsg[0].Entity
	for _, want := range []string{
		`"name":"newborns"`, `"provisionType":"ALLOW_CREATE_NEW_DEVICES"`, `"provisionDeviceKey":"key"`,
		`"provisionConfiguration":{"type":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceSecret":"secret"}`,
	} {
		if !strings.Contains(entity, want) {
			t.Errorf("%s lacks %s", entity, want)
		}
	}
	found := 0
	for _, step := range b.Steps(b.edge, false) {
		for _, m := range step {
			for _, p := range m.DeviceProfileUpdateMsg {
				if p.Entity == entity {
					found++
				}
			}
		}
	}
	if found != 1 {
		t.Errorf("%d times in a sync, want once", found)
	}
}

// TestAlarmByUser: a user's acknowledgement or clearing shows as one system comment
// (CONTRACT.md 6.3). A cleared alarm cannot be raised again under its id (CONTRACT.md 4.8); its
// comments stay.
func TestAlarmByUser(t *testing.T) {
	b := newTenantBench(t)
	id := proto.UUID{15: 50}
	m := &proto.AlarmUpdateMsg{Entity: `{"tenantId":` + idJSON(ref{typeTenant, b.TenantID()}) +
		`,"type":"hot","severity":"MAJOR","originator":` +
		idJSON(ref{typeDevice, b.device}) + `}`}
	m.IdMSB, m.IdLSB = proto.Halves(id)
	raise := func() Outcome { return b.process(&proto.UplinkMsg{AlarmUpdateMsg: []*proto.AlarmUpdateMsg{m}}) }
	if out := raise(); !out.Success {
		t.Fatalf("%+v", out)
	}
	for _, c := range []struct {
		do      func() *proto.DownlinkMsg
		subtype string
		status  string
	}{
		{func() *proto.DownlinkMsg { return b.AckAlarm(id, b.now) }, "ACKED_BY_USER", "ACTIVE_ACK"},
		{func() *proto.DownlinkMsg { return b.ClearAlarm(id, b.now) }, "CLEARED_BY_USER", "CLEARED_ACK"},
	} {
		down := c.do()
		if len(down.GetAlarmCommentUpdateMsg()) != 1 {
			t.Fatalf("%v", down)
		}
		o, err := readObject(down.AlarmCommentUpdateMsg[0].Entity, "", "")
		if err != nil || o.text("type") != "SYSTEM" || !strings.Contains(string(o["comment"]), c.subtype) {
			t.Errorf("%v, %v", down, err)
		}
		if got := text(b.find(typeAlarm, id).field("status")); got != c.status {
			t.Errorf("status %s, want %s", got, c.status)
		}
		if again := c.do(); again != nil {
			t.Errorf("the second time: %v", again)
		}
	}
	if out := raise(); !strings.HasPrefix(out.Error, `ERROR: duplicate key value violates unique constraint "alarm_pkey"`) {
		t.Errorf("%+v", out)
	}
	if got := len(b.find(typeAlarm, id).comments); got != 2 {
		t.Errorf("%d comments, want 2", got)
	}
	comment := `{"id":{"id":"` + proto.FormatUUID(proto.UUID{15: 60}) + `"},"alarmId":` + idJSON(ref{typeAlarm, id}) +
		`,"comment":{"text":"x"}}`
	for _, typ := range []proto.UpdateMsgType{created, updated, deleted} {
		out := b.process(&proto.UplinkMsg{AlarmCommentUpdateMsg: []*proto.AlarmCommentUpdateMsg{{MsgType: typ, Entity: comment}}})
		if got := len(b.find(typeAlarm, id).comments); !out.Success || got != 3 {
			t.Errorf("%v: %d comments, want 3; %+v", typ, got, out)
		}
	}
}

// TestHashOrder: latest telemetry is grouped by ts, in the order of the recording uplink-requests
// (CONTRACT.md 7.3).
func TestHashOrder(t *testing.T) {
	got := hashOrder([]int64{1767225600000, 1767225601000, 1767225602000, 1795460897960})
	if got[0] != 1767225600000 || got[1] != 1767225602000 ||
		got[2] != 1795460897960 || got[3] != 1767225601000 {
		t.Errorf("%v", got)
	}
	if got := hashOrder(make([]int64, 13)); len(got) != 13 {
		t.Errorf("%v", got)
	}
}

// An edge that is made anew has its key, secret and devices by name and credentials, and other ids.
func TestRemakeEdge(t *testing.T) {
	tn := NewTenant()
	old := Edge{ID: tn.NewID(), Name: "e", RoutingKey: "key", Secret: "secret"}
	tn.AddEdge(old)
	d := Device{ID: tn.NewID(), Name: "d", CredentialsType: "ACCESS_TOKEN", CredentialsID: "token"}
	tn.AddDevice(old.ID, d)
	tn.AddDevice(proto.UUID{}, Device{ID: tn.NewID(), Name: "nobody's"})
	e := tn.RemakeEdge(old.ID)
	if found, ok := tn.EdgeByKey("key"); !ok || found.ID != e.ID || e.ID == old.ID || e.Secret != "secret" || !tn.Deleted(old.ID) {
		t.Errorf("%+v, %v", found, ok)
	}
	list := tn.Devices()
	if len(list) != 2 || list[0].Name != "d" || list[0].ID == d.ID || list[0].CredentialsID != "token" {
		t.Fatalf("%+v", list)
	}
	if _, edge, _ := tn.DeviceOf(list[0].ID); edge != e.ID {
		t.Error("not assigned")
	}
	if none := tn.RemakeEdge(proto.UUID{9}); none != (Edge{}) {
		t.Errorf("an unknown edge: %+v", none)
	}
}
