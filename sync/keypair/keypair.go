package keypair

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

const (
	// Every is how often the files are looked at.
	Every = 30 * time.Second
	// Notice is how long before the end of a certificate a person is told.
	Notice = 14 * 24 * time.Hour
	// maxFile bounds a file, in bytes. A certificate with those of its authorities takes some 10
	// KiB.
	maxFile = 256 << 10
)

// Pair is a certificate with its key. Its methods may be called from any goroutine.
type Pair struct {
	name, certFile, keyFile string
	log                     *slog.Logger

	mu     sync.Mutex // guards what follows
	served *tls.Certificate
	sum    [sha256.Size]byte // of the files as they were looked at last
	fault  error             // of the files as they are now; nil: they are what is served
}

// Open reads a pair. name is what the configuration calls it, such as "mqtt.tls".
func Open(name, certFile, keyFile string, log *slog.Logger) (*Pair, error) {
	p := &Pair{name: name, certFile: certFile, keyFile: keyFile, log: log}
	cert, key, err := p.read()
	if err == nil {
		p.sum = sum(cert, key)
		p.served, err = parse(cert, key)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// Get returns the pair for a new connection; a [tls.Config] calls it.
func (p *Pair) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.served, nil
}

// Check looks at the files, and serves what they hold now if that fits. It logs each change once.
func (p *Pair) Check() {
	cert, key, err := p.read()
	now := sum(cert, key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil && now == p.sum {
		return // also while a fault goes on
	}
	var pair *tls.Certificate
	if err == nil {
		p.sum = now
		pair, err = parse(cert, key)
	} else {
		p.sum = [sha256.Size]byte{} // when the files can be read again, they are looked at
	}
	before := p.fault
	p.fault = err
	switch {
	case err == nil && bytes.Equal(pair.Certificate[0], p.served.Certificate[0]) && before == nil:
		p.served = pair
	case err == nil:
		p.served = pair
		p.log.Info("a renewed certificate is served from now on", "setting", p.name, "file", p.certFile, "until", pair.Leaf.NotAfter)
	case before == nil || before.Error() != err.Error():
		p.log.Warn("the renewed certificate cannot be served; the old one goes on", "setting", p.name, "error", err)
	}
}

// Name is what the configuration calls the pair.
func (p *Pair) Name() string { return p.name }

// Ends is when the certificate that is served ends.
func (p *Pair) Ends() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.served.Leaf.NotAfter
}

// Warning says what a person has to do about the pair, "" if nothing. now is the true time; the
// zero time, while that is not known.
func (p *Pair) Warning(now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault != nil {
		return p.name + ": the certificate on the medium cannot be served, and the one from before goes on: " + p.fault.Error()
	}
	end := p.served.Leaf.NotAfter
	switch left := end.Sub(now); {
	case now.IsZero() || left > Notice:
		return ""
	case left <= 0:
		return fmt.Sprintf("%s: the certificate in %s has ended on %s: devices refuse it; renew it", p.name, p.certFile,
			end.UTC().Format(time.DateOnly))
	default:
		return fmt.Sprintf("%s: the certificate in %s ends on %s, in %d days: renew it; the new files are served without a restart",
			p.name, p.certFile, end.UTC().Format(time.DateOnly), int(left/(24*time.Hour)))
	}
}

func sum(cert, key []byte) [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%d ", len(cert))
	h.Write(cert)
	h.Write(key)
	return [sha256.Size]byte(h.Sum(nil))
}

func (p *Pair) read() (cert, key []byte, err error) {
	if cert, err = readFile(p.certFile); err == nil {
		key, err = readFile(p.keyFile)
	}
	return cert, key, err
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return b, err
}

// parse takes a pair apart. The error says what is wrong and holds nothing of the key.
func parse(cert, key []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, errors.Join(errors.New("the certificate is malformed"), err)
		}
	}
	return &pair, nil
}
