package keypair

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgesync/sync/cloudtest/rig"
)

var end = time.Date(2030, 3, 15, 12, 0, 0, 0, time.UTC)

// write puts a new certificate and its key into dir, as far as which says: "c", "k" or "ck".
func write(t *testing.T, dir string, serial int64, which string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: end.AddDate(-1, 0, 0), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"c": {Type: "CERTIFICATE", Bytes: der}, "k": {Type: "EC PRIVATE KEY", Bytes: raw}} {
		if strings.Contains(which, name) {
			if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func open(t *testing.T, dir string, log *rig.Log) *Pair {
	t.Helper()
	p, err := Open("mqtt.tls", filepath.Join(dir, "c"), filepath.Join(dir, "k"), log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func serial(p *Pair) int64 {
	c, _ := p.Get(nil)
	return c.Leaf.SerialNumber.Int64()
}

func TestRenewedFilesAreServed(t *testing.T) {
	dir, log := t.TempDir(), new(rig.Log)
	write(t, dir, 1, "ck")
	p := open(t, dir, log)
	p.Check()
	if serial(p) != 1 || log.String() != "" {
		t.Errorf("serial %d, log %s", serial(p), log)
	}
	write(t, dir, 2, "ck")
	p.Check()
	if serial(p) != 2 || strings.Count(log.String(), "is served from now on") != 1 {
		t.Errorf("serial %d, log %s", serial(p), log)
	}
}

// Whatever becomes of the files, the old pair goes on, the fault is said once, and the next pair
// that fits is served.
func TestPairsThatDoNotFit(t *testing.T) {
	for _, c := range []struct {
		name   string
		spoil  func(t *testing.T, dir string)
		expect string
	}{
		{"the certificate is new, the key is not", func(t *testing.T, dir string) { write(t, dir, 2, "c") }, "private key does not match"},
		{"the key is new, the certificate is not", func(t *testing.T, dir string) { write(t, dir, 2, "k") }, "private key does not match"},
		{"gone", func(_ *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, "k")) }, "no such file"},
		{"half written", func(_ *testing.T, dir string) { _ = os.Truncate(filepath.Join(dir, "c"), 40) }, "failed to find any PEM data"},
		{"empty", func(_ *testing.T, dir string) { _ = os.Truncate(filepath.Join(dir, "k"), 0) }, "failed to find any PEM data"},
		{"huge", func(_ *testing.T, dir string) { _ = os.Truncate(filepath.Join(dir, "c"), 1<<40) }, "more than 262144 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, log := t.TempDir(), new(rig.Log)
			write(t, dir, 1, "ck")
			p := open(t, dir, log)
			c.spoil(t, dir)
			p.Check()
			p.Check()
			if w := p.Warning(time.Time{}); serial(p) != 1 || !strings.Contains(w, c.expect) || !strings.HasPrefix(w, "mqtt.tls: ") {
				t.Errorf("serial %d, warning %q", serial(p), w)
			}
			if got := log.String(); strings.Count(got, "the old one goes on") != 1 || strings.Contains(got, "BEGIN") {
				t.Errorf("log %s", got)
			}
			_ = os.Remove(filepath.Join(dir, "c"))
			write(t, dir, 3, "ck")
			p.Check()
			if w := p.Warning(time.Time{}); serial(p) != 3 || w != "" {
				t.Errorf("mended: serial %d, warning %q", serial(p), w)
			}
		})
	}
	_, err := Open("http.tls", "/nowhere/c", "/nowhere/k", new(rig.Log).Logger())
	if err == nil || !strings.HasPrefix(err.Error(), "http.tls: ") {
		t.Error(err)
	}
}

func TestTheEndIsAnnounced(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, 1, "ck")
	p := open(t, dir, new(rig.Log))
	for before, want := range map[time.Duration]string{
		15 * 24 * time.Hour:        "",
		Notice + time.Second:       "",
		Notice:                     "ends on 2030-03-15, in 14 days",
		25 * time.Hour:             "in 1 days",
		time.Minute:                "in 0 days",
		0:                          "has ended on 2030-03-15",
		-3 * 365 * 24 * time.Hour:  "has ended on 2030-03-15",
		60 * 365 * 24 * time.Hour:  "", // a clock that is not set
		3 * 365 * 24 * time.Hour:   "",
		Notice - 13*24*time.Hour/2: "in 7 days",
	} {
		if got := p.Warning(end.Add(-before)); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%v before: %q, want %q", before, got, want)
		}
	}
}
