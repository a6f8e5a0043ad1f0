package device

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// fakeIntake keeps the fragments that it accepted.
type fakeIntake struct {
	mu    sync.Mutex
	calls int
	got   []string // fragments
	err   error
	hold  chan struct{} // if not nil, Accept waits for it or the context
}

func (f *fakeIntake) Accept(ctx context.Context, events []proto.Event) error {
	if f.hold != nil {
		select {
		case <-f.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.err != nil {
		return f.err
	}
	for _, e := range events {
		f.got = append(f.got, string(e.Fragment))
	}
	return nil
}

func (f *fakeIntake) count() (calls, events int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls, len(f.got)
}

// waiting makes an intake that waits one that also does not.
type waiting struct{ Intake }

func (i waiting) Submit(ctx context.Context, events []proto.Event, done func(error)) error {
	done(i.Accept(ctx, events))
	return nil
}

const goodToken = "A1B2C3D4E5F6G7H8I9J0"

// thermometerID is the device of goodToken.
var thermometerID = proto.UUID{0x78, 0x4f, 0x39, 0x4c}

func newTestDoor(intake Intake, maxBody int64) *HTTP {
	book := &book{tokens: map[string]registry.Device{goodToken: {ID: thermometerID, Name: "thermometer"}}}
	return NewHTTP(NewDoors(Ports{Intake: waiting{intake}, Lookups: book, Packages: book, Calls: &switchboard{}, Births: book, Log: slog.New(slog.DiscardHandler)}), maxBody)
}

func TestRequests(t *testing.T) {
	const body = `{"temperature":21.5}`
	tele, attr := "/api/v1/"+goodToken+"/telemetry", "/api/v1/"+goodToken+"/attributes"
	errorJSON := func(code int) string { return fmt.Sprintf(`"errorCode":%d,`, code) }
	for _, c := range []struct {
		name, method, path, body string
		header                   string // "Name: value; …" one per line
		status                   int
		answer                   string // contained in the body; "" = the body is empty
		events                   int
	}{
		{name: "telemetry", path: tele, body: body, status: 200, events: 1},
		{name: "attributes", path: attr, body: body, status: 200, events: 1},
		{name: "array", path: tele, body: `[{"a":1},{"b":2},{"ts":3,"values":{}}]`, status: 200, events: 3},
		{name: "empty array", path: tele, body: `[]`, status: 200},
		{name: "as JSON", path: tele, body: body, header: "Content-Type: application/json", status: 200, events: 1},
		{name: "as JSON in UTF-8", path: tele, body: body, header: "Content-Type: application/json;charset=UTF-8", status: 200, events: 1},
		{name: "as text", path: tele, body: body, header: "Content-Type: text/plain", status: 200, events: 1},
		{name: "as curl -d", path: tele, body: body, header: "Content-Type: application/x-www-form-urlencoded", status: 200, events: 1},
		{name: "uncompressed", path: tele, body: body, header: "Content-Encoding: identity", status: 200, events: 1},
		{name: "query", path: tele + "?x=1", body: body, status: 200, events: 1},

		{name: "form", path: tele, body: body, header: "Content-Type: multipart/form-data; boundary=x", status: 400, answer: errorJSON(31)},
		{name: "no media type", path: tele, body: body, header: "Content-Type: json", status: 415, answer: errorJSON(31)},
		{name: "broken media type", path: tele, body: body, header: "Content-Type: a/b/c; =", status: 415, answer: errorJSON(31)},
		{name: "other charset", path: tele, body: body, header: "Content-Type: application/json; charset=iso-8859-1", status: 415, answer: "UTF-8"},
		{name: "gzip", path: tele, body: body, header: "Content-Encoding: gzip", status: 415, answer: "compressed"},
		{name: "bad JSON", path: tele, body: `{"a":NaN}`, status: 400, answer: "bad JSON: 'N' where"},
		{name: "bad JSON attributes", path: attr, body: `[1]`, status: 400, answer: "attributes must be a JSON object"},
		{name: "quotes in the reason", path: tele, body: `{"<b>":1}`, status: 400, answer: `the key \"<b>\" contains markup`},
		{name: "one bad element", path: tele, body: `[{"a":1},5]`, status: 400, answer: errorJSON(31)},
		{name: "invalid UTF-8", path: tele, body: "{\"a\":\"\xff\"}", status: 400, answer: "invalid UTF-8"},
		{name: "missing body", path: tele, status: 400, answer: "the body is missing"},
		{name: "missing body attributes", path: attr, status: 400, answer: errorJSON(31)},

		{name: "unknown token", path: "/api/v1/nobody/telemetry", body: body, status: 401},
		{name: "unknown token, bad body", path: "/api/v1/nobody/attributes", body: "{", header: "Content-Type: json", status: 401},
		{name: "empty token", path: "/api/v1//telemetry", body: body, status: 400, answer: errorJSON(31)},
		{name: "double slash", path: "/api/v1/" + goodToken + "//telemetry", body: body, status: 400, answer: errorJSON(31)},
		{name: "semicolon", path: tele + ";x=1", body: body, status: 400, answer: errorJSON(31)},
		{name: "dot", path: "/api/v1/" + goodToken + "/./telemetry", body: body, status: 400, answer: errorJSON(31)},
		{name: "dots", path: "/api/v1/" + goodToken + "/x/..", body: body, status: 400, answer: errorJSON(31)},
		{name: "escaped slash", path: "/api/v1/" + goodToken + "%2Ftelemetry", body: body, status: 400, answer: errorJSON(31)},
		{name: "trailing slash", path: tele + "/", body: body, status: 404, answer: errorJSON(32)},
		{name: "unknown path", path: "/api/v1/" + goodToken + "/nonsense", body: body, status: 404, answer: errorJSON(32)},
		{name: "token only", path: "/api/v1/" + goodToken, body: body, status: 404, answer: errorJSON(32)},
		{name: "other version", path: "/api/v3/x", body: body, status: 404, answer: errorJSON(32)},
		{name: "get", method: "GET", path: tele, status: 405, answer: errorJSON(31)},
		{name: "delete", method: "DELETE", path: tele, status: 405, answer: errorJSON(31)},
		{name: "trace", method: "TRACE", path: tele, status: 400},
		{name: "made up", method: "BREW", path: tele, status: 400},
		{name: "options", method: "OPTIONS", path: tele, status: 403, answer: errorJSON(20)},
		{name: "preflight", method: "OPTIONS", path: tele, header: "Origin: http://x\nAccess-Control-Request-Method: POST", status: 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			intake := &fakeIntake{}
			h := newTestDoor(intake, 0)
			method := c.method
			if method == "" {
				method = "POST"
			}
			r := httptest.NewRequest(method, c.path, strings.NewReader(c.body))
			for line := range strings.SplitSeq(c.header, "\n") {
				if name, value, ok := strings.Cut(line, ": "); ok {
					r.Header.Set(name, value)
				}
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			answer := w.Body.String()
			if w.Code != c.status || !strings.Contains(answer, c.answer) || c.answer == "" && answer != "" {
				t.Errorf("%d %q, want %d with %q", w.Code, answer, c.status, c.answer)
			}
			if strings.Contains(answer, goodToken) {
				t.Error("the answer shows the token")
			}
			if answer != "" {
				var e struct {
					Status, ErrorCode int
					Message           string
					Timestamp         int64
				}
				if err := json.Unmarshal([]byte(answer), &e); err != nil || e.Status != c.status || e.Message == "" || e.Timestamp == 0 {
					t.Errorf("error JSON %q: %v %+v", answer, err, e)
				}
			}
			if c.status == 405 && w.Header().Get("Allow") != "POST" {
				t.Errorf("Allow is %q", w.Header().Get("Allow"))
			}
			if c.name == "preflight" && (w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header().Get("Access-Control-Allow-Methods") != "POST") {
				t.Errorf("headers %v", w.Header())
			}
			calls, events := intake.count()
			if events != c.events || calls > 1 || (calls == 1) != (events > 0) {
				t.Errorf("%d events in %d calls, want %d in one", events, calls, c.events)
			}
		})
	}
}

func TestIntakeRefuses(t *testing.T) {
	intake := &fakeIntake{err: errors.New("no space left on /data/" + goodToken)}
	h := newTestDoor(intake, 0)
	for range 2 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/api/v1/"+goodToken+"/telemetry", strings.NewReader(`{"a":1}`)))
		if w.Code != 503 || w.Header().Get("Retry-After") != "5" || !strings.Contains(w.Body.String(), `"errorCode":2`) {
			t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
		}
		if strings.Contains(w.Body.String(), "/data") {
			t.Errorf("the answer tells internals: %q", w.Body)
		}
	}
	if _, events := intake.count(); events != 0 {
		t.Errorf("%d events accepted", events)
	}
}

// TestNotBeforeDurable: no answer while the intake has not said durable.
func TestNotBeforeDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		intake := &fakeIntake{hold: make(chan struct{})}
		h := newTestDoor(intake, 0)
		w, done := httptest.NewRecorder(), false
		go func() {
			h.ServeHTTP(w, httptest.NewRequest("POST", "/api/v1/"+goodToken+"/telemetry", strings.NewReader(`{"a":1}`)))
			done = true
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		if done {
			t.Fatal("answered before the intake returned")
		}
		close(intake.hold)
		synctest.Wait()
		if !done || w.Code != 200 {
			t.Fatalf("done %v, status %d", done, w.Code)
		}
	})
}

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
		r := httptest.NewRequest("POST", "/api/v1/"+goodToken+"/telemetry", body)
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
			if got := w.Body.String(); got != `"Payload size exceeds the limit of 1000 bytes"` || w.Header().Get("Content-Type") != "" {
				t.Errorf("%s: %q of type %q", c.name, got, w.Header().Get("Content-Type"))
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

type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += n
	return n, err
}

