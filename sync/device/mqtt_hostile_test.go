package device

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
)

func deviceNumber(i int) registry.Device {
	return registry.Device{ID: proto.UUID{0xcc, byte(i >> 8), byte(i)}}
}

// quiet tells whether nothing is left of connections that have ended.
func (s *stand) quiet() {
	s.Helper()
	s.MQTT.mu.Lock()
	conns := len(s.conns)
	s.MQTT.mu.Unlock()
	s.Doors.mu.Lock()
	owners := len(s.owners)
	s.Doors.mu.Unlock()
	if conns != 0 || owners != 0 || s.net.out.Load() != 0 || len(s.net.large) != 0 {
		s.Errorf("left: %d connections, %d owners, %d bytes, %d large packets", conns, owners, s.net.out.Load(), len(s.net.large))
	}
}

// Whoever is slow to say who it is, or to end a packet, or silent for long, is sent away at a known
// time; whoever just rests is not.
func TestMQTTLimitsOfTime(t *testing.T) {
	for _, c := range []struct {
		name    string
		connect []byte        // "" = none
		then    []byte        // sent behind it, a byte a second
		after   time.Duration // when the door closes, from the last whole packet on
	}{
		{"silent", nil, nil, connectLimit},
		{"half a CONNECT", nil, connectPacket(4, "c", "lamp", "")[:9], connectLimit},
		{"a CONNECT that trickles", nil, connectPacket(4, strings.Repeat("c", 100), "lamp", ""), connectLimit},
		{"half a packet", connectPacket(4, "c", "lamp", ""), []byte{0x30, 100, 0, 1}, packetLimit},
		{"a packet that trickles", connectPacket(4, "c", "lamp", ""), append([]byte{0x30, 100}, make([]byte, 90)...), packetLimit},
		{"at rest", connectPacket(4, "c", "lamp", ""), nil, idleLimit},
		{"at rest with a keep-alive of an hour", func() []byte {
			b := connectPacket(4, "c", "lamp", "")
			binary.BigEndian.PutUint16(b[10:], 3600)
			return b
		}(), nil, 90 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStand(t, true)
				client, server := net.Pipe()
				s.MQTT.start(server)
				if c.connect != nil {
					client.Write(c.connect)
					io.ReadFull(client, make([]byte, 4))
				}
				began := time.Now()
				var writing sync.WaitGroup
				writing.Go(func() {
					for _, b := range c.then {
						if _, err := client.Write([]byte{b}); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				})
				if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					t.Errorf("read %d, %v", n, err)
				}
				if took := time.Since(began); took != c.after {
					t.Errorf("closed after %v, want %v", took, c.after)
				}
				client.Close()
				writing.Wait()
				synctest.Wait()
				s.quiet()
				s.MQTT.Close()
			})
		})
	}
}

// A device that publishes and never reads: it is held up, then sent away; the others are not held
// up, and memory is bounded.
func TestMQTTNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		client, server := net.Pipe()
		s.MQTT.start(server)
		client.Write(connectPacket(4, "c", "gateway", ""))
		io.ReadFull(client, make([]byte, 4))
		began := time.Now()
		d := &tester{T: t, version: 4}
		go func() {
			for i := uint16(1); ; i++ {
				if _, err := client.Write(d.publishPacket("v1/devices/me/telemetry", `{"a":1}`, i|1)); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		if n := s.net.out.Load(); n < stallOut || n > stallOut+8<<10 {
			t.Errorf("%d bytes wait for it", n)
		}
		other := s.dial(4, "lamp")
		other.ask("v1/devices/me/telemetry", `{"a":1}`, 1)
		other.Close()
		synctest.Wait()
		time.Sleep(sendLimit - time.Since(began))
		synctest.Wait()
		s.quiet()
		s.MQTT.Close()
	})
}

// Over TLS too the end of a connection waits for nobody: the committer and the loop may cause it.
func TestMQTTEndOverTLSDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		client, server := net.Pipe()
		now := time.Now()
		s.MQTT.start(tls.Server(server, TLSConfig(certificate(t, now.Add(-time.Hour), now.Add(time.Hour)))))
		c := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
		c.Write(connectPacket(4, "c", "lamp", ""))
		io.ReadFull(c, make([]byte, 4))
		synctest.Wait()
		o, ok := s.owner(lampID)
		if !ok {
			t.Fatal("no session")
		}
		began := time.Now()
		o.session.conn.kill()
		if took := time.Since(began); took != 0 {
			t.Errorf("the end took %v", took)
		}
		client.Close()
		synctest.Wait()
		s.quiet()
		s.MQTT.Close()
	})
}

