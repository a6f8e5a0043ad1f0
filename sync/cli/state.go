package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"edgesync/sync/backup"
	"edgesync/sync/config"
	"edgesync/sync/status"
	"edgesync/wal/disk"
)

// errUnanswered means that a question was not answered with yes.
var errUnanswered = errors.New("nothing was done")

// confirm asks whether to go on. Without a terminal nobody can answer.
func (p *program) confirm(question string) error {
	if !p.interactive {
		return fmt.Errorf("%s There is no terminal to ask on: say --yes; %w", question, errUnanswered)
	}
	fmt.Fprintf(p.stderr, "%s Type yes to go on: ", question)
	line, _ := bufio.NewReader(io.LimitReader(p.stdin, 1024)).ReadString('\n')
	if strings.TrimSpace(line) != "yes" {
		return errUnanswered
	}
	return nil
}

// stateTool reads the flags of backup, restore or reset, and the configuration.
func (p *program) stateTool(name string, args []string, most int, own func(*tool)) (t *tool, rest []string,
	l *config.Loaded, code int, done bool,
) {
	t = p.newTool(name, "")
	own(t)
	rest, code, done = t.parse(args, most)
	if done {
		return t, nil, nil, code, true
	}
	if len(rest) < most {
		return t, nil, nil, p.usage(name, "edgesync "+name+" needs the name of a file"), true
	}
	l, err := config.Load(&t.settings, p.env)
	if err != nil {
		return t, nil, nil, p.fail(err), true
	}
	return t, rest, l, exitOK, false
}

func (p *program) backupCommand(args []string) int {
	queue := false
	t, rest, l, code, done := p.stateTool("backup", args, 1, func(t *tool) { t.flags.BoolVar(&queue, "with-queue", false, "") })
	if done {
		return code
	}
	dir, file := l.Config.DataDir, rest[0]
	err := errors.Join(checkQueue(filepath.Join(dir, "queue")), disk.CheckFormat(dir))
	if err != nil {
		return p.fail(err)
	}
	write := func(w io.Writer) error { return backup.Write(w, dir, queue, time.Now(), holding(dir)) }
	if file == "-" {
		return t.end(write(p.terminal))
	}
	if err = disk.ReplaceFunc(file, write); err != nil {
		return p.fail(fmt.Errorf("back up %s: %w", strconv.Quote(dir), err))
	}
	what := "without events that wait"
	if queue {
		what = "with the events that wait"
	}
	fmt.Fprintf(p.stdout, "%s is packed into %s, %s. It holds tokens and passwords.\n", strconv.Quote(dir), strconv.Quote(file), what)
	return exitOK
}

// holdTries is how often a running agent is asked to hold still.
const holdTries = 3

// holding holds a data directory still: the agent does, or this process while no agent runs.
func holding(dir string) backup.Hold {
	return func(fn func() error) (err error) {
		for range holdTries {
			if err = status.Hold(dir, fn); errors.Is(err, status.ErrNoAgent) {
				break
			}
			if err == nil {
				return nil
			}
		}
		if !errors.Is(err, status.ErrNoAgent) {
			return err
		}
		lock, err := disk.OpenDataDir(dir)
		if err != nil {
			return err
		}
		return errors.Join(fn(), lock.Close())
	}
}

// waiting says what is in a data directory, for a person who is about to delete it; "" is nothing.
func waiting(dir string) string {
	if _, err := os.Stat(filepath.Join(dir, "queue")); err != nil {
		return ""
	}
	s, err := status.Fetch(dir)
	if err != nil {
		return " holds what cannot be read (" + err.Error() + ")"
	}
	return fmt.Sprintf(" holds %s that wait for the cloud, and %s",
		several(int(s.Pending), "event", "events"), several(int(s.Dead), "dead letter", "dead letters"))
}

func (p *program) restoreCommand(args []string) int {
	yes := false
	t, rest, l, code, done := p.stateTool("restore", args, 1, func(t *tool) { t.flags.BoolVar(&yes, "yes", false, "") })
	if done {
		return code
	}
	return t.end(p.restore(l.Config.DataDir, rest[0], yes))
}

func (p *program) restore(dir, file string, yes bool) (err error) {
	f, err := disk.Open(file, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	lock, err := disk.OpenDataDir(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if what := waiting(dir); what != "" && !yes {
		if err := p.confirm(fmt.Sprintf("The data directory %s%s. All of it will be deleted.", strconv.Quote(dir), what)); err != nil {
			return err
		}
	}
	into, err := lock.Incoming()
	if err != nil {
		return err
	}
	about, err := backup.Read(f, into, room(dir))
	if err != nil {
		return fmt.Errorf("%s was not restored, nothing has changed: %w", strconv.Quote(file), errors.Join(err, os.RemoveAll(into)))
	}
	if err := lock.Exchange(); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s is as it was at %s%s.\n", strconv.Quote(dir), about.Time.Format(time.RFC3339), restoredHow(about.Queue))
	return nil
}

// room is how many bytes can be written to the medium of a directory, in bytes, with something left
// for others.
func room(dir string) int64 {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return 1 << 30
	}
	const spare = 512 << 10
	return int64(min(uint64(st.Bavail)*uint64(st.Bsize), 1<<40)) - spare
}

func restoredHow(queue bool) string {
	if queue {
		return ", with the events that waited then: what was sent since is sent again, and ThingsBoard writes it over what it has"
	}
	return ", without events"
}

// reportRestored warns once of a directory that was restored.
func (g *gateway) reportRestored() error {
	text, err := disk.ReadRegular(filepath.Join(g.dir.Path, disk.Restored), 256)
	if err != nil {
		return nil
	}
	when, how, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	if _, err := time.Parse(time.RFC3339, when); err != nil {
		when = "an unknown time"
	}
	g.warn("data_dir was restored from a backup of " + when + restoredHow(how == "with queue") +
		". The gateway that it was made on must not run with the same key")
	return nil
}

// forgetRestored takes care that the warning does not come at every start.
func (g *gateway) forgetRestored() { _ = os.Remove(filepath.Join(g.dir.Path, disk.Restored)) }

func (p *program) resetCommand(args []string) int {
	var yes, keep, all bool
	t, _, l, code, done := p.stateTool("reset", args, 0, func(t *tool) {
		t.flags.BoolVar(&yes, "yes", false, "")
		t.flags.BoolVar(&keep, "keep-config", false, "")
		t.flags.BoolVar(&all, "all", false, "")
	})
	switch {
	case done:
		return code
	case keep == all:
		return p.usage("reset", "edgesync reset needs either --keep-config or --all")
	}
	return t.end(p.reset(l, all, yes))
}

func (p *program) reset(l *config.Loaded, all, yes bool) (err error) {
	dir := l.Config.DataDir
	lock, err := disk.OpenDataDir(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	var files []string
	if all {
		files = l.Files()
	}
	if !yes {
		question := fmt.Sprintf("The data directory %s%s. All of it will be deleted, devices, users and tokens too",
			strconv.Quote(dir), waiting(dir))
		if len(files) > 0 {
			question += ", and " + strings.Join(files, ", ")
		}
		if err := p.confirm(question + "."); err != nil {
			return err
		}
	}
	if _, err := lock.Incoming(); err != nil {
		return err
	}
	if err := lock.Exchange(); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "%s is empty.\n", strconv.Quote(dir))
	for _, name := range files {
		if err := l.Forget(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		fmt.Fprintf(p.stdout, "%s is empty or gone.\n", strconv.Quote(name))
	}
	return nil
}