// TestLargestBody: a full megabyte of values goes through.
func TestLargestBody(t *testing.T) {
	intake := &fakeIntake{}
	h := newTestDoor(intake, 0)
	element := `{"ts":1767225600000,"values":{"temperature":21.5,"text":"` + strings.Repeat("é", 100) + `"}}`
	n := DefaultMaxBody/(len(element)+1) - 1
	body := "[" + strings.Repeat(element+",", n-1) + element + "]"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/api/v1/"+goodToken+"/telemetry", strings.NewReader(body)))
	if calls, events := intake.count(); w.Code != 200 || calls != 1 || events != n {
		t.Errorf("status %d, %d events in %d calls, want %d in one", w.Code, events, calls, n)
	}
}

// TestLargeBodiesAtOnce: a fifth large body waits until one of four is done; small ones do not.
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
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/api/v1/"+goodToken+"/telemetry", read[i]))
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
		m := NewMQTT(h.Doors) // the other door has the same count
		defer m.Close()
		for range wrongBurst {
			m.wrong.allow("10.0.0.3:1883", time.Now())
		}
		status, took = post("wrong", "10.0.0.3:1000")
		expect("a wrong token after those by MQTT", status, took, 401, wrongDelay)
		time.Sleep(wrongEvery)
		status, took = post("wrong", "10.0.0.1:1000")
		expect("after a while", status, took, 401, 0)

		// Too many held up: the rest is sent away at once, right tokens still pass.
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

