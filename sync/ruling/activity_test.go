package ruling

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/rules"
)

// A device that connects, sends, falls silent and leaves makes the messages that a server makes,
// if a chain has a use for them.
func TestActivity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		var last atomic.Pointer[time.Time]
		var connected atomic.Bool
		g.Presence = Presence{
			Last: func(id proto.UUID) time.Time {
				if at := last.Load(); at != nil && id == device(1) {
					return *at
				}
				return time.Time{}
			},
			Connected: func(id proto.UUID) bool { return connected.Load() && id == device(1) },
		}
		g.Start()
		seen := func() { now := time.Now(); last.Store(&now) }
		pass := func(d time.Duration, want string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			g.mu.Lock()
			defer g.mu.Unlock()
			got := ""
			for i := range g.queue {
				f, _ := open(g.queue[i].Fragment)
				for _, kv := range f.values() {
					if string(kv.Key) == "e" {
						got += string(kv.Str) + " "
					}
				}
			}
			g.queue = nil
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		connected.Store(true)
		seen()
		pass(3*time.Second, "") // no chain cares
		g.chain(chainID, true, []string{
			`transform.TbTransformMsgNode|say|{"scriptLang":"TBEL","tbelScript":"return {msg: {e: msgType}, metadata: metadata, ` +
				`msgType: msgType};"}`,
			serverNode,
		}, "0>1:Success")
		pass(2*time.Second, "CONNECT_EVENT ACTIVITY_EVENT ")
		seen()
		pass(9*time.Minute, "")
		if v, ok := g.Attribute(&rules.Entity{Type: "DEVICE", ID: device(1)}, "SERVER_SCOPE", "active"); !ok || v.Value != "true" {
			t.Errorf("active is %v", v)
		}
		pass(2*time.Minute, "INACTIVITY_EVENT ")
		seen()
		connected.Store(false)
		pass(2*time.Second, "DISCONNECT_EVENT ACTIVITY_EVENT ")
		// Telemetry of the cloud counts as activity too.
		pass(11*time.Minute, "INACTIVITY_EVENT ")
		e := &proto.EntityDataProto{EntityType: "DEVICE", PostTelemetryMsg: &proto.PostTelemetryMsg{}}
		e.EntityIdMSB, e.EntityIdLSB = proto.Halves(device(1))
		g.Coming(&proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{e}})()
		pass(2*time.Second, "ACTIVITY_EVENT ")
		pass(11*time.Minute, "INACTIVITY_EVENT ")
		if v, ok := g.Attribute(&rules.Entity{Type: "DEVICE", ID: device(2)}, "SERVER_SCOPE", "active"); ok {
			t.Errorf("of a device that was never seen: %v", v)
		}
		g.close(false)
	})
}
