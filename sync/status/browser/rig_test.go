//go:build page

package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/former"
	"edgesync/sync/refusal"
	"edgesync/sync/status"
	"edgesync/sync/tally"
	"edgesync/wal"
)

// names of the devices of the rig, by the last byte of their ids.
var names = []string{"Cold store 1", "Cold store 2", "Gate counter", "Boiler room / return", "Wind <b>mast</b>", "Meter 0815"}

func deviceID(i int) (id proto.UUID) {
	id[0], id[15] = 0xed, byte(i)
	return id
}

// site is an agent as the page sees it, whose state the test sets.
type site struct {
	*testing.T
	http *httptest.Server
	port string

	mu      sync.Mutex
	snap    agent.Snapshot
	down    bool // the agent does not answer
	outage  bool // the history has one
	letters []agent.DeadLetter
	asked   []string // orders and paths of note
}

const (
	hour   = time.Hour
	events = 400
)

func newSite(t *testing.T) *site {
	s := &site{T: t}
	now := time.Now()
	began, fullIn := now.Add(-90*24*hour), int64(37*hour/time.Millisecond)
	dir := filepath.Join(t.TempDir(), "queue")
	q, err := wal.Open(wal.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		at := now.Add(-time.Duration(events-i) * 3 * time.Minute).UnixMilli()
		d := i % len(names)
		e := wal.Event{
			Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Time: at, Entity: deviceID(d),
			Fragment: proto.AppendTelemetry(nil, deviceID(d), proto.DeviceEntity, at, []proto.KV{
				{Key: []byte("temperature"), Type: proto.KeyValueType_DOUBLE_V, Double: 4 + math.Sin(float64(i)/20)},
				{Key: []byte("door"), Type: proto.KeyValueType_STRING_V, Str: []byte([]string{
					"closed", "open",
					"ajar <script>alert(1)</script>",
				}[i%3])},
			}),
		}
		if i%25 == 7 {
			e.Action = uint8(proto.ActionAttributesUpdated)
		}
		if err := q.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Commit(wal.Position{Offset: events - 10, Seq: events - 11}, events-11, 0); err != nil {
		t.Fatal(err)
	}
	last := q.End().Offset
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	s.snap = agent.Snapshot{
		State: agent.Connected, Since: now.Add(-5 * hour), Running: true, Version: "1.4.0", At: now,
		Received: 1290403, Made: 120, Filtered: 5310, Held: 3, Merged: 900,
		Accepted: 1284310, Deployed: 1284300, Pending: 10, OldestPendingMS: 420,
		HTTPAddress: "[::]:8080", MQTTAddress: "[::]:1883", MQTTConnections: 5, RSSBytes: 14 << 20,
		FlashBytesToday: 13 << 20, FlashWearToday: 26 << 20, FlashYears: 84.25, UptimeMS: 11520000,
		Committed: events - 10, LastOffset: last, Window: 4, RTTMS: 41.25, Connects: 3, Reconnects: 2,
		Edge: "Gateway 7, north hall", Cloud: "tb.example.org:7070", Synced: true, Devices: len(names), Downlinks: 42, Writable: true,
		Medium: "ubifs on ubi0_1, 64 KiB a commit",
		Room: agent.Capacity{
			Used: 1 << 20, Limit: 8 << 20, Percent: 12.5, EventsPerHour: 3600, BytesPerHour: 194 << 10, FullInMS: &fullIn, ArraysOf10: 7.1,
			Written: 1 << 30, Worn: 2 << 30, Since: &began,
		},
		Refused: []refusal.Party{{
			Who: "192.168.1.20", Door: "mqtt", Reason: "unknown_token", Words: "no device here has this access token",
			Cure: "copy the token of the device from the cloud, or assign the device to this edge", Count: 12,
			Since: now.Add(-2 * hour), Last: now,
		}},
	}
	src := status.Source{
		Snapshot: s.snapshot, Turning: func() bool { return true }, History: s.history, Dead: (*letters)(s),
		Events: &status.Events{
			Queue: dir, Dead: func(o uint64) bool { return o%40 == 3 },
			Name: func(id proto.UUID) string {
				if id[0] == 0xed && int(id[15]) < len(names) {
					return names[id[15]]
				}
				return ""
			},
		},
		Login: &status.Login{
			User: func(r *http.Request) (u status.User, ok bool) {
				switch r.Header.Get("X-Authorization") {
				case "Bearer admin":
					return status.User{Name: "ann@example.org", Admin: true, Sees: func(proto.UUID) bool { return true }}, true
				case "Bearer customer":
					return status.User{Name: "carl@example.org", Sees: func(id proto.UUID) bool { return id == deviceID(0) }}, true
				}
				return u, false
			},
			Secure: func(*http.Request) bool { return false }, Overheard: func(*http.Request) bool { return false },
		},
	}
	page := status.Handler(src)
	s.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		down := s.down
		s.mu.Unlock()
		if down {
			panic(http.ErrAbortHandler)
		}
		if !s.others(w, r) {
			page.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { s.http.CloseClientConnections(); s.http.Close() })
	_, s.port, _ = net.SplitHostPort(s.http.Listener.Addr().String())
	return s
}

// here is the page's address for who asks on this machine, there for others.
func (s *site) here(hash string) string  { return s.http.URL + "/" + hash }
func (s *site) there(hash string) string { return "http://edge.test:" + s.port + "/" + hash }

func (s *site) set(f func(n *agent.Snapshot)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.snap)
}

