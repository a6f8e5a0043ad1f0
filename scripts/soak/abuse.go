//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"edgesync/scripts/internal/rig"
)

// stranger dials the agent from one of some addresses of this machine, that of the honest devices
// among them.
func (s *soak) stranger(address string, from int) (net.Conn, error) {
	d := net.Dialer{Timeout: dialLimit, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(from))}}
	return d.Dial("tcp", address)
}

// guess tries wrong tokens over HTTP and MQTT, now and then from the address of the honest devices.
func guess(ctx context.Context, s *soak) (string, error) {
	d := s.span(2*time.Second, 15*time.Second)
	return s.guessing(ctx, 1+s.random.IntN(3), func() error { return rig.Pause(ctx, d) })
}

// guessThroughRestart goes on while the agent is killed, which then has to learn anew who is right.
func guessThroughRestart(ctx context.Context, s *soak) (string, error) {
	return s.guessing(ctx, 2, func() error {
		if err := rig.Pause(ctx, s.span(time.Second, 3*time.Second)); err != nil {
			return err
		}
		s.kill()
		if _, err := s.again(ctx); err != nil {
			return err
		}
		return rig.Pause(ctx, s.span(time.Second, 5*time.Second))
	})
}

// guessing guesses from one address, many at a time, until during returns.
func (s *soak) guessing(ctx context.Context, from int, during func() error) (string, error) {
	const guessers = 8
	limit, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	got := map[string]int{}
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		got[what]++
	}
	var all sync.WaitGroup
	for i := range guessers {
		all.Go(func() {
			client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
				DisableKeepAlives: true,
				DialContext: func(context.Context, string, string) (net.Conn, error) {
					return s.stranger(*s.httpAddress.Load(), from)
				},
			}}
			for n := 0; limit.Err() == nil; n++ {
				if i%2 == 0 {
					code, _ := s.ask(limit, client, http.MethodPost, fmt.Sprintf("/api/v1/guess-%d-%d/telemetry", i, n), `{"n":1}`)
					if code == http.StatusOK {
						s.breach("a guessed token is let in over HTTP")
					}
					note(fmt.Sprint("HTTP ", code))
					continue
				}
				conn, err := s.stranger(*s.mqttAddress.Load(), from)
				if err != nil {
					note("MQTT no connection")
					_ = rig.Pause(limit, 50*time.Millisecond)
					continue
				}
				stop := context.AfterFunc(limit, func() { conn.Close() })
				code, _, err := mqttConnect(conn, "guesser", fmt.Sprintf("guess-%d-%d", i, n))
				switch {
				case err != nil:
					note("MQTT closed")
				case code == 0:
					s.breach("a guessed token is let in over MQTT")
				default:
					note(fmt.Sprint("MQTT ", code))
				}
				stop()
				conn.Close()
			}
		})
	}
	err := during()
	cancel()
	all.Wait()
	delete(got, "HTTP 0") // cut off at the end
	return fmt.Sprintf("from 127.0.0.%d: %s", from, counted(got)), err
}

// counted lists counts by name.
func counted(got map[string]int) string {
	var all []string
	for _, what := range slices.Sorted(maps.Keys(got)) {
		all = append(all, fmt.Sprintf("%s (%d)", what, got[what]))
	}
	return strings.Join(all, ", ")
}

// crowd opens so many connections, each sends what say returns, and they stay for a while. It
// returns how many of them could be opened.
func (s *soak) crowd(ctx context.Context, n int, address string, d time.Duration, say func(i int) []byte) (string, error) {
	from := 1 + s.random.IntN(3)
	conns := make([]net.Conn, 0, n)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	refused := 0
	for i := range n {
		c, err := s.stranger(address, from)
		if err != nil {
			refused++
			continue
		}
		conns = append(conns, c)
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = c.Write(say(i))
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
	}
	err := rig.Pause(ctx, d)
	return fmt.Sprintf("%d connections from 127.0.0.%d, %d more refused, for %.1f s", len(conns), from, refused, d.Seconds()), err
}

// half is the beginning of a post with that many bytes, of which few come.
func half(size int) []byte {
	return fmt.Appendf(nil, "POST /api/v1/hoard-0/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{\"a\":", size)
}

