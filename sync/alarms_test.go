package sync

import (
	"encoding/json"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// alarmState is the status of an alarm in the cloud; "" if there is none.
func (b *box) alarmState(id proto.UUID) string {
	b.Helper()
	text, ok := b.tenant.Entity("ALARM", id)
	var j struct{ Status string }
	if ok && json.Unmarshal([]byte(text), &j) != nil {
		b.Fatal(text)
	}
	return j.Status
}

// mark acknowledges or clears an alarm here, under an id that may be the one it was raised with.
func (b *box) mark(id, device proto.UUID, action proto.Action, t proto.UpdateMsgType, marks string) {
	b.Helper()
	text := b.alarm(id, device)
	b.edit(registry.Edit{Kind: proto.KindAlarm, ID: id, Text: text[:len(text)-1] + "," + marks + "}"}, action, t)
}

// The cloud has an alarm that is raised here too, and keeps its id. Once it has shown its own,
// acknowledge and clear go there, also those that wait in the queue since before.
func TestAlarmWithTwoIDs(t *testing.T) {
	const acked, cleared = `"acknowledged":true,"ackTs":5`, `"acknowledged":true,"ackTs":5,"cleared":true,"clearTs":6`
	ack, clear := proto.UpdateMsgType_ALARM_ACK_RPC_MESSAGE, proto.UpdateMsgType_ALARM_CLEAR_RPC_MESSAGE
	show := func(b *box, id, device proto.UUID) {
		m := &proto.AlarmUpdateMsg{MsgType: entityCreated, Entity: b.alarm(id, device)}
		m.IdMSB, m.IdLSB = proto.Halves(id)
		b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{AlarmUpdateMsg: []*proto.AlarmUpdateMsg{m}})
	}
	for _, c := range []struct {
		name string
		f    func(b *box, own, cloud, device proto.UUID)
	}{
		{"marked after the cloud's id is known", func(b *box, own, cloud, device proto.UUID) {
			show(b, cloud, device)
			b.elapse(5 * time.Second)
			b.mark(own, device, proto.ActionAlarmAck, ack, acked)
			b.mark(own, device, proto.ActionAlarmClear, clear, cleared)
		}},
		{"marked before, and not sent yet", func(b *box, own, cloud, device proto.UUID) {
			b.cloud.RateLimit(true)
			b.mark(own, device, proto.ActionAlarmAck, ack, acked)
			b.mark(own, device, proto.ActionAlarmClear, clear, cleared)
			show(b, cloud, device)
			b.elapse(10 * time.Second)
			b.cloud.RateLimit(false)
		}},
		{"marked before a restart", func(b *box, own, cloud, device proto.UUID) {
			b.cloud.RateLimit(true)
			b.mark(own, device, proto.ActionAlarmAck, ack, acked)
			show(b, cloud, device)
			b.elapse(10 * time.Second)
			b.stop()
			b.cloud.RateLimit(false)
			b.start()
			b.elapse(time.Minute)
			b.mark(own, device, proto.ActionAlarmClear, clear, cleared)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBox(t, nil, func(b *box) {
				device := b.device("d").ID
				own, cloud := b.tenant.NewID(), b.tenant.NewID()
				up := &proto.AlarmUpdateMsg{MsgType: entityCreated, Entity: b.alarm(cloud, device)}
				up.IdMSB, up.IdLSB = proto.Halves(cloud)
				b.tenant.Process(b.edge.ID, &proto.UplinkMsg{AlarmUpdateMsg: []*proto.AlarmUpdateMsg{up}}, time.Now())
				b.edit(registry.Edit{Kind: proto.KindAlarm, ID: own, Text: b.alarm(own, device)}, proto.ActionAdded, entityCreated)
				b.elapse(5 * time.Second)
				b.expect("raised here too", []string{b.alarmState(own), b.alarmState(cloud)}, []string{"", "ACTIVE_UNACK"})
				c.f(b, own, cloud, device)
				b.elapse(2 * time.Minute)
				b.expect("in the cloud", []string{b.alarmState(own), b.alarmState(cloud)}, []string{"", "CLEARED_ACK"})
				b.expect("known as", b.reg.AlarmID(own), cloud)
				if _, ok := b.reg.Entity(proto.KindAlarm, own); ok {
					b.Error("there are two alarms here")
				}
				b.expect("dead, pending", []uint64{b.agent.Snapshot().Dead, b.agent.Snapshot().Pending}, []uint64{0, 0})
			})
		})
	}
}

// An alarm that is raised here after the cloud's was cleared is an alarm of its own.
func TestAlarmOfItsOwn(t *testing.T) {
	inBox(t, nil, func(b *box) {
		device := b.device("d").ID
		own, cloud := b.tenant.NewID(), b.tenant.NewID()
		push := func(text string) {
			m := &proto.AlarmUpdateMsg{MsgType: entityUpdated, Entity: text}
			m.IdMSB, m.IdLSB = proto.Halves(cloud)
			b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{AlarmUpdateMsg: []*proto.AlarmUpdateMsg{m}})
			b.elapse(5 * time.Second)
		}
		b.cloud.RateLimit(true)
		b.edit(registry.Edit{Kind: proto.KindAlarm, ID: own, Text: b.alarm(own, device)}, proto.ActionAdded, entityCreated)
		push(b.alarm(cloud, device))
		b.expect("joined", b.reg.AlarmID(own), cloud)
		b.elapse(time.Minute)
		b.cloud.RateLimit(false)
		b.elapse(time.Minute)
		text := b.alarm(cloud, device)
		push(text[:len(text)-1] + `,"cleared":true,"clearTs":7}`)
		b.expect("apart", b.reg.AlarmID(own), own)
		b.mark(own, device, proto.ActionAlarmClear, proto.UpdateMsgType_ALARM_CLEAR_RPC_MESSAGE, `"cleared":true,"clearTs":8`)
		b.elapse(time.Minute)
		b.expect("in the cloud", b.alarmState(own), "CLEARED_UNACK")
	})
}
