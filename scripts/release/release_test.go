package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// commit is the time of the releases of these tests.
const commit = 1780000000

// nfpm is the program at the version of the Makefile, which installs it if it is not there.
func nfpm(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("make", "-s", "nfpm")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make nfpm: %v\n%s", err, out)
	}
	path, err := filepath.Abs("../../build/release-tools/nfpm")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// made makes a release with binaries of a few bytes, of a repository at root, and returns its
// directory.
func made(t *testing.T, root string, args ...string) string {
	t.Helper()
	bin := t.TempDir()
	for _, target := range targets {
		if err := os.WriteFile(filepath.Join(bin, "edgesync-linux-"+target.binary), []byte("ELF for "+target.binary), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ca := filepath.Join(bin, "ca.crt")
	if err := os.WriteFile(ca, []byte("authorities"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "dist")
	args = append([]string{
		"-version", "v0.9.0-3-gabcdef0", "-time", fmt.Sprint(commit), "-root", root, "-bin", bin, "-out", out, "-nfpm", nfpm(t), "-ca", ca,
		"-maintainer", "Somebody <somebody@example.org>", "-homepage", "https://example.org",
	}, args...)
	var stdout bytes.Buffer
	if err := run(args, &stdout); err != nil {
		t.Fatal(err)
	}
	return out
}

// unpacked lists a tar as lines of type, mode, owner and name, and holds that all times are the
// commit's. Files are kept.
func unpacked(t *testing.T, r io.Reader) (list []string, content map[string]string) {
	t.Helper()
	content = map[string]string{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return list, content
		}
		if err != nil {
			t.Fatal(err)
		}
		name := "/" + strings.TrimPrefix(strings.TrimPrefix(h.Name, "."), "/")
		if h.ModTime.Unix() != commit {
			t.Errorf("%s has the time %v", name, h.ModTime)
		}
		if h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s belongs to %d:%d", name, h.Uid, h.Gid)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		content[name] = string(data)
		if h.Typeflag == tar.TypeReg {
			list = append(list, fmt.Sprintf("%04o %s", h.Mode&0o7777, name))
		}
	}
}

// wanted is the list of a kind as unpacked gives it.
func wanted(kind string) []string {
	var list []string
	for _, f := range of(kind) {
		list = append(list, fmt.Sprintf("%04o %s", f.mode, f.path))
	}
	return list
}

func unzipped(t *testing.T, data string) io.Reader {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRelease(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(keyFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out := made(t, "../..", "-key", keyFile)

	t.Run("files", func(t *testing.T) {
		want := []string{
			"RELEASE_NOTES.md", "SHA256SUMS", "SHA256SUMS.sig", "edgesync.rsa.pub", "edgesync_0.9.0+git3_oci.tar",
			"luci-app-edgesync_0.9.0+git3-1_all.ipk", "luci-app-edgesync-0.9.0_git3-r1_noarch.apk",
		}
		for _, target := range targets {
			want = append(want, "edgesync-0.9.0+git3-linux-"+target.binary)
			for _, arch := range target.openwrt {
				want = append(want, "edgesync_0.9.0+git3-1_"+arch+".ipk", "edgesync-0.9.0_git3-r1_"+arch+".apk")
			}
		}
		for _, arch := range []string{"armhf", "arm64", "amd64", "riscv64"} {
			want = append(want, "edgesync_0.9.0+git3-1_"+arch+".deb")
		}
		slices.Sort(want)
		var got []string
		list, err := os.ReadDir(out)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			got = append(got, e.Name())
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if len(targets) != 10 {
			t.Errorf("%d binaries, want 10", len(targets))
		}
	})
	for _, target := range targets {
		for _, arch := range target.openwrt {
			t.Run("ipk "+arch, func(t *testing.T) { holdsIpk(t, out, arch, target.binary) })
			t.Run("apk "+arch, func(t *testing.T) { holdsApk(t, out, arch, target.binary) })
		}
		if target.debian != "" {
			t.Run("deb "+target.debian, func(t *testing.T) { holdsDeb(t, out, target.debian, target.binary) })
		}
	}
	t.Run("luci ipk", func(t *testing.T) { holdsLuCIIpk(t, out) })
	t.Run("luci apk", func(t *testing.T) { holdsLuCIApk(t, out) })
	t.Run("image", func(t *testing.T) { holdsImage(t, out) })
	t.Run("sums", func(t *testing.T) {
		cmd := exec.Command("sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS")
		cmd.Dir = out
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
		list, err := os.ReadFile(filepath.Join(out, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		signature, err := os.ReadFile(filepath.Join(out, "SHA256SUMS.sig"))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(list)
		if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
			t.Error(err)
		}
		if !strings.Contains(string(list), "  RELEASE_NOTES.md\n") {
			t.Error("the notes have no sum")
		}
	})
	t.Run("notes", func(t *testing.T) {
		notes, err := os.ReadFile(filepath.Join(out, "RELEASE_NOTES.md"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"# edgesync 0.9.0+git3\n", "`edgesync_0.9.0+git3-1_armhf.deb`", "edgesync.rsa.pub", "mipsel_24kc"} {
			if !strings.Contains(string(notes), want) {
				t.Errorf("the notes do not say %q", want)
			}
		}
		if strings.Contains(string(notes), "not signed") {
			t.Error("the notes say that the release is not signed")
		}
	})
}

// TestSameBytes makes a release of two copies of what a release reads, in directories of different
// names whose files have different times. `make release-twice` does so with real binaries.
func TestSameBytes(t *testing.T) {
	var sums []string
	for _, name := range []string{"a", "another"} {
		root := filepath.Join(t.TempDir(), name)
		for _, dir := range []string{"scripts/openwrt", "scripts/debian", "scripts/release"} {
			if err := os.CopyFS(filepath.Join(root, dir), os.DirFS("../../"+dir)); err != nil {
				t.Fatal(err)
			}
		}
		if err := copyFile("../../config.toml.example", filepath.Join(root, "config.toml.example"), 0o644); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(made(t, root, "-only", "mipsle,amd64"), "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, string(text))
	}
	if sums[0] != sums[1] || strings.Count(sums[0], "\n") != 15 {
		t.Errorf("the two differ, or are not 15 files:\n%s\n%s", sums[0], sums[1])
	}
}

func TestRefusals(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "old"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"commit first":           {"-version", "v1.0.0-dirty", "-time", "1"},
		"-time is missing":       {"-version", "v1.0.0"},
		`no binary "mips64"`:     {"-version", "v1.0.0", "-time", "1", "-only", "mips,mips64"},
		"is not empty":           {"-version", "v1.0.0", "-time", "1", "-out", full},
		`needs a section "## 9.`: {"-version", "v9.9.9", "-time", "1", "-root", "../..", "-out", filepath.Join(full, "new")},
	} {
		if err := run(args, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
	bad := filepath.Join(full, "key")
	if err := os.WriteFile(bad, []byte("hush-hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readKey(bad); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("a key that is none: %v", err)
	}
}
