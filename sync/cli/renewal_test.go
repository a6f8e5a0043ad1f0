package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// writePair writes a certificate with that serial number and its key.
func writePair(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(100 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: raw},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// HTTP and MQTT serve a renewed certificate after SIGHUP without a restart, and keep the old one
// beside a key that does not fit; status says which certificate ends soon.
func TestRenewedCertificates(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, cert, key, 1)
	for _, door := range []string{"HTTP", "MQTT"} {
		s.env = append(s.env, "EDGESYNC_"+door+"_TLS_LISTEN=127.0.0.1:0", "EDGESYNC_"+door+"_TLS_CERT_FILE="+cert,
			"EDGESYNC_"+door+"_TLS_KEY_FILE="+key)
	}
	r := s.start()
	s.eventually("the first sync", func() bool { return r.snapshot().Synced })
	snap := r.snapshot()
	serves := func(address string, serial int64) bool {
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64() == serial
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	res, err := client.Post("https://"+snap.HTTPTLSAddress+"/api/v1/token-1/telemetry", "application/json", strings.NewReader(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusOK || !serves(snap.HTTPTLSAddress, 1) || !serves(snap.MQTTTLSAddress, 1) {
		t.Errorf("before the renewal: %d", res.StatusCode)
	}
	warns := func(text string) func() bool {
		return func() bool { return strings.Contains(strings.Join(r.snapshot().ExtraWarnings, "\n"), text) }
	}
	if !warns("http.tls: the certificate in "+cert+" ends on ")() || !warns("mqtt.tls: the certificate in "+cert+" ends on ")() {
		t.Errorf("warnings: %q", r.snapshot().ExtraWarnings)
	}
	writePair(t, cert, key, 2)
	hangUp := func() {
		if err := syscall.Kill(r.PID(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	hangUp()
	s.eventually("the new certificate", func() bool { return serves(snap.HTTPTLSAddress, 2) && serves(snap.MQTTTLSAddress, 2) })
	writePair(t, cert, filepath.Join(dir, "other.pem"), 3)
	hangUp()
	s.eventually("the warning", warns("private key does not match"))
	if !serves(snap.HTTPTLSAddress, 2) || !serves(snap.MQTTTLSAddress, 2) {
		t.Error("the old pair does not go on")
	}
}

// A device that posts before this edge has ever reached its cloud is asked to come back, and the
// status tells of it; so it does of a token that is wrong afterwards.
func TestUnknownTokensLeaveTraces(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.env = []string{"EDGESYNC_CLOUD_PORT=1"} // where nobody listens
	expect := func(r *running, token string, status int, reason string) {
		t.Helper()
		if code, _ := post(r.http, token, `{"a":1}`); code != status {
			t.Errorf("%s: %d, want %d", token, code, status)
		}
		snap := r.snapshot()
		if len(snap.Refused) != 1 || snap.Refused[0].Who != "127.0.0.1" || snap.Refused[0].Reason != reason ||
			len(snap.Refusals) != 1 || snap.Refusals[0].Count != 1 {
			t.Errorf("%+v, %+v", snap.Refused, snap.Refusals)
		}
	}
	r := s.start()
	expect(r, "token-1", http.StatusServiceUnavailable, "not_synced")
	r.Kill()
	s.env = nil
	r = s.synced()
	expect(r, "token-9", http.StatusUnauthorized, "unknown_token")
	const told = "127.0.0.1 was refused: unknown token"
	s.eventually("the log says so", func() bool { return strings.Contains(r.log.String(), told) })
	if log := r.log.String(); strings.Contains(log, "token-9") {
		t.Errorf("log: %s", log)
	}
}
