package device

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/device/payload"
	"edgesync/sync/refusal"
	"edgesync/sync/registry"
)

// maxSubDevices is how many devices a gateway may speak for in one session.
const maxSubDevices = 4096

var (
	errNoDevice = errors.New(`a "device" with a name is needed`)
	errItself   = errors.New("a gateway names itself as its device")
	errTooMany  = fmt.Errorf("a gateway speaks for more than %d devices, or for too many of long names", maxSubDevices)
)

// gateway handles what is published below v1/gateway/ (API.md 4.3).
func (s *session) gateway(slot uint32, t topic, payload []byte) {
	if !s.device.Gateway {
		s.note(refusal.NotGateway, s.topic, nil)
		if s.version == 5 {
			s.finish(slot, reasonNotAuthorized)
		} else {
			s.leaveOut(slot) // the server gives no answer either
		}
		return
	}
	switch t.subject {
	case subGatewayTelemetry, subGatewayAttributes:
		s.gatewayData(slot, t.subject, payload)
	case subGatewayConnect, subGatewayDisconnect:
		s.gatewayConnect(slot, t.subject, payload)
	case subGatewayAttributeRequest:
		s.gatewayAttributeRequest(slot, payload)
	case subGatewayCall:
		s.gatewayAnswer(slot, payload)
	case subGatewayClaim:
		s.gatewayClaim(slot, payload)
	default:
		s.note(refusal.UnknownTopic, s.topic, nil)
		s.finish(slot, reasonTopic)
	}
}

// speakFor finds the device that the gateway calls name, creates it where there is none, and makes
// this session the one that speaks for it. kind is the name of the profile of a new device, "" for
// the default one.
func (s *session) speakFor(name, kind string) (proto.UUID, error) {
	if why := badName(name); why != "" {
		return proto.UUID{}, errors.New(why)
	}
	id, known := proto.UUID{}, false
	if d, ok := s.m.Lookups.ByName(name); ok {
		id, known = d.ID, true
	}
	if !known {
		// A device that was renamed in the cloud goes on under its old name (API.md 4.3).
		id, known = s.m.named(s, name)
	}
	if !known {
		var err error
		id, err = s.m.Creations.Create(s.m.ctx, &agent.NewDevice{Name: name, Type: kind, Gateway: s.device.ID})
		if err != nil && !errors.Is(err, agent.ErrNameTaken) {
			return id, &creationError{err}
		}
	}
	if id == s.device.ID {
		return id, errItself
	}
	if !s.m.speaks(s, id) && !s.m.mayJoin(s, name) {
		return id, errTooMany
	}
	if fresh, _ := s.m.own(id, s, name); fresh {
		s.joined = append(s.joined, joined{id, name})
	}
	return id, nil
}

// joined is a device that the publish in work has connected. Its commands follow behind the
// acknowledgement.
type joined struct {
	id   proto.UUID
	name string
}

// creationError is a failure to create a device. It is not the fault of what the gateway sent, so
// the gateway is to try again.
type creationError struct{ error }

func (e *creationError) Unwrap() error { return e.error }

// badName says why the server would not create a device of that name, "" where it would (API.md
// 4.3).
func badName(name string) string {
	if why := payload.BadKey([]byte(name)); why != "" {
		return "the name of a device " + why
	}
	return ""
}

// fail answers a gateway's publish that ended with an error.
func (s *session) fail(slot uint32, err error) {
	var creation *creationError
	switch {
	case errors.As(err, &creation):
		s.refuse(err)
	case errors.Is(err, errItself):
		s.note(refusal.BadPayload, s.topic, err)
		s.end(reasonUnspecified)
	default:
		s.invalid(slot, err)
	}
	s.joined = s.joined[:0]
}

// greet sends the devices that the publish in work has connected the commands that wait for them.
func (s *session) greet() {
	for _, j := range s.joined {
		s.pendingOf(j.id, j.name)
	}
	s.joined = s.joined[:0]
}

// gatewayData stores telemetry or attributes of several devices: all of the message or nothing.
func (s *session) gatewayData(slot uint32, what subject, payload []byte) {
	p := s.m.takeParser()
	defer s.m.putParser(p)
	parse := p.GatewayTelemetry
	if what == subGatewayAttributes {
		parse = p.GatewayAttributes
	}
	// First without creating devices, so that a message that is refused leaves none behind.
	if _, err := parse(payload, func(name string) (proto.UUID, error) {
		if why := badName(name); why != "" {
			return proto.UUID{}, errors.New(why)
		}
		return proto.UUID{}, nil
	}, 0); err != nil {
		s.fail(slot, err)
		return
	}
	speakFor := func(name string) (proto.UUID, error) { return s.speakFor(name, "") }
	events, err := parse(payload, speakFor, s.m.Clock.Stamp())
	if err != nil {
		s.fail(slot, err)
		return
	}
	s.submit(slot, events)
	s.greet()
}

func (s *session) gatewayConnect(slot uint32, what subject, payload []byte) {
	var body struct {
		Device json.RawMessage `json:"device"`
		Type   json.RawMessage `json:"type"`
	}
	err := readObject(payload, &body)
	name, ok := text(body.Device)
	if err == nil && (!ok || name == "") {
		err = errNoDevice
	}
	if err != nil {
		s.malformed(slot, err)
		return
	}
	if what == subGatewayDisconnect {
		if id, ok := s.m.named(s, name); ok {
			s.m.disown(id, s)
		}
		s.finish(slot, reasonNone)
		return
	}
	kind, given := text(body.Type)
	if given && kind == "" {
		s.invalid(slot, errors.New("the type of a device is empty"))
		return
	}
	if _, err := s.speakFor(name, kind); err != nil {
		s.fail(slot, err)
		return
	}
	s.finish(slot, reasonNone)
	s.greet()
}

