package link

import (
	"fmt"

	"google.golang.org/grpc/mem"
	pb "google.golang.org/protobuf/proto"
)

// rawCodec sends a request that is already wire bytes as it is, and unmarshals only responses: a
// batch of a hundred events costs no message tree. Its name makes the content type that of the
// ordinary protobuf codec.
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

// Unmarshal fills an *Inbound.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*Inbound)
	if !ok {
		return fmt.Errorf("raw codec: cannot receive a %T", v)
	}
	in.Size = data.Len()
	if in.Size >= largeMessage {
		if err := unmarshalLarge(data, in.Msg); err == nil {
			return nil
		}
		pb.Reset(in.Msg)
	}
	b := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer b.Free()
	return pb.Unmarshal(b.ReadOnlyData(), in.Msg)
}
