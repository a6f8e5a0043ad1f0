package sync

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	gosync "sync"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/calls"
)

// CONTRACT.md 8: calls both ways.
func TestConformanceCalls(t *testing.T) {
	conform(t, []rule{
		{"8.1 a two-way call is answered", func(b *box) {
			d := b.device("d")
			for _, c := range []struct{ params, answer, want string }{
				{`{"pin":4}`, `{"ok":true}`, `{"ok":true}`}, {"true", "7", "7"}, {`"abc"`, "", "{}"}, {"", "plain words", "NOT_ACCEPTABLE"},
			} {
				b.doors.take(d.ID, func(call *Call) { b.agent.Answer(call.Device, call.ID, c.answer) })
				r := b.call(d.ID, c.params, false, 0)
				b.expect("answer", r.response+r.word, c.want)
				b.expect("quick", r.took <= 1100*time.Millisecond, true)
				calls, _, _ := b.doors.heard()
				want := c.params
				if want == "" {
					want = "null"
				}
				b.expect("call", []string{calls[0].Method, calls[0].Params}, []string{"do", want})
			}
			b.expect("pending", len(b.agent.Pending(d.ID)), 0)
		}},
		{"8.1 a one-way call is answered once a transport took it", func(b *box) {
			d := b.device("d")
			b.doors.take(d.ID, func(c *Call) { b.agent.Delivered(c.Device, c.ID) })
			r := b.call(d.ID, "1", true, 0)
			b.expect("answer", r.response+r.word, "{}")
			b.doors.take(d.ID, nil)
			go func() {
				b.elapse(3 * time.Second)
				for _, c := range b.agent.Pending(d.ID) { // the device polls
					b.agent.Delivered(c.Device, c.ID)
				}
			}()
			r = b.call(d.ID, "2", true, 0)
			b.expect("answer", r.response+r.word, "{}")
			b.expect("waited for the poll", r.took >= 3*time.Second && r.took < 4*time.Second, true)
		}},
		{"8.1 nobody there: NO_ACTIVE_CONNECTION, somebody silent: TIMEOUT, both before the server gives up", func(b *box) {
			d := b.device("d")
			r := b.call(d.ID, "1", false, 6*time.Second)
			b.expect("word", r.word, "NO_ACTIVE_CONNECTION")
			b.doors.take(d.ID, func(*Call) {})
			r = b.call(d.ID, "1", false, 6*time.Second)
			b.expect("word", r.word, "TIMEOUT") // the server's own word would be NO_ACTIVE_CONNECTION
			b.expect("before the server's timeout", r.took < 6*time.Second && r.took > 5*time.Second, true)
			b.doors.take(d.ID, nil)
			go func() {
				b.elapse(3 * time.Second)
				b.agent.Pending(d.ID) // the device asks for its calls, and does not answer
			}()
			r = b.call(d.ID, "1", false, 6*time.Second)
			b.expect("word", r.word, "TIMEOUT")
			b.expect("pending", len(b.agent.Pending(d.ID)), 0)
			b.expect("a late answer", b.agent.Answer(d.ID, 1, "{}"), false)
		}},
		{"8.1 an unknown device is NOT_FOUND", func(b *box) {
			b.pushCalls(rawCall(b.tenant.NewID(), 77, time.Now().Add(10*time.Second), false))
			b.elapse(6 * time.Second)
			b.expect("answers", b.answersTo(77), []string{"NOT_FOUND"})
		}},
		{"8.1 an answer goes past the backlog", func(b *box) {
			d := b.device("d")
			b.doors.take(d.ID, func(c *Call) { b.agent.Answer(c.Device, c.ID, "1") })
			b.cloud.SlowHandler(0, 20*time.Millisecond)
			times := make([]int64, 5000)
			for i := range times {
				times[i] = int64(i + 1)
			}
			b.post(d.ID, times...)
			r := b.call(d.ID, "1", false, 30*time.Second)
			b.expect("answer", r.response+r.word, "1")
			b.expect("backlog left", b.agent.Snapshot().Pending > 2000, true)
			b.cloud.SlowHandler(0, 0)
			b.elapse(time.Minute)
			b.expect("pending", b.agent.Snapshot().Pending, 0)
		}},
		{"8.1 an answer given without a link is sent after the reconnect, unless it has expired", func(b *box) {
			d := b.device("d")
			b.doors.take(d.ID, func(*Call) {})
			b.pushCalls(
				rawCall(d.ID, 80, time.Now().Add(time.Hour), false), rawCall(d.ID, 81, time.Now().Add(20*time.Second), false),
			)
			b.elapse(2 * time.Second)
			b.offline(func() {
				calls := b.agent.Pending(d.ID)
				b.expect("pending", len(calls), 2)
				for _, c := range calls {
					b.agent.Answer(d.ID, c.ID, "9")
				}
				b.elapse(time.Minute)
			})
			b.expect("answers", b.answersTo(80), []string{"9"})
			b.expect("expired", b.answersTo(81), []string{})
		}},
		{"8.1 an answer that was not acknowledged when the link broke is sent again", func(b *box) {
			d := b.device("d")
			b.doors.take(d.ID, func(c *Call) { b.agent.Answer(c.Device, c.ID, "4") })
			b.cloud.DropAcksIf(func(u *proto.UplinkMsg) bool { return len(u.DeviceRpcCallMsg) > 0 })
			b.pushCalls(rawCall(d.ID, 84, time.Now().Add(time.Hour), false))
			b.elapse(3 * time.Second)
			b.expect("answers", b.answersTo(84), []string{"4"})
			b.cloud.DropAcksIf(nil)
			b.offline(func() {})
			b.expect("answers", b.answersTo(84), []string{"4", "4"})
			b.elapse(5 * time.Minute)
			b.expect("answers", len(b.answersTo(84)), 2)
		}},
		{"8.1 a persistent call survives a restart, and its answer ends it", func(b *box) {
			d := b.device("d")
			b.pushCalls(
				rawCall(d.ID, 82, time.Now().Add(24*time.Hour), true), rawCall(d.ID, 83, time.Now().Add(24*time.Hour), false),
			)
			b.elapse(2 * time.Second)
			b.stop()
			b.start()
			b.elapse(time.Minute)
			calls := b.agent.Pending(d.ID)
			b.expect("pending", len(calls), 1)
			b.expect("call", []string{calls[0].Method, calls[0].Params}, []string{"do", `"x"`})
			b.agent.Answer(d.ID, calls[0].ID, "3")
			b.elapse(time.Minute)
			b.expect("answers", b.answersTo(82), []string{"3"})
			b.stop()
			b.start()
			b.elapse(time.Minute)
			b.expect("pending", len(b.agent.Pending(d.ID)), 0)
		}},
		{"8.1 what a device answered to a persistent call without a link survives a crash, and it is not called again", func(b *box) {
			d := b.device("d")
			one := rawCall(d.ID, 85, time.Now().Add(24*time.Hour), true)
			one.Oneway = true
			b.pushCalls(rawCall(d.ID, 84, time.Now().Add(24*time.Hour), true), one)
			b.elapse(2 * time.Second)
			var after string
			b.offline(func() {
				calls := b.agent.Pending(d.ID)
				b.expect("pending", len(calls), 2)
				b.agent.Answer(d.ID, calls[0].ID, `{"pin":4}`)
				b.agent.Delivered(d.ID, calls[1].ID)
				b.elapse(time.Second)
				after = filepath.Join(b.TempDir(), "data") // as a crash would leave it
				if err := os.CopyFS(after, os.DirFS(b.dir)); err != nil {
					b.Fatal(err)
				}
				b.stop()
				b.dir = after
				b.start()
				b.elapse(2 * time.Second)
				b.expect("pending after the restart", len(b.agent.Pending(d.ID)), 0)
			})
			b.expect("answers", append(b.answersTo(84), b.answersTo(85)...), []string{`{"pin":4}`, "{}"})
			calls, _, _ := b.doors.heard()
			b.expect("calls after the restart", len(calls), 0)
			b.stop()
			b.start()
			b.elapse(time.Minute)
			b.expect("answers in the end", append(b.answersTo(84), b.answersTo(85)...), []string{`{"pin":4}`, "{}"})
			b.expect("kept", len(b.reg.Calls()), 0)
		}},
		{"8.1 calls are bounded", func(b *box) {
			d := b.device("d")
			m := &proto.DownlinkMsg{}
			for i := range 20 {
				m.DeviceRpcCallMsg = append(m.DeviceRpcCallMsg, rawCall(d.ID, int64(100+i), time.Now().Add(time.Hour), false))
			}
			b.cloud.Push(b.edge.ID, m)
			b.elapse(2 * time.Second)
			b.expect("pending", len(b.agent.Pending(d.ID)), calls.MaxOfDevice)
			b.expect("refused", b.answersTo(116), []string{"INTERNAL"})
		}},
		{"8.1 a call made here goes through the same doors, and its answer stays here", func(b *box) {
			d := b.device("d")
			var seen Call
			b.doors.take(d.ID, func(c *Call) { seen = *c; b.agent.Answer(c.Device, c.ID, `{"ok":true}`) })
			b.sent(func(*proto.UplinkMsg) bool { return true })
			r, err := b.agent.CallDevice(b.Context(), d.ID, "set", `{"pin":4}`, false, 10*time.Second)
			b.expect("answer", []any{r, err}, []any{`{"ok":true}`, nil})
			b.expect("call", []any{seen.Method, seen.Params, seen.OneWay}, []any{"set", `{"pin":4}`, false})
			b.doors.take(d.ID, func(c *Call) { b.agent.Delivered(c.Device, c.ID) })
			r, err = b.agent.CallDevice(b.Context(), d.ID, "beep", "", true, 10*time.Second)
			b.expect("one-way", []any{r, err}, []any{"{}", nil})
			b.offline(func() { // it needs no cloud
				b.doors.take(d.ID, func(c *Call) { b.agent.Answer(c.Device, c.ID, "5") })
				r, err = b.agent.CallDevice(b.Context(), d.ID, "set", "1", false, 10*time.Second)
				b.expect("offline", []any{r, err}, []any{"5", nil})
			})
			b.expect("answers sent up", len(b.sent(func(u *proto.UplinkMsg) bool { return len(u.DeviceRpcCallMsg) > 0 })), 0)
		}},
		{"8.1 a call made here ends in time, with the words of those of the cloud, and is bounded", func(b *box) {
			d := b.device("d")
			word := func(timeout time.Duration) (string, time.Duration) {
				began := time.Now()
				_, err := b.agent.CallDevice(b.Context(), d.ID, "set", "1", false, timeout)
				var e *CallError
				if !errors.As(err, &e) || !errors.Is(err, ErrCall) {
					b.Fatal(err)
				}
				return e.Word, time.Since(began)
			}
			w, took := word(5 * time.Second)
			b.expect("nobody there", []any{w, took}, []any{"NO_ACTIVE_CONNECTION", 5 * time.Second})
			b.doors.take(d.ID, func(*Call) {})
			w, took = word(7 * time.Second)
			b.expect("silent", []any{w, took}, []any{"TIMEOUT", 7 * time.Second})
			ctx, cancel := context.WithTimeout(b.Context(), time.Second)
			defer cancel()
			_, err := b.agent.CallDevice(ctx, d.ID, "set", "1", false, time.Hour)
			b.expect("the caller went away", []any{errors.Is(err, context.DeadlineExceeded), len(b.agent.Pending(d.ID))}, []any{true, 0})
			for range calls.MaxOfDevice {
				go b.agent.CallDevice(b.Context(), d.ID, "set", "1", false, 5*time.Second)
			}
			b.elapse(time.Second)
			_, err = b.agent.CallDevice(b.Context(), d.ID, "set", "1", false, 5*time.Second)
			b.expect("one more", errors.Is(err, ErrTooMany), true)
			b.elapse(time.Minute)
			b.expect("pending", len(b.agent.Pending(d.ID)), 0)
		}},
		{"8.2 a device's own call is answered", func(b *box) {
			d := b.device("d")
			b.cloud.AnswerRPC(func(c *proto.DeviceRpcCallMsg) *proto.RpcResponseMsg {
				if c.RequestMsg.Method == "bad" {
					return &proto.RpcResponseMsg{Error: "INTERNAL"}
				}
				return &proto.RpcResponseMsg{Response: `{"was":` + c.RequestMsg.Params + `}`}
			})
			var mu gosync.Mutex
			var replies []string
			got := func() []string {
				mu.Lock()
				defer mu.Unlock()
				list := replies
				replies = nil
				return list
			}
			ask := func(method, params string, timeout time.Duration) error {
				reply := func(r []byte, err error) {
					if err != nil {
						r = []byte(err.Error())
					}
					mu.Lock()
					defer mu.Unlock()
					replies = append(replies, string(r))
				}
				return b.agent.Request(&Request{Device: d.ID, Method: method, Params: params, Timeout: timeout, Reply: reply})
			}
			b.expect("sent", ask("getTime", "5", 0), nil)
			b.elapse(3 * time.Second)
			b.expect("sent", ask("bad", "5", 0), nil)
			b.elapse(3 * time.Second)
			b.expect("answers", got(), []string{`{"was":5}`, "the cloud answered INTERNAL"})
			b.cloud.AnswerRPC(nil) // a tenant without the node
			b.expect("sent", ask("getTime", "5", 7*time.Second), nil)
			b.elapse(6 * time.Second)
			b.expect("answers", got(), []string{})
			b.elapse(2 * time.Second)
			b.expect("answers", got(), []string{ErrTimeout.Error()})
			b.offline(func() { b.expect("offline", errors.Is(ask("getTime", "5", 0), ErrOffline), true) })
			for range calls.MaxRequests {
				b.expect("sent", ask("getTime", "5", time.Minute), nil)
			}
			b.expect("one more", errors.Is(ask("getTime", "5", 0), ErrTooMany), true)
			b.elapse(2 * time.Minute)
			b.expect("replies", len(got()), calls.MaxRequests)
		}},
	})
}
