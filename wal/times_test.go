package wal

import (
	"testing"
	"time"
)

func TestTimes(t *testing.T) {
	var times Times
	const ms = time.Millisecond
	for _, took := range []time.Duration{-1, 0, 999 * time.Microsecond, ms, 3 * ms, 4 * ms, time.Hour} {
		times.Note(took)
	}
	want := [TimeClasses]uint64{0: 3, 1: 1, 2: 1, 3: 1, 15: 1}
	if n := times.Noted(); n.Counts != want || n.Sum != time.Hour+8*time.Millisecond+999*time.Microsecond {
		t.Errorf("%+v", n)
	}
}
