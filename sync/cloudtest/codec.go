package cloudtest

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// codec passes the bytes of a message through. The cloud checks the size limit itself (the server
// never answers RESOURCE_EXHAUSTED, CONTRACT.md 2.5), answers broken frames itself, and counts
// events without building a message.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("cloudtest: codec: cannot send a %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return fmt.Errorf("cloudtest: codec: cannot receive a %T", v)
	}
	f.buf = data.MaterializeToBuffer(mem.DefaultBufferPool())
	return nil
}

// frame is one received message, inflated. Its buffer belongs to gRPC's pool until free.
type frame struct{ buf mem.Buffer }

func (f *frame) bytes() []byte { return f.buf.ReadOnlyData() }

func (f *frame) free() {
	if f.buf != nil {
		f.buf.Free()
		f.buf = nil
	}
}

// uplinkAck is the bytes of ResponseMsg{uplinkResponseMsg}.
func uplinkAck(id int32, success bool, text string) []byte {
	in := make([]byte, 0, 16+len(text))
	if success {
		in = append(in, 1<<3, 1)
	}
	if text != "" {
		in = protowire.AppendTag(in, 2, protowire.BytesType)
		in = protowire.AppendString(in, text)
	}
	if id != 0 {
		in = protowire.AppendTag(in, 3, protowire.VarintType)
		in = protowire.AppendVarint(in, uint64(int64(id)))
	}
	b := make([]byte, 0, len(in)+6)
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	return protowire.AppendBytes(b, in)
}

// downlinkFrame is the bytes of ResponseMsg{downlinkMsg}, with the id before the fields of m. m
// itself has no id and is never written to, because it may be on its way to several edges at once.
func downlinkFrame(id int32, m *proto.DownlinkMsg) ([]byte, error) {
	body, err := pb.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("cloudtest: downlink cannot be encoded: %w", err)
	}
	in := make([]byte, 0, len(body)+11)
	in = protowire.AppendTag(in, 1, protowire.VarintType)
	in = protowire.AppendVarint(in, uint64(int64(id)))
	in = append(in, body...)
	b := make([]byte, 0, len(in)+6)
	b = protowire.AppendTag(b, 3, protowire.BytesType)
	return protowire.AppendBytes(b, in), nil
}

var errFrame = errors.New("cloudtest: not a RequestMsg")

// counted is what counting learns from a RequestMsg without building it.
type counted struct {
	msgType  uint64
	uplink   bool // uplinkMsg is there
	other    bool // a part that needs the decoder is there
	uplinkID int32
	events   int
}

// count walks a RequestMsg and counts the events of its uplink.
func count(b []byte) (c counted, err error) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return c, errFrame
		}
		b = b[n:]
		switch {
		case num == 1 && typ == protowire.VarintType:
			c.msgType, n = protowire.ConsumeVarint(b)
		case num == 3 && typ == protowire.BytesType:
			var u []byte
			if u, n = protowire.ConsumeBytes(b); n >= 0 {
				c.uplink = true
				if err := c.countUplink(u); err != nil {
					return c, err
				}
			}
		default:
			c.other = true
			n = protowire.ConsumeFieldValue(num, typ, b)
		}
		if n < 0 {
			return c, errFrame
		}
		b = b[n:]
	}
	return c, nil
}

func (c *counted) countUplink(u []byte) error {
	for len(u) > 0 {
		num, typ, n := protowire.ConsumeTag(u)
		if n < 0 {
			return errFrame
		}
		u = u[n:]
		if num == 1 && typ == protowire.VarintType {
			v, m := protowire.ConsumeVarint(u)
			c.uplinkID, n = int32(v), m
		} else {
			if typ == protowire.BytesType {
				c.events++
			}
			n = protowire.ConsumeFieldValue(num, typ, u)
		}
		if n < 0 {
			return errFrame
		}
		u = u[n:]
	}
	return nil
}

// countParts is the number of events in an uplink: the elements of all its parts.
func countParts(u *proto.UplinkMsg) int {
	return len(u.EntityData) + len(u.DeviceUpdateMsg) + len(u.DeviceCredentialsUpdateMsg) + len(u.AlarmUpdateMsg) +
		len(u.RelationUpdateMsg) +
		len(u.RuleChainMetadataRequestMsg) + len(u.AttributesRequestMsg) + len(u.RelationRequestMsg) + len(u.UserCredentialsRequestMsg) +
		len(u.DeviceCredentialsRequestMsg) + len(u.DeviceRpcCallMsg) + len(u.WidgetBundleTypesRequestMsg) + len(u.EntityViewsRequestMsg) +
		len(u.AssetUpdateMsg) + len(u.DashboardUpdateMsg) + len(u.EntityViewUpdateMsg) +
		len(u.AssetProfileUpdateMsg) + len(u.DeviceProfileUpdateMsg) +
		len(u.ResourceUpdateMsg) + len(u.AlarmCommentUpdateMsg) + len(u.RuleChainUpdateMsg) + len(u.RuleChainMetadataUpdateMsg) +
		len(u.CalculatedFieldUpdateMsg) + len(u.CalculatedFieldRequestMsg) + len(u.AiModelUpdateMsg) + len(u.UserUpdateMsg) +
		len(u.UserCredentialsUpdateMsg) + len(u.ApiKeyUpdateMsg)
}
