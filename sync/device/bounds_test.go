package device

import (
	"errors"
	"fmt"
	"slices"
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

// TestNamesOfGatewaysAreBounded connects devices of long names beyond the bound: each is served,
// and the one that was silent longest gives its place.
func TestNamesOfGatewaysAreBounded(t *testing.T) {
	s := newStand(t, true)
	name := func(i int) string { return fmt.Sprintf("%04d", i) + strings.Repeat("世", 240) }
	size := nameCost + len(name(0))
	most := maxGatewayNames / size
	for i := range most + 4 {
		dev := deviceNumber(i)
		dev.Name = name(i)
		s.book.enrol(fmt.Sprint("of the gateway ", i), dev)
	}
	d := s.dial(5, "gateway")
	for i := range most {
		d.ask("v1/gateway/connect", `{"device":"`+name(i)+`"}`, 1)
	}
	// spoken says which of a few devices are told of a change.
	spoken := func(numbers ...int) (told []int) {
		for _, i := range numbers {
			if o, ok := s.owner(deviceNumber(i).ID); ok && o.name != "" {
				told = append(told, i)
			}
		}
		return told
	}
	expect := func(want ...int) {
		t.Helper()
		if got := spoken(0, 1, 2, 3, most-1, most, most+1, most+2, most+3); !slices.Equal(got, want) {
			t.Errorf("spoken for are %v, want %v", got, want)
		}
	}
	expect(0, 1, 2, 3, most-1)
	d.ask("v1/gateway/telemetry", `{"`+name(0)+`":[{"t":1}]}`, 2) // is silent no longer
	d.ask("v1/gateway/telemetry", `{"`+name(most)+`":[{"t":1}]}`, 3)
	expect(0, 2, 3, most-1, most)
	if n := len(s.intake.durable()); n != 2 || s.names != most*size {
		t.Errorf("%d events, %d bytes of names, want %d", n, s.names, most*size)
	}
	// A device less makes room for another; a device that connects itself takes itself out.
	d.ask("v1/gateway/disconnect", `{"device":"`+name(3)+`"}`, 4)
	d.ask("v1/gateway/connect", `{"device":"`+name(most+1)+`"}`, 5)
	expect(0, 2, most-1, most, most+1)
	own := s.dial(4, "of the gateway 0")
	d.ask("v1/gateway/connect", `{"device":"`+name(most+2)+`"}`, 6)
	expect(2, most-1, most, most+1, most+2)
	// One message with more devices than there are places stores the data of all of them.
	before := len(s.intake.durable())
	for from := 0; from < most+4; from += 50 {
		b := []byte{'{'}
		for i := from; i < min(from+50, most+4); i++ {
			b = fmt.Appendf(b, `"%s":[{"t":1}],`, name(i))
		}
		b[len(b)-1] = '}'
		d.ask("v1/gateway/telemetry", string(b), 7)
	}
	if n := len(s.intake.durable()) - before; n != most+4 || s.names != most*size {
		t.Errorf("%d events, %d bytes of names", n, s.names)
	}
	own.Close()
	d.Close()
	s.MQTT.Close()
	if s.names != 0 || len(s.gateways) != 0 {
		t.Errorf("%d bytes of names and %d gateways are left", s.names, len(s.gateways))
	}
}

// TestNamesOfAllGatewaysAreBounded fills the room of all gateways: of the devices of all of them
// the one that was silent longest gives its place.
func TestNamesOfAllGatewaysAreBounded(t *testing.T) {
	s := newStand(t, true)
	name := func(g, i int) string { return fmt.Sprintf("%02d %04d", g, i) + strings.Repeat("世", 240) }
	size := nameCost + len(name(0, 0))
	each := maxGatewayNames / size
	sessions := make([]*session, allGatewayNames/maxGatewayNames+1)
	for g := range sessions {
		token, id := fmt.Sprint("gateway ", g), proto.UUID{0xee, byte(g)}
		s.book.enrol(token, registry.Device{ID: id, Name: token, Gateway: true})
		s.dial(4, token)
		o, _ := s.owner(id)
		sessions[g] = o.session
		for i := range each {
			s.own(proto.UUID{0xdd, byte(g), byte(i >> 8), byte(i)}, o.session, name(g, i))
		}
	}
	over := (len(sessions)*each*size - allGatewayNames + size - 1) / size
	if s.names > allGatewayNames || s.names <= allGatewayNames-size {
		t.Errorf("%d bytes of names", s.names)
	}
	if n := len(sessions[0].spoken.devices); n != each-over {
		t.Errorf("the first gateway speaks for %d devices, want %d", n, each-over)
	}
	if _, ok := s.owner(proto.UUID{0xdd, 0, byte(over >> 8), byte(over)}); !ok {
		t.Error("another than the device that was silent longest has lost its place")
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
