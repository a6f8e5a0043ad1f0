package rules

import (
	"strconv"

	"edgesync/proto"
)

// maxCallTime bounds how long a call waits for its answer, in ms.
const maxCallTime = 24 * 3600 * 1000

// calling calls the originator, which is a device.
type calling struct {
	Timeout int64 `conf:"timeoutInSeconds 60"` // in ms once it is prepared
}

func (f *calling) prepare(*node, *config) {
	if f.Timeout *= 1000; f.Timeout < 1000 || f.Timeout > maxCallTime {
		f.Timeout = 60_000
	}
}

func (f *calling) do(r *round) {
	m := r.m
	t := m.object()
	method, params := t.get("method"), t.get("params")
	missing := ""
	switch {
	case !is(m.Originator.Type, "DEVICE"):
		missing = noDevice
	case !method.scalar():
		missing = "Method is not present in the message!"
	case params == nil:
		missing = "Params are not present in the message!"
	}
	if missing != "" {
		r.fail(missing)
		return
	}
	now := r.e.opt.Now()
	call := &Call{
		Device: m.Originator, Method: method.plain(), Params: params.plain(), UUID: m.meta("requestUUID"),
		OneWay: is(m.meta("oneway"), "true"), Expires: now + f.Timeout, Message: m,
	}
	if at, err := strconv.ParseInt(m.meta("expirationTime"), 10, 64); err == nil && at > 0 {
		call.Expires = min(at, now+maxCallTime)
	}
	m.from.called = true
	if call.OneWay {
		if !r.check(r.out.Call(call)) {
			return
		}
		r.answer(call, "{}", "")
		m.Data = "{}"
		r.tell("Success")
		return
	}
	w := &timer{at: call.Expires, mem: r.n.mem, who: m.Originator, m: m, made: call}
	e := r.e
	lock(&e.tick)
	for e.lastCall++; e.lastCall == 0 || e.calls[e.lastCall] != nil; e.lastCall++ {
	}
	call.ID, w.call = e.lastCall, e.lastCall
	e.calls[call.ID] = w
	unlock(&e.tick)
	err := r.hold(m)
	held := err == nil
	if held {
		e.schedule(w)
		err = r.out.Call(call) // an answer that comes before it returns waits for this shard
	}
	if err == nil || e.answered(call.ID) == nil { // the second: its time is over already
		if r.l != nil {
			r.l.Undo(e.stays) // the device has been called
		}
		return
	}
	if held {
		r.unhold(m)
	}
	r.fail(err.Error())
}

const noDevice = "Message originator is not a device entity!"

// answer tells the caller of a call that came from outside (RULES.md 4.4).
func (r *round) answer(c *Call, text, word string) {
	if c.Message.Type == CallToDevice && c.UUID != "" {
		if _, ok := proto.ParseUUID(c.UUID); ok {
			r.out.Answered(c, text, word)
		}
	}
}

// wake goes on with the answer of a device, or without one.
func (f *calling) wake(r *round) {
	t := r.t
	m := t.m
	r.unhold(m)
	r.m = m
	if t.word != "" {
		r.answer(t.made, "", t.word)
		m.Data = members("error", textTree(t.word)).String()
		r.fail(t.word)
		return
	}
	if t.answer == "" {
		t.answer = "{}"
	}
	r.answer(t.made, t.answer, "")
	m.Data = t.answer
	r.tell("Success")
}

type replying struct {
	_       uncompared
	Request string `conf:"requestIdMetaDataAttribute"`
	Service string `conf:"serviceIdMetaDataAttribute"`
	Session string `conf:"sessionIdMetaDataAttribute"`
}

func (f *replying) do(r *round) {
	m := r.m
	missing := ""
	if m.Data == "" {
		missing = "Request body is empty!"
	}
	otherwise := [3]string{"requestId", "serviceId", "sessionId"}
	values := [3]string{f.Request, f.Service, f.Session}
	for i := len(values) - 1; i >= 0; i-- {
		key := values[i]
		if key == "" {
			key = otherwise[i]
		}
		if values[i] = m.meta(key); values[i] == "" {
			missing = key + " is not present in the metadata!"
		}
	}
	if !is(m.Originator.Type, "DEVICE") {
		missing = noDevice
	}
	if missing != "" {
		r.fail(missing)
		return
	}
	if r.check(r.out.Reply(&Reply{
		Device: m.Originator, Request: values[0], Service: values[1], Session: values[2], Answer: m.Data,
	})) {
		m.from.replied = true
		r.tell("Success")
	}
}
