package sync

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
	boxrig "edgesync/sync/cloudtest/rig"
	"edgesync/sync/config"
	"edgesync/wal"
)

// remake cuts the link, runs f, has the cloud make the edge anew, and lets the link come back.
func (b *box) remake(f func()) {
	b.Helper()
	b.link.Refuse.Store(true)
	b.cloud.EndSessions(cloudtest.EndReset)
	b.elapse(2 * time.Second)
	f()
	b.edge = b.cloud.RemakeEdge(b.edge.ID)
	b.link.Refuse.Store(false)
	b.elapse(5 * time.Minute)
	if !b.cloud.Connected(b.edge.ID) {
		b.Fatal("did not come back")
	}
}

// named is the id of the device of that name in the cloud.
func (b *box) named(name string) proto.UUID {
	b.Helper()
	for _, d := range b.tenant.Devices() {
		if d.Name == name {
			return d.ID
		}
	}
	b.Fatalf("the cloud has no device %s", name)
	return proto.UUID{}
}

// rows are the times of the rows that the cloud has of a device, by name, each once.
func (b *box) rows(name string) string {
	var list []string
	for _, p := range b.tenant.Series(b.named(name), "t") {
		if p.Value.Long != p.TS {
			b.Errorf("%s at %d: %d", name, p.TS, p.Value.Long)
		}
		list = append(list, fmt.Sprint(p.TS))
	}
	return strings.Join(list, " ")
}

// balance is accepted, deployed, pending, dropped, dead, and what is kept of former edges.
func (b *box) balance() string {
	s := b.agent.Snapshot()
	kept := uint64(0)
	if s.Former != nil {
		kept = s.Former.Events
	}
	if s.Accepted != s.Deployed+s.Pending+s.Dropped+s.Dead+s.Damaged {
		b.Errorf("unbalanced: %+v", s)
	}
	return fmt.Sprintf("%d accepted, %d deployed, %d pending, %d dropped, %d dead, %d kept",
		s.Accepted, s.Deployed, s.Pending, s.Dropped, s.Dead, kept)
}

