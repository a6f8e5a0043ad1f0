package device

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestBodySizes(t *testing.T) {
	const limit = 1000
	json := func(n int) string { return `{"a":"` + strings.Repeat("x", n-8) + `"}` }
	for _, c := range []struct {
		name    string
		size    int
		chunked bool
		status  int
	}{
		{"just fits", limit, false, 200},
		{"one too many", limit + 1, false, 413},
		{"chunked just fits", limit, true, 200},
		{"chunked one too many", limit + 1, true, 413},
		{"chunked far too many", 1 << 20, true, 413},
	} {
		intake := &fakeIntake{}
		h := newTestDoor(intake, limit)
		body := &countingReader{r: strings.NewReader(json(c.size))}
		r := telemetryPost(body)
		r.ContentLength = int64(c.size)
		if c.chunked {
			r.ContentLength = -1
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s: %d, want %d", c.name, w.Code, c.status)
		}
		if _, events := intake.count(); (events == 1) != (c.status == 200) {
			t.Errorf("%s: %d events", c.name, events)
		}
		if c.status == 413 {
			got, kind := w.Body.String(), w.Header().Get("Content-Type")
			if got != `"Payload size exceeds the limit of 1000 bytes"` || kind != "" {
				t.Errorf("%s: %q of type %q", c.name, got, kind)
			}
			if !c.chunked && body.n > 0 {
				t.Errorf("%s: %d bytes were read before the refusal", c.name, body.n)
			}
			if body.n > 4*limit {
				t.Errorf("%s: %d bytes were read", c.name, body.n)
			}
		}
	}
}

// TestLargestBody posts a whole megabyte of values, which is stored in one call.
func TestLargestBody(t *testing.T) {
	intake := &fakeIntake{}
	h := newTestDoor(intake, 0)
	element := `{"ts":1767225600000,"values":{"temperature":21.5,"text":"` + strings.Repeat("é", 100) + `"}}`
	n := wholeBody/(len(element)+1) - 1
	body := "[" + strings.Repeat(element+",", n-1) + element + "]"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, telemetryPost(strings.NewReader(body)))
	if calls, events := intake.count(); w.Code != 200 || calls != 1 || events != n {
		t.Errorf("status %d, %d events in %d calls, want %d in one", w.Code, events, calls, n)
	}
}

// TestLargeBodiesAtOnce expects that a fifth large body waits to be parsed until one of four is
// done, and that what waits holds no more than its bytes.
func TestLargeBodiesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		intake := &fakeIntake{hold: make(chan struct{})}
		h := newTestDoor(intake, 0)
		large := `{"a":"` + strings.Repeat("x", 4*smallBody) + `"}`
		var wg sync.WaitGroup
		for range largeSlots + 1 {
			wg.Go(func() {
				h.ServeHTTP(httptest.NewRecorder(), telemetryPost(strings.NewReader(large)))
			})
		}
		synctest.Wait()
		if n := intake.waiting.Load(); n != largeSlots {
			t.Errorf("%d large requests are in work, want %d", n, largeSlots)
		}
		if n := h.bodies.Used(); n > (largeSlots+1)*2*len(large) {
			t.Errorf("%d bytes are held", n)
		}
		close(intake.hold)
		wg.Wait()
		if _, events := intake.count(); events != largeSlots+1 {
			t.Errorf("%d events", events)
		}
		if n := h.bodies.Used(); n != 0 {
			t.Errorf("%d bytes are left", n)
		}
	})
}

