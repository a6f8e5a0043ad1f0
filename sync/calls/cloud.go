package calls

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"edgesync/proto"
)

// Online says that a session has begun: devices may call the cloud.
func (t *Table) Online() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.online = true
	t.unsent = t.unsent[:0]
}

// Offline says that the session has ended.
func (t *Table) Offline() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.online = false
}

// Take takes a call of the cloud that ends at expires, by this machine's clock. refused is the word
// to answer it with if there is no room for it; a nil call without a word is one that is known
// already, or that says what the device has heard by a notice.
func (t *Table) Take(c *proto.DeviceRpcCallMsg, expires time.Time) (call *Call, refused string) {
	p := newPending(c, expires)
	p.msg, p.kept = withoutBody(c), c.GetPersisted()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.take(p)
}

func newPending(c *proto.DeviceRpcCallMsg, expires time.Time) *pending {
	params := c.GetRequestMsg().GetParams()
	if len(params) <= MaxText { // no longer one is taken
		params = paramsJSON(params)
	}
	retries, info := "", c.GetAdditionalInfo()
	if c.Retries != nil {
		retries = strconv.Itoa(int(c.GetRetries()))
	}
	if len(info) > maxInfo {
		info = ""
	}
	return &pending{
		Call: Call{
			Device: proto.UUIDOf(c.GetDeviceIdMSB(), c.GetDeviceIdLSB()), Method: c.GetRequestMsg().GetMethod(),
			Params: params, OneWay: c.GetOneway(), Expires: expires,
			Request:   proto.UUIDOf(c.GetRequestUuidMSB(), c.GetRequestUuidLSB()),
			Persisted: c.GetPersisted(), Retries: retries, Info: info, Made: time.Now(),
		},
		request: proto.UUIDOf(c.GetRequestUuidMSB(), c.GetRequestUuidLSB()),
	}
}

// take takes a call of the cloud or a notice. The caller holds mu.
func (t *Table) take(p *pending) (call *Call, refused string) {
	same := func(o *pending) bool { return o.request == p.request }
	if p.request != (proto.UUID{}) && slices.Contains(t.over[:], p.request) || slices.ContainsFunc(t.calls[p.Device], same) {
		return nil, "" // sent again, because the acknowledgement was lost
	}
	if t.heard(p, time.Now()) {
		if !p.notice {
			t.remember(p.request)
			t.queue(&answer{msg: p.msg, fragment: proto.AppendRPCAnswer(nil, p.msg, "{}", ""), expires: p.Expires})
		}
		return nil, ""
	}
	most, n := MaxOfDevice, 0
	if p.notice {
		most = MaxNotices
	}
	for _, o := range t.calls[p.Device] {
		if o.notice == p.notice {
			n++
		}
	}
	if n >= most || !t.fits(p) {
		return nil, Internal
	}
	t.add(p)
	if p.notice {
		t.offer(p)
	}
	return &p.Call, ""
}

// Reached says that somebody who takes the device's calls is there.
func (t *Table) Reached(c *Call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.find(c.Device, c.ID); p != nil {
		p.offered = true
	}
}

// Refuse answers a call that is not taken.
func (t *Table) Refuse(c *proto.DeviceRpcCallMsg, word string, expires time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tellRefused(c, word)
	a := &answer{msg: withoutBody(c), expires: expires}
	a.fill("", word)
	t.queue(a)
}

// Recall takes back a kept call of an earlier life, a notice, or what a device answered. Where
// there is no room a call is answered with an error, and a notice is dropped: nothing else would
// take either out of what is kept.
func (t *Table) Recall(c *proto.DeviceRpcCallMsg, expires time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := c.GetResponseMsg(); m != nil {
		t.remember(proto.UUIDOf(c.GetRequestUuidMSB(), c.GetRequestUuidLSB()))
		fragment := proto.AppendRPCAnswer(nil, c, m.GetResponse(), m.GetError())
		t.queue(&answer{msg: c, fragment: fragment, expires: expires, kept: true, word: m.GetError()})
		return
	}
	p := newPending(c, expires)
	p.msg, p.kept = withoutBody(c), true
	if p.notice = c.GetServiceId() == serviceID; p.notice {
		p.msg = c
	}
	switch _, refused := t.take(p); {
	case refused == "":
	case p.notice:
		t.drop(p.msg)
	default:
		t.tellRefused(c, refused)
		t.remember(p.request)
		a := &answer{msg: p.msg, expires: expires, kept: true}
		a.fill("", refused)
		t.queue(a)
	}
}

// Redate gives calls of the cloud another end, which local computes from the server's: they came
// before the server's clock was known, and by ours it may be years away.
func (t *Table) Redate(local func(serverMillis int64) time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, list := range t.calls {
		for _, c := range list {
			if c.local == nil && !c.notice { // else by our own clock
				c.Expires = local(c.msg.GetExpirationTime())
			}
		}
	}
}

