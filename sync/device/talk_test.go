package device

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const onePost = post + "Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}"

// answersTo reads n answers and returns their statuses; 0 is the end of the connection.
func answersTo(c net.Conn, n int) (list []int) {
	in := bufio.NewReader(c)
	for range n {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			return append(list, 0)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		list = append(list, r.StatusCode)
	}
	return list
}

// inBubble runs f with a gate, whose net/http counts what it is handed.
func inBubble(t *testing.T, f func(g *gate, handed *int)) {
	synctest.Test(t, func(t *testing.T) {
		g, handed := newGate(t), 0
		inner := g.srv.inner.Handler
		g.srv.inner.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handed++
			inner.ServeHTTP(w, r)
		})
		f(g, &handed)
		g.close()
	})
}

// phases are those of the connections that are open.
func (g *gate) phases() (list []phase) {
	g.slots.mu.Lock()
	defer g.slots.mu.Unlock()
	for _, c := range g.slots.open {
		list = append(list, c.phase)
	}
	return list
}

func wantAnswers(t *testing.T, got []int, want ...int) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("answers %v, want %v", got, want)
	}
}

// TestTalkAnswersPlainPosts expects that plain posts need no net/http, and what is sent.
func TestTalkAnswersPlainPosts(t *testing.T) {
	inBubble(t, func(g *gate, handed *int) {
		c := g.dial(honest, "")
		const date = "Date: Sat, 01 Jan 2000 00:00:00 GMT\r\n"
		for _, e := range []struct{ request, answer string }{
			{onePost, "HTTP/1.1 200 OK\r\n" + date + "Content-Length: 0\r\n\r\n"},
			{strings.Replace(onePost, goodToken, "nobody", 1), "HTTP/1.1 401 Unauthorized\r\n" + date + "Content-Length: 0\r\n\r\n"},
			{
				strings.Replace(onePost, "{", " ", 1),
				"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n" + date + "Content-Length: ",
			},
		} {
			go io.WriteString(c, e.request)
			b := make([]byte, 4<<10)
			if n, err := c.Read(b); err != nil || !strings.HasPrefix(string(b[:n]), e.answer) {
				t.Errorf("%q is answered %q, %v", e.request, b[:n], err)
			}
		}
		go io.WriteString(c, strings.Repeat(onePost, 100))
		for _, status := range answersTo(c, 100) {
			if status != 200 {
				t.Fatalf("a post of a hundred is answered with %d", status)
			}
		}
		if _, events := g.intake.count(); events != 101 || *handed != 0 {
			t.Errorf("%d events, %d requests for net/http", events, *handed)
		}
		c.Close()
	})
}

// TestTalkHandsOver expects that a connection that brings something else goes to net/http at that
// request, and stays there.
func TestTalkHandsOver(t *testing.T) {
	inBubble(t, func(g *gate, handed *int) {
		c := g.dial(honest, onePost+"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"+onePost+onePost)
		wantAnswers(t, answersTo(c, 4), 200, 200, 200, 200)
		if _, events := g.intake.count(); events != 3 || *handed != 3 {
			t.Errorf("%d events, %d requests for net/http", events, *handed)
		}
		synctest.Wait() // the talk may end after net/http has answered
		g.srv.mu.Lock()
		if n := len(g.srv.talks); n != 0 {
			t.Errorf("%d talks are left", n)
		}
		g.srv.mu.Unlock()
		c.Close()
	})
}

// TestTalkWaitsForTheBody expects that a body may come after its head, and that it is held to the
// limits of bodies.
func TestTalkWaitsForTheBody(t *testing.T) {
	inBubble(t, func(g *gate, handed *int) {
		c := g.dial(honest, post+"Content-Length: 7\r\n\r\n")
		time.Sleep(14 * time.Second)
		go io.WriteString(c, "{\"a\":1}"+post+"Content-Length: 7\r\n\r\n{\"a\"")
		wantAnswers(t, answersTo(c, 1), 200)
		begun := time.Now()
		wantAnswers(t, answersTo(c, 2), 408, 0)
		if took := time.Since(begun).Truncate(time.Second); took != 15*time.Second {
			t.Errorf("a body that stops is refused after %v", took)
		}
		if _, events := g.intake.count(); events != 1 || *handed != 0 {
			t.Errorf("%d events, %d requests for net/http", events, *handed)
		}
	})
}

