package sync

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
	"edgesync/sync/config"
	"edgesync/wal"
)

const tenantLimit = "Devices limit reached"

// make makes devices of the names "made 0" and so on.
func (b *box) make(n int) (ids []proto.UUID) {
	b.Helper()
	for i := range n {
		id, err := b.agent.Create(b.Context(), &NewDevice{Name: fmt.Sprint("made ", i), CredentialsID: fmt.Sprint("token-made-", i)})
		if err != nil {
			b.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// telemetryOf is one event of telemetry of each of the devices, with the value and the time ts.
func telemetryOf(ids []proto.UUID, ts int64) (events []proto.Event) {
	for _, id := range ids {
		kv := []proto.KV{{Key: []byte("t"), Type: proto.KeyValueType_LONG_V, Long: ts}}
		events = append(events, proto.Event{
			Kind: proto.KindEntityData, Action: proto.ActionTimeseriesUpdated, Time: time.Now().UnixMilli(), Entity: id,
			Fragment: proto.AppendTelemetry(nil, id, "DEVICE", ts, kv),
		})
	}
	return events
}

func (b *box) accept(events []proto.Event) {
	b.Helper()
	if err := b.intake.Accept(b.Context(), events); err != nil {
		b.Fatal(err)
	}
}

// deadFsyncs counts the fsyncs of the dead-letter log from now on.
func (b *box) deadFsyncs() *atomic.Int64 {
	var n atomic.Int64
	b.dead.Meter(func(_, _ int64, fsyncs int) { n.Add(int64(fsyncs)) })
	return &n
}

// 20,100 events of 300 devices that the cloud refuses to create stand in the backlog between events
// of two others. These reach the cloud as if they were alone; nothing is dropped; what waits is
// moved with a few fsyncs. When the cloud takes creations again, all of it follows in the order of
// each device, creations and data many in an uplink.
func TestRefusedCreationsSlowNobodyDown(t *testing.T) {
	inBoxOf(t, 4<<20, nil, func(b *box) {
		const devices, rounds, each = 300, 67, 10
		honest := []proto.UUID{b.device("one").ID, b.device("two").ID}
		var made []proto.UUID
		fsyncs := b.deadFsyncs()
		b.offline(func() {
			b.cloud.RefuseCreations(tenantLimit, 0)
			made = b.make(devices)
			for n := int64(1); n <= rounds; n++ {
				for k := range int64(each) {
					b.accept(telemetryOf(made[k*devices/each:(k+1)*devices/each], n))
					b.accept(telemetryOf(honest, each*(n-1)+k+1))
				}
			}
			b.cloud.RateLimit(true) // until the sync is over
		})
		b.sent(func(*proto.UplinkMsg) bool { return true })
		b.cloud.RateLimit(false)
		b.elapse(2 * time.Minute)
		for _, id := range honest {
			if got := b.tenant.Arrivals(id, "t"); !slices.Equal(got, upTo(rounds*each)) {
				b.Fatalf("of a device that is there %d of %d arrived", len(got), rounds*each)
			}
		}
		s := b.agent.Snapshot()
		lost := b.tenant.Counts().Dropped // questions about devices that are not there
		b.expect("dead, dropped, pending", []uint64{s.Dead, s.Dropped, s.Pending}, []uint64{devices * (2 + rounds), 0, 0})
		// Two creations are moved alone, the rest by asideEvents, the last of them as they come.
		letters := b.dead.Use(wal.DeadCreation).Letters
		if n := fsyncs.Load(); n < int64(letters/asideEvents) || n > 40 || letters+int(b.overflow.Stats(nil).Kept) != int(s.Dead) {
			b.Errorf("%d fsyncs for %d dead letters of %d", n, letters, s.Dead)
		}
		r := s.RefusedCreations
		b.expect("devices, events, cause", []any{r.Devices, r.Events, r.Cause}, []any{devices, devices * (1 + rounds), tenantLimit})
		b.expect("names", len(r.Names), 8)

		b.post(honest[0], 10_001)
		b.elapse(2 * time.Second)
		b.expect("beside them", b.tenant.Arrivals(honest[0], "t")[rounds*each:], []int64{10_001})

		b.sent(func(*proto.UplinkMsg) bool { return true })
		b.cloud.RefuseCreations("", 0)
		b.elapse(61 * time.Second) // the longest pause between two creations
		s = b.agent.Snapshot()
		b.expect("dead, dropped, pending", []uint64{s.Dead, s.Dropped, s.Pending}, []uint64{0, 0, 0})
		for _, id := range made {
			if got := b.tenant.Arrivals(id, "t"); !slices.Equal(got, upTo(rounds)) {
				b.Fatalf("of a device that was created late %v arrived", got)
			}
		}
		creations, data := 0, 0
		for _, u := range b.sent(func(*proto.UplinkMsg) bool { return true }) {
			if len(u.DeviceUpdateMsg) > 0 {
				creations++
			} else if len(u.EntityData)+len(u.DeviceCredentialsUpdateMsg) > 0 {
				data++
			}
		}
		// 1, 2, 4 … 64, 100, 73; then batch.size in each.
		b.expect("uplinks of creations, of the rest", []any{creations, data <= devices*(1+rounds)/100+10}, []any{9, true})
		b.expect("refused creations", s.RefusedCreations, (*RefusedCreations)(nil))
		b.expect("lost", b.tenant.Counts().Dropped, lost)
	})
}

// 45,000 events that a refused device sends in fifteen seconds take nothing from the device beside
// it, which sends two a second: each of its events is with the cloud within batch.timeout. What
// finds no room is refused at the door, and nothing that was accepted is dropped.
func TestFloodOfARefusedDevice(t *testing.T) {
	inBoxOf(t, 4<<20, nil, func(b *box) {
		honest := b.device("honest").ID
		b.cloud.RefuseCreations(tenantLimit, 0)
		made := b.make(1)
		b.elapse(2 * time.Second)
		fsyncs := b.deadFsyncs()
		accepted, refused, ts := 0, 0, int64(0)
		for tick := range int64(150) {
			if tick%5 == 0 {
				b.post(honest, tick/5+1)
			}
			for range 30 {
				var events []proto.Event
				for range 10 {
					ts++
					events = append(events, telemetryOf(made, ts)...)
				}
				switch err := b.intake.Accept(b.Context(), events); {
				case err == nil:
					accepted += 10
				case errors.Is(err, ErrNoRoom):
					var partial *PartialError
					if refused += 10; errors.As(err, &partial) {
						accepted, refused = accepted+partial.Stored, refused-partial.Stored
					}
				default:
					b.Fatal(err)
				}
			}
			b.elapse(100 * time.Millisecond)
			if want := (tick - 10) / 5; int64(len(b.tenant.Arrivals(honest, "t"))) < want {
				b.Fatalf("after %d ms %v arrived of the honest device", tick*100, b.tenant.Arrivals(honest, "t"))
			}
		}
		b.elapse(2 * time.Second)
		b.expect("of the honest device", b.tenant.Arrivals(honest, "t"), upTo(30))
		s := b.agent.Snapshot()
		b.expect("dead, dropped, pending, turned away", []any{s.Dead, s.Dropped, s.Pending, s.TurnedAway},
			[]any{accepted + 2, 0, 0, refused})
		if accepted < 14_000 || accepted+refused != 45_000 {
			b.Errorf("%d were accepted, %d refused", accepted, refused)
		}
		if n := fsyncs.Load(); n > 150 { // one for each time that something came
			b.Errorf("%d fsyncs for %d dead letters", n, s.Dead)
		}
	})
}

// When the room for data of refused devices is used up, these get ErrNoRoom, and nobody else; of a
// mixed publish the others are stored. It is the same after a restart. Nothing of what was accepted
// is dropped, and the devices are served again when the cloud has taken them.
func TestRoomOfRefusedDevices(t *testing.T) {
	inBox(t, nil, func(b *box) {
		honest := b.device("honest").ID
		b.cloud.RefuseCreations(tenantLimit, 0)
		made := b.make(3)
		b.elapse(10 * time.Second)
		waits := made[0]
		last := int64(0)
		fill := func() (n int64) {
			b.Helper()
			for ; n < 10_000; n++ {
				err := b.intake.Accept(b.Context(), telemetryOf([]proto.UUID{waits}, last+1))
				if errors.Is(err, ErrNoRoom) {
					return n
				}
				if err != nil {
					b.Fatal(err)
				}
				last++
			}
			b.Fatal("there is no end of the room")
			return 0
		}
		stored := fill()
		b.elapse(10 * time.Second)
		more := fill()
		// What is on its way to the dead letters may count twice for a moment.
		if stored < 3000 || more > asideEvents+asideEvents/10 {
			b.Errorf("%d were stored, and %d more when those were moved", stored, more)
		}
		b.elapse(10 * time.Second)
		full := b.agent.Snapshot().RefusedCreations
		b.expect("full, devices", []any{full.Full, full.Devices}, []any{true, 3})
		if full.Bytes > full.Room || full.Bytes < full.Room*9/10 || b.agent.Snapshot().TurnedAway < 2 {
			b.Errorf("%+v", full)
		}

		mixed := telemetryOf([]proto.UUID{made[1], honest}, 7)
		var partial *PartialError
		if err := b.intake.Accept(b.Context(), mixed); !errors.As(err, &partial) || *partial != (PartialError{1, 1}) {
			b.Errorf("of a mixed publish: %v", err)
		}
		done := make(chan error, 1)
		if err := b.intake.Submit(b.Context(), telemetryOf([]proto.UUID{honest, made[1]}, 8), func(err error) { done <- err }); err != nil {
			b.Error(err)
		}
		if err := <-done; !errors.Is(err, ErrNoRoom) || !errors.As(err, &partial) {
			b.Errorf("of a mixed publish: %v", err)
		}
		if err := b.intake.Submit(b.Context(), telemetryOf(made, 9), func(error) { b.Error("done") }); !errors.Is(err, ErrNoRoom) {
			b.Errorf("of those that wait alone: %v", err)
		}
		b.elapse(5 * time.Second)
		b.expect("of the other", b.tenant.Arrivals(honest, "t"), []int64{7, 8})

		b.elapse(time.Minute)   // the registry knows that the devices are announced
		killed := b.T.TempDir() // the files as a kill leaves them
		if err := os.CopyFS(killed, os.DirFS(b.dir)); err != nil {
			b.Fatal(err)
		}
		b.stop()
		b.dir = killed
		b.start()
		b.elapse(10 * time.Second)
		again := b.agent.Snapshot().RefusedCreations
		b.expect("after a kill", *again, *full)
		b.expect("stored after a kill", fill(), 0)
		b.expect("dropped", b.agent.Snapshot().Dropped, 0)

		b.cloud.RefuseCreations("", 0)
		b.elapse(3 * time.Minute)
		if got := b.tenant.Arrivals(waits, "t"); !slices.Equal(got, upTo(stored+more)) {
			b.Errorf("%d of %d arrived", len(got), stored+more)
		}
		b.accept(telemetryOf(made, 10))
		b.elapse(10 * time.Second)
		s := b.agent.Snapshot()
		b.expect("dead, dropped, pending", []uint64{s.Dead, s.Dropped, s.Pending}, []uint64{0, 0, 0})
		b.expect("of the second", b.tenant.Arrivals(made[1], "t"), []int64{10})
	})
}

// The look whether any creation is refused costs an event no allocation.
func TestRoomCostsNothing(t *testing.T) {
	r := &Room{}
	i := &Intake{room: r}
	if n := testing.AllocsPerRun(100, func() {
		if i.room.limited() {
			t.Error("no creation is refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if (&Intake{}).room.limited() {
		t.Error("an intake without a room")
	}
}

// Whoever drops a refused creation drops what waits for it, at once and counted, and what the
// device does later goes its ordinary way.
func TestDroppedCreation(t *testing.T) {
	inBox(t, nil, func(b *box) {
		b.cloud.RefuseCreations(tenantLimit, 0)
		made := b.make(2)
		for n := int64(1); n <= 5; n++ {
			b.accept(telemetryOf(made, n))
		}
		b.elapse(30 * time.Second)
		list, _, err := b.agent.DeadLetters().List(b.Context(), 0, 100)
		if err != nil || len(list) != 14 {
			b.Fatalf("%d dead letters, %v", len(list), err)
		}
		birth := slices.IndexFunc(list, func(d DeadLetter) bool { return d.Action == "ADDED" && d.Entity == proto.FormatUUID(made[0]) })
		b.expect("reason of a dependent", list[len(list)-1].Reason, dependentReason)
		n, later, err := b.agent.DeadLetters().Drop(b.Context(), list[birth].Offset)
		b.expect("dropped, later, error", []any{n, later, err}, []any{7, 0, nil})
		b.elapse(time.Millisecond)
		s := b.agent.Snapshot()
		b.expect("dead, dropped", []uint64{s.Dead, s.Dropped}, []uint64{7, 7})
		b.expect("devices", s.RefusedCreations.Devices, 1)
		b.expect("lost", b.tenant.Counts().Dropped, 0)
		b.post(made[0], 6)
		b.elapse(20 * time.Second)
		b.post(made[1], 6)
		b.elapse(20 * time.Second)
		s = b.agent.Snapshot()
		b.expect("dead, dropped, pending", []uint64{s.Dead, s.Dropped, s.Pending}, []uint64{8, 7, 0})
		b.expect("lost", b.tenant.Counts().Dropped, 1) // as the contract says: what it does not know it drops
		b.cloud.RefuseCreations("", 0)
		b.elapse(2 * time.Minute)
		b.expect("of the other", b.tenant.Arrivals(made[1], "t"), upTo(6))
		b.expect("dead", b.agent.Snapshot().Dead, 0)
	})
}

// With retry.max = 1 no refused creation is tried by itself, but what waits for one goes up when a
// person has retried it with success.
func TestDependentsWithoutTries(t *testing.T) {
	inBox(t, func(c *config.Config) { c.Retry.Max = 1 }, func(b *box) {
		b.cloud.RefuseCreations(tenantLimit, 0)
		made := b.make(1)
		b.accept(telemetryOf(made, 1))
		b.accept(telemetryOf(made, 2))
		b.elapse(time.Minute)
		b.cloud.RefuseCreations("", 0)
		b.elapse(5 * time.Minute)
		b.expect("dead", b.agent.Snapshot().Dead, 4)
		n, err := b.agent.DeadLetters().Retry(b.Context(), b.birthOf(made[0]))
		b.expect("retried", []any{n, err}, []any{1, nil})
		b.elapse(5 * time.Second)
		b.expect("arrived", b.tenant.Arrivals(made[0], "t"), []int64{1, 2})
		b.expect("dead", b.agent.Snapshot().Dead, 0)
	})
}

func (b *box) birthOf(id proto.UUID) (offset uint64) {
	b.dead.Entries(func(e *wal.DeadEntry) bool {
		if e.Entity == id && creates(e.Kind, e.Action) {
			offset = e.Offset
		}
		return true
	})
	return offset
}

// A refused creation is tried for as long as it takes: retry.max is about events that wait for
// nobody.
func TestCreationIsTriedForHours(t *testing.T) {
	inBox(t, nil, func(b *box) {
		b.cloud.RefuseCreations(tenantLimit, 8*time.Hour)
		made := b.make(3)
		b.accept(telemetryOf(made, 1))
		b.elapse(8 * time.Hour)
		if n := len(b.sent(func(u *proto.UplinkMsg) bool { return len(u.DeviceUpdateMsg) > 0 })); n < 170 || n > 500 {
			b.Errorf("%d tries in eight hours", n)
		}
		b.expect("dead", b.agent.Snapshot().Dead, 9)
		b.elapse(time.Minute)
		for _, id := range made {
			b.expect("arrived", b.tenant.Arrivals(id, "t"), []int64{1})
		}
		b.expect("dead", b.agent.Snapshot().Dead, 0)
	})
}

// A device whose name is taken in the cloud holds up no other one.
func TestOneRefusedNameHoldsNobodyUp(t *testing.T) {
	inBox(t, nil, func(b *box) {
		b.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
			for _, d := range u.DeviceUpdateMsg {
				if strings.Contains(d.Entity, `"made 3"`) {
					return "Device with such name already exists!"
				}
			}
			return ""
		})
		made := b.make(20)
		b.accept(telemetryOf(made, 1))
		b.elapse(10 * time.Second)
		b.accept(telemetryOf(made, 2))
		b.elapse(5 * time.Second)
		for i, id := range made {
			want := []int64{1, 2}
			if i == 3 {
				want = nil
			}
			b.expect(fmt.Sprint("arrived of ", i), b.tenant.Arrivals(id, "t"), want)
		}
		s := b.agent.Snapshot()
		b.expect("dead, names", []any{s.Dead, s.RefusedCreations.Names}, []any{4, []string{"made 3"}})
	})
}

// A cloud that answers creations, and only those, with its rate limit stops nobody else.
func TestRateLimitOfCreations(t *testing.T) {
	inBox(t, nil, func(b *box) {
		honest := b.device("honest").ID
		b.cloud.RefuseCreations("Failed to process uplink message. Rate limit reached", 10*time.Minute)
		made := b.make(30)
		b.accept(telemetryOf(made, 1))
		for n := range int64(60) {
			b.post(honest, n+1)
			b.elapse(time.Second)
		}
		b.elapse(5 * time.Second)
		b.expect("of the honest one", b.tenant.Arrivals(honest, "t"), upTo(60))
		b.elapse(11 * time.Minute)
		for _, id := range made {
			b.expect("arrived", b.tenant.Arrivals(id, "t"), []int64{1})
		}
		s := b.agent.Snapshot()
		b.expect("dead, dropped", []uint64{s.Dead, s.Dropped}, []uint64{0, 0})
	})
}

// Creations go up many in one uplink, also where none was refused.
func TestCreationsGoTogether(t *testing.T) {
	inBox(t, nil, func(b *box) {
		var made []proto.UUID
		b.offline(func() {
			made = b.make(200)
			b.accept(telemetryOf(made, 1))
			b.sent(func(*proto.UplinkMsg) bool { return true })
		})
		b.elapse(time.Minute)
		n := len(b.sent(func(u *proto.UplinkMsg) bool { return len(u.DeviceUpdateMsg) > 0 }))
		b.expect("uplinks of creations", n, 4)
		for _, id := range made {
			b.expect("arrived", b.tenant.Arrivals(id, "t"), []int64{1})
		}
	})
}

// An entity whose creation is accepted keeps its order also while the last of its events is on its
// way to the dead letters.
func TestDependentOnItsWayIsNotForgotten(t *testing.T) {
	l := loopAlone(t)
	id := proto.UUID{1}
	l.dependents.creations[id] = refusedCreation{accepted: true}
	l.sending.waiting = []wal.DeadLetter{{Event: wal.Event{Entity: id}, Offset: 7}}
	l.maybeRetry(time.Now())
	if !l.dependents.has(id, 8) {
		t.Error("what follows would overtake it")
	}
	l.sending.forgetAside()
	l.retries.due, l.retries.birthsDue = time.Time{}, time.Time{}
	l.maybeRetry(time.Now())
	if l.dependents.any() {
		t.Error("it is not forgotten")
	}
}

// Devices that never pause leave the detour by the dead letters soon after their creations were
// accepted, in their order, and hold up no other device while they do.
func TestSteadyDevicesLeaveTheDeadLetters(t *testing.T) {
	inBoxOf(t, 4<<20, nil, func(b *box) {
		honest := b.device("honest").ID
		b.cloud.RefuseCreations(tenantLimit, time.Minute)
		b.cloud.DelayAcks(300 * time.Millisecond) // longer than between two events of a device
		made := b.make(8)
		fsyncs := b.deadFsyncs()
		before := int64(0)
		for n := int64(1); n <= 900; n++ {
			b.accept(telemetryOf(made, n))
			b.post(honest, n)
			b.elapse(200 * time.Millisecond)
			if got := int64(len(b.tenant.Arrivals(honest, "t"))); got < n-25 {
				b.Fatalf("of %d events of the honest device %d arrived", n, got)
			}
			if n == 800 { // the cloud took them after a minute and a half, and what had come until then took another one
				before = fsyncs.Load()
			}
		}
		b.expect("fsyncs of the dead-letter log while all is well", fsyncs.Load()-before, 0)
		b.elapse(10 * time.Second)
		for i, id := range append(made, honest) {
			if got := b.tenant.Arrivals(id, "t"); !slices.Equal(got, upTo(900)) {
				b.Errorf("of device %d arrived %v", i, got)
			}
		}
		s := b.agent.Snapshot()
		b.expect("dead, dropped, pending", []uint64{s.Dead, s.Dropped, s.Pending}, []uint64{0, 0, 0})
	})
}

// What waits in the backlog for a refused creation at a start counts in the room, as after a kill
// without a link.
func TestBacklogCountsInTheRoom(t *testing.T) {
	inBox(t, nil, func(b *box) {
		b.cloud.RefuseCreations(tenantLimit, 0)
		made := b.make(2)
		b.elapse(time.Minute)
		b.link.Refuse.Store(true)
		b.cloud.EndSessions(cloudtest.EndReset)
		b.elapse(2 * time.Second)
		stored := 0
		for b.intake.Accept(b.Context(), telemetryOf(made[:1], int64(stored+1))) == nil {
			stored++
		}
		for range 2 {
			b.stop()
			b.start()
			b.elapse(2 * time.Second)
			if err := b.intake.Accept(b.Context(), telemetryOf(made[:1], int64(stored+1))); !errors.Is(err, ErrNoRoom) {
				b.Fatalf("after a start without a link: %v", err)
			}
		}
		b.expect("pending", b.agent.Snapshot().Pending, stored)
		b.link.Refuse.Store(false)
		b.elapse(3 * time.Minute)
		s := b.agent.Snapshot()
		b.expect("dead, dropped, pending", []any{s.Dead, s.Dropped, s.Pending}, []any{stored + 4, 0, 0})
	})
}
