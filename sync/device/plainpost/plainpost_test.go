package plainpost

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

const (
	line = "POST /api/v1/A1_b-2/telemetry HTTP/1.1\r\n"
	rest = "Host: 192.0.2.1:8080\r\nContent-Length: 7\r\n\r\n"
)

// TestPlain reads heads as devices write them.
func TestPlain(t *testing.T) {
	for _, c := range []struct {
		head, path, host, typ string
		length                int
	}{
		{line + rest, "/api/v1/A1_b-2/telemetry", "192.0.2.1:8080", "", 7},
		{
			"POST /api/v1/x/attributes HTTP/1.1\r\nuser-agent: a b (c; d)\r\nACCEPT: */*\r\nConnection:Keep-Alive\r\n" +
				"Content-Type:   application/json; charset=utf-8\r\nHOST: [2001:db8::1]\r\ncontent-length:4096\r\n" +
				"Accept-Encoding: identity;q=1,chunked;q=0.1\r\nAccept-Language:\r\nCache-Control: no-cache\r\n\r\n",
			"/api/v1/x/attributes", "[2001:db8::1]", "application/json; charset=utf-8", 4096,
		},
	} {
		var h Head
		if v := Parse([]byte(c.head+"POST"), &h); v != Plain {
			t.Errorf("%q: %d", c.head, v)
		}
		if string(h.Path) != c.path || string(h.Host) != c.host || string(h.Type) != c.typ ||
			h.Length != c.length || h.Size != len(c.head) {
			t.Errorf("%q: path %q, host %q, type %q, %d and %d bytes", c.head, h.Path, h.Host, h.Type, h.Size, h.Length)
		}
		for n := range len(c.head) {
			if v := Parse([]byte(c.head[:n]), &h); v != Partial {
				t.Errorf("%q: %d, want Partial", c.head[:n], v)
			}
		}
	}
}

