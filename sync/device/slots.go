package device

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"edgesync/sync/guess"
)

// Bounds of the connections of all doors together. A thousand of them fit into 32 MB, whichever
// protocol they speak.
const (
	// maxConnections is how many connections may hold their slots whatever else comes: MQTT
	// sessions, and HTTP requests that have arrived whole.
	maxConnections = 1024
	// extraSlots is how many more slots there are, which no connection can hold: so somebody new
	// always gets in, above all a health check.
	extraSlots = 64
	// maxWaiting is how many connections may be open that hold no slot. One whose request has begun
	// costs some 17 KiB in net/http, so a crowd that never ends its requests must not have all of
	// them.
	maxWaiting = 512
)

// slots are the connections of all doors. While slots are free, nobody is limited. When they run
// out, a connection that makes no progress is evicted: of the host with the most such connections,
// the one that has been in its phase for the longest time. Hundreds of devices may share an
// address, so what counts is not how many connections a host has but how many of them are not being
// served.
//
// Its methods may be called from many goroutines.
type slots struct {
	most    int    // slots that can be held; maxConnections but in tests
	onEvict func() // called when a connection has to give way, or is not let in

	mu     sync.Mutex
	open   []*slot // in no order
	held   int     // of open: those in the phase served
	search uint32  // numbers the calls of evictee
}

// host is an address that has connections. Only its connections refer to it, so it goes with the
// last of them.
type host struct {
	prefix netip.Prefix

	// What the last search has found.
	search    uint32
	evictable int   // connections that may be evicted
	oldest    *slot // the one that has been in its phase for the longest time
}

// phase is what a connection is doing. Only a connection that is served holds its slot whatever
// else comes.
type phase uint8

const (
	arriving phase = iota // its request is not known yet, or has not come whole
	served                // it has done all that it must; the rest waits for us
	sending               // our answer waits for it
	idle                  // between two requests
)

// newSlots returns slots without connections. onEvict is called when they run short.
func newSlots(onEvict func()) *slots {
	return &slots{most: maxConnections, onEvict: onEvict}
}

// Listen returns l with its connections bounded by the slots that all doors have together: 1024
// that connections can hold while they are being served, and 64 more; of those that are not being
// served at most 512 are open. Its Accept never waits for a free slot, because another connection
// is evicted.
func (d *Doors) Listen(l net.Listener) net.Listener { return &slotListener{l, d.slots} }

type slotListener struct {
	net.Listener
	slots *slots
}

// Accept implements net.Listener.
func (l *slotListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		switch {
		case err == nil:
			if p := l.slots.take(c); p != nil {
				return p, nil
			}
			_ = c.Close()
		case (errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)) && l.slots.evict():
		default:
			return nil, err
		}
	}
}

// slot is a connection in its slot.
type slot struct {
	net.Conn
	slots *slots

	// Guarded by slots.mu.
	host  *host
	at    int // in slots.open; negative: it has left
	phase phase
	since time.Time // of the phase
}

// take gives a connection a slot, or returns nil if there is none and nothing can be evicted.
func (p *slots) take(c net.Conn) *slot {
	prefix := guess.Address(c.RemoteAddr().String())
	n := &slot{Conn: c, slots: p, since: time.Now()}
	p.mu.Lock()
	full := len(p.open) >= p.most+extraSlots || len(p.open)-p.held >= maxWaiting
	p.mu.Unlock()
	if full && !p.evict() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		if c.host.prefix == prefix {
			n.host = c.host
			break
		}
	}
	if n.host == nil {
		n.host = &host{prefix: prefix}
	}
	n.at = len(p.open)
	p.open = append(p.open, n)
	return n
}

// evict closes one connection to free its slot. It returns false if every connection holds its
// slot.
func (p *slots) evict() bool {
	p.onEvict()
	p.mu.Lock()
	victim := p.evictee()
	if victim != nil {
		p.remove(victim)
	}
	p.mu.Unlock()
	if victim != nil {
		victim.cut()
	}
	return victim != nil
}

// evictee finds the connection to evict, or nil. The caller holds mu.
func (p *slots) evictee() *slot {
	p.search++
	for _, c := range p.open {
		if c.phase == served {
			continue
		}
		h := c.host
		if h.search != p.search {
			h.search, h.evictable, h.oldest = p.search, 0, c
		}
		if h.evictable++; c.since.Before(h.oldest.since) {
			h.oldest = c
		}
	}
	var worst *host
	for _, c := range p.open {
		h := c.host
		if h.search != p.search {
			continue
		}
		if worst == nil || h.evictable > worst.evictable ||
			h.evictable == worst.evictable && h.oldest.since.Before(worst.oldest.since) {
			worst = h
		}
	}
	if worst == nil {
		return nil
	}
	return worst.oldest
}

// remove frees the slot of a connection; a second call does nothing. The caller holds mu.
func (p *slots) remove(c *slot) {
	if c.at < 0 {
		return
	}
	last := p.open[len(p.open)-1]
	p.open[c.at], last.at = last, c.at
	p.open[len(p.open)-1] = nil
	p.open = p.open[:len(p.open)-1]
	c.at = -1
	if c.phase == served {
		p.held--
	}
}

// become notes the phase in which the connection is now. It returns false if the connection is
// served but cannot hold its slot, because as many do as can. force lets it hold the slot all the
// same: the connection that it takes over from is about to leave.
func (c *slot) become(what phase, force bool) bool {
	p := c.slots
	p.mu.Lock()
	switch was := c.phase; {
	case c.at < 0, what == was: // it has lost its slot, and finds out soon
		p.mu.Unlock()
		return true
	case what == served && !force && p.held >= p.most:
		p.mu.Unlock()
		return false
	case what == served:
		p.held++
	case was == served:
		p.held--
	}
	c.phase, c.since = what, time.Now()
	crowded := what == idle && len(p.open)-p.held > maxWaiting
	p.mu.Unlock()
	if crowded { // whoever has been idle for the longest time connects again
		p.evict()
	}
	return true
}

// Write implements net.Conn. While the answer waits for the device, the connection does not hold
// its slot.
func (c *slot) Write(b []byte) (int, error) {
	c.become(sending, false)
	n, err := c.Conn.Write(b)
	c.become(served, false)
	return n, err
}

// Close implements net.Conn.
func (c *slot) Close() error {
	c.slots.mu.Lock()
	c.slots.remove(c)
	c.slots.mu.Unlock()
	return c.Conn.Close()
}

// cut closes the connection without a last message, for which it would have to wait.
func (c *slot) cut() {
	if t, ok := c.Conn.(interface{ NetConn() net.Conn }); ok { // TLS
		_ = t.NetConn().Close()
	}
	_ = c.Conn.Close()
}
