package device

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/device/payload"
	"edgesync/sync/registry"
)

// ackWindow is how many publishes of a device may wait for the medium; while there are so many
// nothing more is read from it. A power of two, above the 100 that getSessionLimits announces.
const ackWindow = 128

// Reasons, as MQTT 5 numbers them; earlier versions know none.
const (
	reasonNone          = 0x00
	reasonMalformed     = 0x81
	reasonProtocol      = 0x82
	reasonUnspecified   = 0x83 // "implementation specific"
	reasonShuttingDown  = 0x8b
	reasonNotAuthorized = 0x87
	reasonTakenOver     = 0x8e
	reasonTopic         = 0x90
	reasonQuota         = 0x97
	reasonRevoked       = 0x98
	reasonPayload       = 0x99
)

// session is what a device has while it is connected over MQTT. Publishes come from the goroutine
// that reads the connection, acknowledgements from the committer, commands and attributes from the
// loop; mu keeps them apart, and none of them waits for the device.
type session struct {
	m          *MQTT
	conn       *mqttConn
	device     registry.Device // as it was at the connect
	rules      atomic.Pointer[rules]
	following  sync.Mutex // held while rules change
	version    byte       // of MQTT: 3, 4 (3.1.1) or 5
	provision  bool       // may only ask for credentials (device API 5)
	maxPacket  int        // the device's own bound; 0 = none
	receiveMax int        // QoS 1 messages that it takes unacknowledged

	devices map[proto.UUID]struct{} // of a gateway, those that it speaks for; guarded by Doors.mu
	joined  []joined                // connected by the publish that is being processed; of the goroutine that reads
	asked   bool                    // for commands, in the packet that is being processed; of the goroutine that reads

	left chan struct{} // closed when nothing more of the connection will be handled

	updates [2]chunks // of firmware and software; of the goroutine that reads

	mu    sync.Mutex
	room  sync.Cond      // a place in acks has become free, or the session is over
	acks  [ackWindow]ack // publishes from first to next, in the order in which they came
	first uint32
	next  uint32
	ended bool

	subs    [subProvision]grant // by subject
	lastID  uint16
	unacked int    // QoS 1 messages that the device has not acknowledged
	owed    []owed // of them, one-way calls
}

// ack is a publish that is not acknowledged yet.
type ack struct {
	id     uint16 // 0: of QoS 0, or to be left without an answer
	reason byte
	qos    byte
	done   bool
}

// grant is a subscription, or what a request implies for its answer.
type grant struct {
	on     bool
	qos    byte
	family family
}

// begin takes a place for a publish. It blocks while there is none; false when the session is over.
func (s *session) begin(id uint16, qos byte) (place uint32, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.next-s.first == ackWindow && !s.ended {
		s.room.Wait()
	}
	if s.ended {
		return 0, false
	}
	place = s.next
	s.acks[place%ackWindow] = ack{id: id, qos: qos}
	s.next++
	return place, true
}

// finish acknowledges a publish as soon as all before it are.
func (s *session) finish(place uint32, reason byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.acks[place%ackWindow]
	a.reason, a.done = reason, true
	if place != s.first || s.ended {
		return
	}
	for s.first != s.next {
		a := s.acks[s.first%ackWindow]
		if !a.done {
			break
		}
		s.first++
		head := byte(0x40)
		if a.qos == 2 {
			head = 0x50 // PUBREC; what may come of it twice is as with QoS 1
		}
		switch {
		case a.id == 0:
		case a.reason != reasonNone && s.version == 5:
			_, _ = s.conn.Write([]byte{head, 3, byte(a.id >> 8), byte(a.id), a.reason})
		default:
			_, _ = s.conn.Write([]byte{head, 2, byte(a.id >> 8), byte(a.id)})
		}
	}
	s.room.Signal()
}

// leaveOut frees the place of a publish that gets no answer.
func (s *session) leaveOut(place uint32) {
	s.mu.Lock()
	s.acks[place%ackWindow].id = 0
	s.mu.Unlock()
	s.finish(place, reasonNone)
}

// end closes the session; MQTT 5 hears why.
func (s *session) end(reason byte) {
	s.mu.Lock()
	if !s.ended {
		s.ended = true
		if s.version == 5 {
			_, _ = s.conn.Write([]byte{0xe0, 2, reason, 0})
		}
	}
	s.room.Broadcast()
	s.mu.Unlock()
	_ = s.conn.Close()
}

// close ends the session for what its device did.
func (s *session) close(err error) {
	switch {
	case errors.Is(err, errPacketLength), errors.Is(err, errBadLength), errors.Is(err, errMalformed):
		s.m.complain("an MQTT device sends malformed packets", s.device.Name, err)
		s.end(reasonMalformed)
	case errors.Is(err, errProtocol):
		s.m.complain("an MQTT device breaks the protocol", s.device.Name, err)
		s.end(reasonProtocol)
	case errors.Is(err, errTakenOver):
		s.end(reasonTakenOver)
	}
}

