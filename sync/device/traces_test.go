package device

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/cloudtest/rig"
	"edgesync/sync/refusal"
	"edgesync/sync/registry"
)

// traces are what the doors remember of refusals, the latest first: "who: reason, n; topic;
// detail".
func traces(d *Doors) (list []string) {
	for _, p := range d.Refusals().Latest(100) {
		list = append(list, fmt.Sprintf("%s: %s, %d; %s; %s", p.Who, p.Reason, p.Count, p.Topic, p.Detail))
	}
	return list
}

// Who does not begin as MQTT is told from others by its first bytes, and the trace names the cure.
func TestStrangersAtTheMQTTPort(t *testing.T) {
	for _, c := range []struct{ name, begin, want string }{
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00", "wrong_port, 1; ; " + wordsTLSToMQTT},
		{"TLS, cut", "\x16\x03", "wrong_port, 1; ; " + wordsTLSToMQTT},
		{"HTTP", "GET /api HTTP/1.1\r\nHost: edge\r\n\r\n", "wrong_port, 1; ; " + wordsHTTPToMQ},
		{
			"HTTP, a long one", "POST /api/v1/SECRET/telemetry HTTP/1.1\r\nHost: edge.local:1883\r\nContent-Length: 2\r\n\r\n{}",
			"wrong_port, 1; ; " + wordsHTTPToMQ,
		},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "wrong_port, 1; ; " + wordsHTTPToMQ},
		{"WebSocket", "GET /mqtt HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", "wrong_port, 1; ; " + wordsHTTPToMQ},
		{"a load balancer", "PROXY TCP4 10.0.0.1 10.0.0.2 5 6\r\n", "wrong_port, 1; ; " + wordsProxy},
		{
			"a bridge", string(packet(0x10, append(str("MQTT"), 0x84, 2, 0, 60, 0, 0))), "wrong_version, 1; ; " +
				`it is a bridge of mosquitto (protocol level 0x84): set "try_private false" in the connection's section of mosquitto.conf`,
		},
		{
			"a bridge of 3.1", string(packet(0x10, append(str("MQIsdp"), 0x83, 2, 0, 60, 0, 0))), "wrong_version, 1; ; " +
				`it is a bridge of mosquitto (protocol level 0x83): set "try_private false" in the connection's section of mosquitto.conf`,
		},
		{
			"MQTT-SN", string(packet(0x10, append(str("MQTT-SN"), 1, 2, 0, 60, 0, 0))),
			`wrong_version, 1; ; it asks for the protocol "MQTT-SN", level 1`,
		},
		{
			"version 6", string(packet(0x10, append(str("MQTT"), 6, 2, 0, 60, 0, 0))),
			`wrong_version, 1; ; it asks for the protocol "MQTT", level 6`,
		},
		{
			"a publish first", string(packet(0x30, append(str("t"), "x"...))),
			"malformed, 1; ; it does not begin as MQTT: PUBLISH: type: must not come now",
		},
		{"too large", "\x10\xff\xff\x7f", "too_large, 1; ; its first packet is longer than 8192 bytes"},
		{"never whole", "\x10\x20\x00", "slow, 1; ; its first packet does not come whole"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStand(t, true)
				client := s.pipe(4)
				go func() { _, _ = client.Conn.Write([]byte(c.begin)) }()
				time.Sleep(connectLimit + partingLimit)
				synctest.Wait()
				if got := strings.Join(traces(s.Doors), "\n"); got != "somebody: "+c.want {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
				log := s.log.String()
				if strings.Contains(log, "SECRET") || strings.Contains(log, "<nil>") || strings.Count(log, "\n") != 1 {
					t.Errorf("log: %s", log)
				}
				s.MQTT.Close()
			})
		})
	}
}

// Who only looks whether the port is open leaves no trace.
func TestPortScansLeaveNoTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		s.pipe(4).Conn.Close()
		time.Sleep(connectLimit)
		s.pipe(4) // says nothing
		time.Sleep(2 * connectLimit)
		if got := traces(s.Doors); got != nil {
			t.Error(got)
		}
		s.MQTT.Close()
	})
}

