package registry_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// witness notes what a watcher hears.
type witness struct {
	mu    sync.Mutex
	heard []string
}

func (w *witness) DeviceChanged(d registry.Device, what registry.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = append(w.heard, fmt.Sprintf("%s %d", d.Name, what))
}

func (w *witness) SharedAttributes(id proto.UUID, set []proto.KV, deleted []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := fmt.Sprintf("%d:", id[15])
	for i := range set {
		text += string(proto.AppendJSONValue([]byte(" "+string(set[i].Key)+"="), &set[i]))
	}
	w.heard = append(w.heard, text+" -"+strings.Join(deleted, ","))
}

// since returns and forgets what was heard.
func (w *witness) since() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := strings.Join(w.heard, "; ")
	w.heard = nil
	return s
}

func attrs(n int, scope string, ts int64, kvs ...*proto.KeyValueProto) *proto.DownlinkMsg {
	msb, lsb := proto.Halves(id(n))
	return &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
		EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: "DEVICE", PostAttributeScope: scope, AttributeTs: &ts,
		AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: kvs},
	}}}
}

func long(key string, v int64) *proto.KeyValueProto {
	return &proto.KeyValueProto{Key: key, Type: proto.KeyValueType_LONG_V, LongV: v}
}

func unset(n int, scope string, names ...string) *proto.DownlinkMsg {
	msb, lsb := proto.Halves(id(n))
	return &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
		EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: "DEVICE", AttributeDeleteMsg: &proto.AttributeDeleteMsg{Scope: scope, AttributeNames: names},
	}}}
}

func TestAttributeCache(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	w := &witness{}
	r.Watch(w)
	apply(t, r, attrs(1, "SHARED_SCOPE", 100, long("a", 1))) // a device that is not here
	if got := r.Kinds(); got != "" {
		t.Errorf("kept %s", got)
	}
	apply(t, r, devices(device(1, "d"), device(2, "e")))
	w.since()
	steps := []struct {
		m                              *proto.DownlinkMsg
		client, shared, server, latest string
		heard                          string
	}{
		{attrs(1, "SHARED_SCOPE", 100, long("b", 1), long("a", 2)), "", "a=2 b=1", "", "", "1: b=1 a=2 -"},
		{attrs(1, "SHARED_SCOPE", 99, long("a", 3), long("c", 3)), "", "a=2 b=1 c=3", "", "", "1: c=3 -"}, // older: only what was not there
		{attrs(1, "SHARED_SCOPE", 100, long("a", 4)), "", "a=4 b=1 c=3", "", "", "1: a=4 -"},              // of the same time: what comes later
		{attrs(1, "SHARED_SCOPE", 200, long("a", 4)), "", "a=4 b=1 c=3", "", "", "1: a=4 -"},              // the same value is told too
		{attrs(1, "SERVER_SCOPE", 1, long("s", 1), long("lastActivityTime", 5)), "", "a=4 b=1 c=3", "s=1", "", ""},
		{attrs(1, "", 1, long("t", 1)), "", "a=4 b=1 c=3", "s=1 t=1", "", ""}, // a blank scope (wire contract 7.3)
		{attrs(1, "CLIENT_SCOPE", 1, long("x", 1)), "x=1", "a=4 b=1 c=3", "s=1 t=1", "", ""},
		{attrs(1, "NO_SCOPE", 1, long("y", 1)), "x=1", "a=4 b=1 c=3", "s=1 t=1", "", ""},
		{unset(1, "SHARED_SCOPE", "b", "nothing"), "x=1", "a=4 c=3", "s=1 t=1", "", "1: -b,nothing"},
		{unset(1, "SHARED_SCOPE", "nothing"), "x=1", "a=4 c=3", "s=1 t=1", "", "1: -nothing"}, // deleting what is not there is told too (device API 2)
		{unset(1, "SHARED_SCOPE", "a", "c"), "x=1", "", "s=1 t=1", "", "1: -a,c"},
		{&proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
			EntityIdMSB: 0x1100, EntityIdLSB: 1, EntityType: "DEVICE",
			PostTelemetryMsg: &proto.PostTelemetryMsg{TsKvList: []*proto.TsKvListProto{
				{Ts: 602, Kv: []*proto.KeyValueProto{long("t", 602)}}, {Ts: 600, Kv: []*proto.KeyValueProto{long("t", 600), long("u", 600)}}, // not in order of time
			}},
		}}}, "x=1", "", "s=1 t=1", "t=602 u=600", ""},
		{attrs(1, "SHARED_SCOPE", 300, &proto.KeyValueProto{Key: "", Type: proto.KeyValueType_LONG_V}, &proto.KeyValueProto{Key: "j", Type: proto.KeyValueType_JSON_V, JsonV: "{"},
			&proto.KeyValueProto{Key: "k", Type: 9}, &proto.KeyValueProto{Key: "big", Type: proto.KeyValueType_STRING_V, StringV: strings.Repeat("x", 300<<10)}), "x=1", "", "s=1 t=1", "t=602 u=600", ""},
	}
	for i, s := range steps {
		apply(t, r, s.m)
		if got := w.since(); got != s.heard {
			t.Errorf("step %d: heard %q, want %q", i, got, s.heard)
		}
		for range 2 {
			for scope, want := range map[registry.Scope]string{registry.ClientScope: s.client, registry.SharedScope: s.shared, registry.ServerScope: s.server, registry.Latest: s.latest} {
				if got := values(r, id(1), scope); got != want {
					t.Errorf("step %d, scope %d: %q, want %q", i, scope, got, want)
				}
			}
			r.Close()
			r = open(t, dir)
			r.Watch(w)
		}
	}
	if got := values(r, id(1), registry.ServerScope, "t", "zz", "s"); got != "t=1 s=1" {
		t.Errorf("by key: %q", got)
	}
	if got := values(r, id(2), registry.ServerScope); got != "" {
		t.Errorf("of another device: %q", got)
	}
	apply(t, r, devices(gone(1)))
	if got := r.Kinds(); got != "device 1" {
		t.Errorf("left %s", got)
	}
}

