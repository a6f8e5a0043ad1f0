package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// luciWanted is what a package of LuCI's page holds, as unpacked lists it.
func luciWanted(kind string) (list []string) {
	for _, f := range luciFiles {
		if slices.Contains(f.kinds, kind) {
			list = append(list, fmt.Sprintf("%04o %s", f.mode, f.path))
		}
	}
	return list
}

// holdsLuCIFiles compares the files of the page with those of the repository.
func holdsLuCIFiles(t *testing.T, kind string, list []string, data map[string]string) {
	t.Helper()
	if want := luciWanted(kind); !slices.Equal(list, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(list, "\n"), strings.Join(want, "\n"))
	}
	for _, f := range luciFiles {
		if f.source != "" {
			sameAs(t, data[f.path], "../../"+f.source)
		}
	}
}

func holdsLuCIIpk(t *testing.T, out string) {
	f, err := os.ReadFile(filepath.Join(out, "luci-app-edgesync_0.9.0+git3-1_all.ipk"))
	if err != nil {
		t.Fatal(err)
	}
	_, outer := unpacked(t, unzipped(t, string(f)))
	_, control := unpacked(t, unzipped(t, outer["/control.tar.gz"]))
	for _, want := range []string{
		"Package: luci-app-edgesync\n", "Version: 0.9.0+git3-1\n", "Architecture: all\n", "Depends: edgesync, luci-base\n",
	} {
		if !strings.Contains("\n"+control["/control"], "\n"+want) {
			t.Errorf("control lacks %q:\n%s", want, control["/control"])
		}
	}
	for _, script := range []string{"/postinst", "/postrm"} {
		sameAs(t, control[script], "../openwrt/luci/postinst")
	}
	list, data := unpacked(t, unzipped(t, outer["/data.tar.gz"]))
	holdsLuCIFiles(t, ipk, list, data)
}

func holdsLuCIApk(t *testing.T, out string) {
	list := members(t, filepath.Join(out, "luci-app-edgesync-0.9.0_git3-r1_noarch.apk"))
	if len(list) != 3 {
		t.Fatalf("%d members, want signature, control and data", len(list))
	}
	want := []string{".PKGINFO", ".post-deinstall", ".post-install", ".post-upgrade"}
	names := tarNames(t, list[1])
	slices.Sort(names)
	if !slices.Equal(names, want) {
		t.Errorf("control %q, want %q", names, want)
	}
	for _, want := range []string{"\npkgver = 0.9.0_git3-r1\n", "\narch = noarch\n", "\ndepend = edgesync\n", "\ndepend = luci-base\n"} {
		if !strings.Contains(list[1], want) {
			t.Errorf(".PKGINFO lacks %q:\n%s", want, list[1])
		}
	}
	files, data := unpacked(t, strings.NewReader(list[2]))
	holdsLuCIFiles(t, apk, files, data)
	var listed strings.Builder
	for _, f := range luciFiles {
		listed.WriteString(f.path + "\n")
	}
	if got := data["/lib/apk/packages/luci-app-edgesync.list"]; got != listed.String() {
		t.Errorf("the list %q", got)
	}
}