// TestTalkLimits expects that a device may post as seldom as each 90 s, for ever, and that a head
// has 10 s whatever came before.
func TestTalkLimits(t *testing.T) {
	inBubble(t, func(g *gate, handed *int) {
		c := g.dial(honest, "")
		for range 5 {
			go io.WriteString(c, onePost)
			wantAnswers(t, answersTo(c, 1), 200)
			time.Sleep(restLimit - time.Millisecond)
		}
		go io.WriteString(c, onePost)
		wantAnswers(t, answersTo(c, 1), 200)
		go func() {
			for i := range onePost {
				if _, err := c.Write([]byte{onePost[i]}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		begun := time.Now()
		wantAnswers(t, answersTo(c, 1), 400) // of net/http: the first line does not come whole
		if took := time.Since(begun); took < 3*time.Second+headerLimit || took > 4*time.Second+headerLimit {
			t.Errorf("a head that trickles is given up after %v", took)
		}
		c.Close()
		if _, events := g.intake.count(); events != 6 || *handed != 0 {
			t.Errorf("%d events, %d requests for net/http", events, *handed)
		}
	})
}

// TestTalkNoticesWhoLeaves expects that a connection whose post waits is given up when the device
// leaves, and that what the device sends instead is kept.
func TestTalkNoticesWhoLeaves(t *testing.T) {
	inBubble(t, func(g *gate, handed *int) {
		g.intake.hold = make(chan struct{})
		leaves, stays := g.dial(honest, onePost), g.dial(honest, onePost)
		leaves.Close()
		go io.WriteString(stays, onePost+onePost)
		synctest.Wait()
		if got := g.phases(); len(got) != 1 {
			t.Errorf("%d connections, want the one that stays", len(got))
		}
		close(g.intake.hold)
		wantAnswers(t, answersTo(stays, 3), 200, 200, 200)
		if _, events := g.intake.count(); events != 3 || *handed != 0 {
			t.Errorf("%d events, %d requests for net/http", events, *handed)
		}
		time.Sleep(restLimit - time.Millisecond) // no limit of the watch is left
		go io.WriteString(stays, onePost)
		wantAnswers(t, answersTo(stays, 1), 200)
		stays.Close()
	})
}

// TestTalkGivesUpAPostThatWaits expects that a post waits for as long as over net/http.
func TestTalkGivesUpAPostThatWaits(t *testing.T) {
	inBubble(t, func(g *gate, _ *int) {
		g.intake.hold = make(chan struct{})
		c, begun := g.dial(honest, onePost), time.Now()
		wantAnswers(t, answersTo(c, 1), 0)
		if took := time.Since(begun); took != answerLimit {
			t.Errorf("it is given up after %v", took)
		}
	})
}

// TestTalkAnswersWhoHasClosedHisHalf expects an answer to a device that says no more after its
// post.
func TestTalkAnswersWhoHasClosedHisHalf(t *testing.T) {
	for _, input := range []string{onePost, onePost + onePost} {
		o := brought(t, []byte(input), 0, true, func(s *Server, l net.Listener) { _ = s.Serve(l) })
		if n := strings.Count(input, "POST"); len(o.answers) != n || len(o.events) != n || o.closed > time.Second {
			t.Errorf("%d answers, %d events, after %v", len(o.answers), len(o.events), o.closed)
		}
	}
}

// TestTalkWhoNeverReads expects that a device that reads no answer holds no slot, and is cut off.
func TestTalkWhoNeverReads(t *testing.T) {
	inBubble(t, func(g *gate, _ *int) {
		c := g.dial(honest, onePost)
		if got := g.phases(); len(got) != 1 || got[0] != sending {
			t.Errorf("the phases are %v", got)
		}
		time.Sleep(2*answerLimit + time.Second)
		if got := g.phases(); len(got) != 0 {
			t.Errorf("connections are left, in the phases %v", got)
		}
		c.Close()
	})
}

// TestTalkShutdown expects that a shutdown ends idle connections at once, answers the post that
// runs, says that no more is taken, and waits for that.
func TestTalkShutdown(t *testing.T) {
	inBubble(t, func(g *gate, _ *int) {
		fresh, quiet := g.dial(honest, ""), g.dial(honest, onePost)
		wantAnswers(t, answersTo(quiet, 1), 200)
		g.intake.hold = make(chan struct{})
		runs := g.dial(honest, onePost+onePost)
		short, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := g.srv.Shutdown(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a shutdown with a post that waits: %v", err)
		}
		for _, c := range []net.Conn{fresh, quiet} {
			if _, err := c.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("an idle connection: %v", err)
			}
		}
		ended := make(chan error)
		go func() { ended <- g.srv.Shutdown(context.Background()) }()
		synctest.Wait()
		close(g.intake.hold)
		got, _ := io.ReadAll(runs)
		if bytes.Count(got, []byte("HTTP/1.1 ")) != 1 || !bytes.Contains(got, []byte("HTTP/1.1 200 OK\r\nConnection: close\r\n")) {
			t.Errorf("the post that runs is answered %q", got)
		}
		if err := <-ended; err != nil {
			t.Errorf("the shutdown: %v", err)
		}
	})
}

// TestTalkOverTLS expects the same over TLS: plain posts, and the hand-over.
func TestTalkOverTLS(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	intake := &fakeIntake{}
	door := newTestDoor(intake, 0)
	srv := NewServer(door, slog.New(slog.DiscardHandler))
	served := always(certificate(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
	go srv.Serve(door.ListenWeb(tls.NewListener(plain, WebTLSConfig(served))))
	defer srv.Close()
	c, err := tls.Dial("tcp", plain.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, onePost+onePost+"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"+onePost); err != nil {
		t.Fatal(err)
	}
	wantAnswers(t, answersTo(c, 4), 200, 200, 404, 200)
	if _, events := intake.count(); events != 3 {
		t.Errorf("%d events", events)
	}
}

// TestTalkSurvivesAPanic expects that a panic of the handler costs its connection, and is logged.
func TestTalkSurvivesAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := newPipeListener()
		door := newTestDoor(nullIntake{}, 0)
		srv := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Host == "bad" {
				panic("oh")
			}
			door.ServeHTTP(w, r)
		}), slog.New(slog.NewTextHandler(&log, nil)))
		go srv.Serve(door.Listen(l))
		for i, host := range []string{"bad", "x"} {
			client, server := net.Pipe()
			l.conns <- server
			go io.WriteString(client, strings.Replace(onePost, "Host: x", "Host: "+host, 1))
			wantAnswers(t, answersTo(client, 1), []int{0, 200}[i])
			client.Close()
		}
		srv.Close()
		synctest.Wait()
		if text := log.String(); strings.Count(text, "http: panic serving pipe: oh") != 1 {
			t.Errorf("the log is %q", text)
		}
	})
}

