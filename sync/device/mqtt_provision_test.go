package device

import (
	"encoding/json"
	"testing"

	"edgesync/proto"
	"edgesync/sync/registry"
)

func TestMQTTProvisioning(t *testing.T) {
	s := newStand(t, true)
	create, check, off := proto.UUID{0xf1}, proto.UUID{0xf2}, proto.UUID{0xf3}
	s.book.profiles[create] = registry.Profile{ID: create, Name: "create", Provisioning: "ALLOW_CREATE_NEW_DEVICES"}
	s.book.profiles[check] = registry.Profile{ID: check, Name: "check", Provisioning: "CHECK_PRE_PROVISIONED_DEVICES"}
	s.book.profiles[off] = registry.Profile{ID: off, Name: "off", Provisioning: "X509_CERTIFICATE_CHAIN"}
	s.book.tokens["pre"] = registry.Device{ID: proto.UUID{5}, Name: "Pre", ProfileID: check}
	s.book.secrets[proto.UUID{5}] = `{"credentialsType":"X509_CERTIFICATE","credentialsId":"h","credentialsValue":"MIIB"}`
	ask := func(fields string) string {
		d := s.pipe(4)
		if code := d.connect("", "provision", ""); code != 0 {
			t.Fatalf("CONNACK %d", code)
		}
		if code := d.subscribe("v1/devices/me/attributes", 1); code != 0x80 {
			t.Errorf("another filter: %#x", code)
		}
		d.subscribe("/provision/response", 0)
		d.publish("/provision/request", fields, 0)
		topic, payload, _ := d.message()
		if topic != "/provision/response" {
			t.Errorf("answer on %s", topic)
		}
		return payload
	}
	with := func(profile, more string) string {
		return `{"provisionDeviceKey":"key of ` + profile + `","provisionDeviceSecret":"secret of ` + profile + `"` + more + `}`
	}
	for _, c := range []struct{ request, want string }{
		{
			with("create", `,"deviceName":"N1","token":"mine"`),
			`{"credentialsValue":"mine","credentialsType":"ACCESS_TOKEN","status":"SUCCESS"}`,
		},
		// the name is taken
		{with("create", `,"deviceName":"N1"`), provisionFailure},
		// the token is taken
		{with("create", `,"deviceName":"N2","token":"lamp"`), provisionFailure},
		{
			with("create", `,"deviceName":"N3"`),
			`{"credentialsValue":"generated2","credentialsType":"ACCESS_TOKEN","status":"SUCCESS"}`,
		},
		{
			with("create", `,"deviceName":"N4","credentialsType":"MQTT_BASIC","clientId":"c","username":"u"`),
			`{"credentialsValue":{"clientId":"c","userName":"u","password":""},"credentialsType":"MQTT_BASIC","status":"SUCCESS"}`,
		},
		{
			with("create", `,"deviceName":"N5","credentialsType":"MQTT_BASIC"`),
			`{"credentialsValue":"generated4","credentialsType":"ACCESS_TOKEN","status":"SUCCESS"}`,
		},
		{
			with("check", `,"deviceName":" Pre\t"`), // the name is trimmed
			`{"credentialsValue":"MIIB","credentialsType":"X509_CERTIFICATE","status":"SUCCESS"}`,
		},
		{with("check", `,"deviceName":"Lamp"`), provisionFailure}, // of another profile
		{with("check", ``), provisionFailure},
		{with("off", ``), provisionNotFound},
		{with("nobody", ``), provisionNotFound},
	} {
		if got := ask(c.request); got != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", c.request, got, c.want)
		}
	}
	if n := len(s.intake.durable()); n != 5 { // provisionState for each success
		t.Errorf("%d events", n)
	}
	s.book.attributes[registry.ServerScope][proto.UUID{5}] = []proto.KV{long("provisionState", 0)}
	if got := ask(with("check", `,"deviceName":"Pre"`)); got != provisionFailure {
		t.Errorf("provisioned twice: %s", got)
	}
	for _, b := range s.book.births {
		if b.Type != "create" {
			t.Errorf("%+v", b)
		}
	}
	d := s.pipe(5)
	d.connect("provision", "", "")
	d.publish("/provision/request", `{"provisionDeviceKey":"k"}`, 1)
	d.puback(1, reasonUnspecified)
	d.closed(reasonUnspecified)
	d = s.pipe(5)
	d.connect("", "provision", "")
	d.publish("v1/devices/me/telemetry", `{"a":1}`, 1)
	d.puback(1, reasonTopic)
	d.closed(reasonTopic)
	if !json.Valid(sessionLimits(true)) {
		t.Error("limits are no JSON")
	}
}
