package device

import (
	"encoding/json"
	"errors"
	"time"

	"edgesync/sync/guess"
	"edgesync/sync/refusal"
)

// provisionLimit is how long a device that asks for credentials may be connected (API.md 5).
const provisionLimit = 60 * time.Second

// provisioning handles what a device without credentials publishes.
func (s *session) provisioning(slot uint32, name string, payload []byte) {
	if name != provisionTopic {
		s.note(refusal.UnknownTopic, name, errOnlyProvision)
		s.endWith(slot, reasonTopic, true)
		return
	}
	r, err := readProvision(payload)
	inProtobuf := err != nil && !errors.Is(err, errProvision) && !json.Valid(payload)
	if inProtobuf {
		r, err = protobufProvision(payload)
	}
	switch {
	case errors.Is(err, errProvision):
		s.fatal(slot, err)
		return
	case err != nil:
		s.invalid(slot, err)
		return
	}
	answer, err := s.m.provisioned(s.m.ctx, s.conn.RemoteAddr().String(), &r)
	if errors.Is(err, guess.ErrTooMany) {
		s.note(refusal.Guessing, "", nil)
		s.end(reasonQuota)
		return
	}
	if err != nil {
		s.refuse(err)
		return
	}
	s.noteProvision(answer)
	s.finish(slot, reasonNone)
	if inProtobuf {
		answer = provisionMessageOf(answer)
	}
	s.send(provisionReply, answer, s.sub(subUnknown).qos)
}
