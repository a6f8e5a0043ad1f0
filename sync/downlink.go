package sync

import (
	"time"

	"edgesync/proto"
)

// beforeApply is what a downlink goes through before the registry applies it, in this order. A step
// may take parts out of the message.
var beforeApply = [...]func(l *loop, d *proto.DownlinkMsg, now time.Time){
	(*loop).countSync,     // syncing.go: the sync makes progress
	(*loop).heardDownlink, // ask.go: the server polls for us
	(*loop).prove,         // proof.go: the cloud has what it names
	(*loop).learnClock,    // rpc_clock.go: what time it is there
	(*loop).readAnswers,   // ask.go: what comes down because it was asked for
	(*loop).takeCalls,     // rpc.go: calls to devices, and answers to theirs
}

// downlink stages one message in the registry. It is acknowledged after the fsync that serves all
// of one turn. What cannot be stored is not acknowledged: the server sends it again (CONTRACT.md
// 6.1). packages are those of link.Inbound.
func (l *loop) downlink(d *proto.DownlinkMsg, packages []func() (bool, error), now time.Time) {
	l.counters.downlinks++
	for _, step := range beforeApply {
		step(l, d, now)
	}
	var came func()
	if l.coming != nil {
		came = l.coming(d)
	}
	used, err := l.reg.Apply(d)
	for _, apply := range packages {
		if err == nil {
			var kept bool
			kept, err = apply()
			used = used || kept
		}
	}
	if err != nil {
		l.complain("a message of the cloud cannot be stored", err.Error(), now)
		return
	}
	if came != nil {
		came()
	}
	if len(d.GetDeviceUpdateMsg()) > 0 {
		l.maybeUnrouted(now)
	}
	if c := d.GetEdgeConfiguration(); c != nil {
		l.setEdge(c)
		used = true
	}
	if d.GetSyncCompletedMsg() != nil {
		used = true
		if !l.endSync(now) {
			return
		}
	}
	if !used && len(d.GetDeviceRpcCallMsg()) == 0 {
		l.counters.unused++
	}
	l.receiving.applied = append(l.receiving.applied, d.GetDownlinkMsgId())
}