func (s *site) snapshot() agent.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.snap
	n.At = time.Now().UTC()
	n.Dead = uint64(len(s.letters))
	n.Accepted += n.Dead
	return n
}

func (s *site) note(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, what)
}

// was reports whether something was asked for, and forgets it.
func (s *site) was(what string) {
	s.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.Contains(strings.Join(s.asked, "\n"), what) {
		s.Errorf("nobody has asked for %s: %q", what, s.asked)
	}
	s.asked = nil
}

// history is a day with a quiet night and, if there is one, an outage.
func (s *site) history(b []byte, n int) []byte {
	s.mu.Lock()
	outage := s.outage
	s.mu.Unlock()
	var h struct {
		From    int64 `json:"from"`
		Step    int   `json:"step_ms"`
		Backlog []any `json:"backlog"`
		In      []any `json:"in"`
		Out     []any `json:"out"`
		Latency []any `json:"latency_ms"`
		Room    []any `json:"room_percent"`
		Up      []any `json:"up"`
	}
	h.From, h.Step = (time.Now().UnixMilli()/60000-int64(n-1))*60000, 60000
	backlog := 0.0
	for i := range n {
		back := n - 1 - i
		if back > 1200 {
			for _, c := range []*[]any{&h.Backlog, &h.In, &h.Out, &h.Latency, &h.Room, &h.Up} {
				*c = append(*c, nil)
			}
			continue
		}
		in := math.Round(40 + 22*math.Sin(float64(back)/170) + 6*math.Sin(float64(back)*1.7))
		up, out := 1.0, in
		if outage && back < 38 && back >= 12 || back > 700 && back < 760 {
			up, out = 0, 0
		} else if backlog > 20 {
			out = math.Min(backlog, 260)
		}
		backlog = math.Max(3, backlog+in-out)
		late := 300 + 200*math.Abs(math.Sin(float64(back)))
		if backlog > 20 {
			late = backlog / in * 60000
		}
		h.Backlog, h.In, h.Out = append(h.Backlog, backlog), append(h.In, in), append(h.Out, out)
		h.Latency, h.Room, h.Up = append(h.Latency, math.Round(late)), append(h.Room, math.Round(1250+backlog)/100), append(h.Up, up)
	}
	data, err := json.Marshal(&h)
	if err != nil {
		panic(err)
	}
	return append(b, data...)
}

