package device

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/sync/guess"
	"edgesync/sync/registry"
)

// from is a connection with another remote address.
type from struct {
	net.Conn
	addr string
}

func (f from) RemoteAddr() net.Addr {
	a, err := net.ResolveTCPAddr("tcp", f.addr)
	if err != nil {
		panic(err)
	}
	return a
}

// gate is an HTTP server on in-memory connections in a bubble with a fake clock.
type gate struct {
	*testing.T
	listener *pipeListener
	slots    *slots
	intake   *fakeIntake
	srv      *Server
}

func newGate(t *testing.T) *gate {
	g := &gate{T: t, listener: newPipeListener(), intake: &fakeIntake{}}
	door := newTestDoor(g.intake, 0)
	g.slots = door.slots
	big := strings.Repeat("x", 1<<20)
	g.srv = NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz":
			io.WriteString(w, "ok")
		case "/": // the page
			io.WriteString(w, big)
		default:
			door.ServeHTTP(w, r)
		}
	}), slog.New(slog.DiscardHandler))
	go g.srv.Serve(door.Listen(g.listener))
	return g
}

// close ends everything and expects that nothing is left.
func (g *gate) close() {
	g.Helper()
	g.srv.Close()
	time.Sleep(guess.Delay) // of answers to wrong tokens
	synctest.Wait()
	if p := g.slots; len(p.open) != 0 || p.held != 0 {
		g.Errorf("left: %d connections, %d served", len(p.open), p.held)
	}
}

// dial connects and writes text, which the server may leave unread.
func (g *gate) dial(addr, text string) net.Conn {
	client, server := net.Pipe()
	g.listener.conns <- from{server, addr}
	if text != "" {
		go io.WriteString(client, text)
	}
	synctest.Wait()
	return client
}

// ask sends a request and returns the status of its answer, 0 if there is none.
func (g *gate) ask(addr, method, path, body string) int {
	c := g.dial(addr, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s",
		method, path, len(body), body))
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	return resp.StatusCode
}

const (
	hostile  = "203.0.113.7:999"
	honest   = "198.51.100.4:999"
	loopback = "127.0.0.1:999"
)

const post = "POST /api/v1/" + goodToken + "/telemetry HTTP/1.1\r\nHost: x\r\n"

// TestHTTPSlotsRunShort opens many connections that make no progress. Everybody else must be
// served: from elsewhere, from the same address, and from this machine.
func TestHTTPSlotsRunShort(t *testing.T) {
	for name, text := range map[string]string{
		"silent":             "",
		"part of a line":     "POST /api/v1/",
		"some headers":       post,
		"part of a body":     post + "Content-Length: 7\r\n\r\n{\"a",
		"no body":            post + "Content-Length: 7\r\n\r\n",
		"part of a chunk":    post + "Transfer-Encoding: chunked\r\n\r\n7\r\n{\"a",
		"a wrong token":      "POST /api/v1/wrong/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n{\"a",
		"answers never read": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"idle":               "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		if testing.Short() && !strings.HasPrefix(name, "part of") {
			continue // minutes on an emulated processor
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t)
				var conns []net.Conn
				// A device there has been right lately: its token is told from guesses.
				if got := g.ask(hostile, "POST", "/api/v1/"+goodToken+"/telemetry", `{"a":1}`); got != 200 {
					t.Errorf("a post before: %d", got)
				}
				for i := range 2 * (maxConnections + extraSlots) {
					addr := hostile
					if i%2 == 1 {
						addr = fmt.Sprintf("[2001:db8::%x]:999", i) // addresses of one host
					}
					c := g.dial(addr, text)
					if name == "idle" {
						go io.Copy(io.Discard, c)
					}
					conns = append(conns, c)
				}
				if n := len(g.slots.open); n != maxWaiting {
					t.Errorf("%d connections", n)
				}
				for _, addr := range []string{honest, hostile, loopback} {
					if got := g.ask(addr, "GET", "/healthz", ""); got != 200 {
						t.Errorf("health from %s: %d", addr, got)
					}
					if got := g.ask(addr, "POST", "/api/v1/"+goodToken+"/telemetry", `{"a":1}`); got != 200 {
						t.Errorf("a post from %s: %d", addr, got)
					}
				}
				if _, events := g.intake.count(); events != 4 {
					t.Errorf("%d events", events)
				}
				for _, c := range conns {
					c.Close()
				}
				g.close()
			})
		})
	}
}