// A device reads back at once what it posted, whatever time stands there; the cloud's later word counts again.
func TestPosted(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	apply(t, r, devices(device(1, "d")))
	future := time.Now().Add(time.Hour).UnixMilli()
	apply(t, r, attrs(1, "CLIENT_SCOPE", future, long("a", 1)))
	post := func(v int64) {
		t.Helper()
		if err := r.Posted(id(1), "CLIENT_SCOPE", &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{long("a", v)}}); err != nil {
			t.Fatal(err)
		}
	}
	post(2)
	if got := values(r, id(1), registry.ClientScope); got != "a=2" {
		t.Error(got)
	}
	apply(t, r, attrs(1, "CLIENT_SCOPE", future+1, long("a", 3)))
	if got := values(r, id(1), registry.ClientScope); got != "a=3" {
		t.Error(got)
	}
	// Server attributes too; and what the cloud sends without a time counts, although this machine's clock may be behind what stands here.
	if err := r.Posted(id(1), "SERVER_SCOPE", &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{long("s", 1)}}); err != nil {
		t.Fatal(err)
	}
	if got := values(r, id(1), registry.ServerScope); got != "s=1" {
		t.Error(got)
	}
	if err := r.Posted(id(1), "NO_SCOPE", &proto.PostAttributeMsg{}); err == nil {
		t.Error("a scope that there is not")
	}
	m := attrs(1, "CLIENT_SCOPE", 0, long("a", 4))
	m.EntityData[0].AttributeTs = nil
	apply(t, r, m)
	if got := values(r, id(1), registry.ClientScope); got != "a=4" {
		t.Error(got)
	}
	if err := r.Posted(id(9), "CLIENT_SCOPE", &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{long("a", 1)}}); err != nil || r.Kinds() != "attrs 2, device 1" {
		t.Errorf("%v, %s", err, r.Kinds())
	}
}

