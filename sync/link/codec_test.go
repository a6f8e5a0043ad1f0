package link

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/grpc/mem"
	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// inPieces cuts a message into pieces, as the transport hands it over.
func inPieces(b []byte, size int) (list mem.BufferSlice) {
	for len(b) > size {
		list = append(list, mem.SliceBuffer(b[:size]))
		b = b[size:]
	}
	return append(list, mem.SliceBuffer(b))
}

func otaMessage(entity string) []byte {
	b, err := pb.Marshal(&proto.ResponseMsg{
		DownlinkMsg: &proto.DownlinkMsg{
			DownlinkMsgId:   7,
			DeviceUpdateMsg: []*proto.DeviceUpdateMsg{{IdMSB: 1, Entity: "{}"}},
			OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{
				{IdMSB: -5, IdLSB: 6, Entity: entity},
				{MsgType: proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE, IdLSB: 9},
			},
		},
		EdgeUpdateMsg: &proto.EdgeUpdateMsg{Configuration: &proto.EdgeConfiguration{Name: "edge"}},
	})
	if err != nil {
		panic(err)
	}
	return b
}

// A large message is decoded as the library decodes it, whatever is in it, and a broken message is
// refused.
func TestLargeMessages(t *testing.T) {
	good := otaMessage(`{"data":"` + strings.Repeat("QUJD", 300_000) + `"}`)
	widget := &proto.WidgetTypeUpdateMsg{Entity: strings.Repeat("w", largeMessage)}
	for name, b := range map[string][]byte{
		"an OTA package":      good,
		"twice, to be merged": append(good[:len(good):len(good)], good...),
		"cut":                 good[:len(good)-100],
		"bytes behind it":     append(good[:len(good):len(good)], 0xff),
		"no UTF-8":            bytes.Replace(good, []byte("QUJD"), []byte("\xffUJD"), 1),
		"one widget": mustMarshal(t, &proto.ResponseMsg{DownlinkMsg: &proto.DownlinkMsg{
			WidgetTypeUpdateMsg: []*proto.WidgetTypeUpdateMsg{widget},
		}}),
	} {
		var got, want proto.ResponseMsg
		wantErr := pb.Unmarshal(b, &want)
		gotErr := unmarshal(inPieces(b, 16<<10), &got)
		if (gotErr == nil) != (wantErr == nil) || wantErr == nil && !pb.Equal(&got, &want) {
			t.Errorf("%s: %v, the library says %v", name, gotErr, wantErr)
		}
	}
	var m proto.ResponseMsg
	err := unmarshalLarge(inPieces(good, 1000), &m, nil)
	if err != nil || len(m.DownlinkMsg.OtaPackageUpdateMsg) != 2 || m.EdgeUpdateMsg == nil {
		t.Errorf("%v", err)
	}
}

// unmarshal decodes a message as the receiver does, whatever it costs.
func unmarshal(data mem.BufferSlice, m *proto.ResponseMsg) error {
	var w wire
	if err := (rawCodec{}).Unmarshal(data, &w); err != nil {
		return err
	}
	in, err := w.decode(0, nil)
	if err == nil {
		pb.Merge(m, in.Msg)
	}
	return err
}

func mustMarshal(t *testing.T, m pb.Message) []byte {
	t.Helper()
	b, err := pb.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A message read in pieces is what the library makes of it, or is refused. Its cost is no less than
// the bytes of its texts.
func FuzzLargeMessages(f *testing.F) {
	small := otaMessage("{}")
	f.Add(small, uint8(1))
	f.Add(append(small[:len(small):len(small)], small...), uint8(7))
	f.Add([]byte{0x1a, 0x05, 0xb2, 0x01, 0x02, 0x92, 0x01}, uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, size uint8) {
		var got, want proto.ResponseMsg
		err := unmarshalLarge(inPieces(b, int(size)+1), &got, nil)
		if wantErr := pb.Unmarshal(b, &want); err == nil && (wantErr != nil || !pb.Equal(&got, &want)) {
			t.Errorf("%v, want %v %v", &got, &want, wantErr)
		}
	})
}

// BenchmarkLargeMessage measures what the decoding of an OTA package of 8 MiB costs.
func BenchmarkLargeMessage(b *testing.B) {
	pieces := inPieces(otaMessage(strings.Repeat("QUJD", 2<<20)), 16<<10)
	b.ReportAllocs()
	for b.Loop() {
		if err := unmarshalLarge(pieces, new(proto.ResponseMsg), nil); err != nil {
			b.Fatal(err)
		}
	}
}
