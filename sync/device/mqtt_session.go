package device

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/device/mqtt"
	"edgesync/sync/device/payload"
	"edgesync/sync/refusal"
	"edgesync/sync/registry"
	"edgesync/sync/share"
)

// ackWindow is how many publishes of a device may wait for the medium; while there are so many,
// nothing more is read from the device. It is a power of two, above the 100 that getSessionLimits
// announces.
const ackWindow = 128

// Reason codes of MQTT 5; earlier versions have none.
const (
	reasonNone          = 0x00
	reasonMalformed     = mqtt.ReasonMalformed
	reasonProtocol      = mqtt.ReasonProtocol
	reasonUnspecified   = 0x83 // "implementation specific"
	reasonShuttingDown  = 0x8b
	reasonNotAuthorized = 0x87
	reasonTakenOver     = 0x8e
	reasonTopic         = 0x90
	reasonQuota         = 0x97
	reasonRevoked       = 0x98
	reasonPayload       = 0x99
)

// session is what a device has while it is connected over MQTT. Three goroutines use it: the one
// that runs MQTT.serve, which reads the connection and brings publishes; the committer, which
// brings acknowledgements; the loop, which brings commands and attributes. mu keeps them apart.
// Neither the committer nor the loop waits for the device.
type session struct {
	m          *MQTT
	conn       *mqttConn
	device     registry.Device // as it was when it connected
	rules      atomic.Pointer[rules]
	following  sync.Mutex // held while rules change
	version    byte       // of MQTT: 3 (3.1), 4 (3.1.1) or 5
	provision  bool       // the device may only ask for credentials (API.md 5)
	maxPacket  int        // largest packet, in bytes, that the device takes; 0: any
	receiveMax int        // QoS 1 messages that the device takes unacknowledged

	spoken spoken // the devices that a gateway speaks for; guarded by Doors.mu

	left chan struct{} // closed when nothing more of the connection will be handled

	// Owned by the goroutine that reads.
	joined  []joined  // devices that the publish in work has connected
	asked   bool      // the packet in work subscribes to commands
	topic   string    // of the publish in work
	updates [2]chunks // how the device reads firmware and software

	mu    sync.Mutex     // guards what follows
	room  sync.Cond      // a slot in acks has become free, or the session is over
	acks  [ackWindow]ack // publishes from first to next, in the order in which they came
	first uint32
	next  uint32
	ended bool

	subs    [subProvision]grant // by subject
	lastID  uint16              // packet id of the last message with QoS 1
	unacked int                 // QoS 1 messages that the device has not acknowledged
	awaited []awaited           // persistent calls among them
}

// ack is a publish that is not acknowledged yet.
type ack struct {
	id     uint16 // 0: the publish has QoS 0, or gets no answer
	reason byte
	qos    byte
	done   bool
	last   bool // the session ends with this publish, for the reason
}

// grant is a subscription, or what a request implies for its answer.
type grant struct {
	on     bool
	qos    byte
	family family
}

// begin takes a slot in acks for a publish, and waits while none is free. It returns false when the
// session is over.
func (s *session) begin(id uint16, qos byte) (slot uint32, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.next-s.first == ackWindow && !s.ended {
		s.room.Wait()
	}
	if s.ended {
		return 0, false
	}
	slot = s.next
	s.acks[slot%ackWindow] = ack{id: id, qos: qos}
	s.next++
	return slot, true
}

// finish acknowledges a publish as soon as all publishes before it are acknowledged.
//
//go:noinline
func (s *session) finish(slot uint32, reason byte) {
	s.settle(slot, func(a *ack) { a.reason = reason })
}

// leaveOut frees the slot of a publish that gets no answer.
func (s *session) leaveOut(slot uint32) {
	s.settle(slot, func(a *ack) { a.id = 0 })
}

// endWith ends the session because of a publish, as soon as all publishes before it are
// acknowledged: were they not, the device would send them and the wrong one again and again. The
// publish itself is acknowledged only if answered is true.
func (s *session) endWith(slot uint32, reason byte, answered bool) {
	s.settle(slot, func(a *ack) {
		if a.reason, a.last = reason, true; !answered {
			a.id = 0
		}
	})
}

// settle notes what becomes of a publish, and acknowledges those whose turn has come.
func (s *session) settle(slot uint32, note func(a *ack)) {
	reason, last := s.acknowledge(slot, note)
	if last {
		s.end(reason)
	}
}

