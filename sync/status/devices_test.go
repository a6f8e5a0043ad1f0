package status

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/refusal"
	"edgesync/sync/registry"
	"edgesync/sync/sighting"
)

var (
	moment0 = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	gateway = proto.UUID{0xaa}
)

// park has devices "dev-000" to "dev-249" and a gateway "gw". dev-001 was seen over HTTP, dev-002
// is connected by the gateway, dev-003 was refused.
func park() *Devices {
	list := []registry.Device{{ID: gateway, Name: "gw", Type: "gateways", Gateway: true}}
	for n := range 250 {
		list = append(list, registry.Device{
			ID: proto.UUID{byte(n), 1}, Name: fmt.Sprintf("dev-%03d", 249-n), Type: "default", Label: "Hall",
		})
	}
	id := func(n int) proto.UUID { return list[250-n].ID }
	d := &Devices{
		Each: func(fn func(registry.Device) bool) {
			for _, dev := range list {
				if !fn(dev) {
					return
				}
			}
		},
		ByID: func(id proto.UUID) (registry.Device, bool) {
			for _, dev := range list {
				if dev.ID == id {
					return dev, true
				}
			}
			return registry.Device{}, false
		},
		Seen: sighting.New(moment0.Add(-time.Hour), func(proto.UUID) bool { return true }),
		Session: func(of proto.UUID) (proto.UUID, bool) {
			return map[proto.UUID]proto.UUID{id(2): gateway}[of], of == id(2) || of == gateway
		},
		Values: func(of proto.UUID, fn func(int64, proto.KV)) {
			if of != id(1) {
				return
			}
			fn(5, proto.KV{Key: []byte("text"), Type: proto.KeyValueType_STRING_V, Str: []byte(strings.Repeat("x", 1000))})
			for n := range 20 {
				fn(7, proto.KV{Key: fmt.Appendf(nil, "k%02d", n), Type: proto.KeyValueType_LONG_V, Long: int64(n)})
			}
		},
		Refusals: refusal.New(slog.New(slog.DiscardHandler)),
	}
	d.Seen.Saw(moment0.Add(-3*time.Minute), id(1), sighting.HTTP, 10)
	d.Refusals.Note(moment0, refusal.Case{Door: refusal.MQTT, Reason: refusal.BadPayload, Device: "dev-003", Detail: "byte 7"})
	d.Refusals.Note(moment0, refusal.Case{Door: refusal.HTTP, Reason: refusal.UnknownToken, Address: "10.0.0.7", Mark: "3fa2"})
	d.Refusals.Note(moment0, refusal.Case{Door: refusal.HTTP, Reason: refusal.Malformed, Address: "10.0.0.8"})
	return d
}

func names(l *DeviceList) (s []string) {
	for i := range l.Devices {
		s = append(s, l.Devices[i].Name)
	}
	return s
}

// Page after page all devices come once, by name; a text chooses some of them.
func TestDevicesInPages(t *testing.T) {
	d := park()
	var all []string
	q, pages := DeviceQuery{Limit: 100}, 0
	for {
		l := d.List(q, moment0)
		if l.Total != 251 || (len(l.Unknown) > 0) != (pages == 0) {
			t.Errorf("page %d: %d in all, %d unknown", pages, l.Total, len(l.Unknown))
		}
		all, pages, q.After = append(all, names(l)...), pages+1, l.Next
		if l.Next == "" {
			break
		}
	}
	if pages != 3 || len(all) != 251 || all[0] != "dev-000" || all[249] != "dev-249" || all[250] != "gw" {
		t.Errorf("%d pages, %d devices: %v", pages, len(all), all)
	}
	for _, c := range []struct {
		q    DeviceQuery
		want string
	}{
		{DeviceQuery{Text: "V-01", Limit: 3}, "10 dev-012 dev-010 dev-011 dev-012"},
		{DeviceQuery{Text: "hall", After: "dev-247"}, "250  dev-248 dev-249"},
		{DeviceQuery{Name: "gw"}, "1  gw"},
		{DeviceQuery{Name: "dev"}, "0  "},
		{DeviceQuery{After: "zz"}, "251  "},
	} {
		l := d.List(c.q, moment0)
		if got := fmt.Sprint(l.Total, " ", l.Next, " ", strings.Join(names(l), " ")); got != c.want {
			t.Errorf("%+v: %q, want %q", c.q, got, c.want)
		}
	}
	if l := d.List(DeviceQuery{}, moment0); len(l.Devices) != devicesDefault || l.Next != "dev-049" {
		t.Errorf("%d devices, next %q", len(l.Devices), l.Next)
	}
}

