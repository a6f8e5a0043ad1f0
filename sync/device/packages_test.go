package device

import (
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
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
	d.ask("v2/fw/request/8/chunk/0", "", 1) // the whole file
	d.expect("v2/fw/response/8/chunk/0 " + data)
	d.ask("v2/fw/request/8/chunk/0", "100000", 1)
	d.expect("v2/fw/response/8/chunk/0 " + data[:100000])
	d.Close()
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

// TestMQTTWholeFile asks for the whole package in all ways, while other messages come and go: it is
// one message, which nothing breaks into, and which is never held in memory (API.md 4.1).
func TestMQTTWholeFile(t *testing.T) {
	const size = 782832
	for _, version := range versions {
		for i, ask := range []struct{ name, payload string }{
			{"v2/fw/request/1/chunk/0", ""},
			{"v2/fw/request/1/chunk/7", "0"},
			{"v2/fw/request/1/chunk/0", "-1"},
			{"v2/fw/request/1/chunk/0", "782832"},
			{"v2/fw/request/1/chunk/0", "2000000000"},
		} {
			if i > 0 && version != 4 {
				break // what is asked means the same in every version
			}
			s := newStand(t, true)
			data := withFirmware(t, s, size)
			d := s.dial(version, "lamp")
			d.subscribe("v2/fw/response/+/chunk/+", 0)
			d.subscribe("v1/devices/me/attributes", 0)
			topic := strings.Replace(ask.name, "request", "response", 1)
			s.SharedAttributes(lampID, []proto.KV{long("before", 1)}, nil)
			d.expect(`v1/devices/me/attributes {"before":1}`)
			// whole expects a message with that part of the file.
			whole := func(topic, want string) {
				t.Helper()
				if got, payload, _ := d.message(); got != topic || payload != want {
					t.Fatalf("%s: %s, %d bytes, want %s, %d bytes", ask, got, len(payload), topic, len(want))
				}
			}
			d.ask(ask.name, ask.payload, 1)
			if _, err := d.in.Peek(1); err != nil { // the file has begun
				t.Fatal(err)
			}
			s.SharedAttributes(lampID, []proto.KV{long("meanwhile", 1)}, nil)
			if n := s.net.out.Load(); n > 8<<10 {
				t.Errorf("%d bytes are held", n)
			}
			whole(topic, data)
			d.expect(`v1/devices/me/attributes {"meanwhile":1}`)
			d.ask(ask.name, ask.payload, 2) // the file again, and a chunk of it
			whole(topic, data)
			d.ask("v2/fw/request/2/chunk/1", "700000", 3)
			whole("v2/fw/response/2/chunk/1", data[700000:])
			d.Close()
		}
	}
}

// A device that goes away, or stops reading, in the midst of a package takes nothing with it; one
// that takes small packets only is told so.
func TestMQTTWholeFileIsBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		withFirmware(t, s, 1<<20)
		for _, how := range []func(d *tester){
			func(d *tester) { d.Close() },
			func(d *tester) { time.Sleep(sendLimit + time.Second) },
			func(d *tester) { s.pipe(4).connect("", "lamp", "") },     // connects again
			func(*tester) { os.Truncate(s.book.firmware.Path, 1000) }, // the medium
			func(*tester) { s.DeviceChanged(registry.Device{ID: lampID}, registry.DeviceDeleted) },
		} {
			d := s.dial(4, "lamp")
			d.SetDeadline(time.Time{})
			d.ask("v2/fw/request/1/chunk/0", "", 1)
			var b [10000]byte
			io.ReadFull(d.in, b[:])
			how(d)
			if rest, _ := io.Copy(io.Discard, d.in); rest > 1<<20-20000 {
				t.Errorf("%d bytes more", rest)
			}
			d.Close()
			synctest.Wait()
			if n := s.net.out.Load(); n > 8<<10 {
				t.Errorf("%d bytes are held", n)
			}
		}
		s.MQTT.Close()
	})
	s := newStand(t, true)
	withFirmware(t, s, 5000)
	d := s.pipe(5)
	b := connectPacket(5, "c", "lamp", "")
	b = append(b[:12:12], append([]byte{5, 0x27, 0, 0, 0x10, 0}, b[13:]...)...) // at most 4,096 bytes
	b[1] += 5
	d.write(b)
	if head, body := d.read(); head != 0x20 || body[1] != 0 {
		t.Fatalf("%#x %x", head, body)
	}
	d.subscribe("v2/fw/error", 0)
	d.ask("v2/fw/request/1/chunk/0", "4000", 1)
	d.message()
	d.ask("v2/fw/request/1/chunk/0", "", 2)
	d.message()
	d.ask("v2/fw/request/2/chunk/0", "", 3)
	d.expect("v2/fw/error PAYLOAD_TOO_LARGE")
	d.closed(reasonUnspecified)
}
