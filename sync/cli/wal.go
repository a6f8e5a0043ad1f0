package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/config"
	"edgesync/wal"
	"edgesync/wal/disk"
)

const walHelp = `edgesync wal looks into the queue: the events on flash, as its files tell, whether an agent runs or not.

Usage:
  edgesync wal stat     how much is in it: offsets, segments, bytes, counters, times. --segments adds one line a file, --json one object
  edgesync wal dump     print the events, one a line; secrets are shown as ***
  edgesync wal verify   read everything and report each damage; exit code 0: all is intact, 1: something is not
  edgesync wal repair   do now what the agent does at its start, and in older segments too: cut what is torn, mark what is unreadable as
                        lost, keep the originals in data_dir/corrupt. Exit code 75 while an agent runs

The queue is that of data_dir as configured (--data_dir, --config); --dir PATH names a queue directory itself, such as a copy.
stat, dump and verify only read and take no lock. A running agent may be a few seconds ahead of its files; edgesync status asks it.

Flags of dump:
  --since TIME, --until TIME   events accepted from TIME on, up to TIME: 2026-01-31T12:00:00Z, or how long ago: 90s, 2h, 7d
  --entity UUID                of one device or other entity
  --action NAME                TIMESERIES_UPDATED, POST_ATTRIBUTES, ...
  --kind NAME                  ENTITY_DATA, DEVICE, DEVICE_CREDENTIALS, ALARM, ...
  --pending                    only what the cloud has not acknowledged
  --from OFFSET                from this offset on
  --limit N                    at most so many
  --all                        the queue's own control frames too, and what thinning has removed
  --json                       one JSON object a line, with the full content

States: PENDING waits for the cloud; DEPLOYED was passed, which counts what was dropped too; DEAD is in the dead-letter log
(edgesync help dead). What is damaged is shown in its place, with file and position.

Examples:
  edgesync wal dump --pending --limit 20
  edgesync wal dump --since 2h --json | jq -c 'select(.content.values.temperature > 30)'
`

// tool is a command that works on the files of a data directory.
type tool struct {
	topic          string // for help
	env            []string
	stdout, stderr io.Writer
	settings       config.Flags
	flags          *flag.FlagSet
	own            []string // names of its flags beside the configuration's
	dir            string   // --dir
	json           bool
}

func newTool(topic, name string, env []string, stdout, stderr io.Writer) *tool {
	t := &tool{topic: topic, env: env, stdout: stdout, stderr: stderr, flags: flag.NewFlagSet(name, flag.ContinueOnError)}
	t.flags.SetOutput(io.Discard)
	return t
}

// parse reads flags and arguments in any order. done: there is nothing more to do than to end with this code.
func (t *tool) parse(args []string, most int) (rest []string, code int, done bool) {
	t.flags.VisitAll(func(f *flag.Flag) { t.own = append(t.own, f.Name) })
	t.settings.Register(t.flags)
	limitMemory(t.env) // it runs beside an agent, on a small machine
	for {
		if err := t.flags.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil, run(context.Background(), Build{}, []string{"help", t.topic}, t.env, t.stdout, t.stderr), true
		} else if err != nil {
			return nil, usage(t.stderr, t.topic, err.Error(), t.own), true
		}
		if t.flags.NArg() == 0 {
			return rest, exitOK, false
		}
		if len(rest) == most {
			return nil, usage(t.stderr, t.topic, "an argument too many; write --name=value without blanks", nil), true
		}
		rest, args = append(rest, t.flags.Arg(0)), t.flags.Args()[1:]
	}
}

// dataDir is the configured data directory.
func (t *tool) dataDir() (string, error) {
	l, err := config.Load(&t.settings, t.env)
	if err != nil {
		return "", err
	}
	return l.Config.DataDir, nil
}

// queueDir is the queue to look into; dataDir is "" when it was named by --dir.
func (t *tool) queueDir() (queue, dataDir string, err error) {
	queue = t.dir
	if queue == "" {
		if dataDir, err = t.dataDir(); err != nil {
			return "", "", err
		}
		queue = filepath.Join(dataDir, "queue")
	}
	return queue, dataDir, there(queue)
}

