package device

import (
	"errors"
	"fmt"
	"io"
	"os"

	"edgesync/proto"
	"edgesync/sync/device/payload"
)

// maxChunk is the most of a package in one MQTT message, in bytes: what getSessionLimits announces
// (API.md 4.1).
const maxChunk = 64 << 10

// errLargeChunk is wrapped by the error for a chunk of more than maxChunk bytes.
var errLargeChunk = errors.New("larger than one MQTT message takes")

// openChunk opens a package and returns where the chunk of that size begins and how many bytes it
// has. A size that is not positive asks for the whole file, whatever the chunk. A chunk behind the
// end has no bytes.
func openChunk(path string, size, chunk int64) (f *os.File, from, n int64, err error) {
	if f, err = os.Open(path); err != nil {
		return nil, 0, 0, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, 0, err
	}
	if size <= 0 {
		return f, 0, st.Size(), nil
	}
	from = min(size*max(chunk, 0), st.Size())
	return f, from, min(size, st.Size()-from), nil
}

// readChunk reads a chunk for one MQTT message. The error for a larger chunk wraps errLargeChunk.
func readChunk(path string, size, chunk int64) ([]byte, error) {
	f, from, n, err := openChunk(path, size, chunk)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if n > maxChunk {
		return nil, fmt.Errorf("a chunk of %d bytes is %w", n, errLargeChunk)
	}
	b := make([]byte, n)
	_, err = io.ReadFull(io.NewSectionReader(f, from, n), b)
	return b, err
}

// means reports whether a device that asks for the title or version asked means text. The server
// turns the version "2.10" into a number on its way down to the edge, so the devices of the edge
// are sent 2.1 (CONTRACT.md 10.13).
func means(asked, text string) bool {
	if asked == text {
		return true
	}
	var p payload.Parser
	var kv proto.KV
	return p.Text(&kv, []byte(text)) == nil && kv.Type != proto.KeyValueType_STRING_V &&
		string(proto.AppendJSONValue(nil, &kv)) == asked
}
