package sync

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// Wire contract 4: what goes up and its acknowledgements.
func TestConformanceUplink(t *testing.T) {
	conform(t, []rule{
		{"4.6 a rate limit costs neither answers nor questions", func(b *box) {
			d := b.device("d")
			b.doors.take(d.ID, func(c *Call) { b.agent.Answer(c.Device, c.ID, "6") })
			b.cloud.RateLimit(true)
			go func() {
				b.settle(4 * time.Second)
				b.cloud.RateLimit(false)
			}()
			r := b.call(d.ID, "1", false, 10*time.Second)
			b.expect("answer", r.response+r.word, "6")
			b.sent(func(*proto.UplinkMsg) bool { return true })
			b.offline(func() {
				b.cloud.SetSharedAttributes(d.ID, longs("fan", 5), false)
				b.cloud.RateLimit(true)
				go func() {
					b.settle(time.Minute)
					b.cloud.RateLimit(false)
				}()
			})
			b.settle(5 * time.Minute)
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
			b.settle(10 * time.Second)
			b.post(id, 3)
			b.post(other.ID, 8)
			b.settle(2 * time.Second)
			b.expect("of another device", b.tenant.Arrivals(other.ID, "t"), []int64{7, 8})
			b.expect("dead, pending", []uint64{b.agent.Snapshot().Dead, b.agent.Snapshot().Pending}, []int{5, 0}) // creation, credentials, three values
			dropped := b.tenant.Counts().Dropped
			b.stop()
			b.start()
			b.settle(5 * time.Second)
			b.post(id, 4)
			b.settle(2 * time.Second)
			b.expect("dead", b.agent.Snapshot().Dead, 6)
			b.cloud.RefuseUplink(nil)
			b.settle(5 * time.Minute)
			b.expect("arrived", b.tenant.Arrivals(id, "t"), []int64{1, 2, 3, 4})
			d, _, _ := b.tenant.DeviceOf(id)
			b.expect("credentials", d.CredentialsID, "tok-d")
			b.expect("dead", b.agent.Snapshot().Dead, 0)
			b.expect("lost", b.tenant.Counts().Dropped, dropped)
			b.post(id, 5)
			b.settle(5 * time.Second)
			b.expect("arrived", b.tenant.Arrivals(id, "t"), []int64{1, 2, 3, 4, 5})
			b.expect("dead", b.agent.Snapshot().Dead, 0)
		}},
		{"4.7 what a refused device pushes out of the full dead-letter log is counted and told", func(b *box) {
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
			const events = 150 // of which the log takes a hundred
			began := time.Now().UnixMilli()
			for n := range int64(events) {
				e := proto.Event{Kind: proto.KindEntityData, Action: proto.ActionTimeseriesUpdated, Time: began + n, Entity: id, Fragment: proto.AppendTelemetry(nil, id, "DEVICE", n, kv)}
				if err := b.intake.Accept(b.Context(), []proto.Event{e}); err != nil {
					b.Fatal(err)
				}
			}
			b.settle(2 * time.Minute)
			told := map[string][]int64{}
			for _, u := range b.sent(func(*proto.UplinkMsg) bool { return true }) {
				for _, e := range u.EntityData {
					for _, l := range e.GetPostTelemetryMsg().GetTsKvList() {
						for _, kv := range l.Kv {
							told[kv.Key] = append(told[kv.Key], kv.LongV)
							if kv.Key == "queueDroppedReason" {
								b.expect("reason", kv.StringV, "dead letters full")
							}
						}
					}
				}
			}
			s, sum := b.agent.Snapshot(), int64(0)
			for _, n := range told["queueDropped"] {
				sum += n
			}
			b.expect("dropped, in all", sum, s.Dropped)
			if s.Dropped < 40 || s.Dropped > 60 || s.Dead+s.Dropped != events+2 || s.Pending != 0 {
				b.Errorf("%d dropped, %d dead, %d pending", s.Dropped, s.Dead, s.Pending)
			}
			n := len(told["queueDropped"])
			b.expect("total", told["queueDroppedTotal"][n-1], sum)
			if from, to := told["queueDroppedFrom"][0], told["queueDroppedTo"][n-1]; from < began-60_000 || from > began+2 || to < began+30 || to >= began+events {
				b.Errorf("from %d to %d, began %d", from, to, began)
			}
			// The creation is not among them: what is left arrives behind it.
			b.cloud.RefuseUplink(nil)
			if _, err := b.agent.DeadLetters().Retry(b.Context(), 0); err != nil {
				b.Fatal(err)
			}
			lost := b.tenant.Counts().Dropped
			b.settle(5 * time.Minute)
			arrived := b.tenant.Arrivals(id, "t")
			b.expect("arrived, first and last", []int64{int64(len(arrived)), arrived[0], arrived[len(arrived)-1]}, []int64{events - sum + 1, sum - 1, events - 1})
			b.expect("lost", b.tenant.Counts().Dropped, lost)
			b.expect("dead", b.agent.Snapshot().Dead, 0)
		}},
		{"4.7 what a device does while its orphans go up stays behind them", func(b *box) {
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
				if n%10 == 1 && n > 50 && n < 100 { // whatever has gone up by now
					b.stop()
					b.start()
				}
				b.post(id, n)
				want = append(want, n)
				b.settle(300 * time.Millisecond)
			}
			b.settle(time.Minute)
			b.expect("arrived", b.tenant.Arrivals(id, "t"), want)
			b.expect("dead, pending", []uint64{b.agent.Snapshot().Dead, b.agent.Snapshot().Pending}, []int{0, 0})
			b.expect("deployed", b.agent.Snapshot().Deployed, 302)
		}},
		{"4.8 a name that is taken in the cloud is given another, and the device goes on under its own here", func(b *box) {
			other := cloudtest.Device{ID: b.tenant.NewID(), Name: "Dev B", CredentialsType: "ACCESS_TOKEN", CredentialsID: "o"}
			b.tenant.AddDevice(proto.UUID{}, other) // of another edge, or of none
			gw := b.device("gw")
			id, err := b.agent.Create(b.Context(), &NewDevice{Name: "Dev B", Gateway: gw.ID})
			if err != nil {
				b.Fatal(err)
			}
			b.settle(10 * time.Second)
			d, ok := b.reg.ByName("Dev B")
			b.expect("found", ok && d.ID == id && strings.HasPrefix(d.Name, "Dev B_"), true)
			again, err := b.agent.Create(b.Context(), &NewDevice{Name: "Dev B", Gateway: gw.ID})
			b.expect("again", errors.Is(err, ErrNameTaken) && again == id, true)
		}},
	})
}
