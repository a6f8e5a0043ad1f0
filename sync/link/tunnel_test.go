package link

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"edgesync/sync/config"
)

// gate is a proxy on a real port. answer gets each connection and the request on it.
type gate struct {
	addr  string
	mu    sync.Mutex
	asked []string // the requests
}

func openGate(t *testing.T, answer func(conn net.Conn, r *http.Request)) *gate {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lis.Close() })
	g := &gate{addr: lis.Addr().String()}
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				g.mu.Lock()
				g.asked = append(g.asked, r.Method+" "+r.Host)
				g.mu.Unlock()
				answer(conn, r)
			}()
		}
	}()
	return g
}

// through answers CONNECT and carries bytes to a port of this machine.
func through(port int) func(net.Conn, *http.Request) {
	return func(here net.Conn, _ *http.Request) {
		there, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			return
		}
		defer there.Close()
		io.WriteString(here, "HTTP/1.1 200 Connection established\r\nVia: a proxy\r\n\r\n")
		go io.Copy(there, here)
		io.Copy(here, there)
	}
}

// demand lets through only those who show the user and the password.
func demand(port int) func(net.Conn, *http.Request) {
	return func(conn net.Conn, r *http.Request) {
		if got := r.Header.Get("Proxy-Authorization"); got != "Basic YW5uOmh1c2gvaHVzaA==" { // ann:hush/hush
			fmt.Fprintf(conn, "HTTP/1.1 407 I saw %s\r\nProxy-Authenticate: Basic realm=\"hush\"\r\nContent-Length: 4\r\n\r\nhush", got)
			return
		}
		through(port)(conn, r)
	}
}

func words(text string) func(net.Conn, *http.Request) {
	return func(conn net.Conn, _ *http.Request) {
		io.WriteString(conn, text)
		io.Copy(io.Discard, conn)
	}
}

// openBy tries to connect with host through the proxy that the environment names.
func openBy(t *testing.T, c config.Cloud, timeout time.Duration, env ...string) (said string, connected bool) {
	t.Helper()
	c.RoutingKey = "key"
	d := Dialer{Cloud: c, Keepalive: config.Defaults().Keepalive, Env: environ(env...)}
	s, err := d.Open(t.Context(), "top-secret", timeout)
	if err == nil {
		s.Close()
		<-s.Done()
		return "", true
	}
	said = Explain(err, &c, "")
	if strings.ContainsAny(said, "\r\n") || strings.Contains(said+err.Error(), "hush") {
		t.Errorf("unfit for people: %q (%v)", said, err)
	}
	return said, false
}

func cloudAt(host string, port int) config.Cloud {
	c := config.Defaults().Cloud
	c.Host, c.Port = host, port
	return c
}