// TestOther expects that all that two parsers might read differently is left to one.
func TestOther(t *testing.T) {
	replaced := func(old, with string) string {
		if !strings.Contains(line+rest, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(line+rest, old, with, 1)
	}
	with := func(field string) string { return line + field + "\r\n" + rest }
	for _, head := range []string{
		// The first line.
		replaced("POST", "GET"), replaced("POST", "post"), replaced("POST", "POST "), " " + line + rest, "\r\n" + line + rest,
		replaced("1.1", "1.0"), replaced("1.1", "2.0"), replaced("HTTP/1.1", "HTTP/1.1 "), replaced(" HTTP/1.1", "  HTTP/1.1"),
		replaced(" HTTP/1.1", ""), replaced("/api", "http://h/api"), replaced("/api", "//api"), replaced("/api/v1", "/api/v2"),
		replaced("A1_b-2", ""), replaced("A1_b-2", "."), replaced("A1_b-2", ".."), replaced("A1_b-2", "a.b"), replaced("A1_b-2", "a%2Fb"),
		replaced("A1_b-2", "a%41"), replaced("A1_b-2", "a;b"), replaced("A1_b-2", "a/b"), replaced("A1_b-2", "a b"),
		replaced("A1_b-2", "ä"), replaced("A1_b-2", strings.Repeat("a", 65)), replaced("telemetry", "telemetry?a=b"),
		replaced("telemetry", "telemetry?"), replaced("telemetry", "telemetry#a"), replaced("telemetry", "telemetry/"),
		replaced("telemetry", "rpc"), replaced("telemetry", "claim"), replaced("telemetry", "attributes/updates"),
		// Ends of lines and odd bytes.
		replaced("\r\n", "\n"), replaced("\r\nContent", "\nContent"), replaced("\r\n\r\n", "\n\n"), replaced("\r\n\r\n", "\r\n\n"),
		replaced("\r\nContent", "\rContent"), replaced("\r\nContent", "\r\r\nContent"), replaced("\r\nContent", "\x00\r\nContent"),
		with("User-Agent: a\x00b"), with("User-Agent: a\tb"), with("User-Agent: \x7f"), with("User-Agent: \xff"), with("User-Agent: a\rb"),
		with("User-Agent: a\r\n b"), with("User-Agent: a\r\n\tb"), with(" User-Agent: a"),
		with("User-Agent : a"), with("User-Agent"), with(": a"),
		// What says where the body ends.
		with("Transfer-Encoding: chunked"), with("transfer-encoding: identity"), with("Transfer-Encoding:\x0bchunked"),
		with("Transfer-Encoding : chunked"), with("Content-Length: 7"), with("content-length: 8"),
		replaced("Content-Length: 7\r\n", ""), replaced(": 7", ": +7"), replaced(": 7", ": -7"), replaced(": 7", ": 07"),
		replaced(": 7", ": 0"), replaced(": 7", ":"), replaced(": 7", ": 7 "), replaced(": 7", ": 7,7"), replaced(": 7", ": 0x7"),
		replaced(": 7", ": 7 7"), replaced(": 7", ":\t7"), replaced(": 7", ": 4097"), replaced(": 7", ": 99999999999999999999"),
		replaced("Content-Length", "Content_Length"), replaced("Content-Length", "Content-Length "),
		// Other fields.
		with("Expect: 100-continue"), with("Upgrade: h2c"), with("Content-Encoding: gzip"), with("Origin: null"), with("Trailer: a"),
		with("Connection: close"), with("Connection: keep-alive, Upgrade"), with("Connection: keep-alive\r\nConnection: keep-alive"),
		with("X-Forwarded-For: 192.0.2.7"), with("X-Anything: a"), with("Host: other"), with("Content-Type:"),
		with("User-Agent: a\r\nuser-agent: a"), replaced("Host: 192.0.2.1:8080\r\n", ""), replaced("192.0.2.1:8080", ""),
		replaced("192.0.2.1:8080", "a b"), replaced("192.0.2.1:8080", "a/b"), replaced("192.0.2.1:8080", "a@b"),
		replaced("192.0.2.1:8080", strings.Repeat("h", 256)),
	} {
		var h Head
		if v := Parse([]byte(head), &h); v != Other {
			t.Errorf("%q: %d, want Other", head, v)
		}
	}
	for _, begin := range []string{
		"G", "POST /i", line[:20] + "\x00", line + "Host: a\rb", line + "Host: a\n", "POST /api/v1/x/rpc HTTP/1.1\r\n",
	} {
		var h Head
		if v := Parse([]byte(begin), &h); v != Other {
			t.Errorf("%q: %d, want Other at once", begin, v)
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	head, h := []byte(line+rest), new(Head)
	if n := testing.AllocsPerRun(100, func() { Parse(head, h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParse expects that net/http reads the same from a plain head, that each beginning of one is
// Partial, and that what follows the head changes nothing.
func FuzzParse(f *testing.F) {
	f.Add([]byte(line + rest + `{"a":1}`))
	f.Add([]byte("POST /api/v1/x/attributes HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\nAccept: */*\r\nContent-Type: text/plain\r\n" +
		"Connection: keep-alive\r\nAccept-Encoding: gzip\r\nCache-Control: a\r\nAccept-Language: b\r\nContent-Length: 2\r\n\r\n{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h, again Head
		if Parse(b, &h) != Plain {
			return
		}
		if v := Parse(b[:h.Size], &again); v != Plain || again.Size != h.Size || again.Length != h.Length {
			t.Fatalf("%q: %d without what follows", b, v)
		}
		for n := range h.Size {
			if v := Parse(b[:n], &again); v != Partial {
				t.Fatalf("%q: %d, want Partial", b[:n], v)
			}
		}
		body := bytes.Repeat([]byte("x"), h.Length)
		in := bufio.NewReader(io.MultiReader(bytes.NewReader(b[:h.Size]), bytes.NewReader(body), strings.NewReader("next")))
		r, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if r.Method != "POST" || r.Proto != "HTTP/1.1" || r.RequestURI != string(h.Path) || r.URL.Path != string(h.Path) ||
			r.URL.RawPath != "" || r.URL.RawQuery != "" || r.Host != string(h.Host) || r.Header.Get("Content-Type") != string(h.Type) ||
			r.ContentLength != int64(h.Length) || r.TransferEncoding != nil || r.Close {
			t.Fatalf("%q: net/http reads %+v", b, r)
		}
		got, err := io.ReadAll(r.Body)
		left, _ := io.ReadAll(in)
		if err != nil || !bytes.Equal(got, body) || string(left) != "next" {
			t.Fatalf("%q: net/http reads a body of %d bytes, %v, and leaves %q", b, len(got), err, left)
		}
	})
}
