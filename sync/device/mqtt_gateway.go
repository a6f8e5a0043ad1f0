package device

import (
	"encoding/json"
	"errors"
	"strconv"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/device/payload"
	"edgesync/sync/refusal"
	"edgesync/sync/registry"
)

var (
	errNoDevice = errors.New(`a "device" with a name is needed`)
	errNoType   = errors.New("the type of a device is empty")
	errNoClaims = errors.New("claims must be a JSON object with an object for each device")
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
// the default one. A gateway that names itself speaks for itself already. An error is a *notMade,
// or one of the medium, and then the gateway is to try again.
func (s *session) speakFor(name, kind string) (proto.UUID, error) {
	if why := badName(name); why != "" {
		return proto.UUID{}, &notMade{errors.New(why), reasonPayload}
	}
	d, known := s.m.Lookups.ByName(name)
	if !known {
		// A device that was renamed in the cloud goes on under its old name (API.md 4.3).
		if d.ID, known = s.m.named(s, name); known {
			d, known = s.m.Lookups.ByID(d.ID)
		}
	}
	id := d.ID
	if !known {
		var err error
		id, err = s.m.Creations.Create(s.m.ctx, &agent.NewDevice{Name: name, Type: kind, Gateway: s.device.ID})
		switch {
		case err == nil, errors.Is(err, agent.ErrNameTaken):
		case errors.Is(err, registry.ErrName):
			return id, &notMade{err, reasonPayload}
		case errors.Is(err, registry.ErrFull):
			return id, &notMade{err, reasonQuota}
		default:
			return id, err
		}
	}
	if id == s.device.ID {
		return id, nil
	}
	if fresh, _ := s.m.own(id, s, name); fresh {
		s.joined = append(s.joined, joined{id, name})
	}
	if known && d.LastGateway != s.device.ID {
		if err := s.m.Creations.Connected(s.m.ctx, id, s.device.ID); err != nil {
			s.m.complain("the cloud is not told through which gateway a device is connected", name, err)
		}
	}
	return id, nil
}

// joined is a device that the publish in work has connected. Its commands follow behind the
// acknowledgement.
type joined struct {
	id   proto.UUID
	name string
}

// notMade says why a device is not there and cannot be made, however often its gateway tries, and
// which reason MQTT 5 has for that.
type notMade struct {
	error
	reason byte
}

func (e *notMade) Unwrap() error { return e.error }

// badName says why the server would not create a device of that name, "" where it would (API.md
// 4.3).
func badName(name string) string {
	if why := payload.BadKey([]byte(name)); why != "" {
		return "the name of a device " + why
	}
	return ""
}

// verdict is what becomes of a gateway's message whose parts were judged one by one.
type verdict struct {
	bad    error    // what is wrong with the first part that cannot be stored
	unmade *notMade // the first device that cannot be made
	failed error    // of the medium: the whole message is to come again
	topic  string   // of the message
}

// speakFor is the session's, with the errors kept.
func (v *verdict) speakFor(s *session, name string) (id proto.UUID, ok bool) {
	if v.failed != nil {
		return id, false
	}
	id, err := s.speakFor(name, "")
	var unmade *notMade
	switch {
	case err == nil:
		return id, true
	case !errors.As(err, &unmade):
		v.failed = err
	case v.unmade == nil:
		v.unmade = unmade
	}
	return id, false
}

// submit stores the events of the good parts, and answers for all of them when they are durable.
func (v verdict) submit(s *session, slot uint32, events []proto.Event, then func()) {
	defer s.greet()
	v.topic = s.topic // the committer may judge, when the session is at another publish
	if v.failed != nil {
		s.joined = s.joined[:0]
		s.refuse(v.failed)
		return
	}
	if v.bad == nil && v.unmade == nil && then == nil {
		s.submit(slot, events)
		return
	}
	s.submitThen(slot, events, func() {
		if then != nil {
			then()
		}
		s.judge(slot, v)
	})
}

// judge answers a gateway's message. A device that cannot be made does not end the session, which
// would make the gateway send everything again and again.
func (s *session) judge(slot uint32, v verdict) {
	switch {
	case v.bad != nil:
		s.invalidAt(slot, v.topic, v.bad)
	case v.unmade != nil:
		s.note(notMadeReason(v.unmade), v.topic, v.unmade)
		s.finish(slot, v.unmade.reason)
	default:
		s.finish(slot, reasonNone)
	}
}

// fail answers a gateway's publish about one device that ended with an error.
func (s *session) fail(slot uint32, err error) {
	s.joined = s.joined[:0]
	var unmade *notMade
	if errors.As(err, &unmade) {
		s.judge(slot, verdict{unmade: unmade, topic: s.topic})
		return
	}
	s.refuse(err)
}

// greet sends the devices that the publish in work has connected the commands that wait for them.
func (s *session) greet() {
	for _, j := range s.joined {
		s.pendingOf(j.id, j.name)
	}
	s.joined = s.joined[:0]
}

// gatewayData stores telemetry or attributes of several devices. Each device's part is judged
// alone: what is wrong with one does not keep the others' data from being stored (API.md 4.3).
func (s *session) gatewayData(slot uint32, what subject, message []byte) {
	p := s.m.takeParser()
	defer s.m.putParser(p)
	parse := p.GatewayTelemetry
	if what == subGatewayAttributes {
		parse = p.GatewayAttributes
	}
	var v verdict
	find := func(name string) (proto.UUID, bool) { return v.speakFor(s, name) }
	events, bad, err := parse(message, find, s.m.Clock.Stamp())
	switch {
	case errors.Is(err, payload.ErrNoDevices):
		s.fatal(slot, err)
		return
	case err != nil:
		s.invalid(slot, err)
		return
	}
	v.bad = bad
	v.submit(s, slot, events, nil)
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
		s.fail(slot, &notMade{errNoType, reasonPayload})
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
	if errors.Is(err, errNoJSON) {
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
	if err == nil && (!ok || idErr != nil || id != int64(int32(id)) || body.Data == nil) {
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

// gatewayClaim records claims. Each device's claim is judged alone.
func (s *session) gatewayClaim(slot uint32, message []byte) {
	var body map[string]json.RawMessage
	if err := readObject(message, &body); err != nil {
		s.malformed(slot, err)
		return
	}
	var v verdict
	var events []proto.Event
	usable := false
	for name, raw := range body {
		if raw[0] != '{' {
			continue
		}
		usable = true
		id, ok := v.speakFor(s, name)
		if !ok {
			continue
		}
		said, err := readClaim(raw)
		if err != nil {
			v.bad = err
			continue
		}
		events = s.m.claimEvent(events, id, said)
	}
	if !usable {
		s.fatal(slot, errNoClaims)
		return
	}
	v.submit(s, slot, events, func() { s.m.claimed(events) })
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
