package calls

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
)

// The states of persistent calls are told as a server tells them, and those of other calls are not.
func TestStatesOfPersistentCalls(t *testing.T) {
	device := proto.UUID{7: 1}
	for _, c := range []struct {
		name            string
		persisted, once bool
		do              func(t *Table, c *Call)
		want            []string
	}{
		{"answered", true, false, func(t *Table, c *Call) {
			t.Delivered(c.Device, c.ID)
			t.Answer(c.Device, c.ID, `{"ok":1}`)
		}, []string{"DELIVERED", `SUCCESSFUL {"ok":1}`}},
		{"acknowledged", true, false, func(t *Table, c *Call) {
			t.Sent(c.Device, c.ID)
			t.Acknowledged(c.Device, c.ID)
			t.Expire(time.Now().Add(15 * time.Second))
			t.Answer(c.Device, c.ID, "")
		}, []string{"SENT", "DELIVERED", "SUCCESSFUL {}"}},
		{"acknowledged before it is told to be sent", true, false, func(t *Table, c *Call) {
			t.Acknowledged(c.Device, c.ID)
			t.Sent(c.Device, c.ID)
			t.Sent(c.Device, c.ID) // again
		}, []string{"DELIVERED", "SENT"}},
		{"not acknowledged", true, false, func(t *Table, c *Call) {
			t.Sent(c.Device, c.ID)
			if due := t.Expire(time.Now()); !due.Equal(time.Now().Add(10 * time.Second)) {
				panic(due)
			}
			for _, after := range []time.Duration{10 * time.Second, 11 * time.Second, time.Minute} {
				t.Expire(time.Now().Add(after))
			}
		}, []string{"SENT", "TIMEOUT", "EXPIRED"}},
		{"one way", true, true, func(t *Table, c *Call) { t.Delivered(c.Device, c.ID) }, []string{"DELIVERED"}},
		{"one way, acknowledged", true, true, func(t *Table, c *Call) {
			t.Sent(c.Device, c.ID)
			t.Acknowledged(c.Device, c.ID)
			t.Acknowledged(c.Device, c.ID)
		}, []string{"SENT", "DELIVERED"}},
		{"one way, not acknowledged", true, true, func(t *Table, c *Call) {
			t.Sent(c.Device, c.ID)
			t.Expire(time.Now().Add(10 * time.Second))
			t.Acknowledged(c.Device, c.ID)
		}, []string{"SENT", "TIMEOUT"}},
		{"never delivered", true, false, func(t *Table, _ *Call) {
			t.Expire(time.Now().Add(time.Minute))
		}, []string{"EXPIRED"}},
		{"an answer that is too large", true, false, func(t *Table, c *Call) {
			t.Answer(c.Device, c.ID, string(make([]byte, maxResponse+1)))
		}, []string{"FAILED"}},
		{"not persistent", false, false, func(t *Table, c *Call) {
			t.Sent(c.Device, c.ID)
			t.Acknowledged(c.Device, c.ID)
			t.Answer(c.Device, c.ID, "")
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told []string
				table := NewTable(Store{})
				table.Watch(func(c *Call, state, answer string) {
					if answer != "" {
						state += " " + answer
					}
					told = append(told, state)
				})
				m := &proto.DeviceRpcCallMsg{Persisted: &c.persisted, Oneway: c.once, RequestUuidMSB: 1}
				m.DeviceIdMSB, m.DeviceIdLSB = proto.Halves(device)
				call, _ := table.Take(m, time.Now().Add(time.Minute))
				c.do(table, call)
				if !slices.Equal(told, c.want) {
					t.Errorf("%q, want %q", told, c.want)
				}
			})
		})
	}
}

// Calls that are not taken end too. What waits for acknowledgements is bounded.
func TestStatesOfRefusedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		table := NewTable(Store{})
		table.Watch(func(c *Call, state, _ string) {
			told = append(told, fmt.Sprint(state, " ", c.Request[7], " ", c.Retries, c.Info, " ", c.Expires.UnixMilli()))
		})
		yes, retries, info := true, int32(3), `"null"`
		m := &proto.DeviceRpcCallMsg{Persisted: &yes, RequestUuidMSB: 1, ExpirationTime: 5, Retries: &retries, AdditionalInfo: &info}
		for _, word := range []string{TimedOut, Internal, NotFound, NoConnection} {
			table.Refuse(m, word, time.Now())
		}
		table.Refuse(&proto.DeviceRpcCallMsg{}, TimedOut, time.Now())
		if want := []string{`EXPIRED 1 3"null" 5`, `FAILED 1 3"null" 5`}; !slices.Equal(told, want) {
			t.Errorf("%q, want %q", told, want)
		}
		for n := range 3 * maxUnacked {
			m := &proto.DeviceRpcCallMsg{Persisted: &yes, Oneway: true, RequestUuidMSB: int64(n + 2)}
			call, _ := table.Take(m, time.Now().Add(time.Hour))
			table.Sent(call.Device, call.ID)
		}
		if len(table.unacked) != maxUnacked || table.count != 0 {
			t.Errorf("%d wait, %d calls", len(table.unacked), table.count)
		}
	})
}