// over notes that the connection has ended by itself.
func (s *session) over() {
	s.mu.Lock()
	s.ended = true
	s.room.Broadcast()
	s.mu.Unlock()
}

// publish handles what the device publishes; id is 0 for QoS 0. payload is valid during the call
// only. The goroutine that reads the connection calls it, and is held up here when the medium is
// slower than the device.
func (s *session) publish(name string, payload []byte, id uint16, qos byte) {
	place, ok := s.begin(id, qos)
	if !ok {
		return
	}
	if s.provision {
		s.provisioning(place, name, payload)
		return
	}
	t := readTopic(name)
	r := s.rules.Load()
	if t.subject == subUnknown || r.ConfiguredForMQTT {
		t = r.ownTopic(t, name)
	}
	if t.badID {
		s.invalid(place, errors.New("the number in the topic is none"))
		return
	}
	payload, err := r.inJSON(t, payload)
	if err != nil {
		s.invalid(place, err)
		return
	}
	switch t.subject {
	case subUnknown:
		s.m.complain("an MQTT device publishes to a topic that does not exist", s.device.Name, nil)
		s.finish(place, reasonTopic) // before MQTT 5 an acknowledgement like any other (device API 3.3)
	case subTelemetry, subAttributes:
		s.data(place, t.subject, payload)
	case subAttributeRequest:
		s.attributeRequest(place, t, payload)
	case subCallAnswer:
		s.m.Calls.Answer(s.device.ID, t.id, string(payload))
		s.finish(place, reasonNone)
	case subRequest:
		s.request(place, t, payload)
	case subClaim:
		s.claim(place, payload)
	case subFirmware, subSoftware:
		s.update(place, t, payload)
	default:
		s.gateway(place, t, payload)
	}
}

// ownTopic applies the topics that the profile of the device defines (device API 4.1).
func (p *rules) ownTopic(t topic, name string) topic {
	if !p.ConfiguredForMQTT {
		return t
	}
	switch {
	case p.TelemetryTopic != "" && name == p.TelemetryTopic:
		return topic{subject: subTelemetry}
	case p.AttributesTopic != "" && name == p.AttributesTopic:
		return topic{subject: subAttributes}
	case t.family == familyV1 && t.subject == subTelemetry && p.TelemetryTopic != "",
		t.family == familyV1 && t.subject == subAttributes && p.AttributesTopic != "":
		return topic{}
	}
	return t
}

// data hands telemetry or attributes of the device itself to the intake.
func (s *session) data(place uint32, what subject, payload []byte) {
	p := s.m.takeParser()
	defer s.m.putParser(p)
	parse := p.Telemetry
	if what == subAttributes {
		parse = p.Attributes
	}
	events, err := parse(payload, s.device.ID, s.m.Clock.Stamp())
	if err != nil {
		s.invalid(place, err)
		return
	}
	s.submit(place, events)
}

// submit hands events to the intake; the acknowledgement follows when they are durable.
func (s *session) submit(place uint32, events []proto.Event) { s.submitThen(place, events, nil) }

// submitThen is submit with something to be done when the events are durable, which must not block;
// or nil.
func (s *session) submitThen(place uint32, events []proto.Event, then func()) {
	if len(events) == 0 {
		s.finish(place, reasonNone)
		return
	}
	done := func(err error) {
		if err != nil {
			s.refuse(err)
			return
		}
		if then != nil {
			then()
		}
		s.finish(place, reasonNone)
	}
	if err := s.m.Intake.Submit(s.m.ctx, events, done); err != nil {
		s.refuse(err)
	}
}

func (m *MQTT) takeParser() *payload.Parser { return m.parser.Get().(*payload.Parser) }

func (m *MQTT) putParser(p *payload.Parser) {
	if p.Retained() <= maxRetained {
		m.parser.Put(p)
	}
}

// refuse ends the session because events were not stored: neither they nor what came behind them is
// acknowledged, so the device sends all of it again when it is back.
func (s *session) refuse(err error) {
	if s.m.ctx.Err() == nil {
		s.m.complain("events of MQTT devices are refused; the devices are disconnected to try again", s.device.Name, err)
	}
	s.end(reasonQuota)
}

// invalid refuses a publish for what is in it: MQTT 5 has a word for that, earlier versions end the
// session (device API 3.3).
func (s *session) invalid(place uint32, err error) {
	s.m.complain("an MQTT device publishes what cannot be stored", s.device.Name, err)
	s.mu.Lock()
	withAck := s.acks[place%ackWindow].id != 0
	s.mu.Unlock()
	switch {
	case withAck && s.version == 5:
		s.finish(place, reasonPayload)
	case withAck && s.rules.Load().AckInvalid:
		s.finish(place, reasonNone)
	default:
		s.end(reasonPayload)
	}
}

