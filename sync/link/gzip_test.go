package link

import (
	"bytes"
	"compress/gzip"
	"io"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/grpc/encoding"
)

// compressed returns a message, compressed.
func compressed(t *testing.T, c encoding.Compressor, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := c.Compress(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Any gzip reader inflates a compressed message, also when two messages are compressed at a time.
func TestCompressor(t *testing.T) {
	c := new(compressor)
	var first bytes.Buffer
	open, err := c.Compress(&first)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(open, "one ")
	for _, text := range []string{"", "two", strings.Repeat("three ", 100_000)} {
		r, err := gzip.NewReader(bytes.NewReader(compressed(t, c, text)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != text {
			t.Errorf("%.20q came back as %.20q, %v", text, got, err)
		}
	}
	io.WriteString(open, "at a time")
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := c.Decompress(&first)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "one at a time" {
		t.Errorf("the first came back as %q, %v", got, err)
	}
	if _, err := c.Decompress(strings.NewReader("no gzip at all")); err == nil {
		t.Error("what is no gzip was inflated")
	}
}

// A compressor survives garbage collections, so that a stream makes one and not a new one after
// every second collection; a released compressor is collected.
func TestCompressorIsKept(t *testing.T) {
	c := new(compressor)
	allocated := func() uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		compressed(t, c, "a message")
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	made := allocated()
	runtime.GC()
	runtime.GC()
	kept := allocated()
	c.release()
	again := allocated()
	if made < 500_000 || kept > 100_000 || again < 500_000 {
		t.Errorf("allocated %d bytes at first, %d after two collections, %d after the release", made, kept, again)
	}
}

// The stream is compressed with the compressor of this package, not with that of gRPC.
func TestCompressorIsRegistered(t *testing.T) {
	if got := encoding.GetCompressor(gzipName); got != encoding.Compressor(uplinkGzip) {
		t.Errorf("%q is a %T", gzipName, got)
	}
}
