package rest_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	boxrig "edgesync/sync/cloudtest/rig"
	"edgesync/sync/registry"
)

const (
	root = "admin@x"
	ours = "user@x"
)

// step is one request and what must come of it.
type step struct {
	as, method, path, body string
	status                 int
	want                   string   // JSON that the answer must have
	events                 []string // beginnings of the new events: action, kind; then a text that each must hold, behind " … "
}

func (r *rig) run(steps []step) {
	r.Helper()
	r.events()
	for _, s := range steps {
		name := s.as + " " + s.method + " " + s.path
		a := r.send(s.as, s.method, s.path, s.body)
		if a.status != s.status {
			r.Errorf("%s %s: %d %s, want %d", name, s.body, a.status, a.body, s.status)
			continue
		}
		if s.status >= 400 {
			var f struct {
				Status, ErrorCode int
				Message           string
				Timestamp         int64
			}
			if json.Unmarshal([]byte(a.body), &f) != nil || f.Status != s.status || f.ErrorCode == 0 || f.Message == "" || f.Timestamp == 0 {
				r.Errorf("%s: the error is %s", name, a.body)
			}
		}
		if s.want != "-" && (s.status < 400 || s.want != "") {
			r.has(name, a.body, s.want)
		}
		got := r.events()
		if len(got) != len(s.events) {
			r.Errorf("%s: events %q, want %q", name, got, s.events)
			continue
		}
		for i, w := range s.events {
			head, part, _ := strings.Cut(w, " … ")
			if !strings.HasPrefix(got[i], head+" ") || !strings.Contains(got[i], part) {
				r.Errorf("%s: event %q, want %q", name, got[i], w)
			}
		}
	}
}

func TestLogin(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		name, word string
		status     int
	}{{root, password, 200}, {"ADMIN@X", password, 200}, {ours, password, 200}, {root, "wrong", 401}, {root, "", 401}, {"nobody@x", password, 401}, {"", password, 401}} {
		if a := r.login(c.name, c.word); a.status != c.status {
			t.Errorf("%s %s: %d %s", c.name, c.word, a.status, a.body)
		}
	}
	a := r.login(root, "wrong")
	r.has("answer", a.body, `{"status":401,"message":"Invalid username or password","errorCode":10}`)
	a = r.login(root, password)
	var t1 struct{ Token, RefreshToken string }
	if err := json.Unmarshal([]byte(a.body), &t1); err != nil {
		t.Fatal(err)
	}
	ask := func(header, value string) answer {
		q, _ := http.NewRequest("GET", "/api/auth/user", nil)
		q.Header.Set(header, value)
		return r.do(q)
	}
	for _, header := range []string{"X-Authorization", "Authorization"} {
		r.has("user", ask(header, "Bearer "+t1.Token).body, `{"email":"admin@x","authority":"TENANT_ADMIN"}`)
	}
	for _, bad := range []string{"", "Bearer", "Bearer ", "Bearer x", "Basic " + t1.Token, "Bearer " + t1.RefreshToken, "Bearer " + t1.Token[1:]} {
		if a := ask("X-Authorization", bad); a.status != 401 {
			t.Errorf("%q: %d", bad, a.status)
		}
	}
	// ThingsBoard's clients read from the token when it ends.
	for token, life := range map[string]time.Duration{t1.Token: 9000 * time.Second, t1.RefreshToken: 7 * 24 * time.Hour} {
		parts := strings.Split(token, ".")
		var claims struct{ Iat, Exp int64 }
		if b, err := base64.RawURLEncoding.DecodeString(parts[1]); len(parts) != 3 || err != nil || json.Unmarshal(b, &claims) != nil ||
			claims.Exp-claims.Iat != int64(life.Seconds()) {
			t.Errorf("the token says %+v", claims)
		}
		forged := strings.Join([]string{parts[0], parts[1], "AAAA"}, ".")
		if a := ask("Authorization", "Bearer "+forged); a.status != 401 {
			t.Errorf("a forged token: %d", a.status)
		}
	}
	// A refresh token counts once.
	again := r.send("", "POST", "/api/auth/token", `{"refreshToken":"`+t1.RefreshToken+`"}`)
	var t2 struct{ Token, RefreshToken string }
	if again.status != 200 || json.Unmarshal([]byte(again.body), &t2) != nil || t2.Token == "" || t2.Token == t1.Token {
		t.Errorf("refresh: %d %s", again.status, again.body)
	}
	if a := r.send("", "POST", "/api/auth/token", `{"refreshToken":"`+t1.RefreshToken+`"}`); a.status != 401 {
		t.Errorf("the second time: %d", a.status)
	}
	if a := ask("Authorization", "Bearer "+t1.Token); a.status != 401 {
		t.Errorf("the old token: %d", a.status)
	}
	q, _ := http.NewRequest("POST", "/api/auth/logout", nil)
	q.Header.Set("Authorization", "Bearer "+t2.Token)
	if a := r.do(q); a.status != 200 {
		t.Errorf("logout: %d", a.status)
	}
	if a := ask("Authorization", "Bearer "+t2.Token); a.status != 401 {
		t.Errorf("after the logout: %d", a.status)
	}
	if len(r.events()) > 0 {
		t.Error("a login is an event")
	}
}

