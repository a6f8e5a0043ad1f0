package cloudtest

import (
	"time"

	"edgesync/proto"
)

// How often an answer is overtaken, as measured (CONTRACT.md 4.3): of 500 answers to telemetry 2
// came one position late; with attributes among the uplinks 101 of 500 came up to 82 positions
// late.
const (
	reorderTelemetry = 0.004
	reorderMixed     = 0.2
	lateTelemetry    = time.Millisecond
	lateMixed        = 20 * time.Millisecond // at most
)

const rateLimitText = "Failed to process uplink message. Rate limit reached" // CONTRACT.md 4.5

// heldAck is an answer that is held back, so that others overtake it.
type heldAck struct {
	b     []byte
	timer *time.Timer
}

// uplink processes one UplinkMsg and answers it.
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
	if text := c.faults.refuseCreation(u, c.tenant); text != "" {
		s.answer(u, uplinkAck(u.UplinkMsgId, false, text), false)
		return
	}
	if !s.work(events) {
		return
	}
	if c.memory.take(s.edge.ID, u) {
		s.answer(u, uplinkAck(u.UplinkMsgId, true, ""), true)
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

// discard answers an uplink that is only counted (Options.Discard).
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

// counted adds an arrived uplink to the counters.
func (s *session) counted(id int32, events int) {
	c := s.cloud
	c.seen.uplinks.Add(1)
	c.seen.events.Add(uint64(events))
	if events == 0 {
		return // a probe may repeat an id
	}
	c.mu.Lock()
	again := c.linkOf(s.edge.ID).seen.add(id)
	c.mu.Unlock()
	if again {
		c.seen.duplicates.Add(1)
	}
}

// work spends the processing time of an uplink (see Cloud.SlowHandler). It returns false if the
// stream ended meanwhile.
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

// answer sends an acknowledgement, at random a little late, so that others overtake it.
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

// hold keeps an answer back for d. It returns false if maxHeld answers are held already.
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

// releaseHeld posts all answers that are held back.
func (s *session) releaseHeld() {
	for _, h := range s.takeHeld() {
		s.post(h.b)
	}
}

// dropHeld forgets all answers that are held back.
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

// add remembers id and reports whether the ring held it already.
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
