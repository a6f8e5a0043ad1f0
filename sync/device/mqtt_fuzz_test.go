package device

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"edgesync/sync/guess"
)

// malformed are packets that end the connection. Those behind a CONNECT come from a device that is
// known.
func malformed() [][]byte {
	in5, in4 := connectPacket(5, "", "lamp", ""), connectPacket(4, "", "lamp", "")
	join := func(parts ...[]byte) (b []byte) {
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	return [][]byte{
		{0xff, 0xff, 0xff, 0xff, 0xff},
		{0x10, 0x80, 0x80, 0x80, 0x80, 0x01},
		{0x10, 0},
		connectPacket(4, strings.Repeat("x", firstPacket), "lamp", ""),
		[]byte("GET / HTTP/1.1\r\n\r\n" + strings.Repeat("x", 200)),
		packet(0x30, append(str("v1/devices/me/telemetry"), `{"a":1}`...)),
		// A filter without its options.
		join(in5, packet(0x82, join([]byte{0, 1, 0}, str("v1/devices/me/attributes")))),
		join(in4, packet(0x82, join([]byte{0, 1}, str("v1/devices/me/attributes")))),
		join(in4, packet(0x36, join(str("x"), []byte{0, 1}))), // QoS 3
		join(in4, packet(0x32, join(str("x"), []byte{0, 0}))), // packet id 0
		join(in4, packet(0x32, str("x"))),
		join(in4, packet(0x30, []byte{0xff, 0xff, 'x'})),
		join(in4, packet(0x00, nil)),
		join(in4, in4),
		join(in5, packet(0x30, join(str("x"), []byte{0xff, 0xff, 0xff, 0xff, 0xff}))),
		// A topic alias, which is not offered.
		join(in5, packet(0x32, join(str(""), []byte{0, 1, 3, 0x23, 0, 1}))),
		join(in4, packet(0x40, []byte{1})),    // half a packet id
		join(in5, packet(0x60, []byte{0, 1})), // flags of PUBREL
		// A property twice.
		join(in5, packet(0x82, []byte{0, 1, 3, 0x0b, 1, 0x0b, 1})),
	}
}

// memoryConn is a connection whose device has sent all that it will ever send.
type memoryConn struct {
	net.Conn
	mu   sync.Mutex
	in   []byte
	sent int
}

func (m *memoryConn) Read(p []byte) (int, error) {
	if len(m.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, m.in)
	m.in = m.in[n:]
	return n, nil
}

func (m *memoryConn) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent += len(p)
	return len(p), nil
}

func (m *memoryConn) Close() error                     { return nil }
func (m *memoryConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (m *memoryConn) SetDeadline(time.Time) error      { return nil }
func (m *memoryConn) SetReadDeadline(time.Time) error  { return nil }
func (m *memoryConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzMQTT feeds the door whatever a network can bring. No panic is caught anywhere, nothing may be
// left of the connection, and events that were stored must be readable.
func FuzzMQTT(f *testing.F) {
	for _, b := range malformed() {
		f.Add(b)
	}
	for _, v := range versions {
		d := &tester{version: v}
		for _, token := range []string{"lamp", "gateway", "provision", "wrong"} {
			b := connectPacket(v, "", token, "")
			for i, p := range [][2]string{
				{"v1/devices/me/telemetry", `[{"ts":1,"values":{"a":1}}]`},
				{"v2/a", `{"b":"x"}`},
				{"v1/devices/me/attributes/request/1", `{"clientKeys":"a"}`},
				{"v1/devices/me/rpc/request/1", `{"method":"getSessionLimits","params":{}}`},
				{"v1/devices/me/rpc/response/1", `{}`},
				{"v1/gateway/telemetry", `{"A":[{"a":1}],"B":[{"ts":1,"values":{"c":2}}]}`},
				{"v1/gateway/connect", `{"device":"A"}`},
				{"v1/gateway/attributes", `{"A":{"a":1}}`},
				{"v1/gateway/attributes/request", `{"id":1,"device":"A","client":true,"keys":["a"]}`},
				{"v1/gateway/rpc", `{"device":"A","id":1,"data":{}}`},
				{"/provision/request", `{"provisionDeviceKey":"k","provisionDeviceSecret":"s"}`},
				{"v1/devices/me/claim", ``},
			} {
				b = append(b, d.publishPacket(p[0], p[1], uint16(i))...)
			}
			sub := []byte{0, 9}
			if v == 5 {
				sub = append(sub, 0)
			}
			b = append(b, packet(0x82, append(append(sub, str("v1/devices/me/rpc/request/+")...), 1))...)
			f.Add(append(b, 0xc0, 0, 0x40, 2, 0, 1, 0xe0, 0))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s := newStand(t, true)
		s.log.Reset()
		s.guesses = guess.NewStrict() // guesses do not wait
		c := s.net.conn(&memoryConn{in: in})
		s.MQTT.mu.Lock()
		s.conns[c] = struct{}{}
		s.MQTT.mu.Unlock()
		s.serve(c)
		s.quiet()
		for _, e := range s.intake.durable() {
			unmarshalFragment(t, e.Fragment)
		}
	})
}
