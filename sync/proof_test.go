package sync

import (
	"fmt"
	"os"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
	"edgesync/wal"
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
			b.expect(when+": dead, dropped, pending, unproven", []any{s.Dead, s.Dropped, s.Pending, s.UnprovenCreations},
				[]any{2 + events, 0, 0, 0})
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
		b.expect("unproven, refused", []any{s.UnprovenCreations, s.RefusedCreations}, []any{20, (*RefusedCreations)(nil)})
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
		b.expect("dead, pending, unproven, refused", []any{s.Dead, s.Pending, s.UnprovenCreations, s.RefusedCreations},
			[]any{0, 0, 0, (*RefusedCreations)(nil)})
		// What went up with a creation that is proved is not sent again.
		credentials := 0
		for _, u := range b.sent(func(*proto.UplinkMsg) bool { return true }) {
			credentials += len(u.DeviceCredentialsUpdateMsg)
		}
		b.expect("credentials sent", credentials, 20)
	})
}

// A kill at any moment between a creation and its proof loses nothing and counts nothing twice,
// whether the cloud takes the device, or swallows it until the limit is lifted.
func TestProofsSurviveAKillAtEachStep(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 3 // both even and odd ones
	}
	for _, limited := range []bool{false, true} {
		inBox(t, nil, func(b *box) {
			for k := 0; k < 24; k += step {
				if limited {
					b.limit("devices", k/step)
				}
				id := b.makeOne(fmt.Sprint("step ", k))
				b.post(id, 1)
				if k%2 == 0 {
					b.elapse(20 * time.Millisecond)
					b.post(id, 2)
				}
				b.elapse(time.Duration(k*k) * 10 * time.Millisecond)
				b.killed()
				if k%2 != 0 {
					b.post(id, 2)
				}
				b.elapse(20 * time.Second)
				if limited {
					s := b.agent.Snapshot()
					if len(b.tenant.Arrivals(id, "t")) != 0 || s.RefusedCreations == nil || s.RefusedCreations.Devices != 1 ||
						!b.reg.HasDevice(id) {
						b.Fatalf("step %d: %v arrived, %+v", k, b.tenant.Arrivals(id, "t"), s.RefusedCreations)
					}
					b.limit("devices", -1)
					b.elapse(2 * time.Minute)
				}
				s := b.agent.Snapshot()
				b.expect(fmt.Sprint("step ", k, ": arrived"), b.tenant.Arrivals(id, "t"), []int64{1, 2})
				b.expect(fmt.Sprint("step ", k, ": dead, dropped, pending, damaged"),
					[]uint64{s.Dead, s.Dropped, s.Pending, s.Damaged}, []uint64{0, 0, 0, 0})
				b.expect(fmt.Sprint("step ", k, ": accepted"), s.Accepted, s.Deployed)
			}
		})
	}
}

// On a server whose syncs never complete, what a sync names is proved all the same; what it does
// not name waits, in the room for that, and is not sent to be lost.
func TestProofWithoutTheEndOfASync(t *testing.T) {
	inBox(t, nil, func(b *box) {
		b.cloud.NeverCompleteSync(true)
		b.limit("devices", 1)
		made := b.make(2)
		b.accept(telemetryOf(made, 1))
		b.elapse(time.Hour)
		b.expect("of the one that is there", b.tenant.Arrivals(made[0], "t"), []int64{1})
		s := b.agent.Snapshot()
		b.expect("unproven, refused, dead", []any{s.UnprovenCreations, s.RefusedCreations, s.Dead}, []any{1, (*RefusedCreations)(nil), 3})
		b.cloud.NeverCompleteSync(false)
		b.elapse(10 * time.Minute)
		b.expect("refused", b.agent.Snapshot().RefusedCreations.Names, []string{"made 1"})
		b.limit("devices", -1)
		b.elapse(silentMax + time.Minute)
		b.expect("of the other", b.tenant.Arrivals(made[1], "t"), []int64{1})
		b.expect("dead", b.agent.Snapshot().Dead, 0)
	})
}

