package rest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"edgesync/proto"
)

func TestDevices(t *testing.T) {
	r := newRig(t)
	r.run([]step{
		{
			root, "POST", "/api/device?accessToken=tok-1",
			`{"name":"probe","label":"made here","additionalInfo":{"gateway":true},"unknown":1}`, 200,
			`{"name":"probe","type":"default","label":"made here",` +
				`"customerId":{"id":"13814000-1dd2-11b2-8080-808080808080"},"deviceProfileId":` + ref("DEVICE_PROFILE", profile) +
				`,"tenantId":` + ref("TENANT", tenant) + `,"deviceData":{"configuration":{"type":"DEFAULT"}},"version":null}`,
			[]string{`ADDED DEVICE … "label":"made here"`, `CREDENTIALS_UPDATED DEVICE_CREDENTIALS … ACCESS_TOKEN`},
		},
		{root, "POST", "/api/device", `{"name":"probe"}`, 400, `{"message":"Device with such name already exists!","errorCode":31}`, nil},
		{
			root, "POST", "/api/device?accessToken=tok-1", `{"name":"probe 2"}`, 400,
			`{"message":"Device credentials are already assigned to another device!"}`, nil,
		},
		{root, "POST", "/api/device", `{"name":" "}`, 400, `{"message":"Device name should be specified!"}`, nil},
		{root, "POST", "/api/device", `{"name":"` + strings.Repeat("x", 256) + `"}`, 400, "-", nil},
		{root, "POST", "/api/device", `{"name":"a<b>"}`, 400, "-", nil},
		{root, "POST", "/api/device", `{"name":7}`, 400, "-", nil},
		{root, "POST", "/api/device", `{"name":"x","label":{}}`, 400, "-", nil},
		{root, "POST", "/api/device", `{"name":"x","additionalInfo":"text"}`, 400, "-", nil},
		{root, "POST", "/api/device", `{"name":"x","deviceData":{"configuration":{"type":"ODD"}}}`, 400, "-", nil},
		{
			root, "POST", "/api/device", `{"name":"x","deviceProfileId":` + ref("DEVICE_PROFILE", 77) + `}`, 400,
			`{"message":"Device is referencing non existing device profile!"}`, nil,
		},
		{
			root, "POST", "/api/device", `{"name":"x","customerId":` + ref("CUSTOMER", 77) + `}`, 400,
			`{"message":"Can't assign device to non-existent customer!"}`, nil,
		},
		{root, "POST", "/api/device", `{"name":"x","firmwareId":` + ref("OTA_PACKAGE", 77) + `}`, 400, "-", nil},
		{root, "POST", "/api/device", `{"name":"x","id":` + ref("DEVICE", 77) + `}`, 404, `{"errorCode":32}`, nil},
		{root, "POST", "/api/device", `{"name":"x","id":{"id":"odd"}}`, 400, "-", nil},
		{root, "POST", "/api/device", `{"name":"x"`, 400, "-", nil},
		{root, "POST", "/api/device", `[]`, 400, "-", nil},
		{root, "POST", "/api/device", "", 400, "-", nil},
		{root, "POST", "/api/device", "{\"name\":\"\xff\"}", 400, "-", nil},
		{root, "POST", "/api/device", `{"name":"x","additionalInfo":` + strings.Repeat(`{"a":`, 100) + "1" +
			strings.Repeat("}", 101), 400, "-", nil},
		{root, "POST", "/api/device", `{"name":"x","additionalInfo":{"a":"` + strings.Repeat("x", 300<<10) + `"}}`, 413, "-", nil},
		{ours, "POST", "/api/device", `{"name":"x"}`, 403, `{"errorCode":20}`, nil},
		{"", "POST", "/api/device", `{"name":"x"}`, 401, `{"errorCode":10}`, nil},
		// An update replaces the whole.
		{
			root, "POST", "/api/device", `{"id":` + ref("DEVICE", lamp) +
				`,"name":"lamp 2","type":"lights","label":"l"}`, 200, `{"name":"lamp 2","type":"lights","label":"l","createdTime":5}`,
			[]string{`UPDATED DEVICE … "name":"lamp 2"`},
		},
		{
			root, "POST", "/api/device", `{"id":` + ref("DEVICE", lamp) + `,"name":"lamp 2"}`, 200,
			`{"label":null,"type":"default"}`,
			[]string{`UPDATED DEVICE … "label":null`},
		},
		{root, "POST", "/api/device", `{"id":` + ref("DEVICE", lamp) + `,"name":"meter"}`, 400, "-", nil},
		{root, "GET", "/api/device/" + text(lamp), "", 200, `{"name":"lamp 2"}`, nil},
		{root, "GET", "/api/device/" + text(77), "", 404, "-", nil},
		{root, "GET", "/api/device/odd", "", 400, "-", nil},
		{ours, "GET", "/api/device/" + text(meter), "", 200, `{"name":"meter"}`, nil},
		{ours, "GET", "/api/device/" + text(lamp), "", 403, "-", nil},
		{
			ours, "POST", "/api/device", `{"id":` + ref("DEVICE", meter) +
				`,"name":"meter","label":"mine","customerId":` + ref("CUSTOMER", customer) + `}`, 200, `{"label":"mine"}`,
			[]string{"UPDATED DEVICE"},
		},
		// The user would give the device away.
		{ours, "POST", "/api/device", `{"id":` + ref("DEVICE", meter) + `,"name":"meter"}`, 403, "-", nil},
		{root, "GET", "/api/tenant/devices?deviceName=meter", "", 200, `{"id":` + ref("DEVICE", meter) + `}`, nil},
		{root, "GET", "/api/tenant/device?deviceName=meter", "", 200, `{"id":` + ref("DEVICE", meter) + `}`, nil},
		{root, "GET", "/api/tenant/device", "", 400, "-", nil},
		{root, "GET", "/api/edge/" + text(edge) + "/devices?pageSize=9&page=0", "", 200, `{"totalElements":3}`, nil},
		{root, "GET", "/api/edge/" + text(77) + "/devices?pageSize=9&page=0", "", 404, "-", nil},
		{root, "GET", "/api/tenant/devices?deviceName=none", "", 404, "-", nil},
		{root, "GET", "/api/tenant/devices?pageSize=2&page=0", "", 200, `{"totalElements":3,"totalPages":2,"hasNext":true}`, nil},
		{
			root, "GET", "/api/tenant/devices?pageSize=2&page=1&textSearch=LAMP", "", 200,
			`{"totalElements":1,"totalPages":1,"hasNext":false,"data":[]}`, nil,
		},
		{root, "GET", "/api/tenant/devices", "", 400, "-", nil},
		{ours, "GET", "/api/tenant/devices?deviceName=meter", "", 403, "-", nil},
		{
			ours, "GET", "/api/customer/" + text(customer) + "/devices?pageSize=9&page=0", "", 200,
			`{"totalElements":1,"data":[{"name":"meter"}]}`, nil,
		},
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
			root, "POST", path, body(`"credentialsType":"ACCESS_TOKEN","credentialsId":"new"`), 200,
			`{"id":{"id":"` + text(99) + `"},"createdTime":7,"credentialsId":"new","credentialsValue":null}`,
			[]string{`CREDENTIALS_UPDATED DEVICE_CREDENTIALS … "credentialsId":"***"`},
		},
		{root, "POST", path, body(`"credentialsType":"ACCESS_TOKEN","credentialsId":""`), 400, "-", nil},
		{root, "POST", path, body(`"credentialsType":"MQTT_BASIC","credentialsValue":"{}"`), 400, "-", nil},
		{
			root, "POST", path, body(`"credentialsType":"MQTT_BASIC","credentialsValue":"{\"userName\":\"u\",\"password\":\"p\"}"`), 200,
			`{"credentialsId":"u"}`,
			[]string{"CREDENTIALS_UPDATED DEVICE_CREDENTIALS"},
		},
		{root, "POST", path, body(`"credentialsType":"LWM2M_CREDENTIALS","credentialsId":"x"`), 400, "-", nil},
		{root, "POST", path, `{"credentialsType":"ACCESS_TOKEN","credentialsId":"x"}`, 400, "-", nil},
		{root, "POST", path, `{"deviceId":` + ref("DEVICE", 77) + `,"credentialsType":"ACCESS_TOKEN","credentialsId":"x"}`, 404, "-", nil},
		{
			root, "POST", path, `{"deviceId":` + ref("DEVICE", lamp) +
				`,"credentialsType":"ACCESS_TOKEN","credentialsId":"u"}`, 400,
			`{"message":"Device credentials are already assigned to another device!"}`, nil,
		},
		{ours, "POST", path, body(`"credentialsType":"ACCESS_TOKEN","credentialsId":"x"`), 403, "-", nil},
		{
			root, "POST", path,
			body(`"credentialsType":"X509_CERTIFICATE",` +
				`"credentialsValue":"-----BEGIN CERTIFICATE-----\nQUJD\nREVG\n-----END CERTIFICATE-----\n"`),
			200, `{"credentialsValue":"QUJDREVG"}`,
			[]string{"CREDENTIALS_UPDATED DEVICE_CREDENTIALS"},
		},
		{
			root, "POST", "/api/device-with-credentials",
			`{"device":{"name":"both"},"credentials":{"credentialsType":"ACCESS_TOKEN","credentialsId":"both-token"}}`, 200,
			`{"name":"both"}`,
			[]string{"ADDED DEVICE", "CREDENTIALS_UPDATED DEVICE_CREDENTIALS"},
		},
	})
	d, _ := r.reg.ByName("both") // its credentials have no id of the server's yet
	r.has("shown", r.send(root, "GET", "/api/device/"+proto.FormatUUID(d.ID)+"/credentials", "").body,
		`{"id":{"id":"`+proto.FormatUUID(d.ID)+`"},"createdTime":0,"credentialsId":"both-token"}`)
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
		{
			root, "POST", "/api/asset", `{"name":"roof"}`, 200,
			`{"name":"roof","type":"default","assetProfileId":` + ref("ASSET_PROFILE", assetProfile) + `}`,
			[]string{`ADDED ASSET … "name":"roof"`},
		},
		{
			root, "POST", "/api/asset", `{"name":"cellar","type":"rooms"}`, 200,
			`{"type":"rooms","assetProfileId":null}`,
			[]string{"ADDED ASSET"},
		},
		{root, "POST", "/api/asset", `{"name":"hall"}`, 400, `{"message":"Asset with such name already exists!"}`, nil},
		{
			root, "POST", "/api/asset", `{"id":` + ref("ASSET", hall) + `,"name":"hall","label":"big"}`, 200,
			`{"label":"big"}`,
			[]string{"UPDATED ASSET"},
		},
		{root, "GET", "/api/asset/" + text(hall), "", 200, `{"label":"big"}`, nil},
		{ours, "GET", "/api/asset/" + text(hall), "", 403, "-", nil}, // the update took it from the customer
		{root, "GET", "/api/tenant/assets?assetName=roof", "", 200, `{"name":"roof"}`, nil},
		{root, "POST", "/api/entityView", `{"name":"view","entityId":` + ref("DEVICE", meter) +
			`,"keys":{"timeseries":["a"],"attributes":{"cs":[],"ss":[],"sh":[]}}}`, 200, `{"name":"view"}`, []string{"ADDED ENTITY_VIEW"}},
		{root, "POST", "/api/entityView", `{"name":"view 2","entityId":` + ref("DEVICE", 77) + `}`, 400, "-", nil},
		{root, "POST", "/api/entityView", `{"name":"view 3"}`, 400, "-", nil},
		{
			root, "DELETE", "/api/device/" + text(meter), "", 400,
			`{"message":"Can't delete device that has entity views or is referenced in calculated fields!"}`, nil,
		},
		{
			root, "POST", "/api/dashboard", `{"title":"board","configuration":{"widgets":{}}}`, 200,
			`{"title":"board","name":"board"}`,
			[]string{`ADDED DASHBOARD … "title":"board"`},
		},
		{root, "POST", "/api/dashboard", `{"configuration":{}}`, 400, "-", nil},
		{root, "DELETE", "/api/asset/" + text(hall), "", 200, "", []string{`DELETED ASSET … "id":"` + text(hall)}},
		{root, "GET", "/api/asset/" + text(hall), "", 404, "-", nil},
	})
}

