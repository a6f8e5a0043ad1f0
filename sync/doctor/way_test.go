package doctor

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/cloudtest"
)

// certified is a certificate for a host that an authority of its own has signed, and the file of
// that authority.
func certified(t *testing.T, host string, from, to time.Time) (c *tls.Config, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: from, NotAfter: to, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, file
}

// secure puts a cloud that speaks TLS in the place of the bed's.
func (b *bed) secure(host string, from, to time.Time) {
	b.Helper()
	c, file := certified(b.T, host, from, to)
	b.cloud = cloudtest.New(cloudtest.Options{TLS: c})
	b.port()
	b.Loaded.Config.Cloud.TLS.Enabled, b.Loaded.Config.Cloud.TLS.CAFile = true, file
}

// answer listens and has each connection answered.
func (b *bed) answer(with func(net.Conn)) (addr string) {
	b.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { lis.Close() })
	go func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				with(c)
			}()
		}
	}()
	return lis.Addr().String()
}

func (b *bed) at(addr string) {
	b.Helper()
	_, port, _ := net.SplitHostPort(addr)
	b.Loaded.Config.Cloud.Port, _ = strconv.Atoi(port)
}

func (b *bed) dated(at time.Time) {
	b.Dates = []string{b.answer(func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			fmt.Fprintf(c, "HTTP/1.1 404 Not Found\r\nServer: x\r\nDate: %s\r\n\r\n", at.UTC().Format(http.TimeFormat))
		}
	})}
}

// Each fault on the way to the cloud is named, with what to do.
func TestWayFaults(t *testing.T) {
	now := time.Now()
	begin, end := now.Add(-time.Hour), now.Add(30*24*time.Hour)
	for name, c := range map[string]struct {
		set   func(*bed)
		check string
		state State
		words []string
	}{
		"tls": {func(b *bed) { b.secure("127.0.0.1", begin, end) }, "tls", Good, []string{
			"names 127.0.0.1, is by an authority (1 certificate shown)", now.Add(-time.Hour).UTC().Format(time.DateOnly), "; h2",
		}},
		"tls ends soon": {
			func(b *bed) { b.secure("127.0.0.1", begin, now.Add(73*time.Hour)) },
			"tls", Open,
			[]string{"ends in 3 days"},
		},
		"expired": {func(b *bed) { b.secure("127.0.0.1", now.Add(-2*time.Hour), now.Add(-time.Hour)) }, "tls", Bad, []string{
			"the server's certificate has expired", "is valid from", "renew the server's certificate",
		}},
		"expired, clock": {func(b *bed) { b.secure("127.0.0.1", now.Add(-2*time.Hour), now.Add(-time.Hour)) }, "clock", Bad, []string{
			"outside of the time of the server's certificate", "NTP",
		}},
		"not yet valid": {
			func(b *bed) { b.secure("127.0.0.1", now.Add(time.Hour), now.Add(2*time.Hour)) },
			"tls", Bad,
			[]string{"not yet valid", "clock"},
		},
		"wrong name": {func(b *bed) { b.secure("tb.example", begin, end) }, "tls", Bad, []string{
			"names another host", "the certificate names tb.example", "set cloud.tls.server_name",
		}},
		"wrong authority": {func(b *bed) {
			b.secure("127.0.0.1", begin, end)
			_, b.Loaded.Config.Cloud.TLS.CAFile = certified(b.T, "127.0.0.1", begin, end)
		}, "tls", Bad, []string{"none of the trusted authorities", "is by an authority", "set cloud.tls.ca_file"}},
		"no h2": {func(b *bed) {
			c, file := certified(b.T, "127.0.0.1", begin, end)
			b.at(b.answer(func(conn net.Conn) { io.Copy(io.Discard, tls.Server(conn, c)) }))
			b.Loaded.Config.Cloud.TLS.Enabled, b.Loaded.Config.Cloud.TLS.CAFile = true, file
		}, "tls", Bad, []string{"does not offer HTTP/2 (ALPN h2)", "switch HTTP/2 on"}},
		"tls where none is spoken": {func(b *bed) {
			b.port()
			b.Loaded.Config.Cloud.TLS.Enabled = true
		}, "tls", Bad, []string{"speaks no TLS", "cloud.tls.enabled = false"}},
		"none where tls is spoken": {func(b *bed) {
			b.secure("127.0.0.1", begin, end)
			b.Loaded.Config.Cloud.TLS.Enabled = false
		}, "http2", Bad, []string{"cloud.tls.enabled = true"}},
		"a web server": {func(b *bed) {
			b.at(b.answer(func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n"); io.Copy(io.Discard, c) }))
		}, "http2", Bad, []string{"nothing that speaks plain gRPC answers there", "check cloud.port"}},
		"nothing listens": {func(b *bed) {
			lis, _ := net.Listen("tcp", "127.0.0.1:0")
			lis.Close()
			b.at(lis.Addr().String())
		}, "tcp", Bad, []string{"nothing listens there", "check cloud.host and cloud.port"}},
		"no way, no key": {func(b *bed) { b.Loaded.Config.Cloud.Port = 1 }, "key", Open, []string{"not tried"}},
		"forgetful": {func(b *bed) { // HTTP/2 that greets, answers one ping, and is cut
			b.at(b.answer(func(c net.Conn) {
				c.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0})
				io.ReadFull(c, make([]byte, 24+9+9+17))
				c.Write([]byte{0, 0, 8, 6, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8})
			}))
		}, "http2", Bad, []string{"the connection was dead", "keepalive.time"}},
		"goaway": {func(b *bed) {
			b.at(b.answer(func(c net.Conn) {
				c.Write([]byte{0, 0, 0, 4, 0, 0, 0, 0, 0})
				io.ReadFull(c, make([]byte, 24+9+9+17))
				c.Write([]byte{0, 0, 12, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11, 'c', 'a', 'l', 'm'})
			}))
		}, "http2", Bad, []string{"closes the connection (code 11): calm"}},
		"proxy refuses": {func(b *bed) {
			b.port()
			b.Loaded.Config.Cloud.Host = "tb.example"
			addr := b.answer(func(c net.Conn) {
				http.ReadRequest(bufio.NewReader(c))
				io.WriteString(c, "HTTP/1.1 407 no\r\nProxy-Authenticate: Basic\r\n\r\n")
			})
			b.Env = func(name string) string {
				if name == "HTTPS_PROXY" {
					return "http://ann:" + hush + "@" + addr
				}
				return ""
			}
		}, "proxy", Bad, []string{"refuses the user and the password", "HTTPS_PROXY"}},
		"proxy": {func(b *bed) {
			b.port()
			port := b.Loaded.Config.Cloud.Port
			b.Loaded.Config.Cloud.Host = "tb.example"
			addr := b.answer(func(c net.Conn) {
				http.ReadRequest(bufio.NewReader(c))
				there, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
				if err != nil {
					return
				}
				defer there.Close()
				io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
				go io.Copy(there, c)
				io.Copy(c, there)
			})
			b.Env = func(name string) string {
				if name == "HTTPS_PROXY" {
					return addr
				}
				return ""
			}
		}, "key", Good, []string{"an edge"}},
		"bad proxy": {func(b *bed) {
			b.Loaded.Config.Cloud.Host = "tb.example"
			b.Env = func(name string) string { return map[string]string{"HTTPS_PROXY": "socks5://x:1"}[name] }
		}, "proxy", Bad, []string{"SOCKS", "set HTTPS_PROXY"}},
		"clock off":   {func(b *bed) { b.dated(now.Add(-time.Hour)) }, "clock", Bad, []string{"1h0m", "off", "NTP"}},
		"clock right": {func(b *bed) { b.dated(now) }, "clock", Good, []string{"by http at 127.0.0.1"}},
		"clock before the build": {
			func(b *bed) { b.Built = now.Add(time.Hour) },
			"clock", Bad,
			[]string{"before this program was made"},
		},
		"wrong secret": {func(b *bed) {
			b.port()
			b.Loaded.Config.Cloud.RoutingSecret = hush + "x"
		}, "key", Bad, []string{"refused the edge's secret", "check cloud.routing_secret"}},
		"unknown key": {func(b *bed) {
			b.port()
			b.Loaded.Config.Cloud.RoutingKey = "another"
		}, "key", Bad, []string{"does not know this edge", "check cloud.routing_key"}},
		"another agent": {func(b *bed) {
			b.port()
			b.cloud.EndStreamIf(func(*proto.UplinkMsg) bool { return true }, cloudtest.EndOK)
		}, "other agent", Bad, []string{"another agent with the same key", "an edge of its own"}},
		"held": {func(b *bed) { b.port(); b.Held = true }, "key", Open, []string{"does not answer"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			c.set(b)
			b.Brief = true
			found, r := b.examine()
			want(t, found, c.check, c.state, c.words...)
			if r.OK && c.state == Bad {
				t.Error("said to be well")
			}
		})
	}
}

