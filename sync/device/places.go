package device

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Bounds of the connections of all doors together. A thousand of them fit into 32 MB, whatever they are.
const (
	// maxConnections is how many may keep their places: sessions of MQTT, requests of HTTP that have come as a whole.
	maxConnections = 1024
	// lobby is how many more there may be that do not: so somebody new always gets in, a health check before all.
	lobby = 64
)

// places are the connections of all doors. Nobody is limited while there are places. When they run short, whoever does not get on with it gives
// way: of the address that holds most such connections the one that has been at it longest. Hundreds of devices may share an address, so what
// counts is not how many connections one holds but how many of them are not being served. Its methods may be called from many goroutines.
type places struct {
	most   int    // that keep their places; maxConnections but in tests
	giveUp func() // hears that a connection gave way, or was not let in

	mu     sync.Mutex
	open   []*place // in no order
	busy   int      // of them, served
	survey uint32   // numbers the searches for who gives way
}

// home is an address that has connections, which are all that knows of it.
type home struct {
	prefix netip.Prefix

	// Of the last survey.
	survey   uint32
	yielding int    // that do not get on with it
	oldest   *place // of them
}

// phase is what a connection is doing. Only whoever is served keeps its place whatever happens.
type phase uint8

const (
	arriving phase = iota // what it wants is not known yet, or has not come as a whole
	served                // all that it must do is done; the rest waits for us
	sending               // the answer waits for it
	idle                  // between two requests
)

// newPlaces returns places without connections.
func newPlaces(giveUp func()) *places {
	return &places{most: maxConnections, giveUp: giveUp}
}

// Listen returns l with its connections held to the places that the doors have together: 1024 connections that are being served, and 64 more. Its
// Accept never waits for a place; somebody gives way.
func (d *Doors) Listen(l net.Listener) net.Listener { return &placedListener{l, d.places} }

type placedListener struct {
	net.Listener
	places *places
}

// Accept implements net.Listener.
func (l *placedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		switch {
		case err == nil:
			if p := l.places.take(c); p != nil {
				return p, nil
			}
			_ = c.Close()
		case (errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)) && l.places.yield():
		default:
			return nil, err
		}
	}
}

// place is a connection in its place.
type place struct {
	net.Conn
	places *places

	// Guarded by places.mu.
	home  *home
	at    int // in places.open; negative: left
	phase phase
	since time.Time // of the phase
}

// take gives a connection a place; nil if nobody gives way for it.
func (p *places) take(c net.Conn) *place {
	prefix := addressOf(c.RemoteAddr().String())
	n := &place{Conn: c, places: p, since: time.Now()}
	p.mu.Lock()
	full := len(p.open) >= p.most+lobby
	p.mu.Unlock()
	if full && !p.yield() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		if c.home.prefix == prefix {
			n.home = c.home
			break
		}
	}
	if n.home == nil {
		n.home = &home{prefix: prefix}
	}
	n.at = len(p.open)
	p.open = append(p.open, n)
	return n
}

// yield makes one connection give way; false if there is none that may.
func (p *places) yield() bool {
	p.giveUp()
	p.mu.Lock()
	victim := p.victim()
	if victim != nil {
		p.remove(victim)
	}
	p.mu.Unlock()
	if victim != nil {
		victim.cut()
	}
	return victim != nil
}

// victim finds who gives way. The caller holds mu.
func (p *places) victim() *place {
	p.survey++
	for _, c := range p.open {
		if c.phase == served {
			continue
		}
		h := c.home
		if h.survey != p.survey {
			h.survey, h.yielding, h.oldest = p.survey, 0, c
		}
		if h.yielding++; c.since.Before(h.oldest.since) {
			h.oldest = c
		}
	}
	var worst *home
	for _, c := range p.open {
		h := c.home
		if h.survey == p.survey && (worst == nil || h.yielding > worst.yielding || h.yielding == worst.yielding && h.oldest.since.Before(worst.oldest.since)) {
			worst = h
		}
	}
	if worst == nil {
		return nil
	}
	return worst.oldest
}

// remove takes a connection out of its place; once. The caller holds mu.
func (p *places) remove(c *place) {
	if c.at < 0 {
		return
	}
	last := p.open[len(p.open)-1]
	p.open[c.at], last.at = last, c.at
	p.open[len(p.open)-1] = nil
	p.open = p.open[:len(p.open)-1]
	c.at = -1
	if c.phase == served {
		p.busy--
	}
}

// become notes what the connection does now. false: it is served, but does not keep its place, for as many do as there are; unless force says that one
// of them is about to leave.
func (c *place) become(what phase, force bool) bool {
	p := c.places
	p.mu.Lock()
	defer p.mu.Unlock()
	switch was := c.phase; {
	case c.at < 0, what == was: // it has no place any more, and finds out soon
		return true
	case what == served && !force && p.busy >= p.most:
		return false
	case what == served:
		p.busy++
	case was == served:
		p.busy--
	}
	c.phase, c.since = what, time.Now()
	return true
}

// Write implements net.Conn. An answer that waits for the device does not keep its place.
func (c *place) Write(b []byte) (int, error) {
	c.become(sending, false)
	n, err := c.Conn.Write(b)
	c.become(served, false)
	return n, err
}

// Close implements net.Conn.
func (c *place) Close() error {
	c.places.mu.Lock()
	c.places.remove(c)
	c.places.mu.Unlock()
	return c.Conn.Close()
}

// cut ends the connection without a word, which could be waited for.
func (c *place) cut() {
	if t, ok := c.Conn.(*tls.Conn); ok {
		_ = t.NetConn().Close()
	}
	_ = c.Conn.Close()
}

// addressOf is what of an address stands for a host: of IPv6 it has 64 bits for itself. Zero for what is no address.
func addressOf(remote string) (prefix netip.Prefix) {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return prefix
	}
	addr, bits := ap.Addr().Unmap().WithZone(""), 32
	if addr.Is6() {
		bits = 64
	}
	prefix, _ = addr.Prefix(bits)
	return prefix
}
