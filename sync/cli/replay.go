package cli

import (
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/status"
	"edgesync/wal"
)

const replayHelp = `Usage:
  edgesync replay --from TIME [--to TIME] [--entity NAME|ID] [--attributes]
                  [--copies] [--dry-run]
  edgesync replay --stop

Has the agent that runs send acknowledged events to the cloud once more, for the
day when somebody has deleted data there. What the cloud has acknowledged is
still here only as far as queue.keep_acknowledged keeps it.

Telemetry goes up with its own times, so that twice does no harm; but the rule
chains of the cloud see it as new, and may raise alarms again. Alarms, entities,
relations and answers to calls are never sent twice, nor is what is of an entity
that is not here any more.

New events go first: the agent puts small groups back into its queue while
hardly anything waits there. They count as accepted, and in status as replayed.
A restart goes on where it was; after a power cut up to 256 KiB go up twice.

  --from, --to   when the events were accepted, as wal dump shows it:
                 2026-01-31T12:00:00Z, or how long ago: 90s, 2h, 7d
  --entity       of one device or other entity
  --attributes   attributes that devices have set, too. They carry no time: an
                 old value may stand over a newer one until it is set again
  --copies       what earlier replays have put back, too (wal dump shows it as
                 replayed): for when the events themselves are not here any more
  --dry-run      only say how many events there are
  --stop         end the replay that runs

Exit code 1: no agent runs, a replay runs already, or there is nothing to send.

Example:
  edgesync replay --from 2026-01-31T12:00:00Z --to 2h --entity pump-3 --dry-run
`

// period is a stretch of time that a command is asked about, in milliseconds since the epoch, both
// ends included.
type period struct {
	from, to int64
	begun    bool // --from was there
}

// register registers --from and --to, which ends now by default.
func (p *period) register(flags *flag.FlagSet) {
	now := time.Now()
	p.to = now.UnixMilli()
	flags.Func("from", "", func(s string) (err error) { p.from, err = parseMoment(s, now); p.begun = true; return err })
	flags.Func("to", "", func(s string) (err error) { p.to, err = parseMoment(s, now); return err })
}

// wrong says what is wrong with a period; "" if nothing is.
func (p *period) wrong(command string) string {
	switch {
	case p.from > p.to:
		return "--from is behind --to"
	case !p.begun:
		return command + " needs --from: 2026-01-31T12:00:00Z, or how long ago as 2h or 7d"
	}
	return ""
}

// has reports whether a time lies in the period, or is that of a clock that was not set.
func (p *period) has(ms int64) bool {
	_, undated := proto.Uptime(ms)
	return undated || ms >= p.from && ms <= p.to
}

func (p *program) replayCommand(args []string) int {
	t := p.newTool("replay", "")
	var when period
	var which whose
	var dry, stop bool
	var o agent.ReplayOrder
	when.register(t.flags)
	which.register(t.flags)
	t.flags.BoolVar(&dry, "dry-run", false, "")
	t.flags.BoolVar(&stop, "stop", false, "")
	t.flags.BoolVar(&o.Attributes, "attributes", false, "")
	t.flags.BoolVar(&o.Copies, "copies", false, "")
	if _, code, done := t.parse(args, 0); done {
		return code
	}
	switch what := when.wrong("replay"); {
	case stop && (when.begun || dry || o.Attributes || o.Copies || which.entity != ""):
		return p.usage("replay", "--stop stands alone")
	case what != "" && !stop:
		return p.usage("replay", what)
	}
	dir, err := t.dataDir()
	if err != nil {
		return p.fail(err)
	}
	if stop {
		err = status.StopReplay(dir)
		if err == nil {
			fmt.Fprintln(p.stdout, "the replay has ended; what it has put into the queue goes up")
		}
		return t.end(noAgentOn(dir, err))
	}
	queue := filepath.Join(dir, "queue")
	if err = checkQueue(queue); err == nil {
		err = which.open(t, queue)
	}
	if err != nil {
		return p.fail(err)
	}
	defer which.names.Close()
	text, err := keptOf(queue, dir, &when, &which, &o)
	if err != nil {
		return p.fail(err)
	}
	fmt.Fprint(p.stdout, text)
	if dry {
		return exitOK
	}
	o.From, o.To = time.UnixMilli(when.from).UTC(), time.UnixMilli(when.to).UTC()
	for _, id := range which.ids {
		o.Entities = append(o.Entities, proto.FormatUUID(id))
	}
	if err = noAgentOn(dir, status.Replay(dir, o)); err == nil {
		fmt.Fprintln(p.stdout, "the agent sends them again; edgesync status shows how far it is")
	}
	return t.end(err)
}

// noAgentOn puts the error that no agent answers into words.
func noAgentOn(dir string, err error) error {
	if errors.Is(err, status.ErrNoAgent) {
		err = fmt.Errorf("no agent runs on %q: start it, or name the directory of the one that runs with --data_dir or --config", dir)
	}
	return err
}

// keptOf says how many acknowledged events a replay would send. An error if there are none.
func keptOf(queue, dir string, when *period, which *whose, o *agent.ReplayOrder) (text string, err error) {
	committed := uint64(0)
	st, err := wal.Inspect(queue)
	if err == nil {
		committed = st.Committed
		if s, err := status.Fetch(dir); err == nil && s.Running { // it knows better
			committed = max(committed, s.Committed)
		}
	}
	var dead []uint64 // offsets, in order
	if err == nil {
		_, err = wal.InspectDead(beside(queue, "dead"), committed, func(l *wal.DeadLetter) bool {
			dead = append(dead, l.Offset)
			return true
		})
	}
	with := *o
	with.Copies = true
	var n, left, copies int
	var bytes, oldest, first, last int64
	if err == nil {
		err = wal.Walk(queue, 0, func(r *wal.Record) bool {
			e := &r.Event
			if _, undated := proto.Uptime(e.Time); oldest == 0 && e.Time > 0 && !undated {
				oldest = e.Time
			}
			if r.Offset > committed {
				return false
			}
			if r.Found != wal.FoundEvent || !with.Takes(e) || !when.has(e.Time) || !which.wants(e.Entity) {
				return true
			}
			_, isDead := slices.BinarySearch(dead, r.Offset)
			switch {
			case !o.Takes(e):
				copies++
			case isDead || !which.names.Knows(e.Entity):
				left++
			default:
				if n == 0 {
					first = e.Time
				}
				n, bytes, last = n+1, bytes+int64(len(e.Fragment)), e.Time
			}
			return true
		})
	}
	if err != nil {
		return "", fmt.Errorf("read the queue at %s: %w", queue, err)
	}
	if left > 0 {
		text = "; " + several(left, "event", "events") + " left out: of what is not here any more, or dead letters"
	}
	if copies > 0 {
		text += "; " + several(copies, "copy", "copies") + " of earlier replays left out (--copies)"
	}
	if oldest > when.from {
		text += "; of what was accepted before " + stamped(oldest) + " nothing is here any more (queue.keep_acknowledged)"
	}
	if n == 0 {
		return "", errors.New("no acknowledged events of that time are here to be sent again" + text)
	}
	return fmt.Sprintf("%s (%d bytes), accepted from %s to %s, can be sent again%s\n",
		several(n, "event", "events"), bytes, stamped(first), stamped(last), text), nil
}
