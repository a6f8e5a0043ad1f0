package sync

import (
	"context"
	"net"
	"runtime"
	"strings"
	gosync "sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"edgesync/proto"
	"edgesync/sync/config"
)

// holes keeps connections of both ends of a link, to let them vanish in a black hole.
type holes struct {
	net.Listener // of the cloud
	mu           gosync.Mutex
	conns        []*net.TCPConn
}

func (h *holes) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	if err == nil {
		h.keep(c)
	}
	return c, err
}

func (h *holes) keep(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = append(h.conns, c.(*net.TCPConn))
}

func (h *holes) dial(ctx context.Context, _ string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", h.Addr().String())
	if err == nil {
		h.keep(c) // gRPC sees a TCP connection, as without a test
	}
	return c, err
}

// drop makes the kernel throw away every segment that arrives on any connection so far, at both
// ends: no data, no acknowledgement, no reset.
func (h *holes) drop(t *testing.T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.conns {
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		const returnK = 0x06 // BPF_RET | BPF_K: so many bytes of each segment pass
		raw.Control(func(fd uintptr) {
			//lint:ignore SA1019 one instruction is no reason for a dependency
			err = syscall.AttachLsf(int(fd), []syscall.SockFilter{{Code: returnK, K: 0}})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// unacknowledged is how many bytes written by the agent the cloud's kernel has not acknowledged.
func (h *holes) unacknowledged(t *testing.T) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.conns {
		if c.LocalAddr().String() == h.Addr().String() {
			continue
		}
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			var waits int32
			if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&waits))); e != 0 {
				t.Error(e)
			}
			n += int(waits)
		})
	}
	return n
}

// A link dies in the kernel behind a batch that has arrived and is not answered: no byte is under
// way that TCP would miss. The message that breaks the silence makes TCP notice, long before the
// limits of answers and pings.
func TestKernelBlackHole(t *testing.T) {
	if runtime.GOARCH == "mipsle" || runtime.GOARCH == "arm" {
		t.Skip("no filters of sockets")
	}
	b := newBox(t, func(c *config.Config) { c.Keepalive.Timeout, c.Reconnect.Interval = time.Second, time.Second })
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &holes{Listener: lis}
	go b.cloud.Serve(h)
	b.dial = h.dial
	b.start()
	defer func() {
		b.stop()
		b.cloud.Stop()
		b.innocent()
	}()
	soon, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	await := func(what string, cond func() bool) {
		t.Helper()
		look := time.NewTicker(10 * time.Millisecond)
		defer look.Stop()
		for !cond() {
			select {
			case <-look.C:
			case <-soon.Done():
				t.Fatalf("%s does not come; %+v", what, b.agent.Snapshot())
			}
		}
	}
	await("the first sync", func() bool { return b.agent.Snapshot().State == Connected && b.agent.Snapshot().Sync == "" })
	arrived := make(chan struct{}, 100)
	b.cloud.DropAcksIf(func(u *proto.UplinkMsg) bool {
		if len(u.EntityData) > 0 {
			arrived <- struct{}{}
		}
		return len(u.EntityData) > 0
	})
	b.post(proto.UUID{1}, 1)
	select {
	case <-arrived:
	case <-soon.Done():
		t.Fatal("the batch does not arrive")
	}
	await("the acknowledgement of TCP", func() bool { return h.unacknowledged(t) == 0 })
	h.drop(t)
	b.cloud.DropAcksIf(nil)
	reason := ""
	await("the end of the session", func() bool { reason = b.agent.Snapshot().LastError; return reason != "" })
	if !strings.Contains(reason, "connection timed out") {
		t.Errorf("the session ended with %q", reason)
	}
	await("the batch over a new connection", func() bool { return b.agent.Snapshot().Deployed == 1 })
}
