package status

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/wal"
)

// What is asked about the events of former edges is answered over the socket.
func TestRequestsAboutFormerEdges(t *testing.T) {
	dir := t.TempDir()
	f := &fakeDead{}
	s, err := Serve(dir, sample, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	list, entities, events, err := FormerEvents(dir)
	if err != nil || len(list) != 1 || list[0].Name != "d" || list[0].Events != 3 || entities != 2 || events != 5 {
		t.Errorf("list %+v, %d of %d, %v", list, events, entities, err)
	}
	if n, more, busy, err := RetryByName(dir); n != 7 || !more || !busy || err != nil {
		t.Errorf("retry %d, %v, %v, %v", n, more, busy, err)
	}
	if n, err := DropFormer(dir); n != 9 || err != nil {
		t.Errorf("drop %d, %v", n, err)
	}
	for _, do := range []string{doFormerList, doFormerRetry, doFormerDrop} {
		if _, err := Ask(dir, Request{Do: do, All: true}); err == nil {
			t.Errorf("%s takes all", do)
		}
	}
	if got := strings.Join(f.asked, ", "); got != "by name, drop former" {
		t.Errorf("asked %s", got)
	}
}

// People see how many events are of a former edge, of which one, and what helps.
func TestFormerEdgeIsShown(t *testing.T) {
	s := sample()
	s.Former = &agent.Former{Edge: `"Old \"one\"" (id)`, Events: 4, Entities: 2, Command: "edgesync dead retry --by-name"}
	s.Pending, s.Dead, s.OldestPendingMS, s.State = 0, 12405, 0, agent.Connected
	var b strings.Builder
	if err := Print(&b, &s, time.Now(), false); err != nil {
		t.Fatal(err)
	}
	if want := `4 of the former edge "Old \"one\"" (id): edgesync dead retry --by-name`; !strings.Contains(b.String(), want) {
		t.Errorf("status lacks %s:\n%s", want, b.String())
	}
	if h := Judge(&s); h.Level != Warn || !strings.Contains(h.Text, "4 events are of the former edge") {
		t.Errorf("health %+v", h)
	}
	w := httptest.NewRecorder()
	Handler(Source{Snapshot: func() agent.Snapshot { return s }}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		"edgesync_events_of_former_edge 4\n",
		`edgesync_former_edge_info{edge="\"Old \\\"one\\\"\" (id)",command="edgesync dead retry --by-name"} 1`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("metrics lack %s:\n%s", want, w.Body.String())
		}
	}
	data, err := json.Marshal(&s)
	if err != nil || !strings.Contains(string(data), `"former":{"edge":`) {
		t.Errorf("json %s, %v", data, err)
	}
}

// An event of a former edge that is kept is never shown as deployed.
func TestKeptEventIsNotShownAsDeployed(t *testing.T) {
	e := Events{
		Name: func(proto.UUID) string { return "" }, Dead: func(uint64) bool { return false },
		Former: func(id proto.UUID, offset uint64) bool { return id == proto.UUID{1} && offset == 7 },
	}
	for _, c := range []struct {
		id     proto.UUID
		offset uint64
		want   string
	}{{proto.UUID{1}, 7, deadOne}, {proto.UUID{1}, 8, deployed}, {proto.UUID{2}, 7, deployed}, {proto.UUID{1}, 11, pending}} {
		r := wal.Record{Offset: c.offset, Event: wal.Event{Entity: c.id}}
		if got := e.line(&r, 10).Status; got != c.want {
			t.Errorf("%v at %d: %s, want %s", c.id, c.offset, got, c.want)
		}
	}
}
