package status

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/wal"
)

// login knows two tokens: "admin", and "carl" of a customer to whom the sensor is assigned.
func login(secure, overheard bool, https string) *Login {
	all := func(bool) func(proto.UUID) bool { return func(proto.UUID) bool { return true } }
	return &Login{
		Secure: secured(secure), Overheard: secured(overheard), HTTPS: https,
		User: func(r *httpRequest) (u User, ok bool) {
			switch r.Header.Get("X-Authorization") {
			case "Bearer admin":
				return User{Name: "ann", Admin: true, Sees: all(true)}, true
			case "Bearer carl":
				return User{Name: "carl", Sees: func(id proto.UUID) bool { return id == sensor }}, true
			}
			return u, false
		},
	}
}

func secured(yes bool) func(*httpRequest) bool { return func(*httpRequest) bool { return yes } }

// searched is a queue of 5,000 events of two entities, a second apart, of which the last 1,000 are
// pending and every 100th is dead.
func searched(t *testing.T) Source {
	t.Helper()
	other := sensor
	other[0]++
	var events []wal.Event
	for i := range 5000 {
		e := telemetry(int64(1e12)+int64(i)*1000, "door", fmt.Sprintf("word%d", i))
		if i%5 == 4 {
			e.Entity = other
			e.Fragment = proto.AppendTelemetry(nil, other, proto.DeviceEntity, e.Time, nil)
		}
		if i%1000 == 17 {
			e.Action = uint8(proto.ActionAttributesUpdated)
		}
		events = append(events, e)
	}
	dir, last := fill(t, 4000, events...)
	s := agent.Snapshot{Committed: 4001, LastOffset: last}
	return Source{
		Snapshot: func() agent.Snapshot { return s },
		Events: &Events{
			Queue: dir, Dead: func(o uint64) bool { return o%100 == 0 },
			Name: func(id proto.UUID) string { return map[proto.UUID]string{sensor: "Cold Store", other: "Gate"}[id] },
		},
		Login: login(true, false, ""),
	}
}

func find(t *testing.T, src Source, token, query string) (f Found, code int) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/api/edgesync/search?"+query, nil)
	r.Header.Set("X-Authorization", "Bearer "+token)
	Handler(src).ServeHTTP(w, r)
	if w.Code == 200 {
		if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil {
			t.Fatal(err)
		}
	}
	return f, w.Code
}

// all pages of a search, as offsets.
func pages(t *testing.T, src Source, token, query string) (offsets []uint64, answers int) {
	t.Helper()
	for before := uint64(0); ; answers++ {
		q := query
		if before != 0 {
			q += fmt.Sprint("&before=", before)
		}
		f, code := find(t, src, token, q)
		if code != 200 || answers > 200 {
			t.Fatal(code, answers)
		}
		for _, e := range f.Events {
			offsets = append(offsets, e.Offset)
		}
		if f.Next == 0 {
			return offsets, answers + 1
		}
		before = f.Next
	}
}

// A search finds what a look at all events finds, the newest first, page by page.
func TestSearch(t *testing.T) {
	src := searched(t)
	at := func(i int) int64 { return int64(1e12) + int64(i)*1000 }
	for query, want := range map[string]func(i int) bool{ // event i is at offset i+2
		"limit=100":                          func(int) bool { return true },
		"device=old+st":                      func(i int) bool { return i%5 != 4 },
		"device=" + proto.FormatUUID(sensor): func(i int) bool { return i%5 != 4 },
		"device=nobody":                      func(int) bool { return false },
		"action=ATTRIBUTES_UPDATED":          func(i int) bool { return i%1000 == 17 },
		"status=PENDING&limit=99":            func(i int) bool { return i+2 > 4001 },
		"status=DEAD":                        func(i int) bool { return (i+2)%100 == 0 && i+2 <= 4001 },
		"status=DEPLOYED&limit=100":          func(i int) bool { return (i+2)%100 != 0 && i+2 <= 4001 },
		"status=DAMAGED":                     func(int) bool { return false },
		"text=WORD4321":                      func(i int) bool { return i == 4321 },
		"text=gate&device=gate&limit=100":    func(i int) bool { return i%5 == 4 },
		fmt.Sprint("since=", at(4990)):       func(i int) bool { return i >= 4990 },
		fmt.Sprint("until=", at(30)):         func(i int) bool { return i < 30 },
		fmt.Sprint("since=", at(1000), "&until=", at(1100), "&action=ATTRIBUTES_UPDATED"): func(i int) bool { return i == 1017 },
	} {
		var offsets []uint64
		for i := 4999; i >= 0; i-- {
			if want(i) {
				offsets = append(offsets, uint64(i+2))
			}
		}
		got, answers := pages(t, src, "admin", query)
		if !reflect.DeepEqual(got, offsets) {
			t.Errorf("%s: %d events, want %d", query, len(got), len(offsets))
		}
		if strings.HasPrefix(query, "since") && answers > 2 {
			t.Errorf("%s: %d answers", query, answers)
		}
	}
}

