package sync

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	gosync "sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"edgesync/proto"
	"edgesync/sync/config"
)

// numbered returns an event of an entity in one of the forms that events have; the event carries
// the number n.
func numbered(rng *rand.Rand, entity byte, n int) proto.Event {
	id := proto.UUID{15: entity + 1}
	text := fmt.Sprintf(`{"n":%d,"id":%d}`, n, entity)
	kv := []proto.KV{{Key: []byte("n"), Type: proto.KeyValueType_LONG_V, Long: int64(n)}}
	e := proto.Event{Kind: proto.KindEntityData, Time: 1, Entity: id}
	const updated = proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE
	switch rng.IntN(12) {
	case 0:
		e.Kind, e.Action, e.Fragment = proto.KindDevice, proto.ActionUpdated, proto.AppendUpdate(nil, proto.KindDevice, updated, id, text)
	case 1:
		e.Kind, e.Action = proto.KindAlarm, proto.ActionAlarmAck
		e.Fragment = proto.AppendUpdate(nil, proto.KindAlarm, proto.UpdateMsgType_ALARM_ACK_RPC_MESSAGE, id, text)
	case 2:
		e.Kind, e.Action = proto.KindRelation, proto.ActionRelationAddOrUpdate
		e.Fragment = proto.AppendUpdate(nil, proto.KindRelation, 0, id, text)
	case 3:
		e.Kind, e.Action = proto.KindDeviceCredentials, proto.ActionCredentialsUpdated
		e.Fragment = proto.AppendUpdate(nil, proto.KindDeviceCredentials, 0, id, text)
	case 4, 5:
		e.Action, e.Fragment = proto.ActionPostAttributes, proto.AppendPostAttributes(nil, id, "DEVICE", proto.ClientScope, kv)
	case 6:
		e.Action, e.Fragment = proto.ActionAttributesUpdated, proto.AppendAttributesUpdated(nil, id, "DEVICE", "SERVER_SCOPE", int64(n), kv)
	case 7:
		e.Action = proto.ActionAttributesDeleted
		e.Fragment = proto.AppendAttributeDelete(nil, id, "DEVICE", "SERVER_SCOPE", []string{fmt.Sprint(n)})
	default:
		e.Action, e.Fragment = proto.ActionTimeseriesUpdated, proto.AppendTelemetry(nil, id, "DEVICE", int64(n), kv)
	}
	return e
}

// worked is an event as the server works it off.
type worked struct {
	entity, n int
	barrier   bool
	attribute bool
}

// workOff lists what is in an uplink in the order in which the server works it off
// (CONTRACT.md 4.2).
func workOff(u *proto.UplinkMsg) (list []worked) {
	fromJSON := func(text string) {
		var j struct{ N, ID int }
		json.Unmarshal([]byte(text), &j)
		list = append(list, worked{j.ID, j.N, true, false})
	}
	for _, d := range u.DeviceUpdateMsg {
		fromJSON(d.Entity)
	}
	for _, d := range u.DeviceCredentialsUpdateMsg {
		fromJSON(d.Entity)
	}
	for _, e := range u.EntityData {
		w := worked{entity: int(e.EntityIdLSB) - 1, attribute: true}
		switch {
		case e.PostTelemetryMsg != nil:
			w.n, w.attribute = int(e.PostTelemetryMsg.TsKvList[0].Ts), false
		case e.PostAttributesMsg != nil:
			w.n = int(e.PostAttributesMsg.Kv[0].LongV)
		case e.AttributesUpdatedMsg != nil:
			w.n = int(e.AttributesUpdatedMsg.Kv[0].LongV)
		case e.AttributeDeleteMsg != nil:
			fmt.Sscan(e.AttributeDeleteMsg.AttributeNames[0], &w.n)
		}
		list = append(list, w)
	}
	for _, a := range u.AlarmUpdateMsg {
		fromJSON(a.Entity)
	}
	for _, r := range u.RelationUpdateMsg {
		fromJSON(r.Entity)
	}
	return list
}

// The cloud works off the events of each entity in their order, whatever the mixture of events and
// whatever happens to acknowledgements, messages and link; nothing is in flight beside an entity
// event, and no two writes of one entity's attributes are (CONTRACT.md 4.2, 4.3, 4.7).
func TestOrderProperty(t *testing.T) {
	seeds := uint64(10)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { runOrder(t, seed, 0) })
	}
}

