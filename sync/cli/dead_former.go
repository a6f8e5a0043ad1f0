package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"edgesync/sync/former"
	"edgesync/sync/status"
	"edgesync/wal/disk"
)

const (
	// leftShown bounds the entities that are named.
	leftShown = 20
	// busyTries is how often, once a second, a queue that has enough to do is asked again while it
	// makes no progress.
	busyTries = 30
)

// formerLeft is what is kept of former edges. Without an agent the files say it.
func formerLeft(dir string) (list []former.Left, entities int, events uint64, err error) {
	list, entities, events, err = status.FormerEvents(dir)
	if errors.Is(err, status.ErrNoAgent) {
		var s *former.Store
		if s, err = former.Inspect(filepath.Join(dir, "former")); err == nil {
			st := s.Stats(nil)
			list, entities, events = s.List(leftShown), st.Entities, st.Kept
		}
	}
	return list[:min(len(list), leftShown)], entities, events, err
}

// formerList prints what is kept of former edges behind the dead letters; nothing if nothing is.
func (t *tool) formerList(dir string) error {
	list, entities, events, err := formerLeft(dir)
	if err != nil || events == 0 {
		return err
	}
	fmt.Fprintf(t.stdout, "%s of former edges kept; edgesync dead retry --by-name sends them to the devices of the same names\n",
		several(int(events), "event", "events"))
	t.printLeft(list, entities)
	return nil
}

func (t *tool) printLeft(list []former.Left, entities int) {
	for _, l := range list {
		name := l.Name
		if name == "" {
			name = "(name not known)"
		}
		fmt.Fprintf(t.stdout, "%10d  %-12s  %s  %s  of edge %s\n", l.Events, printable(l.Type), l.ID, printable(name), printable(l.Edge))
	}
	if more := entities - len(list); more > 0 {
		fmt.Fprintf(t.stdout, "and of %s\n", several(more, "other", "others"))
	}
}

// formerRetry sends what can be sent by name, and says what stays.
func (t *tool) formerRetry(dir string) error {
	sent, idle := 0, 0
	for more := true; more; {
		n, again, busy, err := status.RetryByName(dir)
		switch {
		case errors.Is(err, status.ErrNoAgent):
			return errors.New("no agent runs; --by-name needs one, which knows the devices of the new edge")
		case err != nil:
			return err
		}
		sent, more = sent+n, again
		if !busy {
			idle = 0
			continue
		}
		if idle++; idle > busyTries {
			return fmt.Errorf("%s sent so far; the queue has enough to do: try again once it has been sent",
				several(sent, "event", "events"))
		}
		time.Sleep(time.Second)
	}
	list, entities, events, err := formerLeft(dir)
	if err != nil {
		return err
	}
	if t.json {
		return json.NewEncoder(t.stdout).Encode(map[string]any{"sent": sent, "kept": events, "entities": entities, "former": list})
	}
	fmt.Fprintf(t.stdout, "%s on the way, by the names of the devices\n", several(sent, "event", "events"))
	if events > 0 {
		fmt.Fprintf(t.stdout, "%s kept: no device of that type and name is here, or it is no telemetry, attribute or alarm\n",
			several(int(events), "event", "events"))
		t.printLeft(list, entities)
	}
	return nil
}

// formerDrop gives up what is kept of former edges.
func (t *tool) formerDrop(dir string) error {
	n, err := status.DropFormer(dir)
	if errors.Is(err, status.ErrNoAgent) {
		n, err = dropFormerFiles(dir)
	}
	switch {
	case err != nil:
		return err
	case t.json:
		_, err = fmt.Fprintf(t.stdout, "{\"dropped\":%d}\n", n)
	default:
		_, err = fmt.Fprintln(t.stdout, several(int(n), "event", "events")+" of former edges dropped")
	}
	return err
}

func dropFormerFiles(dir string) (n uint64, err error) {
	lock, err := disk.OpenDataDir(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	s, err := former.Open(former.Options{Dir: filepath.Join(dir, "former"), CorruptDir: lock.Corrupt()})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	n, err = s.Drop()
	noteDropped(dir, n)
	return n, err
}
