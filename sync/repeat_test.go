package sync

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
	"edgesync/sync/config"
)

// restartCloud stops the cloud, and starts it again after a while.
func (b *box) restartCloud(away time.Duration) {
	b.Helper()
	b.cloud.Stop()
	b.elapse(away)
	b.link.Renew()
	go b.cloud.Serve(b.link)
}

// A cloud that is stopped loses what it acknowledged in its last seconds; all of it is sent again,
// and no event is counted twice.
func TestCloudThatLosesAtItsStop(t *testing.T) {
	const round = 5000
	stops := 20
	if testing.Short() {
		stops = 4
	}
	inBox(t, nil, func(b *box) {
		id := b.device("meter").ID
		b.cloud.LoseAtStop(2600 * time.Millisecond)
		ts := int64(0)
		for stop := range stops {
			for range 50 {
				times := make([]int64, round/50)
				for i := range times {
					ts++
					times[i] = ts
				}
				b.post(id, times...)
				b.elapse(time.Duration(20+stop*10) * time.Millisecond)
			}
			b.restartCloud(5 * time.Second)
			b.elapse(time.Duration(stop) * time.Second)
		}
		b.cloud.LoseAtStop(0)
		b.elapse(3 * time.Minute)
		rows := b.tenant.Series(id, "t")
		missing := stops*round - len(rows)
		b.expect("missing", missing, 0)
		lost := b.cloud.Lost()
		if lost < stops*100 {
			b.Errorf("the cloud lost only %d", lost)
		}
		s := b.agent.Snapshot()
		b.expect("accepted", s.Accepted, stops*round)
		b.expect("deployed", s.Deployed, stops*round)
		if s.Repeated < uint64(lost) {
			b.Errorf("%d were lost, %d repeated", lost, s.Repeated)
		}
		b.Logf("%d events, %d stops: %d lost, %d repeated, %d missing", ts, stops, lost, s.Repeated, missing)
	})
}

// Attributes are repeated in the order of the queue, so that the newest stands in the end; entity
// events, alarms and relations are not repeated.
func TestRepetitionKeepsTheNewestAttribute(t *testing.T) {
	inBox(t, nil, func(b *box) {
		id := b.device("meter").ID
		b.cloud.LoseAtStop(3 * time.Second)
		b.cloud.SlowHandler(2*time.Millisecond, 0)
		for i := range 30 {
			b.attribute(id, "mode", int64(i))
			b.elapse(200 * time.Millisecond)
		}
		b.accept([]proto.Event{{
			Kind: proto.KindRelation, Action: proto.ActionRelationAddOrUpdate, Entity: id,
			Fragment: proto.AppendUpdate(nil, proto.KindRelation, proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE, id,
				`{"from":{"entityType":"DEVICE","id":"`+proto.FormatUUID(id)+`"},"to":{"entityType":"DEVICE","id":"`+proto.FormatUUID(id)+
					`"},"type":"Contains","typeGroup":"COMMON"}`),
		}})
		b.elapse(time.Second)
		b.sent(func(*proto.UplinkMsg) bool { return true })
		b.restartCloud(0)
		b.attribute(id, "mode", 30)
		b.elapse(time.Minute)
		var got []int64
		relations := 0
		for _, u := range b.sent(func(*proto.UplinkMsg) bool { return true }) {
			relations += len(u.RelationUpdateMsg)
			for _, d := range u.EntityData {
				for _, kv := range d.GetPostAttributesMsg().GetKv() {
					got = append(got, kv.LongV)
				}
			}
		}
		var want []int64
		for i := int64(0); i <= 30; i++ {
			want = append(want, i)
		}
		b.expect("attributes after the stop", got, want)
		b.expect("relations after the stop", relations, 0)
		v, _, _ := b.tenant.Attribute(id, proto.ClientScope, "mode")
		b.expect("in the cloud", v.Long, 30)
	})
}

// attribute accepts a client attribute of a device.
func (b *box) attribute(device proto.UUID, key string, v int64) {
	b.Helper()
	kv := []proto.KV{{Key: []byte(key), Type: proto.KeyValueType_LONG_V, Long: v}}
	b.accept([]proto.Event{{
		Kind: proto.KindEntityData, Action: proto.ActionPostAttributes, Entity: device, Time: time.Now().UnixMilli(),
		Fragment: proto.AppendPostAttributes(nil, device, "DEVICE", proto.ClientScope, kv),
	}})
}

// repeatedBy posts three events, lets quiet pass, runs end, and returns what arrived afterwards.
func repeatedBy(t *testing.T, adjust func(*config.Config), quiet time.Duration, end func(b *box)) (got []int64) {
	t.Helper()
	inBox(t, adjust, func(b *box) {
		id := b.device("meter").ID
		b.post(id, 1)
		b.elapse(30 * time.Second)
		b.post(id, 2, 3)
		b.elapse(quiet)
		b.sent(func(*proto.UplinkMsg) bool { return true })
		end(b)
		b.elapse(time.Minute)
		for _, u := range b.sent(func(*proto.UplinkMsg) bool { return true }) {
			got = append(got, stamps(u)...)
		}
		b.expect("deployed", b.agent.Snapshot().Deployed, 3)
		b.expect("repeated", b.agent.Snapshot().Repeated, len(got))
	})
	return got
}

