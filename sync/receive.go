package sync

import (
	"time"

	"edgesync/proto"
	"edgesync/sync/link"
)

// receiving is what one turn has taken of the server's messages. At its end all of it is made
// durable by one fsync and acknowledged.
type receiving struct {
	messages int
	bytes    int
	applied  []int32 // ids of downlinks that are applied and not yet durable; at most turnMessages
}

func (r *receiving) endSession() { *r = receiving{applied: r.applied[:0]} }

// full reports whether the turn is to end: acknowledgements have to find slots, and what waits in
// the registry for its fsync is in memory.
func (r *receiving) full() bool { return r.messages >= turnMessages || r.bytes >= turnBytes }

// inbox is the receiver's channel, or nil while there is no room to acknowledge what it would
// bring.
func (l *loop) inbox() <-chan link.Inbound {
	if l.conn.sess == nil || l.conn.sess.Queued() >= receiveBelow {
		return nil
	}
	return l.conn.sess.Inbox()
}

// received handles what the receiver brought, and what else waits behind it up to the bounds of a
// turn, so that one fsync serves many downlinks.
func (l *loop) received(in link.Inbound, now time.Time) {
	for {
		if in.Err != nil {
			l.acknowledge(now)
			l.ended(in.Err, now)
			return
		}
		l.conn.lastReceived = now
		l.contact.heard(now, l.counters.attempts)
		l.receiving.messages++
		l.receiving.bytes += in.Size
		if in.TooLarge {
			l.leaveOut(&in, now)
		}
		l.handle(&in, now)
		if l.conn.sess == nil {
			return
		}
		if !l.receiving.full() {
			in.Handled()
			select {
			case in = <-l.inbox():
				continue
			default:
			}
		}
		// A large message ends the turn. What is staged of it is written before the next comes.
		in.Empty()
		l.acknowledge(now)
		in.Handled()
		return
	}
}

// leaveOut notes that what a message held is not here. The message is acknowledged all the same: it
// would only come again (CONTRACT.md 6.1).
func (l *loop) leaveOut(in *link.Inbound, now time.Time) {
	l.reg.Incomplete()
	l.syncing.partial = true
	l.complain("a message of the cloud is left out: it would take too much memory", "", now, "bytes", in.Size, "most", link.MaxCost)
}

func (l *loop) handle(in *link.Inbound, now time.Time) {
	m := in.Msg
	if r := m.GetUplinkResponseMsg(); r != nil {
		l.uplinkResponse(r, now)
		if l.conn.sess == nil {
			return
		}
	}
	if d := m.GetDownlinkMsg(); d != nil {
		l.downlink(d, in.Packages, now)
	}
	if u := m.GetEdgeUpdateMsg(); u != nil {
		l.setEdge(u.GetConfiguration())
	}
}

// acknowledge makes durable what was applied in this turn and acknowledges it.
func (l *loop) acknowledge(now time.Time) {
	applied := l.receiving.applied
	l.receiving = receiving{applied: applied[:0]}
	if len(applied) == 0 {
		return
	}
	if err := l.reg.Flush(); err != nil {
		l.complain("messages of the cloud cannot be stored", err.Error(), now)
	} else {
		for _, id := range applied {
			l.write(proto.AppendDownlinkResponse(nil, id, ""))
		}
	}
	if !l.syncing.running {
		l.planAsking(false)
	}
}
