package main

import (
	"fmt"
	"strings"

	"edgesync/sync/cli"
)

// The manual of the .deb: edgesync(8) is written by hand, but for the list of the commands; the
// page of each command is its help, so that neither can lack what the other has.

// manSection is that of programs for who administers a machine.
const manSection = "8"

// manPath is where the page of a command is installed; "": edgesync(8).
func manPath(command string) string {
	name := "edgesync"
	if command != "" {
		name += "-" + command
	}
	return "/usr/share/man/man" + manSection + "/" + name + "." + manSection + ".gz"
}

// manFiles are the pages of all commands.
func manFiles() (list []file) {
	for _, p := range cli.Pages() {
		list = append(list, file{path: manPath(p.Name), mode: 0o644, kinds: debKind})
	}
	return list
}

// roff writes text in ASCII, so that roff takes none of it for a request.
func roff(s string) string {
	var b strings.Builder
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		b.WriteString(`\&`)
	}
	for _, c := range s {
		switch {
		case c == '\\':
			b.WriteString(`\e`)
		case c == '-':
			b.WriteString(`\-`)
		case c > '~':
			fmt.Fprintf(&b, `\[u%04X]`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// mainPage puts the list of the commands into edgesync(8).
func mainPage(page string) string {
	var b strings.Builder
	for _, p := range cli.Pages() {
		b.WriteString(".TP\n.BR edgesync\\-" + p.Name + " (" + manSection + ")\n" + roff(p.Short) + "\n")
	}
	head, tail, _ := strings.Cut(page, ".SH COMMANDS\n")
	_, tail, _ = strings.Cut(tail, "\n") // the comment in its place
	return head + ".SH COMMANDS\n" + b.String() + tail
}

// manPage is the page of a command. Lines that begin with blanks stay as they are; all else is
// filled.
func manPage(p *cli.Page) string {
	var b strings.Builder
	line := func(s string) { b.WriteString(s + "\n") }
	line(".TH EDGESYNC\\-" + strings.ToUpper(p.Name) + " " + manSection)
	line(".SH NAME")
	line("edgesync\\-" + p.Name + ` \- ` + roff(p.Short))
	sections := map[string]string{"Usage:": "SYNOPSIS", "Example:": "EXAMPLES", "Examples:": "EXAMPLES"}
	usage, fixed, gap := false, false, false
	fix := func(on bool) {
		if on != fixed {
			line(map[bool]string{true: ".nf", false: ".fi"}[on])
		}
		fixed = on
	}
	for text := range strings.Lines(p.Text) {
		text = strings.TrimRight(text, "\n")
		indented := strings.HasPrefix(text, " ")
		switch name := sections[text]; {
		case name != "":
			fix(false)
			line(".SH " + name)
			usage = name == "SYNOPSIS"
			gap = false
			continue
		case text == "":
			gap = true
			continue
		case usage && !indented:
			fix(false)
			line(".SH DESCRIPTION")
			usage = false
		case gap:
			fix(false)
			line(".PP")
		}
		gap = false
		fix(indented)
		line(roff(text))
	}
	fix(false)
	line(".SH SEE ALSO")
	line(".BR edgesync (" + manSection + ")")
	return b.String()
}