// Whoever may not act in the cloud any more may not act here.
func TestSessionsEndWithTheirUser(t *testing.T) {
	for name, m := range map[string]*proto.DownlinkMsg{
		"deleted":      {UserUpdateMsg: []*proto.UserUpdateMsg{{IdMSB: msb(user), IdLSB: lsb(user), MsgType: proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE}}},
		"moved":        {UserUpdateMsg: []*proto.UserUpdateMsg{userDown(user, ours, "CUSTOMER_USER", otherCustomer)}},
		"new password": {UserCredentialsUpdateMsg: []*proto.UserCredentialsUpdateMsg{credentialsDown(user, "$2a$04$other")}},
		"disabled":     {UserCredentialsUpdateMsg: []*proto.UserCredentialsUpdateMsg{{Entity: `{"userId":` + ref("USER", user) + `,"enabled":false,"password":null}`}}},
		"customer gone": {CustomerUpdateMsg: []*proto.CustomerUpdateMsg{{
			IdMSB: msb(customer), IdLSB: lsb(customer), MsgType: proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE,
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if a := r.send(ours, "GET", "/api/auth/user", ""); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			r.apply(m)
			for range 2 {
				if a := r.send(ours, "GET", "/api/auth/user", ""); a.status != 401 {
					t.Errorf("%d %s", a.status, a.body)
				}
			}
			if name == "deleted" || name == "disabled" { // the others cost as long a time
				if a := r.login(ours, password); a.status != 401 {
					t.Errorf("login: %d", a.status)
				}
			}
			if a := r.send(root, "GET", "/api/auth/user", ""); a.status != 200 {
				t.Errorf("another: %d", a.status)
			}
		})
	}
}

func msb(n int) int64 { m, _ := proto.Halves(id(n)); return m }
func lsb(n int) int64 { _, l := proto.Halves(id(n)); return l }

func TestSessionsAndAttemptsAreBounded(t *testing.T) {
	r := newRig(t)
	first := r.token(root)
	for range 64 {
		if a := r.login(ours, password); a.status != 200 {
			t.Fatal(a)
		}
	}
	q, _ := http.NewRequest("GET", "/api/auth/user", nil)
	q.Header.Set("Authorization", "Bearer "+first)
	if a := r.do(q); a.status != 401 {
		t.Errorf("the oldest session: %d", a.status)
	}
	codes := map[int]int{}
	for range 15 {
		codes[r.login(root, "wrong").status]++
	}
	if codes[401] != 10 || codes[429] != 5 {
		t.Errorf("answers %v", codes)
	}
	if a := r.login(root, password); a.status != 429 {
		t.Errorf("the right one from that address: %d", a.status)
	}
}

func TestDevices(t *testing.T) {
	r := newRig(t)
	r.run([]step{
		{
			root, "POST", "/api/device?accessToken=tok-1", `{"name":"probe","label":"made here","additionalInfo":{"gateway":true},"unknown":1}`, 200,
			`{"name":"probe","type":"default","label":"made here","customerId":{"id":"13814000-1dd2-11b2-8080-808080808080"},"deviceProfileId":` + ref("DEVICE_PROFILE", profile) +
				`,"tenantId":` + ref("TENANT", tenant) + `,"deviceData":{"configuration":{"type":"DEFAULT"}},"version":null}`,
			[]string{`ADDED DEVICE … "label":"made here"`, `CREDENTIALS_UPDATED DEVICE_CREDENTIALS … ACCESS_TOKEN`},
		},
		{root, "POST", "/api/device", `{"name":"probe"}`, 400, `{"message":"Device with such name already exists!","errorCode":31}`, nil},
		{root, "POST", "/api/device?accessToken=tok-1", `{"name":"probe 2"}`, 400, `{"message":"Device credentials are already assigned to another device!"}`, nil},
		{root, "POST", "/api/device", `{"name":" "}`, 400, `{"message":"Device name should be specified!"}`, nil},
		{root, "POST", "/api/device", `{"name":"` + strings.Repeat("x", 256) + `"}`, 400, "-", nil},
		{root, "POST", "/api/device", `{"name":"a<b>"}`, 400, "-", nil},
		{root, "POST", "/api/device", `{"name":7}`, 400, "-", nil},
		{root, "POST", "/api/device", `{"name":"x","label":{}}`, 400, "-", nil},
		{root, "POST", "/api/device", `{"name":"x","additionalInfo":"text"}`, 400, "-", nil},
		{root, "POST", "/api/device", `{"name":"x","deviceData":{"configuration":{"type":"ODD"}}}`, 400, "-", nil},
		{root, "POST", "/api/device", `{"name":"x","deviceProfileId":` + ref("DEVICE_PROFILE", 77) + `}`, 400, `{"message":"Device is referencing non existing device profile!"}`, nil},
		{root, "POST", "/api/device", `{"name":"x","customerId":` + ref("CUSTOMER", 77) + `}`, 400, `{"message":"Can't assign device to non-existent customer!"}`, nil},
		{root, "POST", "/api/device", `{"name":"x","firmwareId":` + ref("OTA_PACKAGE", 77) + `}`, 400, "-", nil},
		{root, "POST", "/api/device", `{"name":"x","id":` + ref("DEVICE", 77) + `}`, 404, `{"errorCode":32}`, nil},
		{root, "POST", "/api/device", `{"name":"x","id":{"id":"odd"}}`, 400, "-", nil},
		{root, "POST", "/api/device", `{"name":"x"`, 400, "-", nil},
		{root, "POST", "/api/device", `[]`, 400, "-", nil},
		{root, "POST", "/api/device", "", 400, "-", nil},
		{root, "POST", "/api/device", "{\"name\":\"\xff\"}", 400, "-", nil},
		{root, "POST", "/api/device", `{"name":"x","additionalInfo":` + strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 101), 400, "-", nil},
		{root, "POST", "/api/device", `{"name":"x","additionalInfo":{"a":"` + strings.Repeat("x", 300<<10) + `"}}`, 413, "-", nil},
		{ours, "POST", "/api/device", `{"name":"x"}`, 403, `{"errorCode":20}`, nil},
		{"", "POST", "/api/device", `{"name":"x"}`, 401, `{"errorCode":10}`, nil},
		// An update replaces the whole.
		{
			root, "POST", "/api/device", `{"id":` + ref("DEVICE", lamp) + `,"name":"lamp 2","type":"lights","label":"l"}`, 200, `{"name":"lamp 2","type":"lights","label":"l","createdTime":5}`,
			[]string{`UPDATED DEVICE … "name":"lamp 2"`},
		},
		{root, "POST", "/api/device", `{"id":` + ref("DEVICE", lamp) + `,"name":"lamp 2"}`, 200, `{"label":null,"type":"default"}`, []string{`UPDATED DEVICE … "label":null`}},
		{root, "POST", "/api/device", `{"id":` + ref("DEVICE", lamp) + `,"name":"meter"}`, 400, "-", nil},
		{root, "GET", "/api/device/" + text(lamp), "", 200, `{"name":"lamp 2"}`, nil},
		{root, "GET", "/api/device/" + text(77), "", 404, "-", nil},
		{root, "GET", "/api/device/odd", "", 400, "-", nil},
		{ours, "GET", "/api/device/" + text(meter), "", 200, `{"name":"meter"}`, nil},
		{ours, "GET", "/api/device/" + text(lamp), "", 403, "-", nil},
		{ours, "POST", "/api/device", `{"id":` + ref("DEVICE", meter) + `,"name":"meter","label":"mine","customerId":` + ref("CUSTOMER", customer) + `}`, 200, `{"label":"mine"}`, []string{"UPDATED DEVICE"}},
		{ours, "POST", "/api/device", `{"id":` + ref("DEVICE", meter) + `,"name":"meter"}`, 403, "-", nil}, // out of his own hands
		{root, "GET", "/api/tenant/devices?deviceName=meter", "", 200, `{"id":` + ref("DEVICE", meter) + `}`, nil},
		{root, "GET", "/api/tenant/device?deviceName=meter", "", 200, `{"id":` + ref("DEVICE", meter) + `}`, nil},
		{root, "GET", "/api/tenant/device", "", 400, "-", nil},
		{root, "GET", "/api/edge/" + text(edge) + "/devices?pageSize=9&page=0", "", 200, `{"totalElements":3}`, nil},
		{root, "GET", "/api/edge/" + text(77) + "/devices?pageSize=9&page=0", "", 404, "-", nil},
		{root, "GET", "/api/tenant/devices?deviceName=none", "", 404, "-", nil},
		{root, "GET", "/api/tenant/devices?pageSize=2&page=0", "", 200, `{"totalElements":3,"totalPages":2,"hasNext":true}`, nil},
		{root, "GET", "/api/tenant/devices?pageSize=2&page=1&textSearch=LAMP", "", 200, `{"totalElements":1,"totalPages":1,"hasNext":false,"data":[]}`, nil},
		{root, "GET", "/api/tenant/devices", "", 400, "-", nil},
		{ours, "GET", "/api/tenant/devices?deviceName=meter", "", 403, "-", nil},
		{ours, "GET", "/api/customer/" + text(customer) + "/devices?pageSize=9&page=0", "", 200, `{"totalElements":1,"data":[{"name":"meter"}]}`, nil},
		{ours, "GET", "/api/customer/" + text(otherCustomer) + "/devices?pageSize=9&page=0", "", 403, "-", nil},
		{ours, "DELETE", "/api/device/" + text(meter), "", 403, "-", nil},
		{root, "DELETE", "/api/device/" + text(lamp), "", 200, "", []string{`DELETED DEVICE … "id":"` + text(lamp)}},
		{root, "DELETE", "/api/device/" + text(lamp), "", 404, "-", nil},
		{root, "PUT", "/api/device", "", 405, "-", nil},
		{root, "GET", "/api/nothing", "", 404, "-", nil},
		{root, "GET", "/api/device//", "", 404, "-", nil},
	})
	if _, ok := r.reg.ByToken("tok-1"); !ok {
		t.Error("the device does not get in with its token")
	}
	if _, ok := r.reg.ByName("lamp 2"); ok {
		t.Error("the deleted device is there")
	}
}

