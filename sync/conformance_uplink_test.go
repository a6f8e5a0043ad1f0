package sync

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
	"edgesync/sync/registry"
	"edgesync/wal"
)

// CONTRACT.md 4: what goes up and its acknowledgements.
func TestConformanceUplink(t *testing.T) {
	conform(t, []rule{
		{"4.2 what is refused after it was applied goes again and does no harm", func(b *box) {
			d := b.device("d")
			refusals := 3
			b.cloud.FailUplink(func(u *proto.UplinkMsg) string {
				if len(stamps(u)) > 0 && refusals > 0 {
					refusals--
					return "something behind it failed"
				}
				return ""
			})
			b.post(d.ID, upTo(300)...)
			b.elapse(time.Minute)
			c := b.tenant.Counts()
			b.expect("arrived", slices.Equal(b.tenant.Arrivals(d.ID, "t"), upTo(300)), true)
			b.expect("rows, written twice", []any{c.Points, c.Duplicates > 0}, []any{300, true})
			s := b.agent.Snapshot()
			b.expect("deployed, dead, pending", []uint64{s.Deployed, s.Dead, s.Pending}, []uint64{300, 0, 0})
			// A device and its credentials are sent again likewise.
			first := true
			b.cloud.FailUplink(func(u *proto.UplinkMsg) string {
				if len(u.DeviceUpdateMsg) > 0 && first {
					first = false
					return "something behind it failed"
				}
				return ""
			})
			id, err := b.agent.Create(b.Context(), &NewDevice{Name: "made", CredentialsID: "m"})
			if err != nil {
				b.Fatal(err)
			}
			b.elapse(time.Minute)
			cd, _, ok := b.tenant.DeviceOf(id)
			b.expect("device", []any{cd.Name, cd.CredentialsID, ok, b.agent.Snapshot().Dead}, []any{"made", "m", true, 0})
		}},
		{"4.3 acknowledgements that overtake each other commit no gap, whenever the link breaks", func(b *box) {
			d := b.device("d")
			b.cloud.ReorderAcks(0.5)
			n := int64(0)
			for range 20 {
				times := make([]int64, 700)
				for i := range times {
					n++
					times[i] = n
				}
				b.post(d.ID, times...)
				b.cloud.SlowHandler(0, 50*time.Microsecond)
				b.elapse(time.Duration(n%7) * 5 * time.Millisecond)
				if n%2 == 0 {
					b.cloud.EndSessions(cloudtest.EndReset)
					b.elapse(time.Second)
					arrived := int64(len(b.tenant.Arrivals(d.ID, "t")))
					if deployed := int64(b.agent.Snapshot().Deployed); deployed > arrived {
						b.Errorf("%d deployed of %d that arrived", deployed, arrived)
					}
				}
			}
			b.elapse(5 * time.Minute)
			b.expect("arrived", slices.Equal(b.tenant.Arrivals(d.ID, "t"), upTo(n)), true)
			b.expect("pending", b.agent.Snapshot().Pending, 0)
		}},
		{"4.3 a slow server bounds what is in flight, and hears a device's answer within seconds", func(b *box) {
			d := b.device("d")
			b.doors.take(d.ID, func(c *Call) { b.agent.Answer(c.Device, c.ID, "1") })
			b.cloud.SlowHandler(0, 10*time.Millisecond) // a batch takes a second
			b.post(d.ID, upTo(20_000)...)
			b.elapse(time.Minute)
			s := b.agent.Snapshot()
			b.expect("window of two at most, connects", []any{s.Window <= 2 && s.InFlight <= 2, s.Connects}, []any{true, 1})
			r := b.call(d.ID, "1", false, 10*time.Second)
			b.expect("answer, in time", []any{r.response, r.took < 4*time.Second}, []any{"1", true})
			b.cloud.SlowHandler(0, 0)
			b.elapse(time.Minute)
			b.expect("arrived", slices.Equal(b.tenant.Arrivals(d.ID, "t"), upTo(20_000)), true)
		}},
		{"4.4 deployed is what the cloud has acknowledged, not what has left or arrived", func(b *box) {
			d := b.device("d")
			b.cloud.DelayAcks(10 * time.Second)
			b.post(d.ID, 1, 2, 3)
			b.elapse(5 * time.Second)
			s := b.agent.Snapshot()
			b.expect("arrived", b.tenant.Arrivals(d.ID, "t"), []int64{1, 2, 3})
			b.expect("deployed, pending", []uint64{s.Deployed, s.Pending}, []uint64{0, 3})
			b.elapse(10 * time.Second)
			b.expect("deployed", b.agent.Snapshot().Deployed, 3)
		}},
		{"4.5 what the server refuses for good rests at once with its words, and the rest goes on", func(b *box) {
			d := b.device("d")
			b.post(d.ID, 1)
			text := `{"name":"d","type":"default","tenantId":` + b.tenantRef() +
				`,"deviceProfileId":{"entityType":"DEVICE_PROFILE","id":"` + proto.FormatUUID(b.tenant.NewID()) + `"}}`
			err := b.intake.Accept(b.Context(), []proto.Event{{
				Kind: proto.KindDevice, Action: proto.ActionUpdated, Time: time.Now().UnixMilli(), Entity: d.ID,
				Fragment: proto.AppendUpdate(nil, proto.KindDevice, entityUpdated, d.ID, text),
			}})
			if err != nil {
				b.Fatal(err)
			}
			b.post(d.ID, 2)
			before := b.cloud.Stats().Connects
			b.elapse(time.Minute)
			b.expect("arrived", b.tenant.Arrivals(d.ID, "t"), []int64{1, 2})
			var deadLetters []wal.DeadLetter
			if err := b.dead.Each(func(l *wal.DeadLetter) bool { deadLetters = append(deadLetters, *l); return true }); err != nil {
				b.Fatal(err)
			}
			if len(deadLetters) != 1 || deadLetters[0].Reason != "Device is referencing non existing device profile!" ||
				!deadLetters[0].Resting {
				b.Errorf("dead letters %+v", deadLetters)
			}
			b.expect("connects", b.cloud.Stats().Connects-before, 0)
		}},
		{"4.5 a cloud that refuses everything for a while costs nothing, whatever is written and made meanwhile", func(b *box) {
			first, second := b.device("first"), b.device("second")
			b.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
				if len(u.AttributesRequestMsg) > 0 {
					return ""
				}
				return "Failed to obtain JDBC Connection"
			})
			var made []proto.UUID
			for n := int64(1); n <= 90; n++ {
				b.post(first.ID, n)
				b.post(second.ID, n)
				if n%10 == 0 {
					fresh := &NewDevice{Name: fmt.Sprint("made ", n), CredentialsID: fmt.Sprint("token-made-", n)}
					id, err := b.agent.Create(b.Context(), fresh)
					if err != nil {
						b.Fatal(err)
					}
					made = append(made, id)
				}
				for _, id := range made {
					b.post(id, n)
				}
				if n%40 == 0 {
					b.cloud.EndSessions(cloudtest.EndReset)
				}
				if n == 60 {
					b.stop()
					b.start()
				}
				b.elapse(1500 * time.Millisecond)
			}
			if s := b.agent.Snapshot(); s.Dead > 1 || s.Dropped != 0 || s.State != Refused {
				b.Errorf("dead %d, dropped %d, %v", s.Dead, s.Dropped, s.State)
			}
			b.cloud.RefuseUplink(nil)
			b.elapse(2 * time.Minute)
			b.expect("arrived of first", slices.Equal(b.tenant.Arrivals(first.ID, "t"), upTo(90)), true)
			b.expect("arrived of second", slices.Equal(b.tenant.Arrivals(second.ID, "t"), upTo(90)), true)
			for i, id := range made {
				got := b.tenant.Arrivals(id, "t")
				b.expect("arrived of a device made here", slices.Equal(got, upTo(90)[10*i+9:]), true)
			}
			s := b.agent.Snapshot()
			b.expect("dead, dropped, state", []any{s.Dead, s.Dropped, s.State}, []any{0, 0, Connected})
		}},
		{"4.6 a rate limit costs neither answers nor questions", func(b *box) {
			d := b.device("d")
			b.doors.take(d.ID, func(c *Call) { b.agent.Answer(c.Device, c.ID, "6") })
			b.cloud.RateLimit(true)
			go func() {
				b.elapse(4 * time.Second)
				b.cloud.RateLimit(false)
			}()
			r := b.call(d.ID, "1", false, 10*time.Second)
			b.expect("answer", r.response+r.word, "6")
			b.sent(func(*proto.UplinkMsg) bool { return true })
			b.offline(func() {
				b.cloud.SetSharedAttributes(d.ID, longs("fan", 5), false)
				b.cloud.RateLimit(true)
				go func() {
					b.elapse(time.Minute)
					b.cloud.RateLimit(false)
				}()
			})
			b.elapse(5 * time.Minute)
			b.expect("cached", b.shared(d.ID, "fan"), "5")
		}},
		{"4.7 data of a device whose creation is refused waits for it, also over a restart", func(b *box) {
			other := b.device("other")
			refuse := func(u *proto.UplinkMsg) string {
				if len(u.DeviceUpdateMsg) > 0 {
					return "Not today"
				}
				return ""
			}
			b.cloud.RefuseUplink(refuse)
			id, err := b.agent.Create(b.Context(), &NewDevice{Name: "Dev D", CredentialsID: "tok-d"})
			if err != nil {
				b.Fatal(err)
			}
			b.post(id, 1, 2)
			b.post(other.ID, 7)
			b.elapse(10 * time.Second)
			b.post(id, 3)
			b.post(other.ID, 8)
			b.elapse(2 * time.Second)
			b.expect("of another device", b.tenant.Arrivals(other.ID, "t"), []int64{7, 8})
			// Dead are the creation, its credentials and three values.
			b.expect("dead, pending", []uint64{b.agent.Snapshot().Dead, b.agent.Snapshot().Pending}, []int{5, 0})
			dropped := b.tenant.Counts().Dropped
			b.stop()
			b.start()
			b.elapse(5 * time.Second)
			b.post(id, 4)
			b.elapse(2 * time.Second)
			b.expect("dead", b.agent.Snapshot().Dead, 6)
			b.cloud.RefuseUplink(nil)
			b.elapse(5 * time.Minute)
			b.expect("arrived", b.tenant.Arrivals(id, "t"), []int64{1, 2, 3, 4})
			d, _, _ := b.tenant.DeviceOf(id)
			b.expect("credentials", d.CredentialsID, "tok-d")
			b.expect("dead", b.agent.Snapshot().Dead, 0)
			b.expect("lost", b.tenant.Counts().Dropped, dropped)
			b.post(id, 5)
			b.elapse(5 * time.Second)
			b.expect("arrived", b.tenant.Arrivals(id, "t"), []int64{1, 2, 3, 4, 5})
			b.expect("dead", b.agent.Snapshot().Dead, 0)
		}},
		{"4.7 what a refused device pushes out of the full dead-letter log is counted and reported", func(b *box) {
			b.stop()
			b.noOverflow = true // as if that were full too
			b.start()
			b.elapse(time.Minute)
			b.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
				if len(u.DeviceUpdateMsg) > 0 {
					return "Not today"
				}
				return ""
			})
			id, err := b.agent.Create(b.Context(), &NewDevice{Name: "Dev F"})
			if err != nil {
				b.Fatal(err)
			}
			kv := []proto.KV{{Key: []byte("t"), Type: proto.KeyValueType_STRING_V, Str: bytes.Repeat([]byte("x"), 10_000)}}
			const events = 150        // the log takes about a hundred
			all := NewIntake(b.queue) // as if they had come before the refusal was known
			began := time.Now().UnixMilli()
			for n := range int64(events) {
				e := proto.Event{
					Kind: proto.KindEntityData, Action: proto.ActionTimeseriesUpdated, Time: began + n, Entity: id,
					Fragment: proto.AppendTelemetry(nil, id, "DEVICE", n, kv),
				}
				if err := all.Accept(b.Context(), []proto.Event{e}); err != nil {
					b.Fatal(err)
				}
			}
			b.elapse(2 * time.Minute)
			reported := map[string][]int64{}
			for _, u := range b.sent(func(*proto.UplinkMsg) bool { return true }) {
				for _, e := range u.EntityData {
					for _, l := range e.GetPostTelemetryMsg().GetTsKvList() {
						for _, kv := range l.Kv {
							reported[kv.Key] = append(reported[kv.Key], kv.LongV)
							if kv.Key == "queueDroppedReason" {
								b.expect("reason", kv.StringV, "dead letters full")
							}
						}
					}
				}
			}
			s, sum := b.agent.Snapshot(), int64(0)
			for _, n := range reported["queueDropped"] {
				sum += n
			}
			b.expect("dropped, in all", sum, s.Dropped)
			if s.Dropped < 40 || s.Dropped > 60 || s.Dead+s.Dropped != events+2 || s.Pending != 0 {
				b.Errorf("%d dropped, %d dead, %d pending", s.Dropped, s.Dead, s.Pending)
			}
			n := len(reported["queueDropped"])
			b.expect("total", reported["queueDroppedTotal"][n-1], sum)
			from, to := reported["queueDroppedFrom"][0], reported["queueDroppedTo"][n-1]
			if from < began-60_000 || from > began+2 || to < began+30 || to >= began+events {
				b.Errorf("from %d to %d, began %d", from, to, began)
			}
			// The creation was not pushed out, and what is left arrives behind the creation.
			b.cloud.RefuseUplink(nil)
			if _, err := b.agent.DeadLetters().Retry(b.Context(), 0); err != nil {
				b.Fatal(err)
			}
			lost := b.tenant.Counts().Dropped
			b.elapse(5 * time.Minute)
			arrived := b.tenant.Arrivals(id, "t")
			b.expect("arrived, first and last", []int64{int64(len(arrived)), arrived[0], arrived[len(arrived)-1]},
				[]int64{events - sum + 1, sum - 1, events - 1})
			b.expect("lost", b.tenant.Counts().Dropped, lost)
			b.expect("dead", b.agent.Snapshot().Dead, 0)
		}},
		{"4.7 what a device does while its dependents go up stays behind them", func(b *box) {
			b.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
				if len(u.DeviceUpdateMsg) > 0 {
					return "Not today"
				}
				return ""
			})
			id, err := b.agent.Create(b.Context(), &NewDevice{Name: "Dev E"})
			if err != nil {
				b.Fatal(err)
			}
			want := make([]int64, 0, 300)
			for n := int64(1); n <= 300; n++ {
				if n == 50 {
					b.cloud.RefuseUplink(nil)
				}
				if n%10 == 1 && n > 50 && n < 100 { // however many dependents have gone up
					b.stop()
					b.start()
				}
				b.post(id, n)
				want = append(want, n)
				b.elapse(300 * time.Millisecond)
			}
			b.elapse(time.Minute)
			b.expect("arrived", b.tenant.Arrivals(id, "t"), want)
			b.expect("dead, pending", []uint64{b.agent.Snapshot().Dead, b.agent.Snapshot().Pending}, []int{0, 0})
			b.expect("deployed", b.agent.Snapshot().Deployed, 302)
		}},
		{"4.7 nothing that stands behind a creation is under way before the cloud has answered the creation", func(b *box) {
			b.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
				if len(u.DeviceUpdateMsg) > 0 {
					return "Not today"
				}
				return ""
			})
			b.cloud.DelayAcks(time.Second)
			dropped := b.tenant.Counts().Dropped
			id, err := b.agent.Create(b.Context(), &NewDevice{Name: "made", CredentialsID: "m"})
			if err != nil {
				b.Fatal(err)
			}
			b.post(id, upTo(350)...) // they fill four messages
			b.elapse(15 * time.Second)
			b.expect("lost", b.tenant.Counts().Dropped, dropped)
			b.cloud.RefuseUplink(nil)
			b.cloud.DelayAcks(0)
			b.elapse(10 * time.Minute)
			b.expect("arrived", slices.Equal(b.tenant.Arrivals(id, "t"), upTo(350)), true)
			b.expect("lost, dead", []uint64{b.tenant.Counts().Dropped, b.agent.Snapshot().Dead}, []uint64{dropped, 0})
		}},
		{"4.8 a name that is taken in the cloud is given another, and the device goes on under its own here", func(b *box) {
			other := cloudtest.Device{ID: b.tenant.NewID(), Name: "Dev B", CredentialsType: "ACCESS_TOKEN", CredentialsID: "o"}
			b.tenant.AddDevice(proto.UUID{}, other) // of no edge
			gw := b.device("gw")
			id, err := b.agent.Create(b.Context(), &NewDevice{Name: "Dev B", Gateway: gw.ID})
			if err != nil {
				b.Fatal(err)
			}
			b.elapse(10 * time.Second)
			d, ok := b.reg.ByName("Dev B")
			b.expect("found", ok && d.ID == id && strings.HasPrefix(d.Name, "Dev B_"), true)
			again, err := b.agent.Create(b.Context(), &NewDevice{Name: "Dev B", Gateway: gw.ID})
			b.expect("again", errors.Is(err, ErrNameTaken) && again == id, true)
		}},
		{"4.8 an alarm that is sent again after the cloud cleared it goes to the dead letters and holds nothing up", func(b *box) {
			d := b.device("d")
			alarm := b.tenant.NewID()
			b.cloud.DropAcksIf(func(u *proto.UplinkMsg) bool { return len(u.AlarmUpdateMsg) > 0 })
			b.edit(registry.Edit{Kind: proto.KindAlarm, ID: alarm, Text: b.alarm(alarm, d.ID)}, proto.ActionAdded, entityCreated)
			b.post(d.ID, 1)
			b.elapse(5 * time.Second)
			_, ok := b.tenant.Entity("ALARM", alarm)
			b.expect("there, pending", []any{ok, b.agent.Snapshot().Pending}, []any{true, 2})
			b.offline(func() {
				b.cloud.DropAcksIf(nil)
				b.tenant.ClearAlarm(alarm, time.Now())
			})
			s := b.agent.Snapshot()
			b.expect("dead, pending", []uint64{s.Dead, s.Pending}, []uint64{1, 0})
			b.expect("arrived", b.tenant.Arrivals(d.ID, "t"), []int64{1})
		}},
		{"4.8 a device whose creation is sent twice is one device", func(b *box) {
			b.cloud.DropAcksIf(func(u *proto.UplinkMsg) bool { return len(u.DeviceUpdateMsg) > 0 })
			id, err := b.agent.Create(b.Context(), &NewDevice{Name: "made", CredentialsID: "m"})
			if err != nil {
				b.Fatal(err)
			}
			b.elapse(5 * time.Second)
			b.offline(func() { b.cloud.DropAcksIf(nil) })
			b.expect("sent", len(b.sent(func(u *proto.UplinkMsg) bool { return len(u.DeviceUpdateMsg) > 0 })), 2)
			cd, edge, ok := b.tenant.DeviceOf(id)
			b.expect("device", []any{cd.Name, cd.CredentialsID, edge == b.edge.ID, ok, len(b.tenant.Devices())},
				[]any{"made", "m", true, true, 1})
		}},
	})
}
