//go:build linux

package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// moment is how long the posters of the tests post: long enough for many posts. No assertion
// depends on their number.
const moment = 20 * time.Millisecond

// TestHTTPPosterCountsWhatIsAccepted: posts that were answered with 200 are counted, and any other
// answer is an error.
func TestHTTPPosterCountsWhatIsAccepted(t *testing.T) {
	var accepted atomic.Int64
	var refuse atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case refuse.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.Method != http.MethodPost || r.URL.Path != "/api/v1/token-7/telemetry" || string(body) != oneEvent:
			t.Errorf("%s %s: %s", r.Method, r.URL.Path, body)
		default:
			accepted.Add(1)
		}
	}))
	defer s.Close()
	address := strings.TrimPrefix(s.URL, "http://")
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := newHTTPPoster(c, address, "token-7")
	if n, err := p.postUntil(time.Now().Add(moment)); err != nil || n == 0 || int64(n) != accepted.Load() {
		t.Errorf("%d posted, %d accepted, %v", n, accepted.Load(), err)
	}
	refuse.Store(true)
	if n, err := p.postUntil(time.Now().Add(moment)); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("%d posts were refused: %v", n, err)
	}
}

// TestPublisherCountsWhatIsAcknowledged: acknowledged publishes are counted, and no more than the
// window are in flight.
func TestPublisherCountsWhatIsAcknowledged(t *testing.T) {
	client, broker := net.Pipe()
	defer client.Close()
	p := &publisher{in: bufio.NewReader(client), out: bufio.NewWriter(client), window: 3}
	acked := make(chan int, 1)
	go func() {
		in := bufio.NewReader(broker)
		packet := func() []byte {
			head := make([]byte, 2) // both packets are shorter than 128 bytes
			if _, err := io.ReadFull(in, head); err != nil {
				return nil
			}
			b := make([]byte, head[1])
			_, _ = io.ReadFull(in, b)
			return append(head, b...)
		}
		if b := packet(); len(b) == 0 || b[0] != 0x10 {
			t.Errorf("%x instead of CONNECT", b)
		}
		_, _ = broker.Write([]byte{0x20, 2, 0, 0})
		n := 0
		for waiting := []byte(nil); ; {
			b := packet()
			if b == nil {
				acked <- n
				return
			}
			if !strings.HasSuffix(string(b), oneEvent) {
				t.Errorf("published %q", b)
			}
			at := len(b) - len(oneEvent) - 2
			// All publishes that the window allows, then all acknowledgements at once.
			if waiting = append(waiting, 0x40, 2, b[at], b[at+1]); in.Buffered() == 0 {
				if len(waiting)/4 > p.window {
					t.Errorf("%d in flight", len(waiting)/4)
				}
				n += len(waiting) / 4
				_, _ = broker.Write(waiting)
				waiting = nil
			}
		}
	}()
	if err := p.connect("token"); err != nil {
		t.Fatal(err)
	}
	n, err := p.postUntil(time.Now().Add(moment))
	client.Close()
	if got := <-acked; err != nil || n == 0 || n != got {
		t.Errorf("%d published, %d acknowledged, %v", n, got, err)
	}
}
