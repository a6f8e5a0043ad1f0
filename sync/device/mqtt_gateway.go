package device

import (
	"encoding/json"
	"errors"
	"fmt"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/device/payload"
	"edgesync/sync/registry"
)

// maxSubDevices is how many devices a gateway may speak for in one session.
const maxSubDevices = 4096

var (
	errNoDevice = errors.New(`a "device" with a name is needed`)
	errItself   = errors.New("a gateway names itself as its device")
	errTooMany  = fmt.Errorf("a gateway speaks for more than %d devices", maxSubDevices)
)

// gateway handles what is published below v1/gateway/ (device API 4.3).
func (s *session) gateway(place uint32, t topic, payload []byte) {
	if !s.device.Gateway {
		s.m.complain("an MQTT device that is no gateway publishes to a gateway's topic", s.device.Name, nil)
		if s.version == 5 {
			s.finish(place, reasonNotAuthorized)
		} else {
			s.leaveOut(place) // the server gives no answer at all
		}
		return
	}
	switch t.subject {
	case subGatewayTelemetry, subGatewayAttributes:
		s.gatewayData(place, t.subject, payload)
	case subGatewayConnect, subGatewayDisconnect:
		s.gatewayConnect(place, t.subject, payload)
	case subGatewayAttributeRequest:
		s.gatewayAttributeRequest(place, payload)
	case subGatewayCall:
		s.gatewayAnswer(place, payload)
	case subGatewayClaim:
		s.gatewayClaim(place, payload)
	default:
		s.finish(place, reasonTopic)
	}
}

// speakFor finds the device that the gateway calls name, makes it if there is none, and makes this
// session the one that speaks for it. kind is the name of its profile, "" for the default one.
func (s *session) speakFor(name, kind string) (proto.UUID, error) {
	if why := badName(name); why != "" {
		return proto.UUID{}, errors.New(why)
	}
	id, known := proto.UUID{}, false
	if d, ok := s.m.Lookups.ByName(name); ok {
		id, known = d.ID, true
	}
	if !known {
		// A device that was renamed in the cloud goes on under its old name (device API 4.3).
		id, known = s.m.named(s, name)
	}
	if !known {
		var err error
		id, err = s.m.Births.Create(s.m.ctx, &agent.NewDevice{Name: name, Type: kind, Gateway: s.device.ID})
		if err != nil && !errors.Is(err, agent.ErrNameTaken) {
			return id, &birthError{err}
		}
	}
	if id == s.device.ID {
		return id, errItself
	}
	if !s.m.speaks(s, id) && s.m.speaksFor(s) >= maxSubDevices {
		return id, errTooMany
	}
	if fresh, _ := s.m.own(id, s, name); fresh {
		s.joined = append(s.joined, joined{id, name})
	}
	return id, nil
}

// joined is a device that the publish in work has connected: its commands follow behind the
// acknowledgement.
type joined struct {
	id   proto.UUID
	name string
}

// birthError is a failure to make a device: nobody's fault, so it is tried again.
type birthError struct{ error }

func (e *birthError) Unwrap() error { return e.error }

// badName tells why the server would not make a device of that name (device API 4.3).
func badName(name string) string {
	if why := payload.BadKey([]byte(name)); why != "" {
		return "the name of a device " + why
	}
	return ""
}

// fail answers for an error of a gateway's message.
func (s *session) fail(place uint32, err error) {
	var birth *birthError
	switch {
	case errors.As(err, &birth):
		s.refuse(err)
	case errors.Is(err, errItself):
		s.end(reasonUnspecified)
	default:
		s.invalid(place, err)
	}
	s.joined = s.joined[:0]
}

// greet sends the devices that this publish connected what waits for them.
func (s *session) greet() {
	for _, j := range s.joined {
		s.pendingOf(j.id, j.name)
	}
	s.joined = s.joined[:0]
}

