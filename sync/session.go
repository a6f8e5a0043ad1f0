package sync

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"edgesync/proto"
	"edgesync/sync/config"
)

const (
	// handleMsgs is the one method of the server (wire contract 1.1).
	handleMsgs = "/edge.EdgeRpcService/handleMsgs"
	// maxDownlink is the largest DownlinkMsg announced to the server, which drops larger ones for good (wire contract 2.5).
	maxDownlink = 8 << 20
	// responseMargin is what a ResponseMsg may add to the DownlinkMsg in it.
	responseMargin = 1 << 10
	// defaultServerMax is the server's limit for a RequestMsg if it does not tell one (wire contract 2.5).
	defaultServerMax = 4 << 20
	// outQueue bounds the requests handed to the sender and not yet written. Receiving stops at outHigh, so that there is always
	// room to acknowledge.
	outQueue = 256
	outHigh  = 128
	// inQueue bounds the responses received and not yet handled; behind it HTTP/2 flow control slows the server down.
	inQueue = 64
)

// link says how to reach the cloud; it is read only.
type link struct {
	cloud     config.Cloud
	keepalive config.Keepalive
	// dial replaces the network in tests; nil = the system's, with HTTPS_PROXY honoured.
	dial func(ctx context.Context, addr string) (net.Conn, error)
}

// session is one stream that the server accepted. The loop's goroutine owns it; its receiver and its sender goroutine only carry
// messages between the stream and the channels, and end when the session is closed.
type session struct {
	conn      *grpc.ClientConn
	stream    grpc.ClientStream
	cancel    context.CancelFunc
	out       chan []byte  // complete RequestMsg bytes, to the sender
	in        chan inbound // from the receiver; after one with err set nothing follows
	sent      chan struct{}
	received  chan struct{}
	config    *proto.EdgeConfiguration
	serverMax int // largest RequestMsg in bytes
}

type inbound struct {
	msg *proto.ResponseMsg
	err error
}

// RefusedError is a connect request that the server answered with another code than ACCEPTED (wire contract 2.3).
type RefusedError struct {
	Code proto.ConnectResponseCode
	Text string // the server's words, with the secret removed
}

// Error is the server's answer in one sentence.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the cloud answered %v: %s", e.Code, e.Text)
}

var errDialTimeout = errors.New("no answer in time")

// open dials, connects and waits for the answer. dialTimeout bounds dial and TLS, and again the answer to CONNECT.
func (l *link) open(ctx context.Context, secret string, timeout time.Duration) (_ *session, err error) {
	conn, err := l.client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		if err != nil {
			cancel()
			conn.Close()
		}
	}()
	phase := "connect to " + l.addr()
	expired := make(chan struct{})
	timer := time.AfterFunc(timeout, func() { close(expired); cancel() })
	defer timer.Stop()
	tooLate := func(err error) error {
		select {
		case <-expired:
			return fmt.Errorf("%s: %w (%v)", phase, errDialTimeout, timeout)
		default:
			return fmt.Errorf("%s: %w", phase, err)
		}
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, handleMsgs,
		grpc.ForceCodecV2(rawCodec{}), grpc.UseCompressor(gzipName), grpc.MaxCallRecvMsgSize(maxDownlink+responseMargin))
	if err != nil {
		return nil, tooLate(err)
	}
	if !timer.Stop() {
		return nil, tooLate(ctx.Err())
	}
	phase = "wait for the answer of " + l.addr()
	timer.Reset(timeout)
	req := proto.AppendConnect(nil, l.cloud.RoutingKey, secret, proto.EdgeVersion(l.cloud.EdgeVersion), maxDownlink)
	if err := stream.SendMsg(req); err != nil && err != io.EOF {
		return nil, tooLate(err)
	}
	for {
		m := new(proto.ResponseMsg)
		if err := stream.RecvMsg(m); err != nil {
			return nil, tooLate(endOf(err))
		}
		r := m.GetConnectResponseMsg()
		if r == nil {
			continue // nothing else is due before the answer
		}
		if r.GetResponseCode() != proto.ConnectResponseCode_ACCEPTED {
			return nil, &RefusedError{r.GetResponseCode(), redact(firstLine(r.GetErrorMsg()), secret)}
		}
		if !timer.Stop() {
			return nil, tooLate(ctx.Err())
		}
		s := &session{
			conn: conn, stream: stream, cancel: cancel, config: r.GetConfiguration(), serverMax: int(r.GetMaxInboundMessageSize()),
			out: make(chan []byte, outQueue), in: make(chan inbound, inQueue),
			sent: make(chan struct{}), received: make(chan struct{}),
		}
		if s.serverMax <= 0 {
			s.serverMax = defaultServerMax
		}
		go s.send(ctx)
		go s.receive(ctx)
		return s, nil
	}
}

