package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/refusal"
	"edgesync/sync/tally"
	"edgesync/wal"
)

// published are the names that other people's scripts read. A name may be added here, never changed
// or taken away.
var published = strings.Fields(`state since running version accepted deployed pending dropped dead damaged oldest_pending_ms last_error
	http_address mqtt_address mqtt_connections rss_bytes flash_bytes_today uptime_ms queue_bytes committed last_offset in_flight window rtt_ms connects
	reconnects next_attempt_ms rate_limited edge cloud synced sync devices downlinks downlinks_unused uplink_bytes writable commits warnings
	flash_wear_today flash_wear_per_day flash_years flash_amplification flash_commit_bytes fsyncs_today commits_today commits_stretched slow_fsyncs medium medium_free_bytes downlink_parts calls_pending clock clock_since
	turned_away refused_creations unproven_creations refusals refused repeated max_inbound_message_size
	dead_resting dead_waiting life certificates
	at last_contact attempts_since_contact causes room losses dropped_unrecorded damaged_seen
	received made filtered held merged wire_received_bytes wire_sent_bytes clock_offset_ms replayed replay
	linked_since rule_failures root_chain root_chain_nodes root_chain_since`)

func TestPublishedNamesStay(t *testing.T) {
	data, err := json.Marshal(agent.Snapshot{
		ClockSince: new(time.Time), ClockOffsetMS: new(int64), ExtraWarnings: []string{"x"}, Parts: []agent.Part{{}},
		RefusedCreations: &agent.RefusedCreations{},
		Refusals:         []refusal.Count{{}}, Refused: []refusal.Party{{}}, LastContact: new(time.Time), LinkedSince: new(time.Time),
		RootChainSince: new(time.Time),
		Causes:         []agent.Cause{{}},
		Losses:         []tally.Loss{{}}, Certificates: []agent.EndOf{{}}, Replay: &agent.Replay{},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range published {
		if _, ok := got[name]; !ok {
			t.Errorf("the published field %q is gone", name)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("the field %q is new: add it to the list", name)
	}
	for i, want := range []string{"disconnected", "reconnecting", "draining", "processing", "connected"} {
		if got := agent.State(i).String(); got != want {
			t.Errorf("state %d is %q, want %q", i, got, want)
		}
	}
}

func sample() agent.Snapshot {
	fullIn, began := int64(14*3600*1000), time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC)
	return agent.Snapshot{
		State: agent.Draining, Since: time.Date(2026, 11, 24, 4, 0, 0, 0, time.UTC), Running: true, Version: "1.2",
		Accepted: 1234567, Deployed: 1222150,
		Pending: 12400, Dropped: 10, Dead: 5, Damaged: 2, OldestPendingMS: 250000, HTTPAddress: "[::]:8080",
		RSSBytes: 11 << 20, FlashBytesToday: 13000000, FlashWearToday: 26 << 20, CommitsToday: 1234,
		FlashWearPerDay: 52 << 20, FlashYears: 84.25,
		UptimeMS: 11520000, QueueBytes: 1 << 20, Committed: 1222500, LastOffset: 1235000, InFlight: 2, Window: 4, RTTMS: 41.25,
		Connects: 1, Reconnects: 2,
		MaxInbound: 8 << 20,
		Edge:       "Gateway 7", Cloud: "tb.example.org:7070", Synced: true, Devices: 12, Downlinks: 42, DownlinksUnused: 3,
		UplinkBytes: 99, Writable: true, Commits: 1234,
		Room: agent.Capacity{
			Used: 1 << 20, Limit: 8 << 20, Percent: 12.5, EventsPerHour: 3600, BytesPerHour: 512 << 10, FullInMS: &fullIn, ArraysOf10: 7.1,
			Written: 1 << 30, Worn: 2 << 30, Since: &began,
		},
		Parts: []agent.Part{
			{Name: "adminSettingsUpdateMsg", Received: 4},
			{Name: "deviceUpdateMsg", Received: 9, Kept: 9},
			{Name: "queueUpdateMsg", Received: 2, Malformed: 2},
			{Name: "widgetTypeUpdateMsg", Received: 684, Malformed: 1},
		},
	}
}

// A link that carries something is processing for a moment, again and again: people hear how long
// the link lasts. Other states last since they began.
func TestStateSince(t *testing.T) {
	s := sample()
	linked := s.Since.Add(-time.Hour)
	s.LinkedSince = &linked
	now := s.Since.Add(time.Second)
	for state, want := range map[agent.State]string{
		agent.Connected: "connected for 1h00m", agent.Processing: "processing for 1h00m", agent.Draining: "draining for 1.0s",
		agent.Refused: "refused for 1.0s", agent.Disconnected: "disconnected for 1.0s",
	} {
		s.State = state
		var b bytes.Buffer
		if err := Print(&b, &s, now, false); err != nil {
			t.Fatal(err)
		}
		if line, _, _ := strings.Cut(b.String(), "  "); line != "● "+want {
			t.Errorf("%q, want %q", line, want)
		}
	}
}

func TestPrint(t *testing.T) {
	s := sample()
	var b bytes.Buffer
	if err := Print(&b, &s, s.Since.Add(192*time.Second), false); err != nil {
		t.Fatal(err)
	}
	want := `● draining for 3m12s  Gateway 7 → tb.example.org:7070
  The cloud is behind: 12,400 events wait on flash, the oldest for 4m10s.

    accepted  1,234,567
  = deployed  1,222,150
  + pending      12,400   oldest 4m10s
  + dropped          10
  + dead              5
  + damaged           2

  room      1.0 MiB of 8.0 MiB used (12 %), 512.0 KiB an hour comes in: full in 14h00m without a link, backlog of 4m10s
  link      2 of 4 batches in flight, answered in 41.2 ms, takes messages up to 8.0 MiB, 1 connection in 3 attempts
  queue     committed 1,222,500 of 1,235,000
  flash     26.0 MiB worn today (12.4 MiB written, 1,234 commits), 2.0 GiB in all since 3 Nov 2026, 52.0 MiB a day at this rate, lasts 84.2 years
            arrays of 10 would make this medium last 7.1 times longer
  registry  12 devices, synced; 42 messages from the cloud, 3 unused
  not kept  683 widget types, 4 admin settings
  doors     http [::]:8080, mqtt off, mqtt over TLS off, 0 MQTT connections
  process   edgesync 1.2, up 3h12m, 11.0 MiB of memory
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	s.MQTTAddress, s.MQTTTLSAddress, s.MQTTConnections = "[::]:1883", "[::]:8883", 3
	if err := Print(&b, &s, s.Since, false); err != nil {
		t.Fatal(err)
	}
	if want := "http [::]:8080, mqtt [::]:1883, mqtt over TLS [::]:8883, 3 MQTT connections\n"; !strings.Contains(b.String(), want) {
		t.Errorf("%q is not in %q", want, b.String())
	}
	b.Reset()
	s.OldestPendingMS = 6000 // neither healthy nor a warning
	s.Edge, s.LastError, s.State = "\x1b]0;evil\x07\nname", "a\x1b[2Jb", agent.Reconnecting
	if err := Print(&b, &s, s.Since, true); err != nil {
		t.Fatal(err)
	}
	plain := regexp.MustCompile("\x1b\\[(0|1|31|32|33)m").ReplaceAllString(b.String(), "")
	if strings.ContainsAny(plain, "\x1b\x07") || plain == b.String() {
		t.Errorf("colours wanted, escapes from elsewhere not: %q", b.String())
	}
	if n := len(clean(strings.Repeat("é", 5000))); n > 2*300+3 {
		t.Errorf("clean leaves %d bytes", n)
	}
}

// What the cloud refuses to create is told in words, with what people said cleaned.
func TestRefusedCreationsAreTold(t *testing.T) {
	s := agent.Snapshot{Running: true, TurnedAway: 1200, RefusedCreations: &agent.RefusedCreations{
		Devices: 3, Events: 4000, Cause: "Devices limit reached.", Names: []string{"Dev A", "\x1b[31mDev"}, Full: true,
	}}
	var b bytes.Buffer
	if err := Print(&b, &s, time.Now(), false); err != nil {
		t.Fatal(err)
	}
	want := "  The cloud refuses to create 3 devices (Dev A, \x1b[31mDev, …): Devices limit reached; 4,000 events wait for that." +
		" The room for these is used up: new data of these devices is refused (1,200 events so far).\n"
	want = strings.Replace(want, "\x1b[31mDev", clean("\x1b[31mDev"), 1)
	if !strings.Contains(b.String(), want) {
		t.Errorf("%s", b.String())
	}
	s.RefusedCreations.Cause = strings.Repeat("x", 5000)
	cut(&s)
	if len(s.RefusedCreations.Cause) > maxShown+3 {
		t.Error("the cause is not bounded")
	}
}

func TestJudge(t *testing.T) {
	calm := agent.Snapshot{
		State: agent.Connected, Running: true, Writable: true, Accepted: 9, Deployed: 9,
		At: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC),
	}
	with := func(f func(*agent.Snapshot)) agent.Snapshot {
		s := calm
		f(&s)
		return s
	}
	tests := []struct {
		name           string
		s              agent.Snapshot
		level          Level
		text           string
		queue, latency Level
	}{
		{"calm", calm, OK, "All is well; the cloud has everything.", OK, OK},
		{
			"a few", with(func(s *agent.Snapshot) { s.Pending, s.Accepted, s.State = 1, 10, agent.Processing }), OK,
			"1 event is on the way", OK, OK,
		},
		{
			"5000", with(func(s *agent.Snapshot) { s.Pending, s.Accepted, s.OldestPendingMS = 5000, 5009, 30000 }), OK,
			"5,000 events are", Raised, Raised,
		},
		{"999", with(func(s *agent.Snapshot) { s.Pending, s.Accepted, s.OldestPendingMS = 999, 1008, 4999 }), OK, "999 events are", OK, OK},
		{
			"1000", with(func(s *agent.Snapshot) { s.Pending, s.Accepted, s.OldestPendingMS = 1000, 1009, 5000 }), OK,
			"1,000 events are", Raised, Raised,
		},
		{"5001", with(func(s *agent.Snapshot) { s.Pending, s.Accepted = 5001, 5010 }), Warn, "behind: 5,001 events wait", Warn, OK},
		{
			"slow", with(func(s *agent.Snapshot) { s.Pending, s.Accepted, s.OldestPendingMS = 1, 10, 30001 }), Warn,
			"the oldest for 30s", OK, Warn,
		},
		{"away", with(func(s *agent.Snapshot) {
			s.State, s.LastError, s.NextAttemptMS = agent.Disconnected, "connection refused.", 12000
		}), Warn, "No link since the start, 12:00 UTC (0ms): connection refused; nothing waits; next attempt in 12s.", OK, OK},
		{"limited", with(func(s *agent.Snapshot) { s.RateLimited = true }), Warn, "limits the rate", OK, OK},
		{
			"dead", with(func(s *agent.Snapshot) { s.Dead, s.Accepted = 2, 11 }), Warn,
			"The cloud refuses 2 events; they are kept (`edgesync dead list`).", OK, OK,
		},
		{"damaged", with(func(s *agent.Snapshot) { s.Damaged, s.Accepted = 1, 10 }), Warn, "1 event was damaged", OK, OK},
		{"dropped long ago", with(func(s *agent.Snapshot) { s.Dropped, s.Accepted = 1, 10 }), OK, "All is well", OK, OK},
		{"lost", with(func(s *agent.Snapshot) { s.Accepted = 10 }), Bad, "do not add up", OK, OK},
		{"full disk", with(func(s *agent.Snapshot) { s.Writable, s.LastError = false, "no space" }), Bad, "refused: no space.", OK, OK},
		{"no agent", with(func(s *agent.Snapshot) { s.Running, s.Writable = false, false }), Bad, "No agent runs", OK, OK},
	}
	for _, tt := range tests {
		h := Judge(&tt.s)
		if h.Level != tt.level || !strings.Contains(h.Text, tt.text) || h.Queue != tt.queue ||
			h.Latency != tt.latency || (h.Link == Warn) != (tt.s.State < agent.Draining) {
			t.Errorf("%s: %+v, want %s %q %s %s", tt.name, h, tt.level, tt.text, tt.queue, tt.latency)
		}
	}
}

func get(t *testing.T, s agent.Snapshot, turning bool, method, path string) *http.Response {
	t.Helper()
	h := Handler(Source{Snapshot: func() agent.Snapshot { return s }, Turning: func() bool { return turning }, Events: noEvents(t)})
	r := httptest.NewRecorder()
	h.ServeHTTP(r, httptest.NewRequest(method, path, nil))
	return r.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestHealthAndReadiness(t *testing.T) {
	for _, tt := range []struct {
		path                      string
		turning, writable, synced bool
		state                     agent.State
		code                      int
		text                      string
	}{
		{"/healthz", true, true, false, agent.Disconnected, 200, "ok"},
		{"/healthz", true, false, true, agent.Connected, 503, "cannot be written"},
		{"/healthz", false, true, true, agent.Connected, 503, "does not turn"},
		{"/readyz", true, true, true, agent.Disconnected, 200, "ready\nstate: disconnected\n"},
		{"/readyz", true, true, false, agent.Reconnecting, 503, "state: reconnecting\n"},
		{"/readyz", true, false, true, agent.Connected, 503, "state: connected\n"},
	} {
		r := get(t, agent.Snapshot{Writable: tt.writable, Synced: tt.synced, State: tt.state}, tt.turning, "GET", tt.path)
		if text := body(t, r); r.StatusCode != tt.code || !strings.Contains(text, tt.text) {
			t.Errorf("%+v: %d %q", tt, r.StatusCode, text)
		}
	}
}

func TestHandlerIsReadOnlyAndGuarded(t *testing.T) {
	for _, path := range []string{"/", "/api/edge/status", "/api/edge/events", "/metrics", "/healthz", "/readyz"} {
		r := get(t, sample(), true, "GET", path)
		if r.StatusCode != 200 || r.Header.Get("X-Content-Type-Options") != "nosniff" ||
			r.Header.Get("X-Frame-Options") != "DENY" || r.Header.Get("Content-Type") == "" {
			t.Errorf("%s: %d %v", path, r.StatusCode, r.Header)
		}
		if r := get(t, sample(), true, "POST", path); r.StatusCode != 405 || r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST %s: %d %v", path, r.StatusCode, r.Header)
		}
	}
	if r := get(t, sample(), true, "GET", "/etc/passwd"); r.StatusCode != 404 {
		t.Errorf("an unknown path: %d", r.StatusCode)
	}
}

func TestReport(t *testing.T) {
	var got Report
	if err := json.Unmarshal([]byte(body(t, get(t, sample(), true, "GET", "/api/edge/status"))), &got); err != nil {
		t.Fatal(err)
	}
	s := sample()
	if want := (Report{s, Judge(&s)}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Messages that failed at nodes are told where people and machines look first.
func TestRuleFailuresAreTold(t *testing.T) {
	s := sample()
	const told = "\n  failed    1,234 messages at nodes of rule chains; \"edgesync rules\" says why\n"
	for n, want := range map[uint64]string{0: "", 1234: told} {
		s.RuleFailures = n
		var b bytes.Buffer
		if err := Print(&b, &s, s.Since, false); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), want) || n == 0 && strings.Contains(b.String(), "failed") {
			t.Errorf("%d: %s", n, b.String())
		}
		if line := "\nedgesync_rule_failures_total " + strconv.FormatUint(n, 10) + "\n"; !strings.Contains(string(Metrics(&s)), line) {
			t.Errorf("no %q", line)
		}
	}
}

func TestMetrics(t *testing.T) {
	s := sample()
	s.Version = "a\"b\\c\nd"
	s.At = s.Since.Add(time.Hour)
	s.LastContact = &s.Since
	s.Losses, s.Unrecorded = []tally.Loss{{Reason: "quota", Total: 7}, {Reason: "person", Total: 2}}, 1
	s.DeadWaiting, s.DeadResting = 3, 2
	s.Life = agent.Life{Written: 100, Worn: 200, Fsyncs: 30, CPU: 1.5}
	s.Certificates = []agent.EndOf{{Door: "mqtt.tls", Ends: s.Since}}
	s.FsyncTimes = wal.TimeCounts{Counts: [wal.TimeClasses]uint64{2: 5, 15: 1}, Sum: 3 * time.Second}
	s.AnswerTimes = []agent.DoorTimes{{Door: "http", TimeCounts: s.FsyncTimes}}
	behind := int64(-2500)
	s.WireIn, s.WireOut, s.ClockOffsetMS = 4000, 5000, &behind
	text := body(t, get(t, s, true, "GET", "/metrics"))
	line := regexp.MustCompile(`^(# (HELP|TYPE) (edgesync|process|go)_[a-z_]+ .+|` +
		`(edgesync|process|go)_[a-z_]+(\{[a-z]+="([^"\\]|\\.)*"(,[a-z]+="([^"\\]|\\.)*")?\})? -?[0-9.]+)$`)
	for l := range strings.Lines(text) {
		if !line.MatchString(strings.TrimSuffix(l, "\n")) {
			t.Errorf("not Prometheus text: %q", l)
		}
	}
	for _, want := range []string{
		"edgesync_events_accepted_total 1234567\n", "edgesync_events_pending 12400\n",
		"edgesync_oldest_pending_seconds 250\n", "edgesync_max_inbound_message_bytes 8388608\n", "edgesync_rtt_seconds 0.04125\n",
		`edgesync_state{state="draining"} 1` + "\n", `edgesync_state{state="connected"} 0` + "\n",
		`edgesync_build_info{version="a\"b\\c\nd"} 1` + "\n",
		"edgesync_queue_limit_bytes 8388608\n", "edgesync_queue_free_bytes 7340032\n",
		"edgesync_flash_written_bytes_total 100\n", "edgesync_flash_worn_bytes_total 200\n", "edgesync_fsyncs_total 30\n",
		"edgesync_dead_letters_waiting 3\n", "edgesync_dead_letters_resting 2\n",
		`edgesync_events_lost_total{reason="quota"} 7` + "\n", `edgesync_events_lost_total{reason="person"} 2` + "\n",
		`edgesync_events_lost_total{reason="unrecorded"} 1` + "\n",
		"# TYPE edgesync_fsync_seconds histogram\n", `edgesync_fsync_seconds_bucket{le="0.002"} 0` + "\n",
		`edgesync_fsync_seconds_bucket{le="0.004"} 5` + "\n", `edgesync_fsync_seconds_bucket{le="16.384"} 5` + "\n",
		`edgesync_fsync_seconds_bucket{le="+Inf"} 6` + "\nedgesync_fsync_seconds_sum 3.000000\nedgesync_fsync_seconds_count 6\n",
		`edgesync_answer_seconds_bucket{door="http",le="+Inf"} 6` + "\n", `edgesync_answer_seconds_count{door="http"} 6` + "\n",
		"edgesync_last_contact_timestamp_seconds 1795492800.000\n",
		`edgesync_certificate_expiry_timestamp_seconds{door="mqtt.tls"} 1795492800.000` + "\n",
		`edgesync_headline{kind="cloud_behind"} 1` + "\n", `edgesync_headline{kind="well"} 0` + "\n",
		"process_resident_memory_bytes 11534336\n", "process_cpu_seconds_total 1.500\n",
		"process_start_time_seconds 1795484880.000\n", "go_info{version=\"go",
		"edgesync_wire_received_bytes_total 4000\n", "edgesync_wire_sent_bytes_total 5000\n",
		"edgesync_clock_offset_seconds -2.500\n", "# TYPE process_max_fds gauge\n",
		"# TYPE edgesync_events_pending gauge\n", "edgesync_queue_writable 1\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q", want)
		}
	}
	if runtime.GOOS == "linux" && !regexp.MustCompile(`\nprocess_open_fds [1-9]`).MatchString(text) {
		t.Error("no open files")
	}
	s.ClockOffsetMS = nil
	if text := body(t, get(t, s, true, "GET", "/metrics")); strings.Contains(text, "clock_offset") {
		t.Error("an offset of a clock that is not known")
	}
}

