package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edgesync/sync/cli"
)

// unreleased is the heading in CHANGELOG.md of what no tag has yet.
const unreleased = "Unreleased"

// changes is the section of CHANGELOG.md about a version, without its heading.
func changes(changelog string, v version) (string, error) {
	want := v.people
	if !v.tagged {
		want = unreleased
	}
	var section strings.Builder
	in := false
	for line := range strings.Lines(changelog) {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			words := strings.Fields(heading)
			in = len(words) > 0 && words[0] == want
			continue
		}
		if in {
			section.WriteString(line)
		}
	}
	text := strings.TrimSpace(section.String())
	if text == "" {
		return "", fmt.Errorf("CHANGELOG.md says nothing about %s: it needs a section \"## %s\"", want, want)
	}
	return text, nil
}

// notes are the release notes: what changed, which file is for whom, and how to check the files.
func (r *release) notes(list []target) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# edgesync %s\n\n%s\n\n## Which file\n\n", r.version.people, r.changes)
	b.WriteString("| for | OpenWrt to 24.10 (opkg) and from 25.12 on (apk) | Debian | the binary alone |\n|---|---|---|---|\n")
	for _, t := range list {
		packages := "-"
		if t.debian != "" {
			packages = "`" + r.packageName(deb, t.debian) + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | `%s` |\n", t.boards, strings.Join(t.openwrt, ", "), packages, r.binaryName(t))
	}
	fmt.Fprintf(&b, "\nFor OpenWrt take `%s` or `%s`, with the name of your router's architecture for ARCH:\n",
		r.packageName(ipk, "ARCH"), r.packageName(apk, "ARCH"))
	b.WriteString("`. /etc/openwrt_release; echo $DISTRIB_ARCH` prints it. Containers: `edgesync_" + r.version.people + "_oci.tar`.\n")
	b.WriteString("\n`sha256sum -c --ignore-missing SHA256SUMS` checks what you downloaded. ")
	if r.key == "" {
		b.WriteString("This release is not signed: `apk add --allow-untrusted FILE`.\n")
	} else {
		fmt.Fprintf(&b, "The .apk files are signed: put `%s` into `/etc/apk/keys` once. SHA256SUMS is signed with the same key:\n"+
			"`openssl dgst -sha256 -verify %s -signature SHA256SUMS.sig SHA256SUMS`. "+
			"The .ipk and .deb files bear no signature of their own.\n",
			publicKey, publicKey)
	}
	return b.String()
}

// maxWidth bounds a line of Debian's changelog, in bytes, beside its indentation of four.
const maxWidth = 72

// debianChangelog writes the changelog of the .deb: one entry, about this version.
func (r *release) debianChangelog() string {
	var b strings.Builder
	fmt.Fprintf(&b, "edgesync (%s-%s) stable; urgency=medium\n\n", r.version.dpkg, revision)
	for line := range strings.Lines(r.changes) {
		text, item := strings.CutPrefix(line, "- ")
		indent := "    "
		if item {
			indent = "  * "
		}
		width := 0
		for i, word := range strings.Fields(text) {
			switch {
			case i == 0:
				b.WriteString(indent)
			case width+1+len(word) > maxWidth:
				b.WriteString("\n    ")
				width = 0
			default:
				b.WriteString(" ")
				width++
			}
			b.WriteString(word)
			width += len(word)
		}
		if width > 0 {
			b.WriteString("\n")
		}
	}
	fmt.Fprintf(&b, "\n -- %s  %s\n", r.maintainer, r.time.Format(time.RFC1123Z))
	return b.String()
}

// writeDebianDocs makes the packed documents of the .deb.
func (r *release) writeDebianDocs() error {
	page, err := os.ReadFile(r.repository("scripts/debian/edgesync.8"))
	if err != nil {
		return err
	}
	docs := map[string]string{
		"/usr/share/doc/edgesync/changelog.Debian.gz": r.debianChangelog(),
		manPath(""): mainPage(string(page)),
	}
	for _, p := range cli.Pages() {
		docs[manPath(p.Name)] = manPage(&p)
	}
	for path, text := range docs {
		packed, err := gzipped([]byte(text))
		if err == nil {
			err = r.made(path, packed)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readChanges reads what CHANGELOG.md says about the version.
func (r *release) readChanges() error {
	text, err := os.ReadFile(r.repository("scripts/release/CHANGELOG.md"))
	if err != nil {
		return err
	}
	r.changes, err = changes(string(text), r.version)
	return err
}

// writeNotes writes the release notes.
func (r *release) writeNotes(list []target) error {
	return os.WriteFile(filepath.Join(r.out, "RELEASE_NOTES.md"), []byte(r.notes(list)), 0o644)
}
