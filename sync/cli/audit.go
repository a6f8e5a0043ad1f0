package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/former"
	"edgesync/sync/status"
	"edgesync/wal"
	"edgesync/wal/disk"
)

const auditHelp = `Usage:
  edgesync audit [--from TIME] [--to TIME] [--out FILE]
  edgesync audit --verify FILE

Says, as text that can be handed over, what became of the events: how many were
accepted, acknowledged by the cloud, dropped and why, and so on; and lists the
files of the queue, each with its offsets, times, bytes and SHA-256 sums. It
only reads, beside a running agent or without one. Nothing of what devices sent
is in it, and no secret.

The last sum of a line covers the whole text up to there, so the sum of the line
"end" stands for all of it: who keeps that one can tell later whether anything
was changed. It is no signature.

  --from, --to   list the files that hold events accepted in that time, and
                 count these: 2026-01-31T12:00:00Z, or how long ago as 2h or 7d
  --out          write FILE, with mode 0600; it must not be there yet
  --verify       compare FILE with itself and with the queue: each file of the
                 queue agrees, differs, or is gone, as the oldest go when the
                 cloud has acknowledged them (queue.keep_acknowledged keeps the
                 newest). One that was thinned or repaired since differs, and
                 one that is missing while older ones are there. Exit code 1:
                 anything differs

Example:
  edgesync audit --from 2026-01-01T00:00:00Z --out january.txt
  edgesync audit --verify january.txt
`

// auditTitle is the first line of an audit, auditMark and auditEnd are the first words of the lines
// that hold nothing but a sum.
const (
	auditTitle = "edgesync audit 1"
	auditMark  = "begin"
	auditEnd   = "end"
	auditLine  = 4 << 10 // bytes of a line, at most
)

// chain sums the text of an audit: each sum covers the one before it, and all text since.
type chain struct {
	hash.Hash
}

func newChain() chain { return chain{sha256.New()} }

// next is the sum up to here.
func (c *chain) next() string {
	sum := c.Sum(nil)
	c.Reset()
	c.Write(sum)
	return hex.EncodeToString(sum)
}

func (p *program) auditCommand(args []string) int {
	t := p.newTool("audit", "")
	var when period
	out, verify := "", ""
	when.register(t.flags)
	t.flags.StringVar(&out, "out", "", "")
	t.flags.StringVar(&verify, "verify", "", "")
	if _, code, done := t.parse(args, 0); done {
		return code
	}
	if when.from > when.to {
		return p.usage("audit", when.wrong("audit"))
	}
	if out != "" && verify != "" {
		return p.usage("audit", "either --out or --verify")
	}
	dir, err := t.dataDir()
	if err == nil {
		err = checkQueue(filepath.Join(dir, "queue"))
	}
	switch {
	case err != nil:
	case verify != "":
		err = t.verifyAudit(dir, verify)
	case out != "":
		// What is there already may be an earlier audit.
		if err = writeNew(out, func(w io.Writer) error { return t.audit(w, dir, &when) }); err != nil {
			err = fmt.Errorf("write the audit: %w", err)
		}
	default:
		err = t.audit(p.stdout, dir, &when)
	}
	return t.end(err)
}

// audited is a file of the queue while it is looked through.
type audited struct {
	name             string
	first, last      uint64 // offsets
	from, to         int64  // of the frames; 0: not known
	bytes            int64
	damaged, thinned uint64
}

// auditor writes an audit.
type auditor struct {
	w     io.Writer
	sum   chain
	err   error
	queue string
	when  *period
	dump  dumper
	file  audited
	// In the time that was asked for. What is damaged or was thinned has no time, and is counted
	// with its file.
	states           map[string]uint64
	damaged, thinned uint64
	oldest           int64 // time of the first frame
}

// counts writes a line of numbers, of which the first is the sum of the others.
func (a *auditor) counts(title, names string, n ...uint64) {
	between := ": "
	for i, name := range strings.Fields(names) {
		title += between + name + " " + strconv.FormatUint(n[i], 10)
		if between = " + "; i == 0 {
			between = " = "
		}
	}
	a.text(title + "\n")
}

func (a *auditor) text(s string) {
	io.WriteString(a.sum, s)
	if a.err == nil {
		_, a.err = io.WriteString(a.w, s)
	}
}

// mark ends a line with the sum up to here, which is no part of the text.
func (a *auditor) mark(s string) {
	a.text(s + " ")
	if sum := a.sum.next(); a.err == nil {
		_, a.err = io.WriteString(a.w, sum+"\n")
	}
}

