package link

import (
	"encoding/binary"
	"reflect"
	"sync"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"edgesync/proto"
)

// A message takes more memory decoded than on the wire: an empty message inside another one is two
// bytes on the wire and more than a hundred decoded. So the receiver reckons what a message will
// cost before it decodes it.

const (
	// MaxCost bounds what one message may take decoded, in bytes, but for packages, which are not
	// decoded. 8 MiB of texts fit; 8 MiB of numbers in messages of their own do not.
	MaxCost = 12 << 20
	// smallMessage is the size in bytes up to which a message is not looked into: its cost counts
	// as smallBase and smallFactor times its size, which no message exceeds.
	smallMessage = 256
	smallBase    = 4 << 10
	smallFactor  = 256
	// partCost is what a part of a message takes beside its own: a pointer in a list that has
	// grown, the header of a string, what the allocator adds.
	partCost = 32
)

// plan says what messages of one type cost.
type plan struct {
	size  int                        // of the struct, in bytes
	parts map[protowire.Number]*plan // fields that are messages
}

// responsePlan is that of ResponseMsg.
var responsePlan = sync.OnceValue(func() *plan {
	return planOf((&proto.ResponseMsg{}).ProtoReflect().Descriptor(), map[protoreflect.FullName]*plan{})
})

func planOf(d protoreflect.MessageDescriptor, known map[protoreflect.FullName]*plan) *plan {
	if p := known[d.FullName()]; p != nil {
		return p
	}
	p := &plan{parts: map[protowire.Number]*plan{}}
	known[d.FullName()] = p
	if t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName()); err == nil {
		p.size = int(reflect.TypeOf(t.Zero().Interface()).Elem().Size())
	}
	for i := range d.Fields().Len() {
		if f := d.Fields().Get(i); f.Message() != nil {
			p.parts[f.Number()] = planOf(f.Message(), known)
		}
	}
	return p
}

// costOf reckons what a message takes decoded, in bytes. It stops beyond MaxCost. What is no
// message costs what was read of it: the decoder finds the same fault. If leave is true the texts
// of large packages are left out, and left says that there are some.
func costOf(data mem.BufferSlice, leave bool) (bytes int, left bool) {
	size := data.Len()
	if size <= smallMessage {
		return smallBase + smallFactor*size, false
	}
	r := data.Reader()
	defer r.Close()
	c := costing{r: r}
	if leave {
		c.packages = responsePlan().parts[fieldDownlink].parts[fieldPackages]
	}
	c.message(responsePlan(), size, 0)
	return c.cost, c.left
}

// costing is one walk over a message.
type costing struct {
	r        *mem.Reader
	cost     int
	packages *plan // whose large texts are left out; nil: nothing is
	left     bool  // something was
}

// message walks over the next size bytes. False: they are no message, or cost too much.
func (c *costing) message(p *plan, size, depth int) bool {
	c.cost += p.size + partCost
	end := c.r.Remaining() - size
	for c.r.Remaining() > end {
		if c.cost > MaxCost || depth > 100 {
			return false
		}
		tag, ok := c.varint()
		if !ok {
			return false
		}
		num, typ := protowire.DecodeTag(tag)
		n := uint64(0)
		switch typ {
		case protowire.VarintType:
			_, ok = c.varint()
		case protowire.Fixed32Type:
			n = 4
		case protowire.Fixed64Type:
			n = 8
		case protowire.BytesType:
			n, ok = c.varint()
		default:
			ok = false // groups: no message of the protocol has them
		}
		if !ok || c.r.Remaining() < end || n > uint64(c.r.Remaining()-end) {
			return false
		}
		if part := p.parts[num]; part != nil && typ == protowire.BytesType {
			if !c.message(part, int(n), depth+1) {
				return false
			}
			continue
		}
		c.cost += partCost
		if p == c.packages && num == fieldEntity && n >= largePackage {
			c.left = true
		} else {
			c.cost += int(n)
		}
		if _, err := c.r.Discard(int(n)); err != nil {
			return false
		}
	}
	return true
}

func (c *costing) varint() (v uint64, ok bool) {
	for shift := 0; shift < 7*binary.MaxVarintLen64; shift += 7 {
		b, err := c.r.ReadByte()
		if err != nil {
			return 0, false
		}
		if v |= uint64(b&0x7f) << shift; b < 0x80 {
			return v, true
		}
	}
	return 0, false
}

// idOf finds the id of the downlink in a message that is not decoded; 0 if there is none.
func idOf(data mem.BufferSlice) (id int32) {
	r := data.Reader()
	defer r.Close()
	c := costing{r: r}
	inside, end := false, 0 // in the DownlinkMsg; where it ends, in bytes that remain
	for r.Remaining() > end {
		tag, ok := c.varint()
		if !ok {
			return id
		}
		num, typ := protowire.DecodeTag(tag)
		n := uint64(0)
		switch typ {
		case protowire.VarintType:
			var v uint64
			if v, ok = c.varint(); inside && num == fieldDownlinkID {
				id = int32(v)
			}
		case protowire.Fixed32Type:
			n = 4
		case protowire.Fixed64Type:
			n = 8
		case protowire.BytesType:
			n, ok = c.varint()
		default:
			return id
		}
		if !ok || n > uint64(r.Remaining()) {
			return id
		}
		if !inside && num == fieldDownlink && typ == protowire.BytesType {
			inside, end = true, r.Remaining()-int(n)
			continue
		}
		if _, err := r.Discard(int(n)); err != nil {
			return id
		}
	}
	return id
}