// TestHTTPBusiestAddressGivesWay expects that a slow device stays while others are evicted.
func TestHTTPBusiestAddressGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t)
		slow := g.dial(honest, post+"Content-Length: 7\r\n\r\n{\"a")
		time.Sleep(time.Second)
		for range 2 * maxConnections {
			g.dial(hostile, post)
		}
		go io.WriteString(slow, `":1}`)
		resp, err := http.ReadResponse(bufio.NewReader(slow), nil)
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("%v, %v", resp, err)
		}
		slow.Close()
		g.close()
	})
}

// TestHTTPBodyRate holds bodies to the least rate, and to the limit of a request.
func TestHTTPBodyRate(t *testing.T) {
	for _, c := range []struct {
		name  string
		size  int
		chunk int // a second
		want  int
	}{
		{"2 KiB a second", 40 << 10, 2 << 10, 200},
		{"1 KiB a second", 40 << 10, 1 << 10, 200},
		{"100 bytes a second", 2 << 10, 100, 408},
		{"1 KiB a second for more than a minute", 80 << 10, 1 << 10, 408},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(t)
				body := `{"a":"` + strings.Repeat("x", c.size-8) + `"}`
				conn := g.dial(honest, fmt.Sprintf(post+"Content-Length: %d\r\n\r\n", len(body)))
				go func() {
					for at := 0; at < len(body); at += c.chunk {
						if _, err := io.WriteString(conn, body[at:min(at+c.chunk, len(body))]); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				}()
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil || resp.StatusCode != c.want {
					t.Errorf("%v, %v; want %d", resp, err, c.want)
				}
				conn.Close()
				g.close()
			})
		})
	}
}

// TestHTTPWaitsBehindASlowBody expects that a slow body does not shorten the wait for the answer.
func TestHTTPWaitsBehindASlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t)
		g.intake.hold = make(chan struct{})
		conn := g.dial(honest, post+"Content-Length: 7\r\n\r\n{\"a")
		time.Sleep(14 * time.Second)
		go io.WriteString(conn, `":1}`)
		time.Sleep(50 * time.Second)
		close(g.intake.hold)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("%v, %v", resp, err)
		}
		conn.Close()
		g.close()
	})
}

// TestHTTPEverybodyWaits expects that requests that wait hold their slots, and that everybody else
// is served in the others.
func TestHTTPEverybodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(t)
		g.slots.most = 4
		var waiting []net.Conn
		poll := "GET /api/v1/" + goodToken + "/rpc?timeout=20000 HTTP/1.1\r\nHost: x\r\n\r\n"
		for range 5 {
			waiting = append(waiting, g.dial(honest, poll))
		}
		if g.slots.held != 4 {
			t.Errorf("%d hold their slots", g.slots.held)
		}
		for range 2 * extraSlots {
			g.dial(hostile, post)
		}
		for _, addr := range []string{honest, hostile, loopback} {
			if got := g.ask(addr, "GET", "/healthz", ""); got != 200 {
				t.Errorf("health from %s: %d", addr, got)
			}
			if got := g.ask(addr, "POST", "/api/v1/"+goodToken+"/telemetry", `{"a":1}`); got != 200 {
				t.Errorf("a post from %s: %d", addr, got)
			}
		}
		for _, c := range waiting {
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || resp.StatusCode != 408 {
				t.Errorf("%v, %v", resp, err)
			}
			c.Close()
		}
		g.close()
	})
}

// noFiles is a listener that has run out of file descriptors as long as somebody is connected.
type noFiles struct {
	*pipeListener
	open, failed int
}

func (l *noFiles) Accept() (net.Conn, error) {
	if l.open > 2 {
		l.open--
		l.failed++
		return nil, fmt.Errorf("accept: %w", syscall.EMFILE)
	}
	c, err := l.pipeListener.Accept()
	l.open++
	return c, err
}

