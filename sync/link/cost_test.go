package link

import (
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// A message of empty parts costs many times its size; a text costs what it is long; no small
// message costs more than what is taken for it without a look.
func TestCost(t *testing.T) {
	const parts = 200_000 // the structs are smaller on 32-bit processors
	many := &proto.ResponseMsg{DownlinkMsg: &proto.DownlinkMsg{DownlinkMsgId: 7}}
	data := &proto.EntityDataProto{PostTelemetryMsg: &proto.PostTelemetryMsg{TsKvList: []*proto.TsKvListProto{{}}}}
	for range parts {
		l := data.PostTelemetryMsg.TsKvList[0]
		l.Kv = append(l.Kv, &proto.KeyValueProto{})
	}
	many.DownlinkMsg.EntityData = []*proto.EntityDataProto{data}
	b := mustMarshal(t, many)
	if cost, _ := costOf(inPieces(b, 16<<10), true); cost < MaxCost || cost > MaxCost+1<<10 || len(b) > 3*parts {
		t.Errorf("%d empty parts, %d bytes, cost %d", parts, len(b), cost)
	}
	text := mustMarshal(t, &proto.ResponseMsg{DownlinkMsg: &proto.DownlinkMsg{
		DashboardUpdateMsg: []*proto.DashboardUpdateMsg{{Entity: strings.Repeat("x", LeastInbound)}},
	}})
	if cost, _ := costOf(inPieces(text, 16<<10), true); cost < LeastInbound || cost > LeastInbound+4<<10 {
		t.Errorf("a text of %d bytes costs %d", LeastInbound, cost)
	}
	for _, p := range responsePlan().all(map[*plan]bool{}) {
		if worst := (p.size + partCost) / 2; worst > smallFactor && p.size > smallBase {
			t.Errorf("a part of 2 bytes takes %d", p.size)
		}
	}
}

func (p *plan) all(seen map[*plan]bool) (list []*plan) {
	if seen[p] {
		return nil
	}
	seen[p] = true
	list = append(list, p)
	for _, part := range p.parts {
		list = append(list, part.all(seen)...)
	}
	return list
}

// What costs too much is not decoded: its id is left, so that it can be acknowledged.
func TestTooLargeKeepsItsID(t *testing.T) {
	b := mustMarshal(t, &proto.ResponseMsg{DownlinkMsg: &proto.DownlinkMsg{
		EntityData: []*proto.EntityDataProto{{EntityType: "DEVICE"}}, DownlinkMsgId: 1<<31 - 1,
	}})
	for size := 1; size < len(b); size++ {
		w := wire{inPieces(b, size)}
		in, err := w.decode(MaxCost+1, nil)
		want := &proto.ResponseMsg{DownlinkMsg: &proto.DownlinkMsg{DownlinkMsgId: 1<<31 - 1}}
		if err != nil || !in.TooLarge || in.Size != len(b) || !pb.Equal(in.Msg, want) {
			t.Fatalf("in pieces of %d: %+v, %v", size, in, err)
		}
	}
}

// streamOf is a stream of messages that are received as often as somebody asks.
type streamOf struct {
	grpc.ClientStream
	b    []byte
	read int
}

func (s *streamOf) RecvMsg(v any) error {
	s.read++
	return rawCodec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(s.b)}, v)
}

// What was received and not handled is bounded in bytes: the receiver waits. One message that is
// larger than all of the room comes alone, and nothing is read from the stream beside it.
func TestInboxIsBoundedInBytes(t *testing.T) {
	dashboards := func(bytes int) []byte {
		return mustMarshal(t, &proto.ResponseMsg{DownlinkMsg: &proto.DownlinkMsg{
			DashboardUpdateMsg: []*proto.DashboardUpdateMsg{{Entity: strings.Repeat("x", bytes)}},
		}})
	}
	for _, c := range []struct {
		name              string
		bytes             int
		waiting, received int
	}{
		{"small ones", 1 << 10, inboxSlots, inboxSlots + 1},
		{"some of 100 KiB", 100 << 10, 10, 11},
		{"large ones", 4 << 20, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stream := &streamOf{b: dashboards(c.bytes)}
				s := &session{
					stream: stream, in: make(chan Inbound, inboxSlots), received: make(chan struct{}),
					held: held{freed: make(chan struct{}, 1)},
				}
				go s.receive(t.Context())
				for range 3 {
					synctest.Wait()
					if len(s.in) != c.waiting {
						t.Errorf("%d messages of %d bytes wait, want %d", len(s.in), c.bytes, c.waiting)
					}
					if most := int64(max(InboxBytes, c.bytes+8<<10)); s.held.bytes.Load() > most {
						t.Errorf("%d bytes wait, at most %d", s.held.bytes.Load(), most)
					}
					if stream.read != c.received {
						t.Errorf("%d messages were read, want %d", stream.read, c.received)
					}
					in := <-s.in
					in.Handled()
					in.Handled() // does nothing
					c.received++
				}
			})
		})
	}
}