func there(queue string) error {
	i, err := os.Stat(queue)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no queue at %s: name the right directory with --data_dir or --config", strconv.Quote(queue))
	case err == nil && !i.IsDir():
		return fmt.Errorf("%s is no directory: a queue is one", strconv.Quote(queue))
	}
	return err
}

// deadDir is where the dead letters of a queue are.
func deadDir(queue string) string { return filepath.Join(filepath.Dir(filepath.Clean(queue)), "dead") }

// subcommand finds what follows a command's name. done: print usage or help, and end with code.
func subcommand(topic, text string, names, args []string, stdout, stderr io.Writer) (name string, code int, done bool) {
	if len(args) == 0 {
		fmt.Fprint(stderr, text)
		return "", exitUsage, true
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, text)
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
	return "", usage(stderr, topic, what, nil), true
}

func walCommand(args, env []string, stdout, stderr io.Writer) int {
	name, code, done := subcommand("wal", walHelp, []string{"stat", "dump", "verify", "repair"}, args, stdout, stderr)
	if done {
		return code
	}
	t := newTool("wal", "wal "+name, env, stdout, stderr)
	t.flags.StringVar(&t.dir, "dir", "", "")
	var err error
	switch args = args[1:]; name {
	case "stat":
		var segments bool
		t.flags.BoolVar(&t.json, "json", false, "")
		t.flags.BoolVar(&segments, "segments", false, "")
		if _, code, done = t.parse(args, 0); done {
			return code
		}
		err = t.walStat(segments)
	case "dump":
		return t.walDump(args)
	case "verify":
		if _, code, done = t.parse(args, 0); done {
			return code
		}
		err = t.walVerify()
	case "repair":
		if _, code, done = t.parse(args, 0); done {
			return code
		}
		err = t.walRepair()
	}
	if err != nil {
		return fail(stderr, err)
	}
	return exitOK
}

// walStats is the JSON of wal stat. A field once published keeps its name and meaning; those of the same name as in status have the
// same meaning.
type walStats struct {
	Dir           string        `json:"dir"`
	First         uint64        `json:"first"` // offset
	Committed     uint64        `json:"committed"`
	Last          uint64        `json:"last"`
	Segments      int           `json:"segments"`
	Bytes         int64         `json:"bytes"`
	Accepted      uint64        `json:"accepted"`
	Deployed      uint64        `json:"deployed"`
	Pending       uint64        `json:"pending"`
	Dropped       uint64        `json:"dropped"`
	Dead          uint64        `json:"dead"`
	Damaged       uint64        `json:"damaged"`
	Balanced      bool          `json:"balanced"` // accepted = deployed + pending + dropped + dead + damaged
	OldestPending *time.Time    `json:"oldest_pending"`
	NewestPending *time.Time    `json:"newest_pending"`
	List          []walFileStat `json:"segment_list,omitempty"`
}

type walFileStat struct {
	File  string     `json:"file"`
	First uint64     `json:"first"`
	Bytes int64      `json:"bytes"`
	Begun *time.Time `json:"begun"`
}