func TestCredentials(t *testing.T) {
	r := newRig(t)
	body := func(rest string) string { return `{"deviceId":` + ref("DEVICE", meter) + `,` + rest + `}` }
	const path = "/api/device/credentials"
	r.run([]step{
		{root, "GET", "/api/device/" + text(meter) + "/credentials", "", 200, `{"credentialsId":"meter-token","createdTime":7}`, nil},
		{ours, "GET", "/api/device/" + text(meter) + "/credentials", "", 200, `{"credentialsId":"meter-token"}`, nil},
		{ours, "GET", "/api/device/" + text(lamp) + "/credentials", "", 403, "-", nil},
		{root, "GET", "/api/device/" + text(lamp) + "/credentials", "", 404, "-", nil},
		{
			root, "POST", path, body(`"credentialsType":"ACCESS_TOKEN","credentialsId":"new"`), 200, `{"id":{"id":"` + text(99) + `"},"createdTime":7,"credentialsId":"new","credentialsValue":null}`,
			[]string{`CREDENTIALS_UPDATED DEVICE_CREDENTIALS … "credentialsId":"***"`},
		},
		{root, "POST", path, body(`"credentialsType":"ACCESS_TOKEN","credentialsId":""`), 400, "-", nil},
		{root, "POST", path, body(`"credentialsType":"MQTT_BASIC","credentialsValue":"{}"`), 400, "-", nil},
		{root, "POST", path, body(`"credentialsType":"MQTT_BASIC","credentialsValue":"{\"userName\":\"u\",\"password\":\"p\"}"`), 200, `{"credentialsId":"u"}`, []string{"CREDENTIALS_UPDATED DEVICE_CREDENTIALS"}},
		{root, "POST", path, body(`"credentialsType":"LWM2M_CREDENTIALS","credentialsId":"x"`), 400, "-", nil},
		{root, "POST", path, `{"credentialsType":"ACCESS_TOKEN","credentialsId":"x"}`, 400, "-", nil},
		{root, "POST", path, `{"deviceId":` + ref("DEVICE", 77) + `,"credentialsType":"ACCESS_TOKEN","credentialsId":"x"}`, 404, "-", nil},
		{root, "POST", path, `{"deviceId":` + ref("DEVICE", lamp) + `,"credentialsType":"ACCESS_TOKEN","credentialsId":"u"}`, 400, `{"message":"Device credentials are already assigned to another device!"}`, nil},
		{ours, "POST", path, body(`"credentialsType":"ACCESS_TOKEN","credentialsId":"x"`), 403, "-", nil},
		{
			root, "POST", path, body(`"credentialsType":"X509_CERTIFICATE","credentialsValue":"-----BEGIN CERTIFICATE-----\nQUJD\nREVG\n-----END CERTIFICATE-----\n"`), 200, `{"credentialsValue":"QUJDREVG"}`,
			[]string{"CREDENTIALS_UPDATED DEVICE_CREDENTIALS"},
		},
		{
			root, "POST", "/api/device-with-credentials", `{"device":{"name":"both"},"credentials":{"credentialsType":"ACCESS_TOKEN","credentialsId":"both-token"}}`, 200, `{"name":"both"}`,
			[]string{"ADDED DEVICE", "CREDENTIALS_UPDATED DEVICE_CREDENTIALS"},
		},
	})
	d, _ := r.reg.ByName("both") // its credentials have no id of the server's yet
	r.has("shown", r.send(root, "GET", "/api/device/"+proto.FormatUUID(d.ID)+"/credentials", "").body, `{"id":{"id":"`+proto.FormatUUID(d.ID)+`"},"createdTime":0,"credentialsId":"both-token"}`)
	if d, ok := r.reg.ByToken("both-token"); !ok || d.Name != "both" {
		t.Error("not found by its token")
	}
	if _, ok := r.reg.ByToken("meter-token"); ok {
		t.Error("the old token still counts")
	}
}

