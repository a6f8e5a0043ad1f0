package sync

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	gosync "sync"
	"time"

	"edgesync/proto"
)

// Bounds of RPC.
const (
	maxCallsOfDevice = 16
	maxCalls         = 1024    // calls of the cloud that wait for devices
	maxRequests      = 256     // calls of devices that wait for the cloud
	maxAnswers       = 256     // answers that wait for the link
	maxResponse      = 1 << 20 // bytes of a device's answer
	answered         = 256     // calls remembered after their end, so that a message that comes twice is not carried out twice
	requestTimeout   = 60 * time.Second
	callMargin       = 250 * time.Millisecond // before the server gives up, so that its caller hears the reason
	callMinimum      = 5 * time.Second        // the server's least timeout: what a call gets while its clock is not known
	serviceID        = "edgesync"             // comes back with the answer to a device's call (wire contract 8.2)
)

// The error words; any other text leaves the caller without an answer (wire contract 8.1). FORBIDDEN is no answer of ours.
const (
	rpcNotFound     = "NOT_FOUND"
	rpcNoConnection = "NO_ACTIVE_CONNECTION"
	rpcTimedOut     = "TIMEOUT"
	rpcInternal     = "INTERNAL"
)

// callTable holds what RPC is under way. Doors and loop share it.
type callTable struct {
	mu       gosync.Mutex
	wake     chan struct{} // to the loop, of size 1
	online   bool
	session  string // our end of devices' calls, of this process
	next     int32
	calls    map[proto.UUID][]*pendingCall // by device, oldest first
	count    int
	news     []*pendingCall       // calls made here that no door has been offered yet
	done     [answered]proto.UUID // request ids of calls that are over, a ring
	doneAt   int
	answers  []*answer                 // to be sent
	bytes    int                       // of them
	over     []*proto.DeviceRpcCallMsg // kept calls that are over without an answer to be sent
	echoes   []echo
	requests map[int32]*pendingRequest
	unsent   []int32 // requests to be sent
}

// pendingCall is a call of the cloud without an answer.
type pendingCall struct {
	Call
	msg     *proto.DeviceRpcCallMsg
	request proto.UUID
	offered bool           // somebody was there to take it
	kept    bool           // in the registry, over a restart
	local   chan<- callEnd // whoever here waits for the answer, of size 1; nil: the cloud does, or nobody
	notice  bool           // nobody does
}

// answer is on its way to the cloud.
type answer struct {
	fragment []byte
	expires  time.Time               // not worth sending any more
	kept     *proto.DeviceRpcCallMsg // to be dropped from the registry
	unsaved  bool                    // not in the registry yet, and is not sent before it is
}

// pendingRequest is a call of a device without an answer.
type pendingRequest struct {
	*Request
	id      int32
	expires time.Time
}

func newCallTable() *callTable {
	return &callTable{
		wake: make(chan struct{}, 1), calls: make(map[proto.UUID][]*pendingCall), requests: make(map[int32]*pendingRequest),
		// Not from 0: a late answer to a call of an earlier life must not meet one of this life.
		next: rand.Int32N(1 << 24), session: proto.FormatUUID(proto.UUIDOf(rand.Int64(), rand.Int64())),
	}
}

func (t *callTable) nudge() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *callTable) id() int32 {
	if t.next++; t.next < 0 {
		t.next = 0
	}
	return t.next
}

// Pending implements Calls.
func (a *Agent) Pending(device proto.UUID) []Call {
	t := a.calls
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	var list []Call
	for _, c := range t.calls[device] {
		if c.Expires.After(now) {
			c.offered = true
			list = append(list, c.Call)
		}
	}
	return list
}

// Delivered implements Calls.
func (a *Agent) Delivered(device proto.UUID, id int32) {
	t := a.calls
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.find(device, id); c != nil {
		c.offered = true
		if c.OneWay {
			t.finish(c, "{}", "")
		}
	}
}

// Answer implements Calls.
func (a *Agent) Answer(device proto.UUID, id int32, response string) bool {
	response = strings.ToValidUTF8(response, "\uFFFD") // one bad byte would end the session (wire contract 1.1)
	switch {
	case response == "":
		response = "{}"
	case len(response) > maxResponse:
	case !json.Valid([]byte(response)): // the caller would get an error instead of the device's words (wire contract 8.1)
		response = string(proto.AppendJSONString(nil, response))
	}
	t := a.calls
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.find(device, id)
	if c == nil {
		return false
	}
	if len(response) > maxResponse {
		t.finish(c, "", rpcInternal)
	} else {
		t.finish(c, response, "")
	}
	return true
}

// Request implements Calls.
func (a *Agent) Request(r *Request) error {
	t := a.calls
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.online:
		return ErrOffline
	case len(t.requests) >= maxRequests:
		return ErrTooMany
	}
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = requestTimeout
	}
	q := *r
	q.Method, q.Params = strings.ToValidUTF8(r.Method, "\uFFFD"), strings.ToValidUTF8(r.Params, "\uFFFD")
	p := &pendingRequest{&q, t.id(), time.Now().Add(timeout)}
	t.requests[p.id] = p
	t.unsent = append(t.unsent, p.id)
	t.nudge()
	return nil
}