// slowBodies begins large posts and goes on by a few bytes a second.
func slowBodies(ctx context.Context, s *soak) (string, error) {
	n := 100 + s.random.IntN(200)
	d := s.span(2*time.Second, 20*time.Second)
	limit, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	from := 1 + s.random.IntN(3)
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			c, err := s.stranger(*s.httpAddress.Load(), from)
			if err != nil {
				return
			}
			defer c.Close()
			for b := half(900_000); ; b = []byte("1111111") {
				_ = c.SetWriteDeadline(time.Now().Add(time.Second))
				if _, err := c.Write(b); err != nil || rig.Pause(limit, 200*time.Millisecond) != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return fmt.Sprintf("%d bodies of 900 kB from 127.0.0.%d for %.1f s", n, from, d.Seconds()), ctx.Err()
}

func stalledConnections(ctx context.Context, s *soak) (string, error) {
	d := s.span(2*time.Second, 15*time.Second)
	if s.random.IntN(2) == 0 {
		said, err := s.crowd(ctx, 1100, *s.mqttAddress.Load(), d, func(i int) []byte { return []byte{0x10, 100, 0, 4}[:i%5] })
		return "MQTT: " + said, err
	}
	said, err := s.crowd(ctx, 1100, *s.httpAddress.Load(), d, func(i int) []byte {
		b := half(1000)
		return b[:len(b)*(i%5)/4]
	})
	return "HTTP: " + said, err
}

func halfPackets(ctx context.Context, s *soak) (string, error) {
	whole := mqttConnectPacket("nobody", strings.Repeat("t", 200))
	return s.crowd(ctx, 20, *s.mqttAddress.Load(), s.span(2*time.Second, 15*time.Second), func(int) []byte { return whole[:len(whole)/2] })
}

// slowReaders asks for large answers and does not read them.
func slowReaders(ctx context.Context, s *soak) (string, error) {
	const part, parts = 40_000, 12
	for i := range parts {
		body := fmt.Appendf(nil, `{"hoard%d":%q}`, i, strings.Repeat("x", part))
		if !s.deliver(ctx, s.client, "/api/v1/hoard-0/attributes", body) {
			return "", ctx.Err()
		}
	}
	d := s.span(2*time.Second, 20*time.Second)
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	from := 1 + s.random.IntN(3)
	for range 60 {
		c, err := s.stranger(*s.httpAddress.Load(), from)
		if err != nil {
			continue
		}
		_ = c.(*net.TCPConn).SetReadBuffer(4096)
		conns = append(conns, c)
		_, _ = io.WriteString(c, "GET /api/v1/hoard-0/attributes HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	err := rig.Pause(ctx, d)
	return fmt.Sprintf("%d answers of %d kB for %.1f s", len(conns), part*parts/1000, d.Seconds()), err
}

// hugePackets sends what is too large in every way; each must be refused or closed.
func hugePackets(ctx context.Context, s *soak) (string, error) {
	const size = 5_000_000
	web, mqtt := *s.httpAddress.Load(), *s.mqttAddress.Load()
	connect := mqttConnectPacket("hoard", "hoard-0")
	got := map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, huge := range []struct {
		name, address string
		head          []byte
	}{
		{"body", web, half(size)},
		{"chunk", web, fmt.Appendf(nil,
			"POST /api/v1/hoard-0/telemetry HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", size)},
		{"header", web, []byte("GET /api/v1/hoard-0/attributes HTTP/1.1\r\nHost: x\r\nX: ")},
		{"path", web, []byte("GET /api/v1/")},
		{"CONNECT", mqtt, []byte{0x10, 0xff, 0xff, 0xff, 0x7f, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0xff, 0xff}},
		{"PUBLISH", mqtt, append(slices.Clone(connect), 0x32, 0xff, 0xff, 0xff, 0x7f)},
		{"PUBLISH of 64 KiB", mqtt, append(slices.Clone(connect), 0x32, 0x80, 0x80, 0x04)},
		{"SUBSCRIBE", mqtt, append(slices.Clone(connect), 0x82, 0xff, 0xff, 0x7f)},
	} {
		for range 4 {
			all.Go(func() {
				what := huge.name + ": "
				c, err := s.stranger(huge.address, 2)
				if err != nil {
					return
				}
				defer c.Close()
				stop := context.AfterFunc(ctx, func() { c.Close() })
				defer stop()
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				answer := make(chan []byte)
				go func() {
					b, _ := io.ReadAll(io.LimitReader(c, 1<<16))
					answer <- b
				}()
				_, err = c.Write(huge.head)
				for n := 0; n < size && err == nil; n += 100_000 {
					_, err = c.Write([]byte(strings.Repeat("1", 100_000)))
				}
				if errors.Is(err, net.ErrClosed) {
					return
				}
				b := <-answer
				switch {
				case len(b) > 12 && strings.HasPrefix(string(b), "HTTP/1.1 "):
					what += string(b[9:12])
				default:
					what += "closed"
				}
				mu.Lock()
				defer mu.Unlock()
				got[what]++
			})
		}
	}
	all.Wait()
	for what := range got {
		if strings.HasSuffix(what, "200") {
			s.breach("something huge is accepted: %s", what)
		}
	}
	return counted(got), ctx.Err()
}
