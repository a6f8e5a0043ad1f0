package cloudtest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"edgesync/proto"
)

// Limits of a call over the REST API (CONTRACT.md 8.1).
const (
	rpcDefaultTimeout = 10 * time.Second
	rpcMinTimeout     = 5 * time.Second
	rpcCallerWaits    = 30 * time.Second
)

// RPCError is the failure of a call: the HTTP status of REST v2 and the error word.
type RPCError struct {
	Status int    // 504; 406: the answer is no JSON; 500: the caller waited 30 s; 404: unknown device
	Word   string // NO_ACTIVE_CONNECTION, TIMEOUT, …
}

func (e *RPCError) Error() string { return fmt.Sprintf("rpc: %d %s", e.Status, e.Word) }

// rpcErrorWords are the error words that the server knows (CONTRACT.md 8.1).
var rpcErrorWords = map[string]bool{"NOT_FOUND": true, "FORBIDDEN": true, "NO_ACTIVE_CONNECTION": true, "TIMEOUT": true, "INTERNAL": true}

// rpcCalls are the calls that wait for an answer.
type rpcCalls struct {
	mu      sync.Mutex
	nextID  map[proto.UUID]int32                      // per device, from 0
	pending map[rpcKey]struct{}                       // by device and request id
	callers map[proto.UUID]chan *proto.RpcResponseMsg // by request uuid
}

type rpcKey struct {
	device proto.UUID
	id     int32
}

func (r *rpcCalls) init() {
	r.nextID = map[proto.UUID]int32{}
	r.pending = map[rpcKey]struct{}{}
	r.callers = map[proto.UUID]chan *proto.RpcResponseMsg{}
}

// reply takes the answer of an edge. The request id alone removes the pending call; the caller is
// then found by the uuid. So an answer with the right id and a wrong uuid swallows the call
// (CONTRACT.md 8.1).
func (r *rpcCalls) reply(m *proto.DeviceRpcCallMsg) {
	if m.ResponseMsg == nil || m.ResponseMsg.Error != "" && !rpcErrorWords[m.ResponseMsg.Error] {
		return
	}
	key := rpcKey{proto.UUIDOf(m.DeviceIdMSB, m.DeviceIdLSB), m.RequestId}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.pending[key]; !ok {
		return
	}
	delete(r.pending, key)
	uuid := proto.UUIDOf(m.RequestUuidMSB, m.RequestUuidLSB)
	if ch := r.callers[uuid]; ch != nil {
		delete(r.callers, uuid)
		ch <- m.ResponseMsg // has room for one
	}
}

// CallRPC calls a device behind an edge as the REST API does (CONTRACT.md 8.1). params is JSON
// text. A timeout of 0 stands for 10 s and a shorter one than 5 s for 5 s; the caller waits at most
// 30 s, also for a one-way call. The error is an *RPCError, or that of ctx.
func (c *Cloud) CallRPC(ctx context.Context, device proto.UUID, method, params string, oneway bool, timeout time.Duration) (string, error) {
	if timeout == 0 {
		timeout = rpcDefaultTimeout
	}
	timeout = max(timeout, rpcMinTimeout)
	_, edge, ok := c.tenant.DeviceOf(device)
	if !ok {
		return "", &RPCError{Status: 404, Word: "NOT_FOUND"}
	}
	r := &c.rpc
	uuid, answer := c.randomUUID(), make(chan *proto.RpcResponseMsg, 1)
	r.mu.Lock()
	key := rpcKey{device, r.nextID[device]}
	r.nextID[device]++
	r.pending[key] = struct{}{}
	r.callers[uuid] = answer
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.callers, uuid)
		r.mu.Unlock()
	}()
	expire := time.AfterFunc(timeout, func() { // the call lives until it expires, even if nobody waits any more
		r.mu.Lock()
		delete(r.pending, key)
		r.mu.Unlock()
	})
	none, persisted, info := int32(0), false, `"null"`
	m := &proto.DeviceRpcCallMsg{
		RequestId: key.id, ExpirationTime: time.Now().Add(timeout).UnixMilli(), Oneway: oneway,
		RequestMsg: &proto.RpcRequestMsg{Method: method, Params: params},
		Persisted:  &persisted, Retries: &none, AdditionalInfo: &info,
	}
	m.DeviceIdMSB, m.DeviceIdLSB = proto.Halves(device)
	m.RequestUuidMSB, m.RequestUuidLSB = proto.Halves(uuid)
	c.queueRPC(edge, &proto.DownlinkMsg{DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{m}})

	t := time.NewTimer(min(timeout, rpcCallerWaits))
	defer t.Stop()
	select {
	case a := <-answer:
		expire.Stop()
		switch {
		case a.Error != "":
			return "", &RPCError{Status: 504, Word: a.Error}
		case a.Response != "" && !json.Valid([]byte(a.Response)):
			return "", &RPCError{Status: 406, Word: "NOT_ACCEPTABLE"}
		}
		return a.Response, nil
	case <-t.C:
		if timeout > rpcCallerWaits {
			return "", &RPCError{Status: 500, Word: "Request timeout"}
		}
		// Not TIMEOUT: the server does not know the device.
		return "", &RPCError{Status: 504, Word: "NO_ACTIVE_CONNECTION"}
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// queueRPC puts a call into the high-priority queue of the edge's session. An inactive edge gets
// nothing, not even later.
func (c *Cloud) queueRPC(edge proto.UUID, m *proto.DownlinkMsg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.links[edge]
	if l == nil || l.session == nil || len(l.session.rpcQueue) >= maxRPCQueue {
		return
	}
	l.session.rpcQueue = append(l.session.rpcQueue, m)
	c.stallIfPending(l)
}

// takeRPC begins an RPC pack.
func (c *Cloud) takeRPC(s *session) []*proto.DownlinkMsg {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(pageSize, len(s.rpcQueue))
	calls := s.rpcQueue[:n:n]
	s.rpcQueue = s.rpcQueue[n:]
	s.rpcPending = n > 0
	return calls
}

// rpcPackEnded ends an RPC pack, and the stall that the pack caused.
func (c *Cloud) rpcPackEnded(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.rpcPending = false
	if c.stalledBy == s {
		c.unstall()
	}
}

// AnswerRPC sets what the tenant's rule chain answers to a device's own calls (CONTRACT.md 8.2):
// nil means no answer, as in a tenant without an "RPC call reply" node, which is also the default.
func (c *Cloud) AnswerRPC(f func(*proto.DeviceRpcCallMsg) *proto.RpcResponseMsg) { c.hooks.setCall(f) }

// answerCall lets the rule chain answer a device's call. The answer takes the normal queue and
// always carries the ids of the local caller.
func (c *Cloud) answerCall(edge proto.UUID, call *proto.DeviceRpcCallMsg) {
	f := c.hooks.getCall()
	if f == nil || call.GetServiceId() == "" || call.GetSessionId() == "" {
		return
	}
	a := f(call)
	if a == nil {
		return
	}
	c.enqueue(edge, &proto.DownlinkMsg{DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{{
		DeviceIdMSB: call.DeviceIdMSB, DeviceIdLSB: call.DeviceIdLSB, RequestId: call.RequestId,
		ServiceId: call.ServiceId, SessionId: call.SessionId, ResponseMsg: a,
	}}}, keepAlways)
}
