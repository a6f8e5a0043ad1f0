package sync

import (
	"time"

	"edgesync/proto"
)

// window is the batches in flight, oldest first, and how many may be.
type window struct {
	batches []*batch
	bytes   int
	size    int                     // slots, one for a batch
	slowed  bool                    // it was too large once in this session
	best    time.Duration           // quickest acknowledgement of this session
	rtt     time.Duration           // of the last acknowledgement
	attrs   map[proto.UUID]struct{} // entities with attribute updates in flight
	spare   []*batch

	// What acknowledgements take on this link; it outlives the session.
	slowest  time.Duration // of the last ones: each later one takes a sixteenth of it away
	measured int           // acknowledgements, up to ackSamples
	timeouts int           // sessions that ended for want of one, in a row
}

func newWindow() window {
	return window{size: windowStart, attrs: make(map[proto.UUID]struct{})}
}

// endSession forgets what was in flight and what was learned of the link: all of it is sent again.
func (w *window) endSession() {
	w.rewind()
	*w = window{
		size: windowStart, batches: w.batches, attrs: w.attrs, spare: w.spare, rtt: w.rtt,
		slowest: w.slowest, measured: w.measured, timeouts: w.timeouts,
	}
}

// measure notes how long an acknowledgement took.
func (w *window) measure(took time.Duration) {
	w.slowest = max(took, w.slowest-w.slowest/16)
	w.measured = min(ackSamples, w.measured+1)
	w.timeouts = 0
}

// patience is how long an uplink may wait for its acknowledgement.
func (w *window) patience() time.Duration {
	least := ackTimeoutMin
	if w.measured < ackSamples {
		least = ackTimeoutFirst
	}
	d := max(least, ackTimes*w.slowest)
	for n := 0; n < w.timeouts && d < ackTimeout; n++ {
		d *= 2
	}
	return min(d, ackTimeout)
}

// rewind forgets what was in flight. The buffers are not reused, because the transport may hold
// them still.
func (w *window) rewind() {
	clear(w.batches)
	w.batches = w.batches[:0]
	w.bytes = 0
	clear(w.attrs)
}

// slots is how many are taken: one by each batch, one by each event that is passed behind it.
func (w *window) slots() int {
	n := len(w.batches)
	for _, b := range w.batches {
		n += b.behind.slots
	}
	return n
}

// last is the newest batch in flight; nil if there is none.
func (w *window) last() *batch {
	if len(w.batches) == 0 {
		return nil
	}
	return w.batches[len(w.batches)-1]
}

// admits reports whether b may be sent beside what is in flight. limit is the number of batches
// that the caller allows at most.
func (w *window) admits(b *batch, limit int) bool {
	if len(w.batches) == 0 {
		return true
	}
	if w.slots() >= min(w.size, limit) || w.bytes+len(b.buf) > windowBytes || b.barrier || w.batches[len(w.batches)-1].barrier {
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
	b.slot = w.slots()
	w.bytes += len(b.buf)
	for _, e := range b.attrs {
		w.attrs[e] = struct{}{}
	}
}

// find returns the batch in flight with that id; acknowledgements overtake each other (CONTRACT.md
// 4.3).
func (w *window) find(id int32) *batch {
	for _, b := range w.batches {
		if b.id == id && b.state == inFlight {
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

// adapt moves the size after the acknowledgement of b: enough batches to keep a long link busy, no
// more than about half a second of unacknowledged work (CONTRACT.md 12). Once a session has shown
// that more is too much, only a batch that left when the window was as full as it may be now says
// that one more would do: what left before the window grew would add another while the first is on
// its way.
func (w *window) adapt(b *batch, rtt time.Duration, wasFull bool) {
	w.rtt = rtt
	w.measure(rtt)
	if w.best == 0 || rtt < w.best {
		w.best = rtt
	}
	switch {
	case rtt >= w.best+shrinkFrom:
		w.size, w.slowed = max(1, w.size-1), true
	case rtt <= w.best+growWithin && wasFull && (!w.slowed || b.slot >= w.size):
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
