package cloudtest

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/test/bufconn"

	"edgesync/proto"
)

// HTTP/2 frames (RFC 9113, section 6).
const (
	frameSettings = 4
	framePing     = 6
	frameGoAway   = 7
	flagAck       = 1
)

// plainHTTP2 is a connection that speaks HTTP/2 by hand, because gRPC's client does not ping as
// fast as the server allows.
type plainHTTP2 struct {
	net.Conn
	start time.Time

	mu  sync.Mutex
	got []string // pings, their answers and the end, each with the second of its arrival
}

func dialPlain(r *rig) *plainHTTP2 {
	r.Helper()
	conn, err := r.lis.DialContext(context.Background())
	if err != nil {
		r.Fatal(err)
	}
	c := &plainHTTP2{Conn: conn, start: time.Now()}
	r.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		r.Fatal(err)
	}
	c.frame(frameSettings, 0, nil)
	go c.receive()
	return c
}

func (c *plainHTTP2) frame(typ, flags byte, payload []byte) {
	b := []byte{0, 0, byte(len(payload)), typ, flags, 0, 0, 0, 0}
	_, _ = c.Write(append(b, payload...))
}

func (c *plainHTTP2) note(format string, a ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, fmt.Sprintf(format, a...)+fmt.Sprintf(" %d", int(time.Since(c.start).Seconds())))
}

func (c *plainHTTP2) heard() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = nil
	return got
}

func (c *plainHTTP2) receive() {
	for {
		var head [9]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			c.note("end")
			return
		}
		payload := make([]byte, int(binary.BigEndian.Uint32(head[:4])>>8))
		if _, err := io.ReadFull(c, payload); err != nil {
			c.note("end")
			return
		}
		switch typ, ack := head[3], head[4]&flagAck != 0; {
		case typ == framePing && ack:
			c.note("answer")
		case typ == framePing:
			c.note("ping")
		case typ == frameGoAway:
			c.note("goaway %s", payload[8:])
		}
	}
}

// TestPings_2_1: pings are allowed every second, also without a stream. The server pings a
// connection on which it reads nothing for 10 s, and closes it after 5 s without an answer.
func TestPings_2_1(t *testing.T) {
	inBubble(t, func(r *rig) {
		c := dialPlain(r)
		for range 120 {
			time.Sleep(time.Second)
			c.frame(framePing, 0, make([]byte, 8))
		}
		synctest.Wait()
		got := c.heard()
		r.want("answers", len(got), 120)
		for i, s := range got {
			if s != fmt.Sprintf("answer %d", i+1) {
				t.Fatalf("heard %q", s)
			}
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		r.want("in silence", c.heard(), "[ping 130 end 135]")
	})
}

type compression struct {
	mu    sync.Mutex
	heard []string
}

func (*compression) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

func (*compression) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*compression) HandleConn(context.Context, stats.ConnStats)                       {}
func (c *compression) HandleRPC(_ context.Context, s stats.RPCStats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s := s.(type) {
	case *stats.OutHeader:
		c.heard = append(c.heard, "out "+s.Compression)
	case *stats.InHeader:
		c.heard = append(c.heard, "in "+s.Compression)
	}
}

// TestUncompressedDown_2_1: downlinks are never compressed, although the edge compresses its
// uplinks.
func TestUncompressedDown_2_1(t *testing.T) {
	inBubble(t, func(r *rig) {
		h := &compression{}
		conn, err := grpc.NewClient("passthrough:///cloud", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithStatsHandler(h),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return r.lis.DialContext(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		st, err := proto.NewEdgeRpcServiceClient(conn).HandleMsgs(context.Background(), grpc.UseCompressor(gzip.Name))
		if err != nil {
			t.Fatal(err)
		}
		c := &client{r: r, st: st}
		c.connect(edgeA)
		m, err := st.Recv()
		if err != nil || m.ConnectResponseMsg == nil {
			t.Fatal(m, err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if fmt.Sprint(h.heard) != "[out gzip in ]" && fmt.Sprint(h.heard) != "[out gzip in identity]" {
			t.Errorf("compression %q", h.heard)
		}
	})
}

// Stop waits for no connection that has not sent the preface of HTTP/2, or only a part of it.
func TestStopWaitsForNoPreface(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lis := bufconn.Listen(1 << 10)
		c := New(Options{})
		done := make(chan error, 1)
		go func() { done <- c.Serve(lis) }()
		for _, text := range []string{"", "PRI * HTTP/2.0\r\n"} {
			conn, err := lis.DialContext(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		began := time.Now()
		c.Stop()
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
