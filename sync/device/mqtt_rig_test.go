package device

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/cloudtest/rig"
	"edgesync/sync/registry"
)

// deferred is an intake whose medium is under control: what was submitted becomes durable, or is
// refused, when the test says so; at once when auto is set.
type deferred struct {
	mu      sync.Mutex
	auto    bool
	fail    error
	events  []proto.Event // durable
	waiting []func(error)
	staged  [][]proto.Event
	changed chan struct{} // one token for each submit
}

func newDeferred(auto bool) *deferred {
	return &deferred{auto: auto, changed: make(chan struct{}, 1<<16)}
}

func (d *deferred) Submit(_ context.Context, events []proto.Event, done func(error)) error {
	copied := make([]proto.Event, len(events))
	for i, e := range events {
		e.Fragment = append([]byte(nil), e.Fragment...)
		copied[i] = e
	}
	d.mu.Lock()
	d.staged, d.waiting = append(d.staged, copied), append(d.waiting, done)
	auto := d.auto
	d.mu.Unlock()
	if auto {
		d.commit(d.fail)
	}
	d.changed <- struct{}{}
	return nil
}

func (d *deferred) Accept(ctx context.Context, events []proto.Event) error {
	res := make(chan error, 1)
	if err := d.Submit(ctx, events, func(err error) { res <- err }); err != nil {
		return err
	}
	return <-res
}

// commit is one fsync.
func (d *deferred) commit(err error) {
	d.mu.Lock()
	staged, waiting := d.staged, d.waiting
	d.staged, d.waiting = nil, nil
	if err == nil {
		for _, s := range staged {
			d.events = append(d.events, s...)
		}
	}
	d.mu.Unlock()
	for _, fn := range waiting {
		fn(err)
	}
}

func (d *deferred) durable() []proto.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]proto.Event(nil), d.events...)
}

// book is a registry with what the test writes into it.
type book struct {
	mu         sync.Mutex
	tokens     map[string]registry.Device
	profiles   map[proto.UUID]registry.Profile
	attributes map[registry.Scope]map[proto.UUID][]proto.KV
	secrets    map[proto.UUID]string
	births     []agent.NewDevice
	birthError error
	firmware   registry.Package // of the lamp
}

func (b *book) Package(id proto.UUID, software bool) (registry.Package, bool) {
	return b.firmware, id == lampID && !software && b.firmware.Path != ""
}

func (b *book) ByToken(token string) (registry.Device, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d, ok := b.tokens[token]
	return d, ok
}

func (b *book) enrol(token string, d registry.Device) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens[token] = d
}

func (b *book) ByMQTT(clientID, user string, password []byte) (registry.Device, bool) {
	if user == "" {
		return b.ByToken("client:" + clientID)
	}
	return b.ByToken(user)
}

func (b *book) ByCertificate(der []byte) (registry.Device, bool) {
	return b.ByToken("der:" + string(der))
}

func (b *book) find(ok func(registry.Device) bool) (registry.Device, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.tokens {
		if ok(d) {
			return d, true
		}
	}
	return registry.Device{}, false
}

func (b *book) ByName(name string) (registry.Device, bool) {
	return b.find(func(d registry.Device) bool { return d.Name == name })
}

func (b *book) ByID(id proto.UUID) (registry.Device, bool) {
	return b.find(func(d registry.Device) bool { return d.ID == id })
}

func (b *book) Profile(id proto.UUID) (registry.Profile, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.profiles[id]
	return p, ok
}

func (b *book) Provision(key, secret string) (registry.Profile, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.profiles {
		if key == "key of "+p.Name && secret == "secret of "+p.Name {
			return p, true
		}
	}
	return registry.Profile{}, false
}

func (b *book) Attributes(id proto.UUID, scope registry.Scope, keys []string, fn func(*proto.KV)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.attributes[scope][id]
	if keys == nil {
		for i := range all {
			fn(&all[i])
		}
	}
	for _, k := range keys {
		for i := range all {
			if string(all[i].Key) == k {
				fn(&all[i])
			}
		}
	}
}

func (b *book) Credentials(id proto.UUID) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.secrets[id]
	return []byte(s), ok
}

