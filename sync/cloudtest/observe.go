package cloudtest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// counters behind [Stats].
type counters struct {
	uplinks, events, bytes, wireBytes, duplicates, acks, droppedAcks atomic.Uint64
	connects, accepted, refusedConnects, oversized                   atomic.Uint64
	downlinks, downlinkAcks, resent, givenUp, tooBig, syncs, synced  atomic.Uint64
}

// Stats are totals since New.
type Stats struct {
	Uplinks          uint64 `json:"uplinks"`           // UplinkMsgs that arrived, probes too
	Events           uint64 `json:"events"`            // elements of their parts
	Bytes            uint64 `json:"bytes"`             // of RequestMsgs, inflated
	WireBytes        uint64 `json:"wire_bytes"`        // of gRPC messages as received, without HTTP/2 framing
	DuplicateBatches uint64 `json:"duplicate_batches"` // UplinkMsgs whose id was among the edge's last 4096
	Acks             uint64 `json:"acks"`              // answers to uplinks
	DroppedAcks      uint64 `json:"dropped_acks"`
	Connects         uint64 `json:"connects"` // CONNECTs that were examined
	Accepted         uint64 `json:"accepted"`
	Refused          uint64 `json:"refused"`
	Oversized        uint64 `json:"oversized"`
	Downlinks        uint64 `json:"downlinks"` // sent, resends too
	DownlinkAcks     uint64 `json:"downlink_acks"`
	Resent           uint64 `json:"resent"`
	GivenUp          uint64 `json:"given_up"`        // discarded after the third sending
	TooBig           uint64 `json:"too_big"`         // above what the edge announced
	Syncs            uint64 `json:"syncs"`           // begun
	SyncsCompleted   uint64 `json:"syncs_completed"` // acknowledged to the end
	Sessions         int    `json:"sessions"`        // streams now, connected or not
}

// Stats returns the counters as they are now.
func (c *Cloud) Stats() Stats {
	n := &c.seen
	return Stats{
		Uplinks: n.uplinks.Load(), Events: n.events.Load(), Bytes: n.bytes.Load(), WireBytes: n.wireBytes.Load(),
		DuplicateBatches: n.duplicates.Load(), Acks: n.acks.Load(), DroppedAcks: n.droppedAcks.Load(),
		Connects: n.connects.Load(), Accepted: n.accepted.Load(), Refused: n.refusedConnects.Load(), Oversized: n.oversized.Load(),
		Downlinks: n.downlinks.Load(), DownlinkAcks: n.downlinkAcks.Load(), Resent: n.resent.Load(), GivenUp: n.givenUp.Load(),
		TooBig: n.tooBig.Load(), Syncs: n.syncs.Load(), SyncsCompleted: n.synced.Load(), Sessions: c.Sessions(),
	}
}

// Connected reports whether the edge has an accepted session: the attribute "active" of
// CONTRACT.md 2.7.
func (c *Cloud) Connected(edge proto.UUID) bool { return c.sessionOf(edge) != nil }

// Sessions returns the number of open streams, accepted or not.
func (c *Cloud) Sessions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sessions)
}

// Pending returns the number of events that wait for an edge, including those sent and not
// acknowledged.
func (c *Cloud) Pending(edge proto.UUID) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.links[edge]; l != nil {
		return len(l.queue)
	}
	return 0
}

// LastConnect returns a copy of the last ConnectRequestMsg, accepted or refused; nil before the
// first.
func (c *Cloud) LastConnect() *proto.ConnectRequestMsg {
	c.hooks.mu.Lock()
	defer c.hooks.mu.Unlock()
	if c.hooks.last == nil {
		return nil
	}
	return pb.Clone(c.hooks.last).(*proto.ConnectRequestMsg)
}

// OnUplink sets a function that is called with every uplink before the uplink is processed, in the
// order of arrival on its stream. The function must neither change the message nor block for long,
// because the stream waits for it. nil removes the function.
func (c *Cloud) OnUplink(f func(edge proto.UUID, u *proto.UplinkMsg)) {
	c.hooks.mu.Lock()
	defer c.hooks.mu.Unlock()
	c.hooks.onUplink = f
}

// WaitFor returns nil as soon as cond holds, or the error of ctx. It evaluates cond again after
// everything that the cloud notices: sessions, uplinks, answers to downlinks, syncs. cond may call
// any method of the cloud and its tenant.
func (c *Cloud) WaitFor(ctx context.Context, cond func() bool) error {
	h := &c.hooks
	h.waiters.Add(1)
	defer h.waiters.Add(-1)
	for {
		h.mu.Lock()
		if h.changed == nil {
			h.changed = make(chan struct{})
		}
		changed := h.changed
		h.mu.Unlock()
		if cond() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("cloudtest: waiting: %w", ctx.Err())
		}
	}
}

// hooks are the functions and channels with which tests watch the cloud.
type hooks struct {
	waiters atomic.Int64

	mu       sync.Mutex
	changed  chan struct{} // closed by the next change; nil = nobody has asked since the last
	last     *proto.ConnectRequestMsg
	onUplink func(proto.UUID, *proto.UplinkMsg)
	onCall   func(*proto.DeviceRpcCallMsg) *proto.RpcResponseMsg
}

// notify makes the callers of WaitFor evaluate their conditions again. It costs nothing while there
// are none.
func (c *Cloud) notify() {
	h := &c.hooks
	if h.waiters.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

func (h *hooks) connected(r *proto.ConnectRequestMsg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = r
}

func (h *hooks) uplink(edge proto.UUID, u *proto.UplinkMsg) {
	h.mu.Lock()
	f := h.onUplink
	h.mu.Unlock()
	if f != nil {
		f(edge, u)
	}
}

func (h *hooks) setCall(f func(*proto.DeviceRpcCallMsg) *proto.RpcResponseMsg) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onCall = f
}

func (h *hooks) getCall() func(*proto.DeviceRpcCallMsg) *proto.RpcResponseMsg {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.onCall
}
