package device

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/registry"
)

// TestContractOfMQTT goes through the rows of API.md for which no other test stands. A name begins
// with its section. "Deliberately" marks where the edge is milder or cleaner than the server
// (API.md 8).
func TestContractOfMQTT(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(s *stand)
	}{
		{"3.1 a client id of 300 characters", func(s *stand) {
			if code := s.pipe(4).connect(strings.Repeat("c", 300), "lamp", ""); code != 0 {
				s.Errorf("CONNACK %d", code)
			}
		}},
		// In MQTT 5 the only property is a client id that was assigned.
		{"3.1 session present is 0, deliberately, and there are no properties", func(s *stand) {
			for _, v := range versions {
				d := s.pipe(v)
				d.connect("c", "lamp", "")
				want := "0000"
				if v == 5 {
					want += "00"
				}
				if fmt.Sprintf("%x", d.connack) != want {
					s.Errorf("version %d: CONNACK %x", v, d.connack)
				}
				d.Close()
			}
		}},
		{"3.1 an unknown protocol, level, or a reserved flag is closed without a CONNACK", func(s *stand) {
			good := connectPacket(4, "", "lamp", "")
			for _, change := range []func(b []byte){
				func(b []byte) { b[5] = 'X' }, // of MQTT
				func(b []byte) { b[8] = 6 },   // the level
				func(b []byte) { b[9] |= 1 },  // the flags
			} {
				b := append([]byte(nil), good...)
				change(b)
				d := s.pipe(4)
				d.write(b)
				d.closed(0)
			}
		}},
		{"3.1 a QoS 2 publish is stored; deliberately it is answered as the standard says", func(s *stand) {
			d := s.dial(4, "lamp")
			b := d.publishPacket("v1/devices/me/telemetry", `{"a":1}`, 7)
			b[0] = 0x34
			d.write(b)
			if head, body := d.read(); head != 0x50 || body[1] != 7 {
				s.Errorf("%#x %x, want PUBREC", head, body)
			}
			d.write([]byte{0x62, 2, 0, 7})
			if head, body := d.read(); head != 0x70 || body[1] != 7 {
				s.Errorf("%#x %x, want PUBCOMP", head, body)
			}
			if n := len(s.intake.durable()); n != 1 {
				s.Errorf("%d events", n)
			}
		}},
		{"3.1 SUBSCRIBE with QoS 3 or other flags closes", func(s *stand) {
			for _, b := range [][]byte{
				packet(0x82, append(append([]byte{0, 1}, str("v1/devices/me/attributes")...), 3)),
				packet(0x80, append(append([]byte{0, 1}, str("v1/devices/me/attributes")...), 1)),
			} {
				d := s.dial(4, "lamp")
				d.write(b)
				d.closed(0)
			}
		}},
		{"3.1 what is sent has the quality of the latest subscription", func(s *stand) {
			d := s.dial(4, "lamp")
			for _, qos := range []byte{1, 0, 1} {
				d.subscribe("v1/devices/me/attributes", qos)
				s.SharedAttributes(lampID, []proto.KV{long("a", 1)}, nil)
				if _, _, got := d.message(); got != qos {
					s.Errorf("QoS %d, want %d", got, qos)
				}
			}
		}},
		{"3.1 without a subscription answers come with QoS 1", func(s *stand) {
			d := s.dial(4, "lamp")
			d.ask("v1/devices/me/attributes/request/1", `{}`, 1)
			topic, payload, qos := d.message()
			if topic != "v1/devices/me/attributes/response/1" || payload != "{}" || qos != 1 {
				s.Errorf("%s %s %d", topic, payload, qos)
			}
		}},
		{"3.1 a second CONNECT, and anything before the first, ends the connection, deliberately", func(s *stand) {
			d := s.dial(4, "lamp")
			d.write(connectPacket(4, "", "lamp", ""))
			d.closed(0)
			d = s.pipe(4)
			d.write([]byte{0xc0, 0})
			d.closed(0)
		}},
		{"3.1 many packets behind the CONNECT are worked on in their order", func(s *stand) {
			d := s.pipe(4)
			b := connectPacket(4, "", "lamp", "")
			for i := range 100 {
				b = append(b, d.publishPacket("v1/devices/me/telemetry", `{"a":1}`, uint16(i+1))...)
			}
			go d.Conn.Write(b)
			if head, body := d.read(); head != 0x20 || body[1] != 0 {
				s.Fatalf("%#x %x", head, body)
			}
			for i := range 100 {
				d.puback(uint16(i+1), 0)
			}
		}},
		{"3.2 provisioning by client id, and case matters", func(s *stand) {
			if code := s.pipe(4).connect("provision", "", ""); code != 0 {
				s.Errorf("CONNACK %d", code)
			}
			if code := s.pipe(4).connect("", "Provision", ""); code != 5 {
				s.Errorf("CONNACK %d", code)
			}
		}},
		{"3.3 a number in the topic that is none", func(s *stand) {
			for _, name := range []string{
				"v1/devices/me/rpc/request/x", "v1/devices/me/attributes/request/", "v2/r/res/99999999999",
			} {
				d := s.dial(5, "lamp")
				d.publish(name, `{"method":"m","params":{}}`, 1)
				d.puback(1, reasonPayload) // deliberately it stays
				d.alive()
				d = s.dial(4, "lamp")
				d.publish(name, `{"method":"m","params":{}}`, 1)
				d.closed(0)
			}
		}},
		{"4.1 a negative request id is answered, deliberately", func(s *stand) {
			d := s.dial(4, "lamp")
			d.ask("v1/devices/me/attributes/request/-5", `{}`, 1)
			d.expect("v1/devices/me/attributes/response/-5 {}")
		}},
		{"4.1 answers use the spelling of the latest subscription", func(s *stand) {
			d := s.dial(4, "lamp")
			d.ask("v1/devices/me/rpc/request/1", `{"method":"m"}`, 1)
			r := <-s.calls.requests
			d.subscribe("v2/r/res/+", 1)
			r.Reply([]byte("1"), nil)
			d.expect("v2/r/res/1 1")
		}},
		{"4.1 UNSUBACK says in MQTT 5 whether there was a subscription; one spelling ends all", func(s *stand) {
			d := s.dial(5, "lamp")
			d.subscribe("v2/a/j", 1)
			for _, want := range []byte{0, 0x11} {
				d.write(packet(0xa2, append([]byte{0, 7, 0}, str("v1/devices/me/attributes")...)))
				if head, body := d.read(); head != 0xb0 || body[len(body)-1] != want {
					s.Errorf("%#x %x, want %#x", head, body, want)
				}
			}
			s.SharedAttributes(lampID, []proto.KV{long("a", 1)}, nil)
			d.alive()
		}},
		{"4.1 UNSUBSCRIBE ends the delivery of commands", func(s *stand) {
			d := s.dial(4, "lamp")
			d.subscribe("v1/devices/me/rpc/request/+", 1)
			d.write(packet(0xa2, append([]byte{0, 7}, str("v1/devices/me/rpc/request/+")...)))
			d.read()
			if s.Deliver(&agent.Call{Device: lampID, ID: 1, Method: "m"}) {
				s.Error("delivered")
			}
		}},
		{"4.1 protobuf without a schema is refused in words; /j forces JSON", func(s *stand) {
			d := s.dial(5, "lamp")
			for _, name := range []string{"v2/t/p", "v2/a/p", "v2/r/res/p/1"} {
				d.publish(name, "\x08\x01", 1)
				d.puback(1, reasonPayload)
			}
			s.book.profiles[proto.UUID{0xf0}] = registry.Profile{ConfiguredForMQTT: true, Protobuf: true}
			d.Close()
			d = s.dial(5, "lamp")
			d.publish("v1/devices/me/telemetry", "\x08\x01", 1)
			d.puback(1, reasonPayload)
			d.ask("v2/t/j", `{"a":1}`, 2)
			if !strings.Contains(s.log.String(), "no protobuf schema for this") {
				s.Errorf("log: %s", s.log)
			}
		}},
		{"4.1 topics of the profile without a topic for attributes leave the usual one", func(s *stand) {
			s.book.profiles[proto.UUID{0xf0}] = registry.Profile{ConfiguredForMQTT: true, TelemetryTopic: "my/t"}
			d := s.dial(5, "lamp")
			d.ask("v1/devices/me/attributes", `{"a":1}`, 1)
			d.publish("my/a", `{"a":1}`, 2)
			d.puback(2, reasonTopic)
		}},
		{"4.2 a command goes to all that wait, and the first answer counts", func(s *stand) {
			d := s.dial(4, "lamp")
			d.subscribe("v1/devices/me/rpc/request/+", 0)
			polled := make(chan string, 1)
			go func() {
				w := httptest.NewRecorder()
				NewHTTP(s.Doors, 0).ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/lamp/rpc?timeout=20000", nil))
				polled <- w.Body.String()
			}()
			for ; ; runtime.Gosched() { // until the poll waits
				s.Doors.mu.Lock()
				n := len(s.polls)
				s.Doors.mu.Unlock()
				if n > 0 {
					break
				}
			}
			if !s.Deliver(&agent.Call{Device: lampID, ID: 5, Method: "m", Params: "1"}) {
				s.Error("nobody there")
			}
			d.expect(`v1/devices/me/rpc/request/5 {"method":"m","params":1}`)
			if got := <-polled; got != `{"id":5,"method":"m","params":1}` {
				s.Errorf("the poll got %s", got)
			}
		}},
		{"4.3 a QoS 0 publish of a gateway is stored and nothing is sent back", func(s *stand) {
			for _, v := range versions {
				g := s.dial(v, "gateway")
				g.publish("v1/gateway/telemetry", `{"A":[{"a":1}]}`, 0)
				g.publish("v1/gateway/connect", `{"device":"A"}`, 0)
				g.publish("v1/gateway/nonsense", `{}`, 0)
				g.alive()
				g.Close()
			}
			if n := len(s.intake.durable()); n != 3 {
				s.Errorf("%d events", n)
			}
		}},
		{"4.3 an unknown topic of the gateway", func(s *stand) {
			g := s.dial(4, "gateway")
			g.ask("v1/gateway/nonsense", `{}`, 1)
			g.alive()
		}},
		{"4.3 of two gateways the later speaks for a device, silently", func(s *stand) {
			s.book.enrol("gateway2", registry.Device{ID: proto.UUID{0x04}, Name: "Gateway 2", Gateway: true})
			one, two := s.dial(4, "gateway"), s.dial(4, "gateway2")
			one.ask("v1/gateway/connect", `{"device":"A"}`, 1)
			two.ask("v1/gateway/connect", `{"device":"A"}`, 1)
			a, _ := s.book.ByName("A")
			s.SharedAttributes(a.ID, []proto.KV{long("x", 1)}, nil)
			two.expect(`v1/gateway/attributes {"device":"A","data":{"x":1}}`)
			one.alive()
			one.ask("v1/gateway/attributes", `{"A":{"y":1}}`, 2)
			s.SharedAttributes(a.ID, []proto.KV{long("x", 2)}, nil)
			one.expect(`v1/gateway/attributes {"device":"A","data":{"x":2}}`)
			two.alive()
		}},
		{"4.3 names keep their spaces", func(s *stand) {
			g := s.dial(4, "gateway")
			g.ask("v1/gateway/connect", `{"device":" A "}`, 1)
			if _, ok := s.book.ByName(" A "); !ok || len(s.book.births) != 1 {
				s.Errorf("made %+v", s.book.births)
			}
		}},
		{"4.3 what the server never acknowledges is answered, deliberately", func(s *stand) {
			g := s.dial(5, "gateway")
			g.ask("v1/gateway/telemetry", `{"A":[],"B":[{"a":1}]}`, 1)
			g.publish("v1/gateway/telemetry", `{"`+strings.Repeat("x", 256)+`":[{"a":1}],"B":[{"a":1}]}`, 2)
			g.puback(2, reasonPayload)
			g.publish("v1/gateway/telemetry", `{"":[{"a":1}]}`, 3)
			g.puback(3, reasonPayload)
			if n := len(s.intake.durable()); n != 2 { // of B, twice
				s.Errorf("%d events", n)
			}
		}},
		{"4.3 a deleted device is made anew by the next publish", func(s *stand) {
			g := s.dial(4, "gateway")
			g.ask("v1/gateway/telemetry", `{"A":[{"a":1}]}`, 1)
			a, _ := s.book.ByName("A")
			s.book.mu.Lock()
			for token, d := range s.book.tokens {
				if d.ID == a.ID {
					delete(s.book.tokens, token)
				}
			}
			s.book.mu.Unlock()
			s.DeviceChanged(a, registry.DeviceDeleted)
			g.ask("v1/gateway/telemetry", `{"A":[{"a":1}]}`, 2)
			if again, ok := s.book.ByName("A"); !ok || again.ID == a.ID {
				s.Errorf("%+v", again)
			}
		}},
		{"4.3 the gateway is deleted: its connection ends", func(s *stand) {
			g := s.dial(5, "gateway")
			g.ask("v1/gateway/connect", `{"device":"A"}`, 1)
			s.DeviceChanged(registry.Device{ID: gatewayID}, registry.DeviceDeleted)
			g.closed(reasonRevoked)
		}},
		{"5 several requests in a session, without a subscription, and a gateway", func(s *stand) {
			s.creates()
			d := s.pipe(4)
			d.connect("", "provision", "")
			for i, gateway := range []string{"true", `"true"`, "false"} {
				request := wantsCreation(fmt.Sprintf(`,"deviceName":"N%d","gateway":%s`, i, gateway))
				d.ask("/provision/request", request, uint16(i+1))
				if _, payload, qos := d.message(); qos != 1 || !strings.Contains(payload, `"status":"SUCCESS"`) {
					s.Errorf("%s with QoS %d", payload, qos)
				}
				if b := s.book.births[i]; b.IsGateway != (i < 2) {
					s.Errorf("%s: %+v", gateway, b)
				}
			}
		}},
		{"5 no name: 20 letters and digits", func(s *stand) {
			s.creates()
			d := s.pipe(4)
			d.connect("", "provision", "")
			d.ask("/provision/request", wantsCreation(""), 1)
			d.message()
			name := s.book.births[0].Name
			if len(name) != 20 || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
				s.Errorf("named %q", name)
			}
		}},
		{"5 credentials named and not given fall back to a token", func(s *stand) {
			s.creates()
			d := s.pipe(4)
			d.connect("", "provision", "")
			d.ask("/provision/request", wantsCreation(`,"credentialsType":"X509_CERTIFICATE"`), 1)
			if _, payload, _ := d.message(); !strings.Contains(payload, `"credentialsType":"ACCESS_TOKEN"`) {
				s.Error(payload)
			}
		}},
		{"5 what is no request: refused; an empty one is protobuf and not found", func(s *stand) {
			d := s.pipe(4)
			d.connect("", "provision", "")
			d.ask("/provision/request", "", 1)
			d.expect("/provision/response \x08\x02")
			for _, payload := range []string{`{`, `[]`, `{"provisionDeviceKey":1,"provisionDeviceSecret":"s"}`} {
				d := s.pipe(5)
				d.connect("", "provision", "")
				d.publish("/provision/request", payload, 1)
				d.puback(1, reasonPayload)
				d = s.pipe(4)
				d.connect("", "provision", "")
				d.publish("/provision/request", payload, 1)
				d.closed(0)
			}
		}},
		{"5 the medium refuses: nothing is promised", func(s *stand) {
			s.creates()
			s.book.birthError = errors.New("full")
			d := s.pipe(5)
			d.connect("", "provision", "")
			d.publish("/provision/request", wantsCreation(""), 1)
			d.closed(reasonQuota)
		}},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(newStand(t, true)) })
	}
}