// A link goes through the proxy that HTTPS_PROXY names, with and without TLS, with the user and the
// password, and the name of the cloud is the proxy's to resolve.
func TestThroughTheProxy(t *testing.T) {
	a := newAuthority(t)
	plain := listen(t, nil)
	secure := listen(t, a.issue("cloud.invalid", time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
	open, asks, asksTLS := openGate(t, through(plain)), openGate(t, demand(plain)), openGate(t, demand(secure))
	sealed := cloudAt("cloud.invalid", 7071)
	sealed.TLS = config.TLS{Enabled: true, CAFile: a.file}
	for _, c := range []struct {
		name  string
		gate  *gate
		cloud config.Cloud
		env   string
		asked string
	}{
		{"plain", open, cloudAt("cloud.invalid", 7070), "HTTPS_PROXY=http://" + open.addr, "CONNECT cloud.invalid:7070"},
		{"small letters, no scheme", open, cloudAt("cloud.invalid", 7070), "https_proxy=" + open.addr, "CONNECT cloud.invalid:7070"},
		{"written https", open, cloudAt("cloud.invalid", 7070), "HTTPS_PROXY=https://" + open.addr, "CONNECT cloud.invalid:7070"},
		{"an IPv6 cloud", open, cloudAt("2001:db8::7", 7070), "HTTPS_PROXY=" + open.addr, "CONNECT [2001:db8::7]:7070"},
		{"a user", asks, cloudAt("cloud.invalid", 7070), "HTTPS_PROXY=http://ann:hush%2Fhush@" + asks.addr, "CONNECT cloud.invalid:7070"},
		{"a user and TLS", asksTLS, sealed, "HTTPS_PROXY=ann:hush%2Fhush@" + asksTLS.addr, "CONNECT cloud.invalid:7071"},
	} {
		said, connected := openBy(t, c.cloud, 10*time.Second, c.env)
		c.gate.mu.Lock()
		if !connected || c.gate.asked[len(c.gate.asked)-1] != c.asked {
			t.Errorf("%s: %q, the proxy was asked %q", c.name, said, c.gate.asked)
		}
		c.gate.mu.Unlock()
	}
	// What NO_PROXY excepts goes straight: nothing asks the proxy.
	shut := openGate(t, words("HTTP/1.1 403 no\r\n\r\n"))
	for _, except := range []string{"", "127.0.0.0/8", "*"} {
		here := cloudAt("127.0.0.1", plain)
		if said, connected := openBy(t, here, 10*time.Second, "HTTPS_PROXY="+shut.addr, "NO_PROXY="+except); !connected {
			t.Errorf("NO_PROXY=%s: %s", except, said)
		}
	}
	if len(shut.asked) != 0 {
		t.Errorf("the proxy was asked %q", shut.asked)
	}
}

// Whatever is wrong with a proxy, one sentence names it, says what to do, and shows no password.
func TestProxySaysWhatIsWrong(t *testing.T) {
	plain := listen(t, nil)
	a := newAuthority(t)
	lost, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := lost.Addr().String()
	lost.Close()
	secure, err := tls.Listen("tcp", "127.0.0.1:0", a.issue("127.0.0.1", time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { secure.Close() })
	go func() {
		for {
			conn, err := secure.Accept()
			if err != nil {
				return
			}
			go func() {
				conn.(*tls.Conn).Handshake() // is not one, so that the server says so
				conn.Close()
			}()
		}
	}()
	gateOf := func(text string) string { return openGate(t, words(text)).addr }
	silent := openGate(t, func(conn net.Conn, _ *http.Request) { io.Copy(io.Discard, conn) }).addr
	closes := openGate(t, func(net.Conn, *http.Request) {}).addr
	hole := openGate(t, func(conn net.Conn, _ *http.Request) {
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		io.Copy(io.Discard, conn)
	}).addr
	asks := openGate(t, demand(plain)).addr
	const dot = "HTTP/1.1 "
	for _, c := range []struct{ name, proxy, want string }{
		{
			"no user", asks,
			"the proxy @ demands a user and a password (407 Proxy Authentication Required): write them into HTTPS_PROXY:" +
				" http://user:password@@",
		},
		{
			"a wrong password", "bob:hush@" + asks,
			"the proxy @ refuses the user and the password (407 Proxy Authentication Required):" +
				" check those in HTTPS_PROXY",
		},
		{
			"NTLM",
			gateOf(dot + "407 x\r\nProxy-Authenticate: NTLM\r\nproxy-authenticate: Negotiate, Digest realm=\"Basic\"\r\n\r\n"),
			"the proxy @ demands a user and a password (407 Proxy Authentication Required):" +
				" it asks for them in another way than Basic",
		},
		{
			"NTLM or Basic",
			gateOf(dot + "407 x\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: Digest a=b, basic realm=\"hush\"\r\n\r\n"),
			"the proxy @ demands a user and a password (407 Proxy Authentication Required): write",
		},
		{
			"forbidden", gateOf(dot + "403 hush\r\n\r\n"),
			"the proxy @ does not let through to cloud.invalid:7070 (403 Forbidden): let it allow CONNECT",
		},
		{
			"no CONNECT", gateOf(dot + "405 hush\r\n\r\n"),
			"the proxy @ does not let through to cloud.invalid:7070 (405 Method Not Allowed)",
		},
		{
			"502", gateOf("HTTP/1.0 502 hush\r\n\r\n"),
			"the proxy @ does not reach cloud.invalid:7070 (502 Bad Gateway): check cloud.host and cloud.port",
		},
		{"503", gateOf(dot + "503\r\n\r\n"), "the proxy @ does not reach cloud.invalid:7070 (503 Service Unavailable)"},
		{"504", gateOf(dot + "504 \n\n"), "the proxy @ does not reach cloud.invalid:7070 (504 Gateway Timeout)"},
		{
			"400", gateOf(dot + "400 hush\r\n\r\n"),
			"the proxy @ does not connect with cloud.invalid:7070 (400 Bad Request): is it an HTTP proxy",
		},
		{
			"a redirect", gateOf(dot + "302 hush\r\nLocation: http://hush\r\n\r\n"),
			"the proxy @ does not connect with cloud.invalid:7070 (302 Found)",
		},
		{"a code of its own", gateOf(dot + "599 hush\r\n\r\n"), "the proxy @ does not connect with cloud.invalid:7070 (599)"},
		{"SSH", gateOf("SSH-2.0-hush\r\n"), "the proxy @ answers with something that is not HTTP: check the port in HTTPS_PROXY"},
		{"SOCKS 5", gateOf("\x05\xff"), "the proxy @ answers with something that is not HTTP"},
		{"SOCKS 4", gateOf("\x00\x5b\x00\x00\x00\x00\x00\x00"), "the proxy @ answers with something that is not HTTP"},
		{"TLS", secure.Addr().String(), "the proxy @ "},
		{"no code", gateOf(dot + "hush\r\n\r\n"), "the proxy @ answers with something that is not HTTP"},
		{"code 999", gateOf(dot + "999 hush\r\n\r\n"), "the proxy @ answers with something that is not HTTP"},
		{"endless", gateOf(dot + "200 " + strings.Repeat("hush ", 10000)), "the proxy @ answers with something that is not HTTP"},
		{"closes", closes, "the proxy @ closes the connection without an answer: check host and port in HTTPS_PROXY"},
		{"refused", dead, "the proxy @ cannot be reached: check host and port in HTTPS_PROXY, and that the proxy runs"},
		{"no such name", "ann:hush@gate.invalid:3128", "the proxy @ is not found: check the name in HTTPS_PROXY, and this machine's DNS"},
		{"silent", silent, "the proxy @ takes the connection and does not answer: check the port in HTTPS_PROXY"},
		{"a hole behind it", hole, "cloud.invalid:7070 does not answer behind the proxy @: check cloud.host and cloud.port"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			timeout := 10 * time.Second
			if strings.HasPrefix(c.name, "a hole") || c.name == "silent" {
				timeout = 2 * time.Second
			}
			addr := c.proxy[strings.LastIndex(c.proxy, "@")+1:]
			want := strings.ReplaceAll(strings.ReplaceAll(c.want, "@@", "\x00"), "@", addr)
			want = strings.ReplaceAll(want, "\x00", "@"+addr)
			cloud := cloudAt("cloud.invalid", 7070)
			cloud.TLS.Enabled = c.name == "a hole behind it"
			said, connected := openBy(t, cloud, timeout, "HTTPS_PROXY="+c.proxy)
			if connected || !strings.HasPrefix(said, want) {
				t.Errorf("got %q, want %q", said, want)
			}
			if strings.HasPrefix(c.name, "TLS") && !strings.Contains(said, "without an answer") && !strings.Contains(said, "not HTTP") {
				t.Errorf("got %q", said)
			}
		})
	}
}

// A proxy to which no connection comes about is named when the time is up.
func TestProxyThatSwallows(t *testing.T) {
	p := &tunnel{proxy: proxy{addr: "gate.example:3128", from: "HTTPS_PROXY"}, cloud: "tb.example:7070"}
	err := p.blame(fmt.Errorf("connect to tb.example:7070: %w (5s)", ErrTimeout))
	if !errors.Is(err, ErrTimeout) {
		t.Errorf("%v is no timeout, so that the next attempt would get no more time", err)
	}
	got := Explain(err, &config.Cloud{}, "")
	if want := "the proxy gate.example:3128 does not answer: check host and port in HTTPS_PROXY, and that this machine may reach it" +
		" (connect to tb.example:7070: no answer in time (5s))"; got != want {
		t.Errorf("%q", got)
	}
}

// With HTTP_PROXY alone the link goes straight, and a failure says that it did.
func TestFailureNamesTheIgnoredProxy(t *testing.T) {
	for _, c := range []struct{ env, want string }{
		{"HTTP_PROXY=http://ann:hush@gate.example:3128", "HTTP_PROXY names the proxy gate.example:3128, which"},
		{"all_proxy=socks5://ann:hush@gate.example:3128", "all_proxy names a proxy, which"},
		{"FTP_PROXY=x", "check cloud.host"},
	} {
		said, _ := openBy(t, cloudAt("cloud.invalid", 7070), time.Minute, c.env)
		if !strings.HasPrefix(said, "the name does not resolve: "+c.want) {
			t.Errorf("%s: %q", c.env, said)
		}
	}
	const ignored = "HTTP_PROXY names the proxy gate.example:3128, which the link to the cloud does not use: set HTTPS_PROXY"
	const expired = "the server's certificate has expired, or this machine's clock is wrong ("
	for text, want := range map[string]string{
		"dial tcp 10.0.0.1:7070: connect: connection refused":     "nothing listens there: " + ignored + " (",
		"dial tcp 10.0.0.1:7070: connect: network is unreachable": ignored + " (",
		"tls: x509: certificate has expired":                      expired,
	} {
		if got := Explain(&attemptError{errors.New(text), ignored}, &config.Cloud{}, ""); got != want+text+")" {
			t.Errorf("%q", got)
		}
	}
}

// A TLS end that offers no HTTP/2 gets a sentence with the cure, and none of gRPC's words for
// programmers.
func TestTLSEndWithoutHTTP2(t *testing.T) {
	a := newAuthority(t)
	for name, protocols := range map[string][]string{"no ALPN": nil, "HTTP/1.1 only": {"http/1.1"}, "another protocol": {"mqtt"}} {
		c := a.issue("127.0.0.1", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		c.NextProtos = protocols
		port := listenTLS(t, c)
		cloud := cloudAt("127.0.0.1", port)
		cloud.TLS = config.TLS{Enabled: true, CAFile: a.file}
		said, connected := openBy(t, cloud, 10*time.Second)
		want := fmt.Sprintf("the TLS end of 127.0.0.1:%d does not offer HTTP/2 (ALPN h2): switch HTTP/2 on where TLS ends"+
			" (the load balancer or web server in front), or let it pass TLS through to ThingsBoard (connect to 127.0.0.1:%[1]d: ", port)
		if connected || !strings.HasPrefix(said, want) || strings.Contains(said, "upgraded") {
			t.Errorf("%s: %q", name, said)
		}
	}
}

// listenTLS is a TLS end that never says anything behind the handshake.
func listenTLS(t *testing.T, c *tls.Config) int {
	t.Helper()
	lis, err := tls.Listen("tcp", "127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lis.Close() })
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(io.Discard, conn)
				conn.Close()
			}()
		}
	}()
	return lis.Addr().(*net.TCPAddr).Port
}

// Whatever a proxy answers, it lets through or it does not, and no word of it gets into the error.
func FuzzProxyAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\n\r\nrest", "HTTP/1.0 407 x\r\nProxy-Authenticate: Basic\r\n\r\n", "HTTP/1.1 2", "\x05\x00",
		"HTTP/1.1 200\n\n", "HTTP/1.\n\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		tun := &tunnel{proxy: proxy{addr: "gate:1", auth: "Basic hush", from: "HTTPS_PROXY"}, cloud: "tb:2"}
		in := bytes.NewReader(answer)
		err := tun.connect(struct {
			io.Reader
			io.Writer
		}{in, io.Discard})
		if read := len(answer) - in.Len(); read > maxProxyAnswer+1 {
			t.Fatalf("read %d bytes", read)
		}
		if err == nil {
			if !bytes.HasPrefix(answer, []byte("HTTP/1.")) {
				t.Fatalf("%q lets through", answer)
			}
			return
		}
		var p *proxyError
		if !errors.As(err, &p) || strings.Contains(err.Error(), "hush") || len(err.Error()) > 300 {
			t.Fatalf("%v", err)
		}
	})
}

