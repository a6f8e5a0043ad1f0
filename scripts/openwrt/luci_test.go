package openwrt

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"edgesync/sync/config"
)

var update = flag.Bool("update", false, "write luci/keys.js anew")

const keysFile = "luci/keys.js"

// js is a value in JavaScript.
func js(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and lists of texts
	}
	return string(text)
}

// generated is keys.js: every key of config.toml.example, in its order.
func generated(t *testing.T) string {
	t.Helper()
	example, err := os.ReadFile("../../config.toml.example")
	if err != nil {
		t.Fatal(err)
	}
	described := map[string]config.Description{}
	for _, d := range config.Describe() {
		described[d.Key] = d
	}
	var b strings.Builder
	b.WriteString(`'use strict';
'require baseclass';

// Generated from config.toml.example: go test ./scripts/openwrt -run TestLuCIHasEveryKey -update

return baseclass.extend({
	service: [
		{ section: 'main', option: 'enabled', kind: 'flag', def: 'false', doc: 'whether the service runs' },
		{ section: 'main', option: 'jail', kind: 'flag', def: 'true', doc: 'a jail around the agent, if procd-ujail is installed' },
		{ section: 'main', option: 'memory_limit', kind: 'text', def: '', doc: 'such as 16MiB; left out: by the memory of the router' },
		{ section: 'main', option: 'config', kind: 'text', def: '', doc: 'a TOML file that counts instead of all settings but data_dir' }
	],
	list: [
`)
	section := ""
	n := 0
	for line := range strings.Lines(string(example)) {
		if m := regexp.MustCompile(`^\[([a-z_.]+)\]\n$`).FindStringSubmatch(line); m != nil {
			section = m[1] + "."
		}
		m := regexp.MustCompile(`^#([a-z_]+) = `).FindStringSubmatch(line)
		if m == nil {
			continue
		}
		d, ok := described[section+m[1]]
		if !ok {
			t.Fatalf("%s%s is in the example and no key", section, m[1])
		}
		n++
		fmt.Fprintf(&b, "\t\t{ section: %s, option: %s, kind: %s, def: %s, doc: %s", js(d.Section), js(d.Option),
			js(d.Kind), js(d.Default), js(d.Doc))
		if d.Choices != nil {
			fmt.Fprintf(&b, ", choices: %s", js(d.Choices))
		}
		if d.Secret {
			b.WriteString(", secret: true")
		}
		if d.Kind == "tables" {
			fmt.Fprintf(&b, ", fields: %s", js(config.MapFields()))
		}
		b.WriteString(" },\n")
	}
	if n != len(described) {
		t.Errorf("%d keys in the example, want %d", n, len(described))
	}
	return strings.TrimSuffix(b.String(), ",\n") + "\n\t]\n});\n"
}

