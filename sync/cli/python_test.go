package cli

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// python is the interpreter of a virtual environment below build/python, which scripts/ci/prepare
// makes.
func python(t *testing.T, environment string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", "build", "python", environment))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "packages")); err != nil { // written when all is installed
		absent(t, "the Python environment %s is missing; scripts/ci/prepare python makes it", environment)
	}
	return filepath.Join(dir, "bin", "python")
}

// sdk is the program that drives ThingsBoard's Python SDK.
func sdk(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "scripts", "clients", "sdk.py"))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPythonSDK(t *testing.T) {
	t.Parallel()
	python := python(t, "sdk")
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	tenant := s.cloud.Tenant()
	s.cloud.AddDevice(s.edge.ID, cloudtest.Device{
		ID: tenant.NewID(), Name: "gateway",
		CredentialsType: "ACCESS_TOKEN", CredentialsID: "token-g", Gateway: true,
	})
	s.cloud.AnswerRPC(func(m *proto.DeviceRpcCallMsg) *proto.RpcResponseMsg {
		return &proto.RpcResponseMsg{Response: `{"time":5}`}
	})
	r := s.synced()
	_, port, _ := net.SplitHostPort(r.snapshot().MQTTAddress)
	run := func(role, secret string, during func()) {
		t.Helper()
		drive(t, during, python, sdk(t), role, port, secret)
	}
	called := make(chan string, 1)
	call := func(d cloudtest.Device, method, params string) {
		go func() {
			got, err := s.cloud.CallRPC(context.Background(), d.ID, method, params, false, patience)
			called <- fmt.Sprint(got, err)
		}()
	}

	d := s.mustBeNamed("station 0")
	run("device", "token-0", func() {
		s.arrived(d, "n", 50)
		s.share(d, "fan", true)
		call(d, "setGpio", `{"pin":1}`)
	})
	answered := func(want string) {
		t.Helper()
		select {
		case got := <-called:
			if got != want+"<nil>" {
				t.Errorf("the cloud got %s", got)
			}
		case <-time.After(2 * patience):
			t.Errorf("the cloud got nothing, want %s", want)
		}
	}
	answered(`{"did":"setGpio"}`)

	run("gateway", "token-g", func() {
		for _, name := range []string{"Sensor A", "Sensor B"} {
			s.arrived(s.mustBeNamed(name), "n", 20)
		}
		s.share(s.mustBeNamed("Sensor A"), "fan", true)
		call(s.mustBeNamed("Sensor A"), "setMode", `"eco"`)
	})
	answered(`{"did":"setMode"}`)
	if d := s.mustBeNamed("Sensor A"); d.Profile != "thermometer" {
		t.Errorf("%+v", d)
	}

	profile := tenant.NewID()
	msb, lsb := proto.Halves(profile)
	s.cloud.Push(s.edge.ID, &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{{
		MsgType: proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE, IdMSB: msb, IdLSB: lsb,
		Entity: fmt.Sprintf(`{"id":{"entityType":"DEVICE_PROFILE","id":%q},"name":"newborns","type":"DEFAULT","transportType":"DEFAULT",
			"provisionType":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceKey":"key","profileData":{"provisionConfiguration":{"type":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceSecret":"secret"}}}`,
			proto.FormatUUID(profile)),
	}}})
	s.eventually("the profile is here", func() bool {
		code, body := provisionOnce(r.http)
		return code == 200 && !strings.Contains(body, "NOT_FOUND")
	})
	run("provision", "key:secret", func() {})
	s.arrived(s.mustBeNamed("Newborn"), "n", 1)
	balanced(t, r.snapshot())
}

// provisionOnce provisions a device over HTTP.
func provisionOnce(addr string) (int, string) {
	res, err := http.Post("http://"+addr+"/api/v1/provision", "application/json",
		strings.NewReader(`{"deviceName":"First","provisionDeviceKey":"key","provisionDeviceSecret":"secret"}`))
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

// ThingsBoard's own REST client, unchanged: what it does is then in the cloud.
func TestRESTClient(t *testing.T) {
	t.Parallel()
	python := python(t, "rest")
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, filepath.Join("..", "..", "scripts", "clients", "rest.py"),
		"http://"+r.http).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Fatalf("%v\n%s\nthe agent's log:\n%s", err, out, &r.log)
	}
	kept := s.mustBeNamed("py kept")
	s.eventually("the backlog drains, with what waits for an entity to be in the cloud", func() bool {
		n := r.snapshot()
		return n.Pending == 0 && n.Dead == 0
	})
	if _, ok := s.named("py device"); ok {
		t.Error("the deleted device is in the cloud")
	}
	if l := s.cloud.Tenant().Relations(kept.ID); len(l) != 1 || !strings.Contains(l[0], `"type":"Contains"`) {
		t.Errorf("relations %s", l)
	}
	balanced(t, r.snapshot())
}
