package sync

import (
	"fmt"
	"slices"
	"strings"
	gosync "sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"edgesync/proto"
	"edgesync/sync/config"
)

const noDatabase = "Failed to obtain JDBC Connection"

// postOf appends telemetry of devices in turn, with the timestamps from the next on.
func (r *rig) postOf(devices, n int) {
	r.Helper()
	events := make([]proto.Event, n)
	for i := range events {
		r.seq++
		events[i] = eventOf(byte(1+int(r.seq)%devices), r.seq)
	}
	if err := r.intake.Accept(r.Context(), events); err != nil {
		r.Fatal(err)
	}
}

func eventOf(device byte, ts int64) proto.Event {
	id := proto.UUID{device}
	kv := []proto.KV{{Key: []byte("t"), Type: proto.KeyValueType_LONG_V, Long: ts}}
	return proto.Event{
		Kind: proto.KindEntityData, Action: proto.ActionTimeseriesUpdated, Time: time.Now().UnixMilli(), Entity: id,
		Fragment: proto.AppendTelemetry(nil, id, "DEVICE", ts, kv),
	}
}

// lastArrivals lists the timestamps that were accepted, each where it arrived last.
type lastArrivals struct {
	mu   gosync.Mutex
	list []int64
}

func (a *lastArrivals) add(u *proto.UplinkMsg) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, stamps(u)...)
}

func (a *lastArrivals) inOrder() []int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := map[int64]bool{}
	var order []int64
	for i := len(a.list) - 1; i >= 0; i-- {
		if ts := a.list[i]; !seen[ts] {
			seen[ts] = true
			order = append(order, ts)
		}
	}
	slices.Reverse(order)
	return order
}

// A cloud that refuses everything for a while costs no event, whether its text sounds passing or
// hopeless, whether one device speaks or many, whether they go on, and over a restart of the
// session. At most the first refused event is moved to the dead letters.
func TestCloudThatRefusesEverything(t *testing.T) {
	for _, c := range []struct {
		name    string
		text    string
		devices int
		goOn    bool
		cut     bool
	}{
		{"a backlog of many devices", noDatabase, 40, false, false},
		{"a backlog of one device", noDatabase, 1, false, false},
		{"devices go on", noDatabase, 40, true, false},
		{"one device goes on", noDatabase, 1, true, false},
		{"the text sounds hopeless", "ERROR: duplicate key value violates unique constraint", 40, true, false},
		{"the link breaks meanwhile", noDatabase, 40, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var take, cut atomic.Bool
			arrived := &lastArrivals{}
			s := &script{}
			s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
				if len(u.EntityData) == 0 {
					return ok(u)
				}
				if !take.Load() {
					return no(u, c.text)
				}
				arrived.add(u)
				return ok(u)
			}
			s.end = func(_ int, r *proto.RequestMsg) (bool, error) {
				return len(r.GetUplinkMsg().GetEntityData()) > 0 && cut.CompareAndSwap(true, false), status.Error(codes.Unavailable, "gone")
			}
			inBubble(t, s, nil, func(r *rig) {
				total := 5000
				r.postOf(c.devices, total)
				for range 135 {
					if c.goOn {
						r.postOf(c.devices, 10)
						total += 10
					}
					cut.Store(c.cut)
					r.elapse(time.Second)
				}
				if !c.cut || r.agent.Snapshot().State == Refused {
					r.state(Refused)
					if got := r.agent.Snapshot().LastError; !strings.Contains(got, c.text) || !strings.Contains(got, "stay in the queue") {
						r.Errorf("last error %q", got)
					}
				}
				if got := r.agent.Snapshot(); got.Dead > 1 || got.Dropped != 0 || got.Deployed != 0 {
					r.Errorf("dead %d, dropped %d, deployed %d", got.Dead, got.Dropped, got.Deployed)
				}
				s.mu.Lock()
				sent := len(s.uplinks)
				s.mu.Unlock()
				if sent > 200 {
					r.Errorf("%d uplinks to a cloud that refuses everything", sent)
				}
				take.Store(true)
				r.elapse(2 * time.Minute)
				want := uint64(total)
				if c.text == noDatabase {
					r.counts(want, want, 0, 0)
					if got := r.dead.Stats(); got.Delivered > 1 {
						r.Errorf("%d went by way of the dead letters", got.Delivered)
					}
					if got := arrived.inOrder(); c.devices == 1 && !slices.Equal(got, upTo(int64(total))) {
						r.Errorf("%d arrived, not in order", len(got))
					}
				} else {
					r.counts(want, want-1, 0, 1)
				}
				r.state(Connected)
				if got := r.agent.Snapshot().LastError; got != "" {
					r.Errorf("last error %q", got)
				}
			})
		})
	}
}

