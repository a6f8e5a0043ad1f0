package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
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

// Devices post until they hear 200; the agent is killed again and again, the link cut in between.
// Every reading is in the cloud, and each station's readings arrived in order.
func TestNothingIsLostThroughKills(t *testing.T) {
	t.Parallel()
	const kills, readings = 6, 400
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	var address sync.Map // "" while there is no agent
	r := s.start()
	s.eventually("the first sync", func() bool { return r.snapshot().Synced })
	address.Store("a", r.http)
	var stations sync.WaitGroup
	progress := make(chan struct{}, 3*readings)
	for i := range 3 {
		stations.Go(func() {
			pause := time.NewTicker(5 * time.Millisecond)
			defer pause.Stop()
			for n := 1; n <= readings; n++ {
				body := fmt.Sprintf(`{"ts":%d,"values":{"n":%d}}`, 1767225600000+int64(n), n)
				for {
					<-pause.C
					a, _ := address.Load("a")
					if code, _ := post(a.(string), fmt.Sprint("token-", i), body); code == http.StatusOK {
						break
					} else if code/100 == 4 {
						t.Errorf("station %d: status %d", i, code)
						return
					}
				}
				progress <- struct{}{}
			}
		})
	}
	random := rand.New(rand.NewPCG(1, 2))
	for k := range kills {
		for range 3*readings/(kills+2) + random.IntN(20) {
			<-progress
		}
		if k == 2 {
			s.cloud.Stop()
		}
		r.Kill()
		if k == 3 {
			s.listen(s.addr)
		}
		r = s.start()
		address.Store("a", r.http)
	}
	stations.Wait()
	s.eventually("the backlog drains", func() bool { n := r.snapshot(); return n.Accepted > 0 && n.Pending == 0 })
	balanced(t, r.snapshot())
	duplicates := 0
	for _, d := range s.cloud.Tenant().Devices() {
		rows := s.cloud.Tenant().Series(d.ID, "n")
		if len(rows) != readings {
			t.Errorf("%s: %d of %d readings arrived", d.Name, len(rows), readings)
		}
		for i, row := range rows {
			if row.TS != 1767225600000+int64(i)+1 || row.Value.Long != int64(i)+1 {
				t.Fatalf("%s: row %d is %+v", d.Name, i, row)
			}
			duplicates += row.Writes - 1
		}
		high := int64(0)
		for _, ts := range s.cloud.Tenant().Arrivals(d.ID, "n") {
			if ts < high {
				t.Errorf("%s: %d arrived behind %d", d.Name, ts, high)
			}
			high = ts
		}
	}
	t.Logf("%d kills, %d readings, %d duplicates", kills, 3*readings, duplicates)
}

// Devices publish many readings at a time over MQTT; the agent is killed again and again. What was
// acknowledged is in the cloud.
func TestNothingIsLostOverMQTTThroughKills(t *testing.T) {
	t.Parallel()
	const devices, kills, readings, window = 100, 20, 200, 20
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	for i := range devices {
		s.cloud.AddDevice(s.edge.ID, cloudtest.Device{
			ID: s.cloud.Tenant().NewID(), Name: fmt.Sprint("pump ", i),
			CredentialsType: "ACCESS_TOKEN", CredentialsID: fmt.Sprint("pump-", i),
		})
	}
	var address atomic.Value
	r := s.start()
	s.eventually("the first sync", func() bool { return r.snapshot().Synced })
	address.Store(r.snapshot().MQTTAddress)
	var publishers sync.WaitGroup
	progress := make(chan struct{}, devices*readings)
	for i := range devices {
		p := &publisher{token: fmt.Sprint("pump-", i), first: 1, last: readings, window: window, acked: func() { progress <- struct{}{} }}
		publishers.Go(func() {
			pause := time.NewTicker(5 * time.Millisecond)
			defer pause.Stop()
			for p.first <= p.last && p.refused == nil {
				<-pause.C
				p.session(address.Load().(string))
			}
			if p.refused != nil {
				t.Errorf("device %d: %v", i, p.refused)
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		publishers.Wait()
		close(ended)
	}()
	random := rand.New(rand.NewPCG(3, 4))
	for range kills {
		for range devices*readings/(kills+2) + random.IntN(50) {
			select {
			case <-progress:
			case <-ended:
				t.Fatal("the publishers ended before the kills did")
			}
		}
		r.Kill()
		r = s.start()
		address.Store(r.snapshot().MQTTAddress)
	}
	<-ended
	s.eventually("the backlog drains", func() bool { n := r.snapshot(); return n.Accepted > 0 && n.Pending == 0 })
	balanced(t, r.snapshot())
	for _, d := range s.cloud.Tenant().Devices() {
		rows := s.cloud.Tenant().Series(d.ID, "n")
		if !strings.HasPrefix(d.Name, "pump ") {
			continue
		}
		if len(rows) != readings {
			t.Errorf("%s: %d of %d readings arrived", d.Name, len(rows), readings)
		}
		for i, row := range rows {
			if row.TS != 1767225600000+int64(i)+1 || row.Value.Long != int64(i)+1 {
				t.Fatalf("%s: row %d is %+v", d.Name, i, row)
			}
		}
		high := int64(0) // each reading comes for the first time in the device's order
		for _, ts := range s.cloud.Tenant().Arrivals(d.ID, "n") {
			if ts > high+1 && high != 0 {
				t.Fatalf("%s: %d arrived before what lies between it and %d", d.Name, ts, high)
			}
			high = max(high, ts)
		}
	}
}

// What the REST API answers with 200 survives kill -9, here and on its way to the cloud. Its paths
// stand beside the others.
func TestRESTSurvivesKills(t *testing.T) {
	t.Parallel()
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
	for path, want := range map[string]int{
		"/api/edge/status": 200, "/api/edge/events": 200, "/": 200,
		"/healthz": 200, "/api/auth/user": 200, "/api/nothing": 404, "/nothing": 404, "/api/v1/token-1/nothing": 404,
	} {
		if code, text := ask(t, r.http, token, "GET", path, ""); code != want {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	s.cloud.Stop()
	code, text := ask(t, r.http, token, "POST", "/api/device?accessToken=made-here", `{"name":"made here"}`)
	if code != 200 {
		t.Fatalf("device: %d %s", code, text)
	}
	r.Kill()
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
	if code, text := ask(t, r.http, token, "POST",
		"/api/plugins/telemetry/DEVICE/"+d.ID.ID+"/attributes/SHARED_SCOPE", `{"fan":2}`); code != 200 {
		t.Errorf("attribute: %d %s", code, text)
	}
	r.Kill()
	s.listen(s.addr)
	r = s.start()
	s.eventually("the backlog drains, with what waits for the device to be in the cloud", func() bool {
		n := r.snapshot()
		return n.Accepted > 0 && n.Pending == 0 && n.Dead == 0
	})
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
