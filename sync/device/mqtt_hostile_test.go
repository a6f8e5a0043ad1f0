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

// quiet expects that nothing is left of connections that have ended.
func (s *stand) quiet() {
	s.Helper()
	s.MQTT.mu.Lock()
	conns := len(s.conns)
	s.MQTT.mu.Unlock()
	s.Doors.mu.Lock()
	owners := len(s.owners)
	s.Doors.mu.Unlock()
	if conns != 0 || owners != 0 || s.net.out.Load() != 0 || s.net.large.Used() != 0 {
		s.Errorf("left: %d connections, %d owners, %d bytes, %d bytes of large packets",
			conns, owners, s.net.out.Load(), s.net.large.Used())
	}
}

// A connection ends at a known time when its device is slow to send its CONNECT or to end a packet,
// or silent for longer than it may be.
func TestMQTTLimitsOfTime(t *testing.T) {
	for _, c := range []struct {
		name    string
		connect []byte        // nil: none
		then    []byte        // sent behind connect, a byte a second
		after   time.Duration // from the last whole packet to the end of the connection
	}{
		{"silent", nil, nil, connectLimit},
		{"half a CONNECT", nil, connectPacket(4, "c", "lamp", "")[:9], connectLimit},
		{"a CONNECT that trickles", nil, connectPacket(4, strings.Repeat("c", 100), "lamp", ""), connectLimit},
		{"half a packet", connectPacket(4, "c", "lamp", ""), []byte{0x30, 100, 0, 1}, packetLimit},
		{
			"a packet that trickles", connectPacket(4, "c", "lamp", ""),
			append([]byte{0x30, 100}, make([]byte, 90)...), packetLimit,
		},
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

// A device that publishes and never reads is held up, then its connection is closed. Other devices
// are not held up, and memory is bounded.
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

// The end of a connection waits for nobody over TLS either: the committer and the loop may cause
// it.
func TestMQTTEndOverTLSDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		client, server := net.Pipe()
		now := time.Now()
		s.MQTT.start(tls.Server(server, TLSConfig(always(certificate(t, now.Add(-time.Hour), now.Add(time.Hour))))))
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

// The connection of a device that reads no more is closed when too much waits to be sent.
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

// A device that acknowledges nothing gets no more messages with QoS 1 than its Receive Maximum.
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

// The largest packet passes; a packet of one byte more closes the connection.
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

// Many large packets that do not end hold little memory, and hold up nobody whose packets are
// small.
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
		if n := s.net.large.Used(); n > largePackets || n < largePackets/2 {
			t.Errorf("large packets hold %d bytes", n)
		}
		if bound := largePackets + 100*2*smallPacket; total > bound {
			t.Errorf("%d bytes are held, at most %d", total, bound)
		}
		d.Close()
		time.Sleep(10 * packetLimit)
		synctest.Wait()
		s.quiet()
		s.MQTT.Close()
	})
}

// A large packet that goes on does not wait for twenty that do not.
func TestMQTTLargePacketsDoNotWaitForStalledOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		body := append([]byte{0x32, 0x80, 0x80, 4}, make([]byte, 60000)...)
		for i := range 20 {
			s.book.enrol(fmt.Sprint("large", i), deviceNumber(i))
			client, server := net.Pipe()
			s.MQTT.start(server)
			client.Write(connectPacket(4, "", fmt.Sprint("large", i), ""))
			io.ReadFull(client, make([]byte, 4))
			go client.Write(body)
		}
		synctest.Wait()
		d := s.dial(4, "gateway")
		for i := range uint16(20) {
			began := time.Now()
			d.ask("v1/devices/me/telemetry", `{"a":"`+strings.Repeat("x", 60000)+`"}`, i+1)
			if took := time.Since(began); took > 3*time.Second || i > 0 && took > 0 {
				t.Errorf("large packet %d took %v", i, took)
			}
		}
		d.Close()
		time.Sleep(10 * packetLimit)
		synctest.Wait()
		s.quiet()
		s.MQTT.Close()
	})
}

