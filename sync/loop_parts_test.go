package sync

import (
	"reflect"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

// outlives are the fields of the loop that no end of a session resets.
var outlives = map[string]bool{
	"contact": true, "pace": true,
	"dialing": true, "search": true, "dependents": true, "outage": true,
	"quiet": true, "grown": true, "former": true, "overflow": true, "counters": true,
	"room": true, "proofs": true, "replaying": true,
}

// kept are the fields that outlive the session although their part is reset at its end.
var kept = map[string]bool{
	"connection.state": true, "connection.since": true, "connection.lastErr": true,
	"connection.edge": true, "connection.firstAccepted": true,
	"sending.reader": true, "sending.take": true, "sending.now": true, "sending.id": true,
	"sending.pause": true, "sending.pauseUntil": true, "sending.limited": true,
	"sending.win": true, "receiving.applied": true, "syncing.report": true, "asking.asked": true,
	"direct.sent": true, "retries.tries": true, "retries.passed": true,
	"repeating.last": true, "repeating.stretches": true, "repeating.from": true, "repeating.until": true,
	"repeating.queue": true, "repeating.reader": true, "repeating.size": true, "repeating.full": true, "repeating.sizeUntil": true,
	"repeating.resumed": true, "repeating.endsAt": true, "repeating.ends": true, "repeating.plans": true,
	"rpc.unrouted": true, "rpc.due": true, "rpc.notBefore": true, "rpc.server": true, "rpc.deliver": true,
}

// Whatever a session leaves in the loop is gone at its end, except for outlives and kept: a new
// field cannot be forgotten.
func TestEndOfSessionForgets(t *testing.T) {
	l := loopAlone(t)
	parts := map[reflect.Type]bool{}
	for _, p := range l.sessionParts() {
		parts[reflect.TypeOf(p).Elem()] = true
	}
	here := reflect.TypeOf(l).Elem()
	for i := range here.NumField() {
		f := here.Field(i)
		if f.Type.Kind() == reflect.Struct && f.Type.PkgPath() == here.PkgPath() && !parts[f.Type] && !outlives[f.Name] {
			t.Errorf("%s is neither a part of a session nor outlives it", f.Name)
		}
	}
	l.conn.sess = newFakeSession()
	l.conn.acceptedAt, l.conn.lastReceived, l.conn.acknowledged, l.conn.backlogEnd, l.conn.overrun = time.Now(), time.Now(), true, 7, true
	l.conn.heard = time.Now()
	l.sending.open, l.sending.aside, l.sending.more = &batch{}, aside{why: isTooLarge}, true
	l.sending.apart = apart{events: 1}
	l.sending.win.push(&batch{buf: make([]byte, 9), attrs: []proto.UUID{{1}}})
	l.receiving = receiving{messages: 1, bytes: 2, applied: []int32{3}}
	l.syncing.running, l.syncing.received, l.syncing.part, l.syncing.progress, l.syncing.retried = true, 1, "devices", time.Now(), true
	l.syncing.full, l.syncing.proof, l.syncing.partial, l.syncing.began = true, true, true, time.Now()
	l.probing = probing{id: 1, at: time.Now(), woke: time.Now()}
	l.asking.questions, l.asking.underWay, l.asking.due, l.asking.silentSince = []question{{}}, true, time.Now(), time.Now()
	l.direct.sent[1], l.direct.scouts, l.direct.bytes = sent{}, 1, 1
	l.rpc.server = serverClock{millis: 1, at: time.Now(), fresh: true}
	l.retries.due, l.retries.birthsDue, l.retries.try = time.Now(), time.Now(), &try{}
	l.retries.flow, l.retries.births, l.retries.refused = flow{on: true}, flow{on: true}, refusedDeadLetters{offset: 1}
	l.retries.last = lastLeg{since: time.Now()}
	l.retries.pause, l.retries.passed[1] = doubling{min: 1}, true
	l.sending.waiting, l.sending.waitingBytes, l.sending.unstored = []wal.DeadLetter{{}}, 1, true
	l.sending.waitingSince, l.sending.held = time.Now(), held{events: 1}
	l.sending.births = limitedBirth{at: 1}
	r := &l.repeating
	r.open, r.misses, r.held, r.due, r.passes = &batch{}, 1, true, time.Now(), true
	for _, p := range l.sessionParts() {
		filled(t, reflect.ValueOf(p).Elem())
	}
	l.forgetSession()
	for _, p := range l.sessionParts() {
		v := reflect.ValueOf(p).Elem()
		for i := range v.NumField() {
			if name := v.Type().Name() + "." + v.Type().Field(i).Name; !kept[name] && !v.Field(i).IsZero() {
				t.Errorf("%s outlives the session", name)
			}
		}
	}
	w := &l.sending.win
	if len(w.batches) != 0 || w.bytes != 0 || len(w.attrs) != 0 || w.size != windowStart || w.best != 0 || w.slowed {
		t.Errorf("the window keeps %+v", w)
	}
	if len(l.receiving.applied) != 0 || len(l.direct.sent) != 0 || len(l.retries.passed) != 0 ||
		l.rpc.server.fresh || l.rpc.server.millis != 1 {
		t.Error("what is kept is not what it should be")
	}
}

// filled asserts that the test has set each field that a session leaves behind, so that a new field
// must be set here or named in kept.
func filled(t *testing.T, v reflect.Value) {
	for i := range v.NumField() {
		name, f := v.Type().Name()+"."+v.Type().Field(i).Name, v.Field(i)
		if kept[name] {
			continue
		}
		if f.IsZero() {
			t.Errorf("%s is not set before the end of the session: set it, or name it among what is kept", name)
		}
	}
}
