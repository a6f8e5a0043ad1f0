package device

import (
	"crypto/tls"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"edgesync/sync/registry"
)

// connect decides about a CONNECT: a session that speaks for its device already, or nil and what to answer; no code at all closes without
// a word. The goroutine that reads the connection calls it.
func (m *MQTT) connect(conn *mqttConn, pk *packets.Packet, clientID string) (*session, packets.Code) {
	c := &pk.Connect
	user := string(c.Username)
	s := &session{
		m: m, conn: conn, version: pk.ProtocolVersion, receiveMax: 65535, maxPacket: int(min(pk.Properties.MaximumPacketSize, 1<<30)),
		devices: make(map[[16]byte]struct{}),
	}
	s.room.L = &s.mu
	if n := int(pk.Properties.ReceiveMaximum); n > 0 {
		s.receiveMax = n
	}
	if user == provisionUser || clientID == provisionUser {
		s.provision = true
		conn.idle = provisionLimit
		return s, packets.CodeSuccess
	}
	dev, ok := m.authenticate(conn, clientID, user, c.Password)
	if !ok {
		if !m.wrong.allow(conn.RemoteAddr().String(), time.Now()) && !m.wrong.wait(m.ctx) {
			return nil, packets.Code{}
		}
		return nil, refusal(pk.ProtocolVersion, clientID, user, c.Password)
	}
	s.device = dev
	s.profile, _ = m.Lookups.Profile(dev.ProfileID)
	m.own(dev.ID, s, "")
	// What was revoked in between closes this session too: either the change finds it, or we see the change here.
	if again, ok := m.authenticate(conn, clientID, user, c.Password); !ok || again.ID != dev.ID {
		m.gone(s)
		return nil, refusal(pk.ProtocolVersion, clientID, user, c.Password)
	}
	// The device's keep-alive does not end the session earlier than the server would (device API 3.1).
	conn.idle = max(idleLimit, time.Duration(c.Keepalive)*time.Second*3/2)
	return s, packets.CodeSuccess
}

// authenticate finds the device (device API 3.2): by the certificate, if there is one, else by what CONNECT says.
func (m *MQTT) authenticate(conn *mqttConn, clientID, user string, password []byte) (registry.Device, bool) {
	if t, ok := conn.Conn.(*tls.Conn); ok {
		if certs := t.ConnectionState().PeerCertificates; len(certs) > 0 {
			now := time.Now()
			if now.Before(certs[0].NotBefore) || now.After(certs[0].NotAfter) {
				return registry.Device{}, false
			}
			return m.Lookups.ByCertificate(certs[0].Raw)
		}
	}
	return m.Lookups.ByMQTT(clientID, user, password)
}

// refusal is the code for wrong credentials, which depends on what was given and on nothing else (device API 3.2).
func refusal(version byte, clientID, user string, password []byte) packets.Code {
	switch {
	case user == "" && len(password) == 0 && clientID != "":
		return packets.ErrClientIdentifierNotValid
	case user == "" && len(password) == 0 && version == 5:
		return packets.ErrNotAuthorized
	}
	return packets.ErrBadUsernameOrPassword // earlier versions get 5, not authorised
}
