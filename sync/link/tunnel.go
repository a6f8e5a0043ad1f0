package link

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// maxProxyAnswer bounds the head of a proxy's answer to CONNECT, in bytes.
const maxProxyAnswer = 16 << 10

// proxyError is what is wrong with the proxy or with the way to it. It holds neither the user nor
// the password, and no word of the proxy.
type proxyError struct {
	what   string // what happened, in words that name the proxy
	cure   string // what to do; "" = nothing is to do
	lasts  bool   // the cure is worth saying although the way has worked once
	reason error  // nil: what says it all
}

// Error implements error.
func (e *proxyError) Error() string {
	if e.reason == nil {
		return e.what
	}
	return e.what + ": " + e.reason.Error()
}

// Unwrap returns the reason.
func (e *proxyError) Unwrap() error { return e.reason }

// How far the way through a proxy has got.
const (
	toProxy   = iota // the connection to the proxy is not there yet
	atProxy          // the proxy has not answered CONNECT yet
	pastProxy        // the proxy lets through
)

// tunnel is the way of one attempt through a proxy. The goroutine of gRPC that dials writes it; the
// goroutine of the attempt reads it.
type tunnel struct {
	proxy
	cloud   string // host and port, as the proxy gets them: the name is the proxy's to resolve
	phase   atomic.Int32
	failure atomic.Pointer[proxyError]
}

// dial opens a connection to the proxy and has it connected with the cloud. It has the signature
// that gRPC asks for.
func (t *tunnel) dial(ctx context.Context, _ string) (net.Conn, error) {
	conn, err := t.open(ctx)
	if err != nil {
		var p *proxyError
		if errors.As(err, &p) {
			t.failure.Store(p)
		}
		return nil, err
	}
	t.phase.Store(pastProxy)
	return conn, nil
}

