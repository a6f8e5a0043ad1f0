package device

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/device/payload"
	"edgesync/sync/guess"
	"edgesync/sync/registry"
)

var versions = []byte{3, 4, 5}

func TestMQTTConnect(t *testing.T) {
	for _, c := range []struct {
		name                     string
		version                  byte
		clientID, user, password string
		code                     byte
	}{
		{"token, 3.1", 3, "c", "lamp", "", 0},
		{"token, 3.1.1", 4, "", "lamp", "", 0},
		{"token, 5", 5, "", "lamp", "", 0},
		{"password and client id are ignored", 4, "anything", "lamp", "x", 0},
		{"client id alone", 4, "known", "", "", 0},
		{"wrong token, 3.1.1", 4, "c", "nobody", "", 5},
		{"wrong token, 5", 5, "c", "nobody", "", 0x86},
		{"wrong token and password, 5", 5, "c", "nobody", "p", 0x86},
		{"unknown client id, 3.1.1", 4, "c", "", "", 2},
		{"unknown client id, 5", 5, "c", "", "", 0x85},
		{"no user but a password, 5", 5, "c", "", "p", 0x86},
		{"nothing at all, 3.1.1", 4, "", "", "", 5},
		{"nothing at all, 5", 5, "", "", "", 0x87},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t, true)
			s.book.tokens["client:known"] = registry.Device{ID: proto.UUID{9}}
			d := s.pipe(c.version)
			if code := d.connect(c.clientID, c.user, c.password); code != c.code {
				t.Fatalf("CONNACK %#x, want %#x", code, c.code)
			}
			if c.code != 0 {
				d.closed(0)
			} else {
				d.alive()
			}
		})
	}
}

// Publishes of all kinds are acknowledged and stored as they would be over HTTP.
func TestMQTTPublish(t *testing.T) {
	for _, v := range versions {
		s := newStand(t, true)
		d := s.dial(v, "lamp")
		d.ask("v1/devices/me/telemetry", `{"ts":1000,"values":{"a":1}}`, 1)
		d.ask("v2/t", `[{"ts":1000,"values":{"a":1}},{"ts":2000,"values":{"a":2.5}}]`, 2)
		d.ask("v2/t/j", `{"ts":1000,"values":{"a":"x"}}`, 3)
		d.ask("v1/devices/me/attributes", `{"fw":"1.2"}`, 4)
		d.ask("v2/a", `{"fw":"1.3"}`, 5)
		d.ask("v2/a/j", `{"fw":"1.4"}`, 6)
		d.ask("v1/devices/me/telemetry", `[]`, 7) // the server never answers this
		d.publish("v1/devices/me/telemetry", `{"ts":3000,"values":{"a":3}}`, 0)
		d.alive() // nothing is sent for QoS 0
		want := new(payload.Parser)
		var all []proto.Event
		for _, text := range []string{
			`{"ts":1000,"values":{"a":1}}`, `[{"ts":1000,"values":{"a":1}},{"ts":2000,"values":{"a":2.5}}]`,
			`{"ts":1000,"values":{"a":"x"}}`,
			`{"fw":"1.2"}`, `{"fw":"1.3"}`, `{"fw":"1.4"}`, `{"ts":3000,"values":{"a":3}}`,
		} {
			parse := want.Telemetry
			if strings.Contains(text, "fw") {
				parse = want.Attributes
			}
			events, err := parse([]byte(text), lampID, 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				e.Fragment = append([]byte(nil), e.Fragment...)
				all = append(all, e)
			}
		}
		got := s.intake.durable()
		if len(got) != len(all) {
			t.Fatalf("version %d: %d events, want %d", v, len(got), len(all))
		}
		for i := range got {
			g, w := &got[i], &all[i]
			same := g.Kind == w.Kind && g.Action == w.Action && string(g.Fragment) == string(w.Fragment)
			if !same || g.Entity != lampID {
				t.Errorf("version %d: event %d is %+v, want %+v", v, i, *g, *w)
			}
		}
	}
}

