package sync

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"edgesync/proto"
)

// poison returns an uplink handler that refuses each message that holds the timestamp ts.
func poison(ts int64, text string) func(int, *proto.UplinkMsg) *proto.UplinkResponseMsg {
	return func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		if slices.Contains(stamps(u), ts) {
			return no(u, text)
		}
		return ok(u)
	}
}

// A refused event never blocks the others: halving finds it, it goes to the dead letters, and
// everything else arrives in order.
func TestPoisonIsIsolated(t *testing.T) {
	s := &script{uplink: poison(73, "Validation error: no\n\tat org.x")}
	inBubble(t, s, nil, func(r *rig) {
		r.post(1000)
		r.elapse(20 * time.Second)
		r.counts(1000, 999, 0, 1)
		// What stood behind the refused batch in the window arrived twice, and the last arrival is
		// in order.
		last := map[int64]int{}
		arrivals := 0
		for _, u := range s.uplinks {
			if slices.Contains(stamps(u), 73) {
				continue
			}
			for _, ts := range stamps(u) {
				arrivals++
				last[ts] = arrivals
			}
		}
		if len(last) != 999 {
			r.Errorf("%d events arrived, want 999", len(last))
		}
		for ts := int64(2); ts <= 1000; ts++ {
			if ts != 73 && ts != 74 && last[ts] <= last[ts-1] {
				r.Fatalf("%d arrived before %d", ts, ts-1)
			}
		}
		d := r.dead.Stats()
		if d.Letters != 1 || d.Resting != 1 {
			r.Errorf("dead letters: %+v", d)
		}
		if n := len(s.uplinks); n > 40 {
			r.Errorf("%d uplinks for 10 batches and one culprit", n)
		}
	})
}

// The one dead letter of a log is tried again every retry.interval until it was tried retry.max
// times, and counts as deployed when the cloud takes it at last.
func TestDeadLetterIsRetried(t *testing.T) {
	for _, c := range []struct {
		name           string
		refusals       int
		deployed, dead uint64
		resting        int
	}{
		{"taken at the third try", 2, 1, 0, 0},
		{"rests after retry.max", 1000, 0, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &script{}
			tries := 0
			s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
				if len(u.EntityData) == 0 {
					return ok(u)
				}
				if tries++; tries <= c.refusals {
					return no(u, "database is busy")
				}
				return ok(u)
			}
			inBubble(t, s, nil, func(r *rig) {
				r.post(1)
				r.elapse(5 * time.Minute)
				r.counts(1, c.deployed, 0, c.dead)
				if d := r.dead.Stats(); d.Resting != c.resting {
					r.Errorf("%d rest, want %d", d.Resting, c.resting)
				}
				if want := min(c.refusals+1, r.config.Retry.Max); tries != want {
					r.Errorf("%d tries, want %d", tries, want)
				}
			})
		})
	}
}

// A rate limit is no failure: the agent pauses and sends one batch at a time, and nothing is lost
// or goes to the dead letters.
func TestRateLimit(t *testing.T) {
	s := &script{}
	n := 0
	s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		if n++; n <= 6 {
			return no(u, "Failed to process uplink message. Rate limit reached\n\tat")
		}
		return ok(u)
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(500)
		r.elapse(3 * time.Second)
		if !r.agent.Snapshot().RateLimited {
			r.Error("the limit is not visible")
		}
		r.elapse(2 * time.Minute)
		r.counts(500, 500, 0, 0)
		if r.agent.Snapshot().RateLimited {
			r.Error("still limited")
		}
		// Two batches were in flight at the first limit; then batches go one by one, after 1, 2, 4,
		// 8 and 16 s.
		if got, want := seconds(s.at)[:7], []float64{0, 0, 1, 3, 7, 15, 31}; !slices.Equal(got, want) {
			r.Errorf("uplinks at %v, want %v", got, want)
		}
	})
}

// An event that is larger than the server takes is never sent, because the status with which the
// server would end the stream does not say why.
func TestOversizedEvent(t *testing.T) {
	s := &script{}
	s.connect = func(int, *proto.ConnectRequestMsg) *proto.ConnectResponseMsg {
		c := accepted()
		*c.MaxInboundMessageSize = 2000
		return c
	}
	inBubble(t, s, nil, func(r *rig) {
		events := []proto.Event{telemetryEvent(1, 0), telemetryEvent(2, 3000), telemetryEvent(3, 0)}
		if err := r.intake.Accept(r.Context(), events); err != nil {
			r.Fatal(err)
		}
		r.elapse(5 * time.Second)
		r.counts(3, 2, 0, 1)
		if got := s.order(); !slices.Equal(got, []int64{1, 3}) {
			r.Errorf("arrived %v", got)
		}
	})
}