// A message of the sync that is left out may have held the device: nothing is judged by that sync.
func TestProofByAPartialSync(t *testing.T) {
	l := loopAlone(t)
	l.conn.sess = newFakeSession()
	now := time.Now()
	l.dependents.taken(proto.UUID{7}, 1)
	if err := l.deadLog.Put(wal.DeadLetter{
		Event: wal.Event{Kind: uint8(proto.KindDevice), Action: uint8(proto.ActionAdded), Entity: proto.UUID{7}}, Offset: 1,
		Pinned: true, Class: wal.DeadCreation, Reason: takenReason,
	}); err != nil {
		t.Fatal(err)
	}
	l.toProve(proto.UUID{7}, taken{offset: 1, sent: 1}, now)
	for _, partial := range []bool{true, false} {
		l.askSync(false, true, now)
		l.syncing.partial = partial
		l.endSync(now)
		if _, waits := l.proofs.taken[proto.UUID{7}]; waits != partial || l.proofs.silent == partial || l.proofs.due.IsZero() == partial {
			t.Errorf("partial %v: waits %v, %+v", partial, waits, l.proofs)
		}
	}
}

// While a limit is in force one creation is tried, ever more seldom, and each try costs one sync.
// When there is room for some, those go up at once, and the others wait.
func TestTriesOfCreationsRefusedInSilence(t *testing.T) {
	inBox(t, nil, func(b *box) {
		b.limit("devices", 0)
		made := b.make(10)
		b.accept(telemetryOf(made, 1))
		b.elapse(20 * time.Second)
		b.sent(isCreating)
		syncs := b.cloud.Stats().Syncs
		b.elapse(24 * time.Hour)
		tries := b.sent(isCreating)
		if n := len(tries); n < 24*6 || n > 24*6+10 {
			b.Errorf("%d tries in a day", n)
		}
		for _, u := range tries {
			b.expect("creations in an uplink", len(u.DeviceUpdateMsg), 1)
		}
		b.expect("syncs", b.cloud.Stats().Syncs-syncs, len(tries))
		b.limit("devices", 4)
		b.elapse(silentMax + 30*time.Second)
		there := 0
		for _, id := range made {
			if _, _, ok := b.tenant.DeviceOf(id); ok {
				there++
				b.expect("arrived", b.tenant.Arrivals(id, "t"), []int64{1})
			}
		}
		b.expect("there", there, 4)
		b.expect("refused", b.agent.Snapshot().RefusedCreations.Devices, 6)
		late := b.makeOne("late")
		b.post(late, 1)
		b.elapse(10 * time.Second)
		b.expect("refused", b.agent.Snapshot().RefusedCreations.Devices, 7)
		b.limit("devices", -1)
		b.elapse(silentMax + time.Minute)
		s := b.agent.Snapshot()
		b.expect("dead, pending, refused", []any{s.Dead, s.Pending, s.RefusedCreations}, []any{0, 0, (*RefusedCreations)(nil)})
		b.expect("of the late one", b.tenant.Arrivals(late, "t"), []int64{1})
	})
}

// makeOne makes one device of that name.
func (b *box) makeOne(name string) proto.UUID {
	b.Helper()
	id, err := b.agent.Create(b.Context(), &NewDevice{Name: name, CredentialsID: "token-" + name})
	if err != nil {
		b.Fatal(err)
	}
	return id
}