func (l *link) addr() string { return net.JoinHostPort(l.cloud.Host, strconv.Itoa(l.cloud.Port)) }

func (l *link) client() (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if l.cloud.TLS.Enabled {
		c, err := l.tlsConfig()
		if err != nil {
			return nil, err
		}
		creds = credentials.NewTLS(c)
	}
	target := "dns:///" + l.addr()
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: l.keepalive.Time, Timeout: l.keepalive.Timeout, PermitWithoutStream: true}),
		// One attempt per client: the waits between attempts are the loop's, not the library's.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: time.Hour, Multiplier: 1, MaxDelay: time.Hour}, MinConnectTimeout: timeoutMax}),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithIdleTimeout(0),
	}
	if l.dial != nil {
		target = "passthrough:///" + l.addr()
		opts = append(opts, grpc.WithContextDialer(l.dial))
	}
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		return nil, fmt.Errorf("cloud.host %q, cloud.port %d: %w", l.cloud.Host, l.cloud.Port, err)
	}
	return conn, nil
}

// tlsConfig reads the CA file anew at each dial, so that a renewed file needs no restart.
func (l *link) tlsConfig() (*tls.Config, error) {
	c := &tls.Config{ServerName: l.cloud.TLS.ServerName, MinVersion: tls.VersionTLS12}
	if c.ServerName == "" {
		c.ServerName = l.cloud.Host
	}
	if f := l.cloud.TLS.CAFile; f != "" {
		pem, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("cloud.tls.ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cloud.tls.ca_file %s: no PEM certificate in it", f)
		}
	}
	return c, nil
}

// errCleanEnd is the end of the stream with status OK: a second session of this edge, or a message the server could not take
// (wire contract 2.5, 2.6). It is a disconnect like any other.
var errCleanEnd = errors.New("the cloud closed the stream")

func endOf(err error) error {
	if err == io.EOF {
		return errCleanEnd
	}
	return err
}

func (s *session) receive(ctx context.Context) {
	defer close(s.received)
	for {
		m := new(proto.ResponseMsg)
		err := s.stream.RecvMsg(m)
		in := inbound{msg: m}
		if err != nil {
			in = inbound{err: endOf(err)}
		}
		select {
		case s.in <- in:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// send writes what the loop hands over. It may block while the server does not read; the loop never does.
// An error is not reported here: the receiver gets the status of the stream.
func (s *session) send(ctx context.Context) {
	defer close(s.sent)
	for {
		select {
		case b, ok := <-s.out:
			if !ok {
				s.stream.CloseSend()
				return
			}
			if s.stream.SendMsg(b) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// close ends the session at once and waits for its goroutines, so that no two sessions of this edge ever live side by side.
func (s *session) close() {
	s.cancel()
	s.conn.Close()
	<-s.sent
	<-s.received
}

// finish half-closes the stream, which the server answers with the acknowledgements still due and a clean end
// (wire contract 2.3). The caller goes on reading s.in and then calls close.
func (s *session) finish() { close(s.out) }
