package sync

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"edgesync/proto"
)

// refusing returns a script that refuses all data with a text until the flag is set.
func refusing(text string) (*script, *atomic.Bool) {
	var take atomic.Bool
	return &script{uplink: func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		if len(u.EntityData) == 0 || take.Load() {
			return ok(u)
		}
		return no(u, text)
	}}, &take
}

func (r *rig) deadLetters() []DeadLetter {
	r.Helper()
	list, next, err := r.agent.DeadLetters().List(r.Context(), 0, 100)
	if err != nil || next != 0 {
		r.Fatalf("list: %v, next %d", err, next)
	}
	return list
}

// A dead letter that rests is woken by an order: its tries count from 0 and it goes up at once, the
// others as fast as they are accepted.
func TestDeadLetterIsWoken(t *testing.T) {
	s, take := refusing("Validation error: no")
	inBubble(t, s, nil, func(r *rig) {
		r.post(3)
		r.elapse(time.Minute)
		list := r.deadLetters()
		if len(list) != 3 {
			r.Fatalf("dead letters %+v", list)
		}
		first := list[0]
		if !first.Resting || first.Tries != 1 || first.Reason != "Validation error: no" || first.Action != "TIMESERIES_UPDATED" {
			r.Fatalf("dead letters %+v", list)
		}
		if n, err := r.agent.DeadLetters().Retry(r.Context(), list[1].Offset); n != 1 || err != nil {
			r.Fatalf("retry: %d, %v", n, err)
		}
		r.elapse(time.Millisecond)
		if got := r.deadLetters()[1]; !got.Resting || got.Tries != 1 || len(s.uplinks) == 0 || stamps(s.uplinks[len(s.uplinks)-1])[0] != 2 {
			r.Errorf("refused once more: %+v", got)
		}
		r.counts(3, 0, 0, 3)
		take.Store(true)
		if n, err := r.agent.DeadLetters().Retry(r.Context(), 0); n != 3 || err != nil {
			r.Fatalf("retry of all: %d, %v", n, err)
		}
		r.elapse(time.Millisecond) // the others follow the first that is accepted at once
		r.counts(3, 3, 0, 0)
		if n, err := r.agent.DeadLetters().Retry(r.Context(), list[1].Offset); n != 0 || err != nil {
			r.Errorf("retry of one that was delivered: %d, %v", n, err)
		}
	})
}

// The list counts the tries since the start of the agent, which are not in the log yet.
func TestListHasTriesInMemory(t *testing.T) {
	s, _ := refusing("database is busy")
	inBubble(t, s, nil, func(r *rig) {
		r.post(1)
		r.elapse(10 * time.Second)
		list := r.deadLetters()
		if len(list) != 1 || list[0].Tries < 3 || list[0].Resting {
			r.Fatalf("after 10 s: %+v", list)
		}
		if n, err := r.agent.DeadLetters().Retry(r.Context(), list[0].Offset); n != 1 || err != nil {
			r.Fatalf("retry: %d, %v", n, err)
		}
		r.elapse(time.Millisecond)
		if list = r.deadLetters(); list[0].Tries != 1 {
			r.Errorf("%d tries after the count began again", list[0].Tries)
		}
	})
}

