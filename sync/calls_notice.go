package sync

import (
	"encoding/json"
	"math/rand/v2"
	"time"

	"edgesync/proto"
)

// Notices are one-way calls that the edge makes by itself: it tells a gateway that one of its devices was renamed or deleted (device API 4.3). They
// wait for the gateway like calls of the cloud, over a restart too, and their answers stay here. The server makes the same calls by itself, and sends
// them through the edge while that is connected (its rename and delete go through the calls of the REST API, wire contract 8.1). Which of the two comes
// first is chance, and the gateway is to hear of it once: so each half of a pair is remembered until the other has come.

// Bounds of notices.
const (
	maxNotices = 64             // of one device that wait, and halves of pairs that are remembered
	noticeLife = 24 * time.Hour // as long as the server's own
)

// echo is a half of a pair whose other half has not come yet.
type echo struct {
	device proto.UUID
	text   string // method and parameters
	ours   bool
	until  time.Time
}

// noticeText is what two halves have in common; "" if it is none that comes in pairs.
func noticeText(method, params string) string {
	var v any
	if method != MethodRenamed && method != MethodDeleted || json.Unmarshal([]byte(params), &v) != nil {
		return ""
	}
	b, err := json.Marshal(v) // whoever wrote them
	if err != nil {
		return ""
	}
	return method + " " + string(b)
}

// pair finds and forgets the other half, or else remembers this one. The caller holds mu.
func (t *callTable) pair(device proto.UUID, text string, ours bool, now time.Time) (found bool) {
	kept := t.echoes[:0]
	for _, e := range t.echoes {
		switch {
		case !found && e.device == device && e.text == text && e.ours != ours && e.until.After(now):
			found = true
		case e.until.After(now):
			kept = append(kept, e)
		}
	}
	if !found {
		if len(kept) == maxNotices {
			kept = kept[:copy(kept, kept[1:])]
		}
		kept = append(kept, echo{device, text, ours, now.Add(noticeLife)})
	}
	t.echoes = kept
	return found
}

// Notify implements Calls.
func (a *Agent) Notify(device proto.UUID, method, params string) bool {
	expires, id := time.Now().Add(noticeLife), serviceID // which tells it from the cloud's when it is read again
	m := &proto.DeviceRpcCallMsg{
		Oneway: true, ExpirationTime: expires.UnixMilli(), ServiceId: &id, RequestMsg: &proto.RpcRequestMsg{Method: method, Params: params},
		RequestUuidMSB: rand.Int64(), RequestUuidLSB: rand.Int64(),
	}
	m.DeviceIdMSB, m.DeviceIdLSB = proto.Halves(device)
	_, refused := a.calls.add(m, expires, false, true)
	return refused == ""
}

// told tells whether the device has been told what a call says, or is being told, by a call of the other kind. A notice of ours that nobody was there
// to take gives way to the cloud's call. The caller holds mu.
func (t *callTable) told(p *pendingCall, now time.Time) bool {
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