func TestAssetsViewsDashboards(t *testing.T) {
	r := newRig(t)
	r.run([]step{
		{root, "POST", "/api/asset", `{"name":"roof"}`, 200, `{"name":"roof","type":"default","assetProfileId":` + ref("ASSET_PROFILE", assetProfile) + `}`, []string{`ADDED ASSET … "name":"roof"`}},
		{root, "POST", "/api/asset", `{"name":"cellar","type":"rooms"}`, 200, `{"type":"rooms","assetProfileId":null}`, []string{"ADDED ASSET"}},
		{root, "POST", "/api/asset", `{"name":"hall"}`, 400, `{"message":"Asset with such name already exists!"}`, nil},
		{root, "POST", "/api/asset", `{"id":` + ref("ASSET", hall) + `,"name":"hall","label":"big"}`, 200, `{"label":"big"}`, []string{"UPDATED ASSET"}},
		{root, "GET", "/api/asset/" + text(hall), "", 200, `{"label":"big"}`, nil},
		{ours, "GET", "/api/asset/" + text(hall), "", 403, "-", nil}, // the update took it from the customer
		{root, "GET", "/api/tenant/assets?assetName=roof", "", 200, `{"name":"roof"}`, nil},
		{root, "POST", "/api/entityView", `{"name":"view","entityId":` + ref("DEVICE", meter) + `,"keys":{"timeseries":["a"],"attributes":{"cs":[],"ss":[],"sh":[]}}}`, 200, `{"name":"view"}`, []string{"ADDED ENTITY_VIEW"}},
		{root, "POST", "/api/entityView", `{"name":"view 2","entityId":` + ref("DEVICE", 77) + `}`, 400, "-", nil},
		{root, "POST", "/api/entityView", `{"name":"view 3"}`, 400, "-", nil},
		{root, "DELETE", "/api/device/" + text(meter), "", 400, `{"message":"Can't delete device that has entity views or is referenced in calculated fields!"}`, nil},
		{root, "POST", "/api/dashboard", `{"title":"board","configuration":{"widgets":{}}}`, 200, `{"title":"board","name":"board"}`, []string{`ADDED DASHBOARD … "title":"board"`}},
		{root, "POST", "/api/dashboard", `{"configuration":{}}`, 400, "-", nil},
		{root, "DELETE", "/api/asset/" + text(hall), "", 200, "", []string{`DELETED ASSET … "id":"` + text(hall)}},
		{root, "GET", "/api/asset/" + text(hall), "", 404, "-", nil},
	})
}

func TestRuleChains(t *testing.T) {
	r := newRig(t)
	const chain = 50
	r.apply(&proto.DownlinkMsg{RuleChainUpdateMsg: []*proto.RuleChainUpdateMsg{{IdMSB: msb(chain), IdLSB: lsb(chain), Entity: `{"name":"Edge Root"}`}}})
	path := "/api/ruleChain/" + text(chain)
	r.run([]step{
		{root, "GET", path, "", 200, `{"name":"Edge Root"}`, nil},
		{root, "GET", "/api/ruleChain/" + text(77), "", 404, "-", nil},
		{ours, "GET", path, "", 403, "-", nil},
		{root, "GET", path + "/metadata", "", 404, "-", []string{"RULE_CHAIN_METADATA_REQUEST RULE_CHAIN_METADATA_REQUEST … " + text(chain)}},
		{root, "GET", path + "/metadata", "", 404, "-", nil}, // asked already
		{root, "GET", "/api/ruleChain/" + text(77) + "/metadata", "", 404, "-", nil},
	})
	r.apply(&proto.DownlinkMsg{RuleChainMetadataUpdateMsg: []*proto.RuleChainMetadataUpdateMsg{{Entity: `{"ruleChainId":` + ref("RULE_CHAIN", chain) + `,"nodes":[]}`}}})
	r.run([]step{{root, "GET", path + "/metadata", "", 200, `{"nodes":[]}`, nil}})
}

