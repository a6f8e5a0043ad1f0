package device

import (
	"encoding/json"
	"errors"
	"time"
)

// provisionLimit is how long a device without credentials may be connected (device API 5).
const provisionLimit = 60 * time.Second

// provisioning handles what a device without credentials publishes.
func (s *session) provisioning(place uint32, name string, payload []byte) {
	if name != provisionTopic {
		s.finish(place, reasonTopic)
		s.end(reasonTopic)
		return
	}
	r, err := readProvision(payload)
	inProtobuf := err != nil && !errors.Is(err, errProvision) && !json.Valid(payload)
	if inProtobuf {
		r, err = protobufProvision(payload)
	}
	switch {
	case errors.Is(err, errProvision):
		s.fatal(place, err)
		return
	case err != nil:
		s.invalid(place, err)
		return
	}
	// As slow as wrong credentials: keys and secrets can be guessed like tokens.
	answer, err := s.m.provisioned(s.m.ctx, &r)
	if err != nil {
		s.refuse(err)
		return
	}
	if string(answer) == provisionNotFound && !s.m.wrong.allow(s.conn.RemoteAddr().String(), time.Now()) && !s.m.wrong.wait(s.m.ctx) {
		s.end(reasonUnspecified)
		return
	}
	s.finish(place, reasonNone)
	if inProtobuf {
		answer = provisionMessageOf(answer)
	}
	s.send(provisionReply, answer, s.sub(subUnknown).qos)
}
