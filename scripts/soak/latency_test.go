//go:build linux

package main

import (
	"testing"
	"time"
)

func TestHolds(t *testing.T) {
	h := &holds{}
	m := h.mark()
	if !h.undisturbed(m) {
		t.Error("disturbed by nothing")
	}
	h.hold()
	h.hold() // nothing changes
	during := h.mark()
	if h.undisturbed(m) || h.undisturbed(during) {
		t.Error("undisturbed while held")
	}
	h.release()
	h.release()
	if h.undisturbed(m) || h.undisturbed(during) || !h.undisturbed(h.mark()) {
		t.Error("wrong behind the release")
	}
}

func TestPercentiles(t *testing.T) {
	if a, b, c := percentiles(nil); a != 0 || b != 0 || c != 0 {
		t.Error(a, b, c)
	}
	var list []time.Duration
	for i := range 200 {
		list = append(list, time.Duration(200-i))
	}
	if a, b, c := percentiles(list); a != 101 || b != 199 || c != 200 {
		t.Error(a, b, c)
	}
	l := latencies{failed: map[string]int{}}
	l.add(9, true, "slow")
	l.add(1, true, "quick")
	l.add(20, false, "held")
	if got, worst := l.sinceLast(); len(got) != 2 || got[0] != 9 || got[1] != 1 || worst != "slow" || l.held != 1 {
		t.Error(got, worst, l.held)
	}
	l.add(3, true, "next")
	if got, worst := l.sinceLast(); len(got) != 1 || got[0] != 3 || worst != "next" {
		t.Error(got, worst)
	}
}
