package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/former"
	"edgesync/sync/plain"
	"edgesync/sync/status"
	"edgesync/sync/tally"
	"edgesync/wal"
	"edgesync/wal/disk"
)

const deadHelp = `Usage:
  edgesync dead list               one line a dead letter: offset, when the
                                   event was accepted, action, entity, tries,
                                   state, size, reason. --entity NAME: of one
                                   device or other entity (or its id); --tail N:
                                   the last so many; --follow: go on with what
                                   comes, until you stop it
  edgesync dead show OFFSET        one dead letter and its content; secrets are
                                   shown as ***
  edgesync dead retry OFFSET|all   wake dead letters: their tries begin anew. A
                                   running agent tries the first at once, the
                                   others once it is accepted; without an agent
                                   they are tried when one runs
  edgesync dead drop OFFSET|all    give dead letters up, for good; they count as
                                   dropped, and with the ADDED of a device what
                                   waits for it
  edgesync dead retry --by-name    events of a former edge: send telemetry,
                                   attributes and alarms to the devices and
                                   assets of the same type and name, once these
                                   are here under the new edge. The others stay,
                                   and are named
  edgesync dead drop former        give the events of former edges up, for good

Dead letters are events that the cloud refuses. They are kept apart, so that
they hold nothing else up, and tried again, one each retry.interval, the least
tried first; once one is accepted, the others follow at once. After retry.max
tries, or at once if the cloud's answer leaves no hope, a dead letter rests.

When the edge's id changes (the edge was made anew, or the gateway goes to
another server), events that wait hold ids that the new server does not know,
and would drop in silence. They are kept apart, however many there are, and
count as dead until one of the last two commands. "all" does not mean them.

--json prints one JSON object a line. The data directory is the configured one
(--data_dir, --config). With a running agent these commands ask it; without one
they work on its files. --by-name needs an agent that runs. Exit code 1: no such
dead letter; 75: an agent holds the directory and does not answer.

Examples:
  edgesync dead list
  edgesync dead retry all          after the cause was mended in ThingsBoard
`

// dropTries is how often, once a second, dead letters are dropped again whose commit is not durable
// yet. The agent makes a commit durable within 5 s.
const dropTries = 10

func (p *program) dead(args []string) int {
	name, code, done := p.subcommand("dead", args)
	if done {
		return code
	}
	t := p.newTool("dead", name)
	t.flags.BoolVar(&t.json, "json", false, "")
	var which whose
	tail, follow := 0, false
	if name == "list" {
		t.flags.BoolVar(&follow, "follow", false, "")
		which.register(t.flags)
		t.flags.IntVar(&tail, "tail", 0, "")
	}
	byName := false
	if name == "retry" {
		t.flags.BoolVar(&byName, "by-name", false, "")
	}
	most := 1
	if name == "list" {
		most = 0
	}
	rest, code, done := t.parse(args[1:], most)
	if done {
		return code
	}
	var offset uint64
	dropFormer := name == "drop" && len(rest) == 1 && rest[0] == "former"
	if byName && len(rest) > 0 {
		return p.usage("dead", "dead retry --by-name takes no offset: it looks at all events of former edges")
	}
	if most == 1 && !byName && !dropFormer {
		what := ""
		if offset, what = deadOffset(name, rest); what != "" {
			return p.usage("dead", what)
		}
	}
	dir, err := t.dataDir()
	if err == nil {
		err = checkQueue(filepath.Join(dir, "queue"))
	}
	if err != nil {
		return p.fail(err)
	}
	switch {
	case byName:
		return t.end(t.formerRetry(dir))
	case dropFormer:
		return t.end(t.formerDrop(dir))
	}
	switch name {
	case "list":
		err = t.deadList(dir, &which, tail, follow)
	case "show":
		err = t.deadShow(dir, offset)
	case "retry":
		err = t.deadRetry(dir, offset)
	case "drop":
		err = t.deadDrop(dir, offset)
	}
	return t.end(err)
}

