package device

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestWrongTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestDoor(&fakeIntake{}, 0)
		post := func(token, from string) (int, time.Duration) {
			r := httptest.NewRequest("POST", "/api/v1/"+token+"/telemetry", strings.NewReader(`{"a":1}`))
			r.RemoteAddr = from
			w, start := httptest.NewRecorder(), time.Now()
			h.ServeHTTP(w, r)
			return w.Code, time.Since(start)
		}
		expect := func(what string, status int, took time.Duration, wantStatus int, want time.Duration) {
			t.Helper()
			if status != wantStatus || took != want {
				t.Errorf("%s: %d after %v, want %d after %v", what, status, took, wantStatus, want)
			}
		}
		for i := range wrongBurst {
			status, took := post("wrong", "10.0.0.1:1000")
			expect(fmt.Sprintf("wrong token %d", i), status, took, 401, 0)
		}
		status, took := post("wrong", "10.0.0.1:2000")
		expect("one more", status, took, 401, wrongDelay)
		status, took = post(goodToken, "10.0.0.1:1000")
		expect("the right token from there", status, took, 200, 0)
		status, took = post("wrong", "10.0.0.2:1000")
		expect("a wrong token from elsewhere", status, took, 401, 0)
		m := NewMQTT(h.Doors) // the two doors count together
		defer m.Close()
		for range wrongBurst {
			m.wrong.allow("10.0.0.3:1883", time.Now())
		}
		status, took = post("wrong", "10.0.0.3:1000")
		expect("a wrong token after those by MQTT", status, took, 401, wrongDelay)
		time.Sleep(wrongEvery)
		status, took = post("wrong", "10.0.0.1:1000")
		expect("after a while", status, took, 401, 0)

		// When too many answers are delayed, the rest comes at once; right tokens still pass.
		var wg sync.WaitGroup
		for range wrongWaiting {
			wg.Go(func() { post("wrong", "10.0.0.1:1000") })
		}
		synctest.Wait()
		status, took = post("wrong", "10.0.0.1:1000")
		expect("a crowd", status, took, 429, 0)
		status, took = post(goodToken, "10.0.0.1:1000")
		expect("the right token in a crowd", status, took, 200, 0)
		wg.Wait()
	})
}

func TestWrongTokensAreBounded(t *testing.T) {
	l, now := newWrongTokens(), time.Unix(1767225600, 0)
	for i := range 10 * wrongAddresses {
		l.allow(fmt.Sprintf("10.%d.%d.%d:99", i>>16, i>>8&255, i&255), now)
	}
	if len(l.full) > wrongAddresses+1 {
		t.Errorf("%d addresses remembered", len(l.full))
	}
	for i := range wrongBurst + 1 { // one host of IPv6 has 2^64 addresses
		if got := l.allow(fmt.Sprintf("[2001:db8::%x]:1", i), now.Add(time.Hour)); got != (i < wrongBurst) {
			t.Errorf("address %d of a network: %v", i, got)
		}
	}
	if len(l.full) > 2 {
		t.Errorf("%d addresses remembered after an hour", len(l.full))
	}
}

// TestWrongCredentialsOfAllDoors expects one count of wrong credentials for an address over all
// doors, whichever of them were wrong, and no delay for right ones.
func TestWrongCredentialsOfAllDoors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		h := NewHTTP(s.Doors, 0)
		ask := func(path, body string) (int, time.Duration) {
			began := time.Now()
			r := httptest.NewRequest("POST", "/api/v1/"+path, strings.NewReader(body))
			r.RemoteAddr = "pipe" // as the pipes of the other door
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code, time.Since(began)
		}
		for i := range wrongBurst {
			var took time.Duration
			switch began := time.Now(); i % 3 {
			case 0:
				s.pipe(4).connect("c", "guess", "")
				took = time.Since(began)
			case 1:
				_, took = ask("guess/telemetry", `{"a":1}`)
			default:
				_, took = ask("provision", `{"provisionDeviceKey":"k","provisionDeviceSecret":"s"}`)
			}
			if took != 0 {
				t.Errorf("try %d took %v", i, took)
			}
		}
		for _, path := range []string{"guess/telemetry", "guess/attributes"} {
			if code, took := ask(path, `{"a":1}`); code != 401 || took != wrongDelay {
				t.Errorf("%s: %d after %v", path, code, took)
			}
		}
		if _, took := ask("provision", `{"provisionDeviceKey":"k","provisionDeviceSecret":"s"}`); took != wrongDelay {
			t.Errorf("provisioning: after %v", took)
		}
		began := time.Now()
		if code := s.pipe(5).connect("c", "guess", "x"); code != 0x86 || time.Since(began) != wrongDelay {
			t.Errorf("CONNACK %#x after %v", code, time.Since(began))
		}
		if code, took := ask("lamp/telemetry", `{"a":1}`); code != 200 || took != 0 {
			t.Errorf("the right token: %d after %v", code, took)
		}
		began = time.Now()
		if code := s.pipe(4).connect("c", "lamp", ""); code != 0 || time.Since(began) != 0 {
			t.Errorf("the right token: CONNACK %d after %v", code, time.Since(began))
		}
		s.MQTT.Close()
	})
}
