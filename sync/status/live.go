package status

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"edgesync/sync/guess"
)

// Bounds of streams.
const (
	liveStreams = 8               // at a time
	liveOfHost  = 4               // of them, of one address
	liveEvery   = 2 * time.Second // between two reports
	liveWrite   = 5 * time.Second // for a report to be taken; who is slower is cut off
	liveText    = 256 << 10       // bytes of a report; a longer one is not sent
)

// live is the streams of reports. They share the text of the latest report, and each is written by
// the goroutine of its request: who does not take one report in time gets no other.
type live struct {
	mu    sync.Mutex // guards what follows
	hosts map[netip.Prefix]int
	all   int
	text  []byte
	made  time.Time
}

// enter takes one of the streams; false if there is none left.
func (l *live) enter(host netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= liveStreams || l.hosts[host] >= liveOfHost {
		return false
	}
	if l.hosts == nil {
		l.hosts = make(map[netip.Prefix]int, liveStreams)
	}
	l.all++
	l.hosts[host]++
	return true
}

func (l *live) leave(host netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.hosts[host]--; l.hosts[host] == 0 {
		delete(l.hosts, host)
	}
	if l.all == 0 {
		l.text = nil
	}
}

// event is the latest report as an event of the stream. It is made anew if it is old.
func (l *live) event(src Source) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.text == nil || now.Sub(l.made) >= liveEvery/2 {
		s := src.Snapshot()
		cut(&s)
		data, err := json.Marshal(Report{s, Judge(&s)})
		if l.made = now; err != nil || len(data) > liveText {
			data = []byte("{}")
		}
		l.text = append(append([]byte("data: "), data...), "\n\n"...)
	}
	return l.text
}

// serve streams reports until the client leaves or the agent stops.
func (l *live) serve(w http.ResponseWriter, r *http.Request, src Source) {
	host := guess.Address(r.RemoteAddr)
	if !l.enter(host) {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many streams; ask /api/edge/status", http.StatusServiceUnavailable)
		return
	}
	defer l.leave(host)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // the client has nothing more to say; that it left is still seen
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for {
		_ = c.SetWriteDeadline(time.Now().Add(liveWrite))
		if _, err := w.Write(l.event(src)); err != nil || c.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-src.Stopping:
			return
		}
	}
}
