package device

import (
	"slices"
	"strconv"

	"edgesync/proto"
	agent "edgesync/sync"
)

// deliver sends a command to the device, or to the gateway that calls the device name. It returns
// false where nobody there takes commands.
func (s *session) deliver(c *agent.Call, name string) bool {
	what := subCall
	if name != "" {
		what = subGatewayCall
	}
	g := s.sub(what)
	if !g.on && (name == "" || !s.device.Gateway) {
		return false
	}
	b := make([]byte, 0, 64+len(name)+len(c.Method)+len(c.Params))
	to := callTopics[g.family]
	if r := s.rules.Load(); name == "" && r.downInProtobuf(g.family) {
		b, err := r.commandMessage(c)
		if err != nil {
			s.cannotSend(c, err)
			return true
		}
		return s.sendDown(to+strconv.Itoa(int(c.ID)), b, g.qos, c)
	}
	if name == "" {
		to += strconv.Itoa(int(c.ID))
		b = append(b, '{')
	} else {
		to = v1Gateway + "rpc"
		b = append(b, `{"device":`...)
		b = proto.AppendJSONString(b, name)
		b = append(b, `,"data":{"id":`...)
		b = strconv.AppendInt(b, int64(c.ID), 10)
		b = append(b, ',')
	}
	b = appendCommand(b, c)
	if name != "" {
		b = append(b, '}')
	}
	return s.sendDown(to, b, g.qos, c)
}

// sendDown sends a command and notes that it was handed over, which is all that a one-way call
// waits for (API.md 4.2). It returns false where the device cannot take the command.
func (s *session) sendDown(to string, payload []byte, qos byte, c *agent.Call) bool {
	acks, ok := s.sendCall(to, payload, nil, qos, c)
	switch {
	case !ok:
	case acks && c.Persisted:
		s.m.Calls.Sent(c.Device, c.ID)
	default:
		s.m.Calls.Delivered(c.Device, c.ID)
	}
	return ok
}

// awaited is a persistent call that the device is to acknowledge, by the number of its packet.
type awaited struct {
	packet uint16
	call   int32
	device proto.UUID
}

// maxAwaited bounds them: of more the oldest gives way.
const maxAwaited = 64

// pending sends the commands that have no answer yet, those that were sent before too, after the
// packet in work has subscribed to commands (API.md 4.2).
func (s *session) pending() {
	if !s.asked {
		return
	}
	s.asked = false
	if s.sub(subCall).on {
		s.pendingOf(s.device.ID, "")
	}
	if s.device.Gateway && s.sub(subGatewayCall).on {
		for id, name := range s.m.namesOf(s) {
			s.pendingOf(id, name)
		}
	}
}

func (s *session) pendingOf(id proto.UUID, name string) {
	for _, c := range s.m.Calls.Pending(id) {
		s.deliver(&c, name)
	}
}

// acknowledged notes a PUBACK of the device.
func (s *session) acknowledged(packet uint16) {
	s.mu.Lock()
	s.unacked = max(0, s.unacked-1)
	i := slices.IndexFunc(s.awaited, func(a awaited) bool { return a.packet == packet })
	if i < 0 {
		s.mu.Unlock()
		return
	}
	a := s.awaited[i]
	s.awaited = slices.Delete(s.awaited, i, i+1)
	s.mu.Unlock()
	s.m.Calls.Acknowledged(a.device, a.call)
}
