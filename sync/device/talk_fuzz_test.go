package device

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// halves is the server's end of a connection of which the client may close its half alone.
type halves struct {
	net.Conn // to write to
	in       net.Conn
}

func (h halves) Read(b []byte) (int, error)         { return h.in.Read(b) }
func (h halves) SetReadDeadline(t time.Time) error  { return h.in.SetReadDeadline(t) }
func (h halves) SetWriteDeadline(t time.Time) error { return h.Conn.SetWriteDeadline(t) }
func (h halves) SetDeadline(t time.Time) error {
	_ = h.in.SetDeadline(t)
	return h.Conn.SetDeadline(t)
}
func (h halves) Close() error { _ = h.in.Close(); return h.Conn.Close() }

// outcome is what became of bytes on one connection.
type outcome struct {
	answers []string // with their fields in order
	events  []string // fragments
	closed  time.Duration
}

// brought brings bytes to a door, the first cut of them alone, and returns what became of them.
// serve is the way into the server.
func brought(t *testing.T, input []byte, cut int, half bool, serve func(*Server, net.Listener)) (o outcome) {
	synctest.Test(t, func(t *testing.T) {
		intake, l := &fakeIntake{}, newPipeListener()
		door := newTestDoor(intake, 2000)
		srv := NewServer(door, slog.New(slog.DiscardHandler))
		go serve(srv, door.Listen(l))
		up, in := net.Pipe()
		down, out := net.Pipe()
		l.conns <- from{halves{out, in}, honest}
		begun := time.Now()
		var writing sync.WaitGroup
		writing.Go(func() {
			if cut = min(cut, len(input)); cut > 0 {
				_, _ = up.Write(input[:cut])
				time.Sleep(time.Millisecond)
			}
			_, _ = up.Write(input[cut:])
			if half {
				_ = up.Close()
			}
		})
		all, _ := io.ReadAll(down)
		o.closed = time.Since(begun)
		up.Close()
		writing.Wait()
		srv.Close()
		synctest.Wait()
		o.answers, o.events = splitAnswers(t, all), intake.got
	})
	return o
}

// splitAnswers takes a stream of answers apart. In each, the fields are put in order.
func splitAnswers(t *testing.T, all []byte) (list []string) {
	for len(all) > 0 {
		head, rest, ok := bytes.Cut(all, []byte("\r\n\r\n"))
		if !ok {
			t.Fatalf("%q is no answer", all)
		}
		lines := strings.Split(string(head), "\r\n")
		slices.Sort(lines[1:])
		n := len(rest) // to the end of the connection
		for _, l := range lines[1:] {
			if v, ok := strings.CutPrefix(l, "Content-Length: "); ok {
				n = 0
				for _, c := range v {
					n = 10*n + int(c-'0')
				}
			}
		}
		if n > len(rest) {
			t.Fatalf("%q is cut off", all)
		}
		list = append(list, strings.Join(lines, "\n")+"\n\n"+string(rest[:n]))
		all = rest[n:]
	}
	return list
}

// same expects that a connection comes to the same at our door and at net/http alone.
func same(t *testing.T, input []byte, cut int, half bool) (ours outcome) {
	ours = brought(t, input, cut, half, func(s *Server, l net.Listener) { _ = s.Serve(l) })
	alone := brought(t, input, cut, half, func(s *Server, l net.Listener) { _ = s.inner.Serve(l) })
	if !slices.Equal(ours.answers, alone.answers) {
		t.Errorf("%q, %d, %v is answered\n%q\nand by net/http\n%q", input, cut, half, ours.answers, alone.answers)
	}
	if !slices.Equal(ours.events, alone.events) {
		t.Errorf("%q, %d, %v: the events are\n%q\nand by net/http\n%q", input, cut, half, ours.events, alone.events)
	}
	return ours
}

// wirePost is a post as it comes over the wire, with more fields.
func wirePost(path, fields, body string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n" + body
}