// What a device does wrong has its name, topic and reason in the trace, and never a token.
func TestRefusalsOfMQTTDevices(t *testing.T) {
	s := newStand(t, true)
	c := s.dial(5, "lamp")
	c.publish("plant/temperature", "21", 1)
	c.puback(1, reasonTopic)
	c.publish("v1/devices/me/telemetry", "no { JSON", 2)
	c.puback(2, reasonPayload)
	c.publish("v1/gateway/telemetry", "{}", 3)
	c.puback(3, reasonNotAuthorized)
	if code := c.subscribe("plant/#", 1); code != 0x8f {
		t.Errorf("SUBACK %#x", code)
	}
	if code := s.pipe(4).connect("", "a-token-nobody-has", ""); code != 5 {
		t.Errorf("CONNACK %#x", code)
	}
	got := strings.Join(traces(s.Doors), "\n")
	for _, want := range []string{
		"Lamp: unknown_topic, 2; plant/#; " + errFilter.Error(), "Lamp: bad_payload, 1; v1/devices/me/telemetry; ",
		"Lamp: not_gateway, 1; v1/gateway/telemetry; ", "somebody: unknown_token, 1; ; ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	log := s.log.String()
	if strings.Contains(log, "nobody-has") || strings.Contains(log, "<nil>") {
		t.Error(log)
	}
	if !strings.Contains(log, `msg="Lamp was refused: the topic or path does not exist" door=mqtt topic=plant/temperature`) {
		t.Error(log)
	}
}

// HTTP says the same of its devices.
func TestRefusalsOfHTTPDevices(t *testing.T) {
	intake := &fakeIntake{}
	h := newTestDoor(intake, 100)
	log := new(rig.Log)
	h.refusals = refusal.New(log.Logger())
	ask := func(method, path, body string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		return w.Code
	}
	good := "/api/v1/" + goodToken
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/api/v1/WRONGTOKEN/telemetry", "{}", 401, "192.0.2.1: unknown_token, 1; ; "},
		{"POST", good + "/telemetry", "{", 400, "thermometer: bad_payload, 1; ; "},
		{"POST", good + "/telemetry", strings.Repeat(" ", 200), 413, "thermometer: too_large, 1; ; the body is larger than 100 bytes"},
		{"GET", good + "/rpc?timeout=soon", "", 400, `thermometer: bad_request, 1; ; "timeout" must be a number of milliseconds`},
		{"POST", good + "/nowhere", "{}", 404, "192.0.2.1: unknown_topic, 1; ; " + expectedPaths},
		{"DELETE", good + "/telemetry", "", 405, "192.0.2.1: bad_request, 1; ; the endpoint does not have the method DELETE"},
		{"POST", "/api/v1//telemetry", "{}", 400, "192.0.2.1: bad_request, 2; ; its path is malformed"},
		{"POST", good + "/claim", "7", 400, "thermometer: bad_payload, 2; ; "},
		{
			"POST", "/api/v1/provision", `{"provisionDeviceKey":"k","provisionDeviceSecret":"s"}`, 200,
			"192.0.2.1: provisioning, 1; ; no device profile",
		},
	} {
		if got := ask(c.method, c.path, c.body); got != c.status {
			t.Errorf("%s %s: %d", c.method, c.path, got)
		}
		if got := strings.Join(traces(h.Doors), "\n"); !strings.Contains(got, c.want) {
			t.Errorf("no %q in\n%s", c.want, got)
		}
	}
	intake.err = errors.New("the disk is full")
	ask("POST", good+"/telemetry", `{"a":1}`)
	intake.err = agent.ErrNoRoom
	ask("POST", good+"/telemetry", `{"a":1}`)
	got := strings.Join(traces(h.Doors), "\n")
	for _, want := range []string{"thermometer: full, 1; ; the disk is full", "thermometer: no_room, 1; ; "} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if text := log.String(); strings.Contains(text, "WRONGTOKEN") || strings.Contains(text, goodToken) || strings.Contains(text, "<nil>") {
		t.Error(text)
	}
}

// Before the first sync nobody is told that a token is wrong; guesses are counted all the same, and
// a known token works.
func TestBeforeTheFirstSync(t *testing.T) {
	s := newStand(t, true)
	synced := false
	s.Synced = func() bool { return synced }
	h := NewHTTP(s.Doors, 0)
	ask := func(path, body string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", path, strings.NewReader(body)))
		return w
	}
	const secrets = `{"provisionDeviceKey":"k","provisionDeviceSecret":"s"}`
	for _, c := range []struct{ path, body string }{
		{"/api/v1/unknown/telemetry", `{"a":1}`}, {"/api/v1/provision", secrets}, {"/api/v1/unknown/rpc", "nonsense"},
	} {
		if w := ask(c.path, c.body); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != retryUnsynced {
			t.Errorf("%s: %d, Retry-After %q", c.path, w.Code, w.Header().Get("Retry-After"))
		}
	}
	if w := ask("/api/v1/lamp/telemetry", `{"a":1}`); w.Code != http.StatusOK {
		t.Errorf("a known token: %d", w.Code)
	}
	for version, want := range map[byte]byte{3: 3, 4: 3, 5: 0x88} {
		if code := s.pipe(version).connect("client", "unknown", ""); code != want {
			t.Errorf("version %d: CONNACK %#x, want %#x", version, code, want)
		}
	}
	if code := s.pipe(4).connect("only-a-client-id", "", ""); code != 3 {
		t.Errorf("a client id: CONNACK %#x", code)
	}
	if code := s.pipe(4).connect("c", "user", "password"); code != 3 {
		t.Errorf("a password: CONNACK %#x", code)
	}
	p := s.pipe(5)
	p.connect("provision", "", "")
	p.publish(provisionTopic, secrets, 1)
	p.closed(reasonQuota)
	s.dial(4, "lamp")

	synced = true
	if w := ask("/api/v1/unknown/telemetry", `{"a":1}`); w.Code != http.StatusUnauthorized {
		t.Errorf("after the sync: %d", w.Code)
	}
	if code := s.pipe(4).connect("client", "unknown", ""); code != 5 {
		t.Errorf("after the sync: CONNACK %#x", code)
	}
}

