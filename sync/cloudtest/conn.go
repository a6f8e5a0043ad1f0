package cloudtest

import (
	"context"
	"crypto/tls"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
)

// conn is an accepted connection that the cloud can reset.
type conn struct {
	net.Conn
	cloud *Cloud
	from  *listener
}

func (n *conn) Close() error {
	n.cloud.mu.Lock()
	delete(n.cloud.conns, n)
	n.cloud.mu.Unlock()
	return n.Conn.Close()
}

// reset cuts the connection without a goodbye: RST on TCP.
func (n *conn) reset() {
	if t, ok := n.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // otherwise the data that waits would be sent first
	}
	_ = n.Close()
}

// listener keeps the accepted connections and closes new ones at once while the cloud is away.
type listener struct {
	net.Listener
	cloud *Cloud
	ended bool // by Close; under cloud.mu
}

// Close ends the listener and its connections: gRPC's Stop closes them only behind the preface of
// HTTP/2, and waits up to two minutes for a preface that does not come.
func (l *listener) Close() error {
	err := l.Listener.Close()
	l.cloud.mu.Lock()
	l.ended = true
	var mine []*conn
	for n := range l.cloud.conns {
		if n.from == l {
			mine = append(mine, n)
		}
	}
	l.cloud.mu.Unlock()
	for _, n := range mine {
		_ = n.Close()
	}
	return err
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		n := &conn{Conn: raw, cloud: l.cloud, from: l}
		if l.cloud.faults.isAway() {
			n.reset()
			continue
		}
		l.cloud.mu.Lock()
		ended := l.ended
		if !ended {
			l.cloud.conns[n] = struct{}{}
		}
		l.cloud.mu.Unlock()
		if ended {
			n.reset()
			continue // the next Accept says why
		}
		return n, nil
	}
}

// connCreds hands the connection to its streams (see connOf), over plaintext or TLS.
type connCreds struct {
	credentials.TransportCredentials
}

func newConnCreds(cfg *tls.Config) credentials.TransportCredentials {
	if cfg == nil {
		return connCreds{insecure.NewCredentials()}
	}
	return connCreds{credentials.NewTLS(cfg)}
}

func (t connCreds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	n, info, err := t.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	own, _ := raw.(*conn)
	return n, connInfo{info, own}, nil
}

func (t connCreds) Clone() credentials.TransportCredentials {
	return connCreds{t.TransportCredentials.Clone()}
}

type connInfo struct {
	credentials.AuthInfo
	conn *conn
}

// connOf returns the connection that a stream runs over; nil if unknown.
func connOf(ctx context.Context) *conn {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := p.AuthInfo.(connInfo)
	if !ok {
		return nil
	}
	return info.conn
}

// meter counts bytes on the wire and notes whether a stream is compressed: how a stream ends behind
// an oversized message depends on that (CONTRACT.md 2.5).
type meter struct{ cloud *Cloud }

type streamKey struct{}

// streamInfo is filled before the handler of the stream starts.
type streamInfo struct{ gzip bool }

func (meter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (meter) HandleConn(context.Context, stats.ConnStats)                       {}

func (meter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, streamKey{}, &streamInfo{})
}

func (m meter) HandleRPC(ctx context.Context, s stats.RPCStats) {
	switch s := s.(type) {
	case *stats.InHeader:
		if i, ok := ctx.Value(streamKey{}).(*streamInfo); ok {
			i.gzip = s.Compression != "" && s.Compression != "identity"
		}
	case *stats.InPayload:
		m.cloud.seen.wireBytes.Add(uint64(s.WireLength))
	}
}

// compressed reports whether the edge opened the stream with gzip.
func compressed(st grpc.ServerStream) bool {
	i, ok := st.Context().Value(streamKey{}).(*streamInfo)
	return ok && i.gzip
}
