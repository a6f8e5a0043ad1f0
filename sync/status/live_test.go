package status

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	agent "edgesync/sync"
)

// A stream brings a report at once and then others, until the agent stops.
func TestLive(t *testing.T) {
	stopping := make(chan struct{})
	s := httptest.NewServer(Handler(Source{Snapshot: func() agent.Snapshot { return sample() }, Stopping: stopping}))
	defer s.Close()
	r, err := http.Get(s.URL + "/api/edgesync/live")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	lines := bufio.NewReader(r.Body)
	for range 2 {
		line, err := lines.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, `data: {"state":"draining",`) || !strings.Contains(line, `"health":{"level":`) {
			t.Fatalf("%.60q %v", line, err)
		}
		if line, err := lines.ReadString('\n'); line != "\n" {
			t.Fatalf("%q %v", line, err)
		}
	}
	if r.Header.Get("Content-Type") != "text/event-stream" {
		t.Error(r.Header)
	}
	close(stopping)
	if rest, err := lines.ReadString('\n'); err == nil {
		t.Errorf("the stream goes on: %.60q", rest)
	}
}

// There are so many streams, and so many of one address; who leaves makes room.
func TestLiveIsBounded(t *testing.T) {
	stopping := make(chan struct{})
	h := Handler(Source{Snapshot: func() agent.Snapshot { return sample() }, Stopping: stopping})
	open := func(from string) (code chan int, leave func()) {
		ctx, cancel := context.WithCancel(t.Context())
		r := httptest.NewRequest("GET", "/api/edgesync/live", nil).WithContext(ctx)
		r.RemoteAddr = net.JoinHostPort(from, "1")
		w := &firstWrite{httptest.NewRecorder(), make(chan int, 1)}
		done := make(chan struct{})
		go func() { defer close(done); h.ServeHTTP(w, r) }()
		return w.code, func() { cancel(); <-done }
	}
	var leave func()
	for i := range liveOfHost {
		code, l := open("192.168.1.5")
		if c := <-code; c != 200 {
			t.Fatalf("stream %d: %d", i, c)
		}
		leave = l
	}
	code, _ := open("192.168.1.5")
	if c := <-code; c != 503 {
		t.Errorf("one stream more of an address: %d", c)
	}
	leave()
	for i := liveOfHost - 1; i < liveStreams; i++ {
		code, _ := open("192.168.1." + string(rune('0'+i)))
		if c := <-code; c != 200 {
			t.Fatalf("stream %d: %d", i, c)
		}
	}
	code, _ = open("192.168.2.1")
	if c := <-code; c != 503 {
		t.Errorf("one stream more: %d", c)
	}
	close(stopping)
}

// firstWrite tells the status with which an answer begins.
type firstWrite struct {
	*httptest.ResponseRecorder
	code chan int
}

func (w *firstWrite) Write(b []byte) (int, error) {
	select {
	case w.code <- w.Code:
	default:
	}
	return len(b), nil
}

// Who does not read is cut off, and holds up nobody.
func TestLiveCutsOffWhoDoesNotRead(t *testing.T) {
	big := sample()
	big.Sync = strings.Repeat("x", 1000)
	for range 40 {
		big.ExtraWarnings = append(big.ExtraWarnings, big.Sync)
	}
	ended := make(chan struct{})
	h := Handler(Source{Snapshot: func() agent.Snapshot { return big }})
	w := &stuck{ResponseRecorder: httptest.NewRecorder()}
	go func() {
		defer close(ended)
		h.ServeHTTP(w, httptest.NewRequest("GET", "/api/edgesync/live", nil))
	}()
	<-ended
	if d := time.Until(w.deadline); d <= 0 || d > liveWrite {
		t.Errorf("a write may take %v", d)
	}
}

// stuck takes nothing before its deadline.
type stuck struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (w *stuck) SetWriteDeadline(t time.Time) error { w.deadline = t; return nil }
func (w *stuck) SetReadDeadline(time.Time) error    { return nil }
func (w *stuck) Write([]byte) (int, error)          { return 0, context.DeadlineExceeded }
