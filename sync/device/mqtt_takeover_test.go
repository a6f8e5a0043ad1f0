package device

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"edgesync/proto"
)

// slowMedium is an intake that holds up every submit until hold is closed.
type slowMedium struct {
	*deferred
	came chan struct{} // one token for each submit
	hold chan struct{}
}

func (m *slowMedium) Submit(ctx context.Context, events []proto.Event, done func(error)) error {
	m.came <- struct{}{}
	<-m.hold
	return m.deferred.Submit(ctx, events, done)
}

// When a device connects again, what came over its old connection is handled, also what was not
// read yet. Then the old connection ends, and then the device gets its CONNACK.
func TestMQTTTakeoverHandlesWhatHasCome(t *testing.T) {
	const publishes = 50
	for _, c := range []struct {
		name    string
		version byte
		qos     uint16
		secure  bool
	}{
		{"3.1.1, QoS 0", 4, 0, false},
		{"3.1.1, QoS 1", 4, 1, false},
		{"5, QoS 0", 5, 0, false},
		{"5, QoS 0, TLS", 5, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t, true)
			medium := &slowMedium{s.intake, make(chan struct{}, publishes+1), make(chan struct{})}
			s.Doors.Intake = medium
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := l.Addr().String()
			if c.secure {
				now := time.Now()
				l = tls.NewListener(l, TLSConfig(always(certificate(t, now.Add(-time.Hour), now.Add(time.Hour)))))
			}
			go s.Serve(l)
			dial := func() *tester {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				if c.secure {
					conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
				}
				t.Cleanup(func() { conn.Close() })
				conn.SetDeadline(time.Now().Add(2 * time.Minute))
				return &tester{T: t, Conn: conn, in: bufio.NewReader(conn), version: c.version}
			}
			first, second := dial(), dial()
			if code := first.connect("", "lamp", ""); code != 0 {
				t.Fatalf("CONNACK %#x", code)
			}
			old, _ := s.owner(lampID)
			for i := range publishes {
				payload := fmt.Sprintf(`{"ts":%d,"values":{"n":%d}}`, i+1, i)
				first.publish("v1/devices/me/telemetry", payload, c.qos*uint16(i+1))
			}
			<-medium.came // the reader is held up behind the first publish
			second.write(connectPacket(c.version, "", "lamp", ""))
			for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
				if o, _ := s.owner(lampID); o.session != old.session {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("nobody took over")
				}
			}
			close(medium.hold)
			if head, body := second.read(); head != 0x20 || body[1] != 0 {
				t.Fatalf("%#x %x", head, body)
			}
			events := s.intake.durable()
			if len(events) != publishes {
				t.Errorf("%d of %d publishes were handled", len(events), publishes)
			}
			for i, e := range events {
				list := unmarshalFragment(t, e.Fragment).GetPostTelemetryMsg().GetTsKvList()
				if ts := list[0].GetTs(); ts != int64(i+1) {
					t.Errorf("event %d is of %d", i, ts)
				}
			}
			for i := range publishes * int(c.qos) {
				first.puback(uint16(i+1), 0)
			}
			first.closed(reasonTakenOver)
			second.alive()
		})
	}
}

// The old session of a gateway does not take back the devices whose data it still handles.
func TestMQTTTakeoverOfAGateway(t *testing.T) {
	s := newStand(t, true)
	first := s.dial(4, "gateway")
	first.ask("v1/gateway/connect", `{"device":"A"}`, 1)
	old, _ := s.owner(gatewayID)
	second := s.dial(4, "gateway")
	second.ask("v1/gateway/connect", `{"device":"A"}`, 1)
	a, _ := s.book.ByName("A")
	if _, err := old.session.speakFor("A", ""); err != nil {
		t.Error(err)
	}
	if o, _ := s.owner(a.ID); o.session == old.session {
		t.Error("the old session speaks for A")
	}
	second.alive()
}
