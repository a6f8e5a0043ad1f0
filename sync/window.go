package sync

import (
	"time"

	"edgesync/proto"
)

// Numbers of the window (architecture, "window").
const (
	windowStart = 2
	windowMax   = 16
	windowBytes = 1 << 20
	growWithin  = 250 * time.Millisecond // over the best round trip of the session
	shrinkFrom  = 500 * time.Millisecond
)

// window is the batches in flight, oldest first, and how many may be. The loop's goroutine owns it.
type window struct {
	batches []*batch
	bytes   int
	size    int                     // batches that may be in flight
	slowed  bool                    // it was too large once in this session
	best    time.Duration           // quickest acknowledgement of this session
	rtt     time.Duration           // of the last acknowledgement
	attrs   map[proto.UUID]struct{} // entities with attribute updates in flight
	spare   []*batch
}

func newWindow() window {
	return window{size: windowStart, attrs: make(map[proto.UUID]struct{})}
}

// reset forgets what was in flight: after the end of a session all of it is sent again. The buffers are not reused, because the
// transport may hold them still.
func (w *window) reset() {
	clear(w.batches)
	w.batches = w.batches[:0]
	w.bytes, w.best, w.size, w.slowed = 0, 0, windowStart, false
	clear(w.attrs)
}

// admits tells whether b may be sent beside what is in flight. limit is the number of batches that the caller allows at most.
func (w *window) admits(b *batch, limit int) bool {
	if len(w.batches) == 0 {
		return true
	}
	if len(w.batches) >= min(w.size, limit) || w.bytes+len(b.buf) > windowBytes || b.barrier || w.batches[len(w.batches)-1].barrier {
		return false
	}
	for _, e := range b.attrs {
		if _, ok := w.attrs[e]; ok {
			return false
		}
	}
	return true
}

func (w *window) push(b *batch) {
	w.batches = append(w.batches, b)
	b.place = len(w.batches)
	w.bytes += len(b.buf)
	for _, e := range b.attrs {
		w.attrs[e] = struct{}{}
	}
}

// find returns the batch in flight with that id; acknowledgements overtake each other (wire contract 4.3).
func (w *window) find(id int32) *batch {
	for _, b := range w.batches {
		if b.id == id && b.state == inFlight && b.dead == 0 {
			return b
		}
	}
	return nil
}

// pop removes and returns the oldest batch if it is acknowledged.
func (w *window) pop() *batch {
	if len(w.batches) == 0 || w.batches[0].state != acked {
		return nil
	}
	b := w.batches[0]
	copy(w.batches, w.batches[1:])
	w.batches[len(w.batches)-1] = nil
	w.batches = w.batches[:len(w.batches)-1]
	w.bytes -= len(b.buf)
	for _, e := range b.attrs {
		delete(w.attrs, e)
	}
	return b
}

// adapt moves the size after the acknowledgement of b: enough batches to keep a long link busy, no more than about half a second of
// unacknowledged work (wire contract 12). Once a session has shown that more is too much, only a batch that left when the window was as
// full as it may be now tells that one more would do: what left before it grew would add another while the first is on its way.
func (w *window) adapt(b *batch, rtt time.Duration, wasFull bool) {
	w.rtt = rtt
	if w.best == 0 || rtt < w.best {
		w.best = rtt
	}
	switch {
	case rtt >= w.best+shrinkFrom:
		w.size, w.slowed = max(1, w.size-1), true
	case rtt <= w.best+growWithin && wasFull && (!w.slowed || b.place >= w.size):
		w.size = min(windowMax, w.size+1)
	}
}

// unanswered counts the batches that still wait for an answer.
func (w *window) unanswered() int {
	n := 0
	for _, b := range w.batches {
		if b.state == inFlight {
			n++
		}
	}
	return n
}

// oldest is when the oldest batch without an answer was sent; zero if there is none.
func (w *window) oldest() time.Time {
	for _, b := range w.batches {
		if b.state == inFlight {
			return b.sentAt
		}
	}
	return time.Time{}
}

func (w *window) firstRefused() *batch {
	for _, b := range w.batches {
		if b.state == refused {
			return b
		}
	}
	return nil
}

// get returns an empty batch, reusing a buffer where there is one.
func (w *window) get() *batch {
	if n := len(w.spare); n > 0 {
		b := w.spare[n-1]
		w.spare = w.spare[:n-1]
		return b
	}
	return new(batch)
}

// put takes back a batch that the server has acknowledged.
func (w *window) put(b *batch) {
	if len(w.spare) < spareBatches && cap(b.buf) <= 2*batchBytes {
		w.spare = append(w.spare, b)
	}
}
