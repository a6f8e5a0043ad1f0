package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"edgesync/sync/config"
	"edgesync/sync/status"
	"edgesync/wal/disk"
)

// Build says which edgesync this is.
type Build struct {
	Version string    // as people say it; "dev" where nobody named one
	Commit  time.Time // of the commit that was built; zero if that is not known
}

// Exit codes (architecture, "The surface that users script against").
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitLocked = 75
	exitConfig = 78
)

const help = `edgesync makes this machine a ThingsBoard Edge: devices talk to it as they would to ThingsBoard, every event is on
flash before it is accepted, and all of it goes to the cloud as soon as there is a link.

Usage:
  edgesync run       run the agent
  edgesync status    show the state of the agent on this machine (--json, --watch)
  edgesync wal       look into the queue on flash: stat, dump, verify, repair
  edgesync dead      events that the cloud refuses: list, show, retry, drop
  edgesync check     show the effective configuration, where each value came from, and what is wrong with it
  edgesync version   print the version
  edgesync help      print this; "edgesync help run" lists every setting, "help wal" and "help dead" tell of those

Example:
  edgesync run --cloud.host=tb.example.org --cloud.routing_key=KEY --cloud.routing_secret_file=/etc/edgesync/secret

Configuration is read from the file named by --config, else /etc/edgesync/config.toml, else ./config.toml; after it from the
environment (EDGESYNC_CLOUD_HOST and so on), then from flags. config.toml.example describes every key. Exit codes: 0 fine,
1 failed, 2 wrong usage, 75 another agent holds the data directory, 78 wrong configuration.
`

var commands = []string{"run", "status", "wal", "dead", "check", "version", "help"}

// Main is the program edgesync on the arguments, environment and streams of this process. Main returns the exit code.
func Main(b Build) int {
	return run(context.Background(), b, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
}

// run is the whole program; its result is the exit code.
func run(ctx context.Context, b Build, args, env []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, help)
		return exitUsage
	}
	name, args := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		if len(args) > 0 && (args[0] == "wal" || args[0] == "dead") {
			fmt.Fprint(stdout, map[string]string{"wal": walHelp, "dead": deadHelp}[args[0]])
			return exitOK
		}
		if len(args) > 0 && !slices.Contains(commands, args[0]) {
			return unknown(stderr, args[0])
		}
		fmt.Fprint(stdout, help)
		if len(args) > 0 {
			fmt.Fprintf(stdout, "\nSettings, as flags (cloud.host in the file, EDGESYNC_CLOUD_HOST as a variable):\n  --%-26s %s\n%s",
				"config", "the configuration file", config.Help())
		}
		return exitOK
	case "version", "-version", "--version":
		fmt.Fprintln(stdout, "edgesync", b.full())
		return exitOK
	case "wal":
		return walCommand(args, env, stdout, stderr)
	case "dead":
		return deadCommand(args, env, stdout, stderr)
	case "run", "check", "status":
	default:
		return unknown(stderr, name)
	}

	var settings config.Flags
	var asJSON, watch bool
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	settings.Register(fs)
	var own []string
	if name == "status" {
		fs.BoolVar(&asJSON, "json", false, "")
		fs.BoolVar(&watch, "watch", false, "")
		own = []string{"json", "watch"}
	}
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return run(ctx, b, []string{"help", name}, env, stdout, stderr)
	} else if err != nil {
		return usage(stderr, "run", err.Error(), own)
	}
	if fs.NArg() > 0 {
		// Not repeated: it may be a secret that a blank tore from its flag.
		return usage(stderr, "run", "an argument that is no flag; write --name=value without blanks", nil)
	}

	l, err := config.Load(&settings, env)
	if name == "status" {
		if err != nil {
			return fail(stderr, err)
		}
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = status.Show(ctx, stdout, status.View{DataDir: l.Config.DataDir, JSON: asJSON, Watch: watch, Plain: has(env, "NO_COLOR") || has(env, "TERM=dumb")})
		if err != nil {
			return fail(stderr, err)
		}
		return exitOK
	}
	var problems config.Error
	for _, err := range []error{err, l.Complete()} {
		var ce *config.Error
		if errors.As(err, &ce) {
			problems.Problems = append(problems.Problems, ce.Problems...)
		}
	}
	if name == "check" {
		printCheck(stdout, l)
	}
	if len(problems.Problems) > 0 {
		return fail(stderr, &problems)
	}
	if name == "check" {
		fmt.Fprintln(stdout, "\nThe configuration is fine.")
		return exitOK
	}
	log := newLogger(stderr, l.Config.Log.Level, env)
	for _, n := range l.Notices {
		log.Warn(n)
	}
	if err := runAgent(ctx, b, &l.Config, log, env); err != nil {
		return fail(stderr, err)
	}
	return exitOK
}

func unknown(stderr io.Writer, command string) int {
	hint := ""
	if n := config.Nearest(command, commands...); n != "" {
		hint = "; did you mean " + n + "?"
	}
	fmt.Fprintf(stderr, "edgesync: unknown command %q%s\nRun \"edgesync help\" for the list.\n", command, hint)
	return exitUsage
}

// usage prints what is wrong with the arguments and where to read on. own are the names of the command's own flags.
func usage(stderr io.Writer, topic, what string, own []string) int {
	if name, ok := strings.CutPrefix(what, "flag provided but not defined: -"); ok {
		what = "unknown flag --" + name
		if s := config.SuggestFlag(name, own...); s != "" {
			what += "; did you mean " + s + "?"
		}
	}
	fmt.Fprintf(stderr, "edgesync: %s\nRun \"edgesync help %s\" for all flags.\n", what, topic)
	return exitUsage
}

// fail prints an error for people and chooses the exit code.
func fail(stderr io.Writer, err error) int {
	switch {
	case errors.Is(err, config.ErrInvalid):
		fmt.Fprintf(stderr, "edgesync: the configuration is wrong:\n  %s\n", strings.ReplaceAll(err.Error(), "\n", "\n  "))
		return exitConfig
	case errors.Is(err, disk.ErrLocked):
		fmt.Fprintf(stderr, "edgesync: %v\n", err)
		return exitLocked
	}
	fmt.Fprintf(stderr, "edgesync: %v\n", err)
	return exitFailed
}

func printCheck(w io.Writer, l *config.Loaded) {
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

// has tells whether env sets a variable, or sets it to a value when name holds "=".
func has(env []string, name string) bool {
	for _, kv := range env {
		if kv == name || strings.HasPrefix(kv, name+"=") {
			return true
		}
	}
	return false
}

// newLogger logs to stderr; journald adds the time itself.
func newLogger(w io.Writer, level string, env []string) *slog.Logger {
	o := slog.HandlerOptions{Level: slog.LevelInfo}
	var l slog.Level
	if l.UnmarshalText([]byte(level)) == nil {
		o.Level = l
	}
	if has(env, "JOURNAL_STREAM") {
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(w, &o))
}

// full is the version, with the commit behind it where the build named none.
func (b Build) full() string {
	if info, ok := debug.ReadBuildInfo(); ok && b.Version == "dev" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return b.Version + "-" + s.Value[:12]
			}
		}
	}
	return b.Version
}
