package link

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"edgesync/proto"
	"edgesync/sync/config"
)

// authority signs certificates for tests.
type authority struct {
	*testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t, key, cert, filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// issue returns a server certificate for a name or an address.
func (a *authority) issue(host string, from, to time.Time) *tls.Config {
	a.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: to, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// acceptor is a cloud that accepts every edge.
type acceptor struct {
	proto.UnimplementedEdgeRpcServiceServer
}

func (acceptor) HandleMsgs(st grpc.BidiStreamingServer[proto.RequestMsg, proto.ResponseMsg]) error {
	for {
		m, err := st.Recv()
		if err != nil {
			return err
		}
		if m.GetConnectRequestMsg() != nil {
			edge := &proto.EdgeConfiguration{Name: "test"}
			err = st.Send(&proto.ResponseMsg{ConnectResponseMsg: &proto.ConnectResponseMsg{Configuration: edge}})
		}
		if err != nil {
			return err
		}
	}
}

// listen serves an acceptor on a real port and returns the port; with nil it serves without TLS.
func listen(t *testing.T, c *tls.Config) int {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var opts []grpc.ServerOption
	if c != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(c)))
	}
	g := grpc.NewServer(opts...)
	proto.RegisterEdgeRpcServiceServer(g, acceptor{})
	go g.Serve(lis)
	t.Cleanup(g.Stop)
	return lis.Addr().(*net.TCPAddr).Port
}

// The error of each way in which a link cannot be opened is one sentence that says what to change.
func TestOpenSaysWhatIsWrong(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	now := time.Now()
	valid := a.issue("127.0.0.1", now.Add(-time.Hour), now.Add(time.Hour))
	secure, plain := listen(t, valid), listen(t, nil)
	named := listen(t, a.issue("cloud.example", now.Add(-time.Hour), now.Add(time.Hour)))
	future := listen(t, a.issue("127.0.0.1", now.Add(time.Hour), now.Add(2*time.Hour)))
	past := listen(t, a.issue("127.0.0.1", now.Add(-2*time.Hour), now.Add(-time.Hour)))
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := closed.Addr().(*net.TCPAddr).Port
	closed.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })

	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	if err := os.WriteFile(garbage, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := config.Defaults()
	for _, c := range []struct {
		name string
		port int
		tls  config.TLS
		want string // "" = a session
	}{
		{"plain", plain, config.TLS{}, ""},
		{"own CA", secure, config.TLS{Enabled: true, CAFile: a.file}, ""},
		{"own CA and server name", named, config.TLS{Enabled: true, CAFile: a.file, ServerName: "cloud.example"}, ""},
		{"the CA is not the server's", secure, config.TLS{Enabled: true, CAFile: other.file}, "set cloud.tls.ca_file"},
		{"the system does not know the CA", secure, config.TLS{Enabled: true}, "set cloud.tls.ca_file"},
		{"name mismatch", named, config.TLS{Enabled: true, CAFile: a.file}, "set cloud.tls.server_name"},
		{"TLS against a plain server", plain, config.TLS{Enabled: true, CAFile: a.file}, "set cloud.tls.enabled = false"},
		{"plain against a TLS server", secure, config.TLS{}, "set cloud.tls.enabled = true"},
		{"not yet valid", future, config.TLS{Enabled: true, CAFile: a.file}, "clock"},
		{"expired", past, config.TLS{Enabled: true, CAFile: a.file}, "certificate has expired, or this"},
		{"no CA file", secure, config.TLS{Enabled: true, CAFile: "/nonexistent/ca.pem"}, "cloud.tls.ca_file"},
		{"garbage in the CA file", secure, config.TLS{Enabled: true, CAFile: garbage}, "no PEM certificate"},
		{"refused", refusing, config.TLS{}, "check cloud.host and cloud.port"},
		{"no answer", silent.Addr().(*net.TCPAddr).Port, config.TLS{}, "no answer in time"},
		{"no answer to TLS", silent.Addr().(*net.TCPAddr).Port, config.TLS{Enabled: true, CAFile: a.file}, "no answer in time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.port == refusing && strings.HasPrefix(runtime.GOARCH, "mips") {
				t.Skip("the user-mode emulator hands the host's number of ECONNREFUSED to a MIPS program, where it means something else")
			}
			config := base
			config.Cloud.Host, config.Cloud.Port, config.Cloud.TLS = "127.0.0.1", c.port, c.tls
			config.Cloud.RoutingKey = "key"
			l := Dialer{Cloud: config.Cloud, Keepalive: config.Keepalive}
			timeout := 5 * time.Second
			if c.want == "no answer in time" {
				timeout = 200 * time.Millisecond
			}
			s, err := l.Open(t.Context(), "top-secret", timeout)
			if err == nil {
				s.Close()
				if c.want != "" {
					t.Fatal("connected")
				}
				return
			}
			got := Explain(err, &config.Cloud, "")
			if c.want == "" || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q in it", got, c.want)
			}
			if strings.Contains(got, "top-secret") || strings.Contains(got, "\n") {
				t.Errorf("unfit for people: %q", got)
			}
		})
	}
}