// Save has the store forget the kept calls that are over, and makes durable what devices have
// answered to the others. An answer that could not be kept is sent all the same. Errors are those
// of the store. The loop's goroutine calls it.
func (t *Table) Save() (kept, dropped error) {
	t.mu.Lock()
	var list []*proto.DeviceRpcCallMsg
	for _, a := range t.answers {
		if a.unsaved {
			a.unsaved = false
			list = append(list, a.msg)
		}
	}
	finished := t.finished
	t.finished = nil
	t.mu.Unlock()
	for _, c := range finished {
		dropped = errors.Join(dropped, t.store.Drop(c))
	}
	if len(list) == 0 {
		return nil, dropped
	}
	for _, c := range list {
		kept = errors.Join(kept, t.store.Keep(c))
		c.ResponseMsg = nil // the fragment has it
	}
	return errors.Join(kept, t.store.Flush()), dropped
}

// Outgoing is what goes up to the cloud: the answer to one of its calls, or a device's own call.
type Outgoing struct {
	Fragment []byte // of an UplinkMsg
	answer   *answer
	request  int32
}

// Next takes out what is to be sent next; false if nothing waits.
func (t *Table) Next(now time.Time) (Outgoing, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.answers) > 0 {
		a := t.answers[0]
		if a.unsaved { // it came this moment, and has woken the loop
			return Outgoing{}, false
		}
		t.answers = slices.Delete(t.answers, 0, 1)
		t.bytes -= len(a.fragment)
		if a.expires.After(now) {
			return Outgoing{Fragment: a.fragment, answer: a}, true
		}
		t.dropKept(a)
	}
	for len(t.unsent) > 0 {
		r := t.requests[t.unsent[0]] // nil if it is overdue already
		t.unsent = slices.Delete(t.unsent, 0, 1)
		if r != nil {
			fragment := proto.AppendRPCRequest(nil, r.Device, r.id, serviceID, t.session, r.Method, r.Params)
			return Outgoing{Fragment: fragment, request: r.id}, true
		}
	}
	return Outgoing{}, false
}

// Return puts back an answer that the cloud has not taken. False: o is a device's own call, which
// is sent once.
func (t *Table) Return(o Outgoing) bool {
	if o.answer == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue(o.answer)
	return true
}

// Done says that the cloud has taken o, or has refused it for good.
func (t *Table) Done(o Outgoing) {
	if o.answer == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropKept(o.answer)
}

// TooLarge says that o is larger than what the cloud takes. A device that called hears so at once;
// the caller of a device gets Internal in place of the answer.
func (t *Table) TooLarge(o Outgoing) {
	if a := o.answer; a != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if a.word != "" { // nothing smaller is left to say
			t.dropKept(a)
			return
		}
		a.fill("", Internal)
		t.queue(a)
		return
	}
	t.mu.Lock()
	r := t.requests[o.request]
	delete(t.requests, o.request)
	t.mu.Unlock()
	if r != nil {
		r.Reply(nil, ErrTooLarge)
	}
}

// Answered hands the cloud's answer to the device that asked. failure is the error word in it, cut
// to a line; "" if there is none.
func (t *Table) Answered(c *proto.DeviceRpcCallMsg, failure string) {
	t.mu.Lock()
	r := t.requests[c.GetRequestId()]
	if r == nil || c.GetSessionId() != t.session || r.Device != proto.UUIDOf(c.GetDeviceIdMSB(), c.GetDeviceIdLSB()) {
		t.mu.Unlock()
		return // late, or of another life
	}
	delete(t.requests, r.id)
	t.mu.Unlock()
	if failure != "" {
		r.Reply(nil, errors.New("the cloud answered "+failure))
		return
	}
	response := c.GetResponseMsg().GetResponse()
	switch {
	case response == "":
		response = "null"
	case len(response) > MaxText:
		r.Reply(nil, ErrAnswerTooLarge)
		return
	}
	r.Reply([]byte(response), nil)
}

// Expire ends what has waited too long, and returns when the next end is due; zero if nothing
// waits.
func (t *Table) Expire(now time.Time) (next time.Time) {
	late, next := t.expire(now)
	for _, r := range late {
		r.Reply(nil, ErrTimeout)
	}
	return next
}

func (t *Table) expire(now time.Time) (late []*pendingRequest, next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sooner := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	var over []*pending
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
		word := NoConnection
		if c.offered {
			word = TimedOut
		}
		t.tell(&c.Call, Expired, "")
		t.finish(c, "", word)
	}
	t.expireAcks(now, sooner)
	for id, r := range t.requests {
		if r.expires.After(now) {
			sooner(r.expires)
			continue
		}
		delete(t.requests, id)
		t.unsent = slices.DeleteFunc(t.unsent, func(u int32) bool { return u == id })
		late = append(late, r)
	}
	return late, next
}
