package rest_test

import (
	"fmt"
	"strings"
	"testing"

	boxrig "edgesync/sync/cloudtest/rig"
	"edgesync/sync/registry"
)

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
		{
			method: "POST", path: "/api/device", body: `{"id":` + ref("DEVICE", meter) + `,"name":"meter 2"}`,
			want: fmt.Sprint("meter 2 ", registry.DeviceRenamed),
		},
		{method: "POST", path: "/api/device", body: `{"id":` + ref("DEVICE", meter) + `,"name":"meter 2","label":"l"}`, want: ""},
		{
			method: "POST", path: "/api/device/credentials",
			body: `{"deviceId":` + ref("DEVICE", meter) + `,"credentialsType":"ACCESS_TOKEN","credentialsId":"x"}`,
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
