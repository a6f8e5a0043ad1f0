package device

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/registry"
)

// TestCallsToTheCloudAreShared lets one device make calls without end: others' calls are taken, and
// each answer makes room for one more.
func TestCallsToTheCloudAreShared(t *testing.T) {
	s := newStand(t, true)
	s.calls.requests = make(chan *agent.Request, 1024)
	call := func(device proto.UUID, params string) error {
		return s.Doors.request(&agent.Request{
			Device: device, Method: "m", Params: params, Reply: func([]byte, error) {},
		})
	}
	taken := 0
	for range 256 {
		if err := call(lampID, "1"); err == nil {
			taken++
		} else if !errors.Is(err, agent.ErrTooMany) {
			t.Error(err)
		}
	}
	if taken != maxUpcalls {
		t.Errorf("%d calls of one device are taken", taken)
	}
	if err := call(gatewayID, "1"); err != nil {
		t.Errorf("a call of another device: %v", err)
	}
	(<-s.calls.requests).Reply(nil, nil)
	if err := call(lampID, "1"); err != nil {
		t.Errorf("after an answer: %v", err)
	}
	if err := call(lampID, "1"); err == nil {
		t.Error("one more is taken")
	}
	// Bytes of one device, then of all.
	large := strings.Repeat("x", 60<<10)
	for i := range 1000 {
		_ = call(deviceNumber(i).ID, large)
	}
	if n := s.upcalls.bytes; n > allUpcallBytes || n < allUpcallBytes/2 {
		t.Errorf("%d bytes wait", n)
	}
	for len(s.calls.requests) > 0 {
		(<-s.calls.requests).Reply(nil, nil)
	}
	taken = 0
	for range maxUpcalls {
		if call(lampID, large) == nil {
			taken++
		}
	}
	if taken != 4 {
		t.Errorf("%d large calls of one device are taken", taken)
	}
	for len(s.calls.requests) > 0 {
		(<-s.calls.requests).Reply(nil, nil)
	}
	s.calls.offline = agent.ErrOffline
	if err := call(lampID, "1"); !errors.Is(err, agent.ErrOffline) {
		t.Error(err)
	}
	if u := &s.upcalls; u.bytes != 0 || len(u.of) != 0 {
		t.Errorf("left: %d bytes of %d devices", u.bytes, len(u.of))
	}
}

// TestHTTPCallsBeyondTheShare expects 503 with Retry-After.
func TestHTTPCallsBeyondTheShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, do := httpStand(t)
		s.calls.requests = make(chan *agent.Request, 1024)
		for range maxUpcalls {
			go do("POST", "lamp/rpc", `{"method":"m","params":1}`)
		}
		synctest.Wait()
		if code, body := do("POST", "lamp/rpc", `{"method":"m","params":1}`); code != 503 ||
			!strings.Contains(body, "too many calls") {
			t.Errorf("%d %s", code, body)
		}
		for len(s.calls.requests) > 0 {
			(<-s.calls.requests).Reply([]byte("1"), nil)
		}
		synctest.Wait()
		s.MQTT.Close()
	})
}

// TestNamesOfGatewaysAreBounded connects devices of long names until their gateway is refused more.
func TestNamesOfGatewaysAreBounded(t *testing.T) {
	s := newStand(t, true)
	name := func(i int) string { return fmt.Sprintf("%04d", i) + strings.Repeat("世", 240) }
	d := s.dial(5, "gateway")
	joined := 0
	for i := range 1300 {
		dev := deviceNumber(i)
		dev.Name = name(i)
		s.book.enrol(fmt.Sprint("of the gateway ", i), dev)
		d.publish("v1/gateway/connect", `{"device":"`+name(i)+`"}`, 1)
		_, body := d.read()
		if len(body) < 3 || body[2] == 0 {
			joined++
		}
	}
	want := maxGatewayNames / (nameCost + len(name(0)))
	if joined != want || s.names != want*(nameCost+len(name(0))) {
		t.Errorf("%d devices, %d bytes, want %d devices", joined, s.names, want)
	}
	// A device less makes room for another; a device that connects itself takes itself out.
	d.ask("v1/gateway/disconnect", `{"device":"`+name(0)+`"}`, 2)
	d.ask("v1/gateway/connect", `{"device":"`+name(1299)+`"}`, 3)
	own := s.dial(4, "of the gateway 1")
	d.ask("v1/gateway/connect", `{"device":"`+name(1298)+`"}`, 4)
	own.Close()
	d.Close()
	s.MQTT.Close()
	if s.names != 0 {
		t.Errorf("%d bytes of names are left", s.names)
	}
}

// TestSessionsKeepNoLongTexts expects that a session keeps neither the topic of a publish nor the
// schemas of its profile.
func TestSessionsKeepNoLongTexts(t *testing.T) {
	s := newStand(t, true)
	d := s.dial(5, "lamp")
	d.publish("v2/fw/request/"+strings.Repeat("7", maxRequestID+1)+"/chunk/0", "100", 1)
	d.puback(1, reasonTopic)
	s.inProtobuf(registry.Schemas{Telemetry: `syntax = "proto3"; message A { int32 a = 1; }`, JSONToo: true})
	s.DeviceChanged(registry.Device{ID: lampID, ProfileID: proto.UUID{0xf0}}, registry.ProfileChanged)
	o, _ := s.owner(lampID)
	if r := o.session.rules.Load(); r.Schemas != (registry.Schemas{JSONToo: true}) || r.telemetry == nil {
		t.Errorf("the session keeps %+v", r.Schemas)
	}
}
