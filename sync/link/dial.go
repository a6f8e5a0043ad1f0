package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"

	"edgesync/proto"
	"edgesync/sync/config"
	"edgesync/sync/share"
)

const (
	// handleMsgs is the one method of the server (CONTRACT.md 1.1).
	handleMsgs = "/edge.EdgeRpcService/handleMsgs"
	// LeastInbound and MostInbound bound the size in bytes that is announced where the
	// configuration names none.
	LeastInbound = 8 << 20
	MostInbound  = 64 << 20
	// responseMargin is what a ResponseMsg may add to the DownlinkMsg in it.
	responseMargin = 1 << 10
	// window bounds what the transport holds of a message that is not being received, in bytes. A
	// fixed one: otherwise the transport lets it grow to 16 MiB on a fast link. A message that is
	// larger gets all the window that it needs when its turn comes.
	window = 128 << 10
	// maxHeaders bounds the headers and trailers of the server, in bytes: the text with which it
	// ends a stream is one of them.
	maxHeaders = 16 << 10
	// DefaultServerMax is the server's limit in bytes for a RequestMsg if it names none
	// (CONTRACT.md 2.5).
	DefaultServerMax = 4 << 20
)

// Dialer opens sessions with one cloud. It is read only, and safe for concurrent use.
type Dialer struct {
	Cloud     config.Cloud
	Keepalive config.Keepalive
	// MaxInbound is the largest DownlinkMsg in bytes that is announced to the server, which drops
	// larger ones for good, and stands still for a minute (CONTRACT.md 2.5, 13.2). At most 1 GiB.
	MaxInbound int
	// Packages takes the large packages; nil = they are decoded like other parts.
	Packages Packages
	// Holding is called with the bytes that the transport holds of what came, when they have
	// changed by holdingStep, and with 0 when it holds nothing any more; nil = nobody is. Any
	// goroutine calls it; it must not block.
	Holding func(bytes int64)
	// Large is called before a message that takes 1 MiB or more is decoded, and once it is handled,
	// by the goroutine that receives; nil = nothing is done.
	Large func()
	// Lane is held from before such a message is decoded, unless it is a package, until it is
	// handled; nil = by nobody.
	Lane share.Lane
	// Traffic counts the bytes of the connections; nil = they are not counted.
	Traffic *Traffic
	// Dial replaces the network, proxies included, in tests; nil = the system's.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Env is the environment, in which each attempt looks for HTTPS_PROXY and NO_PROXY; nil =
	// os.Getenv.
	Env func(name string) string
}

// Addr is the cloud's host and port.
func (d *Dialer) Addr() string { return net.JoinHostPort(d.Cloud.Host, strconv.Itoa(d.Cloud.Port)) }

// Open dials, connects, and waits for the answer; the session outlives the call and ends with ctx.
// timeout bounds dial and TLS, and again the answer to CONNECT. Errors wrap ErrTimeout,
// a *RefusedError, or what the network, TLS or gRPC says.
func (d *Dialer) Open(ctx context.Context, secret string, timeout time.Duration) (_ Session, err error) {
	way, err := d.route()
	if err != nil {
		return nil, err
	}
	held := newBuffers(d.Holding)
	conn, through, err := d.client(way, held)
	if err != nil {
		return nil, err
	}
	there := d.Addr()
	if through != nil {
		there += " through the proxy " + through.addr
	}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		if err != nil {
			cancel()
			conn.Close()
		}
	}()
	var stream grpc.ClientStream
	err = within(timeout, cancel, "connect to "+there, func() (err error) {
		stream, err = conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, handleMsgs,
			grpc.ForceCodecV2(rawCodec{}), grpc.UseCompressor(gzipName), grpc.MaxCallRecvMsgSize(d.MaxInbound+responseMargin))
		return err
	})
	if err != nil {
		return nil, &attemptError{through.blame(err), way.ignored}
	}
	var answer *proto.ConnectResponseMsg
	err = within(timeout, cancel, "wait for the answer of "+there, func() (err error) {
		answer, err = d.greet(stream, secret)
		return err
	})
	if err != nil {
		return nil, &attemptError{err, way.ignored}
	}
	if answer.GetResponseCode() != proto.ConnectResponseCode_ACCEPTED {
		return nil, &RefusedError{answer.GetResponseCode(), Redact(FirstLine(answer.GetErrorMsg()), secret)}
	}
	return begin(ctx, cancel, conn, stream, answer, d, held), nil
}

