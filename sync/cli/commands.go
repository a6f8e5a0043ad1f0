package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"edgesync/sync/config"
	"edgesync/sync/plain"
	"edgesync/sync/status"
)

// Build says which edgesync this is.
type Build struct {
	Version string    // as people say it; "dev" where nobody named one
	Commit  time.Time // of the commit that was built; zero if it is not known
}

// full is the version, with the commit behind it where the build named no version.
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

// Main is the program edgesync on the arguments, environment and streams of this process. It
// returns the exit code.
func Main(b Build) int {
	p := &program{Build: b, env: os.Environ(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	p.interactive = termios(os.Stdin, false, new(syscall.Termios)) == nil
	return p.run(context.Background(), os.Args[1:])
}

// program is one call of edgesync: which build it is, and what its caller gave it beside arguments.
type program struct {
	Build
	env            environment
	stdin          io.Reader
	interactive    bool // a person may answer on stdin
	stdout, stderr io.Writer
	terminal       io.Writer // stdout for `edgesync status`, which prints colours and escapes texts itself
}

// environment is a list of NAME=value, as os.Environ gives it.
type environment []string

// lookup returns the value of a variable, as os.LookupEnv does; of one that is there twice, the
// last.
func (e environment) lookup(name string) (value string, ok bool) {
	for _, kv := range e {
		if n, v, found := strings.Cut(kv, "="); found && n == name {
			value, ok = v, true
		}
	}
	return value, ok
}

// has reports whether a variable is set, or is set to a value when name holds "=".
func (e environment) has(name string) bool {
	for _, kv := range e {
		if kv == name || strings.HasPrefix(kv, name+"=") {
			return true
		}
	}
	return false
}

// run does what the arguments say and returns the exit code. The end of ctx stops an agent as a
// signal does.
func (p *program) run(ctx context.Context, args []string) int {
	p.terminal = p.stdout
	p.stdout, p.stderr = plain.NewWriter(p.stdout), plain.NewWriter(p.stderr)
	if len(args) == 0 {
		fmt.Fprint(p.stderr, help())
		return exitUsage
	}
	name, args := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		switch {
		case len(args) == 0:
			return p.help("")
		case isHelp(args[0]):
			return p.help(name)
		}
		return p.help(args[0])
	case "version", "-version", "--version":
		return p.versionCommand(args)
	case "completion":
		return p.completion(args)
	case "bugreport":
		return p.bugreportCommand(ctx, args)
	case "wal":
		return p.wal(args)
	case "dead":
		return p.dead(args)
	case "devices":
		return p.devicesCommand(args)
	case "setup":
		return p.setupCommand(ctx, args)
	case "backup":
		return p.backupCommand(args)
	case "restore":
		return p.restoreCommand(args)
	case "reset":
		return p.resetCommand(args)
	case "rules":
		return p.rules(args)
	case "run":
		return p.runCommand(ctx, args)
	case "audit":
		return p.auditCommand(args)
	case "replay":
		return p.replayCommand(args)
	case "reconnect", "sync", "log":
		return p.order(name, args)
	case "check":
		return p.checkCommand(ctx, args)
	case "doctor":
		return p.doctorCommand(ctx, args)
	case "status":
		return p.statusCommand(ctx, args)
	}
	return p.unknown(name)
}

// parse reads the flags of run, check or status into settings. own registers the command's own
// flags and names them; nil: there are none. done: nothing more is to do than to end with this
// code.
func (p *program) parse(name string, args []string, settings *config.Flags, own func(*flag.FlagSet) []string) (code int, done bool) {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	settings.Register(fs)
	var names []string
	if own != nil {
		names = own(fs)
	}
	switch what, err := parse(fs, args, names, 0); {
	case err != nil:
		return p.help(name), true
	case what != "":
		return p.usage(helpOn(name, what), what), true
	}
	return exitOK, false
}

// helpOn is the page that helps with what is wrong with the flags of a command: its own, but for a
// setting that there is not. These have a dot in their names, and stand on the page of run.
func helpOn(name, what string) string {
	if strings.HasPrefix(what, "unknown flag --") && strings.Contains(what, ".") {
		return "run"
	}
	return name
}

func (p *program) statusCommand(ctx context.Context, args []string) int {
	var settings config.Flags
	var asJSON, watch, ack bool
	code, done := p.parse("status", args, &settings, func(fs *flag.FlagSet) []string {
		fs.BoolVar(&asJSON, "json", false, "")
		fs.BoolVar(&watch, "watch", false, "")
		fs.BoolVar(&ack, "ack", false, "")
		return []string{"json", "watch", "ack"}
	})
	if done {
		return code
	}
	l, err := config.Load(&settings, p.env)
	if err != nil {
		return p.fail(err)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = status.Show(ctx, p.terminal, status.View{
		DataDir: l.Config.DataDir, JSON: asJSON, Watch: watch, Ack: ack, Plain: p.env.has("NO_COLOR") || p.env.has("TERM=dumb"),
	})
	if err != nil {
		return p.fail(err)
	}
	return exitOK
}

func (p *program) runCommand(ctx context.Context, args []string) int {
	var settings config.Flags
	if code, done := p.parse("run", args, &settings, nil); done {
		return code
	}
	l, err := complete(&settings, p.env)
	if err != nil {
		return p.fail(err)
	}
	log := newLogger(p.stdout, p.stderr, &l.Config.Log, p.env)
	for _, n := range l.Notices {
		log.Warn(n)
	}
	load := func() (*config.Loaded, error) { return complete(&settings, p.env) }
	if err := p.runAgent(ctx, l, load, log); err != nil {
		return p.fail(err)
	}
	return exitOK
}

// complete loads a configuration for an agent. The error names every problem at once; the Loaded is
// there all the same, with everything that could be understood.
func complete(settings *config.Flags, env environment) (*config.Loaded, error) {
	l, err := config.Load(settings, env)
	var problems config.Error
	for _, err := range []error{err, l.Complete()} {
		var ce *config.Error
		if errors.As(err, &ce) {
			problems.Problems = append(problems.Problems, ce.Problems...)
		}
	}
	if len(problems.Problems) > 0 {
		return l, &problems
	}
	return l, nil
}
