package link

import (
	"compress/gzip"
	"io"
	"sync/atomic"

	"google.golang.org/grpc/encoding"
)

// gzipName is how the stream names its compression (CONTRACT.md 2.1).
const gzipName = "gzip"

// uplinkGzip compresses what goes up. A compressor is 0.8 MB, more than all else that a session
// needs. gRPC's own implementation keeps compressors in a pool that each collection empties and
// each processor fills anew: a sync of thousands of messages made one for every two collections and
// held two or three. A stream has one sender, so one is enough.
var uplinkGzip = new(compressor)

func init() { encoding.RegisterCompressor(uplinkGzip) }

// ReleaseMemory lets go of the spare compressor, 0.8 MB. The next message that is sent makes one
// again. Any goroutine.
func ReleaseMemory() { uplinkGzip.release() }

// compressor is gRPC's "gzip". All methods may be called from any goroutine: one that finds no
// spare writer makes one.
type compressor struct {
	spare atomic.Pointer[gzip.Writer] // between two messages
}

// Name is the word in the header grpc-encoding.
func (*compressor) Name() string { return gzipName }

// Compress returns a writer that compresses one message into w.
func (c *compressor) Compress(w io.Writer) (io.WriteCloser, error) {
	z := c.spare.Swap(nil)
	if z == nil {
		z = gzip.NewWriter(w)
	} else {
		z.Reset(w)
	}
	return &compressing{z, c}, nil
}

// Decompress is for servers that compress; ThingsBoard's does not (CONTRACT.md 2.1).
func (*compressor) Decompress(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }

// release lets go of the spare writer. The next message makes one again.
func (c *compressor) release() { c.spare.Store(nil) }

// compressing is one message that is being compressed.
type compressing struct {
	*gzip.Writer
	of *compressor
}

// Close ends the message and keeps the writer for the next.
func (m *compressing) Close() error {
	err := m.Writer.Close()
	m.of.spare.Store(m.Writer)
	return err
}
