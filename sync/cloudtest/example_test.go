package cloudtest_test

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
	"edgesync/sync/cloudtest/rig"
)

// A test makes a tenant with an edge and a device, lets the cloud serve an in-memory link, and asks
// afterwards what arrived. Here a bare gRPC stream stands at the other end of the link; in the
// tests of the agent that is the agent, with link.Dial as its dialler.
func ExampleNew() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cloud := cloudtest.New(cloudtest.Options{Seed: 1}) // the same ids in each run
	tenant := cloud.Tenant()
	edge := cloudtest.Edge{ID: tenant.NewID(), Name: "Gateway 7", RoutingKey: "key", Secret: "secret"}
	tenant.AddEdge(edge)
	sensor := cloudtest.Device{ID: tenant.NewID(), Name: "Sensor"}
	cloud.AddDevice(edge.ID, sensor)
	link := rig.NewLink()
	go func() { _ = cloud.Serve(link) }()
	defer cloud.Stop()

	conn, err := grpc.NewClient("passthrough:///cloud", grpc.WithContextDialer(link.Dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	stream, err := proto.NewEdgeRpcServiceClient(conn).HandleMsgs(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = stream.Send(&proto.RequestMsg{ConnectRequestMsg: &proto.ConnectRequestMsg{
		EdgeRoutingKey: "key", EdgeSecret: "secret", EdgeVersion: proto.EdgeVersion_V_4_3_0,
	}})
	answer, err := stream.Recv()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("CONNECT:", answer.ConnectResponseMsg.ResponseCode)

	cloud.DropAcks(1) // a fault: the cloud stores the next uplink and does not answer
	msb, lsb := proto.Halves(sensor.ID)
	_ = stream.Send(&proto.RequestMsg{MsgType: proto.RequestMsgType_UPLINK_RPC_MESSAGE, UplinkMsg: &proto.UplinkMsg{
		UplinkMsgId: 1, EntityData: []*proto.EntityDataProto{{
			EntityIdMSB: msb, EntityIdLSB: lsb, EntityType: proto.DeviceEntity,
			PostTelemetryMsg: &proto.PostTelemetryMsg{TsKvList: []*proto.TsKvListProto{{
				Ts: 1767225600000,
				Kv: []*proto.KeyValueProto{{Key: "temperature", Type: proto.KeyValueType_STRING_V, StringV: "21.5"}},
			}}},
		}},
	}})
	err = cloud.WaitFor(ctx, func() bool { return len(tenant.Series(sensor.ID, "temperature")) == 1 })
	if err != nil {
		fmt.Println(err)
		return
	}
	row := tenant.Series(sensor.ID, "temperature")[0]
	fmt.Println("stored:", row.TS, row.Value.Type, row.Value.Dbl) // the server makes a number of the text
	fmt.Println("acknowledged:", cloud.Stats().Acks)
	// Output:
	// CONNECT: ACCEPTED
	// stored: 1767225600000 DOUBLE_V 21.5
	// acknowledged: 0
}