// within runs one step of an attempt and cancels it after timeout. Whatever the step returns once
// the timer has fired, the step took too long: its result may be of a stream that is cancelled this
// moment.
func within(timeout time.Duration, cancel func(), step string, do func() error) error {
	timer := time.AfterFunc(timeout, cancel)
	err := do()
	switch {
	case !timer.Stop():
		return fmt.Errorf("%s: %w (%v)", step, ErrTimeout, timeout)
	case err != nil:
		return fmt.Errorf("%s: %w", step, err)
	}
	return nil
}

// greet sends the connect request and waits for its answer.
func (d *Dialer) greet(stream grpc.ClientStream, secret string) (*proto.ConnectResponseMsg, error) {
	req := proto.AppendConnect(nil, d.Cloud.RoutingKey, secret, proto.EdgeVersion(d.Cloud.EdgeVersion), int32(d.MaxInbound))
	if err := stream.SendMsg(req); err != nil && err != io.EOF {
		return nil, err
	}
	for {
		var w wire
		if err := stream.RecvMsg(&w); err != nil {
			return nil, endOf(err)
		}
		cost, _ := costOf(w.data, false)
		in, err := w.decode(cost, nil)
		if err != nil {
			return nil, fmt.Errorf("the answer cannot be read: %w", err)
		}
		if r := in.Msg.GetConnectResponseMsg(); r != nil {
			return r, nil
		}
		// Nothing else is due before the answer.
	}
}

// route is the way to the cloud as the environment has it now.
func (d *Dialer) route() (route, error) {
	if d.Dial != nil {
		return route{}, nil
	}
	env := d.Env
	if env == nil {
		env = os.Getenv
	}
	return routeTo(env, d.Cloud.Host, d.Cloud.Port)
}

// client makes the client of one attempt, and the tunnel that it dials through; nil: it dials
// straight.
func (d *Dialer) client(way route, held *buffers) (*grpc.ClientConn, *tunnel, error) {
	creds := insecure.NewCredentials()
	if d.Cloud.TLS.Enabled {
		c, err := d.tlsConfig()
		if err != nil {
			return nil, nil, err
		}
		creds = credentials.NewTLS(c)
	}
	if d.Traffic != nil {
		creds = counting{creds, d.Traffic}
	}
	target := "dns:///" + d.Addr()
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: d.Keepalive.Time, Timeout: d.Keepalive.Timeout, PermitWithoutStream: true,
		}),
		// One attempt per client: the waits between attempts are the loop's, and Open's timeout
		// ends the attempt.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: time.Hour, Multiplier: 1, MaxDelay: time.Hour},
			MinConnectTimeout: time.Minute,
		}),
		grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window), grpc.WithMaxHeaderListSize(maxHeaders),
		experimental.WithBufferPool(held), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithIdleTimeout(0),
		grpc.WithNoProxy(), // gRPC reads the environment once, and says nothing about what it finds
	}
	dial := d.Dial
	var through *tunnel
	if way.proxy != nil {
		through = &tunnel{proxy: *way.proxy, cloud: d.Addr()}
		dial = through.dial
	}
	if dial != nil {
		target = "passthrough:///" + d.Addr()
		opts = append(opts, grpc.WithContextDialer(dial))
	}
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		return nil, nil, fmt.Errorf("cloud.host %q, cloud.port %d: %w", d.Cloud.Host, d.Cloud.Port, err)
	}
	return conn, through, nil
}

// tlsConfig reads the CA file anew at each dial, so that a renewed file needs no restart.
func (d *Dialer) tlsConfig() (*tls.Config, error) {
	c := &tls.Config{ServerName: d.Cloud.TLS.ServerName, MinVersion: tls.VersionTLS12}
	if c.ServerName == "" {
		c.ServerName = d.Cloud.Host
	}
	if f := d.Cloud.TLS.CAFile; f != "" {
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
