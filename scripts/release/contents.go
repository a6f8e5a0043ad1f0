package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The three kinds of packages, in nfpm's words.
const (
	ipk = "ipk"
	apk = "apk"
	deb = "deb"
)

// file is one file of a package.
type file struct {
	path   string // on the machine where it is installed
	source string // in the repository; "" = it is made in the stage directory, under the same path
	mode   uint32
	config bool // what the user changed is kept
	kinds  []string
}

var (
	openwrtKinds = []string{apk, ipk}
	debKind      = []string{deb}
	apkKind      = []string{apk}
)

// binaryPath is where every package puts the binary.
const binaryPath = "/usr/bin/edgesync"

// files is every file of every package beside the binary. What a user changes is as little as can
// be: each release that changes a shipped one leaves a second file beside the user's.
var files = append([]file{
	{path: "/etc/init.d/edgesync", source: "scripts/openwrt/edgesync.init", mode: 0o755, kinds: openwrtKinds},
	{path: "/etc/config/edgesync", source: "scripts/openwrt/edgesync.config", mode: 0o600, config: true, kinds: openwrtKinds},
	{path: "/etc/hotplug.d/ntp/50-edgesync", source: "scripts/openwrt/ntp.hotplug", mode: 0o644, kinds: openwrtKinds},
	{path: "/lib/upgrade/keep.d/edgesync", source: "scripts/openwrt/keep", mode: 0o644, kinds: openwrtKinds},
	{path: "/usr/share/edgesync/config.toml.example", source: "config.toml.example", mode: 0o644, kinds: openwrtKinds},
	{path: "/lib/apk/packages/edgesync.conffiles", mode: 0o644, kinds: apkKind},
	{path: "/lib/apk/packages/edgesync.conffiles_static", mode: 0o644, kinds: apkKind},
	{path: "/lib/apk/packages/edgesync.list", mode: 0o644, kinds: apkKind},
	{path: "/lib/apk/packages/edgesync.rusers", mode: 0o644, kinds: apkKind},
	{path: "/lib/systemd/system/edgesync.service", source: "scripts/debian/edgesync.service", mode: 0o644, kinds: debKind},
	{path: "/usr/lib/sysusers.d/edgesync.conf", source: "scripts/debian/edgesync.sysusers", mode: 0o644, kinds: debKind},
	{path: "/usr/share/doc/edgesync/changelog.Debian.gz", mode: 0o644, kinds: debKind},
	{path: "/usr/share/doc/edgesync/config.toml.example", source: "config.toml.example", mode: 0o644, kinds: debKind},
	{path: "/usr/share/doc/edgesync/copyright", source: "scripts/debian/copyright", mode: 0o644, kinds: debKind},
	{path: "/usr/share/lintian/overrides/edgesync", source: "scripts/debian/lintian-overrides", mode: 0o644, kinds: debKind},
	{path: "/usr/share/man/man8/edgesync.8.gz", mode: 0o644, kinds: debKind},
}, manFiles()...)

// account is the user and group that the service runs as on OpenWrt, in the form that opkg and apk
// read. Number 8077 is taken by no package of OpenWrt's feed as of August 2026.
const account = "edgesync=8077:edgesync=8077"

// of lists the files of one kind of package, sorted by path.
func of(kind string) []file {
	list := []file{{path: binaryPath, mode: 0o755}}
	for _, f := range files {
		if slices.Contains(f.kinds, kind) {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return list
}

// writeApkLists makes the files below /lib/apk/packages, by which OpenWrt's scripts find the
// service and sysupgrade finds the configuration that was changed.
func (r *release) writeApkLists() error {
	var list, conf, static strings.Builder
	for _, f := range of(apk) {
		list.WriteString(f.path + "\n")
		if !f.config {
			continue
		}
		text, err := os.ReadFile(r.repository(f.source))
		if err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		conf.WriteString(f.path + "\n")
		static.WriteString(f.path + " " + hex.EncodeToString(sum[:]) + "\n")
	}
	for name, text := range map[string]string{
		"list": list.String(), "conffiles": conf.String(), "conffiles_static": static.String(), "rusers": account + "\n",
	} {
		if err := r.made("/lib/apk/packages/edgesync."+name, []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// made writes a file of the stage directory, under the path that it gets in a package.
func (r *release) made(path string, text []byte) error {
	full := filepath.Join(r.stage, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	return os.WriteFile(full, text, 0o644)
}