func TestDeviceLine(t *testing.T) {
	d := park()
	l := d.List(DeviceQuery{Limit: 4}, moment0).Devices
	if x := l[0]; x.LastSeen != nil || x.Door != "" || x.Connected || x.Values != nil || x.Label != "Hall" ||
		x.ID != "f9010000-0000-0000-0000-000000000000" {
		t.Errorf("never seen: %+v", x)
	}
	if x := l[1]; !x.LastSeen.Equal(moment0.Add(-3*time.Minute)) || x.Door != "http" || x.PerMinute != 2*0.6 && x.PerMinute < 0.1 ||
		len(x.Values) != fewValues || x.Values[7].Key != "k07" || string(x.Values[7].Value) != "7" {
		t.Errorf("over HTTP: %+v", x)
	}
	if x := l[2]; !x.Connected || x.Door != "gateway" || x.Gateway != "gw" {
		t.Errorf("by the gateway: %+v", x)
	}
	if x := l[3]; len(x.Refused) != 1 || x.Refused[0].Reason != "bad_payload" || x.Refused[0].Detail != "byte 7" {
		t.Errorf("refused: %+v", x)
	}
	x := d.List(DeviceQuery{Name: "dev-001"}, moment0)
	if v := x.Devices[0].Values; len(v) != 21 || len(v[20].Value) > manyBytes+8 || !strings.HasSuffix(string(v[20].Value), `…"`) {
		t.Errorf("%d values, %+v", len(v), v[len(v)-1])
	}
	if len(x.Unknown) != 0 {
		t.Errorf("%+v", x.Unknown)
	}
	u := d.List(DeviceQuery{}, moment0).Unknown
	if len(u) != 1 || u[0].Who != "10.0.0.7" || fmt.Sprint(u[0].Marks) != "[3fa2]" {
		t.Errorf("%+v", u)
	}
}

// Values are for who asks on this machine; the rest is for everyone who reaches the port.
func TestServeDevices(t *testing.T) {
	h := Handler(Source{Snapshot: func() agent.Snapshot { return sample() }, Turning: func() bool { return true }, Devices: park()})
	ask := func(from, host, query string) (l DeviceList, code int, text string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/api/edgesync/devices"+query, nil)
		r.RemoteAddr, r.Host = from, host
		h.ServeHTTP(w, r)
		_ = json.Unmarshal(w.Body.Bytes(), &l)
		return l, w.Code, w.Body.String()
	}
	if l, code, text := ask("127.0.0.1:9", "localhost", "?limit=2"); code != 200 || l.Hidden || len(l.Devices) != 2 ||
		l.Devices[1].Values == nil {
		t.Errorf("%d, %s", code, text)
	}
	if l, code, text := ask("192.168.1.9:9", "router", "?name=dev-001"); code != 200 || !l.Hidden || len(l.Devices) != 1 ||
		strings.Contains(text, "k00") || strings.Contains(text, "xxx") {
		t.Errorf("%d, %s", code, text)
	}
	for _, query := range []string{"?limit=0", "?limit=101", "?limit=x", "?limit=-1"} {
		if _, code, text := ask("127.0.0.1:9", "localhost", query); code != http.StatusBadRequest {
			t.Errorf("%s: %d, %s", query, code, text)
		}
	}
}

func TestAskDevices(t *testing.T) {
	dir := t.TempDir()
	if _, err := AskDevices(dir, DeviceQuery{}); !errors.Is(err, ErrNoAgent) {
		t.Errorf("without an agent: %v", err)
	}
	s, err := Serve(dir, sample, nil, park())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := AskDevices(dir, DeviceQuery{Limit: 100, After: "dev-099"})
	if err != nil || len(l.Devices) != 100 || l.Next != "dev-199" {
		t.Errorf("%v, %+v", err, l)
	}
	if _, err := RetryDead(dir, 7); err == nil {
		t.Error("dead letters of an agent that has none to ask for")
	}
	for _, line := range []string{`{"do":"devices"}`, `{"do":"ack","devices":{}}`, `{"do":"devices","devices":{"x":1}}`} {
		if _, err := parseRequest([]byte(line)); err == nil {
			t.Errorf("%s is accepted", line)
		}
	}
}

// A user of a customer gets the customer's devices, with their values.
func TestDevicesOfACustomer(t *testing.T) {
	d := park()
	mine, _ := d.ByID(proto.UUID{248, 1}) // dev-001
	l := login(true, false, "")
	find := l.User
	l.User = func(r *httpRequest) (User, bool) {
		u, ok := find(r)
		if !u.Admin {
			u.Sees = func(id proto.UUID) bool { return id == mine.ID }
		}
		return u, ok
	}
	for token, want := range map[string]int{"carl": 1, "admin": 50, "": 50} {
		r := httptest.NewRequest("GET", "/api/edgesync/devices", nil)
		r.Header.Set("X-Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		Handler(Source{Snapshot: func() agent.Snapshot { return sample() }, Devices: d, Login: l}).ServeHTTP(w, r)
		var got DeviceList
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got.Devices) != want || got.Hidden != (token == "") {
			t.Errorf("%q: %d devices, %v, %v", token, len(got.Devices), got.Hidden, err)
		}
		for _, dev := range got.Devices {
			if dev.Name == "dev-001" && (len(dev.Values) > 0) != (token != "") {
				t.Errorf("%q: %+v", token, dev)
			}
		}
		if token == "carl" && (got.Total != 1 || got.Devices[0].Name != "dev-001" || len(got.Unknown) > 0) {
			t.Errorf("a customer's user: %+v", got)
		}
	}
}