// retryByName is what the command does. It returns how many events were sent.
func (b *box) retryByName() (sent int) {
	b.Helper()
	for {
		n, more, busy, err := b.agent.DeadLetters().RetryByName(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		sent += n
		if !more {
			b.elapse(time.Minute)
			return sent
		}
		if busy {
			b.elapse(time.Minute)
		}
	}
}

// Events that wait while the edge is made anew are kept apart, never counted as deployed, and go to
// the devices of the same names when a person says so; those of others stay and are listed.
func TestEdgeMadeAnewWhileEventsWait(t *testing.T) {
	inBox(t, nil, func(b *box) {
		one, two := b.device("one"), b.device("two")
		b.post(one.ID, 1000)
		b.elapse(10 * time.Second)
		formerEdge := b.edge
		b.remake(func() {
			b.post(one.ID, 2000, 3000)
			b.post(two.ID, 2500)
			b.tenant.Unassign(two.ID) // the new edge has no such device
		})
		b.expect("set apart", b.balance(), "4 accepted, 1 deployed, 0 pending, 0 dropped, 3 dead, 3 kept")
		f := b.agent.Snapshot().Former
		b.expect("told", []any{f.Entities, f.Moving, f.Command}, []any{2, false, "edgesync dead retry --by-name"})
		b.expect("edge", f.Edge, fmt.Sprintf("%q (%s)", formerEdge.Name, proto.FormatUUID(formerEdge.ID)))
		b.expect("nothing arrived", b.rows("one"), "")

		b.expect("sent", b.retryByName(), 2)
		b.expect("arrived", b.rows("one"), "2000 3000")
		b.expect("left", b.balance(), "4 accepted, 3 deployed, 0 pending, 0 dropped, 1 dead, 1 kept")
		list, _, err := b.agent.DeadLetters().FormerEvents(b.Context())
		if err != nil || len(list) != 1 || list[0].Name != "two" || list[0].Events != 1 || list[0].Type != "DEVICE" {
			b.Errorf("left %+v, %v", list, err)
		}
		b.expect("again", b.retryByName(), 0)

		b.cloud.AddDevice(b.edge.ID, cloudtest.Device{ID: b.tenant.NewID(), Name: "two again"})
		b.elapse(5 * time.Second)
		if err := b.cloud.RenameDevice(b.named("two again"), "two2"); err != nil {
			b.Error(err)
		}
		b.expect("not by another name", b.retryByName(), 0)
		if n, err := b.agent.DeadLetters().DropFormer(b.Context()); n != 1 || err != nil {
			b.Errorf("dropped %d, %v", n, err)
		}
		b.expect("given up", b.balance(), "4 accepted, 3 deployed, 0 pending, 1 dropped, 0 dead, 0 kept")
	})
}

// Events of an entity that the new edge has under the same id are not lost, and go up by
// themselves: the edge was made anew in its tenant, and its devices are the same ones.
func TestEdgeMadeAnewWithTheSameDevices(t *testing.T) {
	inBox(t, nil, func(b *box) {
		one := b.device("one")
		b.link.Refuse.Store(true)
		b.cloud.EndSessions(cloudtest.EndReset)
		b.elapse(2 * time.Second)
		b.post(one.ID, 1000, 2000)
		b.tenant.DeleteEdge(b.edge.ID)
		b.edge.ID = b.tenant.NewID()
		b.tenant.AddEdge(b.edge)
		b.tenant.Delete(one.ID)
		b.tenant.AddDevice(b.edge.ID, one)
		b.link.Refuse.Store(false)
		b.elapse(5 * time.Minute)
		b.expect("arrived", b.rows("one"), "1000 2000")
		b.expect("sums", b.balance(), "2 accepted, 2 deployed, 0 pending, 0 dropped, 0 dead, 0 kept")
	})
}

// A device made here whose creation the former edge never took is made at the new one, with its
// data, and is served meanwhile.
func TestEdgeMadeAnewWithACreationOnItsWay(t *testing.T) {
	inBox(t, nil, func(b *box) {
		one := b.device("one")
		var id proto.UUID
		b.remake(func() {
			b.post(one.ID, 1000)
			var err error
			if id, err = b.agent.Create(b.Context(), &NewDevice{Name: "made here"}); err != nil {
				b.Fatal(err)
			}
			b.post(id, 1500, 2500)
		})
		b.expect("served", b.reg.HasDevice(id), true)
		b.expect("the same", b.named("made here") == id, true)
		b.expect("arrived", b.rows("made here"), "1500 2500")
		_, edge, _ := b.tenant.DeviceOf(id)
		b.expect("assigned", edge == b.edge.ID, true)
		b.expect("sums", b.balance(), "5 accepted, 4 deployed, 0 pending, 0 dropped, 1 dead, 1 kept")
		b.expect("dropped in silence", b.tenant.Counts().Dropped, 0)
	})
}

// moveToServer stops the agent and starts it on another server, which has an edge of its own with
// devices of these names.
func (b *box) moveToServer(names ...string) {
	b.Helper()
	b.stop()
	b.cloud.Stop()
	b.link.Close()
	b.link, b.tenant = boxrig.NewLink(), cloudtest.NewTenant()
	b.tenant.SetWidgetTypes(5)
	b.edge = cloudtest.Edge{ID: b.tenant.NewID(), Name: "Gateway elsewhere", RoutingKey: "key-2", Secret: "hush-hush-2"}
	b.tenant.AddEdge(b.edge)
	for _, name := range names {
		d := cloudtest.Device{ID: b.tenant.NewID(), Name: name, CredentialsType: "ACCESS_TOKEN", CredentialsID: "token-" + name}
		b.tenant.AddDevice(b.edge.ID, d)
	}
	b.cloud = cloudtest.New(cloudtest.Options{Tenant: b.tenant, Seed: 2})
	go b.cloud.Serve(b.link)
	b.config.Cloud.RoutingKey, b.config.Cloud.RoutingSecret = b.edge.RoutingKey, b.edge.Secret
	b.start()
	b.elapse(5 * time.Minute)
}

// The gateway goes to another server while everything waits: telemetry, attributes, an alarm, a
// device made here behind a gateway. At the end each is there, by the names of the devices.
func TestMovedToAnotherServer(t *testing.T) {
	inBox(t, nil, func(b *box) {
		one, gateway := b.device("one"), b.device("gateway")
		b.link.Refuse.Store(true)
		b.cloud.EndSessions(cloudtest.EndReset)
		b.elapse(2 * time.Second)
		b.post(one.ID, 1000, 2000)
		id, err := b.agent.Create(b.Context(), &NewDevice{Name: "behind", Gateway: gateway.ID})
		if err != nil {
			b.Fatal(err)
		}
		b.post(id, 3000)
		b.post(gateway.ID, 4000)
		alarm, alarmID := b.highAlarm(one.ID), proto.NewUUID()
		accept := func(k proto.Kind, action proto.Action, entity proto.UUID, fragment []byte) {
			e := proto.Event{Kind: k, Action: action, Time: time.Now().UnixMilli(), Entity: entity, Fragment: fragment}
			if err := b.intake.Accept(b.Context(), []proto.Event{e}); err != nil {
				b.Fatal(err)
			}
		}
		accept(proto.KindAlarm, proto.ActionAdded, alarmID,
			proto.AppendUpdate(nil, proto.KindAlarm, proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE, alarmID,
				strings.Replace(alarm, "ALARM-ID", proto.FormatUUID(alarmID), 1)))
		serial := []proto.KV{{Key: []byte("serial"), Type: proto.KeyValueType_STRING_V, Str: []byte("s-1")}}
		accept(proto.KindEntityData, proto.ActionPostAttributes, one.ID,
			proto.AppendPostAttributes(nil, one.ID, "DEVICE", "CLIENT_SCOPE", serial))
		b.moveToServer("one", "gateway")
		b.expect("made here", []any{b.named("behind") == id, b.rows("behind")}, []any{true, "3000"})
		_, edge, _ := b.tenant.DeviceOf(id)
		b.expect("assigned", edge == b.edge.ID, true)
		b.expect("sums", b.balance(), "9 accepted, 4 deployed, 0 pending, 0 dropped, 5 dead, 5 kept")
		relations := strings.Join(b.tenant.Relations(id), "; ")
		b.expect("related to the gateway of that name", strings.Contains(relations, proto.FormatUUID(b.named("gateway"))), true)
		b.expect("sent", b.retryByName(), 5)
		b.expect("sums at the end", b.balance(), "9 accepted, 9 deployed, 0 pending, 0 dropped, 0 dead, 0 kept")
		b.expect("rows", []string{b.rows("one"), b.rows("gateway")}, []string{"1000 2000", "4000"})
		v, _, _ := b.tenant.Attribute(b.named("one"), "CLIENT_SCOPE", "serial")
		b.expect("attribute", v.Str, "s-1")
		b.expect("dropped in silence", b.tenant.Counts().Dropped, 0)
	})
}

// highAlarm is the JSON of an alarm of a device as the REST API makes it.
func (b *box) highAlarm(device proto.UUID) string {
	return fmt.Sprintf(`{"id":{"entityType":"ALARM","id":"ALARM-ID"},"createdTime":1,"tenantId":{"entityType":"TENANT","id":"%s"},`+
		`"type":"High","originator":{"entityType":"DEVICE","id":"%s"},"severity":"CRITICAL","acknowledged":false,"cleared":false,`+
		`"startTs":1,"endTs":1,"ackTs":0,"clearTs":0,"details":{}}`, proto.FormatUUID(b.tenant.TenantID()), proto.FormatUUID(device))
}

// The edge is deleted while a device made here is on its way: the server saves the device, assigns
// it to nobody and refuses. Made again with the same key, the edge gets it.
func TestEdgeDeletedUnderACreation(t *testing.T) {
	inBox(t, nil, func(b *box) {
		b.cloud.DeleteEdge(b.edge.ID)
		id, err := b.agent.Create(b.Context(), &NewDevice{Name: "made here"})
		if err != nil {
			b.Fatal(err)
		}
		b.post(id, 1000)
		b.elapse(10 * time.Second)
		_, edge, there := b.tenant.DeviceOf(id)
		b.expect("saved, and nobody's", []any{there, edge == proto.UUID{}}, []any{true, true})
		b.edge.ID = b.tenant.NewID()
		b.tenant.AddEdge(b.edge)
		b.elapse(15 * time.Minute)
		_, edge, _ = b.tenant.DeviceOf(id)
		b.expect("assigned", edge == b.edge.ID, true)
		b.expect("served", b.reg.HasDevice(id), true)
		b.expect("arrived", b.rows("made here"), "1000")
		b.post(id, 2000)
		b.elapse(time.Minute)
		b.expect("and goes on", b.rows("made here"), "1000 2000")
		b.expect("pending", b.agent.Snapshot().Pending, 0)
	})
}

// A configuration of another edge within a session is hostile or a mistake: it wipes nothing.
func TestConfigurationOfAnotherEdgeWithinASession(t *testing.T) {
	inBox(t, nil, func(b *box) {
		one := b.device("one")
		other := &proto.EdgeConfiguration{EdgeIdMSB: 77, EdgeIdLSB: 78, Name: "evil", Secret: "evil-secret"}
		for range 3 {
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{EdgeConfiguration: other})
			b.cloud.SendEdgeUpdate(b.edge.ID, other)
			b.elapse(5 * time.Second)
		}
		id, _ := b.reg.EdgeID()
		b.expect("edge, device", []any{id == b.edge.ID, b.reg.HasDevice(one.ID)}, []any{true, true})
		b.expect("secret", b.reg.Secret("hush-hush"), "hush-hush")
		b.expect("warnings", strings.Count(b.log.String(), "the configuration of another edge within a session"), 1)
		b.post(one.ID, 1000)
		b.elapse(10 * time.Second)
		b.expect("arrived", b.rows("one"), "1000")
	})
}