// Who is not logged in finds no contents, nor by them; a user of a customer what is the customer's.
func TestSearchShowsWhatIsTheirs(t *testing.T) {
	src := searched(t)
	f, code := find(t, src, "", "limit=3")
	if code != 200 || !f.Hidden || len(f.Events) != 3 || f.Events[1].Content != nil {
		t.Errorf("nobody: %d %+v", code, f)
	}
	if _, code := find(t, src, "", "text=word"); code != 401 {
		t.Errorf("nobody looks for a text: %d", code)
	}
	f, code = find(t, src, "carl", "limit=5")
	if code != 200 || f.Hidden || len(f.Events) != 5 {
		t.Fatalf("a customer's user: %d %+v", code, f)
	}
	for _, e := range f.Events {
		if e.Name != "Cold Store" || e.Content == nil {
			t.Errorf("a customer's user: %+v", e)
		}
	}
	src.Login = login(false, true, "")
	if f, _ := find(t, src, "admin", "limit=3"); !f.Hidden {
		t.Error("contents over plain HTTP from a public address")
	}
	src.Login = login(false, false, "[::]:8443")
	if f, _ := find(t, src, "admin", "limit=3"); !f.Hidden {
		t.Error("contents over plain HTTP where there is HTTPS")
	}
	src.Login = login(false, false, "")
	if f, _ := find(t, src, "admin", "limit=3"); f.Hidden {
		t.Error("no contents over plain HTTP from a private address")
	}
	src.Login = nil
	if f, _ := find(t, src, "admin", "limit=3"); !f.Hidden {
		t.Error("contents where nobody can log in")
	}
}

func TestSearchSaysWhatIsWrong(t *testing.T) {
	src := searched(t)
	for _, query := range []string{
		"limit=0", "limit=101", "before=x", "before=9223372036854775809", "since=x", "until=9007199254740993", "status=GONE",
		"text=" + strings.Repeat("x", 129), "device=" + strings.Repeat("x", 129),
	} {
		if _, code := find(t, src, "admin", query); code != 400 {
			t.Errorf("%s: %d", query, code)
		}
	}
}

// FuzzSearch: no query makes the search fail, or answer more than was asked for.
func FuzzSearch(f *testing.F) {
	f.Add("limit=3&device=cold&status=DEAD&since=1000000000000&until=1000000010000&text=a&before=77")
	f.Add("before=1&action=ADDED")
	src := Source{}
	f.Fuzz(func(t *testing.T, query string) {
		if src.Events == nil {
			src = searched(t)
		}
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		s, words := parseSearch(q)
		if words != "" {
			return
		}
		s.user, s.content = User{Admin: true}, true
		snap := src.Snapshot()
		found := Found{Committed: snap.Committed, Last: snap.LastOffset}
		if err := src.Events.search(&found, &s, httptest.NewRequest("GET", "/", nil)); err != nil || len(found.Events) > s.limit {
			t.Fatal(err, len(found.Events))
		}
	})
}