func TestRuleChains(t *testing.T) {
	r := newRig(t)
	const chain = 50
	r.apply(&proto.DownlinkMsg{RuleChainUpdateMsg: []*proto.RuleChainUpdateMsg{{
		IdMSB: msb(chain), IdLSB: lsb(chain),
		Entity: `{"name":"Edge Root"}`,
	}}})
	path := "/api/ruleChain/" + text(chain)
	r.run([]step{
		{root, "GET", path, "", 200, `{"name":"Edge Root"}`, nil},
		{root, "GET", "/api/ruleChain/" + text(77), "", 404, "-", nil},
		{ours, "GET", path, "", 403, "-", nil},
		{
			root, "GET", path + "/metadata", "", 404, "-",
			[]string{"RULE_CHAIN_METADATA_REQUEST RULE_CHAIN_METADATA_REQUEST … " + text(chain)},
		},
		{root, "GET", path + "/metadata", "", 404, "-", nil}, // asked already
		{root, "GET", "/api/ruleChain/" + text(77) + "/metadata", "", 404, "-", nil},
	})
	r.apply(&proto.DownlinkMsg{RuleChainMetadataUpdateMsg: []*proto.RuleChainMetadataUpdateMsg{{Entity: `{"ruleChainId":` +
		ref("RULE_CHAIN", chain) + `,"nodes":[]}`}}})
	r.run([]step{{root, "GET", path + "/metadata", "", 200, `{"nodes":[]}`, nil}})
}