// deadOffset reads which dead letter a command is about; 0 is all of them. what says what is wrong
// with the arguments, "" if nothing is.
func deadOffset(name string, args []string) (offset uint64, what string) {
	if len(args) == 0 {
		which := "the offset of a dead letter"
		if name != "show" {
			which += ", or all"
		}
		return 0, "dead " + name + " needs " + which + "; edgesync dead list shows them"
	}
	if args[0] == "all" && name != "show" {
		return 0, ""
	}
	offset, err := strconv.ParseUint(args[0], 10, 64)
	if err == nil && offset != 0 {
		return offset, ""
	}
	what = "a dead letter is named by its offset, a number above 0"
	if name != "show" {
		what += `, or "all"`
	}
	return 0, what
}

// eachDeadLetter calls fn with each dead letter from an offset on, until it returns false. It asks
// the agent, or reads the files where no agent runs.
func eachDeadLetter(dir string, from uint64, fn func(*agent.DeadLetter) bool) error {
	err := status.DeadLetters(dir, from, fn)
	if !errors.Is(err, status.ErrNoAgent) {
		return err
	}
	st, err := wal.Inspect(filepath.Join(dir, "queue"))
	if err == nil {
		_, err = wal.InspectDead(filepath.Join(dir, "dead"), st.Committed, func(w *wal.DeadLetter) bool {
			l := agent.DeadLetterOf(w, 0)
			return w.Offset < from || fn(&l)
		})
	}
	if err != nil {
		return fmt.Errorf("read the dead letters: %w", err)
	}
	return nil
}

func restState(l *agent.DeadLetter) string {
	if l.Resting {
		return "rests"
	}
	return "waits"
}

// deadList prints the dead letters of the entities that are asked for, the last tail of them, or
// all when that is 0; with follow, then each one that comes, until the process is stopped.
func (t *tool) deadList(dir string, which *whose, tail int, follow bool) error {
	if err := which.open(t, filepath.Join(dir, "queue")); err != nil {
		return err
	}
	defer which.names.Close()
	wanted := func(l *agent.DeadLetter) bool {
		id, _ := proto.ParseUUID(l.Entity)
		return which.wants(id)
	}
	skip := 0
	if tail > 0 {
		all := 0
		err := eachDeadLetter(dir, 0, func(l *agent.DeadLetter) bool {
			if wanted(l) {
				all++
			}
			return true
		})
		if err != nil {
			return err
		}
		skip = max(0, all-tail)
	}
	n, now := 0, time.Now()
	var failed error
	var seen, there map[uint64]bool // bounded by the log
	show := func(l *agent.DeadLetter) bool {
		if follow {
			there[l.Offset] = true
		}
		if seen[l.Offset] || !wanted(l) {
			return true
		}
		if skip > 0 {
			skip--
			return true
		}
		n++
		id, _ := proto.ParseUUID(l.Entity)
		l.Name = plain.Cut(which.names.Of(id), nameShown)
		if t.json {
			failed = json.NewEncoder(t.stdout).Encode(l)
			return failed == nil
		}
		if n == 1 {
			fmt.Fprintf(t.stdout, "%10s  %-24s  %10s  %-20s  %-36s  %5s  %-5s  %7s  %s\n",
				"OFFSET", "TIME", "", "ACTION", "ENTITY", "TRIES", "STATE", "BYTES", "REASON")
		}
		_, failed = fmt.Fprintf(t.stdout, "%10d  %s  %10s  %-20s  %-36s  %5d  %s  %7d  %s\n",
			l.Offset, l.Time.Format(stamp), plain.Ago(now.Sub(l.Time)), l.Action, which.of(id),
			l.Tries, restState(l), l.Size, printable(l.Reason))
		return failed == nil
	}
	err := error(nil)
	for more := true; more; {
		there = make(map[uint64]bool)
		err = eachDeadLetter(dir, 0, show)
		if more = follow && err == nil && failed == nil; more {
			seen = there
			time.Sleep(followEvery)
			now = time.Now()
		}
	}
	if err == nil && n == 0 && !t.json {
		fmt.Fprintln(t.stdout, "no dead letters")
	}
	if err == nil && failed == nil && !t.json { // with --json each line is a dead letter
		err = t.formerList(dir)
	}
	return errors.Join(err, failed)
}

