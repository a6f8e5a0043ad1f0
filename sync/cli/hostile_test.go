//go:build !race

package cli

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"edgesync/sync/cloudtest"
)

// crowd opens n connections, writes text to each and keeps them. The agent may close them.
func crowd(t *testing.T, addr string, n int, text func(i int) []byte) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, 0, n)
	t.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
	})
	for i := range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		_, _ = c.Write(text(i)) // the agent may have closed it
	}
	return conns
}

// A thousand MQTT devices and more fit into little memory; then come more slow clients than there
// are slots, on both doors: health checks and honest devices get through all the same, no session
// ends, and the memory stays bounded.
func TestMemoryOfAThousandConnections(t *testing.T) {
	const devices = 1000
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	for i := range devices {
		s.cloud.AddDevice(s.edge.ID, cloudtest.Device{
			ID: s.cloud.Tenant().NewID(), Name: fmt.Sprint("pump ", i),
			CredentialsType: "ACCESS_TOKEN", CredentialsID: fmt.Sprint("pump-", i),
		})
	}
	s.exe = builtAgent(t)
	r := s.synced()
	memory := func(when string) {
		t.Helper()
		rss := r.snapshot().RSSBytes
		t.Logf("%s: %.1f MB", when, float64(rss)/1e6)
		if rss == 0 || rss > oneBound {
			t.Errorf("%s: %d bytes of memory, at most %d", when, rss, oneBound)
		}
	}
	memory("before")
	mqtt := r.snapshot().MQTTAddress
	// A hundred at a time: of more that wait for their first answer the oldest give way.
	var sessions []net.Conn
	for len(sessions) < devices {
		begun := len(sessions)
		sessions = append(sessions, crowd(t, mqtt, 100, func(i int) []byte {
			return mqttPacket(0x10, mqttString("MQTT"), []byte{4, 0x82, 0, 60}, mqttString(""), mqttString(fmt.Sprint("pump-", begun+i)))
		})...)
		for i, c := range sessions[begun:] {
			if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
				t.Fatalf("session %d: %v", begun+i, err)
			}
		}
	}
	publish := func(id byte) {
		t.Helper()
		for i, c := range sessions {
			_, _ = c.Write(mqttPacket(0x32, mqttString("v1/devices/me/telemetry"), []byte{0, id}, []byte(`{"n":1}`)))
			var ack [4]byte
			if _, err := io.ReadFull(c, ack[:]); err != nil || ack != [4]byte{0x40, 2, 0, id} {
				t.Fatalf("session %d: %x, %v", i, ack, err)
			}
		}
	}
	publish(1)
	memory("a thousand sessions")
	served := func(when string) {
		t.Helper()
		for _, path := range []string{"/healthz", "/"} {
			res, err := http.Get("http://" + r.http + path)
			if errors.Is(err, io.EOF) { // among a thousand others it may be the oldest without progress
				t.Logf("%s: %s: %v; the agent's log:\n%s", when, path, err, &r.log)
				res, err = http.Get("http://" + r.http + path)
			}
			if err != nil {
				t.Fatalf("%s: %s: %v", when, path, err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Errorf("%s: %s: %d", when, path, res.StatusCode)
			}
		}
		// A connection that is kept for later makes no progress, so it may be closed while the post
		// is on its way there.
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		if code := r.insist("token-0", `{"n":1}`); code != http.StatusOK {
			t.Errorf("%s: a post: %d", when, code)
		}
		c, _, code, err := mqttDial(mqtt, "token-1")
		if err != nil || code != 0 {
			t.Fatalf("%s: CONNACK %d, %v", when, code, err)
		}
		c.Close()
	}
	crowd(t, r.http, 1100, func(int) []byte {
		return []byte("POST /api/v1/token-0/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"a\":")
	})
	served("with slow posts")
	memory("with slow posts")
	crowd(t, mqtt, 1100, func(i int) []byte { return []byte{0x10, 100, 0, 4}[:i%5] })
	served("with silent connections")
	publish(2)
	memory("with silent connections")
}