// A hundred publishes are under way before the first of them is durable. Their acknowledgements
// come after the commit, in order.
func TestMQTTAcknowledgesAfterCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, false)
		d := s.dial(4, "lamp")
		for i := range 100 {
			d.publish("v1/devices/me/telemetry", fmt.Sprintf(`{"n":%d}`, i), uint16(i+1))
		}
		d.publish("v1/devices/me/rpc/response/1", "{}", 101) // needs no medium, and waits its turn
		synctest.Wait()
		if n := len(s.intake.changed); n != 100 {
			t.Fatalf("%d submitted, want 100", n)
		}
		d.Conn.SetReadDeadline(time.Now().Add(time.Second))
		if head, _, err := d.next(); !timedOut(err) {
			t.Fatalf("an answer before the commit: %#x %v", head, err)
		}
		d.Conn.SetReadDeadline(time.Time{})
		s.intake.commit(nil)
		for i := range 101 {
			d.puback(uint16(i+1), 0)
		}
		s.MQTT.Close()
	})
}

// Slow flash holds the device up: no more than ackWindow publishes are taken.
func TestMQTTSlowFlashSlowsTheDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, false)
		d := s.dial(4, "lamp")
		go func() {
			for i := range 1000 {
				b := d.publishPacket("v1/devices/me/telemetry", `{"n":1}`, uint16(i+1))
				if _, err := d.Conn.Write(b); err != nil {
					return
				}
			}
		}()
		go func() {
			for {
				if _, _, err := d.next(); err != nil {
					return
				}
			}
		}()
		for total := ackWindow; total < 1000; total += ackWindow {
			synctest.Wait()
			if n := len(s.intake.changed); n != total {
				t.Fatalf("%d submitted, want %d", n, total)
			}
			s.intake.commit(nil)
		}
		synctest.Wait()
		if n := len(s.intake.changed); n != 1000 {
			t.Fatalf("%d submitted in the end", n)
		}
		s.MQTT.Close()
	})
}

// Neither events that the queue refuses nor those behind them are acknowledged; the connection is
// closed so that the device tries again.
func TestMQTTRefusal(t *testing.T) {
	for _, v := range versions {
		s := newStand(t, false)
		d := s.dial(v, "lamp")
		d.publish("v1/devices/me/telemetry", `{"n":1}`, 1)
		d.publish("v1/devices/me/telemetry", `{"n":2}`, 2)
		<-s.intake.changed
		<-s.intake.changed
		s.intake.commit(errors.New("full"))
		d.closed(reasonQuota)
	}
}

func TestMQTTInvalidPayload(t *testing.T) {
	for _, payload := range []string{
		``, `{`, `5`, `null`, `[5]`, `{"ts":"x","values":{}}`, `{"ts":1,"values":5}`, `{"":1}`,
		`hello`, `{a:1}//`, "{\"\xff\":}", strings.Repeat("[", 60000),
	} {
		s := newStand(t, true)
		d := s.dial(4, "lamp")
		d.publish("v1/devices/me/telemetry", payload, 1)
		d.closed(reasonPayload)
		d = s.dial(5, "lamp")
		d.publish("v1/devices/me/telemetry", payload, 1)
		d.puback(1, reasonPayload)
		d.alive()
		d.publish("v1/devices/me/telemetry", payload, 0)
		d.closed(reasonPayload)
		if n := len(s.intake.durable()); n != 0 {
			t.Errorf("%q: %d events", payload, n)
		}
	}
	s := newStand(t, true)
	s.book.profiles[proto.UUID{0xf0}] = registry.Profile{AckInvalid: true}
	d := s.dial(4, "lamp")
	d.ask("v1/devices/me/telemetry", `{`, 1)
	d.alive()
}

