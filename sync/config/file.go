package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"

	"edgesync/wal/disk"
)

// maxConfigFile bounds the configuration file, the secret's file and the authority's file, in
// bytes.
const maxConfigFile = 1 << 20

// readBounded reads a file of at most maxConfigFile bytes. A pipe will do: --config <(decrypt …).
func readBounded(name string) ([]byte, error) {
	data, err := disk.ReadBounded(name, maxConfigFile)
	if errors.Is(err, disk.ErrTooLarge) {
		return nil, fmt.Errorf("is larger than %s", formatSize(maxConfigFile))
	}
	return data, err
}

// readSecret reads the routing secret from its file. The notice warns of a file that others can
// read.
func readSecret(name string) (secret, notice string, err error) {
	data, err := readBounded(name)
	if err != nil {
		return "", "", fmt.Errorf("file %s: %w", strconv.Quote(name), disk.Reason(err))
	}
	secret = strings.TrimSpace(string(data))
	if secret == "" {
		return "", "", fmt.Errorf("file %s is empty: it must hold the edge's secret", strconv.Quote(name))
	}
	if err := keyOf("cloud.routing_secret").checkText(secret); err != nil {
		return "", "", fmt.Errorf("what file %s holds %w", strconv.Quote(name), err)
	}
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o007 != 0 {
		notice = fmt.Sprintf("every user of this machine can read the secret in %s: chmod 600 it", strconv.Quote(name))
	}
	return secret, notice, nil
}

// checkCA is the error about a file that does not hold at least one certificate.
func checkCA(name string) error {
	data, err := readBounded(name)
	if err != nil {
		return disk.Reason(err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return errors.New("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
	}
	return nil
}

// syntaxError says where a TOML document breaks. The library quotes pieces of the line, so its
// message is left out where a secret may stand.
func syntaxError(name string, data []byte, err error) error {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return fmt.Errorf("%s: not a TOML document", name)
	}
	where := fmt.Sprintf("%s:%d", name, pe.Position.Line)
	if lines := strings.Split(string(data), "\n"); nearSecret(lines, pe.Position.Line) {
		return fmt.Errorf("%s: not TOML: a value beside a secret cannot be read; texts stand in double quotes", where)
	}
	return fmt.Errorf("%s: not TOML: %s", where, printable(pe.Message))
}

// nearSecret reports whether the line, or a neighbour of it, could hold a secret: a broken text
// runs on.
func nearSecret(lines []string, line int) bool {
	for i := max(line-3, 0); i < min(line+2, len(lines)); i++ {
		if strings.Contains(strings.ToLower(lines[i]), "secret") {
			return true
		}
	}
	return false
}

// quote shows a value of any type in a message, shortened.
func quote(v any) string {
	s, ok := v.(string)
	if !ok {
		return printable(fmt.Sprint(v))
	}
	return strconv.Quote(shorten(s))
}

func printable(s string) string {
	q := strconv.Quote(shorten(s))
	return q[1 : len(q)-1]
}

func shorten(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	s = s[:most]
	for len(s) > 0 && !utf8.ValidString(s) && most-len(s) < utf8.UTFMax {
		s = s[:len(s)-1]
	}
	return s + "…"
}
