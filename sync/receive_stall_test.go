package sync

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/link"
)

// A server that reads one acknowledgement a millisecond gets them at that rate: the loop must go on
// receiving as soon as there are slots again, not at its next heartbeat.
func TestReceivingGoesOnWhenSlotsAreFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		l := loopAlone(t)
		sess := l.conn.sess.(*fakeSession)
		now := time.Now()
		l.conn.acceptedAt, l.conn.lastReceived, l.conn.firstAccepted = now, now, now
		l.enter(Draining, now)
		for i := range n {
			sess.in <- link.Inbound{Msg: &proto.ResponseMsg{DownlinkMsg: &proto.DownlinkMsg{DownlinkMsgId: int32(i + 1)}}, Size: 100}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); l.run(ctx) }()
		for range n {
			<-sess.out
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(now); took > 2*time.Second {
			t.Errorf("%d downlinks took %v at one acknowledgement a millisecond", n, took)
		}
		cancel()
		sess.in <- link.Inbound{Err: link.ErrCleanEnd}
		<-done
	})
}
