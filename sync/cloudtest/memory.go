package cloudtest

import (
	"slices"
	"sync"
	"time"

	"edgesync/proto"
)

// memory is what the cloud has acknowledged and not stored yet: the in-memory queue of a server
// (CONTRACT.md 13.6). Only telemetry and attributes pass through it.
type memory struct {
	tenant tenant

	mu      sync.Mutex
	delay   time.Duration // until what is acknowledged is stored; 0 = at once
	waiting []remembered  // in order of arrival
	lost    int
}

type remembered struct {
	edge proto.UUID
	m    *proto.UplinkMsg
	due  time.Time
}

// LoseAtStop makes the cloud acknowledge telemetry and attributes at once and store them so much
// later; Stop loses what is not stored then. 0 ends the fault for what comes from now on.
func (c *Cloud) LoseAtStop(d time.Duration) {
	c.memory.mu.Lock()
	defer c.memory.mu.Unlock()
	c.memory.delay = d
}

// Lost returns how many elements the cloud has acknowledged and lost so far.
func (c *Cloud) Lost() int {
	c.memory.mu.Lock()
	defer c.memory.mu.Unlock()
	return c.memory.lost
}

// take keeps an uplink that holds nothing but telemetry and attributes, while the fault is on.
func (q *memory) take(edge proto.UUID, m *proto.UplinkMsg) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.delay == 0 && len(q.waiting) == 0 || len(m.EntityData) == 0 || countParts(m) != len(m.EntityData) {
		return false
	}
	q.waiting = append(q.waiting, remembered{edge, m, time.Now().Add(q.delay)})
	time.AfterFunc(q.delay, q.store)
	return true
}

// store stores what is due.
func (q *memory) store() {
	q.mu.Lock()
	defer q.mu.Unlock()
	now, n := time.Now(), 0
	for ; n < len(q.waiting) && !q.waiting[n].due.After(now); n++ {
		q.tenant.Process(q.waiting[n].edge, q.waiting[n].m, now)
	}
	q.waiting = slices.Delete(q.waiting, 0, n)
}

// lose forgets what is not due.
func (q *memory) lose() {
	q.store()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.waiting {
		q.lost += len(r.m.EntityData)
	}
	q.waiting = nil
}
