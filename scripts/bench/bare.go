//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"

	"edgesync/proto"
	"edgesync/scripts/internal/rig"
)

const (
	bareBatch  = 100
	bareWindow = 16
)

// bareDrain is the yardstick for draining: a gRPC client with the generated code and no queue. It
// sends n events in messages that were built beforehand, a hundred events a message and at most
// sixteen messages unacknowledged, and returns the events per second.
func bareDrain(ctx context.Context, cloud string, meters []*meter, n int) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var messages []*proto.RequestMsg
	for i := range n / bareBatch {
		m := meters[i%len(meters)]
		id, ok := proto.ParseUUID(m.ID)
		if !ok {
			return 0, fmt.Errorf("the cloud in a box has a device with the id %q", m.ID)
		}
		u := &proto.UplinkMsg{UplinkMsgId: int32(i + 1)}
		for range bareBatch {
			u.EntityData = append(u.EntityData, m.message(id))
		}
		messages = append(messages, &proto.RequestMsg{MsgType: proto.RequestMsgType_UPLINK_RPC_MESSAGE, UplinkMsg: u})
	}

	conn, err := grpc.NewClient(cloud, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stream, err := proto.NewEdgeRpcServiceClient(conn).HandleMsgs(ctx, grpc.UseCompressor(gzip.Name))
	if err != nil {
		return 0, err
	}
	err = stream.Send(&proto.RequestMsg{
		MsgType:           proto.RequestMsgType_CONNECT_RPC_MESSAGE,
		ConnectRequestMsg: &proto.ConnectRequestMsg{EdgeRoutingKey: rig.RoutingKey, EdgeSecret: rig.Secret, EdgeVersion: 12},
	})
	if err != nil {
		return 0, err
	}
	answer, err := stream.Recv()
	if err != nil {
		return 0, err
	}
	if c := answer.GetConnectResponseMsg(); c == nil || c.GetResponseCode() != proto.ConnectResponseCode_ACCEPTED {
		return 0, fmt.Errorf("the cloud in a box does not accept the bare client")
	}

	begin := time.Now()
	slots := make(chan struct{}, bareWindow)
	received := make(chan error, 1)
	go func() {
		for acked := 0; acked < len(messages); {
			m, err := stream.Recv()
			if err != nil {
				received <- err
				return
			}
			if r := m.GetUplinkResponseMsg(); r != nil {
				if !r.GetSuccess() {
					received <- fmt.Errorf("the cloud in a box refuses a message of the bare client: %.200s", r.GetErrorMsg())
					return
				}
				acked++
				<-slots
			}
		}
		received <- nil
	}()
	for _, m := range messages {
		select {
		case slots <- struct{}{}:
		case err := <-received:
			return 0, err
		}
		if err := stream.Send(m); err != nil {
			return 0, err
		}
	}
	if err := <-received; err != nil {
		return 0, err
	}
	return float64(len(messages)*bareBatch) / time.Since(begin).Seconds(), nil
}