// The same goes for assets, entity views and dashboards that people make here.
func TestEntitiesRefusedInSilence(t *testing.T) {
	inBox(t, nil, func(b *box) {
		target := b.device("target").ID
		tenant := proto.FormatUUID(b.tenant.TenantID())
		type made struct {
			kind  proto.Kind
			id    proto.UUID
			limit string
			extra string
		}
		list := []made{
			{proto.KindAsset, proto.UUID{0xa1}, "assets", `"name":"hall","type":"default"`},
			{
				proto.KindEntityView,
				proto.UUID{0xa2},
				"views",
				`"name":"view","type":"default","entityId":{"entityType":"DEVICE","id":"` + proto.FormatUUID(target) + `"}`,
			},
			{proto.KindDashboard, proto.UUID{0xa3}, "dashboards", `"title":"board"`},
		}
		for _, m := range list {
			b.limit(m.limit, 0)
			text := `{"id":{"entityType":"` + entityWord(m.kind) + `","id":"` + proto.FormatUUID(m.id) +
				`"},"tenantId":{"entityType":"TENANT","id":"` + tenant + `"},` + m.extra + `}`
			event := func(a proto.Action, u proto.UpdateMsgType) {
				b.accept([]proto.Event{{
					Kind: m.kind, Action: a, Time: time.Now().UnixMilli(), Entity: m.id,
					Fragment: proto.AppendUpdate(nil, m.kind, u, m.id, text),
				}})
				if err := b.reg.Edit(b.intake.End(), registry.Edit{Kind: m.kind, ID: m.id, Text: text}); err != nil {
					b.Fatal(err)
				}
			}
			event(proto.ActionAdded, proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE)
			b.elapse(10 * time.Millisecond)
			event(proto.ActionUpdated, proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE)
			b.elapse(20 * time.Second)
		}
		s := b.agent.Snapshot()
		b.expect("dead, pending, devices, names", []any{s.Dead, s.Pending, s.RefusedCreations.Devices, s.RefusedCreations.Names},
			[]any{6, 0, 3, []string{"board", "hall", "view"}})
		b.offline(func() {})
		for _, m := range list {
			if _, ok := b.reg.Entity(m.kind, m.id); !ok {
				b.Errorf("%v is gone here", m.kind)
			}
			b.limit(m.limit, -1)
		}
		b.elapse(silentMax + time.Minute)
		s = b.agent.Snapshot()
		b.expect("dead, pending, refused", []any{s.Dead, s.Pending, s.RefusedCreations}, []any{0, 0, (*RefusedCreations)(nil)})
		b.offline(func() {})
		for _, m := range list {
			if _, ok := b.reg.Entity(m.kind, m.id); !ok {
				b.Errorf("%v is gone here", m.kind)
			}
		}
	})
}

func entityWord(k proto.Kind) string {
	return map[proto.Kind]string{proto.KindAsset: "ASSET", proto.KindEntityView: "ENTITY_VIEW", proto.KindDashboard: "DASHBOARD"}[k]
}

// A device whose creation is refused aloud stays here too, whatever a sync brings.
func TestRefusedDeviceStaysOverASync(t *testing.T) {
	inBox(t, nil, func(b *box) {
		b.cloud.RefuseCreations(tenantLimit, 0)
		made := b.make(1)
		b.elapse(10 * time.Second)
		b.offline(func() {})
		b.expect("there", b.reg.HasDevice(made[0]), true)
		b.cloud.RefuseCreations("", 0)
		b.elapse(2 * time.Minute)
		b.offline(func() {})
		b.expect("there", b.reg.HasDevice(made[0]), true)
	})
}

// A person who drops a creation that is to be proved drops what waits for it.
func TestDroppedWhileUnproven(t *testing.T) {
	inBox(t, nil, func(b *box) {
		b.cloud.NeverCompleteSync(true)
		b.limit("devices", 0)
		made := b.make(1)
		b.post(made[0], 1)
		b.elapse(20 * time.Second)
		n, later, err := b.agent.DeadLetters().Drop(b.Context(), b.birthOf(made[0]))
		b.expect("dropped, later, error", []any{n, later, err}, []any{3, 0, nil})
		b.cloud.NeverCompleteSync(false)
		b.elapse(10 * time.Minute)
		s := b.agent.Snapshot()
		b.expect("dead, dropped, unproven, refused", []any{s.Dead, s.Dropped, s.UnprovenCreations, s.RefusedCreations},
			[]any{0, 3, 0, (*RefusedCreations)(nil)})
	})
}