// Who watches hears of every change once, and of a sync that brings nothing new not at all.
func TestWatcher(t *testing.T) {
	r := open(t, t.TempDir())
	w := &witness{}
	r.Watch(w)
	heard := func(want string) {
		t.Helper()
		if got := w.since(); got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	}
	both := func(n int, name, token string) *proto.DownlinkMsg {
		m := devices(device(n, name))
		m.DeviceCredentialsUpdateMsg = tokens(creds(n, "ACCESS_TOKEN", token)).DeviceCredentialsUpdateMsg
		return m
	}
	apply(t, r, both(1, "a", "t1"))
	heard("a 1; a 4")
	r.BeginSync(false, 0)
	apply(t, r, both(1, "a", "t1"))
	r.EndSync()
	heard("")
	apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "t2")))
	heard("a 4")
	apply(t, r, both(1, "b", "t2"))
	heard("b 2")
	plain := device(1, "b")
	plain.Entity = strings.Replace(plain.Entity, `"gateway":true`, `"gateway":false`, 1)
	apply(t, r, devices(plain))
	heard("b 8")
	profile := func(name string) *proto.DeviceProfileUpdateMsg {
		return &proto.DeviceProfileUpdateMsg{IdMSB: 5, IdLSB: 5, Entity: `{"name":"` + name + `"}`}
	}
	moved := device(1, "b")
	moved.Entity = strings.Replace(plain.Entity, `"type"`, `"deviceProfileId":{"id":"`+proto.FormatUUID(proto.UUIDOf(5, 5))+`"},"type"`, 1)
	apply(t, r, devices(moved))
	heard("b 16")
	apply(t, r, &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{profile("p")}})
	heard("")
	apply(t, r, &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{profile("q")}})
	heard("b 16")
	apply(t, r, both(2, "c", "t2")) // takes the token
	heard("c 1; b 4; c 4")
	apply(t, r, devices(gone(1), gone(7)))
	heard("b 32")
	r.BeginSync(false, 0)
	r.EndSync()
	heard("c 32")
}

// MQTT logins in all combinations (device API 3.2).
func TestByMQTT(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	basic := func(n int, credentialsID, value string) *proto.DeviceCredentialsUpdateMsg {
		return &proto.DeviceCredentialsUpdateMsg{Entity: `{"deviceId":` + ref("DEVICE", n) + `,"credentialsType":"MQTT_BASIC","credentialsId":"` + credentialsID +
			`","credentialsValue":` + fmt.Sprintf("%q", value) + `}`}
	}
	apply(t, r, devices(device(1, "token"), device(2, "client"), device(3, "user"), device(4, "both"), device(5, "all"), device(6, "userpass"), device(7, "x509")))
	// sha3-256 of "c2", "c4|u4" and "c5|u5", made with another implementation.
	apply(t, r, tokens(
		creds(1, "ACCESS_TOKEN", "tok"), basic(2, "9fbfbb164c773d3a34e2b83088ac7dbb8e1aaee2bcda545b5921ed9274757ac5", `{"clientId":"c2"}`), basic(3, "u3", `{"userName":"u3"}`),
		basic(4, "4a350feb6fa79b0eac57e063e3885753ffaa23c9db0f33421c3e76430867ecb0", `{"clientId":"c4","userName":"u4"}`),
		basic(5, "cd98ce8ae3e0624097cc213beca88825dfef89bebb85673be8d8cf1c9dbf725e", `{"clientId":"c5","userName":"u5","password":"p5"}`),
		basic(6, "u6", `{"userName":"u6","password":"p6"}`), creds(7, "X509_CERTIFICATE", "4af11b2d8cb829de20255bc5375e8ab20cb77ef79fc83d301e5c1ab3dad477f8"),
	))
	for range 2 {
		for _, c := range []struct{ client, user, password, want string }{
			{"", "tok", "", "token"},
			{"any", "tok", "any", "token"},
			{"", "", "", ""},
			{"", "", "p", ""},
			{"nobody", "", "", ""},
			{"", "u3", "", "user"},
			{"any", "u3", "any", "user"},
			{"", "U3", "", ""},
			{"u3", "", "", ""},
			{"tok", "", "", ""},
			{strings.Repeat("x", 1000), "tok", "", ""},
			{"c2", "", "", "client"},
			{"c2", "", "any", "client"},
			{"c4", "u4", "", "both"},
			{"c4", "", "", ""},
			{"c4", "u5", "", ""},
			{"c5", "u5", "p5", "all"},
			{"c5", "u5", "p", ""},
			{"c5", "u5", "", ""},
			{"", "u5", "p5", ""},
			{"", "u6", "p6", "userpass"},
			{"z", "u6", "p6", "userpass"},
			{"z", "u6", "p", ""},
		} {
			d, ok := r.ByMQTT(c.client, c.user, []byte(c.password))
			if ok != (c.want != "") || ok && d.Name != c.want {
				t.Errorf("%.10q %q %q: %q %v, want %q", c.client, c.user, c.password, d.Name, ok, c.want)
			}
		}
		r.Close()
		r = open(t, dir)
	}
	if d, ok := r.ByCertificate([]byte{0, 1, 2}); !ok || d.Name != "x509" {
		t.Errorf("%+v %v", d, ok)
	}
	if _, ok := r.ByToken("u3"); ok {
		t.Error("an MQTT user name is no access token")
	}
}

