package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// unpack reads a bundle as other programs do.
func unpack(t *testing.T, packed []byte) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		text, err2 := io.ReadAll(r)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		dir, name := filepath.Split(h.Name)
		if !strings.HasPrefix(dir, "edgesync-2") || h.Mode != 0o600 || h.Uname != "root" || h.ModTime.Year() < 2026 {
			t.Errorf("%+v", h)
		}
		files[name] = string(text)
	}
	return files
}

// A bug report holds what helps, beside an agent and without one, and no secret.
func TestBugReport(t *testing.T) {
	t.Parallel()
	s := newSite(t, t.TempDir())
	r := s.synced()
	file := filepath.Join(t.TempDir(), "report.tar.gz")
	report := func() map[string]string {
		t.Helper()
		out, code := s.tool("bugreport", file)
		packed, err := os.ReadFile(file)
		if code != 0 || err != nil || !strings.Contains(out, "Secrets are left out") {
			t.Fatalf("%d, %v, %s", code, err, out)
		}
		if i, err := os.Stat(file); err != nil || i.Mode() != 0o600 || i.Size() > 2<<20 {
			t.Errorf("%v, %v", i, err)
		}
		files := unpack(t, packed)
		for name, text := range files {
			if strings.Contains(text, s.edge.Secret) || len(text) > bundleFile {
				t.Errorf("%s holds the secret, or %d bytes", name, len(text))
			}
		}
		return files
	}
	files := report()
	for name, words := range map[string]string{
		"version.json": `"protocol":"ThingsBoard Edge 4.2.0 (12)"`, "doctor.txt": "✔ key ", "doctor.json": `{"ok":true,`,
		"config.txt": "cloud.routing_secret       ***", "log.txt": `msg="edgesync runs"`, "machine.txt": "== /proc/version\nLinux",
		"data_dir.txt": "/queue/", "status.json": `"state":"connected"`, "metrics.txt": "\nedgesync_events_pending 0\n",
	} {
		if !strings.Contains(files[name], words) {
			t.Errorf("%s: want %q in\n%.600s", name, words, files[name])
		}
	}
	if out, code := s.tool("bugreport", file); code != 1 || !strings.Contains(out, "exists") {
		t.Errorf("a file that was there: %d, %s", code, out)
	}
	if err := errors.Join(r.Stop(), os.Remove(file)); err != nil {
		t.Fatal(err)
	}
	files = report() // the account, by the files
	if !strings.Contains(files["status.json"], `"running":false`) || files["metrics.txt"] != "" ||
		!strings.Contains(files["log.txt"], "no agent answers") {
		t.Errorf("without an agent: %q, %q", files["status.json"], files["log.txt"])
	}
}

// What is too long is cut, and a directory that is not there is no fault.
func TestBundleIsBounded(t *testing.T) {
	var packed bytes.Buffer
	b := bundle{w: gzip.NewWriter(&packed), dir: "edgesync-2/"}
	b.at = b.at.AddDate(2026, 0, 0)
	var listing bytes.Buffer
	list(&listing, filepath.Join(t.TempDir(), "gone"))
	long := bytes.Repeat([]byte("x"), bundleFile+1)
	err := errors.Join(b.add("long", long), b.add("empty", nil), b.add("listing", listing.Bytes()), b.w.Close())
	files := unpack(t, packed.Bytes())
	if err != nil || len(files["long"]) != bundleFile || files["empty"] != "" || !strings.Contains(files["listing"], "no such file") {
		t.Errorf("%v, %d, %q, %q", err, len(files["long"]), files["empty"], files["listing"])
	}
}

func TestVersion(t *testing.T) {
	_, text, _ := call(t, nil, "version")
	_, out, _ := call(t, nil, "version", "--json")
	var v version
	if err := json.Unmarshal([]byte(out), &v); err != nil || v.Version != "dev" || v.Go != runtime.Version() ||
		!strings.HasPrefix(v.Platform, runtime.GOOS+"/"+runtime.GOARCH) || v.Protocol != "ThingsBoard Edge 4.2.0 (12)" {
		t.Errorf("%+v, %v", v, err)
	}
	want := "edgesync dev\ncommitted  -\nbuilt with " + v.Go + "\nfor        " + v.Platform + "\nprotocol   " + v.Protocol + "\n"
	if text != want {
		t.Errorf("%q, want %q", text, want)
	}
}

// bash completes commands, what follows them, flags and settings by the script.
func TestCompletion(t *testing.T) {
	code, script, _ := call(t, nil, "completion", "bash")
	if code != 0 {
		t.Fatal(code)
	}
	if _, zsh, _ := call(t, nil, "completion", "zsh"); zsh != "autoload -U +X bashcompinit && bashcompinit\n"+script {
		t.Errorf("%s", zsh)
	}
	for shell, want := range map[string]string{"ash": "ash has no programmable completion", "fish": "completion takes bash or zsh"} {
		if code, out, errs := call(t, nil, "completion", shell); code != exitUsage || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%s: %d, %q, %q", shell, code, out, errs)
		}
	}
	if strings.HasPrefix(runtime.GOARCH, "mips") || strings.HasPrefix(runtime.GOARCH, "arm") {
		t.Skip("starts a process")
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string][]string{
		"st":                  {"status"},
		"wal d":               {"dump"},
		"wal dump --sin":      {"--since"},
		"run --cloud.tls.":    {"--cloud.tls.enabled", "--cloud.tls.ca_file", "--cloud.tls.server_name"},
		"dead retry --by":     {"--by-name"},
		"dead list --fo":      {"--follow"},
		"replay --dry":        {"--dry-run"},
		"audit --ver":         {"--verify"},
		"help vers":           {"version"},
		"status --j":          {"--json"},
		"completion ":         {"bash", "zsh"},
		"check --config=x do": {},
	} {
		words := strings.Split("edgesync "+line, " ")
		cmd := exec.CommandContext(context.Background(), bash, "--norc", "-c", script+
			"\nCOMP_WORDS=(\"$@\"); COMP_CWORD=$(($#-1)); _edgesync; printf '%s\\n' \"${COMPREPLY[@]}\"", "bash")
		cmd.Args = append(cmd.Args, words...)
		out, err := cmd.Output()
		if got := strings.Fields(string(out)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v, want %q", line, got, err, want)
		}
	}
}