func TestAlarms(t *testing.T) {
	r := newRig(t)
	raise := func(n int, rest string) string { return `{"type":"hot","originator":` + ref("DEVICE", n) + rest + `}` }
	r.run([]step{
		{
			root, "POST", "/api/alarm", raise(meter, `,"severity":"CRITICAL","details":{"t":91}`), 200, `{"status":"ACTIVE_UNACK","name":"hot","details":{"t":91},"tenantId":` + ref("TENANT", tenant) + `}`,
			[]string{`ADDED ALARM … "severity":"CRITICAL"`},
		},
		{root, "POST", "/api/alarm", raise(meter, `,"severity":"HOT"`), 400, "-", nil},
		{root, "POST", "/api/alarm", raise(meter, ""), 400, "-", nil},
		{root, "POST", "/api/alarm", `{"type":"hot","severity":"MAJOR"}`, 400, "-", nil},
		{root, "POST", "/api/alarm", `{"severity":"MAJOR","originator":` + ref("DEVICE", meter) + `}`, 400, "-", nil},
		{root, "POST", "/api/alarm", raise(77, `,"severity":"MAJOR"`), 404, "-", nil},
		{root, "POST", "/api/alarm", raise(meter, `,"severity":"MAJOR","id":`+ref("ALARM", 77)), 404, "-", nil},
		{ours, "POST", "/api/alarm", raise(lamp, `,"severity":"MAJOR"`), 403, "-", nil},
	})
	find := func() (list []map[string]any) {
		t.Helper()
		a := r.send(root, "GET", "/api/alarm/DEVICE/"+text(meter)+"?pageSize=10&page=0", "")
		var p struct{ Data []map[string]any }
		if err := json.Unmarshal([]byte(a.body), &p); err != nil {
			t.Fatal(err)
		}
		return p.Data
	}
	alarmID := find()[0]["id"].(map[string]any)["id"].(string)
	path := "/api/alarm/" + alarmID
	r.run([]step{
		// The active one is updated, under its id, and not created again.
		{ours, "POST", "/api/alarm", raise(meter, `,"severity":"MAJOR"`), 200, `{"severity":"MAJOR","id":{"id":"` + alarmID + `"}}`, []string{`UPDATED ALARM … "id":"` + alarmID}},
		{root, "GET", path, "", 200, `{"severity":"MAJOR"}`, nil},
		{root, "POST", path + "/ack", "", 200, `{"acknowledged":true,"status":"ACTIVE_ACK"}`, []string{`ALARM_ACK ALARM … ALARM_ACK_RPC_MESSAGE`}},
		{root, "POST", path + "/ack", "", 400, `{"message":"Alarm was already acknowledged!"}`, nil},
		{root, "POST", path + "/clear", "", 200, `{"cleared":true,"status":"CLEARED_ACK"}`, []string{`ALARM_CLEAR ALARM … ALARM_CLEAR_RPC_MESSAGE`}},
		{root, "POST", path + "/clear", "", 400, `{"message":"Alarm was already cleared!"}`, nil},
		{root, "GET", "/api/alarm/info/" + alarmID, "", 200, `{"status":"CLEARED_ACK"}`, nil}, // a script may still look at it and delete it
		// A new one under a new id: that of the old the server would refuse (wire contract 4.8).
		{root, "POST", "/api/alarm", raise(meter, `,"severity":"MINOR","cleared":true`), 200, `{"status":"CLEARED_UNACK"}`, []string{"ADDED ALARM", "ALARM_CLEAR ALARM"}},
		{root, "GET", "/api/alarm/DEVICE/" + text(meter) + "?pageSize=10&page=0&searchStatus=UNACK", "", 200, `{"totalElements":1}`, nil},
		{root, "GET", "/api/alarm/DEVICE/" + text(meter) + "?pageSize=10&page=0&status=CLEARED_ACK", "", 200, `{"totalElements":1}`, nil},
		{root, "DELETE", path, "", 200, "true", []string{`DELETED ALARM … "severity":"MAJOR"`}}, // with its JSON (wire contract 5.6)
		{root, "DELETE", path, "", 404, "-", nil},
	})
	for range 132 { // those that are over are bounded
		r.send(root, "POST", "/api/alarm", raise(lamp, `,"severity":"MINOR","cleared":true,"acknowledged":true`))
	}
	n := 0
	r.reg.Entities(proto.KindAlarm, func(proto.UUID, []byte) bool { n++; return true })
	if n != 128+1 { // and the one that is not acknowledged
		t.Errorf("%d alarms are kept", n)
	}
}

