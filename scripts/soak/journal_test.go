//go:build linux

package main

import (
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// cloudOf stores readings as the cloud does that got each of them once.
func cloudOf(s *stream, numbers ...int) map[string][]cloudtest.Point {
	rows := map[string][]cloudtest.Point{}
	for _, k := range keys {
		for _, n := range numbers {
			if k.has(n) {
				rows[k.name] = append(rows[k.name], cloudtest.Point{TS: firstTime + int64(n), Value: k.want(s.device, n), Writes: 1})
			}
		}
	}
	return rows
}

func TestCompareFindsEachFault(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(rows map[string][]cloudtest.Point)
		want  string // "" = no problem
	}{
		{"all there", func(map[string][]cloudtest.Point) {}, ""},
		{"twice", func(rows map[string][]cloudtest.Point) { rows["n"][0].Writes = 2 }, ""},
		{"one missing", func(rows map[string][]cloudtest.Point) { rows["n"] = rows["n"][1:] }, "1 acknowledged values of n are not"},
		{"a key missing", func(rows map[string][]cloudtest.Point) { delete(rows, "text") }, "values of text are not in the cloud"},
		{"wrong value", func(rows map[string][]cloudtest.Point) { rows["half"][0].Value.Dbl++ }, "half of reading 0 is"},
		{"wrong type", func(rows map[string][]cloudtest.Point) {
			rows["n"][1].Value.Type = proto.KeyValueType_STRING_V
		}, "n of reading 1 is"},
		{"never sent", func(rows map[string][]cloudtest.Point) {
			rows["n"] = append(rows["n"], cloudtest.Point{TS: firstTime + 100, Writes: 1})
		}, "which was never sent"},
		{"a key that the reading has not", func(rows map[string][]cloudtest.Point) {
			rows["half"] = append(rows["half"], cloudtest.Point{TS: firstTime + 1, Value: keys[1].want("", 1), Writes: 1})
		}, "which was never sent"},
	} {
		s := &stream{device: "d"}
		s.ack(s.take(11), 11)
		s.take(1) // sent, never acknowledged, did not arrive
		rows := cloudOf(s, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
		tc.spoil(rows)
		var v verdict
		s.compare(func(_ proto.UUID, key string) []cloudtest.Point { return rows[key] }, proto.UUID{}, &v)
		got := strings.Join(v.problems, "\n")
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
		if tc.want == "" && (v.acked != 19 || v.rows != 19 || v.unacked != 0) {
			t.Errorf("%s: %+v", tc.name, v)
		}
	}
}

// A reading that arrived though its device did not hear so is no fault.
func TestCompareAllowsUnacknowledged(t *testing.T) {
	s := &stream{device: "d"}
	s.take(2)
	rows := cloudOf(s, 1)
	var v verdict
	s.compare(func(_ proto.UUID, key string) []cloudtest.Point { return rows[key] }, proto.UUID{}, &v)
	if len(v.problems) != 0 || v.rows != 1 || v.unacked != 1 || v.acked != 0 {
		t.Errorf("%+v", v)
	}
}

func TestReadings(t *testing.T) {
	s := &stream{device: "d"}
	for _, tc := range []struct {
		from, k int
		array   bool
		want    string
	}{
		{1, 1, false, `{"ts":1767225600001,"values":{"n":1}}`},
		{1, 1, true, `[{"ts":1767225600001,"values":{"n":1}}]`},
		{9, 2, false, `[{"ts":1767225600009,"values":{"n":9}},{"ts":1767225600010,"values":{"n":10,"half":10.5,"text":"d #10"}}]`},
	} {
		if got := string(s.appendReadings(nil, tc.from, tc.k, tc.array)); got != tc.want {
			t.Errorf("%+v: %s", tc, got)
		}
	}
}

func TestCounter(t *testing.T) {
	long := func(n int64) cloudtest.Value { return cloudtest.Value{Type: proto.KeyValueType_LONG_V, Long: n} }
	for _, tc := range []struct {
		value cloudtest.Value
		ok    bool
		good  bool
	}{
		{long(2), true, true},
		{long(3), true, true},
		{long(1), true, false},
		{long(4), true, false},
		{long(0), false, false},
		{cloudtest.Value{Type: proto.KeyValueType_STRING_V, Long: 2}, true, false},
	} {
		c := &counter{device: "d"}
		c.ack(c.next())
		c.ack(c.next())
		c.next()
		var v verdict
		if c.check(tc.value, tc.ok, &v); (len(v.problems) == 0) != tc.good {
			t.Errorf("%+v: %q", tc, v.problems)
		}
	}
}