// A device that asks for its session to be kept is answered that it is not (MQTT 5, 3.2.2.3.2):
// nothing is held for devices that are away.
func TestMQTTSessionExpiry(t *testing.T) {
	s := newStand(t, true)
	d := s.pipe(5)
	b := connectPacket(5, "c", "lamp", "")
	// A session expiry of 0xffffffff: never.
	b = append(b[:12:12], append([]byte{5, 0x11, 0xff, 0xff, 0xff, 0xff}, b[13:]...)...)
	b[1] += 5
	d.write(b)
	if head, body := d.read(); head != 0x20 || fmt.Sprintf("%x", body) != "0000051100000000" {
		t.Errorf("%#x %x", head, body)
	}
	d.Close()
	d = s.dial(4, "lamp") // asks for a clean session; the next one does not, and is not kept either
	d.subscribe("v1/devices/me/attributes", 1)
	d.Close()
	kept := connectPacket(4, "c", "lamp", "")
	kept[9] &^= 2 // clean session
	d = s.pipe(4)
	d.write(kept)
	if head, body := d.read(); head != 0x20 || body[0] != 0 || body[1] != 0 {
		t.Errorf("%#x %x", head, body)
	}
	s.SharedAttributes(lampID, []proto.KV{long("a", 1)}, nil)
	d.alive()
}

// A connection without credentials ends after a minute, also when it goes on asking (API.md 5).
func TestContractOfAProvisioningSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		d := s.pipe(4)
		d.SetDeadline(time.Time{})
		d.connect("", "provision", "")
		began := time.Now()
		for {
			if _, err := d.Conn.Write([]byte{0xc0, 0}); err != nil {
				break
			}
			if _, _, err := d.next(); err != nil {
				break
			}
			time.Sleep(7 * time.Second)
		}
		if took := time.Since(began); took < provisionLimit || took > provisionLimit+7*time.Second {
			t.Errorf("it stayed %v", took)
		}
		s.MQTT.Close()
	})
}