// Syncs for proofs are bounded by what the last one took, in time and in messages.
func TestProofPause(t *testing.T) {
	for _, c := range []struct {
		took     time.Duration
		messages int
		want     time.Duration
	}{
		{0, 8, time.Second},
		{time.Second, 12, 10 * time.Second},
		{24 * time.Second, 773, time.Minute},
		{time.Second, 300, 30 * time.Second},
		{time.Second, 100_000, time.Minute},
	} {
		if got := proofPause(c.took, c.messages); got != c.want {
			t.Errorf("%v and %d messages: %v, want %v", c.took, c.messages, got, c.want)
		}
	}
}

// A new device each second for some minutes: each waits for its proof, none for long, and the syncs
// are few.
func TestDevicesThatComeOneByOne(t *testing.T) {
	inBox(t, nil, func(b *box) {
		syncs := b.cloud.Stats().Syncs
		var made []proto.UUID
		for k := range 150 {
			made = append(made, b.makeOne(fmt.Sprint("one ", k)))
			b.post(made[k], 1)
			b.elapse(time.Second)
			if k >= 100 && len(b.tenant.Arrivals(made[k-100], "t")) != 1 {
				b.Fatalf("after 100 s nothing of device %d has arrived", k-100)
			}
		}
		b.elapse(70 * time.Second)
		for k, id := range made {
			b.expect(fmt.Sprint("of device ", k), b.tenant.Arrivals(id, "t"), []int64{1})
		}
		if n := b.cloud.Stats().Syncs - syncs; n > 40 {
			b.Errorf("%d syncs", n)
		} else {
			b.Logf("%d syncs", n)
		}
		s := b.agent.Snapshot()
		b.expect("dead, dropped, pending", []uint64{s.Dead, s.Dropped, s.Pending}, []uint64{0, 0, 0})
	})
}

// The edge is made anew between the answer to a creation and its proof: the server has the device,
// assigned to nobody. It is created anew for the new edge, and its data arrives once.
func TestEdgeMadeAnewBeforeTheProof(t *testing.T) {
	inBox(t, nil, func(b *box) {
		made := b.makeOne("lamp")
		b.post(made, 1)
		b.elapse(proofWait / 2)
		b.expect("unproven", b.agent.Snapshot().UnprovenCreations, 1)
		b.offline(func() {
			b.post(made, 2)
			b.cloud.DeleteEdge(b.edge.ID)
			b.edge.ID = b.tenant.NewID()
			b.tenant.AddEdge(b.edge)
		})
		b.elapse(time.Minute)
		b.expect("arrived", b.rows("lamp"), "1 2")
		_, edge, _ := b.tenant.DeviceOf(made)
		b.expect("edge", edge, b.edge.ID)
		s := b.agent.Snapshot()
		b.expect("dead, pending, former", []any{s.Dead, s.Pending, s.Former}, []any{0, 0, (*Former)(nil)})
	})
}

// Of an agent that stops with the answer to a creation the creation is proved in its next life.
func TestStopBeforeTheProof(t *testing.T) {
	inBox(t, nil, func(b *box) {
		b.limit("devices", 0)
		made := b.makeOne("lamp")
		b.post(made, 1)
		b.elapse(proofWait / 2)
		b.stop()
		b.expect("refused by files alone", b.agent.Snapshot().UnprovenCreations, 1)
		b.start()
		b.elapse(10 * time.Second)
		s := b.agent.Snapshot()
		b.expect("refused", s.RefusedCreations.Names, []string{"lamp"})
		b.expect("dead, pending", []uint64{s.Dead, s.Pending}, []uint64{3, 0})
	})
}
