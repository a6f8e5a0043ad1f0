package device

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestOverTheWire runs the server with real sockets: keep-alive, a body that stops in the middle,
// and answers in order.
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

	// A body that stops early makes no event, though what has come is valid JSON.
	for _, part := range []string{
		path + "Host: x\r\nContent-Length: 20\r\n\r\n{\"a\":1}",
		path + "Host: x\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n",
	} {
		c, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, part); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(c)
		c.Close()
		if bytes.Contains(answer, []byte(" 200 ")) {
			t.Errorf("%q was answered %q", part, answer)
		}
	}
	if _, events := intake.count(); events != 2 {
		t.Errorf("%d events, want still 2", events)
	}
}

// TestSlowLoris expects that a client that trickles headers or a body is cut off at the limit, and
// that nothing of it is kept.
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
				l := newPipeListener()
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