// A server that was restored from a backup knows the older secret again.
func TestSecretRestoredFromABackup(t *testing.T) {
	inBox(t, nil, func(b *box) {
		one := b.device("one")
		renewed := b.edge
		renewed.Secret = "hush-hush-2"
		b.cloud.SaveEdge(renewed)
		b.elapse(5 * time.Second)
		b.expect("renewed", b.reg.Secret("hush-hush"), "hush-hush-2")
		b.cloud.RestoreEdge(b.edge)
		b.elapse(2 * time.Minute)
		b.expect("connected", b.cloud.Connected(b.edge.ID), true)
		b.post(one.ID, 1000)
		b.elapse(10 * time.Second)
		b.expect("arrived", b.rows("one"), "1000")
	})
}

// The wrong key, taken back: what the former edge's events are about is here again under its id, so
// they are found, and what came under the wrong edge's is not mixed up with them.
func TestWrongEdgeTakenBack(t *testing.T) {
	inBox(t, nil, func(b *box) {
		one := b.device("one")
		right := b.edge
		wrong := cloudtest.Edge{ID: b.tenant.NewID(), Name: "wrong", RoutingKey: "wrong", Secret: "hush-hush"}
		b.tenant.AddEdge(wrong)
		stray := cloudtest.Device{ID: b.tenant.NewID(), Name: "stray", CredentialsType: "ACCESS_TOKEN", CredentialsID: "token-stray"}
		b.tenant.AddDevice(wrong.ID, stray)
		b.link.Refuse.Store(true)
		b.cloud.EndSessions(cloudtest.EndReset)
		b.elapse(2 * time.Second)
		b.post(one.ID, 1000)
		switchTo := func(e cloudtest.Edge, f func()) {
			b.stop()
			b.edge, b.config.Cloud.RoutingKey = e, e.RoutingKey
			b.start()
			if f != nil {
				f()
			}
			b.link.Refuse.Store(false)
			b.elapse(5 * time.Minute)
			b.expect("connected", b.cloud.Connected(e.ID), true)
		}
		switchTo(wrong, nil)
		b.expect("kept", b.balance(), "1 accepted, 0 deployed, 0 pending, 0 dropped, 1 dead, 1 kept")
		b.link.Refuse.Store(true)
		b.cloud.EndSessions(cloudtest.EndReset)
		b.elapse(2 * time.Second)
		b.post(stray.ID, 2000)
		switchTo(right, func() { b.elapse(time.Second) })
		b.expect("both kept", b.balance(), "2 accepted, 0 deployed, 0 pending, 0 dropped, 2 dead, 2 kept")
		list, _, err := b.agent.DeadLetters().FormerEvents(b.Context())
		if err != nil || len(list) != 2 || !strings.Contains(list[0].Edge, right.Name) || !strings.Contains(list[1].Edge, wrong.Name) {
			b.Errorf("left %+v, %v", list, err)
		}
		b.expect("sent", b.retryByName(), 1)
		b.expect("arrived", b.rows("one"), "1000")
		b.expect("not the other's", b.balance(), "2 accepted, 1 deployed, 0 pending, 0 dropped, 1 dead, 1 kept")
	})
}