// Guesses are held up before the first sync too.
func TestGuessesBeforeTheFirstSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestDoor(&fakeIntake{}, 0)
		h.Synced = func() bool { return false }
		codes := make(chan int, 30)
		for range cap(codes) {
			go func() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("POST", "/api/v1/guess"+rand.Text()+"/telemetry", strings.NewReader("{}")))
				codes <- w.Code
			}()
		}
		count := make(map[int]int)
		for range cap(codes) {
			count[<-codes]++
		}
		if count[503] != 10+4 || count[429] != 16 {
			t.Errorf("answers: %v", count)
		}
		if got := strings.Join(traces(h.Doors), "\n"); !strings.Contains(got, "192.0.2.1: guessing, 16; ; ") {
			t.Error(got)
		}
	})
}

// always serves one certificate.
func always(pair tls.Certificate) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }
}

// What goes wrong in a handshake gets a sentence that names the cure, at either port.
func TestFailedHandshakes(t *testing.T) {
	shake := func(c *tls.Config) func(net.Conn) {
		return func(conn net.Conn) {
			t := tls.Client(conn, c)
			_ = t.Handshake()
			_, _ = t.Read(make([]byte, 1)) // the alert, or the end
			_ = conn.Close()
		}
	}
	say := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = io.WriteString(conn, text)
			_, _ = io.ReadAll(conn)
			_ = conn.Close()
		}
	}
	trusting := func(c *tls.Config) *tls.Config {
		c.InsecureSkipVerify = true
		return c
	}
	served := always(certificate(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
	for _, c := range []struct {
		name string
		do   func(net.Conn)
		want string
	}{
		{"the authority is not known", shake(&tls.Config{ServerName: "edge"}), "tls, 1; ; " + wordsDistrust},
		{"RSA suites only", shake(trusting(&tls.Config{
			MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256},
		})), "tls, 1; ; " + wordsCipher},
		{"TLS 1.1", shake(trusting(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})), "tls, 1; ; " + wordsOldTLS},
		{"plain MQTT", say(string(connectPacket(4, "", "lamp", ""))), "wrong_port, 1; ; " + wordsMQTTToTLS},
		{"plain HTTP", say("GET / HTTP/1.1\r\nHost: edge\r\n\r\n"), "wrong_port, 1; ; " + wordsHTTPToTLS},
		{"something else", say("SSH-2.0-OpenSSH_9.6\r\n"), "wrong_port, 1; ; " + wordsNotTLS},
		{"a load balancer", say("PROXY TCP4 10.0.0.1 10.0.0.2 5 6\r\n"), "wrong_port, 1; ; " + wordsProxy},
	} {
		for _, door := range []string{"mqtt", "http"} {
			t.Run(c.name+" at "+door, func(t *testing.T) {
				d := NewDoors(Ports{Log: slog.New(slog.DiscardHandler), Lookups: &book{tokens: map[string]registry.Device{}}})
				plain, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				l := tls.NewListener(plain, TLSConfig(served))
				var end func()
				if door == "mqtt" {
					m := NewMQTT(d)
					go m.Serve(l)
					end = func() { m.Close() }
				} else {
					srv := NewServer(NewHTTP(d, 0), slog.New(slog.DiscardHandler))
					go srv.Serve(d.ListenWeb(tls.NewListener(plain, WebTLSConfig(served))))
					end = func() { srv.Close() }
				}
				conn, err := net.Dial("tcp", plain.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				c.do(conn)
				rig.Eventually(t, "a trace", func() bool { return len(traces(d)) > 0 })
				if got := strings.Join(traces(d), "\n"); !strings.HasPrefix(got, "127.0.0.1: "+c.want) {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
				end()
			})
		}
	}
}
