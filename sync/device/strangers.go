package device

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"edgesync/sync/device/mqtt"
	"edgesync/sync/refusal"
)

// tongue is the protocol that the first bytes of a connection are of.
type tongue uint8

const (
	unknownTongue tongue = iota
	mqttTongue
	httpTongue
	tlsTongue
	proxyTongue // what a load balancer puts in front of a connection
)

// methods begin the requests of HTTP, as far as their first three bytes. PRI begins HTTP/2.
var methods = []string{"GET", "POS", "PUT", "HEA", "DEL", "OPT", "PAT", "CON", "TRA", "PRI"}

// tongueOf judges the first bytes of a connection.
func tongueOf(begin []byte) tongue {
	switch {
	case len(begin) >= 2 && begin[0] == 0x16 && begin[1] == 3:
		return tlsTongue
	case len(begin) > 0 && begin[0] == 0x10:
		return mqttTongue
	case len(begin) < 3:
		return unknownTongue
	case bytes.HasPrefix(begin, []byte("PROXY")), bytes.HasPrefix(begin, []byte("\r\n\r\n\x00\r\n")):
		return proxyTongue
	}
	for _, m := range methods {
		if string(begin[:3]) == m {
			return httpTongue
		}
	}
	return unknownTongue
}

// The sentences for connections that speak another protocol than their port.
const (
	wordsProxy     = "it begins with the header of the PROXY protocol: switch that off in the load balancer"
	wordsTLSToMQTT = "it speaks TLS to the port for plain MQTT: let it use the port of mqtt.tls.listen, or switch its TLS off"
	wordsHTTPToMQ  = "it speaks HTTP, or MQTT over WebSocket, to the port for MQTT: let it use the port of http.listen, " +
		"or MQTT without WebSocket"
	wordsMQTTToHTTP = "it speaks MQTT to the port for HTTP: let it use the port of mqtt.listen"
	wordsTLSToHTTP  = "it speaks TLS to the port for plain HTTP: let it use the port of http.tls.listen, or http:// in its URL"
	wordsMQTTToTLS  = "it speaks MQTT without TLS to the port for TLS: let it use the port of mqtt.listen, or switch its TLS on"
	wordsHTTPToTLS  = "it speaks HTTP without TLS to the port for TLS: let it use the port of http.listen, or https:// in its URL"
	wordsNotTLS     = "it does not begin with TLS, which this port is for: switch its TLS on, or let it use the port without TLS"
	wordsDistrust   = "it does not trust the certificate of this edge: give it the certificate of the authority that signed that"
	wordsALPN       = "it asks by ALPN for protocols that are not spoken here: switch ALPN off in the device, or let it ask for http/1.1"
	wordsCipher     = "no cipher suite is common to both: update its TLS library, or give this edge a certificate with a key of RSA, " +
		"if it has one of ECDSA"
	wordsOldTLS      = "it speaks only versions of TLS before 1.2: update its TLS library, or let it use the port without TLS"
	wordsLeftTLS     = "it ends the connection during the handshake: most often it does not trust the certificate of this edge"
	wordsSlowTLS     = "its handshake takes too long"
	wordsClientProof = "its own certificate or the proof of its key is wrong"
)

// stranger leaves a trace of a connection that does not begin with an MQTT CONNECT. begin is what
// has come of it.
func (m *MQTT) stranger(conn *mqttConn, begin []byte, err error) {
	if len(begin) == 0 || m.ctx.Err() != nil {
		return // it said nothing, as those do that only look whether the port is open
	}
	reason, words := refusal.Malformed, "it does not begin as MQTT: "+err.Error()
	var bad *mqtt.Error
	switch t := tongueOf(begin); {
	case t == tlsTongue:
		reason, words = refusal.WrongPort, wordsTLSToMQTT
	case t == httpTongue:
		reason, words = refusal.WrongPort, wordsHTTPToMQ
	case t == proxyTongue:
		reason, words = refusal.WrongPort, wordsProxy
	case errors.As(err, &bad) && bad.Reason == mqtt.ReasonVersion:
		reason, words = refusal.WrongVersion, protocolWords(begin)
	case errors.Is(err, errPacketLength):
		reason, words = refusal.TooLarge, fmt.Sprintf("its first packet is longer than %d bytes", firstPacket)
	case timedOut(err):
		reason, words = refusal.Slow, "its first packet does not come whole"
	case !errors.As(err, &bad):
		reason, words = refusal.Slow, "its first packet ends before its end"
	}
	m.note(conn, reason, "", "", errors.New(words))
}