func TestMQTTUnknownTopics(t *testing.T) {
	for _, name := range []string{
		"", "x", "$SYS/a", "$share/a/b", "v1/devices/me", "v1/devices/me/telemetry/", "v2/t/x", "v2/a/req",
		"v1/devices/other/telemetry",
	} {
		s := newStand(t, true)
		d := s.dial(4, "lamp")
		d.ask(name, `{"a":1}`, 1)
		d.alive()
		d = s.dial(5, "lamp")
		d.publish(name, `{"a":1}`, 1)
		d.puback(1, reasonTopic)
		d.alive()
		if n := len(s.intake.durable()); n != 0 {
			t.Errorf("%q: %d events", name, n)
		}
	}
	s := newStand(t, true)
	d := s.dial(4, "lamp")
	d.publish("v1/devices/+/telemetry", `{}`, 1)
	d.closed(0)
}

// A device may subscribe to the fixed filters only, and to those of gateways only if it is one.
func TestMQTTFilters(t *testing.T) {
	s := newStand(t, true)
	for _, v := range versions {
		refused := byte(0x80)
		if v == 5 {
			refused = 0x8f
		}
		lamp, gw := s.dial(v, "lamp"), s.dial(v, "gateway")
		for f := range filters {
			for qos, want := range []byte{0, 1, 1} {
				if code := lamp.subscribe(f, byte(qos)); code != want {
					t.Errorf("version %d, %s with QoS %d: %#x", v, f, qos, code)
				}
			}
		}
		for f := range gatewayFilters {
			if code := gw.subscribe(f, 1); code != 1 {
				t.Errorf("%s: %#x", f, code)
			}
			if code := lamp.subscribe(f, 1); code != refused {
				t.Errorf("%s of a device that is no gateway: %#x", f, code)
			}
		}
		for _, f := range []string{
			"#", "+", "v1/devices/me/#", "v1/devices/+/attributes", "$share/g/v1/devices/me/attributes",
			"$SYS/#", "v2/fw/response/+", "v2/t/p", "x",
		} {
			if code := lamp.subscribe(f, 1); code != refused {
				t.Errorf("%s: %#x", f, code)
			}
		}
	}
}

// A second connection of a device takes over, whatever the client ids are. Two devices with one
// client id do not disturb each other.
func TestMQTTTakeover(t *testing.T) {
	for _, v := range versions {
		s := newStand(t, true)
		first := s.pipe(v)
		first.connect("one", "lamp", "")
		other := s.pipe(v)
		other.connect("one", "gateway", "")
		second := s.pipe(v)
		second.connect("two", "lamp", "")
		first.closed(reasonTakenOver)
		second.alive()
		other.alive()
	}
}

// Sessions end when the cloud deletes their devices or changes their credentials, and only then.
func TestMQTTRevoked(t *testing.T) {
	for _, what := range []registry.Change{registry.CredentialsChanged, registry.DeviceDeleted} {
		s := newStand(t, true)
		for _, v := range versions {
			d := s.dial(v, "lamp")
			s.DeviceChanged(registry.Device{ID: lampID}, what)
			d.closed(reasonRevoked)
		}
		d := s.dial(4, "lamp")
		s.DeviceChanged(registry.Device{ID: lampID}, registry.DeviceRenamed|registry.ProfileChanged)
		d.alive()
	}
}

// An address that brings too many wrong tokens waits for the answer to more of them; a right token
// never waits.
func TestMQTTWrongTokensAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		for i := range guess.Burst + 2 {
			began := time.Now()
			d := s.pipe(4)
			if code := d.connect("c", "guess", ""); code != 5 {
				t.Fatalf("CONNACK %d", code)
			}
			slow := time.Duration(0)
			if i >= guess.Burst {
				slow = guess.Delay
			}
			if took := time.Since(began); took != slow {
				t.Errorf("try %d took %v, want %v", i, took, slow)
			}
			began = time.Now()
			right := s.dial(4, "lamp")
			if time.Since(began) != 0 {
				t.Error("the right token waited")
			}
			right.Close()
			synctest.Wait()
		}
		s.MQTT.Close()
	})
}