// Devices go on posting while the edge changes: what comes under ids of the former edge after the
// change is set apart too, as long as it is not known what the new edge has.
func TestPostsDuringTheChange(t *testing.T) {
	inBox(t, nil, func(b *box) {
		one := b.device("one")
		b.remake(func() {
			for ts := int64(1); ts <= 5; ts++ {
				b.post(one.ID, ts)
			}
			b.cloud.NeverCompleteSync(true)
		})
		b.expect("waits for the sync", b.balance(), "5 accepted, 0 deployed, 5 pending, 0 dropped, 0 dead, 0 kept")
		b.post(one.ID, 6) // of a door that had looked the device up before
		b.cloud.NeverCompleteSync(false)
		b.cloud.EndSessions(cloudtest.EndReset)
		b.elapse(5 * time.Minute)
		b.expect("kept", b.balance(), "6 accepted, 0 deployed, 0 pending, 0 dropped, 6 dead, 6 kept")
		b.expect("sent", b.retryByName(), 6)
		b.expect("arrived", b.rows("one"), "1 2 3 4 5 6")
		b.expect("dropped in silence", b.tenant.Counts().Dropped, 0)
	})
}

// Dead letters of the former edge are set apart too, and no try sends one of them to the new edge.
func TestDeadLettersOfTheFormerEdge(t *testing.T) {
	inBox(t, func(c *config.Config) { c.Retry.Interval = time.Hour }, func(b *box) {
		one := b.device("one")
		for n := range 300 { // more than one batch
			err := b.dead.Put(wal.DeadLetter{
				Event: wal.Event{
					Kind: uint8(proto.KindEntityData), Action: uint8(proto.ActionTimeseriesUpdated), Time: 1, Entity: one.ID,
					Fragment: proto.AppendTelemetry(nil, one.ID, "DEVICE", int64(n+1), []proto.KV{{
						Key: []byte("t"), Type: proto.KeyValueType_LONG_V, Long: int64(n + 1),
					}}),
				},
				Offset: uint64(n + 1), Reason: "refused", Tries: 1,
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		b.post(one.ID, func() (list []int64) {
			for n := range 300 {
				list = append(list, int64(10_000+n))
			}
			return list
		}()...)
		b.elapse(time.Minute)
		b.remake(func() {})
		for _, u := range b.sent(func(*proto.UplinkMsg) bool { return true }) {
			b.Logf("%v", u)
		}
		b.expect("letters", b.dead.Stats().Letters, 0)
		b.expect("kept", b.former.Stats(nil).Kept, 300)
		b.expect("nothing arrived", b.rows("one"), "")
		b.expect("sent", b.retryByName(), 300)
		b.expect("rows", len(b.tenant.Series(b.named("one"), "t")), 300)
	})
}

// A creation that the former edge refused lies among the dead letters with its dependents. It is
// tried again at the new edge, and its data follow.
func TestRefusedCreationAtAnotherEdge(t *testing.T) {
	inBox(t, nil, func(b *box) {
		one := b.device("one")
		b.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
			if len(u.DeviceUpdateMsg) > 0 {
				return "Database is down"
			}
			return ""
		})
		id, err := b.agent.Create(b.Context(), &NewDevice{Name: "made here"})
		if err != nil {
			b.Fatal(err)
		}
		b.post(id, 1000, 2000)
		b.post(one.ID, 3000)
		b.elapse(20 * time.Second)
		if b.dead.Stats().Letters == 0 {
			b.Fatal("nothing was refused")
		}
		b.remake(func() {
			b.cloud.RefuseUplink(nil)
			b.post(id, 4000)
		})
		b.elapse(5 * time.Minute)
		b.expect("served", b.reg.HasDevice(id), true)
		b.expect("arrived", b.rows("made here"), "1000 2000 4000")
		b.expect("letters", b.dead.Stats().Letters, 0)
		b.expect("nothing of it is kept apart", b.former.Stats(nil).Kept, 0)
	})
}

// Without room for what is to be set apart the queue keeps it, says so, and goes on once there is
// room again: nothing is lost, and nothing is counted as what it is not.
func TestNoRoomToSetApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, nil)
		b.room = 16 << 10
		b.start()
		defer func() {
			b.stop()
			b.cloud.Stop()
			b.link.Close()
			b.innocent()
		}()
		b.elapse(time.Minute)
		one := b.device("one")
		b.remake(func() {
			for ts := int64(1); ts <= 1000; ts++ {
				b.post(one.ID, ts)
			}
		})
		s := b.agent.Snapshot()
		if s.Deployed != 0 || s.Pending == 0 || s.Pending+s.Dead != 1000 || s.Former == nil || s.Former.Events != s.Dead {
			b.Errorf("%s", b.balance())
		}
		if !strings.Contains(b.log.String(), "edgesync dead drop former") {
			b.Error("the log does not say what helps")
		}
		b.stop()
		b.room = 0
		b.start()
		b.elapse(5 * time.Minute)
		b.expect("all set apart", b.balance(), "1000 accepted, 0 deployed, 0 pending, 0 dropped, 1000 dead, 1000 kept")
		b.expect("sent", b.retryByName(), 1000)
		b.expect("rows", len(b.tenant.Series(b.named("one"), "t")), 1000)
	})
}

