package cli

import (
	"context"
	"flag"
	"fmt"
	"io"

	"edgesync/sync/config"
	"edgesync/sync/doctor"
	"edgesync/sync/plain"
)

func (p *program) checkCommand(ctx context.Context, args []string) int {
	var settings config.Flags
	connect := false
	code, done := p.parse("check", args, &settings, func(fs *flag.FlagSet) []string {
		fs.BoolVar(&connect, "connect", false, "")
		return []string{"connect"}
	})
	if done {
		return code
	}
	l, err := complete(&settings, p.env)
	printValues(p.stdout, l)
	if err != nil {
		return p.fail(err)
	}
	o := p.examine(l, nil)
	for _, w := range doctor.Local(ctx, o) {
		fmt.Fprint(p.stdout, "\n", plain.Fill("warning: ", w, 2))
	}
	fmt.Fprintln(p.stdout, "\nThe configuration is fine.")
	if !connect {
		return exitOK
	}
	fmt.Fprintln(p.stdout)
	o.Brief = true
	return p.report(ctx, o, false)
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
