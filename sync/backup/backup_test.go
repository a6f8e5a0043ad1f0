package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func now(fn func() error) error { return fn() }

var when = time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)

func put(t testing.TB, dir string, files ...string) {
	t.Helper()
	for _, f := range files {
		name, text, _ := strings.Cut(f, "=")
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// files lists the regular files below a directory.
func files(t testing.TB, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		list = append(list, name+"="+string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func sample(t testing.TB) string {
	dir := t.TempDir()
	put(
		t, dir, "queue/00000000000000000001=one", "queue/00000000000000000512=two", "queue/committed=c",
		"queue/reserve=zeros", "queue/LOCK=",
		"queue/x.TEMP=t", "dead/letters=d", "former/store=f", "former/events-3/00000000000000000007=e", "registry/store=r",
		"registry/ota/6f1c=o", "clock=k", "link=l", "tally=t", "max_bytes=m", "lock=1", "corrupt/x=x", "format=1\n", "photo.jpg=p",
	)
	return dir
}

func pack(t testing.TB, dir string, queue bool) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, dir, queue, when, now); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What was packed comes back, and nothing else was packed.
func TestThereAndBack(t *testing.T) {
	dir := sample(t)
	for _, queue := range []bool{false, true} {
		into := t.TempDir()
		about, err := Read(bytes.NewReader(pack(t, dir, queue)), into, 1<<20)
		if err != nil || about != (About{when, queue}) {
			t.Fatalf("%v, %+v", err, about)
		}
		want := []string{
			"clock=k", "format=1\n", "link=l", "registry/ota/6f1c=o", "registry/store=r",
			"restored=2026-11-30T08:00:00Z without queue\n",
		}
		if queue {
			want = []string{
				"clock=k", "dead/letters=d", "format=1\n", "former/events-3/00000000000000000007=e", "former/store=f",
				"link=l", "max_bytes=m",
				"queue/00000000000000000001=one", "queue/00000000000000000512=two", "queue/committed=c",
				"registry/ota/6f1c=o", "registry/store=r",
				"restored=2026-11-30T08:00:00Z with queue\n", "tally=t",
			}
		}
		if got := files(t, into); !slices.Equal(got, want) {
			t.Errorf("queue %v: got %q\nwant %q", queue, got, want)
		}
	}
}

// Everybody's tar reads it.
func TestIsATar(t *testing.T) {
	z, err := gzip.NewReader(bytes.NewReader(pack(t, sample(t), true)))
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(z)
	var got []string
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg || h.Mode != 0o600 || !h.ModTime.Equal(when) {
			t.Errorf("%+v", h)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %d", h.Name, len(data)))
	}
	if len(got) != 13 || got[0] != "edgesync-backup 63" || got[1] != "registry/ota/6f1c 1" {
		t.Errorf("%q", got)
	}
}

// What is written after the hold is not in the archive, be it appended, written in place, or put in
// the place of another file; nor is what the hold in vain has seen.
func TestIsOfOneMoment(t *testing.T) {
	dir := sample(t)
	tries := 0
	hold := func(fn func() error) error {
		if tries++; tries == 1 {
			if err := fn(); err != nil {
				return err
			}
			put(t, dir, "registry/store=R")
		}
		if err := fn(); err != nil {
			return err
		}
		f, err := os.OpenFile(filepath.Join(dir, "registry/store"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString("later")
		put(t, dir, "queue/00000000000000000512=later", "queue/committed=later")
		return errors.Join(err, f.Close(), os.Remove(filepath.Join(dir, "queue/00000000000000000001")),
			os.Rename(filepath.Join(dir, "photo.jpg"), filepath.Join(dir, "clock")))
	}
	var b bytes.Buffer
	if err := Write(&b, dir, true, when, hold); err != nil {
		t.Fatal(err)
	}
	into := t.TempDir()
	if _, err := Read(&b, into, 1<<20); err != nil {
		t.Fatal(err)
	}
	got := files(t, into)
	for _, want := range []string{
		"registry/store=R", "queue/00000000000000000001=one",
		"queue/00000000000000000512=two", "queue/committed=c", "clock=k",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
}

// archive packs any entries as an archive that Read may get.
func archive(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	text := "edgesync backup 1\nformat 1\ntime 2026-11-30T08:00:00Z\nqueue yes\n"
	for i, h := range append([]tar.Header{{Name: manifest, Size: int64(len(text))}}, entries...) {
		h.Mode = 0o600
		data := strings.Repeat("x", int(h.Size))
		if i == 0 {
			data = text
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == 0 || h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Hostile archives write nothing outside, and no more than they may.
func TestHostileArchives(t *testing.T) {
	defer func(n int) { maxFiles = n }(maxFiles)
	maxFiles = 50
	many := make([]tar.Header, maxFiles+1)
	for i := range many {
		many[i].Name = fmt.Sprintf("queue/%d", i)
	}
	whole := pack(t, sample(t), true)
	newer := func(old, text string) []byte {
		z, err := gzip.NewReader(bytes.NewReader(whole))
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write(bytes.Replace(data, []byte(old), []byte(text), 1))
		w.Close()
		return b.Bytes()
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":          {nil, "no archive"},
		"text":             {[]byte("hello"), "no archive"},
		"cut":              {whole[:len(whole)/2], "no archive"},
		"cut at the end":   {whole[:len(whole)-1], "no archive"},
		"a sum":            {append(slices.Clone(whole[:len(whole)-8]), 0, 0, 0, 0, 0, 0, 0, 0), "no archive"},
		"a newer format":   {newer("format 1", "format 2"), "made by a newer edgesync (format 2; this one knows 1)"},
		"another manifest": {newer("edgesync backup 1", "edgesync backup 9"), "no archive"},
		"no time":          {newer("time 2026", "time 20x6"), "no archive"},
		"no queue":         {newer("queue yes", "queue may"), "no archive"},
		"absolute":         {archive(t, tar.Header{Name: "/etc/passwd"}), "none of edgesync's"},
		"up":               {archive(t, tar.Header{Name: "queue/../../x"}), "none of edgesync's"},
		"a dot":            {archive(t, tar.Header{Name: "queue/.x"}), "none of edgesync's"},
		"nothing between":  {archive(t, tar.Header{Name: "queue//x"}), "none of edgesync's"},
		"deep":             {archive(t, tar.Header{Name: "queue/a/b/c/d"}), "none of edgesync's"},
		"the lock":         {archive(t, tar.Header{Name: "lock"}), "none of edgesync's"},
		"the mark":         {archive(t, tar.Header{Name: "cleared"}), "none of edgesync's"},
		"a control":        {archive(t, tar.Header{Name: "queue/a\x1b[31m"}), `"queue/a\x1b[31m"`},
		"a link":           {archive(t, tar.Header{Name: "queue/x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), "no archive"},
		"a hard link":      {archive(t, tar.Header{Name: "queue/x", Typeflag: tar.TypeLink, Linkname: "clock"}), "no archive"},
		"a directory":      {archive(t, tar.Header{Name: "queue/x/", Typeflag: tar.TypeDir}), "no archive"},
		"a device":         {archive(t, tar.Header{Name: "queue/x", Typeflag: tar.TypeChar}), "no archive"},
		"a long name":      {archive(t, tar.Header{Name: "queue/" + strings.Repeat("x", 200)}), "no archive"},
		"twice":            {archive(t, tar.Header{Name: "queue/x"}, tar.Header{Name: "queue/x"}), "exists"},
		"below a file":     {archive(t, tar.Header{Name: "queue/x"}, tar.Header{Name: "queue/x/y"}), "not a directory"},
		"larger than may":  {archive(t, tar.Header{Name: "queue/x", Size: 1<<20 + 1}), "larger than the room"},
		"larger in the sum": {archive(t, tar.Header{Name: "queue/x", Size: 1 << 19}, tar.Header{
			Name: "queue/y",
			Size: 1<<19 + 1,
		}), "larger than the room"},
		"many":          {archive(t, many...), "no archive"},
		"a bomb behind": {append(slices.Clone(whole), bomb(t)...), "no archive"},
	} {
		dir := t.TempDir()
		into := filepath.Join(dir, "a", "b")
		if err := os.MkdirAll(into, 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := Read(bytes.NewReader(c.data), into, 1<<20)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		for _, f := range files(t, dir) {
			if !strings.HasPrefix(f, "a/b/") {
				t.Errorf("%s: wrote %q", name, f)
			}
		}
	}
}

// bomb is gzip of 4 MiB of zeros.
func bomb(t *testing.T) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(make([]byte, 4<<20)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return b.Bytes()
}

func FuzzRead(f *testing.F) {
	dir := sample(f)
	for _, queue := range []bool{true, false} {
		z, err := gzip.NewReader(bytes.NewReader(pack(f, dir, queue)))
		if err != nil {
			f.Fatal(err)
		}
		data, err := io.ReadAll(z)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var b bytes.Buffer
		w, _ := gzip.NewWriterLevel(&b, gzip.NoCompression)
		w.Write(data)
		w.Close()
		dir := t.TempDir()
		into := filepath.Join(dir, "into")
		if err := os.Mkdir(into, 0o700); err != nil {
			t.Fatal(err)
		}
		const limit = 64 << 10
		if _, err := Read(&b, into, limit); err != nil {
			return
		}
		total := 0
		for _, f := range files(t, dir) {
			name, text, _ := strings.Cut(f, "=")
			if !strings.HasPrefix(name, "into/") {
				t.Fatalf("wrote %q", name)
			}
			total += len(text)
		}
		if total > limit+100 {
			t.Fatalf("%d bytes", total)
		}
	})
}
