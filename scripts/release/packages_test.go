package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// holdsIpk unpacks a package for opkg.
func holdsIpk(t *testing.T, out, arch, binary string) {
	f, err := os.ReadFile(filepath.Join(out, "edgesync_0.9.0+git3-1_"+arch+".ipk"))
	if err != nil {
		t.Fatal(err)
	}
	_, outer := unpacked(t, unzipped(t, string(f)))
	if outer["/debian-binary"] != "2.0\n" {
		t.Errorf("debian-binary %q", outer["/debian-binary"])
	}
	_, control := unpacked(t, unzipped(t, outer["/control.tar.gz"]))
	for _, want := range []string{
		"Package: edgesync\n", "Version: 0.9.0+git3-1\n", "Architecture: " + arch + "\n", "Depends: ca-bundle\n",
		"Require-User: edgesync=8077:edgesync=8077\n",
	} {
		if !strings.Contains("\n"+control["/control"], "\n"+want) {
			t.Errorf("control lacks %q:\n%s", want, control["/control"])
		}
	}
	if got := control["/conffiles"]; strings.TrimSpace(got) != "/etc/config/edgesync" {
		t.Errorf("conffiles %q", got)
	}
	for script, source := range map[string]string{"/preinst": "ipk.preinst", "/postinst": "ipk.postinst", "/prerm": "ipk.prerm"} {
		sameAs(t, control[script], "../openwrt/"+source)
	}
	list, data := unpacked(t, unzipped(t, outer["/data.tar.gz"]))
	if !slices.Equal(list, wanted(ipk)) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(list, "\n"), strings.Join(wanted(ipk), "\n"))
	}
	if data[binaryPath] != "ELF for "+binary {
		t.Errorf("the binary is %q", data[binaryPath])
	}
	sameAs(t, data["/etc/init.d/edgesync"], "../openwrt/edgesync.init")
}

func sameAs(t *testing.T, got, file string) {
	t.Helper()
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what is packed: %q", file, got)
	}
}

// members splits an apk of version 2, which is gzip streams one behind the other: signature,
// control and data, each a tar.
func members(t *testing.T, file string) []string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := bufio.NewReader(f)
	var list []string
	for {
		if _, err := b.Peek(1); err == io.EOF {
			return list
		}
		z, err := gzip.NewReader(b)
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false)
		data, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(data))
	}
}

// holdsApk unpacks a package for apk.
func holdsApk(t *testing.T, out, arch, binary string) {
	list := members(t, filepath.Join(out, "edgesync-0.9.0_git3-r1_"+arch+".apk"))
	if len(list) != 3 {
		t.Fatalf("%d members, want signature, control and data", len(list))
	}
	if signature := tarNames(t, list[0]); !slices.Equal(signature, []string{".SIGN.RSA.edgesync.rsa.pub"}) {
		t.Errorf("signature %q", signature)
	}
	want := []string{".PKGINFO", ".post-install", ".post-upgrade", ".pre-deinstall"}
	if names := tarNames(t, list[1]); !slices.Equal(names, want) {
		t.Errorf("control %q, want %q", names, want)
	}
	for _, want := range []string{"\npkgver = 0.9.0_git3-r1\n", "\narch = " + arch + "\n", "\ndepend = ca-bundle\n"} {
		if !strings.Contains(list[1], want) {
			t.Errorf(".PKGINFO lacks %q:\n%s", want, list[1])
		}
	}
	files, data := unpacked(t, strings.NewReader(list[2]))
	if !slices.Equal(files, wanted(apk)) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(files, "\n"), strings.Join(wanted(apk), "\n"))
	}
	if data[binaryPath] != "ELF for "+binary {
		t.Errorf("the binary is %q", data[binaryPath])
	}
	var listed strings.Builder
	for _, f := range files {
		listed.WriteString(strings.Fields(f)[1] + "\n")
	}
	sum := sha256.Sum256([]byte(data["/etc/config/edgesync"]))
	for name, want := range map[string]string{
		"list": listed.String(), "rusers": "edgesync=8077:edgesync=8077\n", "conffiles": "/etc/config/edgesync\n",
		"conffiles_static": fmt.Sprintf("/etc/config/edgesync %x\n", sum),
	} {
		if got := data["/lib/apk/packages/edgesync."+name]; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// tarNames lists a tar, which may lack its end.
func tarNames(t *testing.T, data string) (names []string) {
	t.Helper()
	tr := tar.NewReader(strings.NewReader(data))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}

// holdsDeb unpacks a package for dpkg with dpkg's own tool.
func holdsDeb(t *testing.T, out, arch, binary string) {
	file := filepath.Join(out, "edgesync_0.9.0+git3-1_"+arch+".deb")
	deb := func(args ...string) string {
		t.Helper()
		text, err := exec.Command("dpkg-deb", append(args, file)...).Output()
		if err != nil {
			t.Fatalf("dpkg-deb %v: %v", args, err)
		}
		return string(text)
	}
	control := "\n" + deb("--field")
	for _, want := range []string{
		"\nVersion: 0.9.0+git3-1\n", "\nArchitecture: " + arch + "\n", "\nMaintainer: Somebody <somebody@example.org>\n",
		"\nDepends: systemd | systemd-standalone-sysusers | systemd-sysusers\n", "\nRecommends: ca-certificates\n",
	} {
		if !strings.Contains(control, want) {
			t.Errorf("control lacks %q:\n%s", want, control)
		}
	}
	list, data := unpacked(t, strings.NewReader(deb("--fsys-tarfile")))
	if !slices.Equal(list, wanted("deb")) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(list, "\n"), strings.Join(wanted("deb"), "\n"))
	}
	if data[binaryPath] != "ELF for "+binary {
		t.Errorf("the binary is %q", data[binaryPath])
	}
	changelog, err := io.ReadAll(unzipped(t, data["/usr/share/doc/edgesync/changelog.Debian.gz"]))
	if err != nil || !strings.HasPrefix(string(changelog), "edgesync (0.9.0+git3-1) stable; urgency=medium\n\n  * ") ||
		!strings.HasSuffix(string(changelog), "\n\n -- Somebody <somebody@example.org>  Thu, 28 May 2026 20:26:40 +0000\n") {
		t.Errorf("changelog %q, %v", changelog, err)
	}
}
