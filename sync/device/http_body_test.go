package device

import (
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

// TestLargestBody posts a whole megabyte of values.
func TestLargestBody(t *testing.T) {
	intake := &fakeIntake{}
	h := newTestDoor(intake, 0)
	element := `{"ts":1767225600000,"values":{"temperature":21.5,"text":"` + strings.Repeat("é", 100) + `"}}`
	n := DefaultMaxBody/(len(element)+1) - 1
	body := "[" + strings.Repeat(element+",", n-1) + element + "]"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, telemetryPost(strings.NewReader(body)))
	if calls, events := intake.count(); w.Code != 200 || calls != 1 || events != n {
		t.Errorf("status %d, %d events in %d calls, want %d in one", w.Code, events, calls, n)
	}
}

// TestLargeBodiesAtOnce expects that a fifth large body waits until one of four is done.
func TestLargeBodiesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		intake := &fakeIntake{hold: make(chan struct{})}
		h := newTestDoor(intake, 0)
		large := `{"a":"` + strings.Repeat("x", 4*smallBody) + `"}`
		var read [largeSlots + 1]*countingReader
		var wg sync.WaitGroup
		for i := range read {
			read[i] = &countingReader{r: strings.NewReader(large)}
			wg.Go(func() {
				h.ServeHTTP(httptest.NewRecorder(), telemetryPost(read[i]))
			})
		}
		synctest.Wait()
		waiting := 0
		for _, r := range read {
			if r.n < len(large) {
				waiting++
			}
			if r.n < len(large) && r.n > 3*smallBody {
				t.Errorf("a waiting request holds %d bytes", r.n)
			}
		}
		if waiting != 1 {
			t.Errorf("%d large requests wait, want 1", waiting)
		}
		close(intake.hold)
		wg.Wait()
		if _, events := intake.count(); events != len(read) {
			t.Errorf("%d events", events)
		}
	})
}
