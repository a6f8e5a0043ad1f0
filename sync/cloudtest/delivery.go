package cloudtest

import (
	"time"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// pack is a group of downlinks that were sent and wait for their acknowledgements
// (CONTRACT.md 6.1). Guarded by session.mu.
type pack struct {
	order   []*sent
	pending map[int32]*sent
	done    chan struct{} // closed by the acknowledgement that completes the pack
}

type sent struct {
	id  int32
	msg *proto.DownlinkMsg
}

// packEnd is how a pack ended.
type packEnd int

const (
	packDone        packEnd = iota // acknowledged, or given up
	packInterrupted                // a sync was requested
	packOver                       // the stream ended
)

// deliver is the delivery goroutine of a session. It looks for events and RPC every second and runs
// syncs at once.
func (s *session) deliver(l *link, polls bool) {
	defer s.cloud.work.Done()
	t := time.NewTimer(pollInterval)
	defer t.Stop()
	for {
		select {
		case <-s.done:
			return
		case full := <-s.syncs:
			if !s.runSync(full) {
				return
			}
			continue // the next look for events stays where it was
		case <-s.wake:
		case <-t.C:
		}
		if polls && !s.check(l) {
			return
		}
		t.Reset(pollInterval)
	}
}

// runSync sends the sequence of a sync (CONTRACT.md 3.2); each page is acknowledged before the
// next. It returns false if the stream ended.
func (s *session) runSync(full bool) bool {
	c := s.cloud
	c.seen.syncs.Add(1)
	c.saveState(s.edge.ID, boolKV("syncInProgress", true))
	defer c.notify()
	for _, step := range c.tenant.Steps(s.edge.ID, full) {
		for len(step) > 0 {
			n := min(pageSize, len(step))
			if s.sendPack(step[:n], false) == packOver {
				return false
			}
			step = step[n:]
		}
	}
	if !s.lengthen() {
		return false
	}
	if c.faults.isSyncEndless() {
		return true // the flag stays: no events, no RPC until a bare SYNC or the next session (CONTRACT.md 3.6)
	}
	if s.sendPack([]*proto.DownlinkMsg{{SyncCompletedMsg: &proto.SyncCompletedMsg{}}}, false) == packOver {
		return false
	}
	s.mu.Lock()
	s.syncing = false
	s.mu.Unlock()
	c.seen.synced.Add(1)
	c.saveState(s.edge.ID, boolKV("syncInProgress", false))
	return true
}

// check sends the RPC and events that wait: RPC first, and only between packs (CONTRACT.md 6.1). It
// returns false if the stream ended.
func (s *session) check(l *link) bool {
	for {
		s.mu.Lock()
		syncing := s.syncing
		s.mu.Unlock()
		if syncing || s.cloud.faults.isSilent() || s.cloud.isStalled() {
			return true
		}
		if calls := s.cloud.takeRPC(s); len(calls) > 0 {
			end := s.sendPack(calls, true)
			s.cloud.rpcPackEnded(s)
			if end != packDone {
				return end != packOver
			}
			continue
		}
		page := s.cloud.page(l, s)
		if len(page) == 0 {
			return true
		}
		if end := s.sendPack(merge(page), true); end != packDone {
			return end != packOver
		}
		s.cloud.delivered(l, s, page)
	}
}

// sendPack sends the messages and waits until all are acknowledged. Right after the third sending
// it gives up those that are not.
func (s *session) sendPack(msgs []*proto.DownlinkMsg, interruptible bool) packEnd {
	p := &pack{pending: make(map[int32]*sent, len(msgs)), done: make(chan struct{})}
	for _, m := range msgs {
		m = stamped(m, time.Now())
		if s.maxSize > 0 && pb.Size(m) > s.maxSize {
			s.cloud.seen.tooBig.Add(1)
			continue // dropped for good (CONTRACT.md 2.5); a pack of nothing else ends at its next attempt
		}
		id := s.cloud.randomID()
		for p.pending[id] != nil {
			id = s.cloud.randomID()
		}
		x := &sent{id, m}
		p.order = append(p.order, x)
		p.pending[id] = x
	}
	s.mu.Lock()
	s.pack = p
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.pack = nil
		s.mu.Unlock()
	}()
	for attempt := 1; ; attempt++ {
		left := s.unanswered(p)
		if attempt > 1 && len(left) == 0 {
			return packDone
		}
		for _, x := range left {
			b, err := downlinkFrame(x.id, x.msg)
			if err != nil {
				s.cloud.log.Error("downlink left out", "error", err)
				continue
			}
			s.cloud.seen.downlinks.Add(1)
			if attempt > 1 {
				s.cloud.seen.resent.Add(1)
			}
			s.post(b)
		}
		if attempt == sendAttempts {
			s.cloud.seen.givenUp.Add(uint64(len(left)))
			return packDone
		}
		if end, ended := s.await(p, interruptible); ended {
			return end
		}
	}
}

// stamped gives attributes without a time of their own the time of their conversion, which is now
// (CONTRACT.md 7.3).
func stamped(m *proto.DownlinkMsg, now time.Time) *proto.DownlinkMsg {
	for i, d := range m.EntityData {
		if d.AttributeTs == nil && (d.AttributesUpdatedMsg != nil || d.PostAttributesMsg != nil) {
			m = pb.Clone(m).(*proto.DownlinkMsg)
			for _, d := range m.EntityData[i:] {
				if d.AttributeTs == nil && (d.AttributesUpdatedMsg != nil || d.PostAttributesMsg != nil) {
					d.AttributeTs = ptr(now.UnixMilli())
				}
			}
			return m
		}
	}
	return m
}

// await waits for the pack's end. It returns false when it is time for the next attempt.
func (s *session) await(p *pack, interruptible bool) (packEnd, bool) {
	t := time.NewTimer(resendAfter)
	defer t.Stop()
	syncs := s.syncs
	if !interruptible {
		syncs = nil
	}
	select {
	case <-p.done:
		return packDone, true
	case <-s.done:
		return packOver, true
	case full := <-syncs:
		// The sync goes first; the interrupted pack comes again behind it. Only the delivery
		// goroutine reads the channel, so the request is put back for deliver. There is room,
		// unless a bare SYNC and another request came in between.
		select {
		case s.syncs <- full:
		default:
		}
		return packInterrupted, true
	case <-t.C:
		return 0, false
	}
}

func (s *session) unanswered(p *pack) []*sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := make([]*sent, 0, len(p.pending))
	for _, x := range p.order {
		if p.pending[x.id] != nil {
			left = append(left, x)
		}
	}
	return left
}

// answered takes the answer to a downlink. An answer with success=false removes the downlink too,
// unless it has entityData (CONTRACT.md 6.1). Unknown ids are ignored.
func (s *session) answered(r *proto.DownlinkResponseMsg) {
	s.cloud.seen.downlinkAcks.Add(1)
	defer s.cloud.notify()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pack == nil {
		return
	}
	x := s.pack.pending[r.DownlinkMsgId]
	if x == nil || (!r.Success && len(x.msg.EntityData) > 0) {
		return
	}
	delete(s.pack.pending, r.DownlinkMsgId)
	if len(s.pack.pending) == 0 {
		close(s.pack.done)
	}
}
