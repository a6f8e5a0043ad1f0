package cli

import (
	"fmt"
	"io"

	"edgesync/sync/config"
)

func (p *program) checkCommand(args []string) int {
	var settings config.Flags
	if code, done := p.parse("check", args, &settings, nil); done {
		return code
	}
	l, err := complete(&settings, p.env)
	printValues(p.stdout, l)
	if err != nil {
		return p.fail(err)
	}
	fmt.Fprintln(p.stdout, "\nThe configuration is fine.")
	return exitOK
}

// printValues prints every key with its value and the source of the value.
func printValues(w io.Writer, l *config.Loaded) {
	file := "none"
	if l.File != "" {
		file = l.File
	}
	fmt.Fprintf(w, "%-26s %s\n\n", "configuration file", file)
	for _, v := range l.Values() {
		value := v.Value
		if value == "" {
			value = `""`
		}
		fmt.Fprintf(w, "%-26s %-24s %s\n", v.Key, value, v.Source)
	}
	for _, n := range l.Notices {
		fmt.Fprintf(w, "\nnote: %s\n", n)
	}
}
