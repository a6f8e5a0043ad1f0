package device

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/cloudtest/rig"
	"edgesync/sync/registry"
)

// stand is an MQTT door with fakes of all that it needs.
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
		profiles: map[proto.UUID]registry.Profile{{0xf0}: {ID: proto.UUID{0xf0}, Name: "default"}},
		attributes: map[registry.Scope]map[proto.UUID][]proto.KV{
			registry.ClientScope: {}, registry.SharedScope: {}, registry.ServerScope: {},
		},
		secrets: map[proto.UUID]string{},
	}
	s.calls = &switchboard{pending: map[proto.UUID][]agent.Call{}, requests: make(chan *agent.Request, 16)}
	s.MQTT = NewMQTT(NewDoors(Ports{
		Intake: s.intake, Lookups: s.book, Packages: s.book, Calls: s.calls, Creations: s.book,
		Log: s.log.Logger(),
	}))
	t.Cleanup(func() { s.MQTT.Close() })
	return s
}

// tester is an MQTT client that does what a test wants, and no more.
type tester struct {
	*testing.T
	net.Conn
	in      *bufio.Reader
	version byte
	connack []byte // the body of the CONNACK
}

// pipe opens a connection and sends nothing.
func (s *stand) pipe(version byte) *tester {
	client, server := net.Pipe()
	s.MQTT.start(server)
	s.T.Cleanup(func() { client.Close() })
	_ = client.SetDeadline(time.Now().Add(2 * time.Minute))
	return &tester{T: s.T, Conn: client, in: bufio.NewReader(client), version: version}
}

// dial connects with an access token and expects to be accepted.
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
		// The door may have closed the connection behind the message.
		_, _ = c.Conn.Write([]byte{0x40, 2, body[0], body[1]})
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

// closed expects the end of the connection, in MQTT 5 behind a DISCONNECT with that reason. With
// reason 0 it expects no DISCONNECT.
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

// alive expects an answer to a PINGREQ, and nothing before it.
func (c *tester) alive() {
	c.Helper()
	c.write([]byte{0xc0, 0})
	if head, body := c.read(); head != 0xd0 {
		c.Fatalf("got %#x %x, want PINGRESP", head, body)
	}
}

func unmarshalFragment(t *testing.T, fragment []byte) *proto.EntityDataProto {
	t.Helper()
	var m proto.UplinkMsg
	if err := pb.Unmarshal(fragment, &m); err != nil || len(m.EntityData) != 1 {
		t.Fatalf("%v: %x", err, fragment)
	}
	return m.EntityData[0]
}
