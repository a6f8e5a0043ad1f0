package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"edgesync/scripts/internal/rig"
)

// windowed is what a cloud has of a station of ten readings: two as they came, then windows of the
// readings that are named.
func windowed(windows ...[]int) *judgement {
	s := &Station{Name: "S", Keys: []string{"t", "sky"}}
	for i := range 10 {
		s.Readings = append(s.Readings, Reading{Values: []string{fmt.Sprintf("%d.5", i*i-7), `"sky ` + strconv.Itoa(i) + `"`}})
	}
	j := &judgement{station: s, repeated: map[int]bool{}, ts: func(i int) int64 { return int64(1000 + i) }, series: map[string][]rig.Row{}}
	put := func(key string, ts int64, value string) {
		j.series[key] = append(j.series[key], rig.Row{TS: ts, Value: json.RawMessage(value), Writes: 1})
	}
	for i := range 2 {
		put("n", j.ts(i), strconv.Itoa(i))
		put("t", j.ts(i), s.Readings[i].Values[0])
		put("sky", j.ts(i), s.Readings[i].Values[1])
	}
	for _, w := range windows {
		last := w[len(w)-1]
		for _, key := range []string{"n", "t"} {
			least, most, sum := math.Inf(1), math.Inf(-1), 0.0
			for _, i := range w {
				v := float64(i)
				if key == "t" {
					v, _ = strconv.ParseFloat(s.Readings[i].Values[0], 64)
				}
				least, most, sum = min(least, v), max(most, v), sum+v
			}
			put(key+"_min", j.ts(last), strconv.FormatFloat(least, 'f', -1, 64))
			put(key+"_max", j.ts(last), strconv.FormatFloat(most, 'f', -1, 64))
			put(key+"_avg", j.ts(last), strconv.FormatFloat(sum/float64(len(w)), 'f', 3, 64))
			put(key+"_count", j.ts(last), strconv.Itoa(len(w)))
		}
		put("sky", j.ts(last), s.Readings[last].Values[1])
	}
	return j
}

func TestJudgement(t *testing.T) {
	for _, test := range []struct {
		name     string
		windows  [][]int
		repeated []int
		spoil    func(j *judgement)
		problem  string
	}{
		{"all is well", [][]int{{2, 3, 4}, {5, 6, 7, 8, 9}}, nil, nil, ""},
		{"repeated, and twice in a window", [][]int{{2, 3, 3, 4}, {5, 6, 7, 8, 9}}, []int{3, 5}, nil, ""},
		{"repeated, and in two windows", [][]int{{2, 3, 4}, {4, 5, 6, 7, 8, 9}}, []int{4}, nil, ""},
		{
			"one is missing",
			[][]int{{2, 4}, {5, 6, 7, 8, 9}},
			[]int{7},
			nil,
			"no readings from 2 on give the window that ends with 4 and holds 2",
		},
		{"one is missing, another twice", [][]int{{2, 4, 4}, {5, 6, 7, 8, 9}}, []int{4}, nil, "ends with 4 and holds 3"},
		{"one is twice, and was not repeated", [][]int{{2, 3, 4}, {5, 6, 6, 7, 8, 9}}, []int{3}, nil, "ends with 9 and holds 6"},
		{"the end is missing", [][]int{{2, 3, 4}}, nil, nil, "the last reading in the cloud is number 5 of 10"},
		{"a gap", [][]int{{3, 4}, {5, 6, 7, 8, 9}}, nil, nil, "no readings from 2 on give the window"},
		{"an average is wrong", [][]int{{2, 3, 4}, {5, 6, 7, 8, 9}}, nil, func(j *judgement) {
			j.series["t_avg"][1].Value = json.RawMessage("44.001")
		}, "ends with 9 and holds 5"},
		{"a minimum is wrong", [][]int{{2, 3, 4}, {5, 6, 7, 8, 9}}, nil, func(j *judgement) {
			j.series["t_min"][0].Value = json.RawMessage("-2.4")
		}, "ends with 4 and holds 3"},
		{"a maximum is missing", [][]int{{2, 3, 4}, {5, 6, 7, 8, 9}}, nil, func(j *judgement) {
			j.series["t_max"] = j.series["t_max"][1:]
		}, "ends with 4 and holds 3"},
		{"the last text is wrong", [][]int{{2, 3, 4}, {5, 6, 7, 8, 9}}, nil, func(j *judgement) {
			j.series["sky"][2].Value = json.RawMessage(`"sky 3"`)
		}, "ends with 4 and holds 3"},
		{"a raw value is wrong", [][]int{{2, 3, 4}, {5, 6, 7, 8, 9}}, nil, func(j *judgement) {
			j.series["t"][1].Value = json.RawMessage("7")
		}, "reading 1: t is -6.5 in the file and 7 in the cloud"},
		{"a raw reading is missing", [][]int{{2, 3, 4}, {5, 6, 7, 8, 9}}, nil, func(j *judgement) {
			j.series["n"] = j.series["n"][1:]
		}, "row 0 of the cloud is reading 1"},
	} {
		j := windowed(test.windows...)
		for _, i := range test.repeated {
			j.repeated[i] = true
		}
		if test.spoil != nil {
			test.spoil(j)
		}
		j.judge()
		got := strings.Join(j.problems, "; ")
		if test.problem == "" && (got != "" || j.raw != 2 || j.windows != 2 || j.values != 18) || !strings.Contains(got, test.problem) {
			t.Errorf("%s: %d raw, %d windows, %d values, %q; want %q", test.name, j.raw, j.windows, j.values, got, test.problem)
		}
	}
}

// TestRulesPicture: the picture always has the same number of lines, none too wide.
func TestRulesPicture(t *testing.T) {
	s := newScreen(io.Discard, true, "head")
	s.rules = &rulesView{}
	s.begin([]*sender{{}}, 8261)
	first := len(s.lines())
	s.showTraffic(rig.Stats{Events: 15, WireBytes: 30842})
	s.mark("chain")
	s.showTraffic(rig.Stats{Events: 1188, WireBytes: 46009})
	s.senders[0].acked.Store(8000)
	s.mark("chain")
	s.begun = s.begun.Add(-30 * time.Second)
	s.showTraffic(rig.Stats{Events: 4566, WireBytes: 1_234_567_890})
	s.say("%s", strings.Repeat("x", 200))
	lines := s.lines()
	if len(lines) != first {
		t.Errorf("%d lines, then %d", first, len(lines))
	}
	for _, l := range lines {
		l = escape.ReplaceAllString(l, "")
		if n := len([]rune(l)); n > 78 {
			t.Errorf("%d columns: %s", n, l)
		}
	}
	if v := s.rules; v.perReading < 12.9 || v.perReading > 13 || v.events != 4551 {
		t.Errorf("%+v", v)
	}
}
