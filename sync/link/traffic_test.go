package link

import (
	"context"
	"io"
	"net"
	"testing"

	"google.golang.org/grpc/credentials/insecure"
)

// What passes a connection is counted both ways, also over a clone of the credentials, as gRPC
// makes one.
func TestTrafficIsCounted(t *testing.T) {
	var sum Traffic
	creds := counting{insecure.NewCredentials(), &sum}.Clone()
	for range 2 {
		raw, there := net.Pipe()
		conn, _, err := creds.ClientHandshake(context.Background(), "", raw)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = io.ReadFull(there, make([]byte, 5))
			_, _ = there.Write(make([]byte, 70))
			there.Close()
		}()
		if _, err := conn.Write(make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(conn); err != nil || len(b) != 70 {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		conn.Close()
	}
	if in, out := sum.In.Load(), sum.Out.Load(); in != 140 || out != 10 {
		t.Errorf("%d bytes came and %d went, want 140 and 10", in, out)
	}
}