// short is a directory whose socket fits into 107 bytes; long one whose does not.
func TestSocket(t *testing.T) {
	for name, dir := range map[string]string{
		"short": t.TempDir(),
		"long":  filepath.Join(t.TempDir(), strings.Repeat("d", 120), strings.Repeat("e", 120)),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, sockName)
			// Left over from a crash: a socket that nobody listens on.
			address, release, err := sockAddress(dir)
			if err != nil {
				t.Fatal(err)
			}
			old, err := net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			old.SetUnlinkOnClose(false)
			old.Close()
			release()
			if _, err := fetch(dir, nil); err == nil || !strings.Contains(err.Error(), "no agent runs") {
				t.Errorf("a socket without an agent: %v", err)
			}

			want := sample()
			s, err := Serve(dir, func() agent.Snapshot { return want }, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
			}
			for range 3 {
				if got, err := Fetch(dir); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%v, %+v", err, got)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket stays after Close: %v", err)
			}
		})
	}
}

// A file system without sockets (vfat) has the agent answer on one without a file. Who comes too
// late, or asks for another directory, finds nobody.
func TestSocketWhereThereAreNone(t *testing.T) {
	before := bind
	defer func() { bind = before }()
	bind = func(address string) (*net.UnixListener, error) {
		if !strings.HasPrefix(address, "@") {
			return nil, &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EPERM)}
		}
		return before(address)
	}
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), strings.Repeat("long/", 40))} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		s, err := Serve(dir, func() agent.Snapshot { return agent.Snapshot{Accepted: 7} }, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(dir, link); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{dir, dir + "/.", link} {
			if got, err := Fetch(name); err != nil || got.Accepted != 7 {
				t.Errorf("fetch by %s: %+v, %v", name, got.Accepted, err)
			}
		}
		if _, err := ask(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("another directory: %v", err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("left in the directory: %v, %v", entries, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := ask(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after the end: %v", err)
		}
	}
}

func TestSocketInTheWay(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, sockName), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Serve(dir, nil, nil, nil); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("a file in the way: %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, sockName)); err != nil || string(data) != "precious" {
		t.Errorf("the file was touched: %q, %v", data, err)
	}
}

func TestFetchWithoutAgentReadsFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "queue"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := fetch(dir, func(queue string) (wal.Stats, error) {
		if queue != filepath.Join(dir, "queue") {
			t.Errorf("inspected %s", queue)
		}
		return wal.Stats{
			Accepted: 15, Deployed: 5, Pending: 4, Dropped: 3, Dead: 2, Damaged: 1, Committed: 6,
			Last: 11, Bytes: 99, LastError: errors.New("eio"),
		}, nil
	})
	want := agent.Snapshot{
		Received: 15, Accepted: 15, Deployed: 5, Pending: 4, Dropped: 3, Dead: 2, Damaged: 1, Committed: 6,
		LastOffset: 11, QueueBytes: 99, LastError: "eio", Room: agent.Capacity{Used: 99}, At: s.At,
	}
	if err != nil || !reflect.DeepEqual(s, want) {
		t.Errorf("%v, got %+v, want %+v", err, s, want)
	}
	if s.Running || s.State != agent.Disconnected {
		t.Error("it pretends that an agent runs")
	}
	_, err = fetch(dir, func(string) (wal.Stats, error) { return wal.Stats{}, wal.ErrUnavailable })
	if !errors.Is(err, wal.ErrUnavailable) {
		t.Errorf("unreadable files: %v", err)
	}
}

func TestShowWatchesUntilTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var b bytes.Buffer
	if err := Show(ctx, &b, View{DataDir: t.TempDir(), JSON: true, Watch: true}); err != nil {
		t.Fatal(err)
	}
	var s agent.Snapshot
	if err := json.Unmarshal(b.Bytes(), &s); err != nil || s.Running || !strings.Contains(s.LastError, "no agent runs") {
		t.Errorf("%v, %q", err, b.String())
	}
}