// Events that are refused while others pass are poison, however many stand in front of the others:
// they go to the dead letters and hold nobody up for long, also in a cloud that ends the stream
// instead.
func TestPoisonInFrontHoldsNobodyUp(t *testing.T) {
	bad := func(u *proto.UplinkMsg) bool {
		return slices.ContainsFunc(stamps(u), func(ts int64) bool { return ts <= 12 })
	}
	uplink := map[string]func(int, *proto.UplinkMsg) *proto.UplinkResponseMsg{
		"refused": func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
			if bad(u) {
				return no(u, "database is busy")
			}
			return ok(u)
		},
		"the stream ends": nil,
	}
	for name := range uplink {
		for _, devices := range []int{1, 3, 30} {
			if testing.Short() && devices == 3 {
				continue
			}
			t.Run(fmt.Sprintf("%s, %d devices", name, devices), func(t *testing.T) {
				s, limit := &script{uplink: uplink[name]}, 2*time.Minute
				if s.uplink == nil {
					limit = 12 * time.Hour
					s.end = func(_ int, m *proto.RequestMsg) (bool, error) {
						return bad(m.GetUplinkMsg()), status.Error(codes.Unknown, "Application error processing RPC")
					}
				}
				inBubble(t, s, nil, func(r *rig) {
					r.postOf(devices, 500)
					r.elapse(limit)
					r.counts(500, 488, 0, 12)
				})
			})
		}
	}
}

// A server that announces a tiny limit takes nothing that is in the queue; what waits goes up when
// it announces a proper one, the first event too, which has gone to the dead letters.
func TestTinyThenProperLimit(t *testing.T) {
	for _, devices := range []int{1, 20} {
		var limit atomic.Int32
		var end atomic.Bool
		limit.Store(40)
		s := &script{connect: func(int, *proto.ConnectRequestMsg) *proto.ConnectResponseMsg {
			c := accepted()
			*c.MaxInboundMessageSize = limit.Load()
			return c
		}}
		s.end = func(int, *proto.RequestMsg) (bool, error) { return end.CompareAndSwap(true, false), nil }
		inBubble(t, s, nil, func(r *rig) {
			r.postOf(devices, 3000)
			r.elapse(2 * time.Minute)
			got := r.agent.Snapshot()
			if got.Dead > 1 || got.Dropped != 0 || got.State != Refused || !strings.Contains(got.LastError, "40 bytes") {
				r.Errorf("%d devices: dead %d, dropped %d, %v, %q", devices, got.Dead, got.Dropped, got.State, got.LastError)
			}
			limit.Store(4 << 20)
			end.Store(true)
			r.elapse(3 * time.Minute)
			r.counts(3000, 3000, 0, 0)
			r.state(Connected)
		})
	}
}

// Letters that wait go as fast as they are accepted once one was, in the order of each device;
// those that the cloud still refuses hold the others up by one try each at most.
func TestDeadLettersGoAsFastAsTheyAreAccepted(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 200
	}
	var take atomic.Bool
	arrived := &lastArrivals{}
	s := &script{}
	s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		for _, ts := range stamps(u) {
			if odd := ts%2 == 1; odd && !take.Load() || ts == int64(n/2+1) {
				return no(u, "database is busy")
			}
		}
		arrived.add(u)
		return ok(u)
	}
	inBubble(t, s, nil, func(r *rig) {
		r.postOf(7, n)
		r.elapse(time.Minute)
		if got := r.agent.Snapshot(); got.Deployed != uint64(n/2) || got.Dead != uint64(n/2) {
			r.Fatalf("deployed %d, dead %d", got.Deployed, got.Dead)
		}
		take.Store(true)
		arrived.mu.Lock()
		arrived.list = nil
		arrived.mu.Unlock()
		r.elapse(20 * time.Second)
		r.counts(uint64(n), uint64(n-1), 0, 1)
		got := arrived.inOrder()
		byDevice := map[int64][]int64{}
		for _, ts := range got {
			byDevice[ts%7] = append(byDevice[ts%7], ts)
		}
		// The letter that was accepted first, and said that the others may go, may have stood
		// anywhere.
		for d, list := range byDevice {
			if !slices.IsSorted(list[1:]) {
				r.Errorf("device %d: %v", d, list)
			}
		}
	})
}

