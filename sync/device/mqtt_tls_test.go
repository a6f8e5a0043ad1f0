package device

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// certificate makes a self-signed certificate that is valid from one time to another.
func certificate(t *testing.T, from, to time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to}
	issuer := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, own, issuer, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Over TLS a certificate proves who a device is. Without a certificate a token does, as elsewhere.
func TestMQTTCertificates(t *testing.T) {
	s := newStand(t, true)
	hour := time.Hour
	now := time.Now()
	good, old := certificate(t, now.Add(-hour), now.Add(hour)), certificate(t, now.Add(-2*hour), now.Add(-hour))
	unknown := certificate(t, now.Add(-hour), now.Add(hour))
	s.book.enrol("der:"+string(good.Certificate[0]), registry.Device{ID: proto.UUID{7}, Name: "Certified"})
	s.book.enrol("der:"+string(old.Certificate[0]), registry.Device{ID: proto.UUID{8}, Name: "Expired"})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.MQTT.Serve(tls.NewListener(l, TLSConfig(always(certificate(t, now.Add(-hour), now.Add(hour))))))
	for _, c := range []struct {
		name    string
		cert    []tls.Certificate
		token   string
		version byte
		code    byte
	}{
		{"certificate", []tls.Certificate{good}, "", 4, 0},
		{"certificate and a token that does not count", []tls.Certificate{good}, "nobody", 5, 0},
		{"expired", []tls.Certificate{old}, "", 4, 5},
		{"unknown", []tls.Certificate{unknown}, "lamp", 5, 0x86},
		{"no certificate but a token", nil, "lamp", 5, 0},
		{"no certificate and a wrong token", nil, "nobody", 4, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, Certificates: c.cert})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(2 * time.Minute))
			d := &tester{T: t, Conn: conn, in: bufio.NewReader(conn), version: c.version}
			if code := d.connect("", c.token, ""); code != c.code {
				t.Fatalf("CONNACK %#x, want %#x", code, c.code)
			}
			if c.code != 0 {
				d.closed(0)
				return
			}
			d.ask("v1/devices/me/telemetry", `{"a":1}`, 1)
			if len(c.cert) > 0 {
				s.DeviceChanged(registry.Device{ID: proto.UUID{7}}, registry.CredentialsChanged)
				d.closed(reasonRevoked)
			}
		})
	}
	events := s.intake.durable()
	if len(events) != 3 || events[0].Entity != (proto.UUID{7}) || events[2].Entity != lampID {
		t.Errorf("%+v", events)
	}
	// A connection that does not begin with a handshake is closed at once.
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(2 * time.Minute))
	raw.Write(connectPacket(4, "", "lamp", ""))
	for {
		if _, err := raw.Read(make([]byte, 64)); timedOut(err) {
			t.Fatal("a connection without TLS stays open")
		} else if err != nil {
			break
		}
	}
}