// TestOverTheWire runs the server with real sockets: keep-alive, a body that stops half way, and
// answers in order.
func TestOverTheWire(t *testing.T) {
	intake := &fakeIntake{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	door := newTestDoor(intake, 100000)
	srv := NewServer(door, slog.New(slog.DiscardHandler))
	go srv.Serve(door.Listen(listener))
	defer srv.Close()

	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	br := bufio.NewReader(conn)
	ask := func(head, body string) *http.Response {
		t.Helper()
		if _, err := io.WriteString(conn, head+"\r\nHost: x\r\n\r\n"+body); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp
	}
	path := "POST /api/v1/" + goodToken + "/telemetry HTTP/1.1\r\n"
	for _, c := range []struct {
		head, body string
		status     int
		close      bool
	}{
		{path + "Content-Length: 7", `{"a":1}`, 200, false},
		{"POST /api/v1/nobody/telemetry HTTP/1.1\r\nContent-Length: 7", `{"a":1}`, 401, false},
		{"POST /api/v1/nobody/x HTTP/1.1\r\nContent-Length: 7", `{"a":1}`, 404, false},
		{path + "Transfer-Encoding: chunked", "3\r\n{\"a\r\n4\r\n\":2}\r\n0\r\n\r\n", 200, false},
		{path + "Content-Length: 4", `{"a"`, 400, false},
		{path + "Content-Length: 100001", ``, 413, true},
	} {
		resp := ask(c.head, c.body)
		if resp.StatusCode != c.status || resp.Close != c.close {
			t.Errorf("%q: %d, close %v; want %d, %v", c.head, resp.StatusCode, resp.Close, c.status, c.close)
		}
		if c.status == 200 && resp.ContentLength != 0 {
			t.Errorf("%q: a body of %d bytes", c.head, resp.ContentLength)
		}
	}
	if _, events := intake.count(); events != 2 {
		t.Errorf("%d events, want 2", events)
	}

	// What stops half way is no event, though the half is valid JSON.
	for _, half := range []string{
		path + "Host: x\r\nContent-Length: 20\r\n\r\n{\"a\":1}",
		path + "Host: x\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n",
	} {
		c, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, half); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(c)
		c.Close()
		if bytes.Contains(answer, []byte(" 200 ")) {
			t.Errorf("%q was answered %q", half, answer)
		}
	}
	if _, events := intake.count(); events != 2 {
		t.Errorf("%d events, want still 2", events)
	}
}