func (b *book) Create(_ context.Context, n *agent.NewDevice) (proto.UUID, error) {
	if d, ok := b.ByName(n.Name); ok {
		return d.ID, agent.ErrNameTaken
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.birthError != nil {
		return proto.UUID{}, b.birthError
	}
	b.births = append(b.births, *n)
	id := proto.UUID{0xbb, byte(len(b.births))}
	token := n.CredentialsID
	if token == "" {
		token = fmt.Sprint("generated", len(b.births))
	}
	b.tokens[token] = registry.Device{ID: id, Name: n.Name, Type: n.Type, Gateway: n.IsGateway}
	value, kind := "null", n.CredentialsType
	if n.CredentialsValue != "" {
		value = string(proto.AppendJSONString(nil, n.CredentialsValue))
	}
	if kind == "" {
		kind = "ACCESS_TOKEN"
	}
	b.secrets[id] = fmt.Sprintf(`{"credentialsType":%q,"credentialsId":%q,"credentialsValue":%s}`, kind, token, value)
	return id, nil
}

// switchboard is the agent's RPC.
type switchboard struct {
	mu        sync.Mutex
	pending   map[proto.UUID][]agent.Call
	delivered []string
	answers   []string
	notices   []string
	requests  chan *agent.Request
	offline   error
}

func (s *switchboard) Pending(id proto.UUID) []agent.Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]agent.Call(nil), s.pending[id]...)
}

func (s *switchboard) Delivered(id proto.UUID, call int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delivered = append(s.delivered, fmt.Sprintf("%x/%d", id[:1], call))
}

func (s *switchboard) Answer(id proto.UUID, call int32, response string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = append(s.answers, fmt.Sprintf("%x/%d %s", id[:1], call, response))
	return true
}

func (s *switchboard) Notify(id proto.UUID, method, params string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notices = append(s.notices, fmt.Sprintf("%x %s %s", id[:1], method, params))
	return len(s.notices) < 5
}

func (s *switchboard) Request(r *agent.Request) error {
	if s.offline != nil {
		return s.offline
	}
	s.requests <- r
	return nil
}

func (s *switchboard) said() (delivered, answers []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.delivered...), append([]string(nil), s.answers...)
}

// stand is an MQTT door with everything around it.
type stand struct {
	*testing.T
	*MQTT
	intake *deferred
	book   *book
	calls  *switchboard
	log    *rig.Log
}

var (
	lampID    = proto.UUID{0x01}
	gatewayID = proto.UUID{0x02}
)

func newStand(t *testing.T, auto bool) *stand {
	s := &stand{T: t, intake: newDeferred(auto), log: new(rig.Log)}
	s.book = &book{
		tokens: map[string]registry.Device{
			"lamp":    {ID: lampID, Name: "Lamp", ProfileID: proto.UUID{0xf0}},
			"gateway": {ID: gatewayID, Name: "Gateway", Gateway: true},
		},
		profiles:   map[proto.UUID]registry.Profile{{0xf0}: {ID: proto.UUID{0xf0}, Name: "default"}},
		attributes: map[registry.Scope]map[proto.UUID][]proto.KV{registry.ClientScope: {}, registry.SharedScope: {}, registry.ServerScope: {}},
		secrets:    map[proto.UUID]string{},
	}
	s.calls = &switchboard{pending: map[proto.UUID][]agent.Call{}, requests: make(chan *agent.Request, 16)}
	s.MQTT = NewMQTT(NewDoors(Ports{
		Intake: s.intake, Lookups: s.book, Packages: s.book, Calls: s.calls, Births: s.book, Log: s.log.Logger(),
	}))
	t.Cleanup(func() { s.MQTT.Close() })
	return s
}

// tester is an MQTT client that does what a test says, and no more.
type tester struct {
	*testing.T
	net.Conn
	in      *bufio.Reader
	version byte
	connack []byte // body
}

// pipe opens a connection without a word.
func (s *stand) pipe(version byte) *tester {
	client, server := net.Pipe()
	s.MQTT.start(server)
	s.T.Cleanup(func() { client.Close() })
	_ = client.SetDeadline(time.Now().Add(20 * time.Second))
	return &tester{T: s.T, Conn: client, in: bufio.NewReader(client), version: version}
}

// dial connects with an access token and expects to be let in.
func (s *stand) dial(version byte, token string) *tester {
	s.Helper()
	c := s.pipe(version)
	if code := c.connect("", token, ""); code != 0 {
		s.Fatalf("CONNACK %#x", code)
	}
	return c
}

func str(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }

// packet puts a fixed header before body.
func packet(head byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{head}, uint64(len(body))), body...)
}

func connectPacket(version byte, clientID, user, password string) []byte {
	flags := byte(2)
	if user != "" {
		flags |= 0x80
	}
	if password != "" {
		flags |= 0x40
	}
	var b []byte
	if version == 3 {
		b = append(str("MQIsdp"), 3, flags, 0, 60)
	} else {
		b = append(str("MQTT"), version, flags, 0, 60)
	}
	if version == 5 {
		b = append(b, 0)
	}
	b = append(b, str(clientID)...)
	if user != "" {
		b = append(b, str(user)...)
	}
	if password != "" {
		b = append(b, str(password)...)
	}
	return packet(0x10, b)
}