const asChild = "TEST_WITHOUT_ALPN"

// Where the TLS end cannot be changed, GRPC_ENFORCE_ALPN_ENABLED=false lets the link do without
// ALPN (OPERATIONS.md). gRPC reads it once, so that a process of its own tries it.
func TestDoesWithoutALPN(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process; left out of -short")
	}
	if os.Getenv(asChild) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDoesWithoutALPN$", "-test.v")
		cmd.Env = append(os.Environ(), asChild+"=1", "GRPC_ENFORCE_ALPN_ENABLED=false")
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("connected without ALPN")) {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	a := newAuthority(t)
	c := a.issue("127.0.0.1", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	plain := listen(t, nil)
	lis, err := tls.Listen("tcp", "127.0.0.1:0", c) // ends TLS in front of a server, as a load balancer does
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	go func() {
		for {
			here, err := lis.Accept()
			if err != nil {
				return
			}
			go func() {
				defer here.Close()
				there, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", plain))
				if err != nil {
					return
				}
				defer there.Close()
				go io.Copy(there, here)
				io.Copy(here, there)
			}()
		}
	}()
	cloud := cloudAt("127.0.0.1", lis.Addr().(*net.TCPAddr).Port)
	cloud.TLS = config.TLS{Enabled: true, CAFile: a.file}
	if said, connected := openBy(t, cloud, 10*time.Second); !connected {
		t.Fatal(said)
	}
	t.Log("connected without ALPN")
}