// A device that takes no commands any more is closed when too much waits for it.
func TestMQTTNeverReadsWhatIsPushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		d := s.dial(4, "lamp")
		d.subscribe("v1/devices/me/attributes", 1)
		kv := []proto.KV{{Key: []byte("k"), Type: proto.KeyValueType_STRING_V, Str: []byte(strings.Repeat("x", 1000))}}
		for range 300 {
			s.SharedAttributes(lampID, kv, nil)
			if n := s.net.out.Load(); n > maxOut {
				t.Fatalf("%d bytes wait", n)
			}
		}
		synctest.Wait()
		s.quiet()
		s.MQTT.Close()
	})
}

// A device that acknowledges nothing gets no more QoS 1 messages than it said it takes.
func TestMQTTNeverAcknowledges(t *testing.T) {
	s := newStand(t, true)
	d := s.pipe(5)
	b := connectPacket(5, "", "lamp", "")
	b = append(b[:12:12], append([]byte{3, 0x21, 0, 2}, b[13:]...)...) // Receive Maximum 2
	b[1] += 3
	d.write(b)
	d.read()
	d.subscribe("v1/devices/me/attributes", 1)
	for i := range 4 {
		s.SharedAttributes(lampID, []proto.KV{long("a", 1)}, nil)
		head, body := d.read()
		if want := byte(0x32); i >= 2 {
			if head != 0x30 {
				t.Errorf("message %d: %#x", i, head)
			}
		} else if head != want {
			t.Errorf("message %d: %#x", i, head)
		} else if i == 1 {
			d.write(append([]byte{0x40, 2}, body[26:28]...))
			d.alive()
			s.SharedAttributes(lampID, []proto.KV{long("a", 1)}, nil)
			if head, _ := d.read(); head != 0x32 {
				t.Errorf("after a PUBACK: %#x", head)
			}
		}
	}
}

// The largest packet passes; one byte more closes.
func TestMQTTPacketSize(t *testing.T) {
	s := newStand(t, true)
	for _, v := range versions {
		d := s.dial(v, "lamp")
		over := 2 + len("v1/devices/me/telemetry") + 2 + len(`{"a":""}`)
		if v == 5 {
			over++
		}
		text := strings.Repeat("x", maxRemaining-over)
		d.ask("v1/devices/me/telemetry", `{"a":"`+text+`"}`, 1)
		go d.Conn.Write(d.publishPacket("v1/devices/me/telemetry", `{"a":"x`+text+`"}`, 2))
		d.closed(reasonMalformed)
	}
	if n := len(s.intake.durable()); n != 3 {
		t.Errorf("%d events", n)
	}
}

// Many large packets that do not end hold little memory and nobody up who is small.
func TestMQTTManyLargePackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		body := append([]byte{0x32, 0x80, 0x80, 4}, make([]byte, 60000)...)
		for i := range 100 {
			s.book.enrol(fmt.Sprint("large", i), deviceNumber(i))
			client, server := net.Pipe()
			s.MQTT.start(server)
			client.Write(connectPacket(4, "", fmt.Sprint("large", i), ""))
			io.ReadFull(client, make([]byte, 4))
			go client.Write(body)
		}
		synctest.Wait()
		total := 0
		s.MQTT.mu.Lock()
		for c := range s.conns {
			total += cap(c.in)
		}
		s.MQTT.mu.Unlock()
		d := s.dial(4, "gateway")
		d.ask("v1/devices/me/telemetry", `{"a":1}`, 1)
		if n := len(s.net.large); n != largePackets {
			t.Errorf("%d packets may be large", n)
		}
		if bound := largePackets*(maxRemaining+8) + 100*2*smallPacket; total > bound {
			t.Errorf("%d bytes are held, at most %d", total, bound)
		}
		d.Close()
		time.Sleep(10 * packetLimit)
		synctest.Wait()
		s.quiet()
		s.MQTT.Close()
	})
}

