package registry_test

import (
	"encoding/base64"
	"fmt"
	"path/filepath"
	"testing"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// The binary of an OTA package is accounted for as what else the registry writes is.
func TestOTAIsMetered(t *testing.T) {
	dir := t.TempDir()
	var bytes int64
	r, err := registry.Open(registry.Options{
		Dir: filepath.Join(dir, "registry"), CorruptDir: filepath.Join(dir, "corrupt"), Keep: []string{"ota"},
		Meter: func(_, n int64, _ int) { bytes += n },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const size = 1 << 20
	before := bytes
	msb, lsb := proto.Halves(id(1))
	if !apply(t, r, &proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{{
		IdMSB: msb, IdLSB: lsb,
		Entity: fmt.Sprintf(`{"title":"fw","data":%q,"dataSize":%d}`, base64.StdEncoding.EncodeToString(make([]byte, size)), size),
	}}}) {
		t.Fatal("not kept")
	}
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := bytes - before; got <= size || got > size+1000 {
		t.Errorf("%d bytes accounted for, want %d and a small record", got, size)
	}
}
