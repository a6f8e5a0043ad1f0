package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"edgesync/sync/cli"
)

// manual is every page of the .deb by its path.
func manual(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../debian/edgesync.8")
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{manPath(""): mainPage(string(page))}
	for _, p := range cli.Pages() {
		list[manPath(p.Name)] = manPage(&p)
	}
	return list
}

// Each command has a page in the .deb, and edgesync(8) names it. No package for OpenWrt has any.
func TestEveryCommandHasAPage(t *testing.T) {
	list := manual(t)
	for _, p := range cli.Pages() {
		text := list[manPath(p.Name)]
		for _, want := range []string{
			".TH EDGESYNC\\-" + strings.ToUpper(p.Name) + " 8\n.SH NAME\nedgesync\\-" + p.Name + " \\- ",
			"\n.SH SYNOPSIS\n.nf\n  edgesync " + p.Name,
			"\n.SH EXAMPLES\n", "\n.BR edgesync (8)\n",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in\n%s", p.Name, want, text)
			}
		}
		if main := list[manPath("")]; !strings.Contains(main, "\n.TP\n.BR edgesync\\-"+p.Name+" (8)\n"+roff(p.Short)+"\n") {
			t.Errorf("edgesync(8) does not name %s:\n%s", p.Name, main)
		}
	}
	pages := 0
	for _, kind := range []string{deb, ipk, apk} {
		for _, f := range of(kind) {
			if strings.HasPrefix(f.path, "/usr/share/man/") {
				pages++
				if _, ok := list[f.path]; !ok || kind != deb {
					t.Errorf("%s: %s", kind, f.path)
				}
			}
		}
	}
	if pages != len(list) {
		t.Errorf("%d pages are packed of %d", pages, len(list))
	}
}

func TestManPage(t *testing.T) {
	got := manPage(&cli.Page{Name: "dig", Short: "look below", Text: `Usage:
  edgesync dig [--deep]

.Looks with a ✘ \ below,
in prose.

  --deep   further down
           than that

Exit code 1: nothing.

Example:
  edgesync dig --deep
`})
	want := `.TH EDGESYNC\-DIG 8
.SH NAME
edgesync\-dig \- look below
.SH SYNOPSIS
.nf
  edgesync dig [\-\-deep]
.fi
.SH DESCRIPTION
\&.Looks with a \[u2718] \e below,
in prose.
.PP
.nf
  \-\-deep   further down
           than that
.fi
.PP
Exit code 1: nothing.
.SH EXAMPLES
.nf
  edgesync dig \-\-deep
.fi
.SH SEE ALSO
.BR edgesync (8)
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// groff finds nothing wrong with any page.
func TestManPagesAreClean(t *testing.T) {
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("there is no groff here")
	}
	for path, text := range manual(t) {
		cmd := exec.CommandContext(t.Context(), groff, "-man", "-Tutf8", "-ww", "-z")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
	}
}