// circle is a connection that brings the same post again and again.
type circle struct {
	net.Conn
	text  string
	posts int
	ended chan struct{}
}

func (c *circle) Read(b []byte) (int, error) {
	if c.posts == 0 {
		return 0, io.EOF
	}
	c.posts--
	return copy(b, c.text), nil
}

func (c *circle) Write(b []byte) (int, error)      { return len(b), nil }
func (c *circle) SetReadDeadline(time.Time) error  { return nil }
func (c *circle) SetWriteDeadline(time.Time) error { return nil }
func (c *circle) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }
func (c *circle) Close() error                     { close(c.ended); return nil }

// BenchmarkTalk is what a plain post costs beside the kernel and the queue.
func BenchmarkTalk(b *testing.B) {
	door := newTestDoor(nullIntake{}, 0)
	srv := NewServer(door, slog.New(slog.DiscardHandler))
	b.ReportAllocs()
	c := &circle{text: onePost, posts: b.N, ended: make(chan struct{})}
	f := &front{server: srv}
	f.talk(door.slots.take(c))
}

// TestTalkIdleMemory expects that a device that waits for its next post costs less than over
// net/http.
func TestTalkIdleMemory(t *testing.T) {
	const devices = 300
	cost := func(serve func(*Server, net.Listener) error) (bytes uint64) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		door := newTestDoor(nullIntake{}, 0)
		srv := NewServer(door, slog.New(slog.DiscardHandler))
		go serve(srv, door.Listen(listener))
		defer srv.Close()
		used := func() uint64 {
			runtime.GC()
			runtime.GC() // what pools hold goes with the second
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc + m.StackInuse
		}
		var conns []net.Conn
		before := used()
		for range devices {
			c, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
			if _, err := io.WriteString(c, onePost); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(make([]byte, 200)); n == 0 {
				t.Fatal(err)
			}
		}
		after := used()
		for _, c := range conns {
			c.Close()
		}
		return (after - before) / devices
	}
	alone := cost(func(s *Server, l net.Listener) error { return s.inner.Serve(l) })
	ours := cost((*Server).Serve)
	t.Logf("%d bytes, over net/http %d", ours, alone)
	if ours >= alone {
		t.Errorf("an idle connection takes %d bytes, over net/http %d", ours, alone)
	}
}
