package cli

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// publisher is an MQTT 3.1.1 client that publishes readings with QoS 1, many at a time, and sends
// again what was not acknowledged when its connection ends, as client libraries do.
type publisher struct {
	token   string
	first   int // the oldest reading without an acknowledgement
	last    int // the last one to send
	window  int
	acked   func()
	refused error
}

func mqttString(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

func mqttPacket(head byte, parts ...[]byte) []byte {
	var body []byte
	for _, p := range parts {
		body = append(body, p...)
	}
	return append(binary.AppendUvarint([]byte{head}, uint64(len(body))), body...)
}

// mqttMessage is the next message that comes down. Other packets are passed over.
func mqttMessage(t testing.TB, in *bufio.Reader) (topic, payload string) {
	t.Helper()
	for {
		head, err := in.ReadByte()
		if err != nil {
			t.Fatal(err)
		}
		n, _ := binary.ReadUvarint(in)
		body := make([]byte, n)
		if _, err := io.ReadFull(in, body); err != nil {
			t.Fatal(err)
		}
		if head>>4 == 3 {
			l := 2 + binary.BigEndian.Uint16(body)
			return string(body[2:l]), string(body[l+2*uint16(head>>1&1):]) // an id goes before the payload of QoS 1
		}
	}
}

// mqttDial connects with a token and returns the code of the CONNACK.
func mqttDial(addr, token string) (net.Conn, *bufio.Reader, byte, error) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, nil, 0, err
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = c.Write(mqttPacket(0x10, mqttString("MQTT"), []byte{4, 0x82, 0, 60}, mqttString(""), mqttString(token)))
	in := bufio.NewReader(c)
	var ack [4]byte
	if _, err := io.ReadFull(in, ack[:]); err != nil {
		c.Close()
		return nil, nil, 0, err
	}
	return c, in, ack[3], nil
}

// session publishes over one connection until it ends or everything is acknowledged.
func (p *publisher) session(addr string) {
	c, in, code, err := mqttDial(addr, p.token)
	if err != nil {
		return
	}
	defer c.Close()
	if code != 0 {
		p.refused = fmt.Errorf("CONNACK %d", code)
		return
	}
	next := p.first
	for p.first <= p.last {
		for next <= p.last && next-p.first < p.window {
			payload := fmt.Sprintf(`{"ts":%d,"values":{"n":%d}}`, 1767225600000+int64(next), next)
			id := []byte{byte(next >> 8), byte(next)}
			if _, err := c.Write(mqttPacket(0x32, mqttString("v1/devices/me/telemetry"), id, []byte(payload))); err != nil {
				return
			}
			next++
		}
		var ack [4]byte
		if _, err := io.ReadFull(in, ack[:]); err != nil {
			return
		}
		if id := int(binary.BigEndian.Uint16(ack[2:])); ack[0] != 0x40 || id != p.first {
			p.refused = fmt.Errorf("got %x while waiting for the PUBACK of %d", ack, p.first)
			return
		}
		p.first++
		p.acked()
	}
}

// Live sessions follow the cloud: new credentials and an unassignment end them, and only what is
// valid now gets in again.
func TestMQTTSessionsFollowTheCloud(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	addr := r.snapshot().MQTTAddress
	dial := func(token string, want byte) (net.Conn, *bufio.Reader) {
		t.Helper()
		c, in, code, err := mqttDial(addr, token)
		if err != nil || code != want {
			t.Fatalf("%s: CONNACK %d, %v, want %d", token, code, err, want)
		}
		t.Cleanup(func() { c.Close() })
		return c, in
	}
	ends := func(what string, in *bufio.Reader) {
		t.Helper()
		if b, err := in.ReadByte(); err != io.EOF {
			t.Errorf("%s: got %#x, %v, want the end", what, b, err)
		}
	}
	first, second := s.mustBeNamed("station 0"), s.mustBeNamed("station 1")
	_, a := dial("token-0", 0)
	_, b := dial("token-1", 0)
	c, rest := dial("token-2", 0)
	if n := r.snapshot().MQTTConnections; n != 3 {
		t.Errorf("status shows %d connections", n)
	}
	s.cloud.SetCredentials(first.ID, "ACCESS_TOKEN", "token-new", "")
	ends("other credentials", a)
	dial("token-0", 5)
	dial("token-new", 0)
	s.cloud.UnassignDevice(second.ID)
	ends("unassigned", b)
	dial("token-1", 5)
	c.Write([]byte{0xc0, 0})
	if b, err := rest.ReadByte(); b != 0xd0 {
		t.Errorf("a device that nothing happened to: %#x, %v", b, err)
	}
}

// A command waits for a device that is away, and comes again to a device that came back without
// having answered it.
func TestMQTTCommandWaits(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	r := s.synced()
	addr := r.snapshot().MQTTAddress
	d := s.mustBeNamed("station 0")
	answer := make(chan string, 1)
	go func() {
		got, err := s.cloud.CallRPC(t.Context(), d.ID, "setGpio", `{"pin":1}`, false, patience)
		answer <- fmt.Sprint(got, " ", err)
	}()
	var id string
	for try := range 2 {
		c, in, code, err := mqttDial(addr, "token-0")
		if err != nil || code != 0 {
			t.Fatalf("CONNACK %d, %v", code, err)
		}
		c.Write(mqttPacket(0x82, []byte{0, 1}, mqttString("v1/devices/me/rpc/request/+"), []byte{1}))
		topic, payload := mqttMessage(t, in)
		if payload != `{"method":"setGpio","params":{"pin":1}}` {
			t.Fatalf("%s %s", topic, payload)
		}
		if try == 1 && topic != id {
			t.Errorf("again as %s, first as %s", topic, id)
		}
		if id = topic; try == 1 {
			reply := strings.Replace(topic, "request", "response", 1)
			c.Write(mqttPacket(0x32, mqttString(reply), []byte{0, 2}, []byte(`{"ok":true}`)))
			if got := <-answer; got != `{"ok":true} <nil>` {
				t.Errorf("the cloud got %s", got)
			}
		}
		c.Close()
	}
}
