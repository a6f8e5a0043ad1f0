package device

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
)

// recorded lists the durable claims: the device, and what is kept of its message.
func (s *stand) recorded() (list []string) {
	s.Helper()
	for _, e := range s.intake.durable() {
		if e.Action != proto.ActionClaim || e.Action.Sendable() {
			s.Errorf("%v", e.Action)
		}
		m := unmarshalFragment(s.T, e.Fragment)
		if strings.Contains(string(e.Fragment), "hush") || m.GetPostAttributeScope() != claimScope {
			s.Errorf("%q", e.Fragment)
		}
		text := fmt.Sprintf("%x", e.Entity[:1])
		for _, kv := range m.GetAttributesUpdatedMsg().GetKv() {
			text += fmt.Sprintf(" %s=%s%d", kv.GetKey(), kv.GetStringV(), kv.GetLongV())
		}
		list = append(list, text)
	}
	return list
}

// A claim is recorded before it is answered, over either protocol; its secret is neither kept nor
// logged.
func TestClaimsAreRecorded(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(s *stand)
		want []string
	}{
		{"HTTP", func(s *stand) {
			h := NewHTTP(s.Doors, 0)
			for _, body := range []string{`{"secretKey":"hush","durationMs":"60000"}`, ``} {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("POST", "/api/v1/lamp/claim", strings.NewReader(body)))
				if w.Code != http.StatusOK || w.Body.Len() != 0 {
					s.Errorf("%q: %d %s", body, w.Code, w.Body)
				}
			}
		}, []string{"01 secretKey=***0 durationMs=60000"}},
		{"MQTT", func(s *stand) {
			d := s.dial(5, "lamp")
			d.ask("v1/devices/me/claim", ``, 1)
			d.ask("v1/devices/me/claim", `{"secretKey":"hush"}`, 2)
			d.publish("v1/devices/me/claim", `{"secretKey":"hush","durationMs":"x"}`, 3)
			d.puback(3, reasonPayload)
			d.publish("v1/devices/me/claim", `{"secretKey":["hush"]}`, 4)
			d.puback(4, reasonPayload)
			d.publish("v1/devices/me/claim", `{"secretKey":"hush`, 5)
			d.puback(5, reasonPayload)
		}, []string{"01"}},
		{"gateway", func(s *stand) {
			d := s.dial(4, "gateway")
			d.ask("v1/gateway/claim", `{"A":{"secretKey":"hush"},"B":{"durationMs":5}}`, 1)
			d.ask("v1/gateway/claim", `{"A":{"secretKey":"hush"}}`, 2)
		}, []string{"bb secretKey=***0", "bb durationMs=5"}},
		{"gateway, one of them bad", func(s *stand) {
			d := s.dial(5, "gateway")
			d.publish("v1/gateway/claim", `{"A":{"secretKey":"hush"},"B":{"durationMs":"x"}}`, 1)
			d.puback(1, reasonPayload)
		}, []string{"bb secretKey=***0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStand(t, true)
			c.run(s)
			got := s.recorded()
			slices.Sort(got) // a gateway's devices come in any order
			want := slices.Sorted(slices.Values(c.want))
			if !slices.Equal(got, want) {
				t.Errorf("recorded %q, want %q", got, want)
			}
			if strings.Contains(s.log.String(), "hush") {
				t.Error("a secret is in the log")
			}
		})
	}
}

// A device that repeats its claim is recorded once an hour; if its record was refused, at its next
// claim.
func TestClaimsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		h := NewHTTP(s.Doors, 0)
		post := func(want int) {
			t.Helper()
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, httptest.NewRequest("POST", "/api/v1/lamp/claim", nil)); w.Code != want {
				t.Errorf("%d, want %d", w.Code, want)
			}
		}
		s.intake.fail = errors.New("no space")
		post(503)
		s.intake.fail = nil
		for range 120 {
			post(200)
			time.Sleep(time.Minute)
		}
		if n := len(s.recorded()); n != 2 {
			t.Errorf("%d records in two hours", n)
		}
		for i := range 2 * maxClaims {
			s.claimed([]proto.Event{{Entity: deviceNumber(i).ID}})
		}
		if n := len(s.claims); n > maxClaims {
			t.Errorf("%d devices remembered", n)
		}
		first, last := deviceNumber(0).ID, deviceNumber(2*maxClaims-1).ID
		if len(s.claimEvent(nil, last, nil)) != 0 || len(s.claimEvent(nil, first, nil)) != 1 {
			t.Error("the latest are not those that are remembered")
		}
		s.MQTT.Close()
	})
}
