package calls

import (
	"encoding/json"
	"time"

	"edgesync/proto"
)

// A notice is a one-way call that the edge makes by itself: it says to a gateway that one of its
// devices was renamed or deleted (API.md 4.3). Notices wait for the gateway like calls of the
// cloud, over a restart too, and their answers stay here.
//
// The server makes the same calls by itself, and sends them through the edge while that is
// connected: its rename and delete go through the calls of the REST API (CONTRACT.md 8.1). Chance
// decides which of the two comes first, and the gateway is to hear of the change once. So a notice
// is remembered until the cloud's call has come, and the cloud's call until the notice has.

// Methods of notices. The parameters are {"old name":"new name"}, and the name.
const (
	MethodRenamed = "gateway_device_renamed"
	MethodDeleted = "gateway_device_deleted"
)

// Bounds of notices.
const (
	MaxNotices = 64             // of one device that wait; and notices and calls that are remembered
	maxNotice  = 8 << 10        // bytes of one that is remembered: two names of 1 KiB as JSON
	noticeLife = 24 * time.Hour // as long as the server's own
)

// unpaired is a notice whose call of the cloud has not come yet, or such a call whose notice has
// not.
type unpaired struct {
	device proto.UUID
	text   string // method and parameters
	notice bool
	until  time.Time
}

// noticeText is what a notice and the cloud's call have in common; "" if the call says nothing that
// the edge makes a notice of.
func noticeText(method, params string) string {
	var v any
	if method != MethodRenamed && method != MethodDeleted || len(params) > maxNotice || json.Unmarshal([]byte(params), &v) != nil {
		return ""
	}
	b, err := json.Marshal(v) // one form, whoever wrote it
	if err != nil {
		return ""
	}
	return method + " " + string(b)
}

// pair finds and forgets the counterpart of a notice or of a call, or else remembers it. The caller
// holds mu.
func (t *Table) pair(device proto.UUID, text string, notice bool, now time.Time) (found bool) {
	kept := t.unpaired[:0]
	for _, u := range t.unpaired {
		switch {
		case !found && u.device == device && u.text == text && u.notice != notice && u.until.After(now):
			found = true
		case u.until.After(now):
			kept = append(kept, u)
		}
	}
	if !found {
		if len(kept) == MaxNotices {
			kept = kept[:copy(kept, kept[1:])]
		}
		kept = append(kept, unpaired{device, text, notice, now.Add(noticeLife)})
	}
	t.unpaired = kept
	return found
}

// Notify calls a device by itself: one-way, held until the device takes calls, at most a day, over
// a restart too; nobody waits for an answer. MethodRenamed and MethodDeleted the cloud sends as
// well, and the device gets one of the two. False: too many notices of this device wait already.
func (t *Table) Notify(device proto.UUID, method, params string) bool {
	expires, id := time.Now().Add(noticeLife), serviceID // which marks it as ours when it is read again
	m := &proto.DeviceRpcCallMsg{
		Oneway: true, ExpirationTime: expires.UnixMilli(), ServiceId: &id, RequestMsg: &proto.RpcRequestMsg{Method: method, Params: params},
	}
	m.RequestUuidMSB, m.RequestUuidLSB = proto.Halves(proto.NewUUID())
	m.DeviceIdMSB, m.DeviceIdLSB = proto.Halves(device)
	p := newPending(m, expires)
	p.msg, p.notice, p.Direct = m, true, true // kept as it is
	t.mu.Lock()
	defer t.mu.Unlock()
	_, refused := t.take(p)
	return refused == ""
}

// heard reports whether the device has heard what a call says, or is about to hear it, by a call of
// the other kind. A notice that nobody was there to take gives way to the cloud's call. The caller
// holds mu.
func (t *Table) heard(p *pending, now time.Time) bool {
	text := noticeText(p.Method, p.Params)
	if text == "" || !t.pair(p.Device, text, p.notice, now) {
		return false
	}
	for _, c := range t.calls[p.Device] {
		if !p.notice && c.notice && !c.offered && noticeText(c.Method, c.Params) == text {
			t.finish(c, "", "")
			return false
		}
	}
	return true
}
