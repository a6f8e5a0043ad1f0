package link

import (
	"fmt"

	"google.golang.org/grpc/mem"
	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// rawCodec sends a request that is already wire bytes as it is: a batch of a hundred events costs
// no message tree. Of a response it takes the bytes, which the receiver decodes when there is room
// for what they become. Its name makes the content type that of the ordinary protobuf codec.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

// Marshal takes a []byte. The bytes must stay untouched until the batch is acknowledged: the
// transport may still hold them.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("raw codec: cannot send a %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

// Unmarshal fills a *wire.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	w, ok := v.(*wire)
	if !ok {
		return fmt.Errorf("raw codec: cannot receive a %T", v)
	}
	data.Ref()
	w.data = data
	return nil
}

// wire is a response as it came, with a reference to the transport's buffers, which decode gives
// back.
type wire struct{ data mem.BufferSlice }

// decode decodes the response, or only the id of its downlink where the whole would cost more than
// MaxCost. room, which may be nil, gives memory back on the way through a large one.
func (w *wire) decode(cost int, room func()) (in Inbound, err error) {
	in = Inbound{Msg: new(proto.ResponseMsg), Size: w.data.Len(), cost: cost}
	switch {
	case cost > MaxCost:
		in.TooLarge = true
		in.Msg.DownlinkMsg = &proto.DownlinkMsg{DownlinkMsgId: idOf(w.data)}
		w.data.Free()
	case in.Size >= largeMessage:
		err = unmarshalLarge(w.data, in.Msg, room)
	default:
		b := w.data.MaterializeToBuffer(mem.DefaultBufferPool())
		w.data.Free()
		err = pb.Unmarshal(b.ReadOnlyData(), in.Msg)
		b.Free()
	}
	w.data = nil
	return in, err
}