// A dead letter can be dropped only when the commit that passed its event is durable; it then
// counts as dropped, and an answer that comes later changes nothing.
func TestDeadLetterIsDropped(t *testing.T) {
	var answer atomic.Bool
	answer.Store(true)
	s := &script{}
	s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		switch {
		case len(u.EntityData) == 0:
			return ok(u)
		case answer.Load():
			return no(u, "database is busy")
		}
		return nil
	}
	inBubble(t, s, nil, func(r *rig) {
		dead := r.agent.DeadLetters()
		r.post(1)
		r.elapse(r.config.Batch.Timeout + time.Millisecond)
		list := r.deadLetters()
		if len(list) != 1 {
			r.Fatalf("dead letters %+v", list)
		}
		if n, later, err := dead.Drop(r.Context(), 0); n != 0 || later != 1 || err != nil {
			r.Errorf("before the commit is durable: %d, %d, %v", n, later, err)
		}
		answer.Store(false)
		r.elapse(15 * time.Second) // durable, and a try in flight
		if n, later, err := dead.Drop(r.Context(), list[0].Offset); n != 1 || later != 0 || err != nil {
			r.Fatalf("drop: %d, %d, %v", n, later, err)
		}
		r.counts(1, 0, 0, 0)
		s.mu.Lock()
		at := len(s.uplinks) - 1
		if len(s.uplinks[at].EntityData) == 0 { // the message that breaks the silence
			at--
		}
		last := s.uplinks[at]
		s.mu.Unlock()
		if len(last.EntityData) != 1 {
			r.Fatal("no try is in flight")
		}
		s.streams[1](&proto.ResponseMsg{UplinkResponseMsg: no(last, "Validation error: no")})
		r.elapse(time.Second)
		if list = r.deadLetters(); len(list) != 0 {
			r.Errorf("the late answer brought %+v back", list)
		}
		if got := r.agent.Snapshot(); got.Dropped != 1 || got.Dead != 0 {
			r.Errorf("dropped %d, dead %d", got.Dropped, got.Dead)
		}
		if n, later, err := dead.Drop(r.Context(), 0); n != 0 || later != 0 || err != nil {
			r.Errorf("nothing to drop: %d, %d, %v", n, later, err)
		}
	})
}

// A dead letter larger than the cloud takes rests again when it is woken, and does not hold up the
// others.
func TestOversizedDeadLetterHoldsNothingUp(t *testing.T) {
	s, take := refusing("Validation error: no")
	s.connect = func(int, *proto.ConnectRequestMsg) *proto.ConnectResponseMsg {
		r := accepted()
		*r.MaxInboundMessageSize = 1000
		return r
	}
	inBubble(t, s, nil, func(r *rig) {
		e := telemetryEvent(1, 2000)
		if err := r.intake.Accept(r.Context(), []proto.Event{e}); err != nil {
			r.Fatal(err)
		}
		r.post(1)
		r.elapse(time.Minute)
		take.Store(true)
		if n, err := r.agent.DeadLetters().Retry(r.Context(), 0); n != 2 || err != nil {
			r.Fatalf("retry: %d, %v", n, err)
		}
		r.elapse(2 * r.config.Retry.Interval)
		r.counts(2, 1, 0, 1)
		if d := r.dead.Stats(); d.Resting != 1 {
			r.Errorf("dead letters: %+v", d)
		}
	})
}

func TestOrdersToALoopThatHasEnded(t *testing.T) {
	inBubble(t, &script{}, nil, func(r *rig) {
		r.stop()
		if _, err := r.agent.DeadLetters().Retry(r.Context(), 0); !errors.Is(err, ErrBusy) {
			r.Errorf("retry: %v", err)
		}
		if _, _, err := r.agent.DeadLetters().List(r.Context(), 0, 1); !errors.Is(err, ErrBusy) {
			r.Errorf("list: %v", err)
		}
	})
}

// A long list of dead letters comes in parts.
func TestDeadLettersInParts(t *testing.T) {
	s, _ := refusing("Validation error: no")
	inBubble(t, s, nil, func(r *rig) {
		r.post(7)
		r.elapse(time.Minute)
		var got []uint64
		for from := uint64(0); ; {
			list, next, err := r.agent.DeadLetters().List(r.Context(), from, 3)
			if err != nil || len(list) > 3 {
				r.Fatal(len(list), err)
			}
			for _, l := range list {
				got = append(got, l.Offset)
			}
			if next == 0 {
				break
			}
			from = next
		}
		if len(got) != 7 || !slices.IsSorted(got) || got[0] == got[6] {
			r.Errorf("dead letters %v", got)
		}
	})
}
