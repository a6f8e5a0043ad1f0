package cloudtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// javaChain is what ThingsBoard Edge looks at in the metadata of a rule chain.
type javaChain struct {
	First *int `json:"firstNodeIndex"`
	Nodes []struct {
		Type, Name    string
		Configuration struct {
			Processing json.RawMessage `json:"processingSettings"`
			Scope      string
		}
	}
	Connections []struct {
		From int `json:"fromIndex"`
		To   int `json:"toIndex"`
		Type string
	}
}

// javaRefuses returns what ThingsBoard Edge lacks in a root chain (CONTRACT.md 13.4), in the edge's
// own words where it refuses the chain; "" if nothing is missing.
func javaRefuses(metadata string) string {
	var c javaChain
	if err := json.Unmarshal([]byte(metadata), &c); err != nil {
		return err.Error()
	}
	to := map[string]string{} // the types of nodes by what leads to them
	scopes := map[string]bool{}
	for _, n := range c.Nodes {
		switch n.Type[strings.LastIndexByte(n.Type, '.')+1:] {
		case "TbMsgTimeseriesNode", "TbMsgAttributesNode":
			if s := string(n.Configuration.Processing); s == "" || s == "null" {
				return fmt.Sprintf("'%s' node configuration is invalid: processingSettings must not be null", n.Name)
			}
		case "TbMsgPushToCloudNode":
			scopes[n.Configuration.Scope] = true
		}
	}
	if c.First == nil || !strings.HasSuffix(c.Nodes[*c.First].Type, "TbMsgTypeSwitchNode") {
		return "the first node is no switch"
	}
	for _, l := range c.Connections {
		if l.From == *c.First {
			to[l.Type] = c.Nodes[l.To].Type
		}
	}
	switch {
	case !strings.HasSuffix(to["RPC Request to Device"], "rpc.TbSendRPCRequestNode"):
		return "calls end in TIMEOUT"
	case !scopes["CLIENT_SCOPE"] || !scopes["SERVER_SCOPE"]:
		return "two push nodes are needed"
	}
	return ""
}

// ThingsBoard Edge works with this cloud: it takes the root chain, finds its way to the devices for
// calls, and can let users log in. A recording of the day when it did not says what it refused.
func TestThingsBoardEdgeIsServed_13_4(t *testing.T) {
	var connect *proto.RequestMsg
	var answer *proto.UplinkMsg
	var refused string
	for _, l := range readTape(t, "javaedge-cloudbox") {
		switch {
		case l.Up != nil:
			raw, err := base64.StdEncoding.DecodeString(*l.Up)
			m := new(proto.RequestMsg)
			if err == nil {
				err = pb.Unmarshal(raw, m)
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.ConnectRequestMsg != nil {
				connect = m
			} else {
				answer = m.UplinkMsg
			}
		case l.Note == "downlinkResponseMsg FAILED":
			var j struct{ Error string }
			if err := json.Unmarshal(l.JSON, &j); err != nil {
				t.Fatal(err)
			}
			refused = j.Error
		}
	}
	tenant := NewTenant()
	edge := edgeA
	edge.RoutingKey, edge.Secret = connect.ConnectRequestMsg.EdgeRoutingKey, connect.ConnectRequestMsg.EdgeSecret
	tenant.AddEdge(edge)
	chains, key := 0, ""
	for _, step := range tenant.Steps(edge.ID, true) {
		for _, m := range step {
			for _, c := range m.RuleChainMetadataUpdateMsg {
				chains++
				if got := javaRefuses(c.Entity); got != "" {
					t.Errorf("the root chain: %s", got)
				}
				// Without the settings it is the chain of the recording.
				bare := strings.ReplaceAll(c.Entity, `"processingSettings":{"type":"ON_EVERY_MESSAGE"},"scope"`, `"scope"`)
				if got := javaRefuses(bare); got != refused {
					t.Errorf("without its settings the chain is refused with %q, recorded is %q", got, refused)
				}
			}
			for _, s := range m.AdminSettingsUpdateMsg {
				var j struct {
					Key   string
					Value struct {
						Key string `json:"tokenSigningKey"`
					} `json:"jsonValue"`
				}
				if err := json.Unmarshal([]byte(s.Entity), &j); err != nil {
					t.Fatal(err)
				}
				if j.Key == "jwt" {
					key = j.Value.Key
				}
			}
		}
	}
	if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) != 64 {
		t.Errorf("the signing key has %d bytes (%v)", len(raw), err)
	}
	if chains != 1 {
		t.Errorf("%d chains in a full sync", chains)
	}

	inBubble(t, func(r *rig) {
		r.cloud.tenant.SaveEdge(edge)
		c := r.open(ackAll)
		c.send(connect)
		synctest.Wait()
		r.want("frames", c.frames(), "[ACCEPTED]")
		c.send(&proto.RequestMsg{MsgType: proto.RequestMsgType_UPLINK_RPC_MESSAGE, UplinkMsg: answer})
		synctest.Wait()
		m := c.messages()
		r.want("the answer to a call", m[len(m)-1].UplinkResponseMsg.GetSuccess(), true)
	})
}