func TestRelations(t *testing.T) {
	r := newRig(t)
	rel := func(from, to string, rest string) string { return `{"from":` + from + `,"to":` + to + rest + `}` }
	a, m, l := ref("ASSET", hall), ref("DEVICE", meter), ref("DEVICE", lamp)
	ends := "fromId=" + text(hall) + "&fromType=ASSET&toId=" + text(meter) + "&toType=DEVICE&relationType=Contains"
	r.run([]step{
		{root, "POST", "/api/relation", rel(a, m, `,"type":"Contains"`), 200, `{"typeGroup":"COMMON"}`, []string{`RELATION_ADD_OR_UPDATE RELATION … "typeGroup":"COMMON"`}},
		{root, "POST", "/api/relation", rel(a, m, `,"type":"Contains","additionalInfo":{"k":1}`), 200, "{}", []string{`RELATION_ADD_OR_UPDATE RELATION … {"k":1}`}},
		{root, "POST", "/api/relation", rel(a, m, ""), 400, "-", nil},
		{root, "POST", "/api/relation", rel(a, m, `,"type":"x","typeGroup":"ODD"`), 400, "-", nil},
		{root, "POST", "/api/relation", rel(a, ref("DEVICE", 77), `,"type":"x"`), 404, "-", nil},
		{root, "POST", "/api/relation", `{"from":{"id":"` + text(hall) + `"},"to":` + m + `,"type":"x"}`, 400, "-", nil},
		{ours, "POST", "/api/relation", rel(a, l, `,"type":"x"`), 403, "-", nil},
		{root, "GET", "/api/relation?" + ends, "", 200, `{"additionalInfo":{"k":1}}`, nil},
		{root, "GET", "/api/relations?fromId=" + text(hall) + "&fromType=ASSET", "", 200, `[{"type":"Contains"}]`, nil},
		{root, "GET", "/api/relations/from/ASSET/" + text(hall), "", 200, `[{"type":"Contains"}]`, nil},
		{root, "GET", "/api/relations/from/ASSET/" + text(hall) + "/Other", "", 200, `[]`, nil},
		{root, "GET", "/api/relations/to/DEVICE/" + text(meter) + "/Contains", "", 200, `[{"from":` + a + `}]`, nil},
		{root, "GET", "/api/relations", "", 400, "-", nil},
		{root, "GET", "/api/relations?toId=" + text(meter) + "&toType=DEVICE", "", 200, `[{"from":` + a + `}]`, nil},
		{root, "GET", "/api/relations?fromId=" + text(meter) + "&fromType=DEVICE", "", 200, `[]`, nil},
		{ours, "DELETE", "/api/relation?" + ends, "", 200, `{"type":"Contains"}`, []string{"RELATION_DELETED RELATION … ENTITY_DELETED_RPC_MESSAGE"}},
		{root, "DELETE", "/api/relation?" + ends, "", 404, "-", nil},
		{root, "POST", "/api/relation", rel(a, m, `,"type":"Contains"`), 200, "{}", []string{"RELATION_ADD_OR_UPDATE RELATION"}},
		{root, "POST", "/api/relation", rel(l, a, `,"type":"Lights"`), 200, "{}", []string{"RELATION_ADD_OR_UPDATE RELATION"}},
		{root, "POST", "/api/relation", rel(l, m, `,"type":"Lights"`), 200, "{}", []string{"RELATION_ADD_OR_UPDATE RELATION"}},
		// One deletion per relation known: RELATIONS_DELETED has no form on the wire.
		{root, "DELETE", "/api/relations?entityId=" + text(hall) + "&entityType=ASSET", "", 200, "", []string{`RELATION_DELETED RELATION … "type":"Contains"`, `RELATION_DELETED RELATION … "type":"Lights"`}},
		{root, "GET", "/api/relations?fromId=" + text(lamp) + "&fromType=DEVICE", "", 200, `[{"to":` + m + `}]`, nil},
	})
}

func TestAttributes(t *testing.T) {
	r := newRig(t)
	base := "/api/plugins/telemetry/DEVICE/" + text(meter)
	r.run([]step{
		{root, "POST", base + "/attributes/SERVER_SCOPE", `{"limit":40,"name":"x"}`, 200, "", []string{`ATTRIBUTES_UPDATED ENTITY_DATA … "limit":40,"name":"x"`}},
		{ours, "POST", base + "/SHARED_SCOPE", `{"fan":true}`, 200, "", []string{`ATTRIBUTES_UPDATED ENTITY_DATA … "fan":true`}},
		{root, "POST", "/api/plugins/telemetry/" + text(meter) + "/SHARED_SCOPE", `{"fan":false,"j":{"a":[1]}}`, 200, "", []string{`ATTRIBUTES_UPDATED ENTITY_DATA … "fan":false`}},
		{root, "POST", base + "/CLIENT_SCOPE", `{"fan":true}`, 400, "-", nil},
		{root, "POST", base + "/ODD_SCOPE", `{"fan":true}`, 400, "-", nil},
		{root, "POST", base + "/SERVER_SCOPE", `{}`, 400, "-", nil},
		{root, "POST", base + "/SERVER_SCOPE", `[1]`, 400, "-", nil},
		{root, "POST", base + "/SERVER_SCOPE", `{"` + strings.Repeat("k", 256) + `":1}`, 400, "-", nil},
		{ours, "POST", "/api/plugins/telemetry/DEVICE/" + text(lamp) + "/SERVER_SCOPE", `{"a":1}`, 403, "-", nil},
		{root, "POST", "/api/plugins/telemetry/DEVICE/" + text(77) + "/SERVER_SCOPE", `{"a":1}`, 404, "-", nil},
		{root, "POST", "/api/plugins/telemetry/ASSET/" + text(hall) + "/attributes/SERVER_SCOPE", `{"a":1.5}`, 200, "", []string{`ATTRIBUTES_UPDATED ENTITY_DATA … "a":1.5`}},
		{root, "GET", base + "/values/attributes", "", 200, `[{"key":"fan","value":false},{"key":"j","value":{"a":[1]}},{"key":"limit","value":40},{"key":"name","value":"x"}]`, nil},
		{root, "GET", base + "/values/attributes/SERVER_SCOPE?keys=limit,none", "", 200, `[{"key":"limit","value":40}]`, nil},
		{ours, "GET", "/api/plugins/telemetry/DEVICE/" + text(lamp) + "/values/attributes", "", 403, "-", nil},
		{root, "GET", base + "/keys/attributes/SHARED_SCOPE", "", 200, `["fan","j"]`, nil},
		{root, "DELETE", base + "/SERVER_SCOPE?keys=name", "", 200, "", []string{`ATTRIBUTES_DELETED ENTITY_DATA … "deleted":["name"]`}},
		{root, "DELETE", base + "/SERVER_SCOPE", "", 400, "-", nil},
		{root, "GET", base + "/values/attributes/SERVER_SCOPE", "", 200, `[{"key":"limit"}]`, nil},
	})
}

// What is written here wins over what the cloud wrote by a clock that is ahead (wire contract 7.2).
func TestAttributesWinOverAFasterClock(t *testing.T) {
	r := newRig(t)
	ahead := time.Now().Add(time.Hour).UnixMilli()
	r.apply(&proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
		EntityIdMSB: msb(meter), EntityIdLSB: lsb(meter), EntityType: "DEVICE", PostAttributeScope: "SHARED_SCOPE", AttributeTs: &ahead,
		AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{{Key: "fan", Type: proto.KeyValueType_LONG_V, LongV: 1}}},
	}}})
	r.run([]step{
		{root, "POST", "/api/plugins/telemetry/DEVICE/" + text(meter) + "/SHARED_SCOPE", `{"fan":2}`, 200, "", []string{fmt.Sprintf(`ATTRIBUTES_UPDATED ENTITY_DATA … "ts":%d`, ahead+1)}},
		{root, "GET", "/api/plugins/telemetry/DEVICE/" + text(meter) + "/values/attributes/SHARED_SCOPE", "", 200, `[{"key":"fan","value":2}]`, nil},
	})
}

