package cloudtest

import (
	"time"

	"edgesync/proto"
)

// How often an answer is overtaken, and by how much: 2 of 500 telemetry answers by one place, 101 of 500 by up to 82 places with
// attributes among them (CONTRACT.md 4.3).
const (
	reorderTelemetry = 0.004
	reorderMixed     = 0.2
	lateTelemetry    = time.Millisecond
	lateMixed        = 20 * time.Millisecond // at most
)

const rateLimitText = "Failed to process uplink message. Rate limit reached" // CONTRACT.md 4.5

// heldAck is an answer that others may overtake.
type heldAck struct {
	b     []byte
	timer *time.Timer
}

// uplink works off one UplinkMsg and answers it.
func (s *session) uplink(u *proto.UplinkMsg) {
	c := s.cloud
	events := countParts(u)
	s.counted(u.UplinkMsgId, events)
	c.hooks.uplink(s.edge.ID, u)
	defer c.notify()
	if c.faults.isRateLimited() {
		s.answer(u, uplinkAck(u.UplinkMsgId, false, rateLimitText), false)
		return
	}
	if text := c.faults.refuseUplink(u); text != "" {
		s.answer(u, uplinkAck(u.UplinkMsgId, false, text), false)
		return
	}
	if !s.work(events) {
		return
	}
	o := c.tenant.Process(s.edge.ID, u, time.Now())
	for _, m := range o.Events {
		c.enqueue(s.edge.ID, m, keepAlways)
	}
	for _, m := range o.Everywhere {
		c.enqueueOthers(s.edge.ID, m)
	}
	for _, r := range o.RPCReplies {
		c.rpc.reply(r)
	}
	for _, r := range o.RPCCalls {
		c.answerCall(s.edge.ID, r)
	}
	if text := c.faults.failUplink(u); text != "" {
		o.Success, o.Error = false, text
	}
	switch {
	case o.Never:
	case o.Success:
		s.answer(u, uplinkAck(u.UplinkMsgId, true, ""), o.Mixed)
	default:
		s.answer(u, uplinkAck(u.UplinkMsgId, false, o.Error), o.Mixed)
	}
}

// discard answers an uplink that was only counted.
func (s *session) discard(n counted) {
	c := s.cloud
	s.counted(n.uplinkID, n.events)
	defer c.notify()
	u := &proto.UplinkMsg{UplinkMsgId: n.uplinkID}
	if c.faults.isRateLimited() {
		s.answer(u, uplinkAck(n.uplinkID, false, rateLimitText), false)
		return
	}
	if text := c.faults.refuseUplink(u); text != "" {
		s.answer(u, uplinkAck(n.uplinkID, false, text), false)
		return
	}
	if s.work(n.events) {
		s.answer(u, uplinkAck(n.uplinkID, true, ""), false)
	}
}

// counted keeps the counters of an arrived uplink.
func (s *session) counted(id int32, events int) {
	c := s.cloud
	c.seen.uplinks.Add(1)
	c.seen.events.Add(uint64(events))
	if events == 0 {
		return // a probe may use an id as it likes
	}
	c.mu.Lock()
	again := c.linkOf(s.edge.ID).seen.add(id)
	c.mu.Unlock()
	if again {
		c.seen.duplicates.Add(1)
	}
}

// work spends the processing time of an uplink (see Cloud.SlowHandler); false if the stream ended meanwhile.
func (s *session) work(events int) bool {
	d := s.cloud.faults.cost(events)
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.done:
		return false
	}
}

// answer sends an acknowledgement, late at times so that others overtake it.
func (s *session) answer(u *proto.UplinkMsg, b []byte, mixed bool) {
	c := s.cloud
	delay, often := c.faults.ackDelay()
	late := lateTelemetry
	if mixed {
		often, late = max(often, reorderMixed), lateMixed
	}
	if c.faults.dropAck(u) {
		c.seen.droppedAcks.Add(1)
		return
	}
	if often > 0 && c.randomFloat() < often {
		if mixed {
			late = 1 + time.Duration(c.randomFloat()*float64(late))
		}
		delay += late
	}
	c.seen.acks.Add(1)
	if delay <= 0 || !s.hold(b, delay) {
		s.post(b)
	}
}

// hold keeps an answer back for d; false if too many are held already.
func (s *session) hold(b []byte, d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) >= maxHeld {
		return false
	}
	h := &heldAck{b: b}
	s.held[h] = struct{}{}
	h.timer = time.AfterFunc(d, func() {
		s.mu.Lock()
		_, ok := s.held[h]
		delete(s.held, h)
		s.mu.Unlock()
		if ok {
			s.post(h.b)
		}
	})
	return true
}

// releaseHeld posts what is held back, dropHeld forgets it.
func (s *session) releaseHeld() {
	for _, h := range s.takeHeld() {
		s.post(h.b)
	}
}

func (s *session) dropHeld() { s.takeHeld() }

func (s *session) takeHeld() []*heldAck {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*heldAck, 0, len(s.held))
	for h := range s.held {
		h.timer.Stop()
		all = append(all, h)
	}
	clear(s.held)
	return all
}

// idRing remembers the last uplink ids of an edge.
type idRing struct {
	ring []int32
	next int
	set  map[int32]int
}

// add remembers id and tells whether it was there already.
func (r *idRing) add(id int32) bool {
	if r.set == nil {
		r.set = make(map[int32]int, seenIDs)
	}
	again := r.set[id] > 0
	if len(r.ring) < seenIDs {
		r.ring = append(r.ring, id)
	} else {
		old := r.ring[r.next]
		if r.set[old]--; r.set[old] == 0 {
			delete(r.set, old)
		}
		r.ring[r.next] = id
		r.next = (r.next + 1) % seenIDs
	}
	r.set[id]++
	return again
}