// Devices made here get the ids of credentials that the server would compute (wire contract 5.5).
func TestPreparedCredentials(t *testing.T) {
	r := open(t, t.TempDir())
	der := []byte("not really a certificate")
	body := base64.StdEncoding.EncodeToString(der)
	for i, n := range []proto.NewDevice{
		{Name: "client", CredentialsType: "MQTT_BASIC", CredentialsValue: `{"clientId":"c"}`},
		{Name: "user", CredentialsType: "MQTT_BASIC", CredentialsValue: `{"userName":"u","password":"p"}`},
		{Name: "both", CredentialsType: "MQTT_BASIC", CredentialsValue: `{"clientId":"c","userName":"v","password":"q"}`},
		{Name: "open", CredentialsType: "MQTT_BASIC", CredentialsValue: `{"clientId":"c","userName":"w","password":""}`},
		{Name: "cert", CredentialsType: "X509_CERTIFICATE", CredentialsValue: body},
		{Name: "token", CredentialsType: "ACCESS_TOKEN", CredentialsID: "mine"},
		{Name: "made"},
	} {
		b, taken, err := r.Prepare(&n, time.Now())
		if err != nil || taken {
			t.Fatal(n.Name, taken, err)
		}
		if _, ok := r.ByName(n.Name); ok {
			t.Errorf("%s is found before it is announced", n.Name)
		}
		if err := r.Adopt(b.ID, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ client, user, password, want string }{
		{"c", "", "", "client"},
		{"c", "", "whatever", "client"},
		{"x", "", "", ""},
		{"", "u", "p", "user"},
		{"x", "u", "p", "user"},
		{"", "u", "wrong", ""},
		{"", "u", "", ""},
		{"", "u", "pp", ""},
		{"c", "v", "q", "both"},
		{"c", "v", "p", ""},
		{"x", "v", "q", ""},
		{"", "v", "q", ""},
		{"c", "w", "anything", "open"},
		{"c", "w", "", "open"},
		{"", "mine", "", "token"},
		{"c", "mine", "x", "token"},
	} {
		d, ok := r.ByMQTT(c.client, c.user, []byte(c.password))
		if ok != (c.want != "") || ok && d.Name != c.want {
			t.Errorf("%q %q %q: %q %v, want %q", c.client, c.user, c.password, d.Name, ok, c.want)
		}
	}
	if d, ok := r.ByCertificate(der); !ok || d.Name != "cert" {
		t.Errorf("%+v %v", d, ok)
	}
	for _, der := range [][]byte{nil, []byte("another"), make([]byte, 1<<20)} {
		if _, ok := r.ByCertificate(der); ok {
			t.Error("another certificate was taken")
		}
	}
	d, _ := r.ByName("made")
	text, _ := r.Credentials(d.ID)
	if !strings.Contains(string(text), `"credentialsType":"ACCESS_TOKEN"`) || len(text) < 100 {
		t.Errorf("generated %s", text)
	}
	for _, bad := range []proto.NewDevice{
		{},
		{Name: strings.Repeat("é", 256)},
		{Name: "a\xff"},
		{Name: "<b>"},
		{Name: "x", Type: "a\x00b"},
		{Name: "x", CredentialsType: "LWM2M"},
		{Name: "x", CredentialsType: "MQTT_BASIC", CredentialsValue: "{}"},
		{Name: "x", CredentialsType: "X509_CERTIFICATE", CredentialsValue: "*"},
		{Name: "x", CredentialsID: strings.Repeat("t", 1000)},
	} {
		if _, taken, err := r.Prepare(&bad, time.Now()); err == nil || taken {
			t.Errorf("%.20q was made", bad.Name)
		}
	}
	if b, taken, err := r.Prepare(&proto.NewDevice{Name: "token"}, time.Now()); !taken || err != nil || b.ID == (proto.UUID{}) {
		t.Errorf("the name is taken: %v %v", taken, err)
	}
	if b, taken, err := r.Prepare(&proto.NewDevice{Name: "other", CredentialsID: "mine"}, time.Now()); !taken || err != nil || b.ID != (proto.UUID{}) {
		t.Errorf("the token is taken: %v %v", taken, err)
	}
	if _, ok := r.ByName(strings.Repeat("é", 255)); ok || r.Devices() != 7 {
		t.Errorf("%d devices", r.Devices())
	}
}

// A device made here survives restarts, syncs that cannot know it yet, and the other name that the server may give it.
func TestBirths(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	if err := r.SetEdge(edgeOf(0)); err != nil {
		t.Fatal(err)
	}
	reopen := func() {
		r.Close()
		r = open(t, dir)
	}
	gateway := device(1, "gw")
	gateway.Entity = strings.Replace(gateway.Entity, `"name"`, `"customerId":`+ref("CUSTOMER", 7)+`,"name"`, 1)
	apply(t, r, devices(gateway))
	b, taken, err := r.Prepare(&proto.NewDevice{Name: "Dev A", Type: "thermostat", Gateway: id(1), CredentialsID: "tok"}, time.UnixMilli(1767225600000))
	if taken || err != nil {
		t.Fatal(taken, err)
	}
	want := `{"id":{"entityType":"DEVICE","id":"` + proto.FormatUUID(b.ID) + `"},"createdTime":1767225600000,"tenantId":{"entityType":"TENANT","id":"` +
		proto.FormatUUID(proto.UUIDOf(2, 0)) + `"},"name":"Dev A","type":"thermostat","customerId":` + ref("CUSTOMER", 7) +
		`,"additionalInfo":{"lastConnectedGateway":"` + proto.FormatUUID(id(1)) + `"}}`
	if b.Device != want {
		t.Errorf("device %s, want %s", b.Device, want)
	}
	reopen() // a crash before it was announced
	unborn := r.PendingCreations()
	if len(unborn) != 1 || unborn[0] != b {
		t.Fatalf("unborn %+v, want %+v", unborn, b)
	}
	if _, ok := r.ByToken("tok"); ok {
		t.Error("found before it was announced")
	}
	if err := r.Adopt(b.ID, 10); err != nil {
		t.Fatal(err)
	}
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	reopen()
	if len(r.PendingCreations()) != 0 {
		t.Error("announced twice")
	}
	sync := func(committed uint64, m ...*proto.DownlinkMsg) {
		t.Helper()
		r.BeginSync(false, committed)
		for _, m := range append(m, devices(gateway)) {
			apply(t, r, m)
		}
		if _, err := r.EndSync(); err != nil {
			t.Fatal(err)
		}
	}
	sync(9) // its creation was not acknowledged when this began
	if d, ok := r.ByToken("tok"); !ok || d.Name != "Dev A" || d.Type != "thermostat" {
		t.Fatalf("%+v %v", d, ok)
	}
	// The name is taken in the cloud, which gives another. The gateway goes on with its own.
	msb, lsb := proto.Halves(b.ID)
	renamed := devices(&proto.DeviceUpdateMsg{IdMSB: msb, IdLSB: lsb, MsgType: updated, Entity: `{"name":"Dev A_AbCdEfGhIjKlMnO","type":"thermostat"}`})
	for range 2 {
		apply(t, r, renamed)
		for range 2 {
			d, ok := r.ByName("Dev A")
			if !ok || d.ID != b.ID || d.Name != "Dev A_AbCdEfGhIjKlMnO" {
				t.Fatalf("%+v %v", d, ok)
			}
			reopen()
		}
	}
	if _, taken, _ := r.Prepare(&proto.NewDevice{Name: "Dev A"}, time.Now()); !taken {
		t.Error("made once more under the old name")
	}
	apply(t, r, devices(device(3, "Dev A"))) // the other one is ours now too: it has the right to the name
	if d, _ := r.ByName("Dev A"); d.ID != id(3) {
		t.Error("the alias hides the device that has the name")
	}
	apply(t, r, devices(gone(3))) // and when that one is gone
	if d, _ := r.ByName("Dev A"); d.ID != b.ID {
		t.Error("the alias is lost")
	}
	apply(t, r, devices(device(4, "x"), device(5, "x"), gone(5)))
	if d, _ := r.ByName("x"); d.ID != id(4) {
		t.Error("of two devices of one name the one that stayed is not found")
	}
	apply(t, r, devices(gone(4)))
	sync(20, renamed)
	sync(20) // known to the cloud, and not brought: gone
	if _, ok := r.ByToken("tok"); ok || r.Kinds() != "device 1" {
		t.Errorf("left %s", r.Kinds())
	}
	// Deleted in the cloud before any sync brought it.
	b, _, _ = r.Prepare(&proto.NewDevice{Name: "Dev B"}, time.Now())
	r.Adopt(b.ID, 30)
	msb, lsb = proto.Halves(b.ID)
	apply(t, r, devices(&proto.DeviceUpdateMsg{IdMSB: msb, IdLSB: lsb, MsgType: deleted}))
	if r.Kinds() != "device 1" {
		t.Errorf("left %s", r.Kinds())
	}
	// Acknowledged, and then a sync does not bring it.
	b, _, _ = r.Prepare(&proto.NewDevice{Name: "Dev C"}, time.Now())
	r.Adopt(b.ID, 40)
	sync(39)
	if r.Kinds() != "birth 1, devcreds 1, device 2" {
		t.Errorf("left %s", r.Kinds())
	}
	sync(40)
	if r.Kinds() != "device 1" {
		t.Errorf("left %s", r.Kinds())
	}
	// Discarded: nothing is left.
	b, _, _ = r.Prepare(&proto.NewDevice{Name: "Dev D"}, time.Now())
	if err := r.Discard(b.ID); err != nil || r.Kinds() != "device 1" || len(r.PendingCreations()) != 0 {
		t.Errorf("%v, left %s", err, r.Kinds())
	}
}

func TestProfiles(t *testing.T) {
	r := open(t, t.TempDir())
	give := func(n int, text string) {
		t.Helper()
		apply(t, r, &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{{IdMSB: int64(n), Entity: text}}})
	}
	give(1, `{"name":"a","provisionType":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceKey":"k1","profileData":{"provisionConfiguration":{"provisionDeviceSecret":"s1"}}}`)
	give(2, `{"name":"b","provisionType":"CHECK_PRE_PROVISIONED_DEVICES","provisionDeviceKey":"k2","profileData":{"provisionConfiguration":{"provisionDeviceSecret":"s2"}}}`)
	give(3, `{"name":"c","provisionType":"DISABLED","provisionDeviceKey":"k3","profileData":{"provisionConfiguration":{"provisionDeviceSecret":"s3"}}}`)
	give(4, `{"name":"d","provisionType":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceKey":"k4","profileData":{"provisionConfiguration":{"provisionDeviceSecret":null}}}`)
	give(5, `{"name":"e","provisionType":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceKey":"","profileData":{"provisionConfiguration":{"provisionDeviceSecret":""}}}`)
	give(6, `{"name":"m","transportType":"MQTT","default":true,"profileData":{"transportConfiguration":{"type":"MQTT","deviceTelemetryTopic":"t/x","deviceAttributesTopic":"t/y",
		"deviceAttributesSubscribeTopic":"t/z","sendAckOnValidationException":true,"transportPayloadTypeConfiguration":{"transportPayloadType":"PROTOBUF"}}}}`)
	long, fits := strings.Repeat("x", registry.MaxSchema+1), strings.Repeat("x", registry.MaxSchema)
	give(7, `{"name":"p","transportType":"MQTT","profileData":{"transportConfiguration":{"type":"MQTT","transportPayloadTypeConfiguration":{"transportPayloadType":"PROTOBUF",
		"deviceTelemetryProtoSchema":"t","deviceAttributesProtoSchema":"`+long+`","deviceRpcRequestProtoSchema":"`+fits+`","deviceRpcResponseProtoSchema":"`+long+`",
		"enableCompatibilityWithJsonPayloadFormat":false,"useJsonPayloadFormatForDefaultDownlinkTopics":true}}}}`)
	give(8, `{"name":"j","transportType":"MQTT","profileData":{"transportConfiguration":{"type":"MQTT","transportPayloadTypeConfiguration":{"transportPayloadType":"JSON",
		"deviceTelemetryProtoSchema":"t","enableCompatibilityWithJsonPayloadFormat":true}}}}`)
	for _, c := range []struct{ key, secret, want string }{
		{"k1", "s1", "a"}, {"k2", "s2", "b"}, {"k1", "s2", ""}, {"k1", "", ""}, {"", "", ""}, {"k3", "s3", ""}, {"k4", "", ""}, {"k4", "null", ""}, {"k1", "s1 ", ""},
	} {
		p, ok := r.Provision(c.key, c.secret)
		if ok != (c.want != "") || p.Name != c.want {
			t.Errorf("%q %q: %q %v, want %q", c.key, c.secret, p.Name, ok, c.want)
		}
	}
	p, ok := r.Profile(proto.UUIDOf(6, 0))
	want := registry.Profile{
		ID: proto.UUIDOf(6, 0), Name: "m", TelemetryTopic: "t/x", AttributesTopic: "t/y", SubscribeTopic: "t/z", Protobuf: true, AckInvalid: true, Default: true, ConfiguredForMQTT: true,
	}
	// The server has schemas for commands and their answers where a profile has none.
	if c, a := p.Schemas.Call, p.Schemas.Answer; !strings.Contains(c, "optional int32 requestId = 2;") || !strings.Contains(a, "optional string payload = 1;") {
		t.Errorf("%s\n%s", c, a)
	}
	p.Schemas = registry.Schemas{}
	if !ok || p != want {
		t.Errorf("%+v %v", p, ok)
	}
	if p, _ = r.Profile(proto.UUIDOf(7, 0)); p.Schemas != (registry.Schemas{Telemetry: "t", Call: fits}) || !p.Protobuf {
		t.Errorf("%+v", p)
	}
	if p, _ = r.Profile(proto.UUIDOf(8, 0)); p.Schemas != (registry.Schemas{}) || p.Protobuf {
		t.Errorf("%+v", p)
	}
	if _, ok := r.Profile(proto.UUIDOf(9, 0)); ok {
		t.Error("a profile that is not there")
	}
}