// fatal acknowledges a publish and ends the session, as the server does for a few mistakes (device
// API 4.3).
func (s *session) fatal(place uint32, err error) {
	s.m.complain("an MQTT device publishes what cannot be understood", s.device.Name, err)
	s.finish(place, reasonUnspecified)
	s.end(reasonUnspecified)
}

// filter tells whether the device may subscribe to it.
func (s *session) filter(name string) (topic, bool) {
	if s.provision {
		return topic{subject: subProvision}, name == provisionReply
	}
	if t, ok := filters[name]; ok {
		return t, true
	}
	if r := s.rules.Load(); r.ConfiguredForMQTT && r.SubscribeTopic != "" && name == r.SubscribeTopic {
		return topic{subject: subAttributes}, true
	}
	t, ok := gatewayFilters[name]
	return t, ok && s.device.Gateway
}

// subscribe grants a subscription with that quality of service; false if the filter is none of
// those that there are.
func (s *session) subscribe(name string, qos byte) bool {
	t, ok := s.filter(name)
	if !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.subject == subProvision {
		s.subs[subUnknown] = grant{on: true, qos: qos}
		return true
	}
	if name == s.rules.Load().SubscribeTopic && name != attributesTopics[0] {
		qos = 1 // and on the ordinary topic (device API 4.1)
	}
	s.subs[t.subject] = grant{on: true, qos: qos, family: t.family}
	s.asked = s.asked || t.subject == subCall || t.subject == subGatewayCall
	return true
}

// unsubscribe ends a subscription, in all its spellings (device API 4.1), and tells whether there
// was one.
func (s *session) unsubscribe(name string) bool {
	t, ok := s.filter(name)
	if !ok {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.subject == subProvision {
		t.subject = subUnknown
	}
	g := &s.subs[t.subject]
	was := g.on
	*g = grant{family: g.family}
	return was
}

// sub is the subscription to a subject. Without one the quality of service is 1 (device API 3.1).
func (s *session) sub(what subject) grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.subs[what]
	if !g.on {
		g.qos = 1
	}
	return g
}

// answerIn notes the spelling of a request for its answer.
func (s *session) answerIn(what subject, f family) {
	s.mu.Lock()
	s.subs[what].family = f
	s.mu.Unlock()
}

// send publishes to the device; false if it cannot take that.
func (s *session) send(name string, payload []byte, qos byte) bool {
	ok, _ := s.sendCall(name, payload, qos, nil)
	return ok
}

// sendCall is send for a call, or nil. A one-way call is over when it is delivered, and that is
// when the device acknowledges it (device API 4.2): later tells that acknowledged will say so.
func (s *session) sendCall(name string, payload []byte, qos byte, c *agent.Call) (ok, later bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false, false
	}
	if s.unacked >= s.receiveMax {
		qos = 0
	}
	remaining := 2 + len(name) + 2*int(qos) + len(payload)
	if s.version == 5 {
		remaining++ // no properties
	}
	b := make([]byte, 0, 5+remaining)
	b = append(b, 0x30|qos<<1)
	b = binary.AppendUvarint(b, uint64(remaining)) // the same coding
	if s.maxPacket > 0 && len(b)+remaining > s.maxPacket {
		return false, false
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
	b = append(b, name...)
	if qos > 0 {
		if s.lastID++; s.lastID == 0 {
			s.lastID = 1
		}
		b = binary.BigEndian.AppendUint16(b, s.lastID)
	}
	if s.version == 5 {
		b = append(b, 0)
	}
	b = append(b, payload...)
	if _, err := s.conn.Write(b); err != nil {
		return false, false
	}
	if qos > 0 {
		s.unacked++
		if c != nil && c.OneWay && len(s.owed) < maxOwed {
			s.owed = append(s.owed, owed{s.lastID, c.Device, c.ID})
			return true, true
		}
	}
	return true, false
}

// attributes sends a change of shared attributes, object in JSON, to the device, or to the gateway
// that calls it name.
func (s *session) attributes(name string, object []byte, set []proto.KV, deleted []string) {
	if name == "" {
		if g := s.sub(subAttributes); g.on {
			if s.rules.Load().downInProtobuf(g.family) {
				object = s.updateMessage(set, deleted)
			}
			s.send(attributesTopics[g.family], object, g.qos)
		}
		return
	}
	b := append([]byte(nil), `{"device":`...)
	b = proto.AppendJSONString(b, name)
	b = append(b, `,"data":`...)
	b = append(append(b, object...), '}')
	s.send(v1Gateway+"attributes", b, s.sub(subGatewayAttributes).qos)
}