// A change that cannot be made durable is none: the session is not used, nothing goes up, and the
// next attempt makes it good.
func TestChangeThatCannotBeWritten(t *testing.T) {
	inBox(t, nil, func(b *box) {
		one := b.device("one")
		if err := b.reg.Close(); err != nil { // the medium refuses
			b.Fatal(err)
		}
		b.link.Refuse.Store(true)
		b.cloud.EndSessions(cloudtest.EndReset)
		b.elapse(2 * time.Second)
		b.post(one.ID, 1000)
		b.edge = b.cloud.RemakeEdge(b.edge.ID)
		b.link.Refuse.Store(false)
		b.elapse(2 * time.Minute)
		s := b.agent.Snapshot()
		b.expect("nothing went", []any{s.Pending, s.Deployed, s.Dead, b.reg.HasDevice(one.ID)}, []any{1, 0, 0, true})
		if !strings.Contains(s.LastError, "the change to another edge cannot be written") {
			b.Errorf("last error %q", s.LastError)
		}
		b.halt()
		_ = errors.Join(b.queue.Close(), b.dead.Close(), b.former.Close())
		b.start()
		b.elapse(5 * time.Minute)
		b.expect("kept", b.balance(), "1 accepted, 0 deployed, 0 pending, 0 dropped, 1 dead, 1 kept")
		b.expect("sent", b.retryByName(), 1)
		b.expect("arrived", b.rows("one"), "1000")
	})
}
