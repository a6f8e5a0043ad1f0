package ruling

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/calls"
)

// states is an agent whose calls are in a table.
type states struct {
	Calls
	*calls.Table
}

func (s states) ReachedCall(c *calls.Call)                       { s.Reached(c) }
func (s states) WatchCalls(fn func(*calls.Call, string, string)) { s.Watch(fn) }
func (s states) Pending(device proto.UUID) []calls.Call          { return s.Table.Pending(device) }

func (s states) Delivered(device proto.UUID, id int32)    { s.Table.Delivered(device, id) }
func (s states) Sent(device proto.UUID, id int32)         { s.Table.Sent(device, id) }
func (s states) Acknowledged(device proto.UUID, id int32) { s.Table.Acknowledged(device, id) }

func (s states) Answer(device proto.UUID, id int32, text string) bool {
	return s.Table.Answer(device, id, text)
}
func (s states) Notify(proto.UUID, string, string) bool { return false }
func (s states) Request(*calls.Request) error           { return nil }
func (s states) StartCall(proto.UUID, string, string, bool, time.Time, func(response, word string)) error {
	return nil
}

func (s states) AmendCall(device proto.UUID, id int32, method, params string) {
	s.Amend(device, id, method, params)
}

// there are doors of a device that takes each call.
type there struct{ r *Rules }

func (d there) Deliver(c *calls.Call) bool {
	d.r.Delivered(c.Device, c.ID)
	return true
}

// A call of the cloud enters the chain with all that came with it, and a persistent one's states
// follow it, whether the chain calls the device or edgesync does so by itself (RULES.md 2.2, 7.2).
func TestStatesEnter(t *testing.T) {
	const callOnly = `filter.TbMsgTypeFilterNode|calls|{"messageTypes":["RPC_CALL_FROM_SERVER_TO_DEVICE"]}`
	for _, c := range []struct {
		name  string
		nodes []string
		links []string
	}{
		{
			"called by the chain",
			[]string{callOnly, callNode, sayNode, pushNode},
			[]string{"0>1:True", "0>2:True", "0>2:False", "2>3:Success"},
		},
		{"called by edgesync", []string{sayNode, pushNode}, []string{"0>1:Success"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t)
				defer g.close(false)
				table := calls.NewTable(calls.Store{})
				g.Connect(states{Table: table}, there{g.Rules})
				g.chain(chainID, true, c.nodes, c.links...)
				g.Start()
				yes, retries, info := true, int32(2), `"null"`
				expires := time.Now().Add(time.Minute)
				m := &proto.DeviceRpcCallMsg{
					RequestUuidMSB: 1, Persisted: &yes, Retries: &retries, AdditionalInfo: &info,
					RequestMsg: &proto.RpcRequestMsg{Method: "open", Params: `{"a":1}`},
				}
				m.DeviceIdMSB, m.DeviceIdLSB = proto.Halves(device(1))
				call, _ := table.Take(m, expires)
				if g.Deliver(call) {
					table.Reached(call)
				}
				synctest.Wait()
				g.Answer(device(1), call.ID, `{"ok":true}`)
				synctest.Wait()
				var got []string // a script has no null
				for _, s := range g.messages() {
					if strings.HasPrefix(s, "DEVICE 1 RPC_CALL") {
						for _, part := range []string{
							`{"method":"open","params":"{\"a\":1}","additionalInfo":"\"null\""}`, `"persistent":"true"`, `"retries":"2"`,
						} {
							if !strings.Contains(s, part) {
								t.Errorf("%s, want %s in it", s, part)
							}
						}
						continue
					}
					got = append(got, s)
				}
				tenant := g.Tenant().JSON()
				of := `"tenantId":` + tenant + `,"deviceId":{"entityType":"DEVICE","id":"` + proto.FormatUUID(device(1)) + `"}`
				end := `"expirationTime":946684860000`
				request := `00000000-0000-0001-0000-000000000000`
				state := func(name, answer string) string {
					return `DEVICE 1 RPC_` + name + ` {"id":{"entityType":"RPC","id":"` + request + `"},"createdTime":946684800000,` +
						of + `,` + end + `,"request":{"id":"` + request + `",` + of + `,"oneway":false,` + end +
						`,"body":{"method":"open","params":"{\"a\":1}"},"persisted":true,"retries":2,` +
						`"additionalInfo":"\"null\""}` + answer + `,"status":"` + name + `","additionalInfo":"null"} {}`
				}
				want := []string{state("QUEUED", ""), state("DELIVERED", ""), state("SUCCESSFUL", `,"response":{"ok":true}`)}
				if !slices.Equal(got, want) {
					t.Errorf("%q, want %q", got, want)
				}
				if s := g.engine.Sums(); s.Received != 4 || s.Received+s.Made != s.Accepted+s.Filtered+uint64(s.Held)+s.Merged {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}
