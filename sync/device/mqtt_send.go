package device

import (
	"crypto/tls"
	"net"
	"os"
	"syscall"
	"time"
)

// Write implements net.Conn. It takes p as a whole, to be sent soon, or fails, and never blocks.
// What one call writes stays together.
func (c *mqttConn) Write(p []byte) (int, error) { return c.writeFile(p, nil) }

// outFile is a part of a file that is read from flash as the device takes it. The goroutine that
// runs drain reads it, and die closes it.
type outFile struct {
	*os.File
	before int   // bytes of out that are sent first
	at     int64 // the next byte of the file
	left   int64 // bytes of the file that are still to be sent
}

// writeFile is Write with a part of a file behind p, or nil. The file is the connection's from now
// on, whatever is returned. There is none before the last one is sent: meanwhile nothing is read
// from the device.
func (c *mqttConn) writeFile(p []byte, f *outFile) (int, error) {
	c.mu.Lock()
	if c.dead || c.closing || f != nil && c.file != nil {
		c.mu.Unlock()
		if f != nil {
			f.Close()
		}
		return 0, net.ErrClosed
	}
	total := c.net.out.Add(int64(len(p)))
	if len(c.out) > 0 && len(c.out)+len(p) > maxOut || max(len(c.out), len(p)) > stallOut && total > maxOutAll {
		c.net.out.Add(-int64(len(p)))
		c.mu.Unlock()
		if f != nil {
			f.Close()
		}
		c.kill()
		return 0, errSlowReader
	}
	if c.out = append(c.out, p...); f != nil {
		f.before = len(c.out)
		c.file = f
	}
	poke := !c.queued && !c.draining
	if poke {
		c.queued = true
	}
	c.mu.Unlock()
	if poke {
		c.net.add(c)
	}
	return len(p), nil
}

// flush sends what the device takes at once, and leaves the rest to a goroutine that runs drain.
// mqttNet's writer calls it, and part.
func (c *mqttConn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queued = false
	if c.dead || c.draining || len(c.out) == 0 {
		return
	}
	if c.raw != nil {
		var n int
		var err error
		if c.raw.Write(func(fd uintptr) bool {
			for {
				n, err = syscall.Write(int(fd), c.next())
				if err != syscall.EINTR {
					return true
				}
			}
		}) != nil {
			c.die()
			return
		}
		c.sent(max(n, 0))
		if err != nil && err != syscall.EAGAIN {
			c.die()
			return
		}
		if len(c.out) == 0 && c.file == nil {
			return
		}
	}
	c.draining = true
	go c.drain()
}

// next are the bytes of out that are to be sent first. mu is held.
func (c *mqttConn) next() []byte {
	if c.file != nil {
		return c.out[:c.file.before]
	}
	return c.out
}

// sent notes that the first n bytes of out are on their way. mu is held.
func (c *mqttConn) sent(n int) {
	c.net.out.Add(-int64(n))
	if c.file != nil {
		c.file.before -= n
	}
	if n == len(c.out) {
		if c.out = c.out[:0]; cap(c.out) > readBuffer {
			c.out = nil
		}
	} else {
		c.out = c.out[:copy(c.out, c.out[n:])]
	}
	c.room.Signal()
}

// drain sends as fast as the device reads, until there is nothing to send. It runs in a goroutine
// of its own, of which a connection has at most one, for a device that did not take at once what it
// was sent.
func (c *mqttConn) drain() {
	var chunk [4 << 10]byte
	for {
		c.mu.Lock()
		n, f := copy(chunk[:], c.next()), c.file
		if n > 0 {
			f = nil
		} else if f == nil {
			_ = c.Conn.SetWriteDeadline(time.Time{})
			c.draining = false
			c.mu.Unlock()
			return
		}
		limit := sendLimit
		if c.net.out.Load() > maxOutAll/2 {
			limit = scarceLimit
		}
		if c.closing {
			limit = lingerLimit
		}
		c.mu.Unlock()
		var err error
		if f != nil {
			n, err = f.ReadAt(chunk[:min(f.left, int64(len(chunk)))], f.at)
		}
		if n > 0 { // a file that ends early ends the connection
			_ = c.Conn.SetWriteDeadline(time.Now().Add(limit))
			n, err = c.inner.Write(chunk[:n]) // inner: a session keeps its slot also while it is slow
		}
		c.mu.Lock()
		switch {
		case c.dead:
		case f == nil:
			c.sent(n)
		default:
			c.sentOf(f, int64(n))
		}
		if err != nil {
			c.die()
		}
		c.mu.Unlock()
	}
}

// sentOf notes that n more bytes of a file are on their way. mu is held.
func (c *mqttConn) sentOf(f *outFile, n int64) {
	f.at, f.left = f.at+n, f.left-n
	if f.left == 0 {
		f.Close()
		c.file = nil
		c.room.Signal()
	}
}

// Close implements net.Conn. Reading and writing end; what was written is still sent, if the device
// takes it within lingerLimit, but for a file. The connection itself ends when the goroutine that
// reads calls part.
func (c *mqttConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != nil {
		c.die() // nothing can follow half of a message
	}
	if !c.dead && !c.closing {
		c.closing = true
		_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
		_ = c.Conn.SetWriteDeadline(time.Now().Add(lingerLimit))
		c.room.Broadcast()
	}
	return nil
}

// part ends the connection in such a way that the device reads what was written last, and gives
// back what reading took. To close it while bytes of the device are unread would make the kernel
// throw away what was sent. The goroutine that reads calls it at its end.
func (c *mqttConn) part() {
	_ = c.Close()
	c.flush()
	c.mu.Lock()
	for len(c.out) > 0 && !c.dead {
		c.room.Wait()
	}
	dead := c.dead
	c.mu.Unlock()
	if half, ok := c.inner.(interface{ CloseWrite() error }); ok && !dead && half.CloseWrite() == nil {
		_ = c.Conn.SetReadDeadline(time.Now().Add(partingLimit))
		var b [readBuffer]byte
		for n := 0; n < maxOut; {
			k, err := c.Conn.Read(b[:])
			if n += k; err != nil {
				break
			}
		}
	}
	c.kill()
	c.in = nil
	c.large.Close()
}

// kill ends the connection at once.
func (c *mqttConn) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.die()
}

// die is kill for a caller that holds mu.
func (c *mqttConn) die() {
	if c.dead {
		return
	}
	c.dead = true
	c.net.out.Add(-int64(len(c.out)))
	c.out = nil
	if c.file != nil {
		c.file.Close()
		c.file = nil
	}
	if t, ok := c.inner.(*tls.Conn); ok {
		_ = t.NetConn().Close() // first, or TLS would wait for the device to take its farewell
	}
	_ = c.Conn.Close()
	c.room.Broadcast()
}
