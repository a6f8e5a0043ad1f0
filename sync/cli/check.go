package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"edgesync/sync/config"
	"edgesync/sync/doctor"
	"edgesync/sync/plain"
	"edgesync/sync/rules"
	"edgesync/sync/status"
	"edgesync/wal/disk"
	"edgesync/wal/medium"
)

func (p *program) checkCommand(ctx context.Context, args []string) int {
	var settings config.Flags
	connect, within := false, time.Duration(0)
	code, done := p.parse("check", args, &settings, func(fs *flag.FlagSet) []string {
		fs.BoolVar(&connect, "connect", false, "")
		fs.DurationVar(&within, "within", 0, "")
		return []string{"connect", "within"}
	})
	if done {
		return code
	}
	l, err := complete(&settings, p.env)
	printValues(p.stdout, l)
	var chain []byte
	if err == nil {
		chain, err = chainOf(&l.Config)
	}
	if err != nil {
		return p.fail(err)
	}
	printMedium(p.stdout, l)
	if t, _ := rules.NewTrial(chain, rules.Options{}); t != nil { // nil: there is none
		tellChains(p.stdout, "\nnote: ", t)
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
	if within > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, within)
		defer stop()
	}
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

// printMedium says what data_dir is worth: the medium below it, or below where it would be made,
// the room there and what to beware of. It writes nothing there.
func printMedium(w io.Writer, l *config.Loaded) {
	dir, err := filepath.Abs(l.Config.DataDir)
	var m medium.Medium
	for err == nil {
		if m, err = medium.Read(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		dir, err = filepath.Dir(dir), nil
	}
	if err != nil {
		fmt.Fprintf(w, "\nnote: %v\n", err)
		return
	}
	fmt.Fprintf(w, "\n%-26s %s, %s of %s free\n", "medium of data_dir", m.String(), status.Size(m.Free), status.Size(m.Total))
	if l.Config.Queue.MaxBytes == 0 {
		quota, kept := disk.KeptQuota(l.Config.DataDir)
		if !kept {
			quota = disk.AutoQuota(m.Free, m.Raw)
		}
		fmt.Fprintf(w, "%-26s %s\n", "queue.max_bytes = auto", status.Size(quota))
	}
	if n := m.Floor(); n > 0 {
		fmt.Fprintf(w, "%-26s %s\n", "of it the queue leaves", status.Size(n))
	}
	for _, trap := range m.Traps() {
		fmt.Fprintf(w, "\nnote: %s\n", trap)
	}
}