func (c *tester) write(b []byte) {
	c.Helper()
	if _, err := c.Conn.Write(b); err != nil {
		c.Fatalf("write: %v", err)
	}
}

// connect returns the CONNACK's code.
func (c *tester) connect(clientID, user, password string) byte {
	c.Helper()
	c.write(connectPacket(c.version, clientID, user, password))
	head, body := c.read()
	if head != 0x20 {
		c.Fatalf("no CONNACK but %#x %x", head, body)
	}
	c.connack = body
	return body[1]
}

// read returns the next packet.
func (c *tester) read() (head byte, body []byte) {
	c.Helper()
	head, body, err := c.next()
	if err != nil {
		c.Fatalf("read: %v", err)
	}
	return head, body
}

func (c *tester) next() (head byte, body []byte, err error) {
	if head, err = c.in.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(c.in)
	if err != nil {
		return 0, nil, err
	}
	body = make([]byte, n)
	_, err = io.ReadFull(c.in, body)
	return head, body, err
}

func (c *tester) publishPacket(topic, payload string, id uint16) []byte {
	head, b := byte(0x30), str(topic)
	if id != 0 {
		head, b = 0x32, binary.BigEndian.AppendUint16(b, id)
	}
	if c.version == 5 {
		b = append(b, 0)
	}
	return packet(head, append(b, payload...))
}

func (c *tester) publish(topic, payload string, id uint16) {
	c.Helper()
	c.write(c.publishPacket(topic, payload, id))
}

// puback expects the acknowledgement of id with that reason.
func (c *tester) puback(id uint16, reason byte) {
	c.Helper()
	head, body := c.read()
	got := byte(0)
	if len(body) > 2 {
		got = body[2]
	}
	if head != 0x40 || binary.BigEndian.Uint16(body) != id || got != reason {
		c.Fatalf("got %#x %x, want the PUBACK of %d with %#x", head, body, id, reason)
	}
}

// ask publishes with QoS 1 and expects a PUBACK without a reason.
func (c *tester) ask(topic, payload string, id uint16) {
	c.Helper()
	c.publish(topic, payload, id)
	c.puback(id, 0)
}

// subscribe returns the SUBACK's code.
func (c *tester) subscribe(filter string, qos byte) byte {
	c.Helper()
	b := []byte{0, 9}
	if c.version == 5 {
		b = append(b, 0)
	}
	c.write(packet(0x82, append(append(b, str(filter)...), qos)))
	head, body := c.read()
	if head != 0x90 || body[1] != 9 {
		c.Fatalf("no SUBACK but %#x %x", head, body)
	}
	return body[len(body)-1]
}

// message expects a PUBLISH, acknowledges it if it has QoS 1, and returns it.
func (c *tester) message() (topic, payload string, qos byte) {
	c.Helper()
	head, body := c.read()
	if head>>4 != 3 {
		c.Fatalf("no PUBLISH but %#x %x", head, body)
	}
	n := binary.BigEndian.Uint16(body)
	topic, body, qos = string(body[2:2+n]), body[2+n:], head>>1&3
	if qos > 0 {
		_, _ = c.Conn.Write([]byte{0x40, 2, body[0], body[1]}) // the door may have closed behind it
		body = body[2:]
	}
	if c.version == 5 {
		body = body[1:]
	}
	return topic, string(body), qos
}

// expect expects a PUBLISH with that text: "topic payload".
func (c *tester) expect(want string) {
	c.Helper()
	topic, payload, _ := c.message()
	if got := topic + " " + payload; got != want {
		c.Fatalf("got  %s\nwant %s", got, want)
	}
}

// closed expects the end of the connection, in MQTT 5 behind a DISCONNECT with that reason; reason
// 0 means without one.
func (c *tester) closed(reason byte) {
	c.Helper()
	head, body, err := c.next()
	if c.version == 5 && reason != 0 {
		if head != 0xe0 || len(body) == 0 || body[0] != reason {
			c.Fatalf("got %#x %x %v, want DISCONNECT %#x", head, body, err, reason)
		}
		head, body, err = c.next()
	}
	if err == nil || errors.Is(err, context.DeadlineExceeded) || timedOut(err) {
		c.Fatalf("got %#x %x %v, want the end of the connection", head, body, err)
	}
}

// alive expects an answer to a ping, and nothing before it.
func (c *tester) alive() {
	c.Helper()
	c.write([]byte{0xc0, 0})
	if head, body := c.read(); head != 0xd0 {
		c.Fatalf("got %#x %x, want PINGRESP", head, body)
	}
}