// What was acknowledged within sync.repeat of the end goes again, and nothing else does.
func TestWhatIsRepeated(t *testing.T) {
	stop := func(b *box) { b.restartCloud(time.Second) }
	clean := func(b *box) { b.cloud.EndSessions(cloudtest.EndOK) }
	off := func(c *config.Config) { c.Sync.Repeat = 0 }
	for _, c := range []struct {
		name   string
		adjust func(*config.Config)
		quiet  time.Duration
		end    func(b *box)
		want   []int64
	}{
		{"a stop, two seconds later", nil, 2 * time.Second, stop, []int64{2, 3}},
		{"a clean end, two seconds later", nil, 2 * time.Second, clean, []int64{2, 3}},
		{"a clean end, eleven seconds later", nil, 12 * time.Second, clean, nil},
		{"sync.repeat is 0", off, 2 * time.Second, stop, nil},
		{"our own stop", nil, 2 * time.Second, func(b *box) {
			b.stop()
			b.start()
		}, nil},
		{"a black hole, noticed late", nil, 5 * time.Second, func(b *box) {
			b.link.Freeze()
			b.elapse(2 * time.Minute)
		}, []int64{2, 3}},
		{"a restart before it could be repeated", nil, 2 * time.Second, func(b *box) {
			b.link.Refuse.Store(true)
			b.cloud.EndSessions(cloudtest.EndReset)
			b.elapse(time.Minute)
			b.stop()
			b.link.Refuse.Store(false)
			b.start()
		}, []int64{2, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := repeatedBy(t, c.adjust, c.quiet, c.end); !slices.Equal(got, c.want) {
				t.Errorf("repeated %v, want %v", got, c.want)
			}
		})
	}
}

// The repetition is as large as what was acknowledged lately, and it ends when the cloud refuses
// what it took before.
func TestRepetitionThatIsRefused(t *testing.T) {
	for _, c := range []struct {
		text     string
		repeated uint64
	}{
		{"Validation error: no", 19}, // one is left out
		{"Something", 19},
	} {
		t.Run(c.text, func(t *testing.T) {
			inBox(t, nil, func(b *box) {
				id := b.device("meter").ID
				var all []int64
				for ts := int64(1); ts <= 20; ts++ {
					all = append(all, ts)
				}
				b.post(id, all...)
				b.elapse(2 * time.Second)
				b.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
					if slices.Contains(stamps(u), 7) {
						return c.text
					}
					return ""
				})
				b.cloud.EndSessions(cloudtest.EndOK)
				b.elapse(3 * time.Second)
				b.post(id, 21)
				b.elapse(2 * time.Minute)
				s := b.agent.Snapshot()
				b.expect("counts", fmt.Sprint(s.Accepted, s.Deployed, s.Pending, s.Dead), "21 21 0 0")
				if s.Repeated < c.repeated {
					b.Errorf("repeated %d, want %d", s.Repeated, c.repeated)
				}
				b.expect("rows", len(b.tenant.Series(id, "t")), 21)
			})
		})
	}
}

// A cloud that refuses everything when it is back gets the repetition once it takes events, and an
// older attribute never ends up over a newer one.
func TestRepetitionWaitsForACloudThatRefusesAll(t *testing.T) {
	inBox(t, nil, func(b *box) {
		id := b.device("meter").ID
		b.cloud.LoseAtStop(time.Minute)
		b.attribute(id, "mode", 1)
		b.attribute(id, "level", 1)
		b.elapse(2 * time.Second)
		b.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
			if len(u.EntityData) > 0 {
				return "Database is starting"
			}
			return ""
		})
		b.restartCloud(time.Second)
		b.cloud.LoseAtStop(0)
		b.attribute(id, "mode", 2)
		b.elapse(10 * time.Minute)
		b.expect("refused", b.agent.Snapshot().Dead, 1)
		b.cloud.RefuseUplink(nil)
		b.elapse(2 * time.Minute)
		for key, want := range map[string]int64{"mode": 1, "level": 1} { // without any event that is accepted
			v, _, _ := b.tenant.Attribute(id, proto.ClientScope, key)
			b.expect(key, v.Long, want)
		}
		b.attribute(id, "mode", 3)
		b.elapse(time.Minute)
		for key, want := range map[string]int64{"mode": 3, "level": 1} {
			v, _, _ := b.tenant.Attribute(id, proto.ClientScope, key)
			b.expect(key, v.Long, want)
		}
		s := b.agent.Snapshot()
		b.expect("counts", fmt.Sprint(s.Accepted, s.Deployed, s.Pending, s.Dead), "4 3 0 1")
	})
}

// A link that ends again and again within sync.repeat does not repeat for ever: each event goes
// again a few times at most, and new ones get through.
func TestRepetitionsOverAFlappingLink(t *testing.T) {
	const rounds, each = 40, 50
	inBox(t, nil, func(b *box) {
		id := b.device("meter").ID
		ts := int64(0)
		for range rounds {
			for range each {
				ts++
				b.post(id, ts)
			}
			b.elapse(6 * time.Second)
			b.cloud.EndSessions(cloudtest.EndReset)
		}
		b.elapse(time.Minute)
		b.expect("rows", len(b.tenant.Series(id, "t")), rounds*each)
		most := 0
		for _, row := range b.tenant.Series(id, "t") {
			most = max(most, row.Writes)
		}
		if most > 1+repeatTimes {
			b.Errorf("one event arrived %d times", most)
		}
		b.Logf("%d events, %d repeated, one at most %d times", ts, b.agent.Snapshot().Repeated, most-1)
	})
}

// The stretches of acknowledgements are bounded, and exact to a sixteenth.
func TestStretchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := repeating{last: 10 * time.Second}
		for i := range uint64(100000) {
			r.acknowledged(i, time.Now())
			time.Sleep(time.Millisecond)
			r.since(time.Now().Add(-r.last))
		}
		if n := len(r.stretches); n > repeatParts+2 {
			t.Errorf("%d stretches", n)
		}
		if from := r.since(time.Now().Add(-r.last)); from > 90000 || from < 89000 {
			t.Errorf("from %d", from)
		}
	})
}
