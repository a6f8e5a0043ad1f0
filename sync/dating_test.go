package sync

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/sync/clock"
	"edgesync/sync/registry"
	"edgesync/wal"
)

// machine is a board that has just started in a bubble, with its clock in 1970.
type machine struct {
	*testing.T
	began time.Time    // when the clock was opened, by the bubble's time; the true time was june
	lag   atomic.Int64 // ms that the board's own clock is behind
	path  string       // of the clock's file
}

const june = int64(1780272000000) // 2026-06-01

func newMachine(t *testing.T) *machine {
	m := &machine{T: t, began: time.Now()}
	m.lag.Store(june)
	return m
}

// now returns the true time.
func (m *machine) now() int64 { return june + time.Since(m.began).Milliseconds() }

// clock returns the clock of a new process; the last time in its file is beforeCut before the
// start.
func (m *machine) clock(dir string) *clock.Clock {
	m.path = filepath.Join(dir, "clock")
	if err := os.WriteFile(m.path, []byte("edgesync clock 1\nseen "+strconv.FormatInt(june-beforeCut, 10)+"\n"), 0o600); err != nil {
		m.Fatal(err)
	}
	c := clock.Open(dir, clock.Machine{
		Wall: func() int64 { return m.now() - m.lag.Load() }, Uptime: func() int64 { return m.now() - june }, Boot: "boot-1",
	}, time.Time{}, slog.New(slog.DiscardHandler))
	c.Begin(0, 1)
	return c
}

// file returns the lines of the clock's file.
func (m *machine) file() []string {
	b, err := os.ReadFile(m.path)
	if err != nil && !os.IsNotExist(err) {
		m.Error(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

const beforeCut = 600_000 // ms

// inClockBubble is inBubble with a clock of a machine that started in 1970.
func inClockBubble(t *testing.T, silent bool, f func(r *rig, m *machine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		r := newRig(t, &script{silent: silent, ahead: time.UnixMilli(june).Sub(m.began)}, nil)
		r.clock = m.clock(r.dir)
		defer func() {
			r.stop()
			r.identity()
			if err := errors.Join(r.queue.Close(), r.dead.Close()); err != nil {
				t.Error(err)
			}
		}()
		f(r, m)
	})
}

func TestUndatedAttributes(t *testing.T) {
	inClockBubble(t, true, func(r *rig, _ *machine) {
		r.run()
		r.elapse(10 * time.Second)
		kv := []proto.KV{{Key: []byte("a"), Type: proto.KeyValueType_LONG_V, Long: r.agent.Clock.Stamp()}}
		if err := r.intake.Accept(r.Context(), []proto.Event{{
			Kind: proto.KindEntityData, Action: proto.ActionPostAttributes, Time: r.agent.Clock.Stamp(), Entity: proto.UUID{1},
			Fragment: proto.AppendPostAttributes(nil, proto.UUID{1}, proto.DeviceEntity, proto.ClientScope, kv),
		}}); err != nil {
			t.Fatal(err)
		}
		r.elapse(10 * time.Second)
		r.counts(1, 1, 0, 0)
		r.script.mu.Lock()
		defer r.script.mu.Unlock()
		if got := r.script.uplinks[0].EntityData[0].PostAttributesMsg.Kv[0].LongV; got != kv[0].Long {
			t.Errorf("the value became %d, want %d", got, kv[0].Long)
		}
	})
}

func TestGapUndated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // so that the two stamps are of one moment
		m := newMachine(t)
		c := m.clock(t.TempDir())
		record := GapRecord(c, func() (proto.UUID, bool) { return proto.UUID{1}, true }, func() uint64 { return 0 })
		e, ok := record(wal.Gap{Events: 5, First: june, Last: c.Stamp(), Why: wal.WhyQuota}, 7)
		content, _, err := proto.AppendContent(nil, e.Fragment)
		const want = `{"ts":null,"values":{"queueDropped":5,"queueDroppedReason":"quota","queueDroppedTotal":7,` +
			`"queueDroppedFrom":1780272000000}}`
		if !ok || err != nil || string(content) != want || e.Time != c.Stamp() {
			t.Errorf("%v, %v, %d: %s\nwant %s", ok, err, e.Time, content, want)
		}
	})
}

