package device

import (
	"errors"
	"fmt"
	"io"
	"os"

	"edgesync/proto"
	"edgesync/sync/device/payload"
)

// maxChunk is the most of a package in one MQTT message, in bytes: what getSessionLimits announces (device API 4.1).
const maxChunk = 64 << 10

// errLargeChunk is wrapped by the error for a chunk of more than maxChunk bytes.
var errLargeChunk = errors.New("larger than one MQTT message takes")

// openChunk opens a package and finds the chunk of that size; a size that is not positive means the whole file, whatever the chunk. Behind the end
// a chunk has no bytes.
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

// readChunk reads a chunk for one message; errLargeChunk is wrapped if the chunk is larger than that.
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

// isTold tells whether a device may write text so: the server makes a number of the version "2.10" on its way down to the edge, so that its devices hear
// of 2.1 (wire contract 10.13).
func isTold(text, written string) bool {
	var p payload.Parser
	var kv proto.KV
	return text == written || p.Text(&kv, []byte(text)) == nil && kv.Type != proto.KeyValueType_STRING_V && string(proto.AppendJSONValue(nil, &kv)) == written
}