// Connections of nobody, also those that ask for credentials, have no share in large packets.
func TestMQTTNobodyHoldsLargePackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		body := append([]byte{0x32, 0x80, 0x80, 4}, make([]byte, 60000)...)
		for i := range 40 {
			client, server := net.Pipe()
			s.MQTT.start(server)
			if i%2 == 0 {
				client.Write(connectPacket(4, "", provisionUser, ""))
				io.ReadFull(client, make([]byte, 4))
			}
			go client.Write(body)
			defer client.Close()
		}
		synctest.Wait()
		if n := s.net.large.Used(); n != 0 {
			t.Errorf("nobody holds %d bytes", n)
		}
		d := s.dial(4, "lamp")
		began := time.Now()
		d.ask("v1/devices/me/telemetry", `{"a":"`+strings.Repeat("x", 60000)+`"}`, 1)
		if took := time.Since(began); took != 0 {
			t.Errorf("a large packet took %v", took)
		}
		d.Close()
		time.Sleep(2 * provisionLimit)
		synctest.Wait()
		s.quiet()
		s.MQTT.Close()
	})
}

// While the medium is slow, large packets wait for it and no device is cut off for that.
func TestMQTTLargePacketsOutlastASlowMedium(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, false)
		text := `{"a":"` + strings.Repeat("x", 60000) + `"}`
		var devices []*tester
		for i := range 15 {
			s.book.enrol(fmt.Sprint("large", i), deviceNumber(i))
			d := s.dial(4, fmt.Sprint("large", i))
			_ = d.SetDeadline(time.Time{})
			d.publish("v1/devices/me/telemetry", text, 1)
			devices = append(devices, d)
		}
		time.Sleep(2 * packetLimit)
		s.intake.commit(nil)
		for _, d := range devices {
			d.puback(1, 0)
			d.Close()
		}
		synctest.Wait()
		s.quiet()
		s.MQTT.Close()
	})
}

// A malformed packet ends its connection and nothing else; so does a first packet that is no
// CONNECT.
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

// A device that speaks MQTT 5 is sent the reason before its connection ends, and the log has what
// is wrong with the packet.
func TestMQTTReasonsOfMalformedPackets(t *testing.T) {
	for _, c := range []struct {
		packet []byte
		reason byte
		log    string
	}{
		{packet(0x32, []byte{0, 1, 'x', 0, 0, 0}), reasonMalformed, "PUBLISH: packet id: 0"},
		{packet(0x82, []byte{0, 1, 0, 0, 1, 'x'}), reasonMalformed, "SUBSCRIBE: options of a filter: cut off"},
		{packet(0xa2, []byte{0, 1, 0}), reasonMalformed, "UNSUBSCRIBE: filters: none"},
		{packet(0x40, []byte{1}), reasonMalformed, "PUBACK: packet id: cut off"},
		{packet(0x60, []byte{0, 1}), reasonMalformed, "PUBREL: flags of the header: reserved bits are wrong"},
		{[]byte{0x30, 0xff, 0xff, 0xff, 0xff}, reasonMalformed, "PUBLISH: remaining length: longer than 4 bytes"},
		{[]byte{0x30, 0x81, 0x80, 0x04}, reasonMalformed, "a packet is longer than 65536 bytes"},
		{
			packet(0x30, []byte{0, 1, 'x', 4, 1, 0, 1, 0}), reasonProtocol,
			"PUBLISH: properties: one that may come once comes twice",
		},
		{packet(0xf0, []byte{0x18, 0}), reasonProtocol, "AUTH: type: must not come now"},
		{packet(0xd0, nil), reasonProtocol, "PINGRESP: type: must not come now"},
		{connectPacket(5, "", "lamp", ""), reasonProtocol, "CONNECT: type: must not come now"},
	} {
		s := newStand(t, true)
		d := s.dial(5, "lamp")
		go d.Conn.Write(c.packet)
		d.closed(c.reason)
		s.MQTT.Close()
		if text := s.log.String(); !strings.Contains(text, c.log) {
			t.Errorf("%x: %q is not in the log\n%s", c.packet, c.log, text)
		}
	}
}

// A thousand connections take little memory each, and one goroutine.
func TestMQTTThousandConnections(t *testing.T) {
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

// closesLate closes the connection just before the deadline of the next read is set.
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

// A connection that is closed while its reader is about to wait does not wait: else a revoked
// device would stay connected for ten minutes.
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