func (t *callTable) find(device proto.UUID, id int32) *pendingCall {
	for _, c := range t.calls[device] {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// finish takes a call out and queues its answer. The caller holds mu.
func (t *callTable) finish(c *pendingCall, response, word string) {
	list := slices.DeleteFunc(t.calls[c.Device], func(o *pendingCall) bool { return o == c })
	if t.calls[c.Device] = list; len(list) == 0 {
		delete(t.calls, c.Device)
	}
	t.count--
	switch {
	case c.local != nil:
		c.local <- callEnd{response, word} // it is the only one
		return
	case c.notice:
		t.over = append(t.over, c.msg)
		t.nudge()
		return
	}
	t.ended(c.request)
	a := &answer{expires: c.Expires}
	if c.kept {
		a.kept = c.msg
		if word != rpcNoConnection && word != rpcTimedOut { // else nobody was called, and it is over in a moment
			a.kept.ResponseMsg = &proto.RpcResponseMsg{Response: response, Error: word}
			a.unsaved = true
		}
	}
	a.fragment = proto.AppendRPCAnswer(nil, c.msg, response, word)
	t.queue(a)
}

// ended notes that a call is over.
func (t *callTable) ended(request proto.UUID) {
	t.done[t.doneAt] = request
	t.doneAt = (t.doneAt + 1) % answered
}

// queue adds an answer to be sent; the oldest gives way.
func (t *callTable) queue(a *answer) {
	t.answers = append(t.answers, a)
	t.bytes += len(a.fragment)
	for len(t.answers) > maxAnswers || t.bytes > 2*maxResponse {
		t.bytes -= len(t.answers[0].fragment)
		if kept := t.answers[0].kept; kept != nil {
			t.over = append(t.over, kept)
		}
		t.answers = slices.Delete(t.answers, 0, 1)
	}
	t.nudge()
}

// refuse answers a call that is not taken.
func (t *callTable) refuse(c *proto.DeviceRpcCallMsg, word string, expires time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue(&answer{fragment: proto.AppendRPCAnswer(nil, c, "", word), expires: expires})
}

// add takes a new call of the cloud, or a notice of ours. A word tells why it is refused; nil and no word, that it is known already.
func (t *callTable) add(c *proto.DeviceRpcCallMsg, expires time.Time, kept, ours bool) (*pendingCall, string) {
	p := &pendingCall{
		Call: Call{
			Device: proto.UUIDOf(c.GetDeviceIdMSB(), c.GetDeviceIdLSB()), Method: c.GetRequestMsg().GetMethod(), Params: c.GetRequestMsg().GetParams(),
			OneWay: c.GetOneway(), Expires: expires,
		},
		msg: withoutBody(c), request: proto.UUIDOf(c.GetRequestUuidMSB(), c.GetRequestUuidLSB()), kept: kept, notice: ours,
	}
	if ours {
		p.msg = c // is kept as it is
	}
	switch {
	case p.Params == "":
		p.Params = "null"
	case !json.Valid([]byte(p.Params)):
		p.Params = string(proto.AppendJSONString(nil, p.Params))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.request != (proto.UUID{}) && slices.Contains(t.done[:], p.request) || slices.ContainsFunc(t.calls[p.Device], func(o *pendingCall) bool { return o.request == p.request }) {
		return nil, "" // sent again, because the acknowledgement was lost
	}
	if t.told(p, time.Now()) {
		if !ours {
			t.ended(p.request)
			t.queue(&answer{fragment: proto.AppendRPCAnswer(nil, p.msg, "{}", ""), expires: expires})
		}
		return nil, ""
	}
	most, n := maxCallsOfDevice, 0
	if ours {
		most = maxNotices
	}
	for _, o := range t.calls[p.Device] {
		if o.notice == ours {
			n++
		}
	}
	if t.count >= maxCalls || n >= most {
		return nil, rpcInternal
	}
	p.ID = t.id()
	t.calls[p.Device] = append(t.calls[p.Device], p)
	t.count++
	if ours {
		t.news = append(t.news, p)
		t.nudge()
	}
	return p, ""
}

// withoutBody is what of a call must be echoed.
func withoutBody(c *proto.DeviceRpcCallMsg) *proto.DeviceRpcCallMsg {
	return &proto.DeviceRpcCallMsg{
		DeviceIdMSB: c.DeviceIdMSB, DeviceIdLSB: c.DeviceIdLSB, RequestUuidMSB: c.RequestUuidMSB, RequestUuidLSB: c.RequestUuidLSB,
		RequestId: c.RequestId, ExpirationTime: c.ExpirationTime, Oneway: c.Oneway,
	}
}

// expire ends what waited too long, and tells when the next is due (zero: nothing waits).
func (t *callTable) expire(now time.Time) (late []*pendingRequest, next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sooner := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	var over []*pendingCall
	for _, list := range t.calls {
		for _, c := range list {
			if due := c.Expires.Add(-callMargin); due.After(now) {
				sooner(due)
			} else {
				over = append(over, c)
			}
		}
	}
	for _, c := range over {
		word := rpcNoConnection
		if c.offered {
			word = rpcTimedOut
		}
		t.finish(c, "", word)
	}
	for id, r := range t.requests {
		if r.expires.After(now) {
			sooner(r.expires)
			continue
		}
		delete(t.requests, id)
		late = append(late, r)
	}
	return late, next
}
