package device

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/sync/guess"
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
		if status, took := post(goodToken, "10.0.0.1:1000"); status != 200 || took != 0 {
			t.Errorf("the right token: %d after %v", status, took)
		}
		for i := range guess.Burst {
			status, took := post("wrong", "10.0.0.1:1000")
			expect(fmt.Sprintf("wrong token %d", i), status, took, 401, 0)
		}
		status, took := post("wrong", "10.0.0.1:2000")
		expect("one more", status, took, 401, guess.Delay)
		status, took = post(goodToken, "10.0.0.1:1000")
		expect("the right token from there", status, took, 200, 0)
		status, took = post("wrong", "10.0.0.2:1000")
		expect("a wrong token from elsewhere", status, took, 401, 0)
		m := NewMQTT(h.Doors) // the two doors count together
		defer m.Close()
		for range guess.Burst {
			if a, err := m.guesses.Begin(t.Context(), guess.Address("10.0.0.3:1883"), 1); err == nil {
				a.Wrong()
			}
		}
		status, took = post("wrong", "10.0.0.3:1000")
		expect("a wrong token after those by MQTT", status, took, 401, guess.Delay)
		time.Sleep(guess.Every)
		status, took = post("wrong", "10.0.0.1:1000")
		expect("after a while", status, took, 401, 0)

		// When too many attempts are delayed, the rest is not judged; right tokens still pass.
		var wg sync.WaitGroup
		for range guess.Waiting {
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
		if code, _ := ask("lamp/telemetry", `{"a":1}`); code != 200 {
			t.Errorf("the right token: %d", code)
		}
		for i := range guess.Burst {
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
			if code, took := ask(path, `{"a":1}`); code != 401 || took != guess.Delay {
				t.Errorf("%s: %d after %v", path, code, took)
			}
		}
		if _, took := ask("provision", `{"provisionDeviceKey":"k","provisionDeviceSecret":"s"}`); took != guess.Delay {
			t.Errorf("provisioning: after %v", took)
		}
		began := time.Now()
		if code := s.pipe(5).connect("c", "guess", "x"); code != 0x86 || time.Since(began) != guess.Delay {
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

// TestGuessesAreNotJudged expects that beyond the limit of an address secrets are not even looked
// up, in any door and in any field, and that what was right lately from there goes on.
func TestGuessesAreNotJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		s.creates()
		h := NewHTTP(s.Doors, 0)
		ask := func(path, body string) int {
			r := httptest.NewRequest("POST", "/api/v1/"+path, strings.NewReader(body))
			r.RemoteAddr = "pipe"
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code
		}
		// Right once, each in its way.
		d := s.pipe(4)
		if code := d.connect("made up 1", "lamp", "ignored"); code != 0 {
			t.Errorf("CONNACK %d", code)
		}
		d.Close()
		if code := ask("provision", wantsCreation(`,"deviceName":"first"`)); code != 200 {
			t.Errorf("provisioning: %d", code)
		}
		// A crowd that guesses.
		for range guess.Burst {
			ask("guess/telemetry", "{}")
		}
		var wg sync.WaitGroup
		for range guess.OfAddress {
			wg.Go(func() { ask("guess/telemetry", "{}") })
		}
		synctest.Wait()
		looked := s.book.looked.Load()
		for i := range 4000 {
			if code := ask(fmt.Sprintf("guess%d/telemetry", i), "{}"); code != 429 {
				t.Fatalf("a token: %d", code)
			}
		}
		for i := range 100 {
			if code := ask("provision", fmt.Sprintf(`{"provisionDeviceKey":"k","provisionDeviceSecret":"s%d"}`, i)); code != 429 {
				t.Fatalf("a provisioning secret: %d", code)
			}
			if code := s.pipe(4).connect("c", "user", fmt.Sprint("password", i)); code != 3 {
				t.Fatalf("a password: CONNACK %d", code)
			}
			if code := s.pipe(5).connect(fmt.Sprint("id", i), "", ""); code != 0x9f {
				t.Fatalf("a client id: CONNACK %#x", code)
			}
		}
		if n := s.book.looked.Load() - looked; n != 0 {
			t.Errorf("%d guesses were judged", n)
		}
		began := time.Now()
		if code := ask("lamp/telemetry", `{"a":1}`); code != 200 {
			t.Errorf("the token of the MQTT device, over HTTP: %d", code)
		}
		if code := s.pipe(5).connect("made up 2", "lamp", "ignored too"); code != 0 {
			t.Errorf("the same over MQTT: CONNACK %#x", code)
		}
		if code := ask("provision", wantsCreation(`,"deviceName":"second"`)); code != 200 {
			t.Errorf("provisioning: %d", code)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("what was right lately took %v", took)
		}
		wg.Wait()
		s.MQTT.Close()
	})
}
