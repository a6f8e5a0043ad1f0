//go:build linux

package main

import (
	"slices"
	"sync"
	"time"
)

// holds says when the agent cannot answer because the soak itself has stopped or killed it: from
// hold to release. Safe for concurrent use.
type holds struct {
	mu sync.Mutex
	n  int // of begins and ends so far; odd while one lasts
}

func (h *holds) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n%2 == 0 {
		h.n++
	}
}

func (h *holds) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n%2 == 1 {
		h.n++
	}
}

// mark is the state at the begin of something, for undisturbed.
func (h *holds) mark() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n
}

// undisturbed reports whether the agent has been up ever since mark returned m.
func (h *holds) undisturbed(m int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return m%2 == 0 && h.n == m
}

// latencies are how long honest posts took, from the first attempt to the acknowledgement. A post
// during which the soak held the agent is counted and left out. Safe for concurrent use.
type latencies struct {
	mu     sync.Mutex
	all    []time.Duration
	worst  time.Duration // of the present attack
	of     string        // what took that long
	held   int
	since  int            // index of the first one of the present attack
	failed map[string]int // attempts that were repeated while the agent was up, by what they met
}

// add notes that what took d.
func (l *latencies) add(d time.Duration, undisturbed bool, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !undisturbed {
		l.held++
		return
	}
	l.all = append(l.all, d)
	if d > l.worst {
		l.worst, l.of = d, what
	}
}

func (l *latencies) fail(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed[what]++
}

// sinceLast returns what was added since it was called last, and what took the longest.
func (l *latencies) sinceLast() (part []time.Duration, worst string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	part, worst = slices.Clone(l.all[l.since:]), l.of
	l.since, l.worst, l.of = len(l.all), 0, ""
	return part, worst
}

// percentiles sorts the list and returns its 50th and 99th percentile and the longest.
func percentiles(list []time.Duration) (p50, p99, longest time.Duration) {
	if len(list) == 0 {
		return 0, 0, 0
	}
	slices.Sort(list)
	at := func(p int) time.Duration { return list[min(len(list)-1, len(list)*p/100)] }
	return at(50), at(99), list[len(list)-1]
}

// gate stops honest traffic while it is shut. Safe for concurrent use.
type gate struct {
	mu   sync.Mutex
	shut bool
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
}

func (g *gate) open() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.shut
}