func (s *session) acknowledge(slot uint32, note func(a *ack)) (reason byte, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.acks[slot%ackWindow]
	note(a)
	a.done = true
	if slot != s.first || s.ended {
		return 0, false
	}
	for s.first != s.next && !last {
		a := s.acks[s.first%ackWindow]
		if !a.done {
			break
		}
		s.first++
		if reason, last = a.reason, a.last; a.id == 0 {
			continue
		}
		what := mqtt.TypePuback
		if a.qos == 2 {
			what = mqtt.TypePubrec // the device may send it twice, as with QoS 1
		}
		var b [5]byte
		_, _ = s.conn.Write(mqtt.AppendAck(b[:0], what, s.version, a.id, a.reason))
	}
	s.room.Signal()
	return reason, last
}

// end closes the session. A device that speaks MQTT 5 is sent the reason.
func (s *session) end(reason byte) {
	s.mu.Lock()
	if !s.ended {
		s.ended = true
		if s.version == 5 {
			var b [4]byte
			_, _ = s.conn.Write(mqtt.AppendDisconnect(b[:0], reason))
		}
	}
	s.room.Broadcast()
	s.mu.Unlock()
	_ = s.conn.Close()
}

// close ends the session because of what its device did.
func (s *session) close(err error) {
	var bad *mqtt.Error
	switch {
	case errors.Is(err, errPacketLength):
		s.note(refusal.TooLarge, "", err)
		s.end(reasonMalformed)
	case errors.As(err, &bad):
		s.note(refusal.Malformed, "", err)
		s.end(bad.Reason)
	case errors.Is(err, share.ErrEvicted), errors.Is(err, share.ErrFull):
		s.note(refusal.Busy, "", err)
		s.end(reasonQuota)
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

// publish handles what the device publishes. id is 0 for QoS 0; payload is valid during the call
// only. The goroutine that reads the connection calls it, and is held up here when the medium is
// slower than the device.
func (s *session) publish(name string, payload []byte, id uint16, qos byte) {
	slot, ok := s.begin(id, qos)
	if !ok {
		return
	}
	s.topic = name
	defer func() { s.topic = "" }()
	if s.provision {
		s.provisioning(slot, name, payload)
		return
	}
	t := readTopic(name)
	r := s.rules.Load()
	if t.subject == subUnknown || r.ConfiguredForMQTT {
		t = r.ownTopic(t, name)
	}
	if t.badID {
		s.invalid(slot, errors.New("the number in the topic is no int32"))
		return
	}
	payload, err := r.inJSON(t, payload)
	if err != nil {
		s.invalid(slot, err)
		return
	}
	switch t.subject {
	case subUnknown:
		if s.device.Gateway && s.foreign(slot, name, payload) {
			return
		}
		s.note(refusal.UnknownTopic, name, nil)
		s.finish(slot, reasonTopic) // before MQTT 5 an ordinary acknowledgement (API.md 3.3)
	case subTelemetry, subAttributes:
		s.data(slot, t.subject, payload)
	case subAttributeRequest:
		s.attributeRequest(slot, t, payload)
	case subCallAnswer:
		s.m.Calls.Answer(s.device.ID, t.id, string(payload))
		s.finish(slot, reasonNone)
	case subRequest:
		s.request(slot, t, payload)
	case subClaim:
		s.claim(slot, payload)
	case subFirmware, subSoftware:
		s.update(slot, t, payload)
	default:
		s.gateway(slot, t, payload)
	}
}

// ownTopic applies the topics that the profile of the device defines (API.md 4.1).
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
func (s *session) data(slot uint32, what subject, payload []byte) {
	p := s.m.takeParser()
	defer s.m.putParser(p)
	parse := p.Telemetry
	if what == subAttributes {
		parse = p.Attributes
	}
	events, err := parse(payload, s.device.ID, s.m.Clock.Stamp())
	if err != nil {
		s.invalid(slot, err)
		return
	}
	s.submit(slot, events)
}

// submit hands events to the intake; the acknowledgement follows when they are durable.
func (s *session) submit(slot uint32, events []proto.Event) { s.submitThen(slot, events, nil) }

// submitThen is submit with a function, or nil, that is called when the events are durable, and
// answers in place of the acknowledgement. It must not block.
func (s *session) submitThen(slot uint32, events []proto.Event, then func()) {
	if then == nil {
		then = func() { s.finish(slot, reasonNone) }
	}
	if len(events) == 0 {
		then()
		return
	}
	began := time.Now()
	done := func(err error) {
		s.m.took[refusal.MQTT].Note(time.Since(began))
		if err != nil {
			s.notStored(slot, err)
			return
		}
		then()
	}
	if err := s.m.Intake.Submit(s.m.ctx, events, done); err != nil {
		s.notStored(slot, err)
	}
}

// notStored handles a publish of which not all was stored. A gateway goes on where that is about
// devices that the cloud refuses to create, as on the server at the limit of devices (API.md 4.3):
// what it publishes of others must not wait for them.
func (s *session) notStored(slot uint32, err error) {
	if !s.device.Gateway || !errors.Is(err, agent.ErrNoRoom) {
		s.refuse(err)
		return
	}
	s.note(refusal.NoRoom, "", err)
	s.finish(slot, reasonQuota)
}

func (m *MQTT) takeParser() *payload.Parser { return m.parser.Get().(*payload.Parser) }

func (m *MQTT) putParser(p *payload.Parser) {
	if p.Retained() <= maxRetained {
		m.parser.Put(p)
	}
}

// refuse ends the session because events were not stored. Neither they nor what came behind them is
// acknowledged, so the device sends all of it again when it is back.
func (s *session) refuse(err error) {
	if s.m.ctx.Err() == nil {
		s.note(notTaken(err), "", err)
	}
	s.end(reasonQuota)
}

// invalid refuses a publish for what is in it. MQTT 5 has a reason code for that; earlier versions
// end the session (API.md 3.3).
//
//go:noinline
func (s *session) invalid(slot uint32, err error) { s.invalidAt(slot, s.topic, err) }

// invalidAt is invalid for a publish that may not be the one in work.
func (s *session) invalidAt(slot uint32, topic string, err error) {
	s.note(refusal.BadPayload, topic, err)
	s.mu.Lock()
	withAck := s.acks[slot%ackWindow].id != 0
	s.mu.Unlock()
	switch {
	case withAck && s.version == 5:
		s.finish(slot, reasonPayload)
	case withAck && s.rules.Load().AckInvalid:
		s.finish(slot, reasonNone)
	default:
		s.endWith(slot, reasonPayload, false)
	}
}

// fatal acknowledges a publish and ends the session, as the server does for a few mistakes (API.md
// 4.3).
func (s *session) fatal(slot uint32, err error) {
	s.note(refusal.BadPayload, s.topic, err)
	s.endWith(slot, reasonUnspecified, true)
}

// filter says what a filter is about, and whether the device may subscribe to it.
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

// subscribe grants a subscription with that quality of service. It returns false where the device
// may not subscribe to the filter.
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
		qos = 1 // and it comes on the ordinary topic (API.md 4.1)
	}
	s.subs[t.subject] = grant{on: true, qos: qos, family: t.family}
	s.asked = s.asked || t.subject == subCall || t.subject == subGatewayCall
	return true
}

