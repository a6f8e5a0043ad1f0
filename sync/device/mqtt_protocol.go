package device

import (
	"errors"

	"edgesync/sync/device/mqtt"
	"edgesync/sync/refusal"
)

// errGone is the end of a session whose device has disconnected properly.
var errGone = errors.New("the device has disconnected")

// handle works on one packet of a device that is connected; an error ends the connection. frame is
// valid during the call only. The goroutine that reads the connection calls it.
func (s *session) handle(frame []byte) error {
	switch t := mqtt.TypeOf(frame); t {
	case mqtt.TypePublish:
		var p mqtt.Publish
		if err := p.Decode(s.version, frame); err != nil {
			return err
		}
		s.publish(string(p.Topic), p.Payload, p.ID, p.QoS)
		return nil
	case mqtt.TypeSubscribe:
		return s.handleSubscribe(frame)
	case mqtt.TypeUnsubscribe:
		return s.handleUnsubscribe(frame)
	case mqtt.TypePuback, mqtt.TypePubrec, mqtt.TypePubrel, mqtt.TypePubcomp:
		id, err := mqtt.DecodeAck(frame)
		if err != nil {
			return err
		}
		switch t {
		case mqtt.TypePuback:
			s.acknowledged(id)
		case mqtt.TypePubrel: // the third step of QoS 2
			var b [4]byte
			return s.write(mqtt.AppendAck(b[:0], mqtt.TypePubcomp, s.version, id, 0))
		}
		return nil
	case mqtt.TypePingreq:
		var b [2]byte
		return s.write(mqtt.AppendPingresp(b[:0]))
	case mqtt.TypeDisconnect:
		return errGone
	}
	return mqtt.Unexpected(frame)
}

func (s *session) write(b []byte) error {
	_, err := s.conn.Write(b)
	return err
}

// handleSubscribe makes subscriptions work, then acknowledges them, then delivers what waited for
// them (API.md 4.1).
func (s *session) handleSubscribe(frame []byte) error {
	var sub mqtt.Subscription
	if err := sub.Decode(s.version, frame); err != nil {
		return err
	}
	codes := make([]byte, 0, sub.Filters.Len())
	for f := range sub.Filters.All() {
		code := min(f.QoS, 1)
		switch {
		case s.subscribe(string(f.Name), code):
		default:
			s.note(refusal.UnknownTopic, string(f.Name), errFilter)
			if code = 0x80; s.version == 5 {
				code = 0x8f // topic filter invalid
			}
		}
		codes = append(codes, code)
	}
	if err := s.write(mqtt.AppendSuback(nil, s.version, sub.ID, codes)); err != nil {
		return err
	}
	s.pending()
	return nil
}

func (s *session) handleUnsubscribe(frame []byte) error {
	var sub mqtt.Subscription
	if err := sub.Decode(s.version, frame); err != nil {
		return err
	}
	codes := make([]byte, 0, sub.Filters.Len())
	for f := range sub.Filters.All() {
		code := byte(0x11) // no subscription existed
		if s.unsubscribe(string(f.Name)) {
			code = 0
		}
		codes = append(codes, code)
	}
	return s.write(mqtt.AppendUnsuback(nil, s.version, sub.ID, codes))
}
