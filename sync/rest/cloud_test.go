package rest_test

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/cloudtest"
	boxrig "edgesync/sync/cloudtest/rig"
	"edgesync/sync/rest"
	"edgesync/wal"
)

// hands are doors whose devices answer each call with its parameters.
type hands struct{ a *agent.Agent }

func (h *hands) Deliver(c *agent.Call) bool {
	if c.OneWay {
		h.a.Delivered(c.Device, c.ID)
	} else {
		h.a.Answer(c.Device, c.ID, c.Params)
	}
	return true
}

// What is done over REST, with a link and without, arrives at the cloud as the real server would
// store it; and users that the cloud knows can log in.
func TestThroughToTheCloud(t *testing.T) {
	if testing.Short() {
		t.Skip("listens on a port; left out of -short")
	}
	tn := cloudtest.NewTenant()
	tn.SetWidgetTypes(2)
	e := cloudtest.Edge{ID: tn.NewID(), Name: "edge", RoutingKey: "key", Secret: "secret"}
	tn.AddEdge(e)
	cloud := cloudtest.New(cloudtest.Options{Tenant: tn})
	boss, sensor := tn.NewID(), cloudtest.Device{ID: tn.NewID(), Name: "sensor", CredentialsType: "ACCESS_TOKEN", CredentialsID: "s"}
	cloud.AddDevice(e.ID, sensor)
	tn.AddUser(boss, proto.NullUUID, "boss@x")
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go cloud.Serve(lis)
	defer cloud.Stop()

	// An agent as the command run wires it.
	r := &rig{T: t, latest: rest.NewLatest(nil), tokens: map[string]string{}}
	c := settings(t, "EDGESYNC_CLOUD_HOST=127.0.0.1",
		"EDGESYNC_CLOUD_PORT="+strconv.Itoa(lis.Addr().(*net.TCPAddr).Port), "EDGESYNC_BATCH_TIMEOUT=20ms",
		"EDGESYNC_RECONNECT_INTERVAL=100ms", "EDGESYNC_RECONNECT_MAX_INTERVAL=200ms")
	log := slog.New(slog.DiscardHandler)
	r.open(t.TempDir())
	r.intake = agent.NewIntake(r.queue)
	r.intake.Observe(r.latest.Observe)
	r.agent = agent.NewAgent(agent.Deps{Config: c, Queue: r.queue, Dead: r.dead, Registry: r.reg, Log: log, Version: "test"})
	r.agent.SetDoors(&hands{r.agent})
	r.api = rest.New(rest.Options{
		Registry: r.reg, Intake: r.intake, Creations: r.agent, Calls: r.agent, Latest: r.latest, Log: log,
	})
	defer func() {
		if t.Failed() {
			t.Logf("%+v", r.agent.Snapshot())
		}
	}()
	defer boxrig.Go(t.Context(), r.agent.Run)()
	until := func(what string, ok func() bool) { t.Helper(); boxrig.Eventually(t, what, ok) }
	until("the first sync", func() bool { s := r.agent.Snapshot(); return s.Synced && r.reg.HasDevice(sensor.ID) })
	if a := r.login("boss@x", password); a.status != 401 {
		t.Fatalf("without a password: %d", a.status)
	}
	cloud.Push(e.ID, &proto.DownlinkMsg{UserCredentialsUpdateMsg: []*proto.UserCredentialsUpdateMsg{{
		Entity: `{"userId":{"entityType":"USER","id":"` + proto.FormatUUID(boss) + `"},"enabled":true,"password":"` +
			hash(t) + `","resetToken":null}`,
	}}})
	until("the user's password", func() bool { u, _ := r.reg.UserNamed("boss@x"); return u.Hash != "" })

	do := func(method, path, body string) map[string]any {
		t.Helper()
		a := r.send("boss@x", method, path, body)
		if a.status != http.StatusOK {
			t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
		}
		var j map[string]any
		_ = json.Unmarshal([]byte(a.body), &j)
		return j
	}
	idOf := func(j map[string]any) (string, proto.UUID) {
		t.Helper()
		s, _ := j["id"].(map[string]any)["id"].(string)
		u, ok := proto.ParseUUID(s)
		if !ok {
			t.Fatalf("no id in %v", j)
		}
		return s, u
	}
	level := func() {
		t.Helper()
		until("the queue to be empty", func() bool {
			s := r.agent.Snapshot()
			// What waits for the proof of a creation counts as dead.
			return s.Pending == 0 && s.Accepted > 0 && (s.Dead == 0 || s.RefusedCreations != nil || r.dead.Stats().Resting > 0)
		})
		if s := r.agent.Snapshot(); s.Dead != 0 {
			err := r.dead.Each(func(d *wal.DeadLetter) bool { t.Errorf("dead: %v: %s", proto.Action(d.Action), d.Reason); return true })
			t.Fatal("dead letters", err)
		}
	}
	there := func(typ string, id proto.UUID, want string) {
		t.Helper()
		text, ok := tn.Entity(typ, id)
		if !ok && want != "" {
			t.Errorf("%s is not in the cloud", typ)
		} else if ok && want == "" {
			t.Errorf("%s is still in the cloud: %s", typ, text)
		} else if ok {
			r.has(typ, text, want)
		}
	}

	// Made without a link, in one go.
	cloud.Away(true)
	until("the link to be gone", func() bool { return r.agent.Snapshot().State < agent.Draining })
	devID, dev := idOf(do("POST", "/api/device?accessToken=tok",
		`{"name":"probe","type":"thermostat","label":"l","additionalInfo":{"description":"here"}}`))
	assetID, asset := idOf(do("POST", "/api/asset", `{"name":"roof","label":"high"}`))
	boardID, board := idOf(do("POST", "/api/dashboard", `{"title":"board","configuration":{"a":1}}`))
	do("POST", "/api/plugins/telemetry/DEVICE/"+devID+"/timeseries/ANY", `{"ts":1700000000000,"values":{"t":21.5}}`)
	do("POST", "/api/plugins/telemetry/DEVICE/"+devID+"/attributes/SHARED_SCOPE", `{"fan":3}`)
	do("POST", "/api/plugins/telemetry/ASSET/"+assetID+"/attributes/SERVER_SCOPE", `{"area":"12 m²"}`)
	do("POST", "/api/relation",
		`{"from":{"entityType":"ASSET","id":"`+assetID+`"},"to":{"entityType":"DEVICE","id":"`+devID+`"},"type":"Contains"}`)
	alarmID, alarm := idOf(do("POST", "/api/alarm",
		`{"type":"hot","severity":"MAJOR","originator":{"entityType":"DEVICE","id":"`+devID+`"},"details":{"t":91}}`))
	do("POST", "/api/alarm/"+alarmID+"/ack", "")
	do("POST", "/api/device", `{"id":{"entityType":"DEVICE","id":"`+devID+`"},"name":"probe 2","type":"thermostat"}`)
	do("POST", "/api/device/credentials",
		`{"deviceId":{"entityType":"DEVICE","id":"`+devID+`"},"credentialsType":"ACCESS_TOKEN","credentialsId":"tok 2"}`)
	r.has("a call without a link", r.send("boss@x", "POST", "/api/rpc/twoway/"+devID,
		`{"method":"set","params":{"pin":4}}`).body, `{"pin":4}`)
	cloud.Away(false)
	level()

	there("DEVICE", dev, `{"name":"probe 2","type":"thermostat","label":null,"additionalInfo":null}`)
	if d, of, ok := tn.DeviceOf(dev); !ok || of != e.ID || d.CredentialsID != "tok 2" {
		t.Errorf("device %+v %v", d, ok)
	}
	there("ASSET", asset, `{"name":"roof","label":"high","type":"default"}`)
	there("DASHBOARD", board, `{"title":"board","configuration":{"a":1}}`)
	there("ALARM", alarm, `{"type":"hot","severity":"MAJOR","acknowledged":true,"cleared":false,"details":{"t":91},"status":"ACTIVE_ACK"}`)
	if p := tn.Series(dev, "t"); len(p) != 1 || p[0].TS != 1700000000000 || p[0].Value.Dbl != 21.5 {
		t.Errorf("series %+v", p)
	}
	if v, _, ok := tn.Attribute(dev, "SHARED_SCOPE", "fan"); !ok || v.Long != 3 {
		t.Errorf("shared %+v %v", v, ok)
	}
	if v, _, ok := tn.Attribute(asset, "SERVER_SCOPE", "area"); !ok || v.Str != "12 m²" {
		t.Errorf("server attribute of the asset %+v %v", v, ok)
	}
	if l := tn.Relations(dev); len(l) != 1 || !strings.Contains(l[0], `"type":"Contains"`) {
		t.Errorf("relations %s", l)
	}
	for what, ok := range map[string]bool{
		"device": r.reg.HasDevice(dev), "asset": r.reg.Exists("ASSET", asset),
		"dashboard": r.reg.Exists("DASHBOARD", board),
	} {
		if !ok {
			t.Errorf("the sync took the %s away", what)
		}
	}

	// Undone, with a link.
	do("POST", "/api/alarm/"+alarmID+"/clear", "")
	level()
	there("ALARM", alarm, `{"status":"CLEARED_ACK"}`)
	do("DELETE", "/api/alarm/"+alarmID, "")
	do("DELETE", "/api/plugins/telemetry/DEVICE/"+devID+"/SHARED_SCOPE?keys=fan", "")
	do("DELETE", "/api/relations?entityId="+assetID+"&entityType=ASSET", "")
	do("DELETE", "/api/dashboard/"+boardID, "")
	level()
	if l := tn.Relations(dev); len(l) != 0 {
		t.Errorf("relations %s", l)
	}
	if v, _, ok := tn.Attribute(dev, "SHARED_SCOPE", "fan"); ok {
		t.Errorf("shared %+v", v)
	}
	do("DELETE", "/api/asset/"+assetID, "")
	do("DELETE", "/api/device/"+devID, "")
	level()
	there("ALARM", alarm, "")
	there("DASHBOARD", board, "")
	there("ASSET", asset, "")
	there("DEVICE", dev, "")

	// The user is deleted in the cloud.
	m, l := proto.Halves(boss)
	cloud.Push(e.ID, &proto.DownlinkMsg{UserUpdateMsg: []*proto.UserUpdateMsg{{
		MsgType: proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE,
		IdMSB:   m, IdLSB: l,
	}}})
	until("the session to end", func() bool { return r.send("boss@x", "GET", "/api/auth/user", "").status == 401 })
}
