package sync

import (
	"time"

	"edgesync/proto"
)

// probing is the probe that is not answered.
type probing struct {
	id int32 // 0 = none
	at time.Time
}

func (p *probing) endSession() { *p = probing{} }

// maybeProbe asks whether the server is there when nothing has been heard of it for a while and
// nothing is in flight that it would answer.
func (l *loop) maybeProbe(now time.Time) {
	if l.probing.id != 0 || len(l.sending.win.batches) > 0 || l.retries.try != nil || now.Sub(l.conn.lastReceived) < probeAfter {
		return
	}
	l.probing = probing{id: l.nextID(), at: now}
	l.write(proto.AppendProbe(nil, l.probing.id))
}
