package main

import (
	"strings"
	"testing"
)

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		describe string
		want     version
	}{
		{"v0.9.0", version{"0.9.0", "0.9.0", "0.9.0", true}},
		{"v0.9.0-3-gabc1234", version{"0.9.0+git3", "0.9.0+git3", "0.9.0_git3", false}},
		{"v1.0.0-rc1", version{"1.0.0-rc1", "1.0.0~rc1", "1.0.0_rc1", true}},
		{"v1.0.0-beta12-40-g0123456", version{"1.0.0-beta12+git40", "1.0.0~beta12+git40", "1.0.0_beta12_git40", false}},
	} {
		got, err := parseVersion(c.describe)
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", c.describe, got, err, c.want)
		}
	}
	for describe, want := range map[string]string{
		"":                        "a tag must read v1.2.3",
		"36424db":                 "a tag must read v1.2.3",
		"v1.2":                    "a tag must read v1.2.3",
		"v1.2.3-final":            "a tag must read v1.2.3",
		"1.2.3":                   "a tag must read v1.2.3",
		"v1.2.3\nv1.2.4":          "a tag must read v1.2.3",
		"v1.2.3-dirty":            "commit first",
		"v1.2.3-4-gabcdef0-dirty": "commit first",
	} {
		if v, err := parseVersion(describe); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %+v, %v, want an error with %q", describe, v, err, want)
		}
	}
}

func TestChanges(t *testing.T) {
	const changelog = "# Changes\n\nintro\n\n## Unreleased\n\n- new\n\n## 0.9.0 (2026-12-01)\n\n- one\n- two\n  goes on\n\n## 0.8.0\n\n"
	for _, c := range []struct {
		describe, want, err string
	}{
		{"v0.9.0", "- one\n- two\n  goes on", ""},
		{"v0.9.0-1-gabcdef0", "- new", ""},
		{"v0.8.0", "", `it needs a section "## 0.8.0"`},
		{"v0.9.1", "", `it needs a section "## 0.9.1"`},
	} {
		v, err := parseVersion(c.describe)
		if err != nil {
			t.Fatal(err)
		}
		got, err := changes(changelog, v)
		if got != c.want || (err == nil) != (c.err == "") || (err != nil && !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: got %q, %v", c.describe, got, err)
		}
	}
}
