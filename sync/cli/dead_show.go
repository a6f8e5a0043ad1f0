package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/wal"
)

// shownDeadLetter is the JSON of dead show.
type shownDeadLetter struct {
	agent.DeadLetter
	EntityType string          `json:"entity_type"`
	Content    json.RawMessage `json:"content"`
}

func (t *tool) deadShow(dir string, offset uint64) error {
	var s shownDeadLetter
	err := eachDeadLetter(dir, offset, func(l *agent.DeadLetter) bool { s.DeadLetter = *l; return false })
	if err != nil {
		return err
	}
	if s.Offset != offset {
		return errNoDeadLetter(offset)
	}
	// The content may be megabytes, too much for the memory of a small agent, so it comes from the
	// file.
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
		return fmt.Errorf("read the content of the dead letter: %w", err)
	}
	if t.json {
		return json.NewEncoder(t.stdout).Encode(&s)
	}
	return t.printDeadLetter(&s)
}

func (t *tool) printDeadLetter(s *shownDeadLetter) error {
	content := bytes.NewBufferString("(does not decode)")
	if len(s.Content) > 0 {
		content.Reset()
		if err := json.Indent(content, s.Content, "", "  "); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(t.stdout, "offset   %d\naccepted %s\naction   %s\nentity   %s %s\nsize     %d bytes\n"+
		"refused  %s, tries %d, %s\nreason   %s\ncontent  %s\n",
		s.Offset, s.Time.Format(stamp), s.Action, printable(orDash(s.EntityType)), s.Entity, s.Size,
		s.At.Format(stamp), s.Tries, restState(&s.DeadLetter), printable(s.Reason), printableLines(content.String()))
	return err
}

// printableLines is printable for text of several lines.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = printable(l)
	}
	return strings.Join(lines, "\n")
}
