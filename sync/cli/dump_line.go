package cli

import (
	"bufio"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgesync/proto"
	"edgesync/sync/former"
	"edgesync/sync/plain"
	"edgesync/wal"
)

// dumper prints records; its buffers serve for all of them.
type dumper struct {
	f         *filter
	w         *bufio.Writer
	json      bool
	committed uint64
	dead      []uint64      // offsets, sorted; bounded by the log of dead letters
	former    *former.Store // events of former edges that are kept; nil: not readable
	shown     uint64
	next      uint64           // offset behind the last that was looked at
	end       uint64           // of what is durable; what is behind it may be half written
	now       func() time.Time // that ages are counted to
	content   []byte
	line      []byte
}

// record prints one record of the queue; false ends the dump.
func (d *dumper) record(r *wal.Record) bool {
	if r.Offset > d.end {
		return false
	}
	d.next = max(r.Offset, r.Last) + 1
	if !d.shows(r) {
		return true
	}
	switch r.Found {
	case wal.FoundEvent:
		d.event(r)
	case wal.FoundControl:
		d.control(r)
	default:
		d.damage(r)
		_, err := d.w.Write(d.line)
		return err == nil
	}
	d.shown++
	_, err := d.w.Write(d.line)
	return err == nil && d.shown != d.f.limit
}

// shows reports whether a record is printed.
func (d *dumper) shows(r *wal.Record) bool {
	switch r.Found {
	case wal.FoundEvent:
		return d.f.passes(&r.Event)
	case wal.FoundControl, wal.FoundThinned:
		return d.f.all
	}
	return true
}

func (d *dumper) state(r *wal.Record) string {
	if _, ok := slices.BinarySearch(d.dead, r.Offset); ok {
		return "DEAD"
	}
	if r.Offset > d.committed {
		return "PENDING"
	}
	if d.former != nil && d.former.Keeps(r.Event.Entity, r.Offset) {
		return "DEAD"
	}
	return "DEPLOYED"
}

func (d *dumper) event(r *wal.Record) {
	e := &r.Event
	var entityType string
	var err error
	d.content, entityType, err = proto.AppendContent(d.content[:0], e.Fragment)
	if entityType == "" {
		entityType = proto.Kind(e.Kind).EntityType()
	}
	at := stamped(e.Time)
	if !d.json {
		text := "(content does not decode)"
		if err == nil {
			text = flatten(d.content, lineContent)
		}
		if e.Again {
			text += "  (replayed)"
		}
		d.line = fmt.Appendf(d.line[:0], "%10d  %s  %10s  %-8s  %-19s  %s %s  %s\n",
			r.Offset, at, agoOf(e.Time, d.now()), d.state(r), proto.Action(e.Action), printable(orDash(entityType)), d.f.of(e.Entity), text)
		return
	}
	o := object{append(d.line[:0], '{')}
	o.text("type", "event")
	o.number("offset", int64(r.Offset))
	o.text("time", at)
	o.text("state", d.state(r))
	o.text("action", proto.Action(e.Action).String())
	o.text("kind", proto.Kind(e.Kind).String())
	o.text("entity_type", entityType)
	o.text("entity", proto.FormatUUID(e.Entity))
	if name := d.f.names.Of(e.Entity); name != "" {
		o.text("name", plain.Cut(name, nameShown))
	}
	o.number("bytes", int64(len(e.Fragment)))
	if e.Again {
		o.key("replayed")
		o.buf = append(o.buf, "true"...)
	}
	o.key("content")
	if err != nil {
		o.buf = append(o.buf, "null"...)
		o.text("error", err.Error())
	} else {
		o.buf = append(o.buf, d.content...)
	}
	d.line = append(o.buf, "}\n"...)
}

func (d *dumper) control(r *wal.Record) {
	c := &r.Control
	at := stamped(r.Event.Time)
	o := object{append(d.line[:0], '{')}
	if d.json {
		o.text("type", "control")
		o.number("offset", int64(r.Offset))
		o.text("time", at)
	} else {
		o.buf = fmt.Appendf(d.line[:0], "%10d  %s  control  ", r.Offset, at)
	}
	for i, n := range [...]uint64{c.Accepted, c.Committed, c.Deployed, c.Dropped, c.Dead, c.Damaged} {
		name := [...]string{"accepted", "committed", "deployed", "dropped", "dead", "damaged"}[i]
		if d.json {
			o.number(name, int64(n))
		} else {
			o.buf = fmt.Appendf(o.buf, " %s=%d", name, n)
		}
	}
	if d.json {
		o.buf = append(o.buf, '}')
	}
	d.line = append(o.buf, '\n')
}

var foundNames = map[wal.Found]string{
	wal.FoundDamage: "damaged", wal.FoundMissing: "missing", wal.FoundLost: "lost",
	wal.FoundTorn: "torn", wal.FoundThinned: "thinned",
}

func (d *dumper) damage(r *wal.Record) {
	if !d.json {
		d.line = fmt.Appendf(d.line[:0], "%10d  %s\n", r.Offset, printable(strings.ToUpper(foundNames[r.Found])+"  "+r.String()))
		return
	}
	o := object{append(d.line[:0], '{')}
	o.text("type", foundNames[r.Found])
	o.number("offset", int64(r.Offset))
	if r.Last >= r.Offset {
		o.number("last", int64(r.Last))
	}
	o.text("file", r.File)
	o.number("position", r.At)
	o.number("bytes", r.Bytes)
	if r.Err != nil {
		o.text("error", r.Err.Error())
	}
	d.line = append(o.buf, "}\n"...)
}

// object writes a JSON object by hand, so that a dump of millions allocates little.
type object struct{ buf []byte }

func (o *object) key(k string) {
	if o.buf[len(o.buf)-1] != '{' {
		o.buf = append(o.buf, ',')
	}
	o.buf = append(proto.AppendJSONString(o.buf, k), ':')
}

func (o *object) text(k, s string) {
	o.key(k)
	o.buf = proto.AppendJSONString(o.buf, s)
}

func (o *object) number(k string, n int64) {
	o.key(k)
	o.buf = strconv.AppendInt(o.buf, n, 10)
}
