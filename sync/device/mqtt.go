package device

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"edgesync/sync/device/payload"
)

// MQTT is the door for devices that speak MQTT 3.1, 3.1.1 or 5 (API.md 3, 4). Its methods may be
// called from any goroutine. One goroutine for each connection, serve, reads it and works on its
// packets; one for the door, mqttNet.write, writes to all of them.
//
//	device ──▶ mqttConn: whole packets ──▶ session: packet, topic, Parser ──▶ Intake.Submit
//	       ◀── writer, never blocks ◀── PUBACK, in order ◀── session ◀── committer, after fsync
type MQTT struct {
	*Doors
	net     *mqttNet
	parser  sync.Pool // of *payload.Parser
	schemas schemas

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	served sync.WaitGroup

	mu        sync.Mutex
	listeners []net.Listener
	conns     map[*mqttConn]struct{} // all that are open; Doors bounds how many there are
	closed    bool
}

// NewMQTT returns a door without listeners. Close ends it.
func NewMQTT(d *Doors) *MQTT {
	m := &MQTT{
		Doors: d, net: newMQTTNet(), parser: sync.Pool{New: func() any { return new(payload.Parser) }},
		conns: make(map[*mqttConn]struct{}),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.served.Go(m.net.write)
	return m
}

// TLSConfig is the configuration of a TLS listener for MQTT; get returns the certificate of a new
// connection. A device may show a certificate of its own, which proves by itself who the device is:
// no authority has to stand behind it (API.md 3.2).
func TLSConfig(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		GetCertificate: get, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12,
		// A resumed session would bring a certificate that was not shown.
		SessionTicketsDisabled: true,
	}
}

// Serve accepts connections of l until Close, and then returns nil. l may be a TLS listener.
func (m *MQTT) Serve(l net.Listener) error {
	l = m.Listen(l)
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return l.Close()
	}
	m.listeners = append(m.listeners, l)
	m.mu.Unlock()
	pause := 5 * time.Millisecond
	for {
		c, err := l.Accept()
		if err == nil {
			pause = 5 * time.Millisecond
			m.start(c)
			continue
		}
		if m.ctx.Err() != nil {
			return nil
		}
		if !temporary(err) {
			return fmt.Errorf("mqtt: %w", err)
		}
		m.complain("an MQTT connection could not be accepted", "", err)
		select { // out of file descriptors, most likely
		case <-time.After(pause):
		case <-m.ctx.Done():
			return nil
		}
		pause = min(2*pause, time.Second)
	}
}

// temporary tells whether accepting may work again.
func temporary(err error) bool {
	return !errors.Is(err, net.ErrClosed)
}

// start serves a connection in a goroutine of its own.
func (m *MQTT) start(c net.Conn) {
	conn := m.net.conn(c)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		_ = c.Close()
		return
	}
	m.conns[conn] = struct{}{}
	m.served.Go(func() { m.serve(conn) })
}

// serve is a connection's life. It runs in a goroutine of its own.
func (m *MQTT) serve(c *mqttConn) {
	defer m.leave(c)
	if t, ok := c.inner.(*tls.Conn); ok {
		ctx, cancel := context.WithTimeout(m.ctx, connectLimit)
		err := t.HandshakeContext(ctx)
		cancel()
		if err != nil {
			m.failedHandshake(c, t, err)
			c.kill()
			return
		}
	}
	frame, err := c.frame()
	if err != nil {
		m.stranger(c, c.in[c.at:c.end], err)
		return
	}
	s := m.welcome(c, frame)
	for s != nil {
		if frame, err = c.frame(); err == nil {
			err = s.handle(frame)
		}
		if err != nil {
			s.close(err)
			return
		}
	}
}

// leave is the end of a connection.
func (m *MQTT) leave(c *mqttConn) {
	if s := c.session.Load(); s != nil {
		s.over()
		m.gone(s)
		close(s.left)
	}
	c.part()
	m.mu.Lock()
	delete(m.conns, c)
	m.mu.Unlock()
}

// Close ends all connections and waits for their goroutines. Events that were submitted become
// durable or not as the intake decides; a device that got no acknowledgement sends its events
// again.
func (m *MQTT) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	m.cancel()
	for _, l := range m.listeners {
		_ = l.Close()
	}
	conns := make([]*mqttConn, 0, len(m.conns))
	for c := range m.conns {
		conns = append(conns, c)
	}
	m.mu.Unlock()
	for _, c := range conns {
		if s := c.session.Load(); s != nil {
			s.end(reasonShuttingDown)
		} else {
			c.kill()
		}
	}
	done := make(chan struct{})
	go func() {
		m.served.Wait()
		close(done)
	}()
	close(m.net.stop) // each connection sends by itself what is left to send
	select {
	case <-done:
	case <-time.After(lingerLimit + partingLimit):
		for _, c := range conns {
			c.kill()
		}
		<-done
	}
	return nil
}

// Connections is how many connections are open now.
func (m *MQTT) Connections() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.conns)
}
