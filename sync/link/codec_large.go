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
	"google.golang.org/protobuf/reflect/protoreflect"

	"edgesync/proto"
)

// An OTA package or a dashboard is one message of megabytes, nearly all of them in
// one string. Strings are read straight out of the transport's buffers, which are given back as
// they are read, so that such a message is in memory once, and not three times.

const (
	// largeMessage is the size in bytes from which on a message is read in this way.
	largeMessage = 1 << 20
	// smallPart is the size in bytes up to which a part of it is read by the library.
	smallPart = 4 << 10
	// roomEvery is after how many bytes of a text memory is given back: the buffers that were read
	// are garbage, and the pages of the text are touched only as it grows.
	roomEvery = 2 << 20
)

// The field numbers on the way to the id of a downlink.
const (
	fieldDownlink   = 3 // of ResponseMsg
	fieldDownlinkID = 1 // of DownlinkMsg
)

// errNotPlain is a message that unmarshalLarge does not read. The library refuses it too, but for
// the few forms that the server does not write.
var errNotPlain = errors.New("not in the form that is read in pieces")

// unmarshalLarge decodes a message as pb.Unmarshal does. It frees data as it reads, and calls room,
// which may be nil, on the way.
func unmarshalLarge(data mem.BufferSlice, m *proto.ResponseMsg, room func()) error {
	r := data.Reader()
	data.Free() // the reader holds the only reference now
	defer r.Close()
	return (&pieces{r: r, room: room}).read(m.ProtoReflect(), r.Remaining())
}

// pieces reads one message.
type pieces struct {
	r     *mem.Reader
	small []byte // a part of at most smallPart bytes
	room  func() // gives memory back; nil: nobody does

	// left, if it is not nil, takes what is left out: the texts of large packages. size is that of
	// the whole message then.
	left *[]leftOut
	size int
}

// read merges the next size bytes, which are fields of m, into m.
func (p *pieces) read(m protoreflect.Message, size int) error {
	end := p.r.Remaining() - size
	fields := m.Descriptor().Fields()
	var rest []byte // the fields that are neither messages nor single strings
	for p.r.Remaining() > end {
		at, n := len(rest), uint64(0)
		var tag uint64
		var err error
		if rest, tag, err = copyVarint(rest, p.r); err != nil {
			return err
		}
		num, typ := protowire.DecodeTag(tag)
		switch {
		case num < protowire.MinValidNumber:
			return errNotPlain
		case typ == protowire.VarintType:
			if rest, _, err = copyVarint(rest, p.r); err != nil {
				return err
			}
		case typ == protowire.Fixed32Type:
			n = 4
		case typ == protowire.Fixed64Type:
			n = 8
		case typ == protowire.BytesType:
			if rest, n, err = copyVarint(rest, p.r); err != nil {
				return err
			}
		default:
			return errNotPlain
		}
		if p.r.Remaining() < end || n > uint64(p.r.Remaining()-end) {
			return errNotPlain
		}
		f := fields.ByNumber(num)
		switch {
		case f == nil || typ != protowire.BytesType:
		case f.Message() != nil:
			rest = rest[:at]
			if f.IsList() {
				err = p.part(m.Mutable(f).List().AppendMutable().Message(), int(n))
			} else {
				err = p.part(m.Mutable(f).Message(), int(n))
			}
			if err != nil {
				return err
			}
			continue
		case f.Kind() == protoreflect.StringKind && !f.IsList():
			rest = rest[:at]
			if u, ok := m.Interface().(*proto.OtaPackageUpdateMsg); ok && p.left != nil && n >= largePackage {
				from := p.size - p.r.Remaining()
				*p.left = append(*p.left, leftOut{of: u, from: from, to: from + int(n)})
				if _, err := p.r.Discard(int(n)); err != nil {
					return err
				}
				continue
			}
			var text strings.Builder
			text.Grow(int(n))
			for left := int(n); left > 0; {
				some := min(left, roomEvery)
				if _, err := io.CopyN(&text, p.r, int64(some)); err != nil {
					return err
				}
				if left -= some; left > 0 && p.room != nil {
					p.room()
				}
			}
			if !utf8.ValidString(text.String()) {
				return errNotPlain
			}
			m.Set(f, protoreflect.ValueOfString(text.String()))
			continue
		}
		at = len(rest)
		rest = append(rest, make([]byte, n)...)
		if _, err = io.ReadFull(p.r, rest[at:]); err != nil {
			return err
		}
	}
	return pb.UnmarshalOptions{Merge: true}.Unmarshal(rest, m.Interface())
}

// part merges the next n bytes into a message inside another one.
func (p *pieces) part(m protoreflect.Message, n int) error {
	if n > smallPart {
		return p.read(m, n)
	}
	if p.small == nil {
		p.small = make([]byte, smallPart)
	}
	if _, err := io.ReadFull(p.r, p.small[:n]); err != nil {
		return err
	}
	return pb.UnmarshalOptions{Merge: true}.Unmarshal(p.small[:n], m.Interface())
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
