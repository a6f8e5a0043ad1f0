package registry_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgesync/proto"
)

// OTA packages: the binary is a file of its own, complete and checked, and goes with its record.
func TestOTA(t *testing.T) {
	dir := t.TempDir()
	r := openKeeping(t, dir, "ota")
	data := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{1}).Read(data)
	sum := sha256.Sum256(data)
	pack := func(n int, data []byte, checksum string) *proto.DownlinkMsg {
		msb, lsb := proto.Halves(id(n))
		return &proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: fmt.Sprintf(
			`{"title":"fw \"data\": \\","x":{"data":"inner"},"data":"%s","version":"1",`+
				`"checksumAlgorithm":"SHA256","checksum":%q,"dataSize":%d}`,
			base64.StdEncoding.EncodeToString(data), checksum, len(data))}}}
	}
	good := hex.EncodeToString(sum[:])
	for range 2 {
		if !apply(t, r, pack(1, data, good)) {
			t.Fatal("not kept")
		}
		info, path, ok := r.OTA(id(1))
		file, err := os.ReadFile(path)
		if !ok || err != nil || string(file) != string(data) {
			t.Fatalf("%v %v: %d bytes", ok, err, len(file))
		}
		want := fmt.Sprintf(`{"title":"fw \"data\": \\","x":{"data":"inner"},"data":null,"version":"1",`+
			`"checksumAlgorithm":"SHA256","checksum":%q,"dataSize":%d}`, good, len(data))
		if string(info) != want {
			t.Errorf("info %s", info)
		}
		r.Close()
		r = openKeeping(t, dir, "ota")
	}
	if apply(t, r, pack(2, data, "00"+good[2:])) {
		t.Error("a wrong checksum was taken")
	}
	broken := pack(3, data[:1000], good)
	broken.OtaPackageUpdateMsg[0].Entity = strings.Replace(broken.OtaPackageUpdateMsg[0].Entity, `"data":"`, `"data":"*`, 2)
	if apply(t, r, broken) {
		t.Error("broken base64 was taken")
	}
	// A package by URL has no binary.
	msb, lsb := proto.Halves(id(4))
	apply(t, r, &proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{{
		IdMSB: msb, IdLSB: lsb,
		Entity: `{"title":"u","url":"http://x","data":null}`,
	}}})
	if _, path, ok := r.OTA(id(4)); !ok || path != "" {
		t.Errorf("%v %q", ok, path)
	}
	files := func() int {
		list, _ := os.ReadDir(filepath.Join(dir, "registry", "ota"))
		return len(list)
	}
	if files() != 1 || r.Kinds() != "ota 2" {
		t.Errorf("%d files, %s", files(), r.Kinds())
	}
	// Beyond the bound nothing is taken. The sizes of the files count, so small ones are made
	// longer: ten of 3 MiB leave less room than another needs.
	small := data[:1000]
	smallSum := sha256.Sum256(small)
	for n := 10; n < 22; n++ {
		if n >= 19 {
			if apply(t, r, pack(n, data, good)) {
				t.Errorf("package %d was kept", n)
			}
			continue
		}
		if !apply(t, r, pack(n, small, hex.EncodeToString(smallSum[:]))) {
			t.Errorf("package %d was not kept", n)
		}
		if _, path, ok := r.OTA(id(n)); !ok || os.Truncate(path, int64(len(data))) != nil {
			t.Fatalf("package %d has no file", n)
		}
	}
	if n := files(); n != 10 {
		t.Errorf("%d files of 3 MiB with a bound of 32 MiB", n)
	}
	// A crash between file and record leaves a file that nobody owns.
	os.WriteFile(filepath.Join(dir, "registry", "ota", proto.FormatUUID(id(77))), []byte("x"), 0o600)
	os.WriteFile(filepath.Join(dir, "registry", "ota", proto.FormatUUID(id(78))+".tmp"), []byte("x"), 0o600)
	r.Close()
	r = openKeeping(t, dir, "ota")
	if n := files(); n != 10 {
		t.Errorf("%d files after a restart", n)
	}
	msb, lsb = proto.Halves(id(1))
	apply(t, r, &proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{{IdMSB: msb, IdLSB: lsb, MsgType: deleted}}})
	if n := files(); n != 9 {
		t.Errorf("%d files after a deletion", n)
	}
	r.Close()
	r = openKeeping(t, dir) // no longer kept
	if n := files(); n != 0 || r.Kinds() != "" {
		t.Errorf("%d files, %s", n, r.Kinds())
	}
}
