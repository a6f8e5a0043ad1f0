//go:build linux

package main

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"

	"edgesync/proto"
	"edgesync/scripts/internal/rig"
)

// plainCloud accepts every edge and acknowledges every uplink; if refuseFrom is not 0 it refuses
// uplinks from that one on.
type plainCloud struct {
	proto.UnimplementedEdgeRpcServiceServer
	refuseFrom int32
	key        atomic.Pointer[string]
	events     atomic.Int64
}

func (c *plainCloud) HandleMsgs(stream grpc.BidiStreamingServer[proto.RequestMsg, proto.ResponseMsg]) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return nil // the client has gone
		}
		answer := &proto.ResponseMsg{}
		switch m.GetMsgType() {
		case proto.RequestMsgType_CONNECT_RPC_MESSAGE:
			key := m.GetConnectRequestMsg().GetEdgeRoutingKey()
			c.key.Store(&key)
			answer.ConnectResponseMsg = &proto.ConnectResponseMsg{ResponseCode: proto.ConnectResponseCode_ACCEPTED}
		case proto.RequestMsgType_UPLINK_RPC_MESSAGE:
			u := m.GetUplinkMsg()
			c.events.Add(int64(len(u.GetEntityData())))
			answer.UplinkResponseMsg = &proto.UplinkResponseMsg{
				UplinkMsgId: u.GetUplinkMsgId(), Success: c.refuseFrom == 0 || u.GetUplinkMsgId() < c.refuseFrom, ErrorMsg: "no",
			}
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

func (c *plainCloud) serve(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	proto.RegisterEdgeRpcServiceServer(server, c)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return l.Addr().String()
}

var testDevices = []rig.Device{
	{Name: "a", ID: "00000000-0000-0000-0000-00000000000a"},
	{Name: "b", ID: "00000000-0000-0000-0000-00000000000b"},
}

func TestBareDrainSendsEverything(t *testing.T) {
	cloud := &plainCloud{}
	rate, err := bareDrain(t.Context(), cloud.serve(t), newMeters(testDevices), 5000)
	if err != nil {
		t.Fatal(err)
	}
	if rate <= 0 || cloud.events.Load() != 5000 || *cloud.key.Load() != rig.RoutingKey {
		t.Errorf("rate %v, %d events, key %q", rate, cloud.events.Load(), *cloud.key.Load())
	}
}

func TestBareDrainTellsOfARefusal(t *testing.T) {
	cloud := &plainCloud{refuseFrom: 3}
	if _, err := bareDrain(t.Context(), cloud.serve(t), newMeters(testDevices), 5000); err == nil ||
		!strings.Contains(err.Error(), "refuses") {
		t.Errorf("err = %v, want one that names the refusal", err)
	}
}
