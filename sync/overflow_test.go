package sync

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
	"edgesync/sync/former"
	"edgesync/wal"
)

// backlog cuts the link, makes two devices and accepts so many events of each, one by one in turns,
// and one of honest behind each hundred. Then the cloud refuses creations, and the link is back.
func (b *box) backlog(n int, honest proto.UUID) (made []proto.UUID) {
	b.Helper()
	b.link.Refuse.Store(true)
	b.cloud.EndSessions(cloudtest.EndReset)
	b.elapse(2 * time.Second)
	made = b.make(2)
	for i := range n {
		b.accept(telemetryOf(made, int64(i+1)))
		if i%100 == 99 {
			b.accept(telemetryOf([]proto.UUID{honest}, int64(i/100+1)))
		}
	}
	b.cloud.RefuseCreations(tenantLimit, 0)
	b.link.Refuse.Store(false)
	b.elapse(3 * time.Minute)
	return made
}

// A backlog larger than the dead-letter log, of devices that the cloud then refuses to create,
// loses nothing: it waits, through restarts and a kill, honest devices are served meanwhile, and
// all of it follows in order when the cloud takes one device, and then the other.
func TestOverflow(t *testing.T) {
	inBox(t, nil, func(b *box) {
		const n = 4_000
		honest := b.device("honest").ID
		made := b.backlog(n, honest)
		s := b.agent.Snapshot()
		b.expect("dead, dropped, pending", []uint64{s.Dead, s.Dropped, s.Pending}, []uint64{2*n + 4, 0, 0})
		b.expect("waiting for creations", s.RefusedCreations.Events, 2*n+2)
		b.expect("of the honest device", b.tenant.Arrivals(honest, "t"), upTo(n/100))
		if o := b.overflow.Stats(nil); o.Kept < n/2 || o.Entities != 2 {
			b.Errorf("in the overflow: %+v", o)
		}
		if u := b.dead.Use(wal.DeadCreation); u.Bytes > b.dead.Room(wal.DeadCreation).Bytes {
			b.Errorf("the dead letters take %d bytes", u.Bytes)
		}
		err := b.intake.Accept(b.Context(), telemetryOf(made[:1], n+1))
		if !errors.Is(err, ErrNoRoom) {
			b.Errorf("new data of a refused device: %v", err)
		}

		b.stop()
		b.start()
		b.elapse(time.Minute)
		killed := b.T.TempDir() // the files as a kill leaves them
		if err := os.CopyFS(killed, os.DirFS(b.dir)); err != nil {
			b.Fatal(err)
		}
		b.stop()
		b.dir = killed
		b.start()
		b.elapse(time.Minute)
		s = b.agent.Snapshot()
		b.expect("after restarts", []uint64{s.Dead, s.Dropped, s.Pending}, []uint64{2*n + 4, 0, 0})
		if err := b.intake.Accept(b.Context(), telemetryOf(made[:1], n+1)); !errors.Is(err, ErrNoRoom) {
			b.Errorf("new data of a refused device after restarts: %v", err)
		}

		b.cloud.RefuseCreations("", 0)
		b.elapse(30 * time.Second)
		again := b.T.TempDir() // a kill in the middle of it
		if err := os.CopyFS(again, os.DirFS(b.dir)); err != nil {
			b.Fatal(err)
		}
		b.stop()
		b.dir = again
		b.start()
		b.elapse(10 * time.Minute)
		for _, id := range made {
			got := b.tenant.Arrivals(id, "t")
			sent := len(got)
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, upTo(n)) {
				b.Errorf("%d of %d arrived", len(got), n)
			}
			if sent > n+n/10 {
				b.Errorf("%d were sent for %d", sent, n)
			}
		}
		s = b.agent.Snapshot()
		b.expect("dead, dropped, pending", []uint64{s.Dead, s.Dropped, s.Pending}, []uint64{0, 0, 0})
		b.expect("accepted", s.Accepted, 2*n+4+n/100)
		b.expect("in the overflow", b.overflow.Any(), false)
		b.post(made[0], n+1)
		b.elapse(10 * time.Second)
		b.expect("later", slices.Max(b.tenant.Arrivals(made[0], "t")), n+1)
	})
}

// What waits in the overflow for a creation goes when somebody drops that, and is counted.
func TestDropTakesTheOverflow(t *testing.T) {
	for _, running := range []bool{true, false} {
		inBox(t, nil, func(b *box) {
			const n = 4_000
			made := b.backlog(n, b.device("honest").ID)
			list, _, err := b.agent.DeadLetters().List(b.Context(), 0, 10)
			birth := slices.IndexFunc(list, func(d DeadLetter) bool { return d.Action == "ADDED" && d.Entity == proto.FormatUUID(made[0]) })
			if err != nil || birth < 0 {
				b.Fatal(list, err)
			}
			if running {
				if _, _, err := b.agent.DeadLetters().Drop(b.Context(), list[birth].Offset); err != nil {
					b.Fatal(err)
				}
			} else {
				b.stop()
				dead, err := wal.OpenDead(filepath.Join(b.dir, "dead"), 1<<20, 1<<60, nil)
				if err != nil {
					b.Fatal(err)
				}
				over, err := former.Open(former.Options{Dir: filepath.Join(b.dir, "overflow")})
				if err != nil {
					b.Fatal(err)
				}
				dropped, err := DropDead(dead, over, list[birth].Offset)
				if err := errors.Join(err, dead.Close(), over.Close()); err != nil || dropped < n {
					b.Fatal(dropped, err)
				}
				b.start()
			}
			b.elapse(time.Minute)
			s := b.agent.Snapshot()
			b.expect("dead, dropped, pending", []uint64{s.Dead, s.Dropped, s.Pending}, []uint64{n + 2, n + 2, 0})
			b.cloud.RefuseCreations("", 0)
			b.elapse(10 * time.Minute)
			b.expect("of the other", len(b.tenant.Arrivals(made[1], "t")), n)
			b.expect("of the dropped one", len(b.tenant.Arrivals(made[0], "t")), 0)
			s = b.agent.Snapshot()
			b.expect("dead, dropped, pending", []uint64{s.Dead, s.Dropped, s.Pending}, []uint64{0, n + 2, 0})
		})
	}
}

// Where the overflow has no room the dead-letter log pushes out its oldest, counted, and nobody
// else waits for it.
func TestOverflowWithoutRoom(t *testing.T) {
	inBox(t, nil, func(b *box) {
		b.stop()
		b.overRoom = 64 << 10
		b.start()
		b.elapse(time.Minute)
		const n = 6_000
		honest := b.device("honest").ID
		b.backlog(n, honest)
		s := b.agent.Snapshot()
		b.expect("of the honest device", b.tenant.Arrivals(honest, "t"), upTo(n/100))
		b.expect("pending, all", []uint64{s.Pending, s.Dead + s.Dropped}, []uint64{0, 2*n + 4})
		if s.Dropped == 0 || s.Dropped > n*3/2 {
			b.Errorf("%d dropped", s.Dropped)
		}
	})
}
