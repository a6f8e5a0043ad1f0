package sync

import (
	"context"
	"net"
	"testing"
)

// Defaults is the configuration of an agent that nobody configured.
func Defaults(t *testing.T) Config { return defaults(t) }

// DialWith replaces the network of an agent that does not run yet.
func (a *Agent) DialWith(dial func(ctx context.Context, addr string) (net.Conn, error)) {
	a.link.dial = dial
}
