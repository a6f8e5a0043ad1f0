package sync

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
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
	t.echoes = slices.DeleteFunc(t.echoes, func(e echo) bool { return !e.until.After(now) })
	i := slices.IndexFunc(t.echoes, func(e echo) bool { return e.device == device && e.text == text && e.ours != ours })
	if i >= 0 {
		t.echoes = slices.Delete(t.echoes, i, i+1)
		return true
	}
	if len(t.echoes) == maxNotices {
		t.echoes = slices.Delete(t.echoes, 0, 1)
	}
	t.echoes = append(t.echoes, echo{device, text, ours, now.Add(noticeLife)})
	return false
}

// Notify implements Calls.
func (a *Agent) Notify(device proto.UUID, method, params string) bool {
	t, now := a.calls, time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if text := noticeText(method, params); text != "" && t.pair(device, text, true, now) {
		return true
	}
	if t.count >= maxCalls || t.notices(device) >= maxNotices {
		return false
	}
	request := proto.UUIDOf(rand.Int64(), rand.Int64())
	m := &proto.DeviceRpcCallMsg{
		Oneway: true, ExpirationTime: now.Add(noticeLife).UnixMilli(), ServiceId: new(string), RequestMsg: &proto.RpcRequestMsg{Method: method, Params: params},
	}
	*m.ServiceId = serviceID // which tells it from the cloud's when it is read again
	m.DeviceIdMSB, m.DeviceIdLSB = proto.Halves(device)
	m.RequestUuidMSB, m.RequestUuidLSB = proto.Halves(request)
	t.notice(m, now.Add(noticeLife))
	return true
}

// notice adds a notice to the calls that wait. The caller holds mu.
func (t *callTable) notice(m *proto.DeviceRpcCallMsg, expires time.Time) {
	device := proto.UUIDOf(m.GetDeviceIdMSB(), m.GetDeviceIdLSB())
	c := &pendingCall{
		Call: Call{Device: device, ID: t.id(), Method: m.GetRequestMsg().GetMethod(), Params: m.GetRequestMsg().GetParams(), OneWay: true, Expires: expires},
		msg:  m, request: proto.UUIDOf(m.GetRequestUuidMSB(), m.GetRequestUuidLSB()), notice: true,
	}
	t.calls[device] = append(t.calls[device], c)
	t.count++
	t.news = append(t.news, c)
	t.nudge()
}

// notices counts those that wait for a device. The caller holds mu.
func (t *callTable) notices(device proto.UUID) (n int) {
	for _, c := range t.calls[device] {
		if c.notice {
			n++
		}
	}
	return n
}

// told tells whether a call of the cloud says what the edge has told the device, or is telling it, by itself. A notice of ours that nobody was there to
// take gives way to the cloud's call. The caller holds mu.
func (t *callTable) told(p *pendingCall, now time.Time) bool {
	text := noticeText(p.Method, p.Params)
	if text == "" || !t.pair(p.Device, text, false, now) {
		return false
	}
	for _, c := range t.calls[p.Device] {
		if c.notice && !c.offered && noticeText(c.Method, c.Params) == text {
			t.finish(c, "", "")
			return false
		}
	}
	return true
}