// While the cloud takes no letter at all no try counts, so that none of several comes to rest for
// an outage; a single letter is tried retry.max times.
func TestTriesDuringAnOutageDoNotCount(t *testing.T) {
	var take atomic.Bool
	s := &script{}
	s.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		for _, ts := range stamps(u) {
			if ts%2 == 1 && !take.Load() {
				return no(u, "database is busy")
			}
		}
		return ok(u)
	}
	inBubble(t, s, func(c *config.Config) { c.Retry.Max = 3 }, func(r *rig) {
		r.postOf(4, 8)
		r.elapse(10 * time.Minute)
		if d := r.dead.Stats(); d.Letters != 4 || d.Resting != 0 {
			r.Errorf("dead letters: %+v", d)
		}
		take.Store(true)
		r.elapse(time.Minute + time.Second)
		r.counts(8, 8, 0, 0)
	})
}

// A lost acknowledgement costs ten times what acknowledgements take on this link, at least 5 s and
// at most 60 s; a server that has become slow is given twice the time with each session that ends
// so, until it answers.
func TestLostAcknowledgement(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration // each acknowledgement
		lose  bool          // one; else the server becomes slow
		slow  time.Duration
		want  []float64 // connects
	}{
		{"a quick link", 100 * time.Millisecond, true, 0, []float64{0, 101 + 5 + 3}},
		{"a slow link", 1200 * time.Millisecond, true, 0, []float64{0, 101 + 12 + 3}},
		{"a very slow link", 9 * time.Second, true, 0, []float64{0, 101 + 60 + 3}},
		{"a server that has become slow", 100 * time.Millisecond, false, 15 * time.Second, []float64{0, 101 + 5 + 3, 109 + 1 + 10 + 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var takes atomic.Int64
			takes.Store(int64(c.takes))
			var lose atomic.Bool
			s := &script{}
			s.uplink = func(n int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
				if len(u.EntityData) == 0 {
					return ok(u)
				}
				if lose.CompareAndSwap(true, false) {
					return nil
				}
				s.mu.Lock()
				send, wait := s.streams[n], time.Duration(takes.Load())
				s.mu.Unlock()
				go func() {
					pause(wait)
					send(&proto.ResponseMsg{UplinkResponseMsg: ok(u)})
				}()
				return nil
			}
			inBubble(t, s, func(c *config.Config) { c.Sync.Repeat = 0 }, func(r *rig) {
				for range 10 {
					r.post(1)
					r.elapse(10 * time.Second)
				}
				r.counts(10, 10, 0, 0)
				lose.Store(c.lose)
				if !c.lose {
					takes.Store(int64(c.slow))
				}
				r.post(1)
				r.elapse(3 * time.Minute)
				r.counts(11, 11, 0, 0)
				if got := seconds(s.connects); !slices.Equal(got, c.want) {
					r.Errorf("connects at %v, want %v", got, c.want)
				}
			})
		})
	}
}

// What comes when only refused events wait is not made to wait for the next round.
func TestFirstScoutGoesAtOnce(t *testing.T) {
	s := &script{uplink: func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		if slices.ContainsFunc(stamps(u), func(ts int64) bool { return ts <= 2 }) {
			return no(u, "database is busy")
		}
		return ok(u)
	}}
	inBubble(t, s, nil, func(r *rig) {
		r.postOf(9, 1)
		r.elapse(2 * time.Second)
		r.postOf(9, 1)
		r.elapse(5 * time.Minute)
		r.state(Refused)
		r.counts(2, 0, 1, 1)
		r.postOf(9, 1)
		r.elapse(2 * time.Second)
		r.counts(3, 1, 0, 2)
	})
}
