package registry_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"edgesync/proto"
	"edgesync/sync/registry"
	"edgesync/wal/disk"
)

// packageText is a package on its way: its message without the entity, and how often and how far
// the text of the entity was read.
type packageText struct {
	u     *proto.OtaPackageUpdateMsg
	text  string
	opens int
	read  int64
	fails error // at the end of the text
}

func (p *packageText) take(r *registry.Registry) func() (bool, error) {
	return r.TakePackage(p.u, len(p.text), func() io.Reader {
		p.opens++
		rest := io.Reader(strings.NewReader(p.text))
		if p.fails != nil && p.opens > 1 {
			rest = io.MultiReader(io.LimitReader(rest, int64(len(p.text))/2), iotest.ErrReader(p.fails))
		}
		return io.TeeReader(rest, countWriter{&p.read})
	})
}

type countWriter struct{ n *int64 }

func (w countWriter) Write(b []byte) (int, error) { *w.n += int64(len(b)); return len(b), nil }

// packageOf is a package with a binary, as the server writes it.
func packageOf(n int, version string, data []byte, change ...string) *packageText {
	msb, lsb := proto.Halves(id(n))
	sum := sha256.Sum256(data)
	text := fmt.Sprintf(`{"title":"fw","version":%q,"checksumAlgorithm":"SHA256","checksum":%q,"dataSize":%d,"data":"%s"}`,
		version, hex.EncodeToString(sum[:]), len(data), base64.StdEncoding.EncodeToString(data))
	return &packageText{
		u: &proto.OtaPackageUpdateMsg{IdMSB: msb, IdLSB: lsb}, text: strings.NewReplacer(change...).Replace(text),
	}
}

// A package is taken as it comes: what is kept is written beside its place, checked, and put there
// by the function that TakePackage returns; what is not kept is not decoded, and where
// registry.keep leaves packages out it is not even read.
func TestTakePackage(t *testing.T) {
	dir := t.TempDir()
	data := make([]byte, 300<<10)
	rand.NewChaCha8([32]byte{2}).Read(data)
	file := filepath.Join(dir, "registry", "ota", proto.FormatUUID(id(1)))
	there := func(path string) bool { _, err := os.Stat(path); return err == nil }

	r := openKeeping(t, dir)
	p := packageOf(1, "1", data)
	if used, err := p.take(r)(); used || err != nil || p.opens != 0 {
		t.Errorf("it is kept: %t, %v, and opened %d times", used, err, p.opens)
	}
	if c := packagesCount(r); c.Received != 1 || c.Kept != 0 || c.Malformed != 0 {
		t.Errorf("%+v", c)
	}
	r.Close()

	r = openKeeping(t, dir, "ota")
	finish := p.take(r)
	if there(file) || !there(file+disk.Temp) || p.opens != 2 {
		t.Errorf("it is in its place: %t, beside it: %t, opened %d times", there(file), there(file+disk.Temp), p.opens)
	}
	if _, _, ok := r.OTA(id(1)); ok {
		t.Error("it is known before its place in the order of messages")
	}
	if used, err := finish(); !used || err != nil {
		t.Fatal(used, err)
	}
	info, path, ok := r.OTA(id(1))
	got, err := os.ReadFile(path)
	if !ok || err != nil || string(got) != string(data) || !strings.Contains(string(info), `"data":null`) || there(file+disk.Temp) {
		t.Errorf("%t, %v: %d bytes, %s", ok, err, len(got), info)
	}
	again := packageOf(1, "1", data)
	if used, err := again.take(r)(); !used || err != nil || again.opens != 1 {
		t.Errorf("the same once more: %t, %v, opened %d times", used, err, again.opens)
	}
	if c := packagesCount(r); c.Received != 2 || c.Kept != 2 {
		t.Errorf("%+v", c)
	}

	ended := errors.New("the session has ended")
	for name, c := range map[string]struct {
		p       *packageText
		fails   error
		decoded bool
	}{
		"a wrong checksum":       {packageOf(2, "1", data, `"checksum":"`, `"checksum":"00`), nil, true},
		"a wrong size":           {packageOf(2, "1", data, `"dataSize":30`, `"dataSize":20`), nil, true},
		"more than there is":     {packageOf(2, "1", data, `"dataSize":30`, `"dataSize":90`), nil, false},
		"broken base64":          {packageOf(2, "1", data, `"data":"`, `"data":"*`), nil, true},
		"base64 that is cut":     {packageOf(2, "1", data, `="}`, `"}`, `"}`, `A"}`), nil, true},
		"no object":              {packageOf(2, "1", data, `{"title"`, `["title"`), nil, false},
		"no UTF-8":               {packageOf(2, "\\", data, `\\`, "\xff"), nil, false},
		"no end":                 {packageOf(2, "1", data, `"}`, ""), nil, false},
		"much beside the data":   {packageOf(2, strings.Repeat("v", 300<<10), data), nil, false},
		"a session that ends":    {packageOf(2, "1", data), ended, true},
		"larger than all of it":  {packageOf(2, "1", make([]byte, 33<<20)), nil, false},
		"an end in the metadata": {&packageText{u: packageOf(2, "1", nil).u, text: `{"title":"`}, nil, false},
	} {
		c.p.fails = c.fails
		finish := c.p.take(r)
		used, err := finish()
		if used || !errors.Is(err, c.fails) || c.fails == nil && err != nil {
			t.Errorf("%s: kept %t, %v", name, used, err)
		}
		if (c.p.opens == 2) != c.decoded {
			t.Errorf("%s: opened %d times", name, c.p.opens)
		}
		list, _ := os.ReadDir(filepath.Dir(file))
		if _, _, ok := r.OTA(id(2)); ok || len(list) != 1 {
			t.Errorf("%s: here %t, %d files", name, ok, len(list))
		}
	}
	if c := packagesCount(r); c.Received != 14 || c.Kept != 2 || c.Malformed != 11 {
		t.Errorf("%+v", c)
	}
	packageOf(1, "2", data).take(r) // and the session ends
	gone := &packageText{u: &proto.OtaPackageUpdateMsg{IdMSB: p.u.IdMSB, IdLSB: p.u.IdLSB, MsgType: deleted}, text: p.text}
	if used, err := gone.take(r)(); !used || err != nil || gone.opens != 0 || there(file) || there(file+disk.Temp) {
		t.Errorf("deleted: %t, %v, opened %d times, there %t", used, err, gone.opens, there(file))
	}
	r.Close()
}

