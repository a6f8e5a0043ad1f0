package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"edgesync/sync/config"
	"edgesync/sync/doctor"
	"edgesync/sync/registry"
	"edgesync/sync/status"
	"edgesync/wal/disk"
)

// examine is what package doctor is to look at: this configuration, and the agent that runs on its
// data directory.
func (p *program) examine(l *config.Loaded, fault error) doctor.Options {
	o := doctor.Options{Loaded: l, Fault: fault, Version: p.full(), Built: p.Commit}
	if s, err := status.Fetch(l.Config.DataDir); err == nil && s.Running {
		o.Agent = &s
	} else {
		o.Held = held(l.Config.DataDir)
	}
	return o
}

// held reports whether a process has the lock of a data directory. It makes no file.
func held(dir string) bool {
	f, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

func (p *program) doctorCommand(ctx context.Context, args []string) int {
	var settings config.Flags
	var asJSON, long bool
	code, done := p.parse("doctor", args, &settings, func(fs *flag.FlagSet) []string {
		fs.BoolVar(&asJSON, "json", false, "")
		fs.BoolVar(&long, "long", false, "")
		return []string{"json", "long"}
	})
	if done {
		return code
	}
	l, err := complete(&settings, p.env)
	if err == nil {
		_, err = chainOf(&l.Config)
	}
	o := p.examine(l, err)
	if long {
		o.Silence = o.Loaded.Config.Keepalive.Time
	}
	return p.report(ctx, o, asJSON)
}

// renewed is the secret that the agent of a data directory uses: one that came from the cloud wins
// (registry.Secret). While an agent holds the directory it is not looked at.
func renewed(dir, configured string) string {
	if _, err := os.Stat(filepath.Join(dir, "registry")); err != nil {
		return configured
	}
	lock, err := disk.OpenDataDir(dir)
	if err != nil {
		return configured
	}
	defer lock.Close()
	r, err := registry.Open(registry.Options{
		Dir: filepath.Join(dir, "registry"), CorruptDir: lock.Corrupt(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return configured
	}
	defer r.Close()
	return r.Secret(configured)
}

// report has package doctor look, and prints what it finds.
func (p *program) report(ctx context.Context, o doctor.Options, asJSON bool) int {
	if o.Agent == nil && !o.Held && o.Fault == nil {
		c := &o.Loaded.Config
		c.Cloud.RoutingSecret = renewed(c.DataDir, c.Cloud.RoutingSecret)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if !asJSON {
		o.Emit = func(c doctor.Check) { fmt.Fprint(p.stdout, c.Text()) }
	}
	r := doctor.Run(ctx, o)
	if asJSON {
		if err := json.NewEncoder(p.stdout).Encode(r); err != nil {
			return p.fail(err)
		}
	}
	if !r.OK || ctx.Err() != nil {
		return exitFailed
	}
	return exitOK
}
