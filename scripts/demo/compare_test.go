package main

import (
	"encoding/json"
	"strings"
	"testing"

	"edgesync/scripts/internal/rig"
	agent "edgesync/sync"
)

var station = &Station{
	Name: "test",
	Keys: []string{"temperature", "weather"},
	Readings: []Reading{
		{TS: 1000, Values: []string{"39.0", `"rain"`}},
		{TS: 2000, Values: []string{"-1.5", `"sun"`}},
		{TS: 3000, Values: []string{"40.25", `"fog"`}},
	},
}

// stored returns the rows and arrivals of a cloud that got everything once.
func stored(key int) ([]rig.Row, []int64) {
	var rows []rig.Row
	var arrivals []int64
	for _, r := range station.Readings {
		rows = append(rows, rig.Row{TS: r.TS, Value: json.RawMessage(r.Values[key]), Writes: 1})
		arrivals = append(arrivals, r.TS)
	}
	return rows, arrivals
}

func TestCompareFindsEachFault(t *testing.T) {
	type world struct {
		rows     []rig.Row
		arrivals []int64
	}
	for _, tc := range []struct {
		name    string
		key     int
		spoil   func(w *world)
		problem string // "" = none
		dups    int
	}{
		{"all there", 0, func(*world) {}, "", 0},
		{"strings all there", 1, func(*world) {}, "", 0},
		{"39 for 39.0", 0, func(w *world) { w.rows[0].Value = json.RawMessage("39") }, "", 0},
		{"duplicates", 0, func(w *world) { w.rows[0].Writes, w.rows[2].Writes = 3, 2 }, "", 3},
		{
			"first row missing", 0, func(w *world) { w.rows, w.arrivals = w.rows[1:], w.arrivals[1:] },
			"the row of 1970-01-01 00:00 is missing", 0,
		},
		{"middle row missing", 0, func(w *world) {
			w.rows = append(w.rows[:1:1], w.rows[2])
			w.arrivals = []int64{1000, 3000}
		}, "is missing", 0},
		{"last row missing", 1, func(w *world) { w.rows, w.arrivals = w.rows[:2], w.arrivals[:2] }, "is missing", 0},
		{"nothing there", 0, func(w *world) { *w = world{} }, "is missing", 0},
		{"wrong number", 0, func(w *world) { w.rows[1].Value = json.RawMessage("-1.4") }, "is -1.5 in the file and -1.4 in the cloud", 0},
		{"number became a string", 0, func(w *world) { w.rows[1].Value = json.RawMessage(`"-1.5"`) }, `and "-1.5" in the cloud`, 0},
		{
			"wrong string", 1, func(w *world) { w.rows[1].Value = json.RawMessage(`"snow"`) },
			`is "sun" in the file and "snow" in the cloud`, 0,
		},
		{"string became a number", 1, func(w *world) { w.rows[1].Value = json.RawMessage(`1`) }, `and 1 in the cloud`, 0},
		{"value not JSON", 1, func(w *world) { w.rows[1].Value = nil }, `is "sun" in the file`, 0},
		{"extra row", 0, func(w *world) {
			w.rows = append(w.rows, rig.Row{TS: 4000, Value: json.RawMessage("1"), Writes: 1})
			w.arrivals = append(w.arrivals, 4000)
		}, "that no file has", 0},
		{"extra row in the middle", 0, func(w *world) {
			w.rows = []rig.Row{w.rows[0], {TS: 1500, Value: json.RawMessage("1"), Writes: 1}, w.rows[1], w.rows[2]}
			w.arrivals = []int64{1000, 1500, 2000, 3000}
		}, "that no file has", 0},
		{"rows swapped", 0, func(w *world) { w.rows[0], w.rows[1] = w.rows[1], w.rows[0] }, "lists", 0},
		{"row twice", 0, func(w *world) { w.rows = append(w.rows, w.rows[2]) }, "lists", 0},
		{"arrived out of order", 0, func(w *world) { w.arrivals = []int64{1000, 3000, 2000} }, "arrived behind that of", 0},
		{"arrivals missing", 0, func(w *world) { w.arrivals = w.arrivals[:2] }, "has 3 rows and noted 2 arrivals", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var w world
			w.rows, w.arrivals = stored(tc.key)
			tc.spoil(&w)
			c := compare(station, tc.key, w.rows, w.arrivals)
			if c.Duplicates != tc.dups {
				t.Errorf("duplicates: %d, want %d", c.Duplicates, tc.dups)
			}
			text := strings.Join(c.problems(), "\n")
			if c.ok() != (tc.problem == "") {
				t.Fatalf("ok = %v, problems: %q", c.ok(), text)
			}
			if !strings.Contains(text, tc.problem) {
				t.Errorf("problems are %q, want %q in it", text, tc.problem)
			}
			if c.ok() && c.Rows != 3 {
				t.Errorf("rows: %d, want 3", c.Rows)
			}
		})
	}
}

func TestStationsAreTheFiles(t *testing.T) {
	stations, err := loadStations()
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		rows        int
		first, last string
	}{
		{8759, `{"ts":1262304000000,"values":{"temperature":39.4}}`, `{"ts":1293836400000,"values":{"temperature":39.6}}`},
		{8759, `{"ts":1262304000000,"values":{"temperature":47.8}}`, ``},
		{1461, `{"ts":1325376000000,"values":{"precipitation":0.0,"temp_max":12.8,"temp_min":5.0,"wind":4.7,"weather":"drizzle"}}`, ``},
	}
	for i, w := range want {
		s := &stations[i]
		if len(s.Readings) != w.rows {
			t.Errorf("%s: %d rows, want %d", s.Name, len(s.Readings), w.rows)
		}
		if got := string(s.appendJSON(nil, s.Readings[0])); got != w.first {
			t.Errorf("%s begins with %s, want %s", s.Name, got, w.first)
		}
		if got := string(s.appendJSON(nil, s.Readings[len(s.Readings)-1])); w.last != "" && got != w.last {
			t.Errorf("%s ends with %s, want %s", s.Name, got, w.last)
		}
	}
}

func TestIdentityFindsWhatDoesNotAddUp(t *testing.T) {
	good := agent.Snapshot{Accepted: 105, Deployed: 105}
	if p := identity(good, 100); len(p) != 0 {
		t.Errorf("problems where there are none: %q", p)
	}
	for _, tc := range []struct {
		name  string
		spoil func(s *agent.Snapshot)
		want  string
	}{
		{"one vanished", func(s *agent.Snapshot) { s.Deployed-- }, "accepted is 105, but"},
		{"one too many", func(s *agent.Snapshot) { s.Deployed++ }, "accepted is 105, but"},
		{
			"fewer than posted", func(s *agent.Snapshot) { s.Accepted, s.Deployed = 99, 99 },
			"100 events were answered with 200, and accepted is 99",
		},
		{"dropped", func(s *agent.Snapshot) { s.Dropped, s.Deployed = 1, 104 }, "dropped 1, dead 0, damaged 0"},
		{"dead", func(s *agent.Snapshot) { s.Dead, s.Deployed = 1, 104 }, "dropped 0, dead 1, damaged 0"},
		{"damaged", func(s *agent.Snapshot) { s.Damaged, s.Deployed = 1, 104 }, "dropped 0, dead 0, damaged 1"},
	} {
		s := good
		tc.spoil(&s)
		if p := strings.Join(identity(s, 100), "\n"); !strings.Contains(p, tc.want) {
			t.Errorf("%s: problems are %q, want %q", tc.name, p, tc.want)
		}
	}
}
