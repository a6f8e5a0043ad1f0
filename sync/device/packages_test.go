package device

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgesync/sync/registry"
)

func withFirmware(t *testing.T, s *stand, size int) string {
	t.Helper()
	var text strings.Builder
	for text.Len() < size {
		fmt.Fprintf(&text, "%d,", text.Len())
	}
	data := text.String()[:size]
	path := filepath.Join(t.TempDir(), "binary")
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	s.book.firmware = registry.Package{
		Title: "fw", Version: "1.2", FileName: "fw\r\nX: y.bin", ContentType: "application/x-fw", Path: path,
	}
	return data
}

func TestHTTPDownload(t *testing.T) {
	s := newStand(t, true)
	h := NewHTTP(s.Doors, 0)
	data := withFirmware(t, s, 100001)
	for _, c := range []struct {
		query  string
		status int
		from   int
		to     int
	}{
		{"firmware?title=fw&version=1.2", 200, 0, 100001},
		{"firmware?title=fw&version=1.2&size=0&chunk=7", 200, 0, 100001},
		{"firmware?title=fw&version=1.2&size=50000&chunk=0", 200, 0, 50000},
		{"firmware?title=fw&version=1.2&size=50000&chunk=1", 200, 50000, 100000},
		{"firmware?title=fw&version=1.2&size=50000&chunk=2", 200, 100000, 100001},
		{"firmware?title=fw&version=1.2&size=50000&chunk=3", 200, 100001, 100001},
		{"firmware?title=fw&version=1.2&size=2000000000&chunk=2000000000", 200, 100001, 100001},
		{"firmware?title=fw&version=1.2&size=10&chunk=-1", 200, 0, 10},
		{"firmware?title=fw&version=1.3", 400, 0, 0},
		{"software?title=fw&version=1.2", 404, 0, 0},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/lamp/"+c.query, nil))
		if w.Code != c.status || c.status == 200 && w.Body.String() != data[c.from:c.to] {
			t.Errorf("%s: %d, %d bytes", c.query, w.Code, w.Body.Len())
		}
		head := w.Header()
		if c.status == 200 && (head.Get("Content-Type") != "application/x-fw" ||
			head.Get("Content-Disposition") != "attachment;filename=fwX: y.bin" ||
			fmt.Sprint(head[lowerFileName]) != "[fwX: y.bin]" ||
			head.Get("Content-Length") != fmt.Sprint(c.to-c.from)) {
			t.Errorf("%s: %v", c.query, head)
		}
	}
}

// A version that the server turned into a number on its way to the edge still means that version.
func TestIsTold(t *testing.T) {
	for _, c := range []struct {
		text, written string
		want          bool
	}{
		{"fw", "fw", true},
		{"fw", "FW", false},
		{"2.10", "2.10", true},
		{"2.10", "2.1", true},
		{"2.1", "2.10", false},
		{"2.0", "2.0", true},
		{"007", "7", true},
		{"1.2.3", "1.2", false},
		{"fw", `"fw"`, false},
		{"", "0", false},
	} {
		if got := means(c.written, c.text); got != c.want {
			t.Errorf("%q as %q: %v", c.text, c.written, got)
		}
	}
}

func TestMQTTFirmware(t *testing.T) {
	s := newStand(t, true)
	data := withFirmware(t, s, 100001)
	d := s.dial(4, "lamp")
	d.subscribe("v2/fw/response/+/chunk/+", 0)
	d.subscribe("v2/fw/error", 0)
	d.ask("v2/fw/request/7/chunk/0", "50000", 1)
	d.expect("v2/fw/response/7/chunk/0 " + data[:50000])
	d.ask("v2/fw/request/7/chunk/2", "", 1)
	d.expect("v2/fw/response/7/chunk/2 " + data[100000:])
	d.ask("v2/fw/request/7/chunk/3", "", 1)
	d.expect("v2/fw/response/7/chunk/3 ")
	d.ask("v2/fw/request/x/chunk/3", "", 1) // no topic
	d.ask("v2/fw/request/8/chunk/0", "", 1) // the whole file is too much for one message
	d.expect("v2/fw/error PAYLOAD_TOO_LARGE")
	d.closed(0)
	d = s.dial(5, "lamp")
	// With QoS 1 the client would write an acknowledgement into a pipe that nobody reads.
	d.subscribe("v2/fw/error", 0)
	d.publish("v2/fw/request/9/chunk/0", "much", 1)
	d.puback(1, reasonPayload)
	data = withFirmware(t, s, 1000)
	d.ask("v2/fw/request/9/chunk/5", "-1", 1)
	d.expect("v2/fw/response/9/chunk/5 " + data)
	d.ask("v2/sw/request/1/chunk/0", "10", 1)
	d.expect("v2/fw/error NOT_FOUND")
	d.closed(reasonUnspecified)
}
