package device

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/share"
)

// attributeRequest answers from the registry, whether there is a link or not (API.md 4.1).
func (s *session) attributeRequest(slot uint32, t topic, payload []byte) {
	var body struct {
		ClientKeys json.RawMessage `json:"clientKeys"`
		SharedKeys json.RawMessage `json:"sharedKeys"`
	}
	err := readObject(payload, &body)
	var q question
	var err1, err2 error
	q.clientKeys, q.client, err1 = keyList(body.ClientKeys)
	q.sharedKeys, q.shared, err2 = keyList(body.SharedKeys)
	if err = errors.Join(err, err1, err2); err != nil {
		s.invalid(slot, err)
		return
	}
	if !q.client && !q.shared {
		q.client, q.shared = true, true
	}
	s.answerIn(subAttributeResponse, t.family)
	g := s.sub(subAttributeResponse)
	to := attributeResponseTopics[g.family] + strconv.Itoa(int(t.id))
	s.reply(slot, to, g.qos, func(limit int) ([]byte, bool) {
		if s.rules.Load().downInProtobuf(g.family) {
			return attributesMessage(s.m.Lookups, s.device.ID, t.id, q, limit)
		}
		return readAttributes(s.m.Lookups, s.device.ID, q, limit)
	})
}

// reply acknowledges a question and sends the answer that build makes. A question whose answer is
// too large, or comes when the answers of all devices take too much, gets none: MQTT 5 has a reason
// for that, earlier versions have not (API.md 3.3).
func (s *session) reply(slot uint32, to string, qos byte, build func(limit int) ([]byte, bool)) {
	b, pass, err := s.m.buildAnswer(s.device.ID, maxAnswerMQTT, s.m.ctx.Done(), nil, build)
	if pass != nil {
		defer pass.Close()
		if s.m.net.out.Load()+int64(len(b)) > maxOutAll {
			err = share.ErrFull
		}
	}
	if err != nil {
		s.note(unanswered(err), s.topic, err)
		s.finish(slot, reasonQuota)
		return
	}
	s.finish(slot, reasonNone)
	s.send(to, b, qos)
}

// request carries a call of the device to the cloud. getSessionLimits is answered here, at once.
func (s *session) request(slot uint32, t topic, payload []byte) {
	method, params, err := readCall(payload)
	if err != nil {
		s.invalid(slot, err)
		return
	}
	s.answerIn(subRequestAnswer, t.family)
	s.finish(slot, reasonNone)
	answer := func(response []byte, err error) {
		g := s.sub(subRequestAnswer)
		switch {
		case s.rules.Load().downInProtobuf(g.family):
			response = answerMessage(t.id, response, err)
		case err != nil:
			response = callError(err)
		}
		s.send(requestAnswerTopics[g.family]+strconv.Itoa(int(t.id)), response, g.qos)
	}
	if method == "getSessionLimits" && t.family == familyV1 {
		answer(sessionLimits(s.device.Gateway), nil)
		return
	}
	r := agent.Request{Device: s.device.ID, Method: method, Params: params, Reply: answer}
	if err := s.m.Doors.request(&r); err != nil {
		answer(nil, err)
	}
}

// callError is what a device is sent when its call has no answer (API.md 4.1).
func callError(err error) []byte {
	return append(proto.AppendJSONString([]byte(`{"error":`), callWord(err)), '}')
}

func callWord(err error) string {
	if errors.Is(err, agent.ErrTimeout) {
		return "timeout"
	}
	return err.Error()
}

// claim records that a device may be claimed.
func (s *session) claim(slot uint32, payload []byte) {
	said, err := readClaim(payload)
	if err != nil {
		s.invalid(slot, err)
		return
	}
	events := s.m.claimEvent(nil, s.device.ID, said)
	s.submitThen(slot, events, func() {
		s.m.claimed(events)
		s.finish(slot, reasonNone)
	})
}

// update sends a chunk of the firmware or software that is assigned to the device (API.md 4.1). The
// size of a chunk stands in the payload of the first request; later requests with the same request
// id may leave it out.
func (s *session) update(slot uint32, t topic, payload []byte) {
	last := &s.updates[0]
	what, prefix := subFirmware, "v2/fw/response/"
	if t.subject == subSoftware {
		last, what, prefix = &s.updates[1], subSoftware, "v2/sw/response/"
	}
	switch {
	case len(payload) > 0:
		size, err := strconv.ParseInt(string(payload), 10, 32)
		if err != nil {
			s.invalid(slot, errors.New("the size of a chunk is no number"))
			return
		}
		*last = chunks{strings.Clone(t.request), size}
	case last.request != t.request:
		*last = chunks{request: strings.Clone(t.request)} // the whole file
	}
	s.finish(slot, reasonNone)
	p, ok := s.m.Packages.Package(s.device.ID, what == subSoftware)
	if !ok {
		s.updateError("NOT_FOUND")
		return
	}
	f, from, n, err := openChunk(p.Path, last.size, int64(t.chunk))
	if err != nil {
		s.m.complain("an OTA package cannot be read", s.device.Name, err)
		s.updateError("INTERNAL_SERVER_ERROR")
		return
	}
	part := &outFile{File: f, at: from, left: n}
	if n == 0 {
		f.Close()
		part = nil
	}
	if !s.sendFile(prefix+t.request+"/chunk/"+strconv.Itoa(int(t.chunk)), nil, part, s.sub(what).qos) {
		s.updateError("PAYLOAD_TOO_LARGE") // for a device of MQTT 5 that says what it takes
	}
}

// chunks is how a device reads a package.
type chunks struct {
	request string // the id that the device gave to the reading
	size    int64  // of a chunk, in bytes; not positive: the whole file
}

func (s *session) updateError(word string) {
	s.send("v2/fw/error", []byte(word), s.sub(subUpdateError).qos)
	s.end(reasonUnspecified)
}
