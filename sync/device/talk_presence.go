package device

import (
	"context"
	"sync"
	"time"
)

// presence is the context of a plain post. It ends when the device leaves, as that of net/http
// does, but looks for that only once somebody asks for Done: who waits for nothing but the group
// commit, which no context ends, does not. It is used again for the next post.
type presence struct {
	talk *talk

	mu      sync.Mutex // guards what follows
	done    chan struct{}
	err     error
	came    bool          // the body has come whole
	over    bool          // the post is answered
	watched chan struct{} // closed when the goroutine that looks has ended; nil: there is none
}

// begin begins a post.
func (p *presence) begin(whole bool) {
	p.mu.Lock()
	p.done, p.err, p.came, p.over = nil, nil, whole, false
	p.mu.Unlock()
}

// Deadline implements context.Context.
func (p *presence) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (p *presence) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done == nil {
		p.done = make(chan struct{})
		p.look()
	}
	return p.done
}

// Err implements context.Context.
func (p *presence) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Value implements context.Context.
func (p *presence) Value(key any) any {
	if key == (slotKey{}) && p.talk.slot != nil {
		return p.talk.slot
	}
	return nil
}

// whole notes that the body has come, and that others than its reader may read.
func (p *presence) whole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.came = true
	p.look()
}

// look begins to look whether the device leaves, if somebody has asked. What comes meanwhile is of
// the next request, and stays in the buffer of the talk. The caller holds mu.
func (p *presence) look() {
	t := p.talk
	if p.done == nil || !p.came || p.over || p.watched != nil || t.to == len(t.in) {
		return
	}
	t.readBy = time.Time{}
	_ = t.conn.SetReadDeadline(time.Now().Add(answerLimit))
	p.watched = make(chan struct{})
	go p.watch(t.in[t.to:], p.watched)
}

// watch reads until something comes, or the device leaves.
func (p *presence) watch(into []byte, watched chan<- struct{}) {
	n, err := p.talk.conn.Read(into)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.talk.to += n // which nobody else touches before watched is closed
	if err != nil && !p.over {
		p.err = context.Canceled
		close(p.done)
	}
	close(watched)
}

// end ends a post.
func (p *presence) end() {
	p.mu.Lock()
	p.over = true
	watched := p.watched
	if watched != nil {
		_ = p.talk.conn.SetReadDeadline(time.Unix(1, 0))
	}
	if p.err == nil {
		p.err = context.Canceled
		if p.done != nil {
			close(p.done)
		}
	}
	p.mu.Unlock()
	if watched != nil {
		<-watched
		p.watched = nil
		_ = p.talk.conn.SetReadDeadline(time.Time{})
	}
}
