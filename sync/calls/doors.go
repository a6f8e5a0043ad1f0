package calls

import (
	"strings"
	"time"

	"edgesync/proto"
)

// Pending returns the unexpired calls for a device that have no answer yet, oldest first, those
// delivered before included (API.md 4.2). At most 16, and 64 notices.
func (t *Table) Pending(device proto.UUID) []Call {
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

// Delivered says that a transport took the call: the bytes were written, or a poll was answered
// with it. A one-way call is answered by that; a two-way one that expires is answered with TimedOut
// from now on.
func (t *Table) Delivered(device proto.UUID, id int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.find(device, id); c != nil {
		c.offered = true
		t.tell(&c.Call, Delivered, "")
		if c.OneWay {
			t.finish(c, "{}", "")
		}
	}
}

// Answer takes the device's answer. Empty is sent as {}. What is no JSON is sent as it is, and its
// caller gets 406 for it (API.md 4.2, CONTRACT.md 8.1). An answer of more than 1 MiB is sent as
// Internal. False: no such call is pending.
func (t *Table) Answer(device proto.UUID, id int32, response string) bool {
	response = strings.ToValidUTF8(response, "\uFFFD") // one bad byte would end the session (CONTRACT.md 1.1)
	word := ""
	switch {
	case response == "":
		response = "{}"
	case len(response) > maxResponse:
		response, word = "", Internal
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.find(device, id)
	if c == nil {
		return false
	}
	if word == "" {
		t.tell(&c.Call, Successful, response)
	} else {
		t.tell(&c.Call, Failed, "")
	}
	t.finish(c, response, word)
	return true
}

// Request takes a device's own call to the cloud (CONTRACT.md 8.2). An error, ErrOffline or
// ErrTooMany, means that it is not sent and that Reply will not be called.
func (t *Table) Request(r *Request) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.online:
		return ErrOffline
	case len(t.requests) >= MaxRequests:
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