// pipeListener hands out in-memory connections, so that the clock can be fake.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipeListener) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// TestSlowLoris: whoever trickles headers or a body is cut off at the limit, and nothing of it is
// kept.
func TestSlowLoris(t *testing.T) {
	head := "POST /api/v1/" + goodToken + "/telemetry HTTP/1.1\r\nHost: x\r\n"
	for name, c := range map[string]struct {
		first string
		drop  string // sent each second
		limit time.Duration
	}{
		"silent":  {"", "", 10 * time.Second},
		"headers": {head, "X-Slow: 1\r\n", 10 * time.Second},
		"body":    {head + "Content-Length: 10000\r\n\r\n", " ", 15 * time.Second},
		"idle":    {head + "Content-Length: 7\r\n\r\n{\"a\":1}", "", 90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				intake := &fakeIntake{}
				l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
				door := newTestDoor(intake, 0)
				srv := NewServer(door, slog.New(slog.DiscardHandler))
				go srv.Serve(door.Listen(l))
				client, server := net.Pipe()
				l.conns <- server
				start, gone := time.Now(), make(chan time.Duration, 1)
				go func() {
					io.Copy(io.Discard, client)
					gone <- time.Since(start)
				}()
				io.WriteString(client, c.first)
				for range 200 {
					time.Sleep(time.Second)
					if c.drop != "" {
						client.SetWriteDeadline(time.Now().Add(time.Millisecond))
						if _, err := io.WriteString(client, c.drop); err != nil {
							break
						}
					}
				}
				// A lingering close adds half a second.
				if took := <-gone; took < c.limit || took > c.limit+2*time.Second {
					t.Errorf("cut off after %v, want %v", took, c.limit)
				}
				want := 0
				if name == "idle" {
					want = 1
				}
				if _, events := intake.count(); events != want {
					t.Errorf("%d events, want %d", events, want)
				}
				client.Close()
				srv.Close()
			})
		})
	}
}

// discardWriter is a ResponseWriter that costs nothing.
type discardWriter struct {
	head   http.Header
	status int
}

func (d *discardWriter) Header() http.Header         { return d.head }
func (d *discardWriter) Write(b []byte) (int, error) { return len(b), nil }
func (d *discardWriter) WriteHeader(status int)      { d.status = status }

type nullIntake struct{}

func (nullIntake) Accept(context.Context, []proto.Event) error { return nil }

func BenchmarkPost(b *testing.B) {
	h := newTestDoor(nullIntake{}, 0)
	body := []byte(`{"ts":1767225600000,"values":{"temperature":21.5,"humidity":48,"door":true,"state":"open","battery":3.71}}`)
	reader := bytes.NewReader(body)
	r := httptest.NewRequest("POST", "/api/v1/"+goodToken+"/telemetry", reader)
	r.Header.Set("Content-Type", "application/json")
	w := &discardWriter{head: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		if h.ServeHTTP(w, r); w.status != 200 {
			b.Fatal(w.status)
		}
	}
}

// TestDeviceGone: when the device has left before the events are durable, no answer is made up.
func TestDeviceGone(t *testing.T) {
	intake := &fakeIntake{hold: make(chan struct{})}
	h := newTestDoor(intake, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	defer func() {
		if r := recover(); r != http.ErrAbortHandler {
			t.Errorf("ended with %v, want the connection to be aborted", r)
		}
		if w.Body.Len() > 0 || len(w.Header()) > 0 {
			t.Errorf("answered %v %q", w.Header(), w.Body)
		}
		if _, events := intake.count(); events != 0 {
			t.Errorf("%d events", events)
		}
	}()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", "/api/v1/"+goodToken+"/telemetry", strings.NewReader(`{"a":1}`)))
}

// keepingIntake refuses events and goes on reading them, as an intake may whose context has ended.
type keepingIntake struct{ kept, copies [][]byte }

func (k *keepingIntake) Accept(_ context.Context, events []proto.Event) error {
	for _, e := range events {
		k.kept, k.copies = append(k.kept, e.Fragment), append(k.copies, bytes.Clone(e.Fragment))
	}
	return errors.New("not now")
}

// TestRefusedEventsAreLeftAlone: their buffers are not used for later requests.
func TestRefusedEventsAreLeftAlone(t *testing.T) {
	intake := &keepingIntake{}
	h := newTestDoor(intake, 0)
	for i := range 50 {
		body := fmt.Sprintf(`{"k%d":"%s"}`, i, strings.Repeat("x", i))
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/api/v1/"+goodToken+"/telemetry", strings.NewReader(body)))
	}
	if len(intake.kept) != 50 {
		t.Fatalf("%d events seen", len(intake.kept))
	}
	for i := range intake.kept {
		if !bytes.Equal(intake.kept[i], intake.copies[i]) {
			t.Fatalf("event %d changed after it was refused", i)
		}
	}
}
