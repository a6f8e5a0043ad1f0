package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"path/filepath"
	"strconv"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/status"
	"edgesync/wal"
	"edgesync/wal/disk"
)

const deadHelp = `edgesync dead looks after dead letters: events that the cloud refuses. They are kept apart, so that they hold nothing else up, and are tried
again every retry.interval, up to retry.max times; then, or at once if the cloud's answer leaves no hope, they rest.

Usage:
  edgesync dead list               one line a letter: offset, when the event was accepted, action, entity, tries, state, size, reason
  edgesync dead show OFFSET        one letter and its content; secrets are shown as ***
  edgesync dead retry OFFSET|all   wake letters: their tries begin anew. A running agent tries the first at once, the others each
                                   retry.interval; without one it happens when it runs
  edgesync dead drop OFFSET|all    give letters up, for good; they count as dropped

--json prints one JSON object a line. The data directory is the configured one (--data_dir, --config). With a running agent these commands
ask it; without one they work on its files. Exit code 1: no such letter; 75: an agent holds the directory and does not answer.

Examples:
  edgesync dead list
  edgesync dead retry all          after the cause was mended in ThingsBoard
`

// dropPatience is how often, each second, letters are dropped again whose commit is not durable yet; the agent writes it within 5 s.
const dropPatience = 10

func deadCommand(args, env []string, stdout, stderr io.Writer) int {
	name, code, done := subcommand("dead", deadHelp, []string{"list", "show", "retry", "drop"}, args, stdout, stderr)
	if done {
		return code
	}
	t := newTool("dead", "dead "+name, env, stdout, stderr)
	t.flags.BoolVar(&t.json, "json", false, "")
	most := 1
	if name == "list" {
		most = 0
	}
	rest, code, done := t.parse(args[1:], most)
	if done {
		return code
	}
	var offset uint64 // 0 = all
	if most == 1 {
		var err error
		if len(rest) == 0 {
			return usage(stderr, "dead", "dead "+name+" needs the offset of a letter; edgesync dead list shows them", nil)
		}
		if rest[0] == "all" && name != "show" {
			offset = 0
		} else if offset, err = strconv.ParseUint(rest[0], 10, 64); err != nil || offset == 0 {
			what := "a letter is named by its offset, a number above 0"
			if name != "show" {
				what += `, or "all"`
			}
			return usage(stderr, "dead", what, nil)
		}
	}
	dir, err := t.dataDir()
	if err == nil {
		err = there(filepath.Join(dir, "queue"))
	}
	if err == nil {
		switch name {
		case "list":
			err = t.deadList(dir)
		case "show":
			err = t.deadShow(dir, offset)
		case "retry":
			err = t.deadRetry(dir, offset)
		case "drop":
			err = t.deadDrop(dir, offset)
		}
	}
	if err != nil {
		return fail(stderr, err)
	}
	return exitOK
}

// eachLetter asks the agent, or reads the files, from the offset from on.
func eachLetter(dir string, from uint64, fn func(*agent.Letter) bool) error {
	err := status.Letters(dir, from, fn)
	if !errors.Is(err, status.ErrNoAgent) {
		return err
	}
	st, err := wal.Inspect(filepath.Join(dir, "queue"))
	if err == nil {
		_, err = wal.InspectDead(filepath.Join(dir, "dead"), st.Committed, func(w *wal.DeadLetter) bool {
			l := agent.LetterOf(w, 0)
			return w.Offset < from || fn(&l)
		})
	}
	if err != nil {
		return fmt.Errorf("read the dead letters: %w", err)
	}
	return nil
}

func restState(l *agent.Letter) string {
	if l.Resting {
		return "rests"
	}
	return "waits"
}

func (t *tool) deadList(dir string) error {
	n := 0
	var failed error
	err := eachLetter(dir, 0, func(l *agent.Letter) bool {
		n++
		if t.json {
			failed = json.NewEncoder(t.stdout).Encode(l)
			return failed == nil
		}
		if n == 1 {
			fmt.Fprintf(t.stdout, "%10s  %-24s  %-20s  %-36s  %5s  %-5s  %7s  %s\n", "OFFSET", "TIME", "ACTION", "ENTITY", "TRIES", "STATE", "BYTES", "REASON")
		}
		_, failed = fmt.Fprintf(t.stdout, "%10d  %s  %-20s  %s  %5d  %s  %7d  %s\n",
			l.Offset, l.Time.Format(stamp), l.Action, l.Entity, l.Tries, restState(l), l.Size, printable(l.Reason))
		return failed == nil
	})
	if err == nil && n == 0 && !t.json {
		fmt.Fprintln(t.stdout, "no dead letters")
	}
	return errors.Join(err, failed)
}

