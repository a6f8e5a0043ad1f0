//go:build linux

package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func TestTableJudges(t *testing.T) {
	for _, tc := range []struct {
		name string
		l    line
		want string
	}{
		{"below an upper bound", line{measured: 14, bound: 15, format: "%.0f"}, "PASS"},
		{"above an upper bound", line{measured: 16, bound: 15, format: "%.0f"}, "over"},
		{"above a lower bound", line{measured: 16, bound: 15, atLeast: true, format: "%.0f"}, "PASS"},
		{"below a lower bound", line{measured: 14, bound: 15, atLeast: true, format: "%.0f"}, "under"},
		{"ratio kept", line{measured: 80, yardstick: 100, of: "y", onRatio: true, bound: 0.8, atLeast: true, format: "%.0f"}, "PASS"},
		{"ratio missed", line{measured: 79, yardstick: 100, of: "y", onRatio: true, bound: 0.8, atLeast: true, format: "%.0f"}, "under"},
		{"no number", line{measured: math.NaN(), bound: 15, format: "%.0f"}, "over"},
	} {
		var out bytes.Buffer
		tab := table{out: &out}
		tab.add(tc.l)
		if !strings.Contains(out.String(), tc.want) || (tc.want == "PASS") != (tab.over == 0) {
			t.Errorf("%s: over = %d, printed %q, want %s", tc.name, tab.over, out.String(), tc.want)
		}
	}
}

func TestParseLogToWire(t *testing.T) {
	for _, tc := range []struct {
		out  string
		want float64
		ok   bool
	}{
		{"BenchmarkLogToWire-2   100  12345 ns/op  0.0125 allocs/event  99 B/op  7 allocs/op", 0.0125, true},
		{"BenchmarkLogToWire   100  12345 ns/op  1000 events/op  99 B/op  50 allocs/op", 0.05, true},
		{"BenchmarkLogToWire-2   100  12345 ns/op  99 B/op  50 allocs/op", 50, true},
		{"BenchmarkOther-2   100  12345 ns/op  99 B/op  50 allocs/op", 0, false},
		{"no such thing", 0, false},
	} {
		got, err := parseLogToWire(tc.out)
		if (err == nil) != tc.ok || got != tc.want {
			t.Errorf("%q: %v, %v", tc.out, got, err)
		}
	}
}
