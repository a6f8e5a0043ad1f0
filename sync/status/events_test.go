package status

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/wal"
)

var sensor = proto.UUID{1, 2, 3}

// noEvents is where there is no event yet.
func noEvents(t *testing.T) *Events {
	return &Events{Queue: t.TempDir(), Name: func(proto.UUID) string { return "" }, Dead: func(uint64) bool { return false }}
}

// fill makes a queue of these events and commits some. Offset 1 is a control frame: the events
// begin at 2.
func fill(t *testing.T, deployed uint64, events ...wal.Event) (dir string, last uint64) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "queue")
	q, err := wal.Open(wal.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Append(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
	last = q.End().Offset
	if err := q.Commit(wal.Position{Offset: deployed + 1, Seq: deployed}, deployed, 0); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, last
}

func telemetry(ts int64, key, value string) wal.Event {
	kv := []proto.KV{{Key: []byte(key), Type: proto.KeyValueType_STRING_V, Str: []byte(value)}}
	return wal.Event{
		Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Time: ts, Entity: sensor,
		Fragment: proto.AppendTelemetry(nil, sensor, proto.DeviceEntity, ts, kv),
	}
}

func askEvents(t *testing.T, e *Events, s agent.Snapshot, query string, code int) (l EventList, text string) {
	t.Helper()
	w := httptest.NewRecorder()
	h := Handler(Source{Snapshot: func() agent.Snapshot { return s }, Turning: func() bool { return true }, Events: e})
	r := httptest.NewRequest(http.MethodGet, "/api/edge/events"+query, nil)
	r.RemoteAddr, r.Host = "[::ffff:127.0.0.1]:4711", "localhost:8080"
	h.ServeHTTP(w, r)
	text = w.Body.String()
	if w.Code != code {
		t.Fatalf("%q: %d %q, want %d", query, w.Code, text, code)
	}
	if code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
	}
	return l, text
}

func offsets(l EventList) (o []uint64) {
	for _, e := range l.Events {
		o = append(o, e.Offset)
	}
	return o
}

func TestEvents(t *testing.T) {
	var all []wal.Event
	for i := range 10 {
		all = append(all, telemetry(int64(1000*(i+1)), "n", fmt.Sprint(i)))
	}
	all[6] = telemetry(7000, "api_token", "hush")
	all[7].Fragment = []byte("\xff no message")
	all[8] = telemetry(9000, "long", strings.Repeat("x", eventContent))
	dir, last := fill(t, 3, all...)
	e := &Events{Queue: dir, Name: func(id proto.UUID) string {
		if id != sensor {
			t.Errorf("asked for %v", id)
		}
		return "Sensor 7"
	}, Dead: func(o uint64) bool { return o == 3 }}
	s := agent.Snapshot{Committed: 4, LastOffset: last}
	l, text := askEvents(t, e, s, "", 200)
	if got := offsets(l); !slices.Equal(got, []uint64{2, 3, 4, 5, 6, 7, 8, 9, 10, 11}) || l.Committed != 4 || l.Last != 11 || l.From != 1 {
		t.Fatalf("%v of %+v", got, l)
	}
	for i, want := range []string{"DEPLOYED", "DEAD", "DEPLOYED", "PENDING"} {
		if l.Events[i].Status != want {
			t.Errorf("offset %d is %s, want %s", i+2, l.Events[i].Status, want)
		}
	}
	first, _ := json.Marshal(l.Events[0])
	want := `{"offset":2,"status":"DEPLOYED","time":"1970-01-01T00:00:01Z",` +
		`"action":"TIMESERIES_UPDATED","type":"ENTITY_DATA","entity_type":"DEVICE",` +
		`"entity":"01020300-0000-0000-0000-000000000000","name":"Sensor 7","bytes":` +
		fmt.Sprint(len(all[0].Fragment)) + `,"content":{"ts":1000,"values":{"n":"0"}}}`
	if string(first) != want {
		t.Errorf("got  %s\nwant %s", first, want)
	}
	if strings.Contains(text, "hush") || string(l.Events[6].Content) != `{"ts":7000,"values":{"api_token":"***"}}` {
		t.Errorf("a secret is shown: %s", l.Events[6].Content)
	}
	w := httptest.NewRecorder() // from elsewhere
	Handler(Source{Snapshot: func() agent.Snapshot { return s }, Turning: func() bool { return true }, Events: e}).
		ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/edge/events?from=2&limit=1", nil))
	if got, want := w.Body.String(), `"bytes":`+fmt.Sprint(len(all[0].Fragment))+"}]"; w.Code != 200 ||
		!strings.Contains(got, want) || !strings.Contains(got, `"hidden":true`) {
		t.Errorf("from elsewhere: %s, want %s in it", got, want)
	}
	if l.Events[7].Content != nil || l.Events[8].Content != nil {
		t.Error("what does not decode, or is too large, has a content")
	}

	for query, want := range map[string][]uint64{
		"?limit=3": {9, 10, 11}, "?from=4&limit=2": {4, 5}, "?from=0&limit=1": nil, "?from=0&limit=2": {2},
		"?from=11": {11}, "?from=12": nil, "?from=9223372036854775808": nil,
	} {
		if l, _ := askEvents(t, e, s, query, 200); !slices.Equal(offsets(l), want) || l.Events == nil {
			t.Errorf("%s: %v, want %v", query, offsets(l), want)
		}
	}
	for _, query := range []string{
		"?limit=0", "?limit=201", "?limit=x", "?from=-1", "?from=9223372036854775809",
		"?limit=99999999999999999999",
	} {
		askEvents(t, e, s, query, 400)
	}
	s.LastOffset = 8 // what is behind it may not be durable yet
	if l, _ := askEvents(t, e, s, "?limit=2", 200); !slices.Equal(offsets(l), []uint64{7, 8}) {
		t.Errorf("%v, want 7 and 8", offsets(l))
	}
	if l, _ := askEvents(t, noEvents(t), agent.Snapshot{}, "", 200); len(l.Events) != 0 || l.From != 1 {
		t.Errorf("of an empty queue: %+v", l)
	}
}

// A page is bounded whatever the events are like, and it shows what is damaged at its offsets.
func TestEventsAreBoundedAndTellOfDamage(t *testing.T) {
	var all []wal.Event
	for range eventsMost + 10 {
		all = append(all, telemetry(1, "k", strings.Repeat("<", eventContent*3/4)))
	}
	dir, last := fill(t, 0, all...)
	e := &Events{Queue: dir, Name: func(proto.UUID) string { return strings.Repeat("n", 255) }, Dead: func(uint64) bool { return false }}
	s := agent.Snapshot{LastOffset: last}
	l, text := askEvents(t, e, s, fmt.Sprintf("?limit=%d", eventsMost), 200)
	if len(l.Events) != eventsMost || len(text) > maxAnswer*2 {
		t.Errorf("%d events in %d bytes", len(l.Events), len(text))
	}
	file := filepath.Join(dir, "00000000000000000001")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 0x55
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	hurt := 0
	for from := uint64(1); from <= last; from += 50 {
		l, _ := askEvents(t, e, s, fmt.Sprintf("?from=%d&limit=50", from), 200)
		for _, line := range l.Events {
			if line.Status == damaged {
				hurt++
			}
		}
	}
	if hurt != 1 {
		t.Errorf("%d damaged stretches shown, want 1", hurt)
	}
}
