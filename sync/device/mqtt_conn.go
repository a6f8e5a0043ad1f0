package device

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"edgesync/sync/device/mqtt"
	"edgesync/sync/share"
)

// Bounds of one MQTT connection and of all together. A device can make the agent hold its
// unfinished packet, of which at most 2*smallPacket beside the bytes of mqttNet.large, and its
// unread answers: beyond stallOut nothing more is read from the device, beyond maxOut its
// connection is closed. It can make the agent hold nothing else.
const (
	maxRemaining = 65536     // of a packet's remaining length (API.md 3.1)
	readBuffer   = 512       // bytes that a connection keeps for reading
	firstPacket  = 8 << 10   // of a packet of nobody: who it is, or for what credentials
	smallPacket  = 4 << 10   // a larger packet takes bytes of largePackets as it comes
	largePackets = 1 << 20   // bytes of all large packets
	stallOut     = 4 << 10   // unsent bytes; beyond, nothing more is read from the device
	maxOut       = 256 << 10 // unsent bytes of one connection; beyond, it is closed
	maxOutAll    = 3 << 20   // unsent bytes of all; beyond, one that is stalled, or is sent much, is closed

	connectLimit = 10 * time.Second       // from the connection to the end of its CONNECT
	packetLimit  = 30 * time.Second       // from the first byte of a packet to its last
	idleLimit    = 600 * time.Second      // without a packet (API.md 3.1), or 1.5 keep-alives
	sendLimit    = 30 * time.Second       // without progress of what is to be sent
	scarceLimit  = 4 * time.Second        // the same, while half of maxOutAll is unsent
	tailWait     = 100 * time.Millisecond // for what came over TLS; TCP says what has come
	tailLimit    = 2 * time.Second        // for what came over the old connection of a device
	maxTail      = 4 << 20                // bytes of that; more than sockets hold
	lingerLimit  = 2 * time.Second        // for what is to be sent when the connection ends
	partingLimit = time.Second            // for the device to close its side and read why
)

var (
	errSlowReader   = errors.New("the device does not read what it is sent")
	errPacketLength = errors.New("a packet is longer than 65536 bytes")
	errTakenOver    = errors.New("the device has connected again")
)

// mqttConn is the connection of a device. The goroutine that runs MQTT.serve reads it. Write never
// blocks, because the committer and the loop call it too, and no device may hold them up: the bytes
// are sent by mqttNet's writer, or, where the device does not take them at once, by a goroutine
// that runs drain until it has taken them all.
type mqttConn struct {
	net.Conn                 // the device's: TCP, TLS, or a pipe in tests
	inner    net.Conn        // the same, not counted among the connections that have a slot
	raw      syscall.RawConn // writes without waiting; nil where that is impossible
	net      *mqttNet

	// Owned by the goroutine that reads.
	in    []byte // in[at:end] has come and was not handed out
	at    int
	end   int
	large share.Pass // of the large packet
	idle  time.Duration
	until time.Time // the connection ends then, whatever comes; zero: never
	late  int       // bytes read since the device connected again

	session atomic.Pointer[session] // nil until CONNECT is accepted

	mu       sync.Mutex // guards what follows
	room     sync.Cond  // out has become shorter, or the connection is over
	out      []byte     // to be sent
	file     *outFile   // to be sent in the midst of out; nil: none
	queued   bool       // the connection is in net.dirty
	draining bool       // a goroutine runs drain
	tail     bool       // the device has connected again: only what has come is still read
	closing  bool       // the connection ends when out is sent
	dead     bool       // the connection has ended
}

// mqttNet is what the connections share: the writer, and the bounds on memory. Any goroutine may
// use it.
type mqttNet struct {
	large *share.Budget // of largePackets
	out   atomic.Int64  // unsent bytes of all connections

	mu    sync.Mutex
	dirty []*mqttConn // have bytes to be sent; each connection once
	kick  chan struct{}
	stop  chan struct{}
}

func newMQTTNet() *mqttNet {
	return &mqttNet{large: share.New(largePackets), kick: make(chan struct{}, 1), stop: make(chan struct{})}
}

// write is the writer. It sends what the connections have to send, as far as their devices take it
// at once. One goroutine for each door runs it, until stop is closed.
func (n *mqttNet) write() {
	var list []*mqttConn
	for {
		select {
		case <-n.kick:
		case <-n.stop:
			return
		}
		n.mu.Lock()
		list, n.dirty = n.dirty, list[:0]
		n.mu.Unlock()
		for i, c := range list {
			c.flush()
			list[i] = nil
		}
	}
}

