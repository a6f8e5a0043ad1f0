package link

import (
	"context"
	"net"
	"sync/atomic"

	"google.golang.org/grpc/credentials"
)

// Traffic counts the bytes of connections to the cloud as TCP carries them: messages after
// compression, HTTP/2 and TLS around them, and pings; without the headers of TCP and IP, and what
// opens the way through a proxy. The zero value is ready. Safe for concurrent use.
type Traffic struct{ In, Out atomic.Uint64 }

// counting has the connections below some credentials counted. gRPC sets the options of a
// connection before it comes here, which it could not on one that is not the system's.
type counting struct {
	credentials.TransportCredentials
	to *Traffic
}

// ClientHandshake is called once for each connection.
func (c counting) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c.TransportCredentials.ClientHandshake(ctx, authority, &countedConn{raw, c.to})
}

// Clone is for gRPC.
func (c counting) Clone() credentials.TransportCredentials {
	return counting{c.TransportCredentials.Clone(), c.to}
}

type countedConn struct {
	net.Conn
	to *Traffic
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.to.In.Add(uint64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.to.Out.Add(uint64(n))
	return n, err
}
