package sync

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"edgesync/proto"
	"edgesync/sync/link"
)

// A server that sends 20,000 downlinks and reads nothing meanwhile, as the script does, holds up
// its own session only: the loop goes on, and a new stream is opened.
func TestServerThatStopsReading(t *testing.T) {
	const downlinks = 20_000
	s := &script{}
	s.sync = func(session int, _ *proto.SyncRequestMsg) []*proto.DownlinkMsg {
		list := []*proto.DownlinkMsg{{DownlinkMsgId: 1, SyncCompletedMsg: &proto.SyncCompletedMsg{}}}
		for n := int32(2); session == 1 && n < downlinks; n++ {
			d := &proto.DeviceUpdateMsg{IdMSB: int64(n), Entity: "{}"}
			list = append(list, &proto.DownlinkMsg{DownlinkMsgId: n, DeviceUpdateMsg: []*proto.DeviceUpdateMsg{d}})
		}
		return list
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, s, nil)
		r.reg.slow = time.Millisecond // so that there is always one more message in the inbox
		r.run()
		defer func() {
			r.stop()
			if err := errors.Join(r.queue.Close(), r.dead.Close()); err != nil {
				t.Error(err)
			}
		}()
		for range 12 {
			r.elapse(10 * time.Second)
			if at := r.agent.board.read().turn; time.Since(at) > heartbeat {
				t.Fatalf("the last turn was %v ago", time.Since(at))
			}
		}
		r.state(Connected)
		if n := r.agent.Snapshot().Connects; n != 2 {
			t.Errorf("%d sessions, want 2", n)
		}
		want := ackTimeoutFirst
		if len(s.connects) != 2 || s.connects[1] < want || s.connects[1] > want+r.config.Reconnect.MaxInterval {
			t.Errorf("dialled at %v, want once more after %v", s.connects, want)
		}
	})
}

// A turn takes a bounded number of messages and of bytes, and holds no more acknowledgements than
// there are slots.
func TestTurnIsBounded(t *testing.T) {
	for _, c := range []struct {
		name string
		size int // of each message
		want int // messages taken
	}{{"messages", 100, turnMessages}, {"bytes", turnBytes/3 + 1, 3}, {"one large message", 8 << 20, 1}} {
		t.Run(c.name, func(t *testing.T) {
			l := loopAlone(t)
			sess := l.conn.sess.(*fakeSession)
			for n := range cap(sess.in) {
				sess.in <- link.Inbound{Msg: &proto.ResponseMsg{DownlinkMsg: &proto.DownlinkMsg{DownlinkMsgId: int32(n)}}, Size: c.size}
			}
			turn := func() int {
				before := len(sess.in)
				l.received(<-l.inbox(), time.Now())
				return before - len(sess.in)
			}
			if got := turn(); got != c.want || len(sess.out) != c.want || len(l.receiving.applied) != 0 {
				t.Errorf("%d messages taken, %d acknowledged, %d held; want %d", got, len(sess.out), len(l.receiving.applied), c.want)
			}
			for l.inbox() != nil { // nobody takes what is sent
				turn()
			}
			if len(sess.out) < receiveBelow || len(sess.out) > link.Slots-windowMax || l.conn.overrun {
				t.Errorf("%d slots are taken", len(sess.out))
			}
		})
	}
}

// A message that is too large to be decoded is acknowledged, so that it does not come again, and
// the sync that runs removes nothing.
func TestTooLargeIsLeftOut(t *testing.T) {
	l := loopAlone(t)
	reg := l.reg.(*fakeRegistry)
	sess := l.conn.sess.(*fakeSession)
	l.received(link.Inbound{
		Msg: &proto.ResponseMsg{DownlinkMsg: &proto.DownlinkMsg{DownlinkMsgId: 7}}, Size: 8 << 20, TooLarge: true,
	}, time.Now())
	want := proto.AppendDownlinkResponse(nil, 7, "")
	if reg.incomplete != 1 || len(sess.out) != 1 || !bytes.Equal(<-sess.out, want) {
		t.Errorf("incomplete %d times, %d acknowledgements", reg.incomplete, len(sess.out))
	}
}

// A reason of the server is cut before it is kept anywhere.
func TestLongReasonsAreCut(t *testing.T) {
	l := loopAlone(t)
	if got := l.redact(strings.Repeat("é", maxText)); len(got) > maxText+len("…") || !utf8.ValidString(got) {
		t.Errorf("%d bytes are kept of a reason", len(got))
	}
}

// The session ends when a message finds no slot, and what was lost is sent again over the next
// session.
func TestOverrunEndsTheSession(t *testing.T) {
	l := loopAlone(t)
	sess := l.conn.sess.(*fakeSession)
	for range link.Slots {
		l.write([]byte("x"))
	}
	if err := l.overdue(time.Now()); err != nil {
		t.Fatal(err)
	}
	l.write([]byte("x"))
	l.turn(t.Context(), time.Now())
	if l.conn.sess != nil || !sess.closed || l.conn.state != Disconnected {
		t.Errorf("session %v, closed %v, state %v", l.conn.sess, sess.closed, l.conn.state)
	}
}
