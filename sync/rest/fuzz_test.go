package rest_test

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
	boxrig "edgesync/sync/cloudtest/rig"
	"edgesync/sync/rest"
	"edgesync/wal"
)

// FuzzBodies sends any body to each path that makes events. What is answered with 200 the cloud
// must take: nothing hopeless gets into the queue (CONTRACT.md 4.5). What is refused leaves no
// event.
func FuzzBodies(f *testing.F) {
	paths := []string{
		"/api/device", "/api/asset", "/api/entityView", "/api/dashboard", "/api/alarm", "/api/relation",
		"/api/device/credentials", "/api/device-with-credentials",
		"/api/plugins/telemetry/DEVICE/" + text(meter) + "/attributes/SERVER_SCOPE",
		"/api/plugins/telemetry/DEVICE/" + text(meter) + "/timeseries/ANY",
		"/api/auth/login", "/api/auth/token", "/api/rpc/oneway/" + text(meter),
	}
	dev, as := ref("DEVICE", meter), ref("ASSET", hall)
	for i, bodies := range [][]string{
		{
			`{"name":"x","label":"l","additionalInfo":{"a":[1,null]},"deviceData":{"configuration":{"type":"DEFAULT"}}}`,
			`{"id":` + dev + `,"name":"y"}`, `{"name":"x","customerId":null,"type":"a\u0000b"}`,
		},
		{`{"name":"x","type":"t"}`, `{"id":` + as + `,"name":"y","label":"l"}`},
		{
			`{"name":"x","entityId":` + dev + `,"keys":{"timeseries":["a"]},"startTimeMs":1}`,
			`{"name":"x","entityId":` + dev + `,"keys":{"timeseries":7}}`,
		},
		{`{"title":"x","configuration":{},"mobileOrder":3,"resources":[{}],"mobileHide":true}`},
		{
			`{"type":"hot","severity":"MAJOR","originator":` + dev +
				`,"details":{"a":1},"propagateRelationTypes":["a"],"acknowledged":true}`,
			`{"type":"hot","severity":"MAJOR","originator":` + as + `,"details":7}`,
		},
		{
			`{"from":` + as + `,"to":` + dev + `,"type":"Contains","additionalInfo":{"a":1}}`,
			`{"from":` + dev + `,"to":` + dev + `,"type":"x","typeGroup":"RULE_NODE"}`,
		},
		{
			`{"deviceId":` + dev + `,"credentialsType":"ACCESS_TOKEN","credentialsId":"t"}`,
			`{"deviceId":` + dev + `,"credentialsType":"MQTT_BASIC","credentialsValue":"{\"clientId\":\"c\"}"}`,
		},
		{`{"device":{"name":"z"},"credentials":{"credentialsType":"ACCESS_TOKEN","credentialsId":"u"}}`},
		{`{"a":1,"b":"x","c":{"d":[]},"e":1e300}`, `{"a":null}`},
		{`[{"ts":1,"values":{"a":1}},{"b":2}]`, `{"ts":9223372036854775807,"values":{"a":1}}`},
		{`{"username":"admin@x","password":"p"}`},
		{`{"refreshToken":"x"}`},
		{`{"method":"m","params":[1],"timeout":-1}`},
	} {
		for _, b := range bodies {
			f.Add(uint8(i), b)
		}
	}
	dir := f.TempDir()
	var r *rig
	var tn *cloudtest.Tenant
	n := 0
	f.Fuzz(func(t *testing.T, which uint8, body string) {
		if n%200 == 0 { // before the queue is long
			r, tn = newFuzzRig(t, filepath.Join(dir, time.Now().Format("150405.000000000")))
		}
		n++
		r.T = t
		a := r.send(root, "POST", paths[int(which)%len(paths)], body)
		if a.status >= 500 {
			t.Errorf("%d %s", a.status, a.body)
		}
		var fragments [][]byte
		if err := r.reader.Read(func(e *wal.Entry) bool {
			fragments = append(fragments, append([]byte(nil), e.Fragment...))
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if a.status != 200 && len(fragments) > 0 {
			t.Errorf("answered %d %s, and there are %d events", a.status, a.body, len(fragments))
		}
		for _, fragment := range fragments {
			u := new(proto.UplinkMsg)
			if err := pb.Unmarshal(fragment, u); err != nil {
				t.Fatal(err)
			}
			if o := tn.Process(id(edge), u, time.Now()); !o.Success || o.Never {
				t.Errorf("the cloud refuses %v: %s", u, o.Error)
			}
		}
	})
}

// newFuzzRig is a rig whose entities are in a cloud too.
func newFuzzRig(t *testing.T, dir string) (*rig, *cloudtest.Tenant) {
	t.Helper()
	r := &rig{T: t, latest: rest.NewLatest(nil), tokens: map[string]string{}}
	d := boxrig.OpenData(t, dir, nil, nil)
	r.queue, r.dead, r.reg = d.Queue, d.Dead, d.Registry
	tn := cloudtest.NewTenant()
	tn.SetWidgetTypes(0)
	tn.AddEdge(cloudtest.Edge{ID: id(edge), Name: "edge", RoutingKey: "key", Secret: "secret"})
	tn.AddDevice(id(edge), cloudtest.Device{ID: id(meter), Name: "meter", CredentialsType: "ACCESS_TOKEN", CredentialsID: "m"})
	tn.AddUser(id(admin), proto.NullUUID, root)
	o := tn.Process(id(edge), &proto.UplinkMsg{AssetUpdateMsg: []*proto.AssetUpdateMsg{{
		IdMSB: msb(hall), IdLSB: lsb(hall),
		Entity: `{"name":"hall","type":"default","tenantId":{"entityType":"TENANT","id":"` + proto.FormatUUID(tn.TenantID()) + `"}}`,
	}}}, time.Now())
	if !o.Success {
		t.Fatal(o.Error)
	}
	if err := r.reg.SetEdge(tn.Configuration(id(edge))); err != nil {
		t.Fatal(err)
	}
	for _, s := range tn.Steps(id(edge), true) {
		for _, m := range s {
			r.apply(m)
		}
	}
	r.apply(&proto.DownlinkMsg{UserCredentialsUpdateMsg: []*proto.UserCredentialsUpdateMsg{credentialsDown(admin, hash(t))}})
	if !r.reg.HasDevice(id(meter)) || !r.reg.Exists("ASSET", id(hall)) {
		t.Fatal("not provisioned")
	}
	r.reader = r.queue.Reader()
	r.calls.f = func(string, string, bool, time.Duration) (string, error) { return "1", nil }
	r.build(slog.New(slog.DiscardHandler))
	return r, tn
}
