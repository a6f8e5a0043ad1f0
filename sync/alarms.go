package sync

import (
	"strings"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/wal"
)

// followAlarm makes an event of an alarm about the id under which the cloud has that alarm: what
// goes up under another id is acknowledged and does nothing (CONTRACT.md 13.5). A creation keeps
// its id: it updates the cloud's alarm, or makes a new one if that was cleared meanwhile. The
// fragment in the queue stays as it is.
func (l *loop) followAlarm(e *wal.Event) {
	if proto.Kind(e.Kind) != proto.KindAlarm || proto.Action(e.Action) == proto.ActionAdded {
		return
	}
	id := l.reg.AlarmID(e.Entity)
	if id == e.Entity {
		return
	}
	var u proto.UplinkMsg
	if pb.Unmarshal(e.Fragment, &u) != nil || len(u.GetAlarmUpdateMsg()) != 1 {
		return
	}
	m := u.GetAlarmUpdateMsg()[0]
	text := strings.ReplaceAll(m.GetEntity(), proto.FormatUUID(e.Entity), proto.FormatUUID(id))
	e.Fragment = proto.AppendUpdate(nil, proto.KindAlarm, m.GetMsgType(), id, text)
}