// Beside an agent no session is opened: what that knows is shown.
func TestBesideAnAgent(t *testing.T) {
	for name, c := range map[string]struct {
		state agent.Snapshot
		check string
		want  State
		words []string
	}{
		"linked": {
			agent.Snapshot{State: agent.Connected, Edge: "e1", Synced: true, Devices: 3},
			"key", Good,
			[]string{"is connected since", `"e1"`},
		},
		"sync": {agent.Snapshot{State: agent.Connected, Synced: true, Devices: 3}, "sync", Good, []string{"3 devices"}},
		"no sync": {
			agent.Snapshot{State: agent.Connected},
			"sync", Bad,
			[]string{"no device is known", "edgesync sync"},
		},
		"no link": {
			agent.Snapshot{State: agent.Disconnected, LastError: "the cloud refused the edge's secret"},
			"key", Bad,
			[]string{"is disconnected since", "refused the edge's secret"},
		},
		"second": {
			agent.Snapshot{State: agent.Disconnected, Causes: []agent.Cause{{Text: agent.SecondAgent + ": so"}}},
			"other agent", Bad,
			[]string{"an edge of its own"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.port()
			c.state.Running = true
			b.Agent = &c.state
			b.Brief = true
			found, _ := b.examine()
			want(t, found, c.check, c.want, c.words...)
			if n := b.cloud.Stats().Accepted; n != 0 {
				t.Errorf("%d sessions were opened", n)
			}
		})
	}
}

// A time for all of it ends a look at a server that says nothing, and that is said.
func TestTimeIsUp(t *testing.T) {
	b := newBed(t)
	b.at(b.answer(func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }))
	b.Brief = true
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	r := Run(ctx, b.Options)
	last := r.Checks[len(r.Checks)-1]
	if r.OK || last.Name != "time" || last.State != Bad || !strings.Contains(last.Do, "edgesync doctor") {
		t.Errorf("%+v", r.Checks)
	}
	for _, c := range r.Checks {
		if c.Name == "key" {
			t.Errorf("looked at after the time: %+v", c)
		}
	}
}