// malformed refuses a gateway's document: one that is no JSON like any other payload, anything else
// as the server does (API.md 4.3).
func (s *session) malformed(slot uint32, err error) {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) || errors.Is(err, errUTF8) {
		s.invalid(slot, err)
		return
	}
	s.fatal(slot, err)
}

func (s *session) gatewayAttributeRequest(slot uint32, payload []byte) {
	var body struct {
		ID     json.RawMessage `json:"id"`
		Device json.RawMessage `json:"device"`
		Client json.RawMessage `json:"client"`
		Key    json.RawMessage `json:"key"`
		Keys   json.RawMessage `json:"keys"`
	}
	err := readObject(payload, &body)
	name, ok := text(body.Device)
	id, idErr := number(body.ID)
	client, clientOK := text(body.Client)
	var keys []string
	if body.Key != nil {
		k, kOK := text(body.Key)
		keys, ok = []string{k}, ok && kOK
	} else {
		var list []json.RawMessage
		ok = ok && body.Keys != nil && json.Unmarshal(body.Keys, &list) == nil && list != nil
		for _, raw := range list {
			k, kOK := text(raw)
			keys, ok = append(keys, k), ok && kOK
		}
		keys = once(keys)
	}
	if err == nil && (!ok || !clientOK || idErr != nil) {
		err = errors.New(`"id", "device", "client" and "key" or "keys" are needed`)
	}
	if err != nil {
		s.malformed(slot, err)
		return
	}
	device, err := s.speakFor(name, "")
	if err != nil {
		s.fail(slot, err)
		return
	}
	s.reply(slot, v1Gateway+"attributes/response", s.sub(subGatewayAttributeResponse).qos,
		func(limit int) ([]byte, bool) {
			return s.gatewayAttributes(id, name, device, client == "true", keys, limit)
		})
	s.greet()
}

// gatewayAttributes answers a gateway's question about attributes of its device: those of the keys
// in one scope, or all of both scopes if there are no keys. An answer of more than limit bytes is
// not whole.
func (s *session) gatewayAttributes(
	id int64, name string, device proto.UUID, client bool, keys []string, limit int,
) (b []byte, whole bool) {
	b, whole = strconv.AppendInt(append(b, `{"id":`...), id, 10), true
	b = append(b, `,"device":`...)
	b = proto.AppendJSONString(b, name)
	n := 0
	add := func(kv *proto.KV) {
		if whole = whole && len(b)+memberSize(kv) <= limit; !whole {
			return
		}
		switch n++; {
		case len(keys) == 1:
			b = proto.AppendJSONValue(append(b, `,"value":`...), kv)
			return
		case n == 1:
			b = append(b, `,"values":{`...)
		default:
			b = append(b, ',')
		}
		b = appendMember(b, kv)
	}
	switch {
	case len(keys) == 0: // all of both scopes
		s.m.Lookups.Attributes(device, registry.ClientScope, nil, add)
		s.m.Lookups.Attributes(device, registry.SharedScope, nil, add)
	case client:
		s.m.Lookups.Attributes(device, registry.ClientScope, keys, add)
	default:
		s.m.Lookups.Attributes(device, registry.SharedScope, keys, add)
	}
	if n > 0 && len(keys) != 1 {
		b = append(b, '}')
	}
	return append(b, '}'), whole
}

// gatewayAnswer takes the answer to a command.
func (s *session) gatewayAnswer(slot uint32, payload []byte) {
	var body struct {
		ID     json.RawMessage `json:"id"`
		Device json.RawMessage `json:"device"`
		Data   json.RawMessage `json:"data"`
	}
	err := readObject(payload, &body)
	name, ok := text(body.Device)
	id, idErr := number(body.ID)
	noData := body.Data == nil || string(body.Data) == "null"
	if err == nil && (!ok || idErr != nil || id != int64(int32(id)) || noData) {
		err = errors.New(`"device", "id" and "data" are needed`)
	}
	if err != nil {
		s.malformed(slot, err)
		return
	}
	device, err := s.speakFor(name, "")
	if err != nil {
		s.fail(slot, err)
		return
	}
	s.m.Calls.Answer(device, int32(id), string(body.Data))
	s.finish(slot, reasonNone)
	s.greet()
}

func (s *session) gatewayClaim(slot uint32, payload []byte) {
	var body map[string]json.RawMessage
	if err := readObject(payload, &body); err != nil {
		s.malformed(slot, err)
		return
	}
	claims := make(map[string][]proto.KV, len(body))
	for name, raw := range body { // first without creating devices
		said, err := readClaim(raw)
		if why := badName(name); err == nil && why != "" {
			err = errors.New(why)
		}
		if err != nil {
			s.fail(slot, err)
			return
		}
		claims[name] = said
	}
	var events []proto.Event
	for name, said := range claims {
		id, err := s.speakFor(name, "")
		if err != nil {
			s.fail(slot, err)
			return
		}
		events = s.m.claimEvent(events, id, said)
	}
	s.submitClaims(slot, events)
	s.greet()
}

// text is a JSON scalar as text, a number as its digits (API.md 4.3). It returns false for null,
// objects, arrays, and what is absent.
func text(raw json.RawMessage) (string, bool) {
	switch {
	case len(raw) == 0 || raw[0] == 'n' || raw[0] == '{' || raw[0] == '[':
		return "", false
	case raw[0] == '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err == nil
	}
	return string(raw), true
}
