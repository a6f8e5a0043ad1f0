package ruling

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/calls"
	"edgesync/sync/rules"
)

const callNode = `rpc.TbSendRPCRequestNode|call|{"timeoutInSeconds":60}`

// A refused message whose call has failed is in no sum, and does not come back after a restart.
func TestRefusedMessageThatCalledNobody(t *testing.T) {
	g := newRig(t)
	g.chain(chainID, true, []string{callNode, pushNode}, "0>1:Failure")
	g.Start()
	list := events(t, 1, `{"method":"m","params":1}`)
	out, finish, err := g.Take(list)
	if err != nil || len(out) != 1 {
		t.Fatal(len(out), err)
	}
	if err := finish(errFull, nil); !errors.Is(err, errFull) {
		t.Errorf("refused with %v", err)
	}
	if s := g.engine.Sums(); s.Received+s.Made != s.Accepted+s.Filtered+uint64(s.Held)+s.Merged {
		t.Errorf("%+v", s)
	}
	if err := g.flush(); err != nil {
		t.Error(err)
	}
	g.journal.write()
	g.close(false)
	g.open()
	defer g.close(false)
	if s := g.engine.Sums(); s.Received != 0 {
		t.Errorf("after a restart: %+v", s)
	}
}

// reached is an agent that hears of calls.
type reached struct{ Calls }

func (reached) ReachedCall(*calls.Call) {}

func (reached) WatchCalls(func(*calls.Call, string, string)) {}

// given are doors that count.
type given map[int32]int

func (d given) Deliver(c *calls.Call) bool {
	d[c.ID]++
	return true
}

// A device is not called a second time because the queue refuses what the chain has made of the
// call.
func TestCallIsGivenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		defer g.close(false)
		doors := given{}
		g.Connect(reached{}, doors)
		g.chain(chainID, true, []string{
			`filter.TbMsgTypeFilterNode|all|{"messageTypes":["RPC_CALL_FROM_SERVER_TO_DEVICE"]}`, callNode,
			`transform.TbTransformMsgNode|note|{"scriptLang":"TBEL","tbelScript":"return {msg: {called: 1}, metadata: {}, ` +
				`msgType: 'POST_TELEMETRY_REQUEST'};"}`, pushNode,
		}, "0>1:True", "0>2:True", "2>3:Success")
		g.Start()
		for n, refuse := range []error{nil, errFull} {
			id := int32(n + 1)
			g.mu.Lock()
			g.refuse = refuse
			g.mu.Unlock()
			g.Deliver(&calls.Call{
				Device: device(1), ID: id, Request: proto.NewUUID(), Method: "open", Params: "1", OneWay: true,
				Expires: time.Now().Add(time.Minute),
			})
			synctest.Wait()
			if doors[id] != 1 {
				t.Errorf("the device is called %d times where the queue says %v", doors[id], refuse)
			}
		}
	})
}

// What one message did to an entity is not undone under what a later one did.
func TestRefusedAssignmentInFrontOfAnother(t *testing.T) {
	g := newRig(t)
	defer g.close(false)
	ids := []proto.UUID{{0xac, 15: 1}, {0xac, 15: 2}}
	for i, name := range []string{"A", "B"} {
		c := &proto.CustomerUpdateMsg{Entity: `{"title":"` + name + `"}`}
		c.IdMSB, c.IdLSB = proto.Halves(ids[i])
		g.down(&proto.DownlinkMsg{CustomerUpdateMsg: []*proto.CustomerUpdateMsg{c}})
	}
	g.chain(chainID, true, []string{`action.TbAssignToCustomerNode|assign|{"customerNamePattern":"$[c]"}`, pushNode}, "0>1:Success")
	_, first, err := g.Take(events(t, 1, `{"c":"A"}`))
	_, second, err2 := g.Take(events(t, 1, `{"c":"B"}`))
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	if err := first(errFull, nil); !errors.Is(err, errFull) {
		t.Errorf("refused with %v", err)
	}
	if err := second(nil, nil); err != nil {
		t.Error(err)
	}
	if who, _ := g.Owner(&rules.Entity{Type: "DEVICE", ID: device(1)}); who.ID != ids[1] {
		t.Errorf("the device belongs to %v, want %v", who.ID, ids[1])
	}
}
