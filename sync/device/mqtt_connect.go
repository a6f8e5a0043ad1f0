package device

import (
	"crypto/rand"
	"crypto/tls"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"edgesync/sync/registry"
)

// welcome reads a CONNECT, answers it and returns the session, nil if there is none.
func (m *MQTT) welcome(conn *mqttConn, frame []byte) *session {
	pk, err := readConnect(frame)
	if err != nil {
		m.complain("an MQTT connection is closed because it does not begin as one", "", err)
		return nil
	}
	s, code := m.connect(conn, &pk)
	if s == nil {
		if code != 0 {
			_, _ = conn.Write(connack(&pk, code, ""))
		}
		return nil
	}
	assigned := ""
	if pk.Connect.ClientIdentifier == "" {
		assigned = rand.Text()
	}
	if s.write(connack(&pk, 0, assigned)) != nil {
		return nil
	}
	return s
}

// connect decides about a CONNECT: a session that speaks for its device already, or nil and what to
// answer; 0 closes without a word.
func (m *MQTT) connect(conn *mqttConn, pk *packets.Packet) (*session, byte) {
	c := &pk.Connect
	user, clientID := string(c.Username), c.ClientIdentifier
	s := &session{
		m: m, conn: conn, version: pk.ProtocolVersion, receiveMax: 65535, maxPacket: int(min(pk.Properties.MaximumPacketSize, 1<<30)),
		left: make(chan struct{}),
	}
	s.room.L = &s.mu
	if n := int(pk.Properties.ReceiveMaximum); n > 0 {
		s.receiveMax = n
	}
	if user == provisionUser || clientID == provisionUser {
		s.provision = true
		s.rules.Store(new(rules))
		conn.idle, conn.until = provisionLimit, time.Now().Add(provisionLimit)
		conn.session.Store(s)
		return s, 0
	}
	dev, ok := m.authenticate(conn, clientID, user, c.Password)
	if !ok {
		if !m.wrong.allow(conn.RemoteAddr().String(), time.Now()) && !m.wrong.wait(m.ctx) {
			return nil, 0
		}
		return nil, refusal(pk.ProtocolVersion, clientID, user, c.Password)
	}
	if _, takesOver := m.owner(dev.ID); !conn.settle(takesOver) {
		m.complain("more MQTT devices want to be connected than there are places", dev.Name, nil)
		return nil, unavailable(pk.ProtocolVersion)
	}
	s.device = dev
	s.follow(dev.ProfileID)
	conn.session.Store(s)
	if _, old := m.own(dev.ID, s, ""); old != nil {
		m.await(old)
	}
	// What was revoked in between closes this session too: either the change finds it, or we see
	// the change here.
	again, ok := m.authenticate(conn, clientID, user, c.Password)
	if !ok || again.ID != dev.ID {
		return nil, refusal(pk.ProtocolVersion, clientID, user, c.Password)
	}
	s.follow(again.ProfileID) // the same for its profile
	// The device's keep-alive does not end the session earlier than the server would (device API
	// 3.1).
	conn.idle = max(idleLimit, time.Duration(c.Keepalive)*time.Second*3/2)
	return s, 0
}

// await waits until what has come over the old connection of a device is handled, so that what it
// sends next comes behind it.
func (m *MQTT) await(old *session) {
	t := time.NewTimer(tailLimit)
	defer t.Stop()
	select {
	case <-old.left:
	case <-t.C:
	case <-m.ctx.Done():
	}
}

// authenticate finds the device (device API 3.2): by the certificate, if there is one, else by what
// CONNECT says.
func (m *MQTT) authenticate(conn *mqttConn, clientID, user string, password []byte) (registry.Device, bool) {
	if t, ok := conn.inner.(*tls.Conn); ok {
		if certs := t.ConnectionState().PeerCertificates; len(certs) > 0 {
			now := time.UnixMilli(m.Clock.Now()) // not 1970
			if now.Before(certs[0].NotBefore) || now.After(certs[0].NotAfter) {
				return registry.Device{}, false
			}
			return m.Lookups.ByCertificate(certs[0].Raw)
		}
	}
	return m.Lookups.ByMQTT(clientID, user, password)
}

// unavailable is the code for a device that is to try again later (device API 3.2; MQTT 5 has a
// word of its own for that).
func unavailable(version byte) byte {
	if version == 5 {
		return 0x89 // server busy
	}
	return 3
}

// refusal is the code for wrong credentials, which depends on what was given and on nothing else
// (device API 3.2).
func refusal(version byte, clientID, user string, password []byte) byte {
	switch {
	case user == "" && len(password) == 0 && clientID != "":
		if version == 5 {
			return 0x85
		}
		return 2
	case version < 5:
		return 5
	case user == "" && len(password) == 0:
		return 0x87
	}
	return 0x86
}