// The same with what is sent again after a lost session: telemetry and attributes keep their order,
// and so does the rest, which is not repeated.
func TestOrderOfRepetitions(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { runOrder(t, seed, 10*time.Second) })
	}
}

func runOrder(t *testing.T, seed uint64, repeat time.Duration) {
	refusing := seed%2 == 1
	const entities, events = 5, 400
	rng := rand.New(rand.NewPCG(seed, 99))
	var mu gosync.Mutex
	inFlight := map[int32][]worked{} // of this session
	session := 0
	var arrived []worked // accepted, in order
	s := &script{}
	s.uplink = func(n int, u *proto.UplinkMsg) *proto.UplinkResponseMsg {
		list := workOff(u)
		if len(list) == 0 {
			return ok(u)
		}
		mu.Lock()
		defer mu.Unlock()
		if n != session {
			session = n
			clear(inFlight)
		}
		barrier := list[0].barrier
		for i, w := range list {
			if w.attribute && slices.ContainsFunc(list[:i], func(o worked) bool { return o.attribute && o.entity == w.entity }) {
				t.Errorf("attributes of entity %d twice in one message", w.entity)
			}
		}
		for _, other := range inFlight {
			if barrier || other[0].barrier {
				t.Errorf("%d events beside an entity event: %v and %v", len(list), other, list)
			}
			for _, o := range other {
				for _, w := range list {
					if o.attribute && w.attribute && o.entity == w.entity {
						t.Errorf("attributes of entity %d twice in flight", w.entity)
					}
				}
			}
		}
		inFlight[u.UplinkMsgId] = list
		refuse := refusing && len(list) > 1 && rng.IntN(6) == 0
		if !refuse {
			arrived = append(arrived, list...)
		}
		delay := time.Duration(rng.IntN(400)) * time.Millisecond
		send := s.streams[n]
		go func() {
			pause(delay)
			mu.Lock()
			if n == session {
				delete(inFlight, u.UplinkMsgId)
			}
			mu.Unlock()
			r := ok(u)
			if refuse {
				r = no(u, "something went wrong")
			}
			send(&proto.ResponseMsg{UplinkResponseMsg: r})
		}()
		return nil
	}
	s.end = func(_ int, r *proto.RequestMsg) (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		if len(r.GetUplinkMsg().GetEntityData()) > 0 && rng.IntN(40) == 0 {
			return true, status.Error(codes.Unavailable, "the link broke") // the message is lost with it
		}
		return false, nil
	}
	batches := func(c *config.Config) {
		c.Batch.Size, c.Batch.Timeout, c.Sync.Repeat = 1+int(seed*7)%50, 100*time.Millisecond, repeat
	}
	inBubble(t, s, batches, func(r *rig) {
		made := rand.New(rand.NewPCG(seed, 5))
		for n := 1; n <= events; {
			var group []proto.Event
			for range 1 + made.IntN(40) {
				if n <= events {
					group = append(group, numbered(made, byte(made.IntN(entities)), n))
					n++
				}
			}
			if err := r.intake.Accept(r.Context(), group); err != nil {
				t.Fatal(err)
			}
			r.elapse(time.Duration(made.IntN(300)) * time.Millisecond)
		}
		r.elapse(2 * time.Hour)
		r.counts(events, events, 0, 0)
		mu.Lock()
		defer mu.Unlock()
		first, last := map[int]int{}, map[int]int{}
		for i, w := range arrived {
			if _, ok := first[w.n]; !ok {
				first[w.n] = i
			}
			last[w.n] = i
		}
		if len(last) != events {
			t.Errorf("%d of %d events arrived", len(last), events)
		}
		check := func(what string, at map[int]int) {
			byEntity := map[int][]int{}
			all := make([]int, 0, len(at))
			for n := range at {
				all = append(all, n)
			}
			sort.Slice(all, func(i, j int) bool { return at[all[i]] < at[all[j]] })
			for _, n := range all {
				e := arrived[at[n]].entity
				if repeat > 0 && arrived[at[n]].barrier {
					e += entities
				}
				byEntity[e] = append(byEntity[e], n)
			}
			for e, list := range byEntity {
				if !slices.IsSorted(list) {
					t.Errorf("entity %d, by %s: %v", e, what, list)
				}
			}
		}
		// An event that was sent again counts by its last arrival, because that is what
		// stays in the cloud. Without refusals the first arrivals are in order too.
		check("last arrival", last)
		if !refusing {
			check("first arrival", first)
		}
	})
}