// What was never put in its place, because the session ended, is gone after a restart; a new copy
// takes its place.
func TestPackageThatWasNotPutInItsPlace(t *testing.T) {
	dir := t.TempDir()
	r := openKeeping(t, dir, "ota")
	packageOf(1, "1", make([]byte, 1000)).take(r)
	packageOf(1, "2", make([]byte, 2000)).take(r)
	r.Close()
	r = openKeeping(t, dir, "ota")
	if list, _ := os.ReadDir(filepath.Join(dir, "registry", "ota")); len(list) != 0 {
		t.Errorf("%d files", len(list))
	}
	packageOf(1, "1", make([]byte, 1000)).take(r)
	if used, err := packageOf(1, "2", make([]byte, 2000)).take(r)(); !used || err != nil {
		t.Fatal(used, err)
	}
	if _, path, ok := r.OTA(id(1)); !ok || size(t, path) != 2000 {
		t.Errorf("%t, %d bytes", ok, size(t, path))
	}
	r.Close()
}

// packagesCount is what came of packages.
func packagesCount(r *registry.Registry) (c registry.Count) {
	for _, c := range r.Counts() {
		if c.Part == "otaPackageUpdateMsg" {
			return c
		}
	}
	return c
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

// Where a message may bring a package that is larger than the room for packages, there is room for
// one of these.
func TestRoomForTheLargestPackage(t *testing.T) {
	r, err := registry.Open(registry.Options{Dir: filepath.Join(t.TempDir(), "registry"), Keep: []string{"ota"}, MaxMessage: 48 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	kept := func(n int, data []byte) bool {
		used, err := packageOf(n, fmt.Sprint(len(data)), data).take(r)()
		if err != nil {
			t.Error(err)
		}
		return used
	}
	if kept(1, make([]byte, 37<<20)) {
		t.Error("37 MiB were kept, with 36 MiB of binary in the largest message")
	}
	// The sizes of the files count, so a small one is made longer.
	if _, path, ok := r.OTA(id(2)); ok || !kept(2, make([]byte, 1000)) {
		t.Fatal(path)
	}
	_, path, _ := r.OTA(id(2))
	for _, c := range []struct {
		mib  int64
		kept bool
	}{{36, false}, {35, true}} {
		if err := os.Truncate(path, c.mib<<20); err != nil {
			t.Fatal(err)
		}
		if got := kept(3, make([]byte, 900<<10)); got != c.kept {
			t.Errorf("900 KiB beside %d MiB: kept %t", c.mib, got)
		}
	}
}