// TestSlowLargeBodies opens hundreds of large bodies of one device that go on slowly, or not at
// all. Others' large bodies must be stored at once; what gives way is asked to come again.
func TestSlowLargeBodies(t *testing.T) {
	for name, every := range map[string]time.Duration{"that stop": 4 * time.Minute, "that trickle": 50 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStand(t, true)
				h := NewHTTP(s.Doors, 0)
				l := newPipeListener()
				srv := NewServer(h, slog.New(slog.DiscardHandler))
				go srv.Serve(s.Listen(l))
				dial := func(head string) net.Conn {
					client, server := net.Pipe()
					l.conns <- from{server, hostile}
					io.WriteString(client, head)
					return client
				}
				part := strings.Repeat(" ", 3*smallBody)
				var mu sync.Mutex
				answers := map[int]int{}
				for range 200 {
					c := dial("POST /api/v1/gateway/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
					go func() {
						io.WriteString(c, part)
						for {
							time.Sleep(every)
							if _, err := io.WriteString(c, "                                "); err != nil {
								return
							}
						}
					}()
					go func() {
						defer c.Close()
						resp, err := http.ReadResponse(bufio.NewReader(c), nil)
						mu.Lock()
						defer mu.Unlock()
						if err != nil {
							answers[0]++
							return
						}
						answers[resp.StatusCode]++
						if resp.StatusCode == 503 && resp.Header.Get("Retry-After") != "5" {
							t.Error("no Retry-After")
						}
					}()
					if n := h.bodies.Used(); n > largeBodies {
						t.Fatalf("%d bytes are held", n)
					}
				}
				synctest.Wait()
				for range 5 {
					began := time.Now()
					large := `{"a":"` + strings.Repeat("x", 500<<10) + `"}`
					c := dial("POST /api/v1/lamp/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: " +
						strconv.Itoa(len(large)) + "\r\n\r\n")
					go io.WriteString(c, large)
					resp, err := http.ReadResponse(bufio.NewReader(c), nil)
					if took := time.Since(began); err != nil || resp.StatusCode != 200 || took > 3*time.Second {
						t.Errorf("%v %v after %v", resp, err, took)
					}
					c.Close()
				}
				time.Sleep(5 * time.Minute)
				synctest.Wait()
				mu.Lock()
				if answers[503] < 100 || answers[200] > 0 {
					t.Errorf("the hostile device's answers: %v", answers)
				}
				t.Log(answers)
				mu.Unlock()
				if n := h.bodies.Used(); n != 0 {
					t.Errorf("%d bytes are left", n)
				}
				srv.Close()
				s.MQTT.Close()
			})
		})
	}
}

// TestOurSlowMediumIsNotTheSendersFault lets the medium stand for most of a minute while large
// bodies wait: they are stored, or asked to come again, and none of them is told that it was wrong.
func TestOurSlowMediumIsNotTheSendersFault(t *testing.T) {
	for after, want := range map[time.Duration]int{20 * time.Second: 200, 50 * time.Second: 503} {
		synctest.Test(t, func(t *testing.T) {
			intake := &fakeIntake{hold: make(chan struct{})}
			h := newTestDoor(intake, 0)
			l := newPipeListener()
			srv := NewServer(h, slog.New(slog.DiscardHandler))
			go srv.Serve(h.Listen(l))
			time.AfterFunc(after, func() { close(intake.hold) })
			large := `{"a":"` + strings.Repeat("x", 900<<10) + `"}`
			var got [12]int
			var wg sync.WaitGroup
			for i := range got {
				wg.Go(func() {
					client, server := net.Pipe()
					defer client.Close()
					l.conns <- from{server, fmt.Sprintf("192.0.2.%d:1", i)}
					go io.WriteString(client, post+"Content-Length: "+strconv.Itoa(len(large))+"\r\n\r\n"+large)
					resp, err := http.ReadResponse(bufio.NewReader(client), nil)
					if err != nil {
						t.Error(err)
						return
					}
					got[i] = resp.StatusCode
					if resp.StatusCode == 503 && resp.Header.Get("Retry-After") == "" {
						t.Error("no Retry-After")
					}
				})
			}
			wg.Wait()
			stored := 0
			for _, code := range got {
				if code == 200 {
					stored++
				} else if code != 503 {
					t.Errorf("medium slow for %v: answers %v", after, got)
				}
			}
			if _, events := intake.count(); events != stored || stored < 4 {
				t.Errorf("medium slow for %v: %d events, answers %v, want %d for most", after, events, got, want)
			}
			srv.Close()
		})
	}
}
