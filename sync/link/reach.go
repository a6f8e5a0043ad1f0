package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Reached is a connection to the cloud's port, taken step by step for a person who wants to know
// how far the way leads. It carries no session. One goroutine uses it, and closes it.
type Reached struct {
	Step  string        // that the connection has come to: "proxy", "tcp", "tls"; "" = none was begun
	Took  time.Duration // until the connection to the cloud, or to the proxy and through it, was there
	At    string        // the address at the other end: the cloud's or the proxy's
	Chain []*x509.Certificate
	ALPN  string // what TLS agreed on; "h2" is right

	conn    net.Conn
	greeted bool
}

// Close closes the connection, if there is one.
func (r *Reached) Close() {
	if r.conn != nil {
		r.conn.Close()
	}
}

// Proxy is the proxy through which the way leads, and the variable that names it, "" where there is
// none; ignored says that the environment names a proxy that the link does not use.
func (d *Dialer) Proxy() (addr, from, ignored string, err error) {
	way, err := d.route()
	if way.proxy != nil {
		addr, from = way.proxy.addr, way.proxy.from
	}
	return addr, from, way.ignored, err
}

// Dialled opens a connection to another host and port by the way that the link takes.
func (d *Dialer) Dialled(ctx context.Context, addr string) (net.Conn, error) {
	way, err := d.route()
	switch {
	case err != nil:
		return nil, err
	case d.Dial != nil:
		return d.Dial(ctx, addr)
	case way.proxy != nil:
		return (&tunnel{proxy: *way.proxy, cloud: addr}).open(ctx)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

// Reach dials, and does TLS where it is configured, within ctx. The Reached is there with an error
// too, as far as the way led; the chain of certificates also when it is not trusted. Diagnose says
// what an error means.
func (d *Dialer) Reach(ctx context.Context) (*Reached, error) {
	r := &Reached{}
	way, err := d.route()
	if err != nil {
		r.Step = "proxy"
		return r, err
	}
	return r, d.reach(ctx, r, way)
}

func (d *Dialer) reach(ctx context.Context, r *Reached, way route) error {
	var through *tunnel
	failed := func(step string, err error) error {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", ErrTimeout, err)
		}
		r.Step = step
		return &attemptError{through.blame(err), way.ignored}
	}
	begin := time.Now()
	step := "tcp"
	var conn net.Conn
	var err error
	switch {
	case d.Dial != nil:
		conn, err = d.Dial(ctx, d.Addr())
	case way.proxy != nil:
		through, step = &tunnel{proxy: *way.proxy, cloud: d.Addr()}, "proxy"
		conn, err = through.dial(ctx, "")
	default:
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", d.Addr())
	}
	if err != nil {
		return failed(step, err)
	}
	r.conn, r.Step, r.Took, r.At = conn, "tcp", time.Since(begin), conn.RemoteAddr().String()
	if !d.Cloud.TLS.Enabled {
		return nil
	}
	c, err := d.tlsConfig()
	if err != nil {
		return failed("tls", err)
	}
	c.NextProtos = []string{"h2"}
	secure := tls.Client(conn, c)
	if err := secure.HandshakeContext(ctx); err != nil {
		var bad *tls.CertificateVerificationError
		if errors.As(err, &bad) {
			r.Chain = bad.UnverifiedCertificates
		}
		return failed("tls", err)
	}
	state := secure.ConnectionState()
	r.conn, r.Step, r.Chain, r.ALPN = secure, "tls", state.PeerCertificates, state.NegotiatedProtocol
	if r.ALPN != "h2" {
		return failed("tls", errNoH2)
	}
	return nil
}

// errNoH2 has the words of gRPC, which advice knows.
var errNoH2 = errors.New("missing selected ALPN property")

// Frames of HTTP/2 (RFC 9113, section 4.1 and 6) as far as a ping needs them.
const (
	preface       = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHead     = 9
	frameSettings = 4
	framePing     = 6
	frameGoAway   = 7
	frameAck      = 1
	maxFrame      = 16 << 10 // what an endpoint takes that has announced nothing else
)

// Ping is silent for a while, but for answers to the server's own pings, and then asks whether the
// other end of HTTP/2 is there. It returns how long the answer to that took; ErrTimeout: none came
// within patience. The first call greets as a client of HTTP/2 does.
func (r *Reached) Ping(silence, patience time.Duration) (time.Duration, error) {
	if !r.greeted {
		r.greeted = true
		if err := r.write(append([]byte(preface), 0, 0, 0, frameSettings, 0, 0, 0, 0, 0)); err != nil {
			return 0, err
		}
		if err := r.await(frameSettings, time.Now().Add(patience)); err != nil {
			return 0, fmt.Errorf("error reading server preface: %w", err) // the words of gRPC, which advice knows
		}
	}
	if silence > 0 {
		if err := r.await(0, time.Now().Add(silence)); !errors.Is(err, ErrTimeout) {
			return 0, err
		}
	}
	begin := time.Now()
	if err := r.write([]byte{0, 0, 8, framePing, 0, 0, 0, 0, 0, 'e', 'd', 'g', 'e', 's', 'y', 'n', 'c'}); err != nil {
		return 0, err
	}
	err := r.await(framePing, begin.Add(patience))
	return time.Since(begin), err
}

func (r *Reached) write(b []byte) error {
	_ = r.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, err := r.conn.Write(b)
	return err
}

// await reads frames until one is settings, or the answer to a ping, as wanted; 0: until the time
// is up. What asks for an answer gets it.
func (r *Reached) await(want byte, until time.Time) error {
	_ = r.conn.SetReadDeadline(until)
	var buf [maxFrame]byte
	for {
		b := buf[:frameHead]
		_, err := io.ReadFull(r.conn, b)
		if err == nil {
			n := int(binary.BigEndian.Uint32(b) >> 8)
			if n > maxFrame-frameHead {
				return errors.New("frame too large") // another protocol; the words of gRPC, which advice knows
			}
			b = buf[:frameHead+n]
			_, err = io.ReadFull(r.conn, b[frameHead:])
		}
		var slow net.Error
		switch {
		case errors.As(err, &slow) && slow.Timeout():
			return ErrTimeout
		case err != nil:
			return err
		}
		kind, ack := b[3], b[4]&frameAck != 0
		switch {
		case kind == frameGoAway && len(b) >= frameHead+8:
			return fmt.Errorf("the other end closes the connection (code %d): %s", binary.BigEndian.Uint32(b[frameHead+4:]),
				FirstLine(string(b[frameHead+8:])))
		case kind == frameSettings && !ack:
			err = r.write([]byte{0, 0, 0, frameSettings, frameAck, 0, 0, 0, 0})
		case kind == framePing && !ack:
			b[4] |= frameAck
			err = r.write(b)
		}
		if err != nil {
			return err
		}
		if kind == want && ack == (kind == framePing) {
			return nil
		}
	}
}
