package link

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// An OTA package is one message of up to MaxDownlink bytes, nearly all of them in one string. The
// string is read straight out of the transport's buffers, so that the package is in memory twice
// for a moment, and not three times.

// largeMessage is the size in bytes from which on a message is read in this way.
const largeMessage = 1 << 20

// The field numbers on the way to the string.
const (
	fieldDownlink = 3  // of ResponseMsg
	fieldOTA      = 22 // of DownlinkMsg
	fieldEntity   = 18 // of OtaPackageUpdateMsg
)

// errNotPlain is a message that unmarshalLarge does not read. The library decides what it is.
var errNotPlain = errors.New("not in the form that is read in pieces")

// unmarshalLarge decodes a message as pb.Unmarshal does.
func unmarshalLarge(data mem.BufferSlice, m *proto.ResponseMsg) error {
	r := data.Reader()
	defer r.Close()
	var packages []*proto.OtaPackageUpdateMsg
	var downlink []byte
	found := false
	rest, err := without(r, r.Remaining(), fieldDownlink, func(n int) (err error) {
		found = true
		var d []byte
		d, err = without(r, n, fieldOTA, func(n int) error {
			u := new(proto.OtaPackageUpdateMsg)
			var entity strings.Builder
			head, err := without(r, n, fieldEntity, func(n int) error {
				entity.Reset()
				entity.Grow(n)
				_, err := io.CopyN(&entity, r, int64(n))
				return err
			})
			if err != nil {
				return err
			}
			if err := pb.Unmarshal(head, u); err != nil {
				return err
			}
			if u.Entity = entity.String(); !utf8.ValidString(u.Entity) {
				return errNotPlain
			}
			packages = append(packages, u)
			return nil
		})
		downlink = append(downlink, d...) // parts of one message may come in turns
		return err
	})
	if err != nil {
		return err
	}
	if err := pb.Unmarshal(rest, m); err != nil {
		return err
	}
	if found {
		m.DownlinkMsg = new(proto.DownlinkMsg)
		if err := pb.Unmarshal(downlink, m.DownlinkMsg); err != nil {
			return err
		}
		m.DownlinkMsg.OtaPackageUpdateMsg = packages
	}
	return nil
}

// without returns the next size bytes of r, which are fields of a message, without the fields of
// the number which, messages or strings. take reads the n bytes of each of those.
func without(r *mem.Reader, size int, which protowire.Number, take func(n int) error) (rest []byte, err error) {
	end := r.Remaining() - size
	for r.Remaining() > end {
		at, n := len(rest), uint64(0)
		var tag uint64
		if rest, tag, err = copyVarint(rest, r); err != nil {
			return nil, err
		}
		num, typ := protowire.DecodeTag(tag)
		switch {
		case num < protowire.MinValidNumber:
			return nil, errNotPlain
		case typ == protowire.VarintType:
			if rest, _, err = copyVarint(rest, r); err != nil {
				return nil, err
			}
		case typ == protowire.Fixed32Type:
			n = 4
		case typ == protowire.Fixed64Type:
			n = 8
		case typ == protowire.BytesType:
			if rest, n, err = copyVarint(rest, r); err != nil {
				return nil, err
			}
		default:
			return nil, errNotPlain
		}
		if r.Remaining() < end || n > uint64(r.Remaining()-end) {
			return nil, errNotPlain
		}
		if num == which && typ == protowire.BytesType {
			rest = rest[:at]
			if err = take(int(n)); err != nil {
				return nil, err
			}
			continue
		}
		at = len(rest)
		rest = append(rest, make([]byte, n)...)
		if _, err = io.ReadFull(r, rest[at:]); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// copyVarint appends the bytes of the next varint to dst, as they are, and returns its value.
func copyVarint(dst []byte, r *mem.Reader) (_ []byte, v uint64, err error) {
	at := len(dst)
	for more := true; more; {
		b, err := r.ReadByte()
		if err != nil || len(dst)-at == binary.MaxVarintLen64 {
			return dst, 0, errNotPlain
		}
		dst = append(dst, b)
		more = b >= 0x80
	}
	v, n := protowire.ConsumeVarint(dst[at:])
	if n < 0 {
		return dst, 0, errNotPlain
	}
	return dst, v, nil
}
