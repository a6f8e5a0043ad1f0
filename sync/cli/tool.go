package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"edgesync/sync/config"
	"edgesync/wal/disk"
)

// tool is a command that works on the files of a data directory: wal NAME, dead NAME, backup, ….
type tool struct {
	*program
	topic    string // for help: "wal", "dead" or the command itself
	settings config.Flags
	flags    *flag.FlagSet
	own      []string // names of its flags beside the configuration's
	dir      string   // --dir
	json     bool
}

func (p *program) newTool(topic, name string) *tool {
	t := &tool{program: p, topic: topic, flags: flag.NewFlagSet(strings.TrimSpace(topic+" "+name), flag.ContinueOnError)}
	t.flags.SetOutput(io.Discard)
	return t
}

// subcommand finds what follows a command's name, and prints usage or help where nothing that is
// known does. done: nothing more is to do than to end with this code.
func (p *program) subcommand(topic string, args []string) (name string, code int, done bool) {
	page := pageOf(topic)
	names := strings.Fields(page.subs)
	if len(args) == 0 {
		fmt.Fprint(p.stderr, page)
		return "", exitUsage, true
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(p.stdout, page)
		return "", exitOK, true
	}
	for _, n := range names {
		if args[0] == n {
			return n, exitOK, false
		}
	}
	what := "edgesync " + topic + " takes one of: " + strings.Join(names, ", ")
	if n := config.Nearest(args[0], names...); n != "" {
		what = "unknown command " + strconv.Quote(topic+" "+args[0]) + "; did you mean " + topic + " " + n + "?"
	}
	return "", p.usage(topic, what), true
}

// parse reads flags and arguments in any order, at most so many arguments. done: nothing more is to
// do than to end with this code.
func (t *tool) parse(args []string, most int) (rest []string, code int, done bool) {
	t.flags.VisitAll(func(f *flag.Flag) { t.own = append(t.own, f.Name) })
	t.settings.Register(t.flags)
	limitMemory(t.env) // an agent runs beside it, on a small machine
	switch what, err := parse(t.flags, args, t.own, most); {
	case err != nil:
		return nil, t.help(t.topic), true
	case what != "":
		return nil, t.usage(helpOn(t.topic, what), what), true
	}
	if name := t.empty(); name != "" {
		return nil, t.usage(t.topic, "--"+name+" is empty"), true
	}
	return t.flags.Args(), exitOK, false
}

// empty is a flag of the command's own that is there with an empty text, as a variable that is not
// set leaves it: the command would do for all what was meant for one. "" if there is none.
func (t *tool) empty() (name string) {
	t.flags.Visit(func(f *flag.Flag) {
		if _, text := f.Value.(flag.Getter); text && f.Value.String() == "" && slices.Contains(t.own, f.Name) {
			name = f.Name
		}
	})
	return name
}

// end turns the result of a command into its exit code.
func (t *tool) end(err error) int {
	if err != nil {
		return t.fail(err)
	}
	return exitOK
}

// dataDir is the configured data directory.
func (t *tool) dataDir() (string, error) {
	l, err := config.Load(&t.settings, t.env)
	if err != nil {
		return "", err
	}
	return l.Config.DataDir, disk.CheckFormat(l.Config.DataDir)
}

// queueDir is the queue to look into. dataDir is "" when --dir names the queue.
func (t *tool) queueDir() (queue, dataDir string, err error) {
	queue = t.dir
	if queue == "" {
		if dataDir, err = t.dataDir(); err != nil {
			return "", "", err
		}
		queue = filepath.Join(dataDir, "queue")
	}
	return queue, dataDir, checkQueue(queue)
}

// checkQueue is the error about a directory that holds no queue, in words.
func checkQueue(queue string) error {
	i, err := os.Stat(queue)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no queue at %s: name the right directory with --data_dir or --config", strconv.Quote(queue))
	case err == nil && !i.IsDir():
		return fmt.Errorf("%s is no directory: a queue is one", strconv.Quote(queue))
	}
	return err
}

// beside is a directory next to a queue, below the same data directory.
func beside(queue, name string) string {
	return filepath.Join(filepath.Dir(filepath.Clean(queue)), name)
}