// others answers what stands beside the page's own paths.
func (s *site) others(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodPost {
		s.note(r.URL.Path)
	}
	reply := func(v any) bool {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
		return true
	}
	now := time.Now()
	switch r.URL.Path {
	case "/api/auth/login":
		var in struct{ Username, Password string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		if in.Password != "right" {
			w.WriteHeader(http.StatusUnauthorized)
			return reply(map[string]any{"status": 401, "message": "Invalid username or password"})
		}
		name, _, _ := strings.Cut(in.Username, "@")
		return reply(map[string]string{"token": map[string]string{"ann": "admin", "carl": "customer"}[name], "refreshToken": "again"})
	case "/api/auth/logout":
		return true
	case "/api/edgesync/devices":
		var list []map[string]any
		for i, name := range names {
			if !strings.Contains(strings.ToLower(name), strings.ToLower(r.URL.Query().Get("text"))) {
				continue
			}
			d := map[string]any{
				"id": proto.FormatUUID(deviceID(i)), "name": name, "type": "thermostat", "connected": i%2 == 0, "door": "mqtt",
				"last_seen": now.Add(-time.Duration(i*i) * time.Minute), "events_per_minute": 0.33 * float64(i),
				"values": []map[string]any{{"key": "temperature", "value": 4.2, "ts": now.UnixMilli()}, {
					"key":   "door",
					"value": "closed", "ts": now.UnixMilli(),
				}},
			}
			if i == 3 {
				d["last_seen"], d["door"] = nil, ""
			}
			if i == 5 {
				d["refused"] = s.snap.Refused
			}
			list = append(list, d)
		}
		return reply(map[string]any{"total": len(list), "devices": list, "unknown": s.snap.Refused})
	case "/api/edgesync/rules":
		return reply(map[string]any{
			"mode": "cloud", "root": "Edge root", "made": 120, "filtered": 5310, "held": 3, "merged": 900, "failed": 1,
			"facts": []string{"Telemetry of \"Gate counter\" is thinned."},
			"chains": []map[string]any{{"name": "Edge root", "root": true, "nodes": []map[string]any{
				{
					"name": "Door only", "type": "org.thingsboard.rule.engine.filter.TbJsFilterNode", "supported": true,
					"in": 6210, "out": map[string]int{"True": 900}, "ended": 5310,
				},
				{
					"name": "Notify", "type": "org.thingsboard.rule.engine.mail.TbSendEmailNode", "supported": false,
					"reason": "no mail here", "in": 1, "failed": 1, "last_error": "not executed",
				},
			}}},
		})
	case "/api/edgesync/log":
		var lines []string
		for i := range 60 {
			lines = append(lines, fmt.Sprintf("%s level=%s msg=\"line %d\"", now.Add(time.Duration(i-60)*time.Minute).Format(time.RFC3339),
				[]string{"INFO", "INFO", "WARN", "ERROR"}[i%4], i))
		}
		return reply(map[string]any{"lines": lines})
	case "/api/edgesync/bugreport":
		s.note(r.URL.Path)
		w.Header().Set("Content-Disposition", `attachment; filename="edgesync-bugreport.txt"`)
		_, _ = w.Write([]byte("bundle"))
		return true
	}
	return false
}

// letters are the dead letters of a site.
type letters site

func (l *letters) List(context.Context, uint64, int) ([]agent.DeadLetter, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]agent.DeadLetter(nil), l.letters...), 0, nil
}

func (l *letters) Retry(_ context.Context, offset uint64) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, fmt.Sprint("retry ", offset))
	return 1, nil
}

func (l *letters) Drop(_ context.Context, offset uint64) (n, later int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, fmt.Sprint("drop ", offset))
	left := l.letters[:0:0]
	for _, d := range l.letters {
		if offset != 0 && d.Offset != offset {
			left = append(left, d)
		}
	}
	n = len(l.letters) - len(left)
	l.letters = left
	return n, 0, nil
}

func (*letters) FormerEvents(context.Context) ([]former.Left, former.Stats, error) {
	return nil, former.Stats{}, nil
}

func (*letters) RetryByName(context.Context) (int, bool, bool, error) { return 0, false, false, nil }
func (*letters) DropFormer(context.Context) (uint64, error)           { return 0, nil }
func (*letters) Hold(context.Context, func()) error                   { return nil }
func (*letters) Acknowledge(context.Context) error                    { return nil }

// refuse has the cloud refuse some events.
func (s *site) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, words := range []string{
		"Device profile not found", "Failed to process telemetry: key 'temperature' has a value of the wrong type; expected a number",
		"Asset can't be created: the tenant's limit of 20 assets is reached",
	} {
		s.letters = append(s.letters, agent.DeadLetter{
			Offset: uint64(43 + 40*i), Time: time.Now().Add(-6 * hour), Action: "TIMESERIES_UPDATED", Kind: "ENTITY_DATA",
			Entity: proto.FormatUUID(deviceID(i)), Tries: 4 * i, Resting: i == 2, Reason: words, At: time.Now().Add(-5 * hour), Size: 187,
		})
	}
}

// fill has no link, and no room any more.
func (s *site) full() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	since, last, fullIn := now.Add(-38*time.Minute), now.Add(-38*time.Minute), int64(0)
	from := now.Add(-26 * hour)
	n := &s.snap
	s.outage = true
	n.State, n.Since, n.LastContact, n.AttemptsSince = agent.Disconnected, since, &last, 17
	n.Causes = []agent.Cause{{Text: "the name tb.example.org is not known (no such host)", Count: 17}}
	n.LastError, n.NextAttemptMS = "the name tb.example.org is not known", 41000
	n.Pending, n.Accepted, n.Dropped, n.OldestPendingMS = 41200, n.Accepted+41190+3120, 3120, 38*60000
	n.Room.Used, n.Room.Percent, n.Room.FullInMS = 8<<20, 99.4, &fullIn
	n.Losses = []tally.Loss{{Reason: "quota", Events: 3120, Total: 3120, From: &from, To: &since, Since: &since, Until: &now}}
	n.ExtraWarnings = []string{"data_dir is in RAM (tmpfs): a power cut loses what waits there; set data_dir to flash or disk"}
}