func (t *tunnel) open(ctx context.Context) (net.Conn, error) {
	// The pings of HTTP/2 reach further than those of TCP, which would end at the proxy.
	d := net.Dialer{KeepAlive: -1}
	conn, err := d.DialContext(ctx, "tcp", t.addr)
	if err != nil {
		var unresolved *net.DNSError
		if errors.As(err, &unresolved) {
			return nil, t.fails("is not found", "check the name in "+t.from+", and this machine's DNS", err)
		}
		return nil, t.fails("cannot be reached", "check host and port in "+t.from+", and that the proxy runs", err)
	}
	t.phase.Store(atProxy)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = t.connect(conn)
	if !stop() && err == nil {
		err = ctx.Err() // the deadline is set, or will be
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (t *tunnel) fails(what, cure string, reason error) *proxyError {
	return &proxyError{what: "the proxy " + t.addr + " " + what, cure: cure, reason: reason}
}

// connect asks the proxy for the cloud and reads the head of its answer, and no byte more.
func (t *tunnel) connect(conn io.ReadWriter) error {
	ask := "CONNECT " + t.cloud + " HTTP/1.1\r\nHost: " + t.cloud + "\r\nUser-Agent: edgesync\r\n"
	if t.auth != "" {
		ask += "Proxy-Authorization: " + t.auth + "\r\n"
	}
	if _, err := io.WriteString(conn, ask+"\r\n"); err != nil {
		return t.fails("closes the connection", "", err)
	}
	head, err := readHead(conn)
	switch {
	case errors.Is(err, errNotHTTP):
		return t.fails("answers with something that is not HTTP", "check the port in "+t.from+noOther, nil)
	case err != nil && len(head) == 0:
		return t.fails("closes the connection without an answer", "check host and port in "+t.from+noOther, err)
	case err != nil:
		return t.fails("breaks its answer off", "", err)
	}
	return t.judge(head)
}

const noOther = "; SOCKS proxies and proxies that are spoken to in TLS cannot be used"

var errNotHTTP = errors.New("not HTTP")

// readHead reads to the end of the head of an answer of HTTP/1. It reads byte by byte, because what
// follows belongs to the connection behind the proxy. errNotHTTP comes at the first byte that is
// wrong: who speaks another protocol may wait for more.
func readHead(r io.Reader) ([]byte, error) {
	const begin = "HTTP/1."
	head := make([]byte, 0, 512)
	var b [1]byte
	for {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return head, err
		}
		head = append(head, b[0])
		n := len(head)
		switch {
		case n <= len(begin) && b[0] != begin[n-1], n > maxProxyAnswer:
			return head, errNotHTTP
		case b[0] == '\n' && (strings.HasSuffix(string(head[max(0, n-4):]), "\n\r\n") || head[n-2] == '\n'):
			return head, nil
		}
	}
}

// judge is the error that the head of the proxy's answer means; nil: the proxy lets through. Of the
// proxy's words only the code counts: a proxy may repeat what it was sent.
func (t *tunnel) judge(head []byte) error {
	line, fields, _ := strings.Cut(string(head), "\n")
	code := 0
	if words := strings.Fields(line); len(words) > 1 && len(words[1]) == 3 {
		code, _ = strconv.Atoi(words[1])
	}
	said := strconv.Itoa(code)
	if text := http.StatusText(code); text != "" {
		said += " " + text
	}
	switch {
	case code < 100 || code > 599:
		return t.fails("answers with something that is not HTTP", "check the port in "+t.from, nil)
	case code/100 == 2:
		return nil
	case code == http.StatusProxyAuthRequired:
		e := t.fails("demands a user and a password ("+said+")",
			"write them into "+t.from+": http://user:password@"+t.addr, nil)
		switch {
		case !asksBasic(fields):
			e.cure = "it asks for them in another way than Basic, which is the only one here: let it accept Basic"
		case t.auth != "":
			e.what = "the proxy " + t.addr + " refuses the user and the password (" + said + ")"
			e.cure = "check those in " + t.from
		}
		e.lasts = true
		return e
	case code == http.StatusForbidden, code == http.StatusMethodNotAllowed:
		return t.fails("does not let through to "+t.cloud+" ("+said+")", "let it allow CONNECT to this host and port", nil)
	case code == http.StatusBadGateway, code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout:
		return t.fails("does not reach "+t.cloud+" ("+said+")", "check cloud.host and cloud.port, and the proxy's own way there", nil)
	}
	return t.fails("does not connect with "+t.cloud+" ("+said+")", "is it an HTTP proxy that allows CONNECT?", nil)
}

// asksBasic reports whether the fields of an answer name Basic as a way to show a password, or name
// none.
func asksBasic(fields string) bool {
	named := false
	for line := range strings.Lines(fields) {
		name, value, _ := strings.Cut(line, ":")
		if !strings.EqualFold(strings.TrimSpace(name), "Proxy-Authenticate") {
			continue
		}
		named = true
		// A field may hold several ways, and their parameters, behind commas.
		for way := range strings.SplitSeq(value, ",") {
			if words := strings.Fields(way); len(words) > 0 && strings.EqualFold(words[0], "Basic") {
				return true
			}
		}
	}
	return !named
}

// blame turns the error of an attempt into one that names the proxy, if the proxy is the reason. t
// may be nil.
func (t *tunnel) blame(err error) error {
	if t == nil {
		return err
	}
	if e := t.failure.Load(); e != nil {
		return e
	}
	if errors.Is(err, ErrTimeout) {
		switch t.phase.Load() {
		case toProxy:
			return t.fails("does not answer", "check host and port in "+t.from+", and that this machine may reach it", err)
		case atProxy:
			return t.fails("takes the connection and does not answer", "check the port in "+t.from, err)
		}
		return &proxyError{
			what: t.cloud + " does not answer behind the proxy " + t.addr, cure: "check cloud.host and cloud.port", reason: err,
		}
	}
	return err
}
