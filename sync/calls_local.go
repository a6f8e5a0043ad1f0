package sync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"edgesync/proto"
)

// Calls that are made here, over the REST API, go through the same table and the same doors as those of the cloud. Only their answers stay here.

// ErrCall is wrapped by the end of a call that brought no answer.
var ErrCall = errors.New("the call was not answered")

// CallError is such an end with its word: NO_ACTIVE_CONNECTION, TIMEOUT, INTERNAL.
type CallError struct{ Word string }

func (e *CallError) Error() string { return ErrCall.Error() + ": " + e.Word }

// Unwrap makes errors.Is(err, ErrCall) true.
func (e *CallError) Unwrap() error { return ErrCall }

// callEnd is what came of a call made here.
type callEnd struct{ response, word string }

// CallDevice calls a device here and waits for its answer, JSON text; "{}" for a one-way call once a transport took it. params is JSON text, "" is
// null. The error is a *CallError, ErrTooMany, or that of ctx, whose end ends the call too. Any goroutine.
func (a *Agent) CallDevice(ctx context.Context, device proto.UUID, method, params string, oneway bool, timeout time.Duration) (string, error) {
	end := make(chan callEnd, 1)
	switch {
	case params == "":
		params = "null"
	case !json.Valid([]byte(params)):
		return "", fmt.Errorf("the parameters of the call are no JSON")
	}
	t := a.calls
	t.mu.Lock()
	if t.count >= maxCalls || len(t.calls[device]) >= maxCallsOfDevice {
		t.mu.Unlock()
		return "", ErrTooMany
	}
	c := &pendingCall{
		Call:  Call{Device: device, ID: t.id(), Method: method, Params: params, OneWay: oneway, Expires: time.Now().Add(timeout + callMargin)},
		local: end, request: proto.UUIDOf(rand.Int64(), rand.Int64()), // not to be taken for one of the cloud's
	}
	t.calls[device] = append(t.calls[device], c)
	t.count++
	t.news = append(t.news, c)
	t.nudge()
	t.mu.Unlock()
	select {
	case e := <-end:
		if e.word != "" {
			return "", &CallError{e.word}
		}
		return e.response, nil
	case <-ctx.Done():
		t.mu.Lock()
		if slices.Contains(t.calls[device], c) {
			t.finish(c, "", rpcTimedOut)
		}
		t.mu.Unlock()
		return "", ctx.Err()
	}
}

// offerLocal offers the doors what was called here since the last turn.
func (l *loop) offerLocal(now time.Time) {
	t := l.calls
	t.mu.Lock()
	news := t.news
	t.news = nil
	t.mu.Unlock()
	kept := false
	for _, c := range news {
		if c.notice && !c.kept {
			c.kept = true
			kept = true
			if err := l.reg.KeepCall(c.msg); err != nil {
				l.complain("a notice to a gateway cannot be kept over a restart", err.Error(), now)
			}
		}
		taken := l.doors != nil && l.doors.Deliver(&c.Call)
		t.mu.Lock()
		c.offered = c.offered || taken
		t.mu.Unlock()
	}
	if kept {
		if err := l.reg.Flush(); err != nil {
			l.complain("the registry cannot be written", err.Error(), now)
		}
	}
}