// TestLuCIHasEveryKey holds that the form has a field for every key of config.toml.example.
func TestLuCIHasEveryKey(t *testing.T) {
	want := generated(t)
	if *update {
		if err := os.WriteFile(keysFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(keysFile)
	if err != nil || string(got) != want {
		t.Errorf("%s is not what config.toml.example has (%v): run this test with -update", keysFile, err)
	}
}

// TestLuCIRights holds the rights against what the page does: what it runs, reads and writes, and
// nothing else.
func TestLuCIRights(t *testing.T) {
	var acl map[string]struct {
		Description string
		Read, Write struct {
			UCI  []string
			Ubus map[string][]string
			File map[string][]string
		}
	}
	text, err := os.ReadFile("luci/acl.json")
	if err == nil {
		err = json.Unmarshal(text, &acl)
	}
	a, ok := acl["luci-app-edgesync"]
	if err != nil || !ok || len(acl) != 1 {
		t.Fatalf("%v, %v", err, acl)
	}
	files := func(m map[string][]string) (list []string) {
		for path, rights := range m {
			list = append(list, strings.Join(rights, ",")+" "+path)
		}
		slices.Sort(list)
		return list
	}
	if got, want := files(a.Read.File), []string{
		"exec /usr/bin/edgesync status --json", "list /etc/edgesync/config.toml", "list /etc/edgesync/secret",
	}; !slices.Equal(got, want) {
		t.Errorf("reading: %q", got)
	}
	if got, want := files(a.Write.File), []string{
		"exec /etc/init.d/edgesync reload",
		"exec /usr/bin/edgesync check --connect --within=22s", "write /etc/edgesync/secret",
	}; !slices.Equal(got, want) {
		t.Errorf("writing: %q", got)
	}
	if !slices.Equal(a.Read.UCI, []string{"edgesync"}) || !slices.Equal(a.Write.UCI, []string{"edgesync"}) {
		t.Errorf("uci: %q, %q", a.Read.UCI, a.Write.UCI)
	}
	var menu map[string]struct {
		Title   string
		Order   int
		Action  struct{ Type, Path string }
		Depends struct {
			ACL []string
			UCI map[string]bool
		}
	}
	if text, err = os.ReadFile("luci/menu.json"); err == nil {
		err = json.Unmarshal(text, &menu)
	}
	m := menu["admin/services/edgesync"]
	if err != nil || m.Action.Type != "view" || m.Action.Path != "edgesync/main" || !slices.Equal(m.Depends.ACL,
		[]string{"luci-app-edgesync"}) ||
		!m.Depends.UCI["edgesync"] {
		t.Errorf("the menu: %v, %+v", err, m)
	}
}

// TestLuCIPage runs the page in node with stand-ins for LuCI, as testdata/luci.js has them: it
// renders, saves the secret apart, tests the connection, and links to the agent's page.
func TestLuCIPage(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("no node: LuCI's page is not run")
	}
	out, err := exec.Command("node", "testdata/luci.js").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got struct {
		Sections []string            // TYPE NAME
		Fields   map[string][]string // by section: CLASS NAME DEFAULT
		Box      []string            // the texts of the box
		Link     string
		Ran      []string // programs
		Output   string   // of the test
		Written  []string // files and what was written
		Warnings []string
		Added    []string // sections that did not exist
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	fields := map[string]bool{}
	for _, list := range got.Fields {
		for _, f := range list {
			fields[f] = true
		}
	}
	for _, d := range config.Describe() {
		class := map[string]string{"flag": "Flag", "list": "DynamicList"}[d.Kind]
		switch {
		case d.Kind == "tables":
			if !slices.Contains(got.Sections, "GridSection "+d.Section) {
				t.Errorf("%s has no table", d.Key)
			}
			continue
		case d.Secret:
			if !fields[d.Section+": Secret _"+d.Option] {
				t.Errorf("%s has no field of its own kind", d.Key)
			}
			continue
		case class == "" && d.Choices != nil:
			class = "ListValue"
		case class == "":
			class = "Value"
		}
		if !fields[d.Section+": "+class+" "+d.Option] {
			t.Errorf("%s has no field %s", d.Key, class)
		}
	}
	for _, f := range []string{
		"main: Flag enabled", "main: Flag jail", "main: Value memory_limit",
		"mqtt_map: Value filter", "mqtt_map: Flag flatten",
	} {
		if !fields[f] {
			t.Errorf("no %s in %v", f, got.Fields)
		}
	}
	for what, ok := range map[string]bool{
		"programs": slices.Equal(got.Ran, []string{
			"/usr/bin/edgesync status --json",
			"/usr/bin/edgesync status --json", "/usr/bin/edgesync check --connect --within=22s", "/etc/init.d/edgesync reload",
		}),
		"link":    got.Link == "http://[fe80::1]:8080/",
		"secret":  slices.Equal(got.Written, []string{"/etc/edgesync/secret 600 s3cr3t\n"}),
		"output":  got.Output == "The configuration is fine.\n\n✔ key",
		"warning": len(got.Warnings) == 1 && strings.Contains(got.Warnings[0], "do not count"),
		"box": slices.Contains(got.Box, "connected") && slices.Contains(got.Box, "All is well") && slices.Contains(got.Box,
			"5 accepted, 3 delivered, 2 waiting, 0 refused, 0 dropped, 0 damaged"),
		"new section": slices.Contains(got.Added, "section cloud_tls") && !slices.Contains(got.Added, "edgesync main"),
	} {
		if !ok {
			t.Errorf("%s: %s", what, strconv.Quote(string(out)))
		}
	}
}
