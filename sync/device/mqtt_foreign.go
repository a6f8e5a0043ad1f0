package device

import (
	"edgesync/proto"
	"edgesync/sync/device/foreign"
	"edgesync/sync/device/payload"
	"edgesync/sync/refusal"
)

// foreign handles what a gateway publishes on a topic that ThingsBoard does not know, as the
// configuration says (API.md 10.1). It returns false, and has done nothing, where no map matches.
func (s *session) foreign(slot uint32, name string, message []byte) bool {
	m, ok := s.m.Foreign.Find(name)
	if !ok {
		return false
	}
	if m.As == foreign.Ignore {
		s.finish(slot, reasonNone)
		return true
	}
	p := s.m.takeParser()
	defer s.m.putParser(p)
	shape := payload.Shape{
		Attributes: m.As == foreign.Attributes, Key: m.Key(), Prefix: m.Prefix(), Flatten: m.Flatten,
	}
	var failed error
	find := func() (id proto.UUID, ok bool) {
		id, failed = s.speakFor(m.Device(), m.Type)
		return id, failed == nil
	}
	events, err := p.Foreign(message, &shape, find, s.m.Clock.Stamp())
	switch {
	case err != nil:
		// A program that knows nothing of ThingsBoard would send the same again and again if the
		// session ended, so it stays in every version of MQTT.
		s.note(refusal.BadPayload, name, err)
		s.finish(slot, reasonPayload)
	case failed != nil:
		s.fail(slot, failed)
	default:
		s.submit(slot, events)
		s.greet()
	}
	return true
}
