package link

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"edgesync/proto"
	"edgesync/sync/share"
)

// A large message is decoded when nobody else does what takes much memory, and nobody does until it
// is handled. Small ones do not wait.
func TestLargeMessagesTakeTheLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := func(bytes int) []byte {
			return mustMarshal(t, &proto.ResponseMsg{DownlinkMsg: &proto.DownlinkMsg{
				DownlinkMsgId: 1, DashboardUpdateMsg: []*proto.DashboardUpdateMsg{{Entity: strings.Repeat("x", bytes)}},
			}})
		}
		ctx, cancel := context.WithCancel(t.Context())
		stream := &streamOf{b: of(100)}
		s := &session{
			stream: stream, lane: share.NewLane(), in: make(chan Inbound), received: make(chan struct{}),
			held: held{freed: make(chan struct{}, 1)},
		}
		if !s.lane.Enter(nil) {
			t.Fatal("the lane is not free")
		}
		go s.receive(ctx)
		small := <-s.in
		small.Handled()
		synctest.Wait() // the next small one waits to be taken
		stream.b = of(largeMessage)
		small = <-s.in
		small.Handled()
		synctest.Wait()
		select {
		case <-s.in:
			t.Fatal("a large message came beside something else")
		default:
		}
		s.lane.Leave()
		large := <-s.in
		synctest.Wait()
		select {
		case s.lane <- struct{}{}:
			t.Fatal("the lane is free before the message is handled")
		default:
		}
		stream.b = of(100)
		large.Handled()
		small = <-s.in
		if !s.lane.Enter(nil) || small.Size > 200 {
			t.Errorf("a message of %d bytes", small.Size)
		}
		small.Handled()
		synctest.Wait() // one more waits to be taken
		stream.b = of(largeMessage)
		small = <-s.in
		small.Handled()
		synctest.Wait()
		cancel() // while the large one waits for the lane
		synctest.Wait()
		s.lane.Leave()
		<-s.received
		if !s.lane.Enter(nil) {
			t.Error("the lane is not free at the end of the session")
		}
	})
}
