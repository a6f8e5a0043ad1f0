package disk

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree lists what is in a directory: names and contents.
func tree(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if e.IsDir() {
			list = append(list, name+"/")
			return nil
		}
		data, err := os.ReadFile(path)
		if name != "lock" {
			list = append(list, name+"="+string(data))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func put(t *testing.T, dir string, files ...string) {
	t.Helper()
	for _, f := range files {
		name, text, _ := strings.Cut(f, "=")
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A directory of a newer release is refused in a sentence, and nothing in it changes.
func TestNewerFormat(t *testing.T) {
	for text, newer := range map[string]bool{
		"2": true, "2\n": true, "17\nwhat a later release adds\n": true,
		"": false, "1\n": false, "0\n": false, "-1": false, "x": false, "\x00\x00": false, "1\nmore": false,
	} {
		dir := t.TempDir()
		put(t, dir, "format="+text, "queue/1=x")
		before := tree(t, dir)
		d, err := OpenDataDir(dir)
		if !newer {
			if err != nil {
				t.Errorf("%q: %v", text, err)
				continue
			}
			d.Close()
			if n, said := formatOf(dir); n != 1 || !said {
				t.Errorf("%q: version %d, %v", text, n, said)
			}
			continue
		}
		if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "install that version again") || errors.Is(err, ErrLocked) {
			t.Errorf("%q: %v", text, err)
		}
		if after := tree(t, dir); !slices.Equal(before, after) {
			t.Errorf("%q: %q became %q", text, before, after)
		}
		if _, err := os.Lstat(filepath.Join(dir, "lock")); err == nil {
			t.Errorf("%q: a lock was made", text)
		}
	}
}

// Wherever an exchange is cut off, opening the directory gives the state of before or the new one,
// as a whole.
func TestExchangeCutOff(t *testing.T) {
	old := []string{"queue/1=old", "queue/2=old", "dead/letters=old", "clock=old", "corrupt/x=old", "format=1\n", "photo.jpg=mine"}
	fresh := []string{"queue/3=new", "registry/store=new", "clock=new", "format=1\n"}
	before := []string{
		"clock=old", "corrupt/", "corrupt/x=old", "dead/", "dead/letters=old", "format=1\n", "photo.jpg=mine",
		"queue/", "queue/1=old", "queue/2=old",
	}
	after := []string{"clock=new", "format=1\n", "photo.jpg=mine", "queue/", "queue/3=new", "registry/", "registry/store=new"}
	prefixed := func(prefix string, list []string) (out []string) {
		for _, f := range list {
			out = append(out, prefix+"/"+f)
		}
		return out
	}
	for name, c := range map[string]struct{ files, want []string }{
		"while it comes":       {append(prefixed("incoming.TEMP", fresh[:2]), old...), before},
		"decided":              {append(prefixed("incoming", fresh), old...), after},
		"half removed":         {append(prefixed("incoming", fresh), old[1:3]...), after},
		"all removed":          {append(prefixed("incoming", fresh), "photo.jpg=mine"), after},
		"marked":               {append(prefixed("incoming", fresh), "photo.jpg=mine", "incoming/cleared="), after},
		"half moved":           {append(prefixed("incoming", fresh[1:]), "photo.jpg=mine", "incoming/cleared=", "queue/3=new"), after},
		"moved":                {append(fresh[:len(fresh):len(fresh)], "photo.jpg=mine", "incoming/cleared="), after},
		"done but for the end": {append(fresh[:len(fresh):len(fresh)], "photo.jpg=mine", "incoming.TEMP/cleared="), after},
		"a reset, decided":     {append([]string{"incoming/"}, old...), []string{"format=1\n", "photo.jpg=mine"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, c.files...)
			want := c.want
			if name == "half removed" {
				want = slices.DeleteFunc(slices.Clone(after), func(s string) bool { return s == "photo.jpg=mine" })
			}
			for range 2 { // a second opening changes nothing
				d, err := OpenDataDir(dir)
				if err != nil {
					t.Fatal(err)
				}
				d.Close()
				if got := tree(t, dir); !slices.Equal(got, want) {
					t.Errorf("got  %q\nwant %q", got, want)
				}
			}
		})
	}
}

func TestExchange(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "queue/1=old", "incoming.TEMP/queue/9=left over")
	d, err := OpenDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	into, err := d.Incoming()
	if err != nil {
		t.Fatal(err)
	}
	put(t, into, "registry/store=new")
	if err := d.Exchange(); err != nil {
		t.Fatal(err)
	}
	if got, want := tree(t, dir), []string{"registry/", "registry/store=new"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
