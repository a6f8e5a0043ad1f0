package sync

import (
	"context"
	"net"
)

// DialWith replaces the network of an agent that does not run yet.
func (a *Agent) DialWith(dial func(ctx context.Context, addr string) (net.Conn, error)) {
	a.dialer.Dial = dial
}