func TestKeptCalls(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	call := func(n int64) *proto.DeviceRpcCallMsg {
		return &proto.DeviceRpcCallMsg{DeviceIdMSB: 1, RequestUuidMSB: n, RequestUuidLSB: n, RequestMsg: &proto.RpcRequestMsg{Method: "m"}}
	}
	for n := range int64(3) {
		if err := r.KeepCall(call(n + 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.DropCall(call(2)); err != nil {
		t.Fatal(err)
	}
	if err := r.DropCall(call(9)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	r = open(t, dir)
	var got []int64
	for _, c := range r.Calls() {
		got = append(got, c.RequestUuidLSB)
	}
	if slices.Sort(got); !slices.Equal(got, []int64{1, 3}) {
		t.Errorf("kept %v", got)
	}
	var err error
	for n := int64(10); err == nil && n < 5000; n++ {
		err = r.KeepCall(call(n))
	}
	if err == nil {
		t.Error("calls are kept without bound")
	}
}

// What is to be asked: what is new once, everything after a sync (wire contract 6.3, 7.4).
func TestToAsk(t *testing.T) {
	r := open(t, t.TempDir())
	apply(t, r, devices(device(1, "a"), device(2, "b")))
	ask := func(all bool) string {
		var list []string
		r.ToAsk(all, func(u proto.UUID, kind string, fresh bool) {
			list = append(list, fmt.Sprintf("%s %d %v", kind, u[15], fresh))
		})
		slices.Sort(list)
		return strings.Join(list, ", ")
	}
	if got := ask(false); got != "DEVICE 1 true, DEVICE 2 true" {
		t.Error(got)
	}
	msb, lsb := proto.Halves(id(3))
	apply(t, r, &proto.DownlinkMsg{AssetUpdateMsg: []*proto.AssetUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: "{}"}}, DeviceUpdateMsg: []*proto.DeviceUpdateMsg{device(1, "a"), device(4, "d"), device(5, "e")}})
	apply(t, r, devices(gone(5)))
	if got := ask(true); got != "ASSET 3 true, DEVICE 1 false, DEVICE 2 false, DEVICE 4 true" {
		t.Error(got)
	}
	if got := ask(false); got != "" {
		t.Error(got)
	}
}

// A device that was made here goes by its profile before the cloud has sent it back: over a restart too.
func TestProfileOfADeviceMadeHere(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	apply(t, r, &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{{IdMSB: 6, Entity: `{"name":"meters","transportType":"MQTT","profileData":{"transportConfiguration":{
		"type":"MQTT","transportPayloadTypeConfiguration":{"transportPayloadType":"PROTOBUF","deviceTelemetryProtoSchema":"t"}}}}`}}})
	b, _, err := r.Prepare(&proto.NewDevice{Name: "meter", Type: "meters"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Adopt(b.ID, 1); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		d, _ := r.ByID(b.ID)
		if p, ok := r.Profile(d.ProfileID); !ok || p.Name != "meters" || p.Schemas.Telemetry != "t" {
			t.Errorf("%+v %+v %v", d, p, ok)
		}
		r.Close()
		r = open(t, dir)
	}
}