func TestPostedHere(t *testing.T) {
	inBox(t, nil, func(b *box) {
		d := b.device("pre")
		b.offline(func() {
			kv := []proto.KV{{Key: []byte("provisionState"), Type: proto.KeyValueType_STRING_V, Str: []byte("provisioned")}}
			if err := b.intake.Accept(b.Context(), []proto.Event{{
				Kind: proto.KindEntityData, Action: proto.ActionAttributesUpdated, Time: 1, Entity: d.ID,
				Fragment: proto.AppendAttributesUpdated(nil, d.ID, proto.DeviceEntity, "SERVER_SCOPE", 1, kv),
			}}); err != nil {
				b.Fatal(err)
			}
			var got []string
			b.reg.Attributes(d.ID, registry.ServerScope, []string{"provisionState"}, func(kv *proto.KV) {
				got = append(got, string(kv.Str))
			})
			b.expect("server attributes", got, []string{"provisioned"})
			b.expect("shared attributes", b.shared(d.ID, "provisionState"), "")
		})
	})
}

func TestUndated(t *testing.T) {
	for name, tt := range map[string]struct {
		set      func(m *machine)
		silent   bool
		after    time.Duration // of the connection, when events begin to go
		estimate bool
	}{
		"by NTP":          {silent: true, after: 2 * time.Minute, set: func(m *machine) { m.lag.Store(0) }},
		"by the cloud":    {set: func(*machine) {}},
		"never, estimate": {silent: true, after: 5 * time.Minute, set: func(*machine) {}, estimate: true},
	} {
		t.Run(name, func(t *testing.T) {
			inClockBubble(t, tt.silent, func(r *rig, m *machine) {
				r.script.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
					if lines := m.file(); len(stamps(u)) > 0 && (len(lines) != 3 || strings.HasSuffix(lines[2], "?")) {
						t.Errorf("events go while the file says %q", lines)
					}
					return ok(u)
				}
				r.link.Refuse.Store(true)
				r.run()
				r.elapse(90 * time.Second)
				var want []int64
				post := func(own int64) {
					e := telemetryEvent(r.agent.Clock.Stamp(), 0)
					e.Time = r.agent.Clock.Stamp()
					date := m.now() // the true time
					if tt.estimate {
						date = m.now() - beforeCut
					}
					if own != 0 {
						e.Fragment, date = telemetryEvent(own, 0).Fragment, own
					}
					want = append(want, date)
					if err := r.intake.Accept(r.Context(), []proto.Event{e}); err != nil {
						t.Fatal(err)
					}
					r.elapse(1234 * time.Millisecond)
				}
				post(0)
				post(12345)
				post(0)
				if s := r.agent.Snapshot(); s.Clock != "unknown" || s.OldestPendingMS != 3*1234 {
					t.Errorf("clock %q, the oldest waits for %d ms", s.Clock, s.OldestPendingMS)
				}
				r.link.Refuse.Store(false)
				r.agent.Hint()
				if tt.after > 0 {
					r.elapse(tt.after - 20*time.Second)
					if got := r.script.order(); len(got) > 0 {
						t.Errorf("%v went while the clock was not set", got)
					}
				}
				tt.set(m)
				r.elapse(30 * time.Second)
				if got := r.script.order(); !slices.Equal(got, want) {
					t.Errorf("arrived %v, want %v", got, want)
				}
				r.counts(3, 3, 0, 0)
			})
		})
	}
}

func TestUndatedDeadLetter(t *testing.T) {
	inClockBubble(t, false, func(r *rig, m *machine) {
		r.script.uplink = func(_ int, u *proto.UplinkMsg) *proto.UplinkResponseMsg { return no(u, "Entity not found") }
		r.link.Refuse.Store(true)
		r.run()
		r.elapse(time.Minute)
		e := telemetryEvent(r.agent.Clock.Stamp(), 0)
		e.Time = r.agent.Clock.Stamp()
		date := m.now()
		if err := r.intake.Accept(r.Context(), []proto.Event{e}); err != nil {
			t.Fatal(err)
		}
		r.link.Refuse.Store(false)
		r.elapse(2 * time.Minute)
		n := 0
		if err := r.dead.Each(func(d *wal.DeadLetter) bool {
			n++
			var u proto.UplinkMsg
			if err := pb.Unmarshal(d.Fragment, &u); err != nil || d.Time != date || !slices.Equal(stamps(&u), []int64{date}) {
				t.Errorf("the dead letter is of %d and holds %v, want %d; %v", d.Time, stamps(&u), date, err)
			}
			return true
		}); err != nil || n != 1 {
			t.Errorf("%d dead letters, %v", n, err)
		}
		for _, ts := range r.script.order() {
			if ts != date {
				t.Errorf("sent with %d, want %d", ts, date)
			}
		}
	})
}