// Broken packets end the connection and nothing else; what is no CONNECT first too.
func TestMQTTMalformed(t *testing.T) {
	s := newStand(t, true)
	for i, b := range malformed() {
		d := s.pipe(4)
		go d.Conn.Write(b)
		for {
			if _, _, err := d.next(); timedOut(err) {
				t.Fatalf("packet %d, %x, leaves the connection open", i, b)
			} else if err != nil {
				break
			}
		}
	}
	s.dial(4, "lamp").alive()
}

// malformed packets; where a CONNECT precedes them they come from somebody we know.
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
		connectPacket(4, strings.Repeat("x", smallPacket), "lamp", ""),
		[]byte("GET / HTTP/1.1\r\n\r\n" + strings.Repeat("x", 200)),
		packet(0x30, append(str("v1/devices/me/telemetry"), `{"a":1}`...)),
		join(in5, packet(0x82, join([]byte{0, 1, 0}, str("v1/devices/me/attributes")))), // without its options: the library reads beyond the end
		join(in4, packet(0x82, join([]byte{0, 1}, str("v1/devices/me/attributes")))),
		join(in4, packet(0x36, join(str("x"), []byte{0, 1}))), // QoS 3
		join(in4, packet(0x32, join(str("x"), []byte{0, 0}))), // packet id 0
		join(in4, packet(0x32, str("x"))),
		join(in4, packet(0x30, []byte{0xff, 0xff, 'x'})),
		join(in4, packet(0x00, nil)),
		join(in4, in4),
		join(in5, packet(0x30, join(str("x"), []byte{0xff, 0xff, 0xff, 0xff, 0xff}))),
		join(in5, packet(0x32, join(str(""), []byte{0, 1, 3, 0x23, 0, 1}))), // an alias that was not offered
	}
}

// memoryConn is a connection whose device has sent all it ever will.
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

// FuzzMQTT feeds the door whatever a network can: nothing may be left behind, and what was stored
// must be readable.
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
		s.wrong.waiting = make(chan struct{}) // nobody waits
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

// A thousand connections take little memory each, and one goroutine.
func TestMQTTThousandConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("opens a thousand sockets")
	}
	s := newStand(t, true)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.MQTT.Serve(l) }()
	var clients []net.Conn
	for i := range 1000 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			if strings.Contains(err.Error(), "too many open files") {
				t.Skip("not so many files may be open here: ", err)
			}
			t.Fatal(err)
		}
		clients = append(clients, c)
		s.book.enrol(fmt.Sprint("many", i), deviceNumber(i))
		c.Write(connectPacket(4, "", fmt.Sprint("many", i), ""))
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Connections(); n != 1000 {
		t.Errorf("%d connections", n)
	}
	for i, c := range clients {
		c.Write((&tester{version: 4}).publishPacket("v1/devices/me/telemetry", fmt.Sprintf(`{"n":%d}`, i), 1))
		ack := make([]byte, 4)
		if _, err := io.ReadFull(c, ack); err != nil || string(ack) != "\x40\x02\x00\x01" {
			t.Fatalf("%x %v", ack, err)
		}
	}
	if n := len(s.intake.durable()); n != 1000 {
		t.Errorf("%d events", n)
	}
	s.MQTT.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
	for _, c := range clients {
		if _, err := c.Read(make([]byte, 1)); err != io.EOF && !os.IsTimeout(err) {
			t.Fatalf("after the end: %v", err)
		}
		c.Close()
	}
	s.quiet()
}

// closesLate ends the connection just before the deadline of the next read is set.
type closesLate struct {
	net.Conn
	conn *mqttConn
}

func (c *closesLate) SetReadDeadline(t time.Time) error {
	if conn := c.conn; conn != nil && t.After(time.Now()) {
		c.conn = nil
		conn.Close()
	}
	return c.Conn.SetReadDeadline(t)
}

// A connection that is closed while its reader is about to wait does not wait: a revoked device
// would stay connected for ten minutes.
func TestCloseBeforeTheReaderWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		late := &closesLate{Conn: here}
		c := newMQTTNet().conn(late)
		late.conn = c
		begin := time.Now()
		if _, err := c.frame(); err == nil {
			t.Error("a packet came out of nothing")
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("the reader waited %v", d)
		}
	})
}
