package device

import (
	"encoding/json"
	"errors"
	"strconv"

	agent "edgesync/sync"
)

// attributeRequest answers from the registry, whether there is a link or not (device API 4.1).
func (s *session) attributeRequest(place uint32, t topic, payload []byte) {
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
		s.invalid(place, err)
		return
	}
	if !q.client && !q.shared {
		q.client, q.shared = true, true
	}
	s.answerIn(subAttributeResponse, t.family)
	s.finish(place, reasonNone)
	g := s.sub(subAttributeResponse)
	answer := appendAttributes(nil, s.m.Lookups, s.device.ID, q)
	s.send(attributeResponseTopics[g.family]+strconv.Itoa(int(t.id)), answer, g.qos)
}

// request carries a device's own call to the cloud. getSessionLimits is answered here, at once.
func (s *session) request(place uint32, t topic, payload []byte) {
	method, params, err := readCall(payload)
	if err != nil {
		s.invalid(place, err)
		return
	}
	s.answerIn(subRequestAnswer, t.family)
	s.finish(place, reasonNone)
	answer := func(b []byte) {
		g := s.sub(subRequestAnswer)
		s.send(requestAnswerTopics[g.family]+strconv.Itoa(int(t.id)), b, g.qos)
	}
	if method == "getSessionLimits" && t.family == familyV1 {
		answer(sessionLimits(s.device.Gateway))
		return
	}
	r := agent.Request{Device: s.device.ID, Method: method, Params: params, Reply: func(response []byte, err error) {
		if err != nil {
			response = callError(err)
		}
		answer(response)
	}}
	if err := s.m.Calls.Request(&r); err != nil {
		answer(callError(err))
	}
}

// callError is what a device is told when its call has no answer (device API 4.1).
func callError(err error) []byte {
	word := err.Error()
	if errors.Is(err, agent.ErrTimeout) {
		word = "timeout"
	}
	return append(appendJSONString([]byte(`{"error":`), word), '}')
}

// claim records that a device may be claimed. There is no word for it on the link to the cloud (device API 5).
func (s *session) claim(place uint32, payload []byte) {
	if err := readClaim(payload); err != nil {
		s.invalid(place, err)
		return
	}
	s.m.Log.Info("a device asks to be claimed; claims do not pass through an edge", "device", s.device.Name)
	s.finish(place, reasonNone)
}

// update answers that no firmware or software is assigned: this agent keeps none (device API 4.1).
func (s *session) update(place uint32) {
	s.finish(place, reasonNone)
	s.send("v2/fw/error", []byte("NOT_FOUND"), s.sub(subUpdateError).qos)
	s.end(reasonUnspecified)
}
