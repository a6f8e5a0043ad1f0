package cloudtest

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// BenchmarkDiscard sends batches of 100 events of three values, with gzip and over a TCP socket, to
// a cloud that only counts. The client with its compression runs in the same process.
func BenchmarkDiscard(b *testing.B) {
	t := newFake()
	t.SaveEdge(edgeA)
	c := newCloud(Options{Discard: true}, t)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = c.Serve(lis) }()
	defer c.Stop()
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	st, err := proto.NewEdgeRpcServiceClient(conn).HandleMsgs(context.Background(), grpc.UseCompressor(gzip.Name),
		grpc.ForceCodecV2(rawClient{}))
	if err != nil {
		b.Fatal(err)
	}
	send := func(m *proto.RequestMsg) {
		raw, err := pb.Marshal(m)
		if err != nil {
			b.Fatal(err)
		}
		if err := st.SendMsg(raw); err != nil {
			b.Fatal(err)
		}
	}
	send(&proto.RequestMsg{ConnectRequestMsg: &proto.ConnectRequestMsg{EdgeRoutingKey: edgeA.RoutingKey, EdgeSecret: edgeA.Secret}})
	if _, err := st.Recv(); err != nil {
		b.Fatal(err)
	}
	raw, err := pb.Marshal(&proto.RequestMsg{MsgType: 1, UplinkMsg: batchOf(100)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	window := make(chan struct{}, 16)
	go func() {
		for range b.N {
			window <- struct{}{}
			if st.SendMsg(raw) != nil {
				return
			}
		}
	}()
	for range b.N {
		if _, err := st.Recv(); err != nil {
			b.Fatal(err)
		}
		<-window
	}
	b.ReportMetric(float64(b.N)*100/b.Elapsed().Seconds(), "events/s")
	if n := c.Stats().Events; n != uint64(b.N)*100 {
		b.Fatalf("%d events counted of %d", n, b.N*100)
	}
}

// batchOf returns an uplink of n telemetry events of three values.
func batchOf(n int) *proto.UplinkMsg {
	u := &proto.UplinkMsg{UplinkMsgId: 1}
	for i := range n {
		u.EntityData = append(u.EntityData, &proto.EntityDataProto{
			EntityIdMSB: 0x1234567812345678, EntityIdLSB: -0x1234567812345678, EntityType: "DEVICE",
			PostTelemetryMsg: &proto.PostTelemetryMsg{TsKvList: []*proto.TsKvListProto{{
				Ts: 1700000000000 + int64(i)*1000,
				Kv: []*proto.KeyValueProto{
					{Key: "temperature", Type: proto.KeyValueType_DOUBLE_V, DoubleV: 20 + float64(i%37)/10},
					{Key: "humidity", Type: proto.KeyValueType_DOUBLE_V, DoubleV: 50 + float64(i%53)/10},
					{Key: "pressure", Type: proto.KeyValueType_LONG_V, LongV: 101300 + int64(i%11)},
				},
			}}},
		})
	}
	return u
}

// BenchmarkCount measures the counting alone: one uncompressed RequestMsg of 100 events.
func BenchmarkCount(b *testing.B) {
	raw, err := pb.Marshal(&proto.RequestMsg{MsgType: 1, UplinkMsg: batchOf(100)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if n, err := count(raw); err != nil || n.events != 100 {
			b.Fatal(n, err)
		}
	}
}
