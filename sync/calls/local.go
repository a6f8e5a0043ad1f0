package calls

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"edgesync/proto"
)

// ErrNoAnswer is wrapped by the end of a call made here that brought no answer.
var ErrNoAnswer = errors.New("the call was not answered")

// Error is such an end with its word: NoConnection, TimedOut or Internal.
type Error struct{ Word string }

func (e *Error) Error() string { return ErrNoAnswer.Error() + ": " + e.Word }

// Unwrap makes errors.Is(err, ErrNoAnswer) true.
func (e *Error) Unwrap() error { return ErrNoAnswer }

// localDone is what came of a call made here.
type localDone struct{ response, word string }

// Call calls a device, as the REST API does, and waits for its answer, JSON text; "{}" for a
// one-way call once a transport took it. The call goes through the same table and the same doors as
// a call of the cloud; only its answer stays here. params is JSON text, "" is null. The error is an
// *Error, ErrTooMany, or that of ctx, whose end ends the call too.
func (t *Table) Call(ctx context.Context, device proto.UUID, method, params string, oneway bool, timeout time.Duration) (string, error) {
	end := make(chan localDone, 1)
	switch {
	case params == "":
		params = "null"
	case !json.Valid([]byte(params)):
		return "", fmt.Errorf("the parameters of the call are no JSON")
	}
	c := &pending{
		Call:    Call{Device: device, Method: method, Params: params, OneWay: oneway, Expires: time.Now().Add(timeout + callMargin)},
		local:   func(response, word string) { end <- localDone{response, word} }, // the only one, so there is room
		request: proto.NewUUID(),                                                  // not to be taken for one of the cloud's
	}
	c.Request = c.request
	if !t.callHere(c) {
		return "", ErrTooMany
	}
	select {
	case e := <-end:
		if e.word != "" {
			return "", &Error{e.word}
		}
		return e.response, nil
	case <-ctx.Done():
		t.mu.Lock()
		defer t.mu.Unlock()
		if slices.Contains(t.calls[device], c) {
			t.finish(c, "", TimedOut)
		}
		return "", ctx.Err()
	}
}

// Start is Call without waiting, for a rule chain. done is called once, with a lock of the table
// held: it must not block, and not call the table. word is that of an Error, "" if there is none.
// If Start returns an error, ErrTooMany, done is not called.
func (t *Table) Start(
	device proto.UUID, method, params string, oneway bool, expires time.Time, done func(response, word string),
) error {
	c := &pending{
		Call:  Call{Device: device, Method: method, Params: paramsJSON(params), OneWay: oneway, Expires: expires, Direct: true},
		local: done, request: proto.NewUUID(),
	}
	if !t.callHere(c) {
		return ErrTooMany
	}
	return nil
}

// Amend changes what a call says that waits for its device: a rule chain has decided so.
func (t *Table) Amend(device proto.UUID, id int32, method, params string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.find(device, id); c != nil {
		t.texts -= c.size()
		c.Method, c.Params = method, params
		t.texts += c.size()
	}
}

func (t *Table) callHere(c *pending) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.calls[c.Device]) >= MaxOfDevice || !t.fits(c) {
		return false
	}
	t.add(c)
	t.offer(c)
	return true
}

// Offer offers the doors, by deliver, what was called here since the last time, and has the store
// keep the notices among it. deliver reports whether somebody who takes calls is there. Errors are
// those of the store. The loop's goroutine calls it.
func (t *Table) Offer(deliver func(*Call) bool) error {
	t.mu.Lock()
	news := t.news
	t.news = nil
	t.mu.Unlock()
	var err error
	kept := false
	for _, c := range news {
		t.mu.Lock()
		pending := slices.Contains(t.calls[c.Device], c)
		t.mu.Unlock()
		if !pending { // it is over: its caller has gone, or the cloud's call has taken its place
			continue
		}
		if c.notice && !c.kept {
			err = errors.Join(err, t.store.Keep(c.msg))
			kept = true
		}
		taken := deliver(&c.Call)
		t.mu.Lock()
		c.kept = c.kept || c.notice
		c.offered = c.offered || taken
		t.mu.Unlock()
	}
	if kept {
		err = errors.Join(err, t.store.Flush())
	}
	return err
}
