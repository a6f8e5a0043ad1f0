package link

import (
	"context"
	"io"

	"google.golang.org/grpc/mem"

	"edgesync/proto"
)

// Every package of the tenant comes to every edge (CONTRACT.md 13.2), in one message that may be as
// large as what was announced. Its text stays in the transport's buffers: who keeps packages reads
// from there what is to be kept.

const (
	// largePackage is the size in bytes from which on the text of a package is not decoded.
	largePackage = 64 << 10
	// fieldPackages of DownlinkMsg, and fieldEntity of OtaPackageUpdateMsg.
	fieldPackages = 22
	fieldEntity   = 18
)

// Packages takes OTA packages out of the messages that they come in.
type Packages interface {
	// TakePackage reads what it wants of a package: u is its message without the entity, whose text
	// is size bytes long. text reads that from its beginning, each time it is called, while
	// TakePackage runs. An error of the reader is the end of the session. The receiver's goroutine
	// calls TakePackage, and nothing else is received until it returns; the loop's goroutine calls
	// what it returns, which is as Apply is for other parts of a message.
	TakePackage(u *proto.OtaPackageUpdateMsg, size int, text func() io.Reader) (apply func() (used bool, err error))
}

// leftOut is the text of a package that was left in the message.
type leftOut struct {
	of       *proto.OtaPackageUpdateMsg
	from, to int // of the message, in bytes
}

// takePackages decodes the response but for the texts of large packages, which it offers to p. The
// packages are not in the message that it returns.
func (w *wire) takePackages(ctx context.Context, p Packages) (in Inbound, err error) {
	in = Inbound{Msg: new(proto.ResponseMsg), Size: w.data.Len()}
	defer func() {
		w.data.Free()
		w.data = nil
	}()
	r := w.data.Reader()
	defer r.Close()
	left := []leftOut{}
	walk := pieces{r: r, left: &left, size: in.Size}
	if err := walk.read(in.Msg.ProtoReflect(), in.Size); err != nil {
		return in, err
	}
	for _, l := range left {
		var open []*mem.Reader
		in.Packages = append(in.Packages, p.TakePackage(l.of, l.to-l.from, func() io.Reader {
			t := w.data.Reader()
			open = append(open, t)
			if _, err := t.Discard(l.from); err != nil {
				return io.MultiReader() // it is as long as it was a moment ago
			}
			return &packageText{ctx: ctx, r: t, left: l.to - l.from}
		}))
		for _, t := range open {
			t.Close()
		}
		if ctx.Err() != nil {
			return in, ctx.Err()
		}
	}
	if d := in.Msg.GetDownlinkMsg(); len(left) > 0 && d != nil {
		var rest []*proto.OtaPackageUpdateMsg
		for _, u := range d.OtaPackageUpdateMsg {
			taken := false
			for _, l := range left {
				taken = taken || l.of == u
			}
			if !taken {
				rest = append(rest, u)
			}
		}
		d.OtaPackageUpdateMsg = rest
	}
	return in, nil
}

// packageText reads the text of a package, until the session ends.
type packageText struct {
	ctx  context.Context
	r    *mem.Reader
	left int // bytes
}

func (t *packageText) Read(b []byte) (n int, err error) {
	if err := t.ctx.Err(); err != nil {
		return 0, err
	}
	if t.left == 0 {
		return 0, io.EOF
	}
	n, err = t.r.Read(b[:min(len(b), t.left)])
	t.left -= n
	return n, err
}
