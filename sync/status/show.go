package status

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/plain"
)

// View is what `edgesync status` was asked for.
type View struct {
	DataDir string
	JSON    bool // one object, in a line of its own
	Watch   bool // again each second until ctx ends
	Plain   bool // no colours even on a terminal
	Ack     bool // note first that a person has seen what was lost
}

// Show prints the state of the agent on a data directory to w. With Watch an agent that is away for
// a while is shown, and is no error.
func Show(ctx context.Context, w io.Writer, v View) error {
	terminal := isTerminal(w)
	escaped := plain.NewWriter(w) // for JSON; what Print writes holds colours
	print := func() error {
		s, err := Fetch(v.DataDir)
		if err != nil {
			return err
		}
		if v.JSON {
			return json.NewEncoder(escaped).Encode(Report{s, Judge(&s)})
		}
		to := screen{colour: terminal && !v.Plain}
		if terminal {
			to.columns, to.rows = screenSize(w)
			if !v.Watch {
				to.rows = 0 // it scrolls
			}
		}
		return printFor(w, &s, time.Now(), to)
	}
	if v.Ack {
		if err := Acknowledge(v.DataDir); err != nil {
			return fmt.Errorf("status --ack: %w", err)
		}
	}
	if !v.Watch {
		return print()
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if terminal && !v.JSON {
			fmt.Fprint(w, "\x1b[H\x1b[2J") // home, clear
		}
		if err := print(); err != nil {
			if v.JSON {
				err = json.NewEncoder(escaped).Encode(Report{Snapshot: agent.Snapshot{LastError: clean(err.Error())}})
			} else {
				_, err = fmt.Fprintln(w, clean(err.Error()))
			}
			if err != nil {
				return err // the reader is gone
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && info.Name() != os.DevNull[len("/dev/"):]
}