// TestSlotsWithoutFileDescriptors expects an eviction when file descriptors run out.
func TestSlotsWithoutFileDescriptors(t *testing.T) {
	inner := &noFiles{pipeListener: newPipeListener()}
	inner.conns = make(chan net.Conn, 4)
	p := newSlots(func() {})
	l := &slotListener{inner, p}
	var clients []net.Conn
	for range 4 {
		client, server := net.Pipe()
		clients = append(clients, client)
		inner.conns <- from{server, hostile}
		if _, err := l.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := clients[0].Read(make([]byte, 1)); err != io.EOF || inner.failed != 1 || len(p.open) != 3 {
		t.Errorf("the first: %v; %d times without descriptors, %d connections", err, inner.failed, len(p.open))
	}
	for _, c := range p.open {
		c.become(served, true)
	}
	inner.open = 3
	if _, err := l.Accept(); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("nobody can give way: %v", err)
	}
}

// enters opens a connection to the MQTT door through its listener.
func (s *stand) enters(l *pipeListener, addr string) *tester {
	client, server := net.Pipe()
	l.conns <- from{server, addr}
	client.SetDeadline(time.Now().Add(2 * time.Minute))
	return &tester{T: s.T, Conn: client, in: bufio.NewReader(client), version: 4}
}

// TestMQTTSlotsRunShort expects that connections without a CONNECT are evicted for new ones, and
// sessions are not, though hundreds of them share an address with the hostile client.
func TestMQTTSlotsRunShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		l := newPipeListener()
		var serving sync.WaitGroup
		serving.Go(func() { s.Serve(l) })
		var devices []*tester
		for i := range 500 {
			token := fmt.Sprint("pump", i)
			s.book.enrol(token, deviceNumber(i))
			d := s.enters(l, hostile) // behind the same router
			if code := d.connect("", token, ""); code != 0 {
				t.Fatalf("CONNACK %d", code)
			}
			devices = append(devices, d)
		}
		for i := range 2 * maxConnections {
			c := s.enters(l, hostile)
			if i%2 == 0 {
				// It may connect, but is no device for that.
				go c.Conn.Write(connectPacket(4, "", provisionUser, ""))
			}
		}
		synctest.Wait()
		for _, addr := range []string{honest, hostile} {
			d := s.enters(l, addr)
			if code := d.connect("", "lamp", ""); code != 0 {
				t.Errorf("from %s: CONNACK %d", addr, code)
			}
			d.ask("v1/devices/me/telemetry", `{"a":1}`, 1)
			d.Close()
		}
		for _, d := range devices {
			d.ask("v1/devices/me/telemetry", `{"a":1}`, 1)
			d.Close()
		}
		s.MQTT.Close()
		l.Close()
		serving.Wait()
		synctest.Wait()
		s.quiet()
	})
}

// TestMQTTEverySlotHasASession expects that one more device is refused for now when sessions hold
// every slot, while a device that has a session takes its own slot over.
func TestMQTTEverySlotHasASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStand(t, true)
		s.slots.most = 4
		l := newPipeListener()
		var serving sync.WaitGroup
		serving.Go(func() { s.Serve(l) })
		dial := func(i int, version byte) byte {
			s.book.enrol(fmt.Sprint("pump", i), registry.Device{ID: deviceNumber(i).ID, Name: fmt.Sprint("Pump ", i)})
			c := s.enters(l, honest)
			c.version = version
			return c.connect("", fmt.Sprint("pump", i), "")
		}
		for i := range 4 {
			if code := dial(i, 4); code != 0 {
				t.Errorf("device %d: CONNACK %d", i, code)
			}
		}
		if code := dial(4, 4); code != 3 {
			t.Errorf("one device more: CONNACK %d", code)
		}
		if code := dial(4, 5); code != 0x89 {
			t.Errorf("one device more: CONNACK %#x", code)
		}
		if code := dial(2, 4); code != 0 {
			t.Errorf("a device that was there: CONNACK %d", code)
		}
		s.MQTT.Close()
		l.Close()
		serving.Wait()
		synctest.Wait()
		s.quiet()
	})
}
