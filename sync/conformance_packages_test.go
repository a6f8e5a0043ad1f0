package sync

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// CONTRACT.md 13.2: every package of the tenant comes to every edge.
func TestConformancePackages(t *testing.T) {
	// packageOf is one whose message has so many bytes, or up to four less.
	packageOf := func(bytes int) cloudtest.Package {
		const beside = 710 // of the message beside the data
		return cloudtest.Package{Title: "fw", Version: "1", Data: make([]byte, (bytes-beside)/4*3)}
	}
	call := func(b *box, d cloudtest.Device) string {
		b.doors.take(d.ID, func(c *Call) { b.agent.Answer(c.Device, c.ID, "1") })
		answer, err := b.cloud.CallRPC(context.Background(), d.ID, "m", "{}", false, 0)
		if err != nil {
			return err.Error()
		}
		return answer
	}
	conform(t, []rule{
		{"13.2 a package up to the announced size stalls nothing, is not decoded unless it is kept, and is acknowledged", func(b *box) {
			d := b.device("d")
			was := b.cloud.Stats()
			b.cloud.UploadPackage(packageOf(8 << 20))
			b.elapse(1500 * time.Millisecond)
			b.expect("a call behind it", call(b, d), "1")
			s := b.cloud.Stats()
			b.expect("dropped, acknowledged, connects", []uint64{s.TooBig, s.DownlinkAcks - was.DownlinkAcks, s.Connects},
				[]uint64{0, 2, was.Connects})
			n := b.agent.Snapshot()
			b.expect("announced, unused", []any{n.MaxInbound, n.DownlinksUnused > 0}, []any{8 << 20, true})
		}},
		{"13.2 a larger one is dropped by the server and stalls the edge for a minute; with more announced it comes", func(b *box) {
			d := b.device("d")
			b.cloud.UploadPackage(packageOf(8<<20 + 1000))
			b.elapse(1500 * time.Millisecond)
			b.expect("a call meanwhile", call(b, d), "rpc: 504 NO_ACTIVE_CONNECTION")
			b.elapse(time.Minute)
			b.expect("a call later", call(b, d), "1")
			s := b.cloud.Stats()
			b.expect("dropped, connects", []uint64{s.TooBig, s.Connects}, []uint64{1, 1})
			b.stop()
			b.config.Cloud.MaxInbound = 9 << 20
			b.start()
			b.elapse(time.Minute)
			b.cloud.UploadPackage(packageOf(8<<20 + 1000))
			b.elapse(1500 * time.Millisecond)
			b.expect("a call", call(b, d), "1")
			b.expect("dropped", b.cloud.Stats().TooBig, 1)
		}},
		{"13.2 a package that comes for minutes over a slow link ends no session", func(b *box) {
			d := b.device("d")
			b.stop()
			b.dial = func(ctx context.Context, addr string) (net.Conn, error) {
				c, err := b.link.Dial(ctx, addr)
				return &slowConn{c}, err
			}
			b.start()
			b.elapse(time.Minute)
			was := b.cloud.Stats()
			b.cloud.UploadPackage(packageOf(8 << 20))
			b.elapse(2 * time.Second)
			for ts := range int64(10) {
				b.send(d.ID, ts)
				b.elapse(10 * time.Second)
			}
			b.elapse(2 * time.Minute)
			s := b.cloud.Stats()
			b.expect("dropped, connects", []uint64{s.TooBig, s.Connects}, []uint64{0, was.Connects})
			n := b.agent.Snapshot()
			b.expect("state, pending", []any{n.State, n.Pending}, []any{Connected, 0})
		}},
	})
}

// send accepts a reading of a device.
func (b *box) send(device proto.UUID, ts int64) {
	b.Helper()
	kv := []proto.KV{{Key: []byte("n"), Type: proto.KeyValueType_LONG_V, Long: ts}}
	err := b.intake.Accept(b.Context(), []proto.Event{{
		Kind: proto.KindEntityData, Action: proto.ActionTimeseriesUpdated, Time: time.Now().UnixMilli(), Entity: device,
		Fragment: proto.AppendTelemetry(nil, device, "DEVICE", 1+ts, kv),
	}})
	if err != nil {
		b.Fatal(err)
	}
}

// slowConn brings 100,000 bytes a second.
type slowConn struct{ net.Conn }

// Read sleeps for what it has read.
//
//sleeps:bubble only the box of one rule dials it
func (c *slowConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b[:min(len(b), 16<<10)])
	time.Sleep(time.Duration(n) * time.Second / 100_000)
	return n, err
}

// While bytes of a large message come, or a package is being stored, no wait for the server is
// over; when they stop, each is as long as ever.
func TestWaitsWhileALargeMessageComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := loopAlone(t)
		sess := l.conn.sess.(*fakeSession)
		now := time.Now()
		l.conn.acceptedAt, l.conn.lastReceived = now, now
		l.enter(Connected, now)
		begin := map[string]func(){
			"a probe":   func() { l.probing.id, l.probing.at = 1, time.Now() },
			"a sync":    func() { l.syncing.running, l.syncing.progress, l.syncing.retried = true, time.Now(), true },
			"a batch":   func() { l.sending.win.push(&batch{sentAt: time.Now()}) },
			"an answer": func() { l.asking.silentSince = time.Now() },
		}
		for name, wait := range begin {
			l.forgetSession()
			l.conn.sess = sess
			sess.heard = time.Time{}
			l.probing.woke = time.Now()
			wait()
			for range 40 { // it comes, for ten minutes
				time.Sleep(15 * time.Second)
				sess.heard = time.Now()
				l.conn.heard = sess.Heard()
				time.Sleep(4 * time.Second)
				now := time.Now()
				if err := l.overdue(now); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if next := l.deadline(now); !next.After(now) {
					t.Fatalf("%s: the loop would turn without a pause", name)
				}
			}
			time.Sleep(silenceAfter)
			if err := l.overdue(time.Now()); err == nil {
				t.Errorf("%s: is never over", name)
			}
		}
	})
}
