package debian

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// asRoot is a command that runs as root, through sudo where this test does not.
func asRoot(name string, args ...string) *exec.Cmd {
	if os.Getuid() != 0 {
		return exec.Command("sudo", append([]string{"-n", name}, args...)...)
	}
	return exec.Command(name, args...)
}

// root is a directory with busybox and dpkg's database, in which dpkg installs. Everything that a
// maintainer script calls beside busybox notes its arguments in /calls.
type root struct {
	t   *testing.T
	dir string
}

func newRoot(t *testing.T) *root {
	r := &root{t, t.TempDir()}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal("busybox is missing: scripts/ci/prepare openwrt installs it")
	}
	text, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	r.write("bin/busybox", string(text))
	for _, name := range []string{"sh", "chown", "chmod", "rm", "echo", "grep"} {
		if err := os.Symlink("busybox", filepath.Join(r.dir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"systemd-sysusers", "deb-systemd-helper", "deb-systemd-invoke", "systemctl"} {
		// A service is enabled unless somebody has disabled it.
		r.write("usr/bin/"+name, "#!/bin/sh\necho "+name+" \"$@\" >>/calls\n[ \"$2\" != was-enabled ] || [ ! -e /disabled ]\n")
	}
	r.write("etc/passwd", "root:x:0:0::/:/bin/sh\nedgesync:x:998:997::/:/bin/false\n")
	r.write("etc/group", "root:x:0:\nedgesync:x:997:\n")
	r.write("run/systemd/system/here", "")
	r.write("dev/null", "") // a file does as well
	r.write("var/lib/dpkg/status", "")
	r.write("var/lib/dpkg/info/format", "1\n")
	if err := os.Mkdir(filepath.Join(r.dir, "var/lib/dpkg/updates"), 0o755); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *root) write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

// dpkg runs dpkg on the root, and returns what it printed and what the scripts called.
func (r *root) dpkg(args ...string) (printed, calls string) {
	r.t.Helper()
	cmd := asRoot("dpkg", append([]string{"--root=" + r.dir, "--force-depends", "--force-architecture"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("dpkg %v: %v\n%s", args, err, out)
	}
	path := filepath.Join(r.dir, "calls")
	text, _ := asRoot("cat", path).Output()
	if err := asRoot("rm", "-f", path).Run(); err != nil {
		r.t.Fatal(err)
	}
	return string(out), string(text)
}

// has reports whether a path exists, with its mode and group if it does.
func (r *root) has(path string) string {
	r.t.Helper()
	out, err := asRoot("stat", "-c", "%a %g", filepath.Join(r.dir, path)).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// packed makes the .deb of a version whose binary is a script, with the program that makes
// releases.
func packed(t *testing.T, describe string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("make", "-s", "-C", "../..", "nfpm").CombinedOutput(); err != nil {
		t.Fatalf("make nfpm: %v\n%s", err, out)
	}
	for name, text := range map[string]string{"edgesync-linux-amd64": "#!/bin/sh\necho " + describe + "\n", "ca": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "dist")
	cmd := exec.Command("go", "run", "../release", "-version", describe, "-time", "1780000000", "-root", "../..", "-bin", dir, "-out", out,
		"-nfpm", "../../build/release-tools/nfpm", "-ca", filepath.Join(dir, "ca"), "-only", "amd64")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("release: %v\n%s", err, text)
	}
	list, err := filepath.Glob(out + "/*.deb")
	if err != nil || len(list) != 1 {
		t.Fatalf("packages %q, %v", list, err)
	}
	return list[0]
}

// TestLifeOfThePackage installs, upgrades, removes, installs again and purges.
func TestLifeOfThePackage(t *testing.T) {
	first, second := packed(t, "v0.9.0-3-gabcdef0"), packed(t, "v0.9.0-4-gabcdef0")
	r := newRoot(t)

	printed, calls := r.dpkg("-i", first)
	if want := "systemd-sysusers edgesync.conf\n" +
		"deb-systemd-helper unmask edgesync.service\ndeb-systemd-helper --quiet was-enabled edgesync.service\n" +
		"deb-systemd-helper enable edgesync.service\n" +
		"systemctl --system daemon-reload\ndeb-systemd-invoke start edgesync.service\n"; calls != want {
		t.Errorf("installation called\n%s\nwant\n%s", calls, want)
	}
	if !strings.Contains(printed, "edgesync waits for its configuration: write /etc/edgesync/config.toml") {
		t.Errorf("installation does not say what to do:\n%s", printed)
	}
	if got, want := r.has("etc/edgesync"), "2750 997"; got != want {
		t.Errorf("/etc/edgesync is %q, want %q", got, want)
	}
	// What a person and the agent make.
	for _, path := range []string{"etc/edgesync/config.toml", "etc/edgesync/secret", "var/lib/edgesync/queue/x"} {
		r.write(path, "mine")
	}
	if err := asRoot("chmod", "0700", filepath.Join(r.dir, "etc/edgesync")).Run(); err != nil {
		t.Fatal(err)
	}

	// The agent is not stopped before its files are replaced, and what was changed stays.
	printed, calls = r.dpkg("-i", second)
	if want := "systemd-sysusers edgesync.conf\n" +
		"deb-systemd-helper unmask edgesync.service\ndeb-systemd-helper --quiet was-enabled edgesync.service\n" +
		"deb-systemd-helper enable edgesync.service\n" +
		"systemctl --system daemon-reload\ndeb-systemd-invoke try-restart edgesync.service\n"; calls != want {
		t.Errorf("the upgrade called\n%s\nwant\n%s", calls, want)
	}
	if strings.Contains(printed, "waits for its configuration") {
		t.Errorf("the upgrade asks for a configuration that is there:\n%s", printed)
	}
	if out, err := exec.Command(filepath.Join(r.dir, "usr/bin/edgesync")).Output(); string(out) != "v0.9.0-4-gabcdef0\n" {
		t.Errorf("after the upgrade the binary is %q, %v", out, err)
	}
	if got, want := r.has("etc/edgesync"), "2700 997"; got != want {
		t.Errorf("the upgrade made /etc/edgesync %q, want it left %q", got, want)
	}

	// A person's disable survives an upgrade; downgrades too are upgrades.
	r.write("disabled", "")
	if _, calls = r.dpkg("-i", first); !strings.Contains(calls, "update-state edgesync.service\n") || strings.Contains(calls, " enable ") {
		t.Errorf("the upgrade of a disabled service called\n%s", calls)
	}

	printed, calls = r.dpkg("-r", "edgesync")
	if want := "deb-systemd-invoke stop edgesync.service\nsystemctl --system daemon-reload\n" +
		"deb-systemd-helper mask edgesync.service\n"; calls != want {
		t.Errorf("removal called\n%s\nwant\n%s", calls, want)
	}
	if !strings.Contains(printed, "data stay in /var/lib/edgesync") {
		t.Errorf("removal does not say where the data are:\n%s", printed)
	}
	if r.has("usr/bin/edgesync") != "" || r.has("var/lib/edgesync/queue/x") == "" || r.has("etc/edgesync/secret") == "" {
		t.Error("removal leaves the program, or deletes data or configuration")
	}

	r.dpkg("-i", second)
	r.dpkg("-r", "edgesync")
	_, calls = r.dpkg("-P", "edgesync")
	if want := "deb-systemd-helper purge edgesync.service\ndeb-systemd-helper unmask edgesync.service\n"; calls != want {
		t.Errorf("purging called\n%s\nwant\n%s", calls, want)
	}
	for _, path := range []string{"var/lib/edgesync", "etc/edgesync", "usr/share/doc/edgesync", "lib/systemd/system/edgesync.service"} {
		if r.has(path) != "" {
			t.Errorf("purging leaves %s", path)
		}
	}
}

// TestUnit lets systemd read the unit, and say how much of the system it leaves open.
func TestUnit(t *testing.T) {
	out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "edgesync.service").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m := regexp.MustCompile(`Overall exposure level for edgesync\.service: ([0-9.]+)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("no exposure level in\n%s", out)
	}
	if level, err := strconv.ParseFloat(string(m[1]), 64); err != nil || level > 1.5 {
		t.Errorf("the exposure is %s, want at most 1.5", m[1])
	}
	out, _ = exec.Command("systemd-analyze", "verify", "./edgesync.service").CombinedOutput()
	for line := range strings.Lines(string(out)) {
		// Neither program nor manual is installed here, and other units are not ours.
		ours := strings.Contains(line, "edgesync.service")
		if ours && !strings.Contains(line, "not executable") && !strings.Contains(line, "man edgesync(8)") {
			t.Error(line)
		}
	}
}

// TestUnitAgreesWithTheAgent holds what the unit promises in the agent's name.
func TestUnitAgreesWithTheAgent(t *testing.T) {
	text, err := os.ReadFile("edgesync.service")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			seen[key] = value
		}
	}
	for key, want := range map[string]string{
		"Type": "notify", "Restart": "always", "RestartPreventExitStatus": "75 78", "User": "edgesync",
		"WatchdogSec": "2min", "MemoryHigh": "48M",
		"TimeoutStopSec": "20", "StateDirectory": "edgesync", "ConditionPathExists": "/etc/edgesync/config.toml",
		"ExecStart": "/usr/bin/edgesync run --config /etc/edgesync/config.toml --data_dir ${STATE_DIRECTORY}",
	} {
		if seen[key] != want {
			t.Errorf("%s is %q, want %q", key, seen[key], want)
		}
	}
}