func TestTimeseries(t *testing.T) {
	r := newRig(t)
	base := "/api/plugins/telemetry/DEVICE/" + text(meter)
	values := base + "/values/timeseries"
	r.run([]step{
		{root, "POST", base + "/timeseries/ANY", `{"t":21.5,"on":true}`, 200, "", []string{`TIMESERIES_UPDATED ENTITY_DATA … {"t":21.5,"on":true}`}},
		{
			ours, "POST", base + "/timeseries/ANY/60", `[{"ts":1000,"values":{"old":1}},{"ts":2000,"values":{"old":2}}]`, 200, "",
			[]string{`TIMESERIES_UPDATED ENTITY_DATA … "ts":1000`, `TIMESERIES_UPDATED ENTITY_DATA … "ts":2000`},
		},
		{root, "POST", base + "/timeseries/ANY", `{"ts":1500,"values":{"old":9}}`, 200, "", []string{"TIMESERIES_UPDATED ENTITY_DATA"}},
		{root, "POST", base + "/timeseries/ANY", `{}`, 400, "-", nil},
		{root, "POST", base + "/timeseries/ANY", `{"a":`, 400, "-", nil},
		{ours, "POST", "/api/plugins/telemetry/DEVICE/" + text(lamp) + "/timeseries/ANY", `{"a":1}`, 403, "-", nil},
		{root, "POST", "/api/plugins/telemetry/TENANT/" + text(tenant) + "/timeseries/ANY", `{"a":1}`, 200, "", []string{"TIMESERIES_UPDATED ENTITY_DATA"}},
		{root, "GET", values + "?keys=t,old,none", "", 200, `{"t":[{"value":"21.5"}],"old":[{"ts":2000,"value":"2"}],"none":[{"value":null}]}`, nil},
		{root, "GET", values + "?useStrictDataTypes=true", "", 200, `{"t":[{"value":21.5}],"on":[{"value":true}]}`, nil},
		{root, "GET", values + "?keys=t&startTs=1&endTs=2", "", 400, "-", nil},
		{root, "GET", base + "/keys/timeseries", "", 200, `["old","on","t"]`, nil},
		{root, "DELETE", base + "/timeseries/delete?keys=old", "", 400, "-", nil},
		{root, "DELETE", base + "/timeseries/delete?deleteAllDataForKeys=true", "", 400, "-", nil},
		{root, "DELETE", base + "/timeseries/delete?keys=old,t&startTs=1000&endTs=3000", "", 200, "", []string{`TIMESERIES_DELETED ENTITY_DATA … "deleted":["old","t"]`}},
		{root, "GET", base + "/keys/timeseries", "", 200, `["on","t"]`, nil},
		{root, "DELETE", base + "/timeseries/delete?keys=on&deleteAllDataForKeys=true", "", 200, "", []string{"TIMESERIES_DELETED ENTITY_DATA"}},
		{root, "GET", base + "/keys/timeseries", "", 200, `["t"]`, nil},
	})
	// What the cloud sent counts where nothing newer came here.
	r.apply(&proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
		EntityIdMSB: msb(meter), EntityIdLSB: lsb(meter), EntityType: "DEVICE",
		PostTelemetryMsg: &proto.PostTelemetryMsg{TsKvList: []*proto.TsKvListProto{{Ts: 5, Kv: []*proto.KeyValueProto{
			{Key: "t", Type: proto.KeyValueType_LONG_V, LongV: 1}, {Key: "cloud", Type: proto.KeyValueType_LONG_V, LongV: 7},
		}}}},
	}}})
	r.run([]step{
		{root, "GET", values + "?useStrictDataTypes=true", "", 200, `{"t":[{"value":21.5}],"cloud":[{"ts":5,"value":7}]}`, nil},
		{root, "DELETE", base + "/timeseries/delete?keys=cloud&deleteAllDataForKeys=true", "", 200, "", []string{"TIMESERIES_DELETED ENTITY_DATA"}},
		{root, "GET", base + "/keys/timeseries", "", 200, `["t"]`, nil},
	})
	a := r.send(root, "DELETE", base+"/timeseries/delete?keys=t&deleteAllDataForKeys=true", "")
	if !strings.Contains(a.head.Get("Warning"), "cannot transfer") {
		t.Errorf("the answer does not say that it stays here: %v", a.head)
	}
}