func (n *mqttNet) add(c *mqttConn) {
	n.mu.Lock()
	n.dirty = append(n.dirty, c)
	n.mu.Unlock()
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

func (n *mqttNet) conn(c net.Conn) *mqttConn {
	m := &mqttConn{Conn: c, inner: c, net: n, idle: connectLimit}
	m.room.L = &m.mu
	if p, ok := c.(*slot); ok {
		m.inner = p.Conn
	}
	if s, ok := m.inner.(syscall.Conn); ok {
		m.raw, _ = s.SyscallConn()
	}
	return m
}

// frame waits for a packet and returns it as a whole. The packet is valid until the next call.
// Memory is taken for bytes that have come, not for those that were announced.
func (c *mqttConn) frame() ([]byte, error) {
	if c.at == c.end {
		c.at, c.end = 0, 0
		if cap(c.in) > readBuffer {
			c.in = nil
		}
	}
	if c.large.IsOpen() {
		if c.large.Theirs(); c.end-c.at <= smallPacket {
			c.large.Close()
		}
	}
	if err := c.awaitRoom(); err != nil {
		return nil, err
	}
	began := false
	var end time.Time // of the wait for the packet
	for {
		size, err := packetSize(c.in[c.at:c.end])
		if err == nil && size > firstPacket && !c.known() {
			err = errPacketLength // nobody needs so much to say who it is
		}
		if err != nil {
			return nil, err
		}
		if size > 0 && c.end-c.at >= size {
			if c.large.IsOpen() {
				if err := c.large.Ours(); err != nil {
					return nil, err
				}
			}
			c.at += size
			return c.in[c.at-size : c.at], nil
		}
		if c.end-c.at > smallPacket && c.known() {
			waited, err := c.grow()
			if err != nil {
				return nil, err
			}
			if waited > 0 && began { // that was not the device's fault
				end = end.Add(waited)
				_ = c.Conn.SetReadDeadline(end)
			}
		}
		if c.takenOver() {
			c.makeRoom()
			n := c.readTail()
			if c.late += n; n == 0 || c.late > maxTail {
				return nil, errTakenOver
			}
			c.end += n
			continue
		}
		// A packet that has begun must end in time, whatever trickles in; a session may be silent
		// for long.
		if first := c.end == c.at; first || !began {
			limit := packetLimit
			if first || c.session.Load() == nil {
				limit = c.idle
			}
			end = time.Now().Add(limit)
			if !c.until.IsZero() && c.until.Before(end) {
				end = c.until
			}
			if err := c.Conn.SetReadDeadline(end); err != nil {
				return nil, err
			}
			if c.over() { // Close came between: its deadline was overwritten
				return nil, net.ErrClosed
			}
			began = !first || c.session.Load() == nil // for a CONNECT the connection's begin counts
			if c.takenOver() {                        // takeOver came between
				continue
			}
		}
		c.makeRoom()
		if c.large.IsOpen() && c.large.Evicted() { // whose cut the deadline may have overwritten
			return nil, share.ErrEvicted
		}
		n, err := c.Conn.Read(c.in[c.end:cap(c.in)])
		c.end += n
		if c.large.IsOpen() {
			if err := c.large.Moved(n); err != nil {
				return nil, err
			}
		}
		if err != nil && n == 0 && !c.takenOver() {
			return nil, err
		}
	}
}

// takeOver notes that the device has connected again: the goroutine that reads takes what has come
// over this connection, and then ends it.
func (c *mqttConn) takeOver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dead && !c.closing && !c.tail {
		c.tail = true
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // the goroutine that reads may be waiting
		c.room.Broadcast()
	}
}

func (c *mqttConn) takenOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tail
}

// readTail reads what has come and returns how many bytes that were; 0: no more have come.
func (c *mqttConn) readTail() (n int) {
	free := c.in[c.end:cap(c.in)]
	if c.raw == nil {
		_ = c.Conn.SetReadDeadline(time.Now().Add(tailWait))
		n, _ = c.Conn.Read(free)
		return n
	}
	_ = c.Conn.SetReadDeadline(time.Time{})
	_ = c.raw.Read(func(fd uintptr) bool {
		for {
			var err error
			if n, err = syscall.Read(int(fd), free); err != syscall.EINTR {
				return true
			}
		}
	})
	return max(n, 0)
}

// over says whether the connection is ending.
func (c *mqttConn) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead || c.closing
}

// known says whether the connection is that of a device, which has shown who it is.
func (c *mqttConn) known() bool {
	s := c.session.Load()
	return s != nil && !s.provision
}

// grow takes bytes of largePackets for the buffer as it will be when more has been read.
func (c *mqttConn) grow() (waited time.Duration, err error) {
	if !c.large.IsOpen() {
		c.net.large.Open(&c.large, c.session.Load().device.ID, c)
	}
	size := cap(c.in)
	if c.at == 0 && c.end == size {
		size = min(2*size, maxRemaining+8)
	}
	return c.large.Grow(size, c.net.stop)
}

// Cut implements share.Cutter: the connection reads no more.
func (c *mqttConn) Cut() { _ = c.Conn.SetReadDeadline(time.Unix(1, 0)) }

// makeRoom makes room for more bytes behind those that have come. The buffer grows with what has
// come, not with what was announced.
func (c *mqttConn) makeRoom() {
	c.in = c.in[:cap(c.in)]
	if c.at > 0 {
		copy(c.in, c.in[c.at:c.end])
		c.at, c.end = 0, c.end-c.at
	}
	if c.end == len(c.in) {
		grown := make([]byte, max(readBuffer, min(2*len(c.in), maxRemaining+8)))
		copy(grown, c.in[:c.end])
		c.in = grown
	}
}

// packetSize is the size of the packet at the beginning of b, 0 as long as its header is not
// complete.
func packetSize(b []byte) (int, error) {
	header, remaining, err := mqtt.Header(b)
	if remaining > maxRemaining {
		err = errPacketLength
	}
	return header + remaining, err
}

// awaitRoom waits while more than stallOut bytes are unsent, or a file is being sent: from a device
// that does not read nothing is read.
func (c *mqttConn) awaitRoom() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for (len(c.out) > stallOut || c.file != nil) && !c.dead && !c.closing && !c.tail {
		c.room.Wait()
	}
	if c.dead || c.closing {
		return net.ErrClosed
	}
	return nil
}

// keepSlot lets the connection keep its slot while it is open. It returns false where all slots are
// kept already; a connection that takes over from another keeps its slot all the same.
func (c *mqttConn) keepSlot(takesOver bool) bool {
	p, ok := c.Conn.(*slot)
	return !ok || p.become(served, takesOver)
}

// timedOut says whether err is the end of one of the time limits.
func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
