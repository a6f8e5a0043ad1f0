package device

import (
	"os"

	"edgesync/proto"
	"edgesync/sync/device/payload"
)

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

// means reports whether a device that asks for the title or version asked means text. A device may
// have been told of the package before it was here: then the server has turned the version "2.10"
// into 2.1 on its way down to the edge (CONTRACT.md 10.13).
func means(asked, text string) bool {
	if asked == text {
		return true
	}
	var p payload.Parser
	var kv proto.KV
	return p.Text(&kv, []byte(text)) == nil && kv.Type != proto.KeyValueType_STRING_V &&
		string(proto.AppendJSONValue(nil, &kv)) == asked
}