func TestCalls(t *testing.T) {
	r := newRig(t)
	var got string
	var end error
	r.calls.f = func(method, params string, oneway bool, timeout time.Duration) (string, error) {
		got = fmt.Sprint(method, " ", params, " ", oneway, " ", timeout)
		return `{"ok":1}`, end
	}
	two, one := "/api/rpc/twoway/"+text(meter), "/api/rpc/oneway/"+text(meter)
	for _, c := range []struct {
		path, body string
		end        error
		status     int
		want, call string
	}{
		{two, `{"method":"set","params":{"pin": 4}}`, nil, 200, `{"ok":1}`, `set {"pin":4} false 10s`},
		{two, `{"method":"set","params":"x","timeout":1}`, nil, 200, `{"ok":1}`, `set "x" false 5s`},
		{two, `{"method":"set","timeout":9000000000000000}`, nil, 200, `{"ok":1}`, `set  false 30s`},
		{one, `{"method":"set","params":true,"timeout":7000}`, nil, 200, "", `set true true 7s`},
		{two, `{"method":"set"}`, &agent.CallError{Word: "TIMEOUT"}, 504, "{}", ""},
		{"/api/plugins/rpc/twoway/" + text(meter), `{"method":"set"}`, &agent.CallError{Word: "TIMEOUT"}, 408, "{}", ""},
		{"/api/plugins/rpc/oneway/" + text(meter), `{"method":"set"}`, &agent.CallError{Word: "NO_ACTIVE_CONNECTION"}, 409, "{}", ""},
		{two, `{"method":"set"}`, agent.ErrTooMany, 429, "{}", ""},
		{two, `{"method":""}`, nil, 400, "{}", ""},
		{two, `{"method":"set","persistent":true}`, nil, 400, "{}", ""},
		{two, `{"method":7}`, nil, 400, "{}", ""},
		{"/api/rpc/twoway/" + text(77), `{"method":"set"}`, nil, 404, "{}", ""},
		{"/api/rpc/twoway/" + text(lamp), `{"method":"set"}`, nil, 403, "{}", ""},
	} {
		got, end = "", c.end
		a := r.send(ours, "POST", c.path, c.body)
		if c.path == "/api/rpc/twoway/"+text(77) {
			a = r.send(root, "POST", c.path, c.body)
		}
		if a.status != c.status || c.call != "" && got != c.call {
			t.Errorf("%s %s: %d %s, call %q", c.path, c.body, a.status, a.body, got)
		}
		r.has(c.path, a.body, c.want)
	}
}

// Without room in the queue nothing changes, and the answer says so.
func TestNothingChangesWithoutTheQueue(t *testing.T) {
	r := newRig(t)
	token := r.token(root)
	r.queue.Close()
	r.tokens[root] = token
	for _, s := range []step{
		{method: "POST", path: "/api/device", body: `{"name":"x"}`},
		{method: "POST", path: "/api/asset", body: `{"name":"x"}`},
		{method: "DELETE", path: "/api/device/" + text(lamp)},
		{method: "POST", path: "/api/plugins/telemetry/DEVICE/" + text(meter) + "/SERVER_SCOPE", body: `{"a":1}`},
		{method: "POST", path: "/api/plugins/telemetry/DEVICE/" + text(meter) + "/timeseries/ANY", body: `{"a":1}`},
		{method: "POST", path: "/api/alarm", body: `{"type":"hot","severity":"MAJOR","originator":` + ref("DEVICE", meter) + `}`},
	} {
		if a := r.send(root, s.method, s.path, s.body); a.status != 503 || a.head.Get("Retry-After") == "" {
			t.Errorf("%s %s: %d %s", s.method, s.path, a.status, a.body)
		}
	}
	if r.reg.Devices() != 2 {
		t.Errorf("%d devices", r.reg.Devices())
	}
	for kind, want := range map[proto.Kind]int{proto.KindAsset: 1, proto.KindAlarm: 0} {
		n := 0
		r.reg.Entities(kind, func(proto.UUID, []byte) bool { n++; return true })
		if n != want {
			t.Errorf("%v: %d", kind, n)
		}
	}
	n := 0
	r.reg.Timed(id(meter), registry.ServerScope, func(int64, *proto.KV) { n++ })
	if n > 0 {
		t.Error("an attribute was stored")
	}
}

func TestLatestIsBounded(t *testing.T) {
	r := newRig(t)
	kv := []proto.KV{{Key: []byte("k"), Type: proto.KeyValueType_STRING_V, Str: []byte(strings.Repeat("x", 2000))}}
	for i := range 2000 {
		var e proto.UUID
		e[0], e[1] = byte(i>>8), byte(i)
		r.latest.Observe([]proto.Event{{
			Kind: proto.KindEntityData, Action: proto.ActionTimeseriesUpdated, Entity: e, Fragment: proto.AppendTelemetry(nil, e, "DEVICE", int64(i), kv),
		}})
	}
	if n := r.latest.Bytes(); n > 512<<10 || n < 256<<10 {
		t.Errorf("%d bytes", n)
	}
}

// Sessions of devices follow what is changed here as they follow the cloud.
func TestDevicesHearOfIt(t *testing.T) {
	r := newRig(t)
	var w boxrig.Watcher
	r.reg.Watch(&w)
	base := "/api/plugins/telemetry/DEVICE/" + text(meter)
	for _, s := range []step{
		{method: "POST", path: base + "/SHARED_SCOPE", body: `{"fan":2}`, want: "fan=2"},
		{method: "DELETE", path: base + "/SHARED_SCOPE?keys=fan", want: "-fan"},
		{method: "POST", path: base + "/SERVER_SCOPE", body: `{"fan":2}`, want: ""},
		{method: "POST", path: "/api/device", body: `{"id":` + ref("DEVICE", meter) + `,"name":"meter 2"}`, want: fmt.Sprint("meter 2 ", registry.DeviceRenamed)},
		{method: "POST", path: "/api/device", body: `{"id":` + ref("DEVICE", meter) + `,"name":"meter 2","label":"l"}`, want: ""},
		{
			method: "POST", path: "/api/device/credentials", body: `{"deviceId":` + ref("DEVICE", meter) + `,"credentialsType":"ACCESS_TOKEN","credentialsId":"x"}`,
			want: fmt.Sprint("meter 2 ", registry.CredentialsChanged),
		},
		{method: "DELETE", path: "/api/device/" + text(meter), want: fmt.Sprint("meter 2 ", registry.DeviceDeleted)},
		{method: "POST", path: "/api/device", body: `{"name":"new"}`, want: fmt.Sprint("new ", registry.DeviceCreated)},
	} {
		if a := r.send(root, s.method, s.path, s.body); a.status != 200 {
			t.Fatalf("%s %s: %d %s", s.method, s.path, a.status, a.body)
		}
		changes, shared := w.Take()
		if got := strings.Join(append(changes, shared...), "; "); got != s.want {
			t.Errorf("%s %s: heard %q, want %q", s.method, s.path, got, s.want)
		}
	}
}
