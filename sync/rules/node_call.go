package rules

import (
	"strconv"

	"edgesync/proto"
)

// maxCallTime bounds how long a call waits for its answer, in ms.
const maxCallTime = 24 * 3600 * 1000

func makeCall(n *node, c *config) work {
	timeout := c.whole("timeoutInSeconds", 60) * 1000
	if timeout < 1000 || timeout > maxCallTime {
		timeout = 60_000
	}
	n.wake, n.plain = answered, plainCall
	return func(r *round) {
		m := r.m
		t := m.object()
		method, params := t.get("method"), t.get("params")
		switch {
		case m.Originator.Type != "DEVICE":
			r.fail("Message originator is not a device entity!")
			return
		case method == nil:
			r.fail("Method is not present in the message!")
			return
		case params == nil:
			r.fail("Params are not present in the message!")
			return
		}
		now := r.e.opt.Now()
		call := &Call{
			Device: m.Originator, Method: method.plain(), Params: params.plain(), UUID: m.meta("requestUUID"),
			OneWay: m.meta("oneway") == "true", Expires: now + timeout, Message: m,
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
}

// answer tells the caller of a call that came from outside (RULES.md 4.4).
func (r *round) answer(c *Call, text, word string) {
	if c.Message.Type == CallToDevice && c.UUID != "" {
		if _, ok := proto.ParseUUID(c.UUID); ok {
			r.out.Answered(c, text, word)
		}
	}
}

// answered goes on with the answer of a device, or without one.
func answered(r *round) {
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

func makeReply(_ *node, c *config) work {
	keys := [3]string{"requestId", "serviceId", "sessionId"}
	for i, field := range [3]string{"requestIdMetaDataAttribute", "serviceIdMetaDataAttribute", "sessionIdMetaDataAttribute"} {
		if name := c.text(field); name != "" {
			keys[i] = name
		}
	}
	return func(r *round) {
		m := r.m
		if m.Originator.Type != "DEVICE" {
			r.fail("Message originator is not a device entity!")
			return
		}
		var values [3]string
		for i, key := range keys {
			if values[i] = m.meta(key); values[i] == "" {
				r.fail(key + " is not present in the metadata!")
				return
			}
		}
		if m.Data == "" {
			r.fail("Request body is empty!")
			return
		}
		if r.check(r.out.Reply(&Reply{
			Device: m.Originator, Request: values[0], Service: values[1], Session: values[2], Answer: m.Data,
		})) {
			m.from.replied = true
			r.tell("Success")
		}
	}
}
