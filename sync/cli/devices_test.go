package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"edgesync/sync/status"
)

// Where is my sensor: over HTTP, over MQTT, by REST's page and by the command, with what was
// refused and who is unknown; without an agent the names are left.
func TestDevices(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	if code, _ := post(r.http, "token-0", `{"temperature":21.5}`); code != http.StatusOK {
		t.Fatal(code)
	}
	if code, _ := post(r.http, "token-0", `{"temperature":`); code != http.StatusBadRequest {
		t.Fatal(code)
	}
	if code, _ := post(r.http, "hush-hush", `{"a":1}`); code != http.StatusUnauthorized {
		t.Fatal(code)
	}
	c, _, code, err := mqttDial(r.snapshot().MQTTAddress, "token-1")
	if err != nil || code != 0 {
		t.Fatal(code, err)
	}
	defer c.Close()

	out, exit := s.tool("devices")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if exit != 0 || len(lines) != 7 {
		t.Fatalf("%d, %d lines:\n%s", exit, len(lines), out)
	}
	for i, want := range []string{
		"DEVICE ", "station 0                 http ", "    refused: its payload cannot be stored, last ",
		"station 1                 mqtt, connected ",
		"station 2                 -                     -                 -", "3 devices",
		"unknown: 127.0.0.1 over http: refused: unknown token (",
	} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d is %q, want %q", i, lines[i], want)
		}
	}
	if !strings.HasSuffix(lines[1], "temperature=21.5") || strings.Contains(out, "hush") {
		t.Errorf("%s", out)
	}
	out, exit = s.tool("devices", "station 0")
	for _, want := range []string{
		"\nconnected  http\n", "\nvalue      temperature = 21.5  (", "\nrefused    its payload", "\nseen       ",
	} {
		if exit != 0 || !strings.Contains(out, want) {
			t.Errorf("%d, lacks %q:\n%s", exit, want, out)
		}
	}
	if out, exit = s.tool("devices", "ION 1"); exit != 0 || !strings.Contains(out, "station 1") || !strings.Contains(out, "\n1 device\n") {
		t.Errorf("%d, %s", exit, out)
	}
	if out, exit = s.tool("devices", "nowhere"); exit != exitFailed || !strings.Contains(out, "no device here has this") {
		t.Errorf("%d, %s", exit, out)
	}
	if out, exit = s.tool("devices", "--json"); exit != 0 || len(objects(t, out)) != 4 || !strings.Contains(out, `"marks":["`) {
		t.Errorf("%d, %s", exit, out)
	}

	res, err := http.Get("http://" + r.http + "/api/edgesync/devices?text=station&limit=2")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	var l status.DeviceList
	if err := json.Unmarshal(body, &l); err != nil || l.Total != 3 || l.Next != "station 1" ||
		string(l.Devices[0].Values[0].Value) != "21.5" {
		t.Errorf("%v, %s", err, body)
	}

	// ThingsBoard's form of the events is for who is logged in; our own form answers as before.
	for path, want := range map[string]int{
		"/api/edge/events?pageSize=1&page=0": http.StatusUnauthorized,
		"/api/edge/events":                   http.StatusOK, "/api/edgesync/events": http.StatusOK,
		"/api/edge/status": http.StatusOK, "/api/edgesync/status": http.StatusOK,
	} {
		res, err := http.Get("http://" + r.http + path)
		if err != nil {
			t.Fatal(err)
		}
		if res.Body.Close(); res.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
		}
	}

	r.Kill()
	out, exit = s.tool("devices")
	if exit != 0 || !strings.HasPrefix(out, "no agent runs") || !strings.Contains(out, "station 2") ||
		!strings.HasSuffix(out, "3 devices\n") {
		t.Errorf("%d, %s", exit, out)
	}
}
