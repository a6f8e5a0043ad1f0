package device

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"edgesync/sync/device/mqtt"
	"edgesync/sync/guess"
	"edgesync/sync/refusal"
	"edgesync/sync/registry"
)

// welcome reads a CONNECT, answers it and returns the session, nil where there is none. A CONNECT
// that is malformed, or of another protocol, closes the connection without an answer (API.md 3.2).
func (m *MQTT) welcome(conn *mqttConn, frame []byte) *session {
	var c mqtt.Connect
	if err := c.Decode(frame); err != nil {
		m.stranger(conn, frame, err)
		return nil
	}
	s, code := m.connect(conn, &c)
	if s == nil {
		if code != 0 {
			_, _ = conn.Write((&mqtt.Connack{Code: code}).Append(nil, c.Version))
		}
		return nil
	}
	// The CONNACK has no properties but those that MQTT 5 demands: clients would take a Receive
	// Maximum or a Maximum Packet Size for the whole of their limits (API.md 9).
	accepted := mqtt.Connack{ExpiresAtOnce: c.Properties.Number(mqtt.PropSessionExpiry) > 0}
	if len(c.ClientID) == 0 {
		accepted.AssignedID = rand.Text()
	}
	if s.write(accepted.Append(nil, c.Version)) != nil {
		return nil
	}
	return s
}

// connect decides about a CONNECT. It returns a session that speaks for its device already, or nil
// and the code to answer with; code 0 closes the connection without an answer.
func (m *MQTT) connect(conn *mqttConn, c *mqtt.Connect) (*session, byte) {
	clientID, user := string(c.ClientID), string(c.User)
	s := &session{
		m: m, conn: conn, version: c.Version, receiveMax: 65535, left: make(chan struct{}),
		maxPacket: int(min(c.Properties.Number(mqtt.PropMaximumPacketSize), 1<<30)),
	}
	s.room.L = &s.mu
	if n := int(c.Properties.Number(mqtt.PropReceiveMaximum)); n > 0 {
		s.receiveMax = n
	}
	if user == provisionUser || clientID == provisionUser {
		s.provision = true
		s.rules.Store(new(rules))
		conn.idle, conn.until = provisionLimit, time.Now().Add(provisionLimit)
		conn.session.Store(s)
		return s, 0
	}
	dev, ok, err := m.judge(conn, clientID, user, c.Password)
	switch {
	case errors.Is(err, guess.ErrTooMany):
		m.note(conn, refusal.Guessing, "", "", nil)
		return nil, tooManyGuesses(c.Version)
	case err != nil:
		return nil, 0
	case !ok && !m.synced():
		m.unknown(conn, refusal.NotSynced, clientID, user)
		return nil, notYet(c.Version)
	case !ok:
		m.unknown(conn, refusal.UnknownToken, clientID, user)
		return nil, wrongCredentials(c.Version, clientID, user, c.Password)
	}
	if _, takesOver := m.owner(dev.ID); !conn.keepSlot(takesOver) {
		m.note(conn, refusal.Busy, dev.Name, "", errNoSlot)
		return nil, unavailable(c.Version)
	}
	s.device = dev
	s.follow(dev.ProfileID)
	conn.session.Store(s)
	if _, old := m.own(dev.ID, s, ""); old != nil {
		m.await(old)
	}
	// Credentials that were revoked in between end this session too: either the change finds the
	// session, or the session finds the change here.
	again, ok := m.authenticate(conn, clientID, user, c.Password)
	if !ok || again.ID != dev.ID {
		m.note(conn, refusal.UnknownToken, dev.Name, "", errRevoked)
		return nil, wrongCredentials(c.Version, clientID, user, c.Password)
	}
	s.follow(again.ProfileID) // the same for its profile
	// The device's keep-alive does not end the session earlier than the server would (API.md 3.1).
	conn.idle = max(idleLimit, time.Duration(c.KeepAlive)*time.Second*3/2)
	return s, 0
}

// judge is authenticate for a CONNECT that has just come: guesses wait, or are not looked at, which
// is an error. A certificate, which TLS has proved, cannot be guessed.
func (m *MQTT) judge(conn *mqttConn, clientID, user string, password []byte) (registry.Device, bool, error) {
	if len(certificates(conn)) > 0 {
		dev, ok := m.authenticate(conn, clientID, user, password)
		return dev, ok, nil
	}
	// The client id is part of the secret only where there is no password. Many clients make up
	// another one each time.
	token, whole := m.guesses.Secret("token", user), m.guesses.Secret("client", clientID, user)
	if len(password) > 0 {
		whole = m.guesses.Secret("basic", user, string(password))
	}
	from := guess.Address(conn.RemoteAddr().String())
	if user == "" || !m.guesses.Knows(from, token) {
		token = whole
	}
	attempt, err := m.guesses.Begin(m.ctx, from, token)
	if err != nil {
		return registry.Device{}, false, err
	}
	dev, ok := m.authenticate(conn, clientID, user, password)
	if !ok {
		attempt.Wrong()
		return dev, false, nil
	}
	// Where the user name alone is the secret, that is remembered: it is the same over HTTP.
	if d, ok := m.Lookups.ByToken(user); ok && user != "" && d.ID == dev.ID {
		whole = m.guesses.Secret("token", user)
	}
	attempt.RightAs(dev.ID, whole)
	return dev, true, nil
}

// tooManyGuesses is the code for a CONNECT that is not looked at (API.md 3.2).
func tooManyGuesses(version byte) byte {
	if version == 5 {
		return 0x9f // connection rate exceeded
	}
	return 3
}

// certificates are what the device has shown over TLS.
func certificates(conn *mqttConn) []*x509.Certificate {
	if t, ok := conn.inner.(*tls.Conn); ok {
		return t.ConnectionState().PeerCertificates
	}
	return nil
}

// await waits until what came over the old connection of a device is handled, at most tailLimit, so
// that what the device sends over the new one comes behind it.
func (m *MQTT) await(old *session) {
	t := time.NewTimer(tailLimit)
	defer t.Stop()
	select {
	case <-old.left:
	case <-t.C:
	case <-m.ctx.Done():
	}
}

// authenticate finds the device by its certificate, if there is one, else by what CONNECT says
// (API.md 3.2).
func (m *MQTT) authenticate(conn *mqttConn, clientID, user string, password []byte) (registry.Device, bool) {
	if certs := certificates(conn); len(certs) > 0 {
		now := time.UnixMilli(m.Clock.Now()) // not 1970
		if now.Before(certs[0].NotBefore) || now.After(certs[0].NotAfter) {
			return registry.Device{}, false
		}
		return m.Lookups.ByCertificate(certs[0].Raw)
	}
	return m.Lookups.ByMQTT(clientID, user, password)
}

// unavailable is the code for a device that is to try again later (API.md 3.2). MQTT 5 has a code
// of its own for that.
func unavailable(version byte) byte {
	if version == 5 {
		return 0x89 // server busy
	}
	return 3
}

// notYet is the code for a device that is not known while no sync has completed (API.md 10).
func notYet(version byte) byte {
	if version == 5 {
		return 0x88 // server unavailable
	}
	return 3
}

// wrongCredentials is the code for wrong credentials. It depends on which of them were given and on
// nothing else (API.md 3.2).
func wrongCredentials(version byte, clientID, user string, password []byte) byte {
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