// unsubscribe ends a subscription in all its spellings (API.md 4.1), and says whether there was
// one.
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

// sub is the subscription to a subject. Without one the quality of service is 1 (API.md 3.1).
func (s *session) sub(what subject) grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.subs[what]
	if !g.on {
		g.qos = 1
	}
	return g
}

// answerIn notes the spelling of a request, which is that of its answer.
func (s *session) answerIn(what subject, f family) {
	s.mu.Lock()
	s.subs[what].family = f
	s.mu.Unlock()
}

// send publishes to the device. It returns false where the device cannot take that.
func (s *session) send(name string, payload []byte, qos byte) bool {
	return s.sendFile(name, payload, nil, qos)
}

// sendFile is send with a part of a file behind the payload, or nil; the file is closed.
func (s *session) sendFile(name string, payload []byte, f *outFile, qos byte) bool {
	_, ok := s.sendCall(name, payload, f, qos, nil)
	return ok
}

// sendCall is sendFile of a call, or of something else, nil. acks: the device is to acknowledge it.
func (s *session) sendCall(name string, payload []byte, f *outFile, qos byte, c *agent.Call) (acks, ok bool) {
	n := len(payload)
	if f != nil {
		n += int(f.left)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unacked >= s.receiveMax {
		qos = 0
	}
	size := mqtt.PublishSize(s.version, name, n, qos)
	if s.ended || s.maxPacket > 0 && size > s.maxPacket {
		if f != nil {
			f.Close()
		}
		return false, false
	}
	if qos > 0 {
		if s.lastID++; s.lastID == 0 {
			s.lastID = 1
		}
	}
	b := mqtt.AppendPublishHead(make([]byte, 0, size-n+len(payload)), s.version, name, n, qos, s.lastID)
	if _, err := s.conn.writeFile(append(b, payload...), f); err != nil {
		return false, false
	}
	if qos > 0 {
		s.unacked++
		if c != nil && c.Persisted {
			if len(s.awaited) == maxAwaited {
				s.awaited = slices.Delete(s.awaited, 0, 1)
			}
			s.awaited = append(s.awaited, awaited{s.lastID, c.ID, c.Device})
		}
	}
	return qos > 0, true
}

// attributes sends a change of shared attributes, which object has in JSON, to the device, or to
// the gateway that calls the device name.
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
