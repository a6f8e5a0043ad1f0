package sync

import (
	"os"
	"slices"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
	"edgesync/sync/config"
)

// limit lets the tenant have no more entities of a kind than it has, and a few more.
func (b *box) limit(kinds string, n int) {
	b.Helper()
	if err := b.tenant.Limit(kinds, n); err != nil {
		b.Fatal(err)
	}
}

// killed puts an agent on the files as a kill leaves them now.
func (b *box) killed() {
	b.Helper()
	files := b.T.TempDir()
	if err := os.CopyFS(files, os.DirFS(b.dir)); err != nil {
		b.Fatal(err)
	}
	b.stop()
	b.dir = files
	b.start()
}

func isCreating(u *proto.UplinkMsg) bool { return len(u.DeviceUpdateMsg) > 0 }

// The server answers creations with success and does not store the devices (CONTRACT.md 13.1).
// Nothing of these devices counts as deployed, nothing of them is lost, whatever ends in between,
// and status names them. When the limit is lifted all of it follows in order.
func TestCreationsRefusedInSilence(t *testing.T) {
	inBox(t, nil, func(b *box) {
		honest := b.device("honest").ID
		lost := b.tenant.Counts().Dropped
		b.limit("devices", 1)
		made := b.make(2)
		b.accept(telemetryOf(made, 1)) // before anything is known
		b.elapse(100 * time.Millisecond)
		b.accept(telemetryOf(made, 2)) // between the answer and the proof
		b.elapse(5 * time.Second)
		b.accept(telemetryOf(append(made, honest), 3))
		b.elapse(5 * time.Second)
		if b.tenant.Refused() < 2 {
			b.Fatal("the cloud has not swallowed the creations")
		}
		check := func(when string, events int) {
			b.Helper()
			s := b.agent.Snapshot()
			r := s.RefusedCreations
			if r == nil {
				b.Fatalf("%s: no creation counts as refused; %+v", when, s)
			}
			b.expect(when+": dead, dropped, pending, unproven", []any{s.Dead, s.Dropped, s.Pending, s.UnprovenCreations}, []any{2 + events, 0, 0, 0})
			b.expect(when+": devices, events, cause, names", []any{r.Devices, r.Events, r.Cause, r.Names},
				[]any{2, events, silentReason, []string{"made 0", "made 1"}})
			b.expect(when+": lost", b.tenant.Counts().Dropped, lost+2) // the credentials of the first try, which wait too
			b.expect(when+": there", []bool{b.reg.HasDevice(made[0]), b.reg.HasDevice(made[1])}, []bool{true, true})
		}
		check("after the proof", 8)
		b.expect("of the other", b.tenant.Arrivals(honest, "t"), []int64{3})
		b.offline(func() { b.accept(telemetryOf(made, 4)) })
		b.elapse(time.Minute)
		check("after another session", 10)
		b.killed()
		b.elapse(time.Minute)
		b.accept(telemetryOf(made, 5))
		b.elapse(5 * time.Second)
		check("after a kill", 12)

		b.limit("devices", -1)
		b.elapse(silentMax + time.Minute)
		for _, id := range made {
			b.expect("arrived", b.tenant.Arrivals(id, "t"), upTo(5))
			_, _, ok := b.tenant.DeviceOf(id)
			b.expect("in the cloud", ok, true)
		}
		s := b.agent.Snapshot()
		b.expect("dead, dropped, pending, unproven", []any{s.Dead, s.Dropped, s.Pending, s.UnprovenCreations}, []any{0, 0, 0, 0})
		b.expect("refused creations", s.RefusedCreations, (*RefusedCreations)(nil))
		b.expect("lost", b.tenant.Counts().Dropped, lost+2)
		d, _, _ := b.tenant.DeviceOf(made[1])
		b.expect("token", d.CredentialsID, "token-made-1")
		b.accept(telemetryOf(made, 6))
		b.elapse(3 * time.Second)
		b.expect("afterwards", b.tenant.Arrivals(made[0], "t"), upTo(6))
	})
}

// A device whose creation the cloud takes waits for one short sync. A burst of creations asks for
// one, and nothing counts as refused meanwhile.
func TestProofOfCreations(t *testing.T) {
	inBox(t, nil, func(b *box) {
		syncs := b.cloud.Stats().Syncs
		lost := b.tenant.Counts().Dropped
		made := b.make(20)
		b.accept(telemetryOf(made, 1))
		b.elapse(100 * time.Millisecond)
		s := b.agent.Snapshot()
		b.expect("deployed, unproven, refused", []any{s.UnprovenCreations, s.RefusedCreations}, []any{20, (*RefusedCreations)(nil)})
		waited := time.Duration(0)
		for ; len(b.tenant.Arrivals(made[19], "t")) == 0 && waited < time.Minute; waited += 100 * time.Millisecond {
			b.elapse(100 * time.Millisecond)
		}
		b.Logf("the data of new devices waited %v", waited)
		if waited > 3*time.Second {
			b.Errorf("waited %v", waited)
		}
		b.elapse(10 * time.Second)
		for _, id := range made {
			b.expect("arrived", b.tenant.Arrivals(id, "t"), []int64{1})
		}
		b.expect("syncs", b.cloud.Stats().Syncs-syncs, 1)
		b.expect("lost", b.tenant.Counts().Dropped, lost)
		s = b.agent.Snapshot()
		b.expect("dead, pending, unproven, refused", []any{s.Dead, s.Pending, s.UnprovenCreations, s.RefusedCreations}, []any{0, 0, 0, (*RefusedCreations)(nil)})
		// What went up with a creation that is proved is not sent again.
		credentials := 0
		for _, u := range b.sent(func(*proto.UplinkMsg) bool { return true }) {
			credentials += len(u.DeviceCredentialsUpdateMsg)
		}
		b.expect("credentials sent", credentials, 20)
	})
}

var _ = slices.Equal[[]int]
var _ = config.Defaults
var _ cloudtest.Ending
