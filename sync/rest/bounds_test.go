package rest_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// A key is answered once, however often it is asked, and an answer has a bound.
func TestKeysOnceAndAnswersBounded(t *testing.T) {
	r := newRig(t)
	base := "/api/plugins/telemetry/DEVICE/" + text(meter)
	big := `{"a":"` + strings.Repeat("x", 200<<10) + `"}`
	if a := r.send(root, "POST", base+"/attributes/SERVER_SCOPE", big); a.status != 200 {
		t.Fatal(a)
	}
	for _, path := range []string{"/values/attributes/SERVER_SCOPE", "/values/attributes"} {
		a := r.send(root, "GET", base+path+"?keys="+strings.Repeat("a,", 2000), "")
		if a.status != 200 || len(a.body) < 200<<10 || len(a.body) > 201<<10 {
			t.Errorf("%s: %d, %d bytes", path, a.status, len(a.body))
		}
	}
	if a := r.send(root, "GET", base+"/values/timeseries?keys="+strings.Repeat("none,", 2000), ""); a.status != 200 ||
		len(a.body) > 100 {
		t.Errorf("%d, %d bytes", a.status, len(a.body))
	}
	// Two scopes of control characters take six times their size.
	control := `{"c":"` + strings.Repeat(`\u0001`, 40<<10) + `"}`
	for n := range 10 {
		body := strings.Replace(control, "c", fmt.Sprint("c", n), 1)
		if a := r.send(root, "POST", base+"/attributes/SHARED_SCOPE", body); a.status != 200 {
			t.Fatal(a)
		}
	}
	if a := r.send(root, "GET", base+"/values/attributes", ""); a.status != 400 || !strings.Contains(a.body, "fewer keys") {
		t.Errorf("%d, %.200s", a.status, a.body)
	}
}

// Bodies of one user that do not go on keep no other request from being worked on.
func TestSlowBodiesHoldNoSlots(t *testing.T) {
	r := newRig(t)
	srv := httptest.NewServer(r.api)
	defer srv.Close()
	token, mine := r.token(ours), r.token(root)
	for range 20 {
		c, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST /api/device HTTP/1.1\r\nHost: x\r\nX-Authorization: Bearer %s\r\nContent-Length: 200000\r\n\r\n%s",
			token, strings.Repeat(" ", 100<<10))
	}
	client := &http.Client{Timeout: 50 * time.Second}
	for range 5 {
		q, _ := http.NewRequest("POST", srv.URL+"/api/plugins/telemetry/DEVICE/"+text(meter)+"/attributes/SERVER_SCOPE",
			strings.NewReader(`{"a":"`+strings.Repeat("x", 100<<10)+`"}`))
		q.Header.Set("X-Authorization", "Bearer "+mine)
		resp, err := client.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 {
			t.Errorf("%d %s", resp.StatusCode, b)
		}
		resp.Body.Close()
	}
}

// Wrong passwords of others at an address do not hold up who was logged in there lately.
func TestOthersWrongPasswordsDoNotHoldUp(t *testing.T) {
	r := newRig(t)
	if a := r.login(root, password); a.status != 200 {
		t.Fatal(a)
	}
	codes := map[int]int{}
	for range 20 {
		codes[r.login(ours, "wrong").status]++
	}
	if codes[401] != 10 || codes[429] != 10 {
		t.Errorf("answers to guesses: %v", codes)
	}
	if a := r.login(ours, password); a.status != 429 {
		t.Errorf("somebody who was not here: %d", a.status)
	}
	for range 12 {
		if a := r.login(root, password); a.status != 200 {
			t.Errorf("the right one: %d", a.status)
		}
	}
}

// unfinished is a body whose rest does not come.
type unfinished struct{ err error }

func (u unfinished) Read([]byte) (int, error) { return 0, u.err }

// TestUnfinishedBodies holds that a sender that was too slow is asked to repeat, and that one that
// left is told that its request was wrong.
func TestUnfinishedBodies(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		err    error
		status int
		words  string
	}{
		{fmt.Errorf("read: %w", os.ErrDeadlineExceeded), http.StatusRequestTimeout, "the body came too slowly"},
		{io.ErrUnexpectedEOF, http.StatusBadRequest, "the body ended before its end"},
	} {
		a := r.do(httptest.NewRequest("POST", "/api/auth/login", unfinished{c.err}))
		if a.status != c.status || !strings.Contains(a.body, c.words) || a.head.Get("Connection") != "close" {
			t.Errorf("%v: %d %s, Connection %q", c.err, a.status, a.body, a.head.Get("Connection"))
		}
	}
}