// moment is a time in milliseconds as JSON wants it; nil for none.
func moment(ms int64) *time.Time {
	if _, undated := proto.Uptime(ms); undated || ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

func showMoment(t *time.Time) string {
	if t == nil {
		return "unknown"
	}
	return t.Format(stamp)
}

func (t *tool) walStat(segments bool) error {
	queue, _, err := t.queueDir()
	if err != nil {
		return err
	}
	st, err := wal.Inspect(queue)
	if err != nil {
		return fmt.Errorf("read the queue at %s: %w", queue, err)
	}
	dead, err := wal.InspectDead(deadDir(queue), st.Committed, nil)
	if err != nil {
		return fmt.Errorf("read the dead letters: %w", err)
	}
	var n agent.Snapshot
	agent.AddCounts(&n, st, dead, time.Now())
	s := walStats{
		Dir: queue, First: st.First, Committed: st.Committed, Last: st.Last, Segments: st.Segments, Bytes: st.Bytes, Accepted: n.Accepted,
		Deployed: n.Deployed, Pending: n.Pending, Dropped: n.Dropped, Dead: n.Dead, Damaged: n.Damaged,
		Balanced: n.Accepted == n.Deployed+n.Pending+n.Dropped+n.Dead+n.Damaged, OldestPending: moment(st.OldestPending),
	}
	if st.Pending > 0 {
		newest, err := wal.Newest(queue)
		if err != nil {
			return err
		}
		s.NewestPending = moment(newest)
	}
	if segments {
		list, err := wal.Segments(queue)
		if err != nil {
			return err
		}
		for _, i := range list {
			s.List = append(s.List, walFileStat{i.File, i.First, i.Bytes, moment(i.Time)})
		}
	}
	if t.json {
		return json.NewEncoder(t.stdout).Encode(&s)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "queue      %s\noffsets    first %d, committed %d, last %d\nsegments   %d, %d bytes\n\n", s.Dir, s.First, s.Committed, s.Last, s.Segments, s.Bytes)
	sign := "="
	if !s.Balanced {
		sign = "≠"
	}
	fmt.Fprintf(&b, "  accepted %12d\n%s deployed %12d\n+ pending  %12d\n+ dropped  %12d\n+ dead     %12d\n+ damaged  %12d\n",
		s.Accepted, sign, s.Deployed, s.Pending, s.Dropped, s.Dead, s.Damaged)
	if s.Pending > 0 {
		fmt.Fprintf(&b, "\npending    from %s to %s\n", showMoment(s.OldestPending), showMoment(s.NewestPending))
	}
	for i, f := range s.List {
		if i == 0 {
			fmt.Fprintf(&b, "\n%-20s %10s  begun\n", "segment", "bytes")
		}
		fmt.Fprintf(&b, "%s %10d  %s\n", f.File, f.Bytes, showMoment(f.Begun))
	}
	_, err = io.WriteString(t.stdout, b.String())
	return err
}

// errDamaged ends verify with exit code 1; what is damaged was printed.
var errDamaged = errors.New("the queue is damaged; edgesync wal repair marks what cannot be read, so that everything else is delivered")

func (t *tool) walVerify() error {
	queue, _, err := t.queueDir()
	if err != nil {
		return err
	}
	c, err := t.verify(queue)
	if err != nil {
		return err
	}
	if c.Damages > 0 {
		return errDamaged
	}
	return nil
}

// verify prints what Verify finds, and a summary.
func (t *tool) verify(queue string) (wal.Checked, error) {
	c, err := wal.Verify(queue, func(damage string) { fmt.Fprintln(t.stdout, damage) })
	if err != nil {
		return c, fmt.Errorf("verify the queue at %s: %w", queue, err)
	}
	state := "all intact"
	if c.Damages > 0 {
		state = several(c.Damages, "damaged place", "damaged places")
	}
	lost := ""
	if c.Lost > 0 {
		lost = "; " + several(c.Lost, "offset was", "offsets were") + " marked as lost by a repair"
	}
	if c.Thinned > 0 {
		lost += "; " + strconv.FormatUint(c.Thinned, 10) + " events were removed by thinning"
	}
	fmt.Fprintf(t.stdout, "%s, %d bytes, %s, %d of them events: %s%s\n",
		several(c.Segments, "segment", "segments"), c.Bytes, several(c.Frames, "frame", "frames"), c.Events, state, lost)
	return c, nil
}

func several(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func (t *tool) walRepair() error {
	queue, dataDir, err := t.queueDir()
	if err != nil {
		return err
	}
	if dataDir != "" {
		lock, err := disk.OpenDataDir(dataDir)
		if err != nil {
			return err
		}
		defer lock.Close()
	}
	corrupt := filepath.Join(filepath.Dir(filepath.Clean(queue)), "corrupt")
	done := &lines{w: t.stdout}
	if err := wal.Repair(queue, corrupt, slog.New(done)); err != nil {
		return fmt.Errorf("repair the queue at %s: %w", queue, err)
	}
	if done.n == 0 {
		fmt.Fprintln(t.stdout, "nothing to repair")
	} else {
		fmt.Fprintf(t.stdout, "what was cut or replaced and is not zeros is kept in %s\n", corrupt)
	}
	_, err = t.verify(queue)
	return err
}

// lines prints log records as sentences, for a person who waits for them.
type lines struct {
	w io.Writer
	n int
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.n++
	s, sep := r.Message, ": "
	r.Attrs(func(a slog.Attr) bool {
		s += sep + a.Key + " " + a.Value.String()
		sep = ", "
		return true
	})
	_, err := fmt.Fprintln(l.w, s)
	return err
}