// A limit that was proper, is tiny for a while and is proper again: what was too large meanwhile
// goes up, though the agent has seen the proper limit before.
func TestTinyLimitForAWhile(t *testing.T) {
	var limit atomic.Int32
	var end atomic.Bool
	limit.Store(4 << 20)
	s := &script{connect: func(int, *proto.ConnectRequestMsg) *proto.ConnectResponseMsg {
		c := accepted()
		*c.MaxInboundMessageSize = limit.Load()
		return c
	}}
	s.end = func(int, *proto.RequestMsg) (bool, error) { return end.CompareAndSwap(true, false), nil }
	inBubble(t, s, nil, func(r *rig) {
		accept := func(events ...proto.Event) {
			r.Helper()
			if err := r.intake.Accept(r.Context(), events); err != nil {
				r.Fatal(err)
			}
		}
		r.elapse(time.Second)
		limit.Store(2000)
		end.Store(true)
		accept(telemetryEvent(1, 0))
		r.elapse(time.Minute)
		accept(telemetryEvent(2, 0), telemetryEvent(3, 3000), telemetryEvent(4, 0))
		r.elapse(time.Minute)
		r.counts(4, 3, 0, 1)
		limit.Store(4 << 20)
		end.Store(true)
		accept(telemetryEvent(5, 0))
		r.elapse(time.Minute)
		r.counts(5, 5, 0, 0)
	})
}

// The agent of an edge that was deleted in the cloud ends the session and keeps the queue, because
// the server leaves the stream open (CONTRACT.md 2.6).
func TestEdgeDeleted(t *testing.T) {
	s := &script{}
	var gone atomic.Bool
	gone.Store(true)
	s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		if gone.Load() {
			return no(u, "Can't assign device to non-existent edge!")
		}
		return ok(u)
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(5)
		r.elapse(5 * time.Second)
		r.state(Disconnected)
		r.counts(5, 0, 5, 0)
		if e := r.agent.Snapshot().LastError; !strings.Contains(e, "deleted in the cloud") {
			r.Errorf("last error %q", e)
		}
		gone.Store(false)
		r.elapse(time.Minute)
		r.counts(5, 5, 0, 0)
	})
}

// A message that the server cannot parse ends the stream with UNKNOWN and without a reason
// (CONTRACT.md 1.1), and must not end every later session.
func TestPoisonThatEndsTheStream(t *testing.T) {
	s := &script{}
	s.end = func(_ int, m *proto.RequestMsg) (bool, error) {
		return slices.Contains(stamps(m.GetUplinkMsg()), 42), status.Error(codes.Unknown, "Application error processing RPC")
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(60)
		r.elapse(2 * time.Hour)
		r.counts(60, 59, 0, 1)
	})
}

// An event is not blamed for a link that breaks in the middle of a batch again and again.
func TestBrokenLinkBlamesNoEvent(t *testing.T) {
	s := &script{}
	s.end = func(session int, m *proto.RequestMsg) (bool, error) {
		return session < 12 && m.GetUplinkMsg() != nil, status.Error(codes.Unavailable, "gone")
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(60)
		r.elapse(time.Hour)
		r.counts(60, 60, 0, 0)
	})
}

// An event that is refused for good rests in the dead-letter log at once, and the commit that
// passed it becomes durable.
func TestDeadLettersLeaveNoTrace(t *testing.T) {
	s := &script{}
	s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		if len(u.EntityData) == 0 {
			return ok(u)
		}
		return no(u, "Validation error: no")
	}
	inBubble(t, s, nil, func(r *rig) {
		r.post(20)
		r.elapse(time.Minute)
		r.counts(20, 0, 0, 20)
		if d := r.dead.Stats(); d.Resting != 20 {
			r.Errorf("dead letters: %+v", d)
		}
		if got := r.queue.DurablyCommitted(); got != r.queue.Committed() {
			r.Errorf("durably committed %v, committed %v", got, r.queue.Committed())
		}
	})
}
