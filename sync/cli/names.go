package cli

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"time"

	"edgesync/proto"
	"edgesync/sync/plain"
	"edgesync/sync/registry"
)

// whose is the entity that a command is asked for, and the names of all.
type whose struct {
	entity string // --entity: an id or a name; "": of all
	ids    []proto.UUID
	names  *registry.Names // nil: they cannot be read
}

// register registers --entity.
func (w *whose) register(flags *flag.FlagSet) { flags.StringVar(&w.entity, "entity", "", "") }

// open opens the names in the registry beside a queue, and finds the entity. The caller closes.
func (w *whose) open(t *tool, queue string) (err error) {
	if w.names, err = registry.InspectNames(beside(queue, "registry")); err != nil {
		fmt.Fprintf(t.stderr, "edgesync: the names of devices cannot be read: %v\n", err)
	}
	if w.entity == "" {
		return nil
	}
	if id, ok := proto.ParseUUID(w.entity); ok {
		w.ids = []proto.UUID{id}
		return nil
	}
	if w.ids = w.names.Find(w.entity); len(w.ids) == 0 {
		return errors.New("--entity: nothing here has this name, and it is no id; edgesync devices shows the names")
	}
	return nil
}

// wants reports whether an entity is asked for.
func (w *whose) wants(id proto.UUID) bool { return w.entity == "" || slices.Contains(w.ids, id) }

// of is the name of an entity for a line, or its id.
func (w *whose) of(id proto.UUID) string {
	if name := w.names.Of(id); name != "" {
		return printable(plain.Cut(name, nameShown))
	}
	return proto.FormatUUID(id)
}

// nameShown bounds a name in a line, in bytes.
const nameShown = 64

// agoOf says how long ago a frame was written; nothing of one that was written before the clock was
// set.
func agoOf(ms int64, now time.Time) string {
	if _, undated := proto.Uptime(ms); undated {
		return "-"
	}
	return plain.Ago(now.Sub(time.UnixMilli(ms)))
}
