package main

import (
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// luci is the package of LuCI's page about edgesync, for every architecture.
const luci = "luci-app-edgesync"

// luciArch is what either manager calls every architecture.
var luciArch = map[string]string{ipk: "all", apk: "noarch"}

// luciFiles are its files. All are read by LuCI and rpcd where they lie.
var luciFiles = []file{
	{path: "/lib/apk/packages/" + luci + ".list", mode: 0o644, kinds: apkKind},
	{path: "/usr/share/luci/menu.d/" + luci + ".json", source: "scripts/openwrt/luci/menu.json", mode: 0o644, kinds: openwrtKinds},
	{path: "/usr/share/rpcd/acl.d/" + luci + ".json", source: "scripts/openwrt/luci/acl.json", mode: 0o644, kinds: openwrtKinds},
	{path: "/www/luci-static/resources/edgesync/keys.js", source: "scripts/openwrt/luci/keys.js", mode: 0o644, kinds: openwrtKinds},
	{path: "/www/luci-static/resources/view/edgesync/main.js", source: "scripts/openwrt/luci/main.js", mode: 0o644, kinds: openwrtKinds},
}

// luciScript runs after installation, upgrade and removal.
const luciScript = "scripts/openwrt/luci/postinst"

// packLuCI writes the two packages of LuCI's page.
func (r *release) packLuCI() error {
	var list strings.Builder
	for _, f := range luciFiles {
		list.WriteString(f.path + "\n")
	}
	if err := r.made(luciFiles[0].path, []byte(list.String())); err != nil {
		return err
	}
	script, err := r.stageScript(luciScript)
	if err != nil {
		return err
	}
	for _, kind := range openwrtKinds {
		d := &description{
			Name: luci, Arch: luciArch[kind], Platform: "linux", Version: r.version.dpkg, VersionSchema: "none", Release: revision,
			Section: "luci", Priority: "optional", Maintainer: r.maintainer, Homepage: r.homepage, License: "Apache-2.0",
			Description: "LuCI page for edgesync\nSettings, state and a test of the connection.",
			Depends:     []string{"edgesync", "luci-base"}, MTime: r.time.Format(time.RFC3339),
			Scripts: map[string]string{"postinstall": script, "postremove": script},
		}
		for _, f := range luciFiles {
			if !slices.Contains(f.kinds, kind) {
				continue
			}
			src := filepath.Join(r.stage, f.path)
			if f.source != "" {
				src = r.repository(f.source)
			}
			d.Contents = append(d.Contents, entry{Src: src, Dst: f.path, FileInfo: r.fileInfo(f.mode)})
		}
		options := map[string]any{"arch": d.Arch}
		if kind == ipk {
			d.Ipk = options
		} else {
			d.Version, d.Apk = r.version.apk, options
			options["scripts"] = map[string]string{"postupgrade": script}
			r.sign(options)
		}
		if err := r.build(kind, d, r.nameOf(luci, kind, d.Arch)); err != nil {
			return err
		}
	}
	return nil
}
