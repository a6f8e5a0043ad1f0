package device

import (
	"net/http/httptest"
	"strings"
	"testing"

	agent "edgesync/sync"
)

// A gateway whose publish names a device that the cloud refuses to create, and for whose data there
// is no room, gets its acknowledgement and goes on (API.md 4.3); a device of that kind is
// disconnected, to try again.
func TestMQTTNoRoom(t *testing.T) {
	s := newStand(t, true)
	for _, err := range []error{&agent.PartialError{Stored: 1, Refused: 1}, agent.ErrNoRoom} {
		s.intake.fail = err
		g := s.dial(5, "gateway")
		g.publish("v1/gateway/telemetry", `{"A":[{"a":1}],"B":[{"a":1}]}`, 1)
		g.puback(1, reasonQuota)
		g.alive()
		g = s.dial(4, "gateway")
		g.publish("v1/gateway/telemetry", `{"A":[{"a":1}],"B":[{"a":1}]}`, 1)
		g.puback(1, 0)
		g.alive()
	}
	d := s.dial(5, "lamp")
	d.publish("v1/devices/me/telemetry", `{"a":1}`, 1)
	d.closed(reasonQuota)
}

func TestHTTPNoRoom(t *testing.T) {
	w := httptest.NewRecorder()
	newTestDoor(&fakeIntake{err: agent.ErrNoRoom}, 0).ServeHTTP(w, telemetryPost(strings.NewReader(`{"a":1}`)))
	if w.Code != 503 || w.Header().Get("Retry-After") != "5" || !strings.Contains(w.Body.String(), agent.ErrNoRoom.Error()) {
		t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
	}
}
