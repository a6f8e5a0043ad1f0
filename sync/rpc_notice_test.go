package sync

import (
	"fmt"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/calls"
	"edgesync/sync/cloudtest"
	"edgesync/sync/config"
)

// Notices to a gateway wait for the gateway, end without an answer to the cloud, and come once,
// although the server makes the same calls (API.md 4.3).
func TestNotices(t *testing.T) {
	type stage struct {
		*box
		gateway proto.UUID
		got     *[]string
	}
	// there lets the gateway take calls, and acknowledges each at once.
	there := func(s stage) {
		s.doors.take(s.gateway, func(c *Call) {
			*s.got = append(*s.got, c.Method+" "+c.Params)
			s.agent.Delivered(c.Device, c.ID)
			if s.agent.Answer(c.Device, c.ID, `{"success":true}`) { // nobody waits for an answer to a notice
				s.Error("the answer to a notice counts")
			}
		})
		for _, c := range s.agent.Pending(s.gateway) { // as when it subscribes
			s.doors.Deliver(&c)
		}
		s.elapse(time.Second)
	}
	// cloud lets the server call the gateway; n numbers its calls.
	cloud := func(s stage, n int64, method, params string) {
		c := rawCall(s.gateway, n, time.Now().Add(time.Hour), true)
		c.Oneway, c.RequestMsg = true, &proto.RpcRequestMsg{Method: method, Params: params}
		s.pushCalls(c)
		s.elapse(5 * time.Second)
	}
	notify := func(s stage, method, params string) {
		if !s.agent.Notify(s.gateway, method, params) {
			s.Error("too many")
		}
		s.elapse(time.Second)
	}
	// hours lets n hours pass without a link, because a day of probes would be 2,900 messages, and
	// then waits for the reconnect.
	hours := func(s stage, n time.Duration) {
		s.link.Refuse.Store(true)
		s.cloud.EndSessions(cloudtest.EndReset)
		s.elapse(n * time.Hour)
		s.link.Refuse.Store(false)
		s.agent.Hint()
		s.elapse(time.Minute)
		if !s.cloud.Connected(s.edge.ID) {
			s.Fatal("did not come back")
		}
	}
	seldom := func(c *config.Config) { c.Reconnect.MaxInterval = 24 * time.Hour }
	const ab = MethodRenamed + ` {"A":"B"}`
	for _, c := range []struct {
		name string
		run  func(s stage)
		want []string // what the gateway got
		up   []string // what the cloud got as answers to its calls 1 and 2
	}{
		{"held until the gateway takes calls", func(s stage) {
			notify(s, MethodRenamed, `{"A":"B"}`)
			notify(s, MethodDeleted, `"C"`)
			hours(s, 23)
			there(s)
		}, []string{ab, MethodDeleted + ` "C"`}, nil},
		{"without a link", func(s stage) {
			s.offline(func() {
				notify(s, MethodRenamed, `{"A":"B"}`)
				there(s)
			})
		}, []string{ab}, nil},
		{"ends after a day", func(s stage) {
			notify(s, MethodRenamed, `{"A":"B"}`)
			hours(s, 24)
			there(s)
		}, nil, nil},
		{"survives a restart", func(s stage) {
			notify(s, MethodRenamed, `{"A":"B"}`)
			s.stop()
			s.start()
			s.elapse(time.Minute)
			there(s)
			s.stop()
			s.start()
			s.elapse(time.Minute)
			there(s)
		}, []string{ab}, nil},
		{"the cloud's call comes first", func(s stage) {
			there(s)
			cloud(s, 1, MethodRenamed, `{"A":"B"}`)
			notify(s, MethodRenamed, `{"A":"B"}`)
		}, []string{ab}, []string{"{}"}},
		{"the cloud's call comes second", func(s stage) {
			there(s)
			notify(s, MethodRenamed, `{"A":"B"}`)
			cloud(s, 1, MethodRenamed, `{ "A": "B" }`)
		}, []string{ab}, []string{"{}"}},
		{"both come while the gateway is away", func(s stage) {
			notify(s, MethodRenamed, `{"A":"B"}`)
			cloud(s, 1, MethodRenamed, `{"A":"B"}`)
			there(s)
		}, []string{ab}, []string{"{}"}},
		{"both, the other way round", func(s stage) {
			cloud(s, 1, MethodRenamed, `{"A":"B"}`)
			notify(s, MethodRenamed, `{"A":"B"}`)
			there(s)
		}, []string{ab}, []string{"{}"}},
		{"there and back and there again", func(s stage) {
			there(s)
			notify(s, MethodRenamed, `{"A":"B"}`)
			cloud(s, 1, MethodRenamed, `{"A":"B"}`)
			notify(s, MethodRenamed, `{"B":"A"}`)
			notify(s, MethodRenamed, `{"A":"B"}`)
			cloud(s, 2, MethodRenamed, `{"A":"B"}`)
		}, []string{ab, MethodRenamed + ` {"B":"A"}`, ab}, []string{"{}", "{}"}},
		{"calls that are alike but no notices are all delivered", func(s stage) {
			there(s)
			notify(s, "do", `"x"`)
			cloud(s, 1, "do", `"x"`)
		}, []string{`do "x"`, `do "x"`}, []string{"{}"}},
		{"too many", func(s stage) {
			for i := range calls.MaxNotices {
				notify(s, MethodDeleted, fmt.Sprintf(`"%d"`, i))
			}
			if s.agent.Notify(s.gateway, MethodDeleted, `"one more"`) {
				s.Error("no bound")
			}
			cloud(s, 1, "do", `"x"`) // is taken although notices are not
			if n := len(s.agent.Pending(s.gateway)); n != calls.MaxNotices+1 {
				s.Errorf("%d wait", n)
			}
			s.elapse(time.Hour) // the cloud's call ends, and the cloud gets the error as its answer
			hours(s, 24)
			if n := s.agent.calls.Waiting(); n != 0 || len(s.reg.Calls()) != 0 {
				s.Errorf("%d calls after a day, %d kept", n, len(s.reg.Calls()))
			}
		}, nil, []string{calls.TimedOut}}, // the device has asked for its calls
	} {
		t.Run(c.name, func(t *testing.T) {
			inBox(t, seldom, func(b *box) {
				s := stage{b, b.device("gateway").ID, new([]string)}
				c.run(s)
				s.elapse(time.Minute)
				b.expect("the gateway got", *s.got, c.want)
				var up []string
				for n := range int64(2) {
					up = append(up, b.answersTo(n+1)...)
				}
				b.expect("the cloud got", up, c.up)
				n := 0
				for _, u := range b.sent(func(u *proto.UplinkMsg) bool { return len(u.DeviceRpcCallMsg) > 0 }) {
					n += len(u.DeviceRpcCallMsg)
				}
				b.expect("answers in all", n, len(c.up))
			})
		})
	}
}