// protocolWords says which protocol a CONNECT asks for.
func protocolWords(frame []byte) string {
	header, _, _ := mqtt.Header(frame)
	b := frame[min(header, len(frame)):]
	if len(b) < 2 || len(b) < 3+int(binary.BigEndian.Uint16(b)) {
		return "its protocol is not known"
	}
	n := int(binary.BigEndian.Uint16(b))
	name, level := string(b[2:2+n]), b[2+n]
	if level&0x80 != 0 && strings.HasPrefix(name, "MQ") {
		return fmt.Sprintf("it is a bridge of mosquitto (protocol level %#x): "+
			"set \"try_private false\" in the connection's section of mosquitto.conf", level)
	}
	return fmt.Sprintf("it asks for the protocol %q, level %d", name[:min(n, 16)], level)
}

// failedHandshake leaves a trace of a TLS handshake over MQTT's port.
func (m *MQTT) failedHandshake(conn *mqttConn, t *tls.Conn, err error) {
	if m.ctx.Err() != nil {
		return
	}
	if reason, words := handshakeWords(t, err); words != "" {
		m.note(conn, reason, "", "", errors.New(words))
	}
}

// handshakeWords say why a handshake failed and what helps; "" where the other side said nothing,
// as those do that only look whether the port is open.
func handshakeWords(t *tls.Conn, err error) (refusal.Reason, string) {
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		switch tongueOf(record.RecordHeader[:]) {
		case mqttTongue:
			return refusal.WrongPort, wordsMQTTToTLS
		case httpTongue:
			return refusal.WrongPort, wordsHTTPToTLS
		case proxyTongue:
			return refusal.WrongPort, wordsProxy
		}
		return refusal.WrongPort, wordsNotTLS
	}
	text := err.Error()
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("unsupported application protocols", "no application protocol"):
		return refusal.TLS, wordsALPN
	case has("no cipher suite", "no supported", "unsupported curve", "no mutually supported", "handshake failure"):
		return refusal.TLS, wordsCipher
	case has("unsupported versions", "protocol version not supported"):
		return refusal.TLS, wordsOldTLS
	case has("remote error"):
		return refusal.TLS, wordsDistrust + " (" + text + ")"
	case has("client certificate", "client's certificate", "invalid signature by the client"):
		return refusal.TLS, wordsClientProof + " (" + text + ")"
	case timedOut(err), has("deadline exceeded"):
		if t.ConnectionState().Version == 0 {
			return refusal.Slow, ""
		}
		return refusal.Slow, wordsSlowTLS
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), has("connection reset", "closed"):
		if t.ConnectionState().Version == 0 {
			return refusal.TLS, ""
		}
		return refusal.TLS, wordsLeftTLS
	}
	return refusal.TLS, text
}

// webListener leaves traces of connections that do not begin as HTTP.
type webListener struct {
	net.Listener
	doors *Doors
}

// ListenWeb is Listen for the port of HTTP. l may be a TLS listener.
func (d *Doors) ListenWeb(l net.Listener) net.Listener { return d.Listen(&webListener{l, d}) }

// Accept implements net.Listener.
func (l *webListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &webConn{Conn: c, doors: l.doors}, nil
}

// webConn is a connection for HTTP. Its first bytes are looked at.
type webConn struct {
	net.Conn
	doors *Doors
	begun atomic.Bool
}

// Read implements net.Conn.
func (c *webConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.begun.Load() && (n > 0 || err != nil) && c.begun.CompareAndSwap(false, true) {
		c.look(b[:n], err)
	}
	return n, err
}

// NetConn is the connection below TLS, as [tls.Conn] has it.
func (c *webConn) NetConn() net.Conn {
	if t, ok := c.Conn.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c.Conn
}

// look judges the beginning of the connection.
func (c *webConn) look(begin []byte, err error) {
	reason, words := refusal.WrongPort, ""
	t, ok := c.Conn.(*tls.Conn)
	switch {
	case ok && err != nil && !t.ConnectionState().HandshakeComplete:
		reason, words = handshakeWords(t, err)
	case len(begin) == 0:
	case tongueOf(begin) == mqttTongue:
		words = wordsMQTTToHTTP
	case tongueOf(begin) == tlsTongue:
		words = wordsTLSToHTTP
	case tongueOf(begin) == proxyTongue:
		words = wordsProxy
	}
	if words != "" {
		c.doors.refusals.Note(time.Now(), refusal.Case{
			Door: refusal.HTTP, Reason: reason, Address: address(c.RemoteAddr().String()), Detail: words,
		})
	}
}
