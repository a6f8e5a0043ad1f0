package sync

import (
	"encoding/json"
	"errors"
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

// sent is an uplink of ours that the server has not acknowledged: an answer, a request, or a question of ask.go.
type sent struct {
	answer *answer
	at     time.Time
	asked  []question
}

// call takes a DeviceRpcCallMsg: a call for a device, or the answer to a device's own.
func (l *loop) call(c *proto.DeviceRpcCallMsg, now time.Time) {
	if c.GetRequestMsg() == nil {
		l.answered(c)
		return
	}
	t := l.calls
	expires := l.local(c.GetExpirationTime(), now)
	soon := now.Add(callMinimum) // long enough for a refusal to be of use
	device := proto.UUIDOf(c.GetDeviceIdMSB(), c.GetDeviceIdLSB())
	switch {
	case l.doors == nil:
		t.refuse(c, rpcNoConnection, soon)
		return
	case !l.reg.HasDevice(device):
		if len(l.strays) < maxStrays {
			l.strays = append(l.strays, stray{c, now.Add(strayWait)})
		} else {
			t.refuse(c, rpcNotFound, soon)
		}
		return
	case !expires.After(now):
		t.refuse(c, rpcTimedOut, soon)
		return
	}
	p, word := t.add(c, expires, c.GetPersisted(), false)
	switch {
	case word != "":
		t.refuse(c, word, soon)
		return
	case p == nil:
		return
	}
	if p.kept {
		if err := l.reg.KeepCall(c); err != nil {
			l.complain("a persistent call cannot be kept over a restart", err.Error(), now)
		}
	}
	if l.doors.Deliver(&p.Call) {
		t.mu.Lock()
		p.offered = true
		t.mu.Unlock()
	}
}

// stray is a call for a device that is not here. It may have overtaken the device's creation, which is still in the server's other queue
// (wire contract 6.1); or it is not ours at all, for servers of old sent calls to the wrong edge (8.1).
type stray struct {
	msg *proto.DeviceRpcCallMsg
	due time.Time // when it counts as not ours
}

const (
	strayWait = 3 * time.Second // the server looks for new events every second
	maxStrays = 32
)

// maybeStrays looks whether the devices of stray calls have come, and tells when that is to be done again at the latest.
func (l *loop) maybeStrays(now time.Time) (next time.Time) {
	list := l.strays
	l.strays = nil
	for _, s := range list {
		switch {
		case l.reg.HasDevice(proto.UUIDOf(s.msg.GetDeviceIdMSB(), s.msg.GetDeviceIdLSB())):
			l.call(s.msg, now)
		case !s.due.After(now):
			l.calls.refuse(s.msg, rpcNotFound, now.Add(callMinimum))
		default:
			l.strays = append(l.strays, s)
			if next.IsZero() {
				next = s.due // they stand in the order of their coming
			}
		}
	}
	return next
}

// serverClock is what is known of the server's clock. It is kept beside the monotonic one, so that our own may be set meanwhile: a board without a
// battery often learns the time only when it has been connected for a while.
type serverClock struct {
	millis int64     // what it said
	at     time.Time // when it came; zero: not known
	fresh  bool      // in this session
}

// now is the server's time in milliseconds.
func (c *serverClock) now(now time.Time) int64 { return c.millis + now.Sub(c.at).Milliseconds() }

// local turns a time of the server's clock into ours. While the server's clock is not known, a call gets at least the server's least timeout: a
// clock that is wrong must not refuse every call.
func (l *loop) local(serverMillis int64, now time.Time) time.Time {
	if !l.clock.at.IsZero() && serverMillis > 0 {
		return now.Add(time.Duration(serverMillis-l.clock.now(now)) * time.Millisecond)
	}
	return now.Add(max(callMinimum, time.Until(time.UnixMilli(serverMillis))))
}

// tellTime learns the server's clock from attributes of our own edge, which carry its time of sending when we asked for them
// (wire contract 7.3). They take a while to come, so of a session's the one that makes it latest is the best.
func (l *loop) tellTime(d *proto.DownlinkMsg, now time.Time) {
	e := l.reg.Edge()
	for _, m := range d.GetEntityData() {
		if m.AttributeTs == nil || m.GetEntityType() != "EDGE" || e == nil || m.GetEntityIdMSB() != e.EdgeIdMSB || m.GetEntityIdLSB() != e.EdgeIdLSB {
			continue
		}
		if !l.clock.fresh || *m.AttributeTs > l.clock.now(now) {
			if l.clock.at.IsZero() {
				defer l.redateCalls(now)
			}
			l.clock = serverClock{*m.AttributeTs, now, true}
			l.Clock.Tell(*m.AttributeTs)
		}
	}
}

// redateCalls gives the calls that came before the server's clock was known their right end: by our own it may be years away.
func (l *loop) redateCalls(now time.Time) {
	t := l.calls
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, list := range t.calls {
		for _, c := range list {
			if c.local != nil || c.notice { // by our own clock
				continue
			}
			c.Expires = l.local(c.msg.GetExpirationTime(), now)
		}
	}
}

// answered hands the cloud's answer to the device that asked.
func (l *loop) answered(c *proto.DeviceRpcCallMsg) {
	t := l.calls
	t.mu.Lock()
	r := t.requests[c.GetRequestId()]
	if r == nil || c.GetSessionId() != t.session || r.Device != proto.UUIDOf(c.GetDeviceIdMSB(), c.GetDeviceIdLSB()) {
		t.mu.Unlock()
		return // late, or of another life
	}
	delete(t.requests, r.id)
	t.mu.Unlock()
	m := c.GetResponseMsg()
	if word := m.GetError(); word != "" {
		r.Reply(nil, errors.New("the cloud answered "+firstLine(word)))
		return
	}
	response := m.GetResponse()
	if response == "" {
		response = "null"
	}
	r.Reply([]byte(response), nil)
}

// maybeCall ends what is overdue and sends what waits: past the backlog, at once (wire contract 8.1).
func (l *loop) maybeCall(now time.Time) {
	t := l.calls
	l.offerLocal(now)
	l.saveAnswers(now)
	strays := l.maybeStrays(now)
	late, next := t.expire(now)
	if next.IsZero() || !strays.IsZero() && strays.Before(next) {
		next = strays
	}
	for _, r := range late {
		r.Reply(nil, ErrTimeout)
	}
	l.callsDue = next
	if now.Before(l.callsWait) {
		if next.IsZero() || l.callsWait.Before(next) {
			l.callsDue = l.callsWait
		}
		return
	}
	for l.sess != nil && len(l.sess.out) < outHigh {
		t.mu.Lock()
		var a *answer
		var r *pendingRequest
		switch {
		case len(t.answers) > 0 && t.answers[0].unsaved: // it came this moment, and has woken the loop
			t.mu.Unlock()
			return
		case len(t.answers) > 0:
			a = t.answers[0]
			t.answers = slices.Delete(t.answers, 0, 1)
			t.bytes -= len(a.fragment)
		case len(t.unsent) > 0:
			r = t.requests[t.unsent[0]] // nil if it is overdue already
			t.unsent = slices.Delete(t.unsent, 0, 1)
		default:
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		switch {
		case a != nil && a.expires.After(now):
			l.sendDirect(a.fragment, sent{answer: a, at: now})
		case a != nil:
			l.dropKept(a, now)
		case r != nil:
			l.sendDirect(proto.AppendRPCRequest(nil, r.Device, r.id, serviceID, t.session, r.Method, r.Params), sent{at: now})
		}
	}
}

// sendDirect sends fragments as an uplink of their own, beside the batches; false if they are too large.
func (l *loop) sendDirect(fragments []byte, s sent) bool {
	if proto.RequestSize(len(fragments), 1<<31-1) > l.sess.serverMax {
		l.complain("a message is larger than the cloud takes and is not sent", "", s.at, "bytes", len(fragments))
		return false
	}
	id := l.nextID()
	l.write(proto.FrameUplink(append(make([]byte, proto.UplinkHeader, proto.UplinkHeader+len(fragments)), fragments...), id))
	l.direct[id] = s
	return true
}

// directAnswer handles the acknowledgement of such an uplink; false if it is none.
func (l *loop) directAnswer(r *proto.UplinkResponseMsg, now time.Time) bool {
	s, ok := l.direct[r.GetUplinkMsgId()]
	if !ok {
		return false
	}
	delete(l.direct, r.GetUplinkMsgId())
	if r.GetSuccess() {
		l.progress()
	} else {
		text := redact(r.GetErrorMsg(), l.secret())
		switch judge(text) {
		case refusedEdgeGone:
			l.ended(errEdgeGone, now)
			return true
		case refusedLimit: // nothing is wrong with it
			l.again(s, now)
			return true
		}
		l.complain("the cloud refuses an answer or a question", firstLine(text), now)
	}
	if s.answer != nil {
		l.dropKept(s.answer, now)
	}
	if s.asked != nil {
		l.askAcknowledged(now)
	}
	return true
}

// again puts back what the cloud did not take because it was too fast: answers go on, a little later, while they are of use; questions wait longer.
func (l *loop) again(s sent, now time.Time) {
	if s.answer != nil {
		l.calls.mu.Lock()
		l.calls.queue(s.answer)
		l.calls.mu.Unlock()
		l.callsWait = now.Add(answerPause)
	}
	if s.asked != nil {
		l.questions = append(l.questions, s.asked...)
		l.asking, l.askDue = false, now.Add(pauseMax)
	}
}

// answerPause is the wait before an answer is tried again after a rate limit answer: its caller waits ten seconds in all.
const answerPause = 2 * time.Second

// callsOffline is for the end of a session: answers that were not acknowledged go again, once there is a link; the server ignores the second. A
// device's own call does not go again: it might be carried out twice.
func (l *loop) callsOffline() {
	t := l.calls
	t.mu.Lock()
	defer t.mu.Unlock()
	t.online = false
	for _, s := range l.direct {
		if s.answer != nil {
			t.queue(s.answer)
		}
	}
	clear(l.direct)
}

func (l *loop) callsOnline() {
	t := l.calls
	t.mu.Lock()
	defer t.mu.Unlock()
	t.online = true
	t.unsent = t.unsent[:0]
}

// oldestDirect is when the oldest of them was sent; zero if there is none.
func (l *loop) oldestDirect() (t time.Time) {
	for _, s := range l.direct {
		if t.IsZero() || s.at.Before(t) {
			t = s.at
		}
	}
	return t
}