// errNoDeadLetter is the error about an offset at which there is no dead letter.
func errNoDeadLetter(offset uint64) error {
	return fmt.Errorf("no dead letter at offset %d; edgesync dead list shows those there are", offset)
}

// onFiles changes the dead letters of a directory on which no agent runs, and holds the directory
// while it does.
func onFiles(dir string, do func(d *wal.DeadLog) error) (err error) {
	lock, err := disk.OpenDataDir(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	st, err := wal.Inspect(filepath.Join(dir, "queue"))
	if err != nil {
		return err
	}
	d, err := wal.OpenDead(filepath.Join(dir, "dead"), deadBytes, st.Committed, slog.New(slog.DiscardHandler))
	if err != nil {
		return fmt.Errorf("open the dead-letter log: %w", err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return do(d)
}

// noteDropped notes that a person has dropped so many events of a directory that the caller holds.
func noteDropped(dir string, n uint64) {
	t := tally.Open(dir, time.Now, slog.New(slog.DiscardHandler))
	t.Note(tally.Person, n, 0, 0)
	t.Close()
}

// at matches one offset; 0 matches all.
func at(offset uint64) func(uint64) bool {
	return func(o uint64) bool { return offset == 0 || o == offset }
}

func (t *tool) deadRetry(dir string, offset uint64) error {
	n, err := status.RetryDead(dir, offset)
	how := "the agent tries the first now, the others once it is accepted"
	if errors.Is(err, status.ErrNoAgent) {
		how = "no agent runs; they are tried when one does"
		err = onFiles(dir, func(d *wal.DeadLog) (err error) { n, err = d.Revive(at(offset)); return err })
	}
	return t.report("woken", how, offset, n, err)
}

func (t *tool) deadDrop(dir string, offset uint64) error {
	n, later, err := status.DropDead(dir, offset)
	if errors.Is(err, status.ErrNoAgent) {
		later = 0
		err = onFiles(dir, func(d *wal.DeadLog) error {
			over, err := former.Open(former.Options{Dir: filepath.Join(dir, "overflow")})
			if err != nil {
				return fmt.Errorf("open the overflow of the dead-letter log: %w", err)
			}
			n, err = agent.DropDead(d, over, offset)
			noteDropped(dir, uint64(n))
			return errors.Join(err, over.Close())
		})
	}
	for try := 0; err == nil && later > 0 && try < dropTries; try++ {
		time.Sleep(time.Second)
		var more int
		more, later, err = status.DropDead(dir, offset)
		n += more
	}
	if err == nil && later > 0 {
		err = fmt.Errorf("%s dropped; %d came too recently to be dropped yet: try again in a few seconds",
			several(n, "dead letter", "dead letters"), later)
	}
	return t.report("dropped", "", offset, n, err)
}

// report prints what was done to n dead letters, and how it goes on.
func (t *tool) report(done, how string, offset uint64, n int, err error) error {
	switch {
	case err != nil:
		return err
	case n == 0 && offset != 0:
		return errNoDeadLetter(offset)
	case t.json:
		_, err = fmt.Fprintf(t.stdout, "{\"%s\":%d}\n", done, n)
		return err
	}
	done = several(n, "dead letter ", "dead letters ") + done
	if how != "" && n > 0 {
		done += "; " + how
	}
	_, err = fmt.Fprintln(t.stdout, done)
	return err
}