// audit writes an audit of a data directory.
func (t *tool) audit(w io.Writer, dir string, when *period) error {
	s, err := status.Fetch(dir)
	if err != nil {
		return err
	}
	a := auditor{w: w, sum: newChain(), queue: filepath.Join(dir, "queue"), when: when, states: make(map[string]uint64)}
	a.dump.committed, a.dump.end = s.Committed, s.LastOffset
	letters := uint64(0)
	_, err = wal.InspectDead(filepath.Join(dir, "dead"), s.Committed, func(l *wal.DeadLetter) bool {
		a.dump.dead = append(a.dump.dead, l.Offset)
		if when.has(l.Time) {
			letters++
		}
		return true
	})
	if err == nil {
		a.dump.former, err = former.Inspect(filepath.Join(dir, "former"))
	}
	if err != nil {
		return fmt.Errorf("read the dead letters: %w", err)
	}
	from := "the beginning"
	if when.begun {
		from = stamped(when.from)
	}
	a.text(auditTitle + "\nmade " + stamped(time.Now().UnixMilli()) + " by edgesync " + t.full() +
		"\nedge " + strconv.Quote(s.Edge) + " at " + strconv.Quote(s.Cloud) +
		"\nof what was accepted from " + from + " to " + stamped(when.to) +
		"\nfile, first and last offset, first and last time, bytes, SHA-256 of these, SHA-256 of the text up to here:\n")
	a.mark(auditMark)
	err = wal.Walk(a.queue, 0, a.record)
	a.flush()
	if err != nil {
		return fmt.Errorf("read the queue at %s: %w", a.queue, err)
	}
	acknowledged, pending, dead := a.states["DEPLOYED"], a.states["PENDING"], a.states["DEAD"]
	a.counts("of that time, and still in the files", "accepted acknowledged pending dead", acknowledged+pending+dead,
		acknowledged, pending, dead)
	a.counts("lacking in these files", "events damaged thinned", a.damaged+a.thinned, a.damaged, a.thinned)
	a.counts("of that time, wherever they lie", "dead_letters", letters)
	if a.oldest > when.from && s.Accepted > acknowledged+pending+dead {
		a.text("what was accepted before " + stamped(a.oldest) + " is not in the files any more\n")
	}
	a.counts("over the life of the data directory", "accepted acknowledged pending dropped dead damaged",
		s.Accepted, s.Deployed, s.Pending, s.Dropped, s.Dead, s.Damaged)
	a.losses(&s)
	a.mark(auditEnd)
	return a.err
}

// losses says why events were dropped.
func (a *auditor) losses(s *agent.Snapshot) {
	for i := range s.Losses {
		l := &s.Losses[i]
		a.counts("dropped", l.Reason, l.Total)
		a.counts("of these, the last", "events", l.Events)
		a.text("which were accepted from " + showMoment(l.From) + " to " + showMoment(l.To) + "\n")
	}
	if s.Unrecorded > 0 {
		a.counts("dropped", "not_recorded_why", s.Unrecorded)
	}
}

// record takes one record of the queue.
func (a *auditor) record(r *wal.Record) bool {
	if r.Offset > a.dump.end || a.err != nil {
		return false
	}
	f := &a.file
	if r.File != f.name {
		a.flush()
		*f = audited{name: r.File, first: r.Offset, from: math.MaxInt64}
	}
	f.bytes = max(f.bytes, r.At+r.Bytes)
	if r.Last >= r.Offset {
		f.last = max(f.last, r.Last)
	}
	switch r.Found {
	case wal.FoundEvent:
		if a.when.has(r.Event.Time) {
			a.states[a.dump.state(r)]++
		}
	case wal.FoundDamage, wal.FoundMissing, wal.FoundLost:
		if r.Last >= r.Offset {
			f.damaged += r.Last - r.Offset + 1
		}
	case wal.FoundThinned:
		f.thinned += r.Last - r.Offset + 1
	}
	if at := r.Event.Time; at != 0 {
		if _, undated := proto.Uptime(at); !undated {
			f.from, f.to = min(f.from, at), max(f.to, at)
		}
	}
	return true
}

// flush writes the line of the file that was looked through, if it concerns the time asked for.
func (a *auditor) flush() {
	f := &a.file
	known := f.to != 0
	if known && a.oldest == 0 {
		a.oldest = f.from
	}
	if f.name == "" || known && (f.to < a.when.from || f.from > a.when.to) {
		return
	}
	a.damaged += f.damaged
	a.thinned += f.thinned
	from, to := "-", "-"
	if known {
		from, to = stamped(f.from), stamped(f.to)
	}
	sum, err := sumOf(filepath.Join(a.queue, f.name), f.bytes)
	if err != nil { // the agent has just deleted it, or it does not read
		sum = "-"
	}
	a.mark(f.name + " " + strconv.FormatUint(f.first, 10) + " " + strconv.FormatUint(f.last, 10) + " " + from + " " + to + " " +
		strconv.FormatInt(f.bytes, 10) + " " + sum)
}

// sumOf is the SHA-256 sum of the first bytes of a file of the queue.
func sumOf(path string, bytes int64) (string, error) {
	f, err := disk.Open(path, os.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	c := newChain()
	if _, err := io.CopyN(c, f, bytes); err != nil {
		return "", err
	}
	return c.next(), nil
}

// isSum reports whether a word is a SHA-256 sum.
func isSum(word string) bool {
	return len(word) == 2*sha256.Size && strings.Trim(word, "0123456789abcdef") == ""
}