// hostilePosts are requests that two parsers may read differently, and others.
func hostilePosts() (list []string) {
	good := "/api/v1/" + goodToken + "/telemetry"
	plain := wirePost(good, "Content-Length: 7\r\n", `{"a":1}`)
	hidden := wirePost(good, "Content-Length: 7\r\n", `{"h":1}`)
	chunked := "7\r\n{\"a\":1}\r\n0\r\n\r\n"
	list = []string{
		"", plain, plain + plain, strings.Repeat(plain, 100),
		plain + "GET /api/v1/" + goodToken + "/attributes HTTP/1.1\r\nHost: x\r\n\r\n" + plain,
		wirePost("/api/v1/"+goodToken+"/attributes", "Content-Type: application/json\r\nContent-Length: 7\r\n", `{"a":1}`),
		wirePost("/api/v1/nobody/telemetry", "Content-Length: 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Content-Length: 4\r\n", `{"a"`) + plain,
		wirePost(good, "Content-Length: 1\r\n", "\xff") + plain,
		wirePost(good, "Content-Type: application/json; charset=utf-16\r\nContent-Length: 14\r\n",
			"{\x00\"\x00a\x00\"\x00:\x001\x00}\x00") + plain,
		wirePost(good, "Content-Type: multipart/form-data\r\nContent-Length: 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Content-Type: nothing\r\nContent-Length: 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Content-Length: 2001\r\n", strings.Repeat(" ", 2001)) + plain, // beyond the limit of the door
		wirePost(good, "Content-Length: 3000\r\n", "") + plain,
		wirePost(good, "Content-Length: 9000\r\n", strings.Repeat(" ", 9000)) + plain,
		wirePost(good, "Content-Length: 1900\r\nUser-Agent: "+strings.Repeat("a", 3000)+"\r\n",
			`{"a":1}`+strings.Repeat(" ", 1893)) + plain,
		wirePost(good, "Content-Length: 7\r\nUser-Agent: "+strings.Repeat("a", 30000)+"\r\n", `{"a":1}`) + plain,
		// CL.TE, TE.CL, TE.TE, and several lengths.
		wirePost(good, "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", chunked+hidden) + plain,
		wirePost(good, "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", chunked+hidden) + plain,
		wirePost(good, "Transfer-Encoding: chunked\r\n", chunked) + plain,
		wirePost(good, "Transfer-Encoding: xchunked\r\nContent-Length: 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", chunked) + plain,
		wirePost(good, "Transfer-Encoding : chunked\r\nContent-Length: 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Transfer-Encoding:\x0bchunked\r\nContent-Length: 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Content-Length: 7\r\nContent-Length: 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Content-Length: 7\r\nContent-Length: 8\r\n", `{"a":1}`) + hidden,
		wirePost(good, "Content-Length: 7\r\ncontent-length: 0\r\n", `{"a":1}`) + hidden,
		wirePost(good, "Content-Length: 7, 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Content-Length: +7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Content-Length: -7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Content-Length: 07\r\n", `{"a":1}`) + plain,
		wirePost(good, "Content-Length:  7 \r\n", `{"a":1}`) + plain,
		wirePost(good, "Content-Length:\t7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Content-Length: 7 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Content-Length: 0x7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Content-Length: 0\r\n", hidden), wirePost(good, "Content-Length:\r\n", hidden), wirePost(good, "", hidden),
		wirePost(good, "Content-Length : 7\r\n", `{"a":1}`) + plain,
		wirePost(good, " Content-Length: 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "CONTENT-LENGTH: 7\r\nCONNECTION: KEEP-ALIVE\r\n", `{"a":1}`) + plain,
		wirePost(good, "Content-Length: 99999999999999999999\r\n", `{"a":1}`) + plain,
		// Ends of lines and odd bytes.
		strings.ReplaceAll(plain, "\r\n", "\n") + plain, strings.Replace(plain, "x\r\n", "x\n", 1) + plain,
		strings.Replace(plain, "x\r\n", "x\r", 1) + plain, strings.Replace(plain, "\r\n\r\n", "\r\n\n", 1) + plain,
		strings.Replace(plain, "x\r\n", "x\x00\r\n", 1) + plain, plain + "\r\n" + plain, plain + "\r\n\r\n" + plain,
		plain + "\r\n\r\n\r\n" + plain, plain + "\n" + plain, plain + "\r", plain + "\r\nP", plain + "POS", plain + "P",
		"\r\n" + plain, "P",
		wirePost(good, "User-Agent: a\r\n b\r\nContent-Length: 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "User-Agent: a\tb\r\nContent-Length: 7\r\n", `{"a":1}`) + plain,
		// Fields that matter.
		wirePost(good, "Connection: close\r\nContent-Length: 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Expect: 100-continue\r\nContent-Length: 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Expect: other\r\nContent-Length: 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Content-Encoding: gzip\r\nContent-Length: 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Origin: http://a\r\nContent-Length: 7\r\n", `{"a":1}`) + plain,
		wirePost(good, "Host: y\r\nContent-Length: 7\r\n", `{"a":1}`) + plain,
		strings.Replace(plain, "Host: x\r\n", "", 1) + plain, strings.Replace(plain, "Host: x", "Host: a b", 1) + plain,
		// The first line.
		strings.Replace(plain, "1.1", "1.0", 1) + plain, strings.Replace(plain, "1.1", "2.0", 1) + plain,
		strings.Replace(plain, "POST", "post", 1) + plain, strings.Replace(plain, "POST ", "POST  ", 1) + plain,
		strings.Replace(plain, "/api", "http://x/api", 1) + plain, strings.Replace(plain, "/api", "//api", 1) + plain,
		strings.Replace(plain, "/telemetry", "//telemetry", 1) + plain, strings.Replace(plain, "/telemetry", "/../telemetry", 1) + plain,
		strings.Replace(plain, "/telemetry", "/telemetry?a=b", 1) + plain, strings.Replace(plain, goodToken, "..", 1) + plain,
		strings.Replace(plain, goodToken, "%41"+goodToken[1:], 1) + plain, strings.Replace(plain, goodToken, goodToken+"%2F", 1) + plain,
		strings.Replace(plain, goodToken, strings.Repeat("t", 5000), 1) + plain, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"\x16\x03\x01\x02\x00", "\x10\x0c\x00\x04MQTT", strings.Repeat("x", 5000), plain[:20], plain[:len(plain)-3], plain[:len(plain)-9],
	}
	return list
}

// TestTalkIsNetHTTP brings the same bytes to our door and to net/http alone, whole and in two
// parts, from clients that close their half and others.
func TestTalkIsNetHTTP(t *testing.T) {
	for _, input := range hostilePosts() {
		cuts, halves := []int{0, 1, 3, 60, len(input) - 4, len(input) / 2}, []bool{false, true}
		if testing.Short() { // on emulated processors
			cuts, halves = []int{0, len(input) / 2}, halves[:1]
		}
		for _, cut := range cuts {
			for _, half := range halves {
				same(t, []byte(input), max(cut, 0), half)
			}
		}
	}
}

func FuzzTalk(f *testing.F) {
	for _, input := range hostilePosts() {
		f.Add([]byte(input), uint16(0), false)
		f.Add([]byte(input), uint16(len(input)/2), true)
	}
	f.Fuzz(func(t *testing.T, input []byte, cut uint16, half bool) {
		if len(input) <= 16<<10 {
			same(t, input, int(cut), half)
		}
	})
}
