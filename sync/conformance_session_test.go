package sync

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// CONTRACT.md 2.6, 2.7, 2.8, 9, 10: ends of sessions, and what the server says about the edge.
func TestConformanceSession(t *testing.T) {
	conform(t, []rule{
		{"2.6 every end of the stream is a disconnect, and what was in flight goes again", func(b *box) {
			d := b.device("d")
			next := int64(1)
			for _, how := range []cloudtest.Ending{cloudtest.EndOK, cloudtest.EndUnknown, cloudtest.EndCancelled, cloudtest.EndReset} {
				b.cloud.SlowHandler(0, 2*time.Millisecond)
				times := make([]int64, 1000)
				for i := range times {
					times[i] = next
					next++
				}
				b.post(d.ID, times...)
				b.elapse(500 * time.Millisecond)
				b.expect("in flight", b.agent.Snapshot().InFlight > 0, true)
				b.expect("ended", b.cloud.EndSessions(how), 1)
				b.elapse(time.Second)
				b.expect("connected", b.cloud.Connected(b.edge.ID), false)
				b.cloud.SlowHandler(0, 0)
				b.elapse(3 * time.Minute)
				b.expect("arrived", slices.Equal(b.tenant.Arrivals(d.ID, "t"), upTo(next-1)), true)
				s := b.agent.Snapshot()
				b.expect("deployed, dead, pending", []uint64{s.Deployed, s.Dead, s.Pending}, []uint64{uint64(next - 1), 0, 0})
			}
		}},
		{"2.6 a server that is away for two hours is found within a minute of its return", func(b *box) {
			d := b.device("d")
			b.cloud.Away(true)
			b.elapse(2 * time.Hour)
			b.post(d.ID, 1)
			b.cloud.Away(false)
			b.elapse(70 * time.Second)
			b.expect("arrived", b.tenant.Arrivals(d.ID, "t"), []int64{1})
		}},
		{"2.6 two agents with one key do not throw each other out without end, and say so", func(b *box) {
			other := newBox(b.T, nil)
			other.cloud.Stop()
			other.link.Close()
			other.cloud, other.tenant, other.edge, other.link = b.cloud, b.tenant, b.edge, b.link
			other.start()
			defer other.stop()
			b.elapse(10 * time.Minute)
			before := b.cloud.Stats().Connects
			b.elapse(20 * time.Minute)
			if n := b.cloud.Stats().Connects - before; n > 45 { // each agent connects once a minute at most
				b.Errorf("%d connects in 20 minutes", n)
			}
			logged := b.log.String() + other.log.String()
			b.expect("logged", strings.Contains(logged, "another agent uses this routing key"), true)
		}},
		{"2.6 an old session that the server still holds after a power cut here is replaced, also where its end comes late", func(b *box) {
			for _, late := range []bool{false, true} {
				b.cloud.HalfOpenOld(late)
				b.link.Hang()
				b.stop()
				b.expect("the old one is there", b.cloud.Sessions(), 1)
				b.start()
				b.elapse(3 * time.Second)
				b.expect("state", b.agent.Snapshot().State, Connected)
				b.elapse(time.Minute) // the old session ends, at the latest because nothing answers its pings
				b.expect("sessions, connected", []any{b.cloud.Sessions(), b.cloud.Connected(b.edge.ID)}, []any{1, true})
				d := b.device(fmt.Sprint("late ", late))
				b.post(d.ID, 1)
				b.elapse(5 * time.Second)
				b.expect("arrived", b.tenant.Arrivals(d.ID, "t"), []int64{1})
			}
		}},
		{"2.6 a deleted edge is noticed by the server's words on its open stream; the queue waits until it exists again", func(b *box) {
			d := b.device("d")
			b.cloud.DeleteEdge(b.edge.ID)
			b.elapse(70 * time.Second)
			b.expect("the stream stays open", b.cloud.Sessions(), 1)
			id, err := b.agent.Create(b.Context(), &NewDevice{Name: "waiting", CredentialsID: "o"})
			if err != nil {
				b.Fatal(err)
			}
			b.post(id, 1)
			b.post(d.ID, 2)
			b.elapse(3 * time.Second)
			s := b.agent.Snapshot()
			// Pending are the creation, its credentials and two values.
			b.expect("state, pending, dead", []any{s.State, s.Pending, s.Dead}, []any{Disconnected, 4, 0})
			b.expect("last error", strings.Contains(s.LastError, "deleted in the cloud"), true)
			b.elapse(10 * time.Minute)
			s = b.agent.Snapshot()
			b.expect("pending, dead", []uint64{s.Pending, s.Dead}, []uint64{4, 0})
			b.expect("last error", strings.Contains(s.LastError, "does not know this edge"), true)
			b.tenant.AddEdge(b.edge)
			b.elapse(10 * time.Minute)
			b.expect("arrived", []any{b.tenant.Arrivals(id, "t"), b.tenant.Arrivals(d.ID, "t"), b.agent.Snapshot().Dead},
				[]any{[]int64{1}, []int64{2}, 0})
		}},
		{"2.8 a new name takes effect", func(b *box) {
			b.edge.Name = "Gateway 8"
			b.cloud.SaveEdge(b.edge)
			b.elapse(time.Second)
			b.expect("edge", b.agent.Snapshot().Edge, "Gateway 8")
		}},
		{"2.8 a new secret is used at the next connect, also after a restart", func(b *box) {
			b.edge.Secret = "newer"
			b.cloud.SaveEdge(b.edge)
			b.elapse(time.Second)
			b.offline(func() {})
			b.stop()
			b.start()
			b.elapse(time.Minute)
			b.expect("state", b.agent.Snapshot().State, Connected)
			b.expect("refused", b.cloud.Stats().Refused, 0)
		}},
		{"2.8 users come with the edge's customer and go with it", func(b *box) {
			own, foreign := b.tenant.NewID(), b.tenant.NewID()
			ownUser, foreignUser := b.tenant.NewID(), b.tenant.NewID()
			b.tenant.AddCustomer(own, "own")
			b.tenant.AddUser(ownUser, own, "own@x")
			b.cloud.AssignCustomer(b.edge.ID, own)
			b.elapse(5 * time.Second)
			b.tenant.AddCustomer(foreign, "foreign")
			// Every edge gets every user (CONTRACT.md 6.3).
			b.cloud.Push(b.edge.ID, b.tenant.AddUser(foreignUser, foreign, "foreign@x"))
			b.elapse(5 * time.Second)
			users := func() uint64 {
				n := uint64(0)
				for _, c := range b.reg.Counts() {
					if c.Part == "userUpdateMsg" {
						n = c.Received - c.Kept
					}
				}
				return n
			}
			b.expect("users not kept", users(), 1)
			known := func(email string) bool { _, ok := b.reg.UserNamed(email); return ok }
			b.expect("own, foreign", []bool{known("own@x"), known("foreign@x")}, []bool{true, false})
			b.expect("customer", b.reg.Edge().CustomerIdMSB != int64(0x138140001dd211b2), true)
			b.cloud.AssignCustomer(b.edge.ID, proto.NullUUID)
			b.elapse(5 * time.Second)
			b.expect("customer", b.reg.Edge().CustomerIdMSB, int64(0x138140001dd211b2))
			b.expect("own, foreign", []bool{known("own@x"), known("foreign@x")}, []bool{false, false}) // no deletion of a user came
		}},
		{"2.8 an edge made a moment ago gets an update right behind ACCEPTED", func(b *box) {
			b.stop()
			b.edge.Name, b.edge.Created = "young", time.Now()
			b.tenant.SaveEdge(b.edge)
			b.start()
			b.elapse(time.Minute)
			b.expect("edge, state", []any{b.agent.Snapshot().Edge, b.agent.Snapshot().State}, []any{"young", Connected})
		}},
		{"10.17 a server that polls no events is left for a new stream", func(b *box) {
			b.cloud.NoPolling(true)
			b.offline(func() {})
			before := b.cloud.Stats().Connects
			b.elapse(5 * time.Minute)
			b.expect("connects again", b.cloud.Stats().Connects > before, true)
			b.cloud.NoPolling(false)
			b.elapse(5 * time.Minute)
			before = b.cloud.Stats().Connects
			b.elapse(10 * time.Minute)
			b.expect("connects", b.cloud.Stats().Connects, before)
		}},
		{"10.20 what a device posted before its assignment ended still goes up", func(b *box) {
			d := b.device("d")
			b.offline(func() {
				b.post(d.ID, 1, 2, 3)
				b.cloud.UnassignDevice(d.ID)
			})
			b.expect("here", b.reg.HasDevice(d.ID), false)
			b.expect("arrived", b.tenant.Arrivals(d.ID, "t"), []int64{1, 2, 3})
		}},
	})
}