// gatewayData stores telemetry or attributes of several devices: all of the message or nothing.
func (s *session) gatewayData(place uint32, what subject, payload []byte) {
	p := s.m.takeParser()
	defer s.m.putParser(p)
	parse := p.GatewayTelemetry
	if what == subGatewayAttributes {
		parse = p.GatewayAttributes
	}
	// First without making devices, so that a message that is refused leaves none behind.
	if _, err := parse(payload, func(name string) (proto.UUID, error) {
		if why := badName(name); why != "" {
			return proto.UUID{}, errors.New(why)
		}
		return proto.UUID{}, nil
	}, 0); err != nil {
		s.fail(place, err)
		return
	}
	events, err := parse(payload, func(name string) (proto.UUID, error) { return s.speakFor(name, "") }, s.m.Clock.Stamp())
	if err != nil {
		s.fail(place, err)
		return
	}
	s.submit(place, events)
	s.greet()
}

func (s *session) gatewayConnect(place uint32, what subject, payload []byte) {
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
		s.malformed(place, err)
		return
	}
	if what == subGatewayDisconnect {
		if id, ok := s.m.named(s, name); ok {
			s.m.disown(id, s)
		}
		s.finish(place, reasonNone)
		return
	}
	kind, given := text(body.Type)
	if given && kind == "" {
		s.invalid(place, errors.New("the type of a device is empty"))
		return
	}
	if _, err := s.speakFor(name, kind); err != nil {
		s.fail(place, err)
		return
	}
	s.finish(place, reasonNone)
	s.greet()
}

// malformed refuses a gateway's document: bad JSON like any other payload, anything else as the
// server does (device API 4.3).
func (s *session) malformed(place uint32, err error) {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) || errors.Is(err, errUTF8) {
		s.invalid(place, err)
		return
	}
	s.fatal(place, err)
}

func (s *session) gatewayAttributeRequest(place uint32, payload []byte) {
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
	}
	if err == nil && (!ok || !clientOK || idErr != nil) {
		err = errors.New(`"id", "device", "client" and "key" or "keys" are needed`)
	}
	if err != nil {
		s.malformed(place, err)
		return
	}
	device, err := s.speakFor(name, "")
	if err != nil {
		s.fail(place, err)
		return
	}
	s.finish(place, reasonNone)
	s.greet()

	b := append([]byte(nil), `{"id":`...)
	b = append(b, fmt.Sprint(id)...)
	b = append(b, `,"device":`...)
	b = proto.AppendJSONString(b, name)
	n := 0
	add := func(kv *proto.KV) {
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
	case client == "true":
		s.m.Lookups.Attributes(device, registry.ClientScope, keys, add)
	default:
		s.m.Lookups.Attributes(device, registry.SharedScope, keys, add)
	}
	if n > 0 && len(keys) != 1 {
		b = append(b, '}')
	}
	s.send(v1Gateway+"attributes/response", append(b, '}'), s.sub(subGatewayAttributeResponse).qos)
}

// gatewayAnswer takes the answer to a command.
func (s *session) gatewayAnswer(place uint32, payload []byte) {
	var body struct {
		ID     json.RawMessage `json:"id"`
		Device json.RawMessage `json:"device"`
		Data   json.RawMessage `json:"data"`
	}
	err := readObject(payload, &body)
	name, ok := text(body.Device)
	id, idErr := number(body.ID)
	if err == nil && (!ok || idErr != nil || id != int64(int32(id)) || body.Data == nil || string(body.Data) == "null") {
		err = errors.New(`"device", "id" and "data" are needed`)
	}
	if err != nil {
		s.malformed(place, err)
		return
	}
	device, err := s.speakFor(name, "")
	if err != nil {
		s.fail(place, err)
		return
	}
	s.m.Calls.Answer(device, int32(id), string(body.Data))
	s.finish(place, reasonNone)
	s.greet()
}

func (s *session) gatewayClaim(place uint32, payload []byte) {
	var body map[string]json.RawMessage
	if err := readObject(payload, &body); err != nil {
		s.malformed(place, err)
		return
	}
	claims := make(map[string][]proto.KV, len(body))
	for name, raw := range body { // first without making devices
		said, err := readClaim(raw)
		if why := badName(name); err == nil && why != "" {
			err = errors.New(why)
		}
		if err != nil {
			s.fail(place, err)
			return
		}
		claims[name] = said
	}
	var events []proto.Event
	for name, said := range claims {
		id, err := s.speakFor(name, "")
		if err != nil {
			s.fail(place, err)
			return
		}
		events = s.m.claimEvent(events, id, said)
	}
	s.submitClaims(place, events)
	s.greet()
}

// text is a JSON scalar as text: a number counts as its digits (device API 4.3). false for null,
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
