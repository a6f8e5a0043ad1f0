package device

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// A provisioning request that is about a device is told with its end (RULES.md 2.2), and what is no
// secret of it.
func TestProvisioningIsTold(t *testing.T) {
	s := newStand(t, true)
	create, check := proto.UUID{0xf1}, proto.UUID{0xf2}
	s.book.profiles[create] = registry.Profile{ID: create, Name: "create", Provisioning: "ALLOW_CREATE_NEW_DEVICES"}
	s.book.profiles[check] = registry.Profile{ID: check, Name: "check", Provisioning: "CHECK_PRE_PROVISIONED_DEVICES"}
	s.book.tokens["pre"] = registry.Device{ID: proto.UUID{5}, Name: "Pre", ProfileID: check}
	s.book.tokens["used"] = registry.Device{ID: proto.UUID{6}, Name: "Used", ProfileID: check}
	s.book.tokens["none"] = registry.Device{ID: proto.UUID{7}, Name: "None", ProfileID: check}
	s.book.secrets[proto.UUID{5}] = `{"credentialsType":"ACCESS_TOKEN","credentialsId":"pre"}`
	s.book.secrets[proto.UUID{7}] = `no JSON`
	s.book.attributes[registry.ServerScope][proto.UUID{6}] = []proto.KV{long(provisionState, 0)}
	var told []string
	s.MQTT.Provisioned = func(p *Provisioned) {
		told = append(told, fmt.Sprintf("%x %v %s %s", p.Device[:1], p.OK, p.Key, p.CredentialsType))
	}
	for _, c := range []struct {
		profile, more, answer string
		want                  []string
	}{
		{"create", `,"deviceName":"N1","token":"mine"`, "SUCCESS", []string{"bb true key of create "}},
		{"create", `,"deviceName":"N1"`, "FAILURE", []string{"bb false key of create "}},
		{"create", `,"deviceName":"N2","token":"mine"`, "FAILURE", nil}, // no device is left behind
		{"create", `,"deviceName":"<b>"`, "FAILURE", nil},
		{"check", `,"deviceName":"Pre","credentialsType":"MQTT_BASIC"`, "SUCCESS", []string{"05 true key of check MQTT_BASIC"}},
		{"check", `,"deviceName":"Used"`, "FAILURE", []string{"06 false key of check "}},
		{"check", `,"deviceName":"None"`, "FAILURE", []string{"07 false key of check "}},
		{"check", `,"deviceName":"Lamp"`, "FAILURE", nil}, // of another profile
		{"nobody", `,"deviceName":"Pre"`, "NOT_FOUND", nil},
	} {
		told = nil
		r, err := readProvision([]byte(`{"provisionDeviceKey":"key of ` + c.profile + `","provisionDeviceSecret":"secret of ` +
			c.profile + `"` + c.more + `}`))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := s.MQTT.provisioned(t.Context(), "192.0.2.1", &r)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(answer), `"status":"`+c.answer+`"`) || !slices.Equal(told, c.want) {
			t.Errorf("%s%s: %s, %q; want %s, %q", c.profile, c.more, answer, told, c.answer, c.want)
		}
	}
}