func TestAlarms(t *testing.T) {
	r := newRig(t)
	raise := func(n int, rest string) string { return `{"type":"hot","originator":` + ref("DEVICE", n) + rest + `}` }
	r.run([]step{
		{
			root, "POST", "/api/alarm", raise(meter, `,"severity":"CRITICAL","details":{"t":91}`), 200,
			`{"status":"ACTIVE_UNACK","name":"hot","details":{"t":91},"tenantId":` + ref("TENANT", tenant) + `}`,
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
		{
			ours, "POST", "/api/alarm", raise(meter, `,"severity":"MAJOR"`), 200,
			`{"severity":"MAJOR","id":{"id":"` + alarmID + `"}}`,
			[]string{`UPDATED ALARM … "id":"` + alarmID},
		},
		{root, "GET", path, "", 200, `{"severity":"MAJOR"}`, nil},
		{
			root, "POST", path + "/ack", "", 200, `{"acknowledged":true,"status":"ACTIVE_ACK"}`,
			[]string{`ALARM_ACK ALARM … ALARM_ACK_RPC_MESSAGE`},
		},
		{root, "POST", path + "/ack", "", 400, `{"message":"Alarm was already acknowledged!"}`, nil},
		{
			root, "POST", path + "/clear", "", 200, `{"cleared":true,"status":"CLEARED_ACK"}`,
			[]string{`ALARM_CLEAR ALARM … ALARM_CLEAR_RPC_MESSAGE`},
		},
		{root, "POST", path + "/clear", "", 400, `{"message":"Alarm was already cleared!"}`, nil},
		// A script may still read and delete it.
		{root, "GET", "/api/alarm/info/" + alarmID, "", 200, `{"status":"CLEARED_ACK"}`, nil},
		// A new alarm gets a new id: with the old id the server would refuse it (CONTRACT.md 4.8).
		{
			root, "POST", "/api/alarm", raise(meter, `,"severity":"MINOR","cleared":true`), 200,
			`{"status":"CLEARED_UNACK"}`,
			[]string{"ADDED ALARM", "ALARM_CLEAR ALARM"},
		},
		{root, "GET", "/api/alarm/DEVICE/" + text(meter) + "?pageSize=10&page=0&searchStatus=UNACK", "", 200, `{"totalElements":1}`, nil},
		{root, "GET", "/api/alarm/DEVICE/" + text(meter) + "?pageSize=10&page=0&status=CLEARED_ACK", "", 200, `{"totalElements":1}`, nil},
		// With its JSON (CONTRACT.md 5.6).
		{root, "DELETE", path, "", 200, "true", []string{`DELETED ALARM … "severity":"MAJOR"`}},
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
		{
			root, "POST", "/api/relation", rel(a, m, `,"type":"Contains"`), 200, `{"typeGroup":"COMMON"}`,
			[]string{`RELATION_ADD_OR_UPDATE RELATION … "typeGroup":"COMMON"`},
		},
		{
			root, "POST", "/api/relation", rel(a, m, `,"type":"Contains","additionalInfo":{"k":1}`), 200, "{}",
			[]string{`RELATION_ADD_OR_UPDATE RELATION … {"k":1}`},
		},
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
		{
			ours, "DELETE", "/api/relation?" + ends, "", 200, `{"type":"Contains"}`,
			[]string{"RELATION_DELETED RELATION … ENTITY_DELETED_RPC_MESSAGE"},
		},
		{root, "DELETE", "/api/relation?" + ends, "", 404, "-", nil},
		{root, "POST", "/api/relation", rel(a, m, `,"type":"Contains"`), 200, "{}", []string{"RELATION_ADD_OR_UPDATE RELATION"}},
		{root, "POST", "/api/relation", rel(l, a, `,"type":"Lights"`), 200, "{}", []string{"RELATION_ADD_OR_UPDATE RELATION"}},
		{root, "POST", "/api/relation", rel(l, m, `,"type":"Lights"`), 200, "{}", []string{"RELATION_ADD_OR_UPDATE RELATION"}},
		// One deletion per relation known: RELATIONS_DELETED has no form on the wire.
		{
			root, "DELETE", "/api/relations?entityId=" + text(hall) + "&entityType=ASSET", "", 200, "",
			[]string{`RELATION_DELETED RELATION … "type":"Contains"`, `RELATION_DELETED RELATION … "type":"Lights"`},
		},
		{root, "GET", "/api/relations?fromId=" + text(lamp) + "&fromType=DEVICE", "", 200, `[{"to":` + m + `}]`, nil},
	})
}

// An alarm that the cloud has under another id is found under both, and is marked under the
// cloud's.
func TestAlarmWithTwoIDs(t *testing.T) {
	r := newRig(t)
	body := `"type":"hot","severity":"MAJOR","originator":` + ref("DEVICE", meter)
	made := r.send(root, "POST", "/api/alarm", "{"+body+"}")
	var j struct{ ID struct{ ID string } }
	if err := json.Unmarshal([]byte(made.body), &j); err != nil || j.ID.ID == "" {
		t.Fatalf("%s (%v)", made.body, err)
	}
	const cloud = 99
	m := &proto.AlarmUpdateMsg{Entity: `{"id":` + ref("ALARM", cloud) + `,` + body + `}`}
	m.IdMSB, m.IdLSB = proto.Halves(id(cloud))
	if _, err := r.reg.Apply(&proto.DownlinkMsg{AlarmUpdateMsg: []*proto.AlarmUpdateMsg{m}}); err != nil {
		t.Fatal(err)
	}
	both := `{"id":{"id":"` + text(cloud) + `"}}`
	r.events()
	r.run([]step{
		{root, "GET", "/api/alarm/" + j.ID.ID, "", 200, both, nil},
		{root, "GET", "/api/alarm/" + text(cloud), "", 200, both, nil},
		{root, "POST", "/api/alarm/" + j.ID.ID + "/ack", "", 200, both, []string{`ALARM_ACK ALARM … "id":"` + text(cloud)}},
		{root, "POST", "/api/alarm", "{" + body + "}", 200, both, []string{`UPDATED ALARM … "id":"` + text(cloud)}},
	})
}
