package cli

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"edgesync/proto"
)

// ask sends a request to an agent and returns the status and the answer.
func ask(t *testing.T, addr, token, method, path, body string) (int, string) {
	t.Helper()
	q, err := http.NewRequest(method, "http://"+addr+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		q.Header.Set("X-Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

// What the REST API answers with 200 survives kill -9, here and on its way to the cloud; and it stands beside the other paths.
func TestRESTSurvivesKills(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	boss := s.cloud.Tenant().NewID()
	s.cloud.Tenant().AddUser(boss, proto.NullUUID, "boss@x")
	r := s.start()
	s.eventually("the first sync", func() bool { return r.snapshot().Synced })
	hash, err := bcrypt.GenerateFromPassword([]byte("pass"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	s.cloud.Push(s.edge.ID, &proto.DownlinkMsg{UserCredentialsUpdateMsg: []*proto.UserCredentialsUpdateMsg{{
		Entity: `{"userId":{"entityType":"USER","id":"` + proto.FormatUUID(boss) + `"},"enabled":true,"password":"` + string(hash) + `"}`,
	}}})
	login := func() (token string) {
		t.Helper()
		s.eventually("a login", func() bool {
			code, text := ask(t, r.http, "", "POST", "/api/auth/login", `{"username":"boss@x","password":"pass"}`)
			var j struct{ Token string }
			_ = json.Unmarshal([]byte(text), &j)
			token = j.Token
			return code == 200 && token != ""
		})
		return token
	}
	token := login()
	for path, want := range map[string]int{"/api/edge/status": 200, "/api/edge/events": 200, "/": 200, "/healthz": 200, "/api/auth/user": 200, "/api/nothing": 404, "/nothing": 404, "/api/v1/token-1/nothing": 404} {
		if code, text := ask(t, r.http, token, "GET", path, ""); code != want {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	s.cloud.Stop()
	code, text := ask(t, r.http, token, "POST", "/api/device?accessToken=made-here", `{"name":"made here"}`)
	if code != 200 {
		t.Fatalf("device: %d %s", code, text)
	}
	r.kill()
	r = s.start()
	if code, _ := post(r.http, "made-here", `{"ts":1000,"values":{"a":1}}`); code != 200 {
		t.Errorf("the new device got %d", code)
	}
	if code, _ := ask(t, r.http, token, "GET", "/api/auth/user", ""); code != 401 {
		t.Errorf("a session outlived the process: %d", code)
	}
	token = login() // without a cloud
	code, text = ask(t, r.http, token, "GET", "/api/tenant/devices?deviceName=made+here", "")
	var d struct{ ID struct{ ID string } }
	if code != 200 || json.Unmarshal([]byte(text), &d) != nil {
		t.Fatalf("%d %s", code, text)
	}
	id, _ := proto.ParseUUID(d.ID.ID)
	if code, text := ask(t, r.http, token, "POST", "/api/plugins/telemetry/DEVICE/"+d.ID.ID+"/attributes/SHARED_SCOPE", `{"fan":2}`); code != 200 {
		t.Errorf("attribute: %d %s", code, text)
	}
	r.kill()
	s.listen(s.addr)
	r = s.start()
	s.eventually("the backlog drains", func() bool { n := r.snapshot(); return n.Accepted > 0 && n.Pending == 0 })
	balanced(t, r.snapshot())
	if c, _, ok := s.cloud.Tenant().DeviceOf(id); !ok || c.Name != "made here" || c.CredentialsID != "made-here" {
		t.Errorf("in the cloud: %+v %v", c, ok)
	}
	if v, _, ok := s.cloud.Tenant().Attribute(id, "SHARED_SCOPE", "fan"); !ok || v.Long != 2 {
		t.Errorf("attribute in the cloud: %+v %v", v, ok)
	}
	if p := s.cloud.Tenant().Series(id, "a"); len(p) != 1 {
		t.Errorf("series in the cloud: %+v", p)
	}
}

// ThingsBoard's own REST client, unchanged: what it does is then in the cloud.
func TestRESTClient(t *testing.T) {
	python := venv(t, "rest-venv", "tb_ce_client.client", "tb-ce-client==4.4.0")
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, filepath.Join("..", "..", "scripts", "clients", "rest.py"), "http://"+r.http).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "ok" {
		t.Fatalf("%v\n%s", err, out)
	}
	kept := s.mustBeNamed("py kept")
	s.eventually("the backlog drains", func() bool { return r.snapshot().Pending == 0 })
	if _, ok := s.named("py device"); ok {
		t.Error("the deleted device is in the cloud")
	}
	if l := s.cloud.Tenant().Relations(kept.ID); len(l) != 1 || !strings.Contains(l[0], `"type":"Contains"`) {
		t.Errorf("relations %s", l)
	}
	if n := r.snapshot(); n.Dead != 0 {
		t.Errorf("%d dead letters", n.Dead)
	}
	balanced(t, r.snapshot())
}
