package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// description is the file that nfpm reads, as far as it is used here; JSON is YAML too. nfpm
// expands variables in few of its fields, so each package has a description of its own.
type description struct {
	Name          string            `json:"name"`
	Arch          string            `json:"arch"`
	Platform      string            `json:"platform"`
	Version       string            `json:"version"`
	VersionSchema string            `json:"version_schema"`
	Release       string            `json:"release"`
	Section       string            `json:"section"`
	Priority      string            `json:"priority"`
	Maintainer    string            `json:"maintainer"`
	Description   string            `json:"description"`
	Homepage      string            `json:"homepage"`
	License       string            `json:"license"`
	Depends       []string          `json:"depends,omitempty"`
	Recommends    []string          `json:"recommends,omitempty"`
	MTime         string            `json:"mtime"`
	Contents      []entry           `json:"contents"`
	Scripts       map[string]string `json:"scripts"`
	Ipk           map[string]any    `json:"ipk,omitempty"`
	Apk           map[string]any    `json:"apk,omitempty"`
	Deb           map[string]any    `json:"deb,omitempty"`
}

// entry is one file or directory in a description.
type entry struct {
	Src      string         `json:"src,omitempty"`
	Dst      string         `json:"dst"`
	Type     string         `json:"type,omitempty"`
	FileInfo map[string]any `json:"file_info"`
}

// revision is the packages' own number behind the version.
const revision = "1"

// summary is the description of the packages; the lines after the first are indented by nfpm.
const summary = `ThingsBoard Edge for small gateways
Devices post to edgesync over HTTP and MQTT as they would to ThingsBoard. Each
event is on flash before it is accepted, and goes to the server over the edge
protocol as soon as there is a link. One static binary without a database.`

// scripts are the maintainer scripts of each kind, by nfpm's words for them.
var scripts = map[string]map[string]string{
	ipk: {
		"preinstall": "scripts/openwrt/ipk.preinst", "postinstall": "scripts/openwrt/ipk.postinst",
		"preremove": "scripts/openwrt/ipk.prerm",
	},
	apk: {"postinstall": "scripts/openwrt/apk.post-install", "preremove": "scripts/openwrt/apk.pre-deinstall"},
	deb: {
		"postinstall": "scripts/debian/postinst", "preremove": "scripts/debian/prerm", "postremove": "scripts/debian/postrm",
	},
}

// apkPostUpgrade is the script of an upgrade, which the other kinds tell by their arguments.
const apkPostUpgrade = "scripts/openwrt/apk.post-upgrade"

// stageScript copies a maintainer script into the stage directory with the time of the commit: nfpm
// puts the script's own time into the package.
func (r *release) stageScript(source string) (string, error) {
	text, err := os.ReadFile(r.repository(source))
	if err != nil {
		return "", err
	}
	if err := r.made(source, text); err != nil {
		return "", err
	}
	path := filepath.Join(r.stage, source)
	return path, os.Chtimes(path, r.time, r.time)
}

// describe makes the description of one package.
func (r *release) describe(kind, arch string, t target) (*description, error) {
	d := &description{
		Name: "edgesync", Arch: arch, Platform: "linux", Version: r.version.dpkg, VersionSchema: "none", Release: revision,
		Section: "net", Priority: "optional", Maintainer: r.maintainer, Description: summary, Homepage: r.homepage,
		License: "Apache-2.0", MTime: r.time.Format(time.RFC3339), Scripts: map[string]string{},
	}
	for _, f := range of(kind) {
		src := filepath.Join(r.stage, f.path)
		switch {
		case f.path == binaryPath:
			src = r.binary(t)
		case f.source != "":
			src = r.repository(f.source)
		}
		e := entry{Src: src, Dst: f.path, FileInfo: r.fileInfo(f.mode)}
		if f.config {
			e.Type = "config"
		}
		d.Contents = append(d.Contents, e)
	}
	for name, source := range scripts[kind] {
		path, err := r.stageScript(source)
		if err != nil {
			return nil, err
		}
		d.Scripts[name] = path
	}
	switch kind {
	case ipk:
		d.Depends = []string{"ca-bundle"}
		d.Ipk = map[string]any{"arch": arch, "fields": map[string]string{"Require-User": account}}
	case apk:
		d.Depends = []string{"ca-bundle"}
		d.Version = r.version.apk
		upgrade, err := r.stageScript(apkPostUpgrade)
		if err != nil {
			return nil, err
		}
		d.Apk = map[string]any{"arch": arch, "scripts": map[string]string{"postupgrade": upgrade}}
		r.sign(d.Apk)
	case deb:
		d.Depends = []string{"systemd | systemd-standalone-sysusers | systemd-sysusers"}
		d.Recommends = []string{"ca-certificates"}
		d.Deb = map[string]any{"arch": arch, "compression": "xz"}
		d.Contents = append(d.Contents, entry{
			Dst: "/etc/edgesync", Type: "dir", FileInfo: r.fileInfo(0o755),
		})
	}
	return d, nil
}

// fileInfo is what nfpm is told of a file of root's.
func (r *release) fileInfo(mode uint32) map[string]any {
	return map[string]any{"mode": mode, "mtime": r.time.Format(time.RFC3339), "owner": "root", "group": "root"}
}

// sign adds the signature to the options of a package for apk, if there is a key.
func (r *release) sign(options map[string]any) {
	if r.key != "" {
		options["signature"] = map[string]string{"key_file": r.key, "key_name": publicKey}
	}
}

// nameOf is the name of a package's file.
func (r *release) nameOf(name, kind, arch string) string {
	if kind == apk {
		return fmt.Sprintf("%s-%s-r%s_%s.apk", name, r.version.apk, revision, arch)
	}
	return fmt.Sprintf("%s_%s-%s_%s.%s", name, r.version.dpkg, revision, arch, kind)
}

// packageName is the name of the file of a package of the program.
func (r *release) packageName(kind, arch string) string { return r.nameOf("edgesync", kind, arch) }

// pack writes one package of the program into the out directory.
func (r *release) pack(kind, arch string, t target) error {
	d, err := r.describe(kind, arch, t)
	if err != nil {
		return err
	}
	return r.build(kind, d, r.packageName(kind, arch))
}

// build has nfpm write a package into the out directory.
func (r *release) build(kind string, d *description, name string) error {
	text, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		return err
	}
	if err := r.made("nfpm.json", text); err != nil {
		return err
	}
	cmd := exec.Command(r.nfpm, "package", "-f", filepath.Join(r.stage, "nfpm.json"), "-p", kind, "-t", filepath.Join(r.out, name))
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.time.Unix()))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nfpm, for %s: %w\n%s", name, err, out)
	}
	return nil
}

// packAll writes every package of a target.
func (r *release) packAll(t target) error {
	for _, arch := range t.openwrt {
		for _, kind := range openwrtKinds {
			if err := r.pack(kind, arch, t); err != nil {
				return err
			}
		}
	}
	if t.debian == "" {
		return nil
	}
	return r.pack(deb, t.debian, t)
}
