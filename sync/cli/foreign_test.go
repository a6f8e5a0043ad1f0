package cli

import (
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// What Tasmota, ESPHome, Shelly and zigbee2mqtt publish, sent by a real client with the token of a
// gateway, is in the cloud under devices of their own. All that it takes is tables in the
// configuration.
func TestMosquittoPublishesForeignTopics(t *testing.T) {
	t.Parallel()
	pub := installed(t, "mosquitto_pub")
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.cloud.AddDevice(s.edge.ID, cloudtest.Device{
		ID: s.cloud.Tenant().NewID(), Name: "gateway",
		CredentialsType: "ACCESS_TOKEN", CredentialsID: "token-g", Gateway: true,
	})
	s.extra = `
[[mqtt.map]]
filter = "zigbee2mqtt/bridge/#"
as = "ignore"

[[mqtt.map]]
filter = "zigbee2mqtt/+"
device = 1
type = "zigbee"

[[mqtt.map]]
filter = "tele/+/SENSOR"
device = "plug $1"
flatten = true

[[mqtt.map]]
filter = "+/sensor/+/state"
device = 1
key = 2

[[mqtt.map]]
filter = "shellies/+/#"
device = 1
key = 2
`
	r := s.synced()
	host, port, _ := net.SplitHostPort(r.snapshot().MQTTAddress)
	publish := func(version, qos, topic, message string, more ...string) {
		t.Helper()
		args := append([]string{"-V", version, "-h", host, "-p", port, "-u", "token-g", "-q", qos, "-t", topic, "-m", message}, more...)
		if out, err := exec.Command(pub, args...).CombinedOutput(); err != nil {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
	n := 0
	for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		for _, qos := range []string{"0", "1", "2"} {
			n++
			publish(version, qos, "tele/kitchen/SENSOR", `{"Time":"2024-05-01T10:20:30","AM2301":{"Temperature":21.4}}`)
			publish(version, qos, "node/sensor/water temperature/state", "55.25", "-r")
			publish(version, qos, "shellies/shelly1pm-AA/relay/0/power", "60.25")
			publish(version, qos, "zigbee2mqtt/pantry", `{"humidity":44.72,"color":{"x":0.5}}`)
			publish(version, qos, "zigbee2mqtt/bridge/state", "online")
			publish(version, "1", "zigbee2mqtt/pantry", "{broken")
		}
	}
	for _, c := range []struct {
		device, key string
		want        float64
	}{
		{"plug kitchen", "AM2301.Temperature", 21.4},
		{"node", "water temperature", 55.25},
		{"shelly1pm-AA", "relay/0/power", 60.25},
		{"pantry", "humidity", 44.72},
	} {
		d := s.mustBeNamed(c.device)
		s.arrived(d, c.key, n)
		for _, row := range s.cloud.Tenant().Series(d.ID, c.key) {
			if row.Value.Dbl != c.want || row.Value.Type != proto.KeyValueType_DOUBLE_V {
				t.Errorf("%s of %s is %v", c.key, c.device, row.Value)
			}
		}
	}
	if _, ok := s.named("bridge"); ok {
		t.Error("what zigbee2mqtt says of itself became a device")
	}
	if i := slices.IndexFunc(s.cloud.Tenant().Devices(), func(d cloudtest.Device) bool { return d.Name == "pantry" }); i < 0 ||
		s.cloud.Tenant().Devices()[i].Profile != "zigbee" {
		t.Error("the device of zigbee2mqtt has another profile")
	}
}