// noLetter is the error about an offset at which there is none.
func noLetter(offset uint64) error {
	return fmt.Errorf("no dead letter at offset %d; edgesync dead list shows those there are", offset)
}

// shownLetter is the JSON of dead show.
type shownLetter struct {
	agent.Letter
	EntityType string          `json:"entity_type"`
	Content    json.RawMessage `json:"content"`
}

func (t *tool) deadShow(dir string, offset uint64) error {
	var s shownLetter
	err := eachLetter(dir, offset, func(l *agent.Letter) bool { s.Letter = *l; return false })
	if err != nil {
		return err
	}
	if s.Offset != offset {
		return noLetter(offset)
	}
	// The content may be megabytes, too much for a small agent's memory; the file is there to be read.
	_, err = wal.InspectDead(filepath.Join(dir, "dead"), math.MaxUint64, func(w *wal.DeadLetter) bool {
		if w.Offset < offset {
			return true
		}
		if w.Offset == offset {
			if c, entity, err := proto.AppendContent(nil, w.Fragment); err == nil {
				s.Content, s.EntityType = c, entity
			}
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("read the letter's content: %w", err)
	}
	if t.json {
		return json.NewEncoder(t.stdout).Encode(&s)
	}
	content := bytes.NewBufferString("(does not decode)")
	if len(s.Content) > 0 {
		content.Reset()
		if err := json.Indent(content, s.Content, "", "  "); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(t.stdout, "offset   %d\naccepted %s\naction   %s\nentity   %s %s\nsize     %d bytes\nrefused  %s, tries %d, %s\nreason   %s\ncontent  %s\n",
		s.Offset, s.Time.Format(stamp), s.Action, printable(orDash(s.EntityType)), s.Entity, s.Size, s.At.Format(stamp), s.Tries, restState(&s.Letter),
		printable(s.Reason), printableLines(content.String()))
	return err
}

// printableLines is printable for text of several lines.
func printableLines(s string) string {
	var b bytes.Buffer
	for i, l := range bytes.Split([]byte(s), []byte("\n")) {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(printable(string(l)))
	}
	return b.String()
}

// onFiles does something to the dead letters of a directory on which no agent runs.
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

func at(offset uint64) func(uint64) bool {
	return func(o uint64) bool { return offset == 0 || o == offset }
}

func (t *tool) deadRetry(dir string, offset uint64) error {
	n, err := status.RetryDead(dir, offset)
	how := "the agent tries the first now, the others each retry.interval"
	if errors.Is(err, status.ErrNoAgent) {
		how = "no agent runs; they are tried when it does"
		err = onFiles(dir, func(d *wal.DeadLog) (err error) { n, err = d.Revive(at(offset)); return err })
	}
	return t.report("woken", how, offset, n, err)
}

func (t *tool) deadDrop(dir string, offset uint64) error {
	n, later, err := status.DropDead(dir, offset)
	if errors.Is(err, status.ErrNoAgent) {
		later = 0
		err = onFiles(dir, func(d *wal.DeadLog) (err error) { n, err = d.Discard(at(offset)); return err })
	}
	for try := 0; err == nil && later > 0 && try < dropPatience; try++ {
		time.Sleep(time.Second)
		var more int
		more, later, err = status.DropDead(dir, offset)
		n += more
	}
	if err == nil && later > 0 {
		err = fmt.Errorf("%s dropped; %d came so lately that they cannot be yet: try again in a few seconds", several(n, "letter", "letters"), later)
	}
	return t.report("dropped", "", offset, n, err)
}

// report tells what was done to letters.
func (t *tool) report(done, how string, offset uint64, n int, err error) error {
	switch {
	case err != nil:
		return err
	case n == 0 && offset != 0:
		return noLetter(offset)
	case t.json:
		_, err = fmt.Fprintf(t.stdout, "{\"%s\":%d}\n", done, n)
		return err
	}
	done = several(n, "letter ", "letters ") + done
	if how != "" && n > 0 {
		done += "; " + how
	}
	_, err = fmt.Fprintln(t.stdout, done)
	return err
}
