package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"edgesync/proto"
	"edgesync/sync/config"
	"edgesync/sync/status"
	"edgesync/wal"
)

const (
	// stamp is RFC 3339 with milliseconds, always of one width.
	stamp = "2006-01-02T15:04:05.000Z07:00"
	// lineContent bounds the content in a line for people, in bytes.
	lineContent = 160
)

// filter is what wal dump is asked to show.
type filter struct {
	since, until int64 // milliseconds since the Unix epoch; the first counts, the last too
	entity       *proto.UUID
	kind         proto.Kind // 0 = any
	action       *proto.Action
	pending, all bool
	from, limit  uint64 // limit 0 = none
}

func (t *tool) walDump(args []string) int {
	f := filter{until: 1<<63 - 1, since: -1 << 63}
	now := time.Now()
	t.flags.BoolVar(&t.json, "json", false, "")
	t.flags.BoolVar(&f.pending, "pending", false, "")
	t.flags.BoolVar(&f.all, "all", false, "")
	t.flags.Uint64Var(&f.from, "from", 0, "")
	t.flags.Uint64Var(&f.limit, "limit", 0, "")
	t.flags.Func("since", "", func(s string) (err error) { f.since, err = parseMoment(s, now); return err })
	t.flags.Func("until", "", func(s string) (err error) { f.until, err = parseMoment(s, now); return err })
	t.flags.Func("entity", "", func(s string) error {
		id, ok := proto.ParseUUID(s)
		if !ok {
			return errors.New("an entity is a UUID such as 784f394c-42b6-435a-983c-b7beff2784f9")
		}
		f.entity = &id
		return nil
	})
	t.flags.Func("kind", "", func(s string) (err error) {
		var ok bool
		if f.kind, ok = proto.ParseKind(s); !ok {
			err = unknownName("kind", s, proto.KindNames())
		}
		return err
	})
	t.flags.Func("action", "", func(s string) error {
		a, ok := proto.ParseAction(s)
		if !ok {
			return unknownName("action", s, proto.ActionNames())
		}
		f.action = &a
		return nil
	})
	if _, code, done := t.parse(args, 0); done {
		return code
	}
	if err := t.dump(&f); err != nil {
		return fail(t.stderr, err)
	}
	return exitOK
}

func unknownName(what, name string, known []string) error {
	if n := config.Nearest(name, known...); n != "" {
		return fmt.Errorf("no such %s; did you mean %s?", what, n)
	}
	return fmt.Errorf("no such %s; there are %s", what, strings.Join(known, ", "))
}

// parseMoment reads a time: RFC 3339, or how long before now.
func parseMoment(s string, now time.Time) (ms int64, err error) {
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at.UnixMilli(), nil
	}
	ago, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		ago = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || ago < 0 {
		return 0, errors.New("write a time as 2026-01-31T12:00:00Z, or how long ago as 90s, 2h or 7d")
	}
	return now.Add(-ago).UnixMilli(), nil
}

// dump prints the events of the queue that f lets through.
func (t *tool) dump(f *filter) error {
	queue, dataDir, err := t.queueDir()
	if err != nil {
		return err
	}
	st, err := wal.Inspect(queue)
	if err != nil {
		return fmt.Errorf("read the queue at %s: %w", queue, err)
	}
	d := dumper{f: f, committed: st.Committed, w: bufio.NewWriter(t.stdout), json: t.json}
	if dataDir != "" { // a running agent knows better
		if s, err := status.Fetch(dataDir); err == nil && s.Running {
			d.committed = max(d.committed, s.Committed)
		}
	}
	if f.pending {
		f.from = max(f.from, d.committed+1)
	}
	_, err = wal.InspectDead(deadDir(queue), d.committed, func(l *wal.DeadLetter) bool { d.dead = append(d.dead, l.Offset); return true })
	if err != nil {
		fmt.Fprintf(t.stderr, "edgesync: the dead letters cannot be read, so none is shown as DEAD: %v\n", err)
	}
	if err := wal.Walk(queue, f.from, d.record); err != nil {
		return fmt.Errorf("read the queue at %s: %w", queue, err)
	}
	return d.w.Flush()
}

// dumper prints records; its buffers serve for all of them.
type dumper struct {
	f         *filter
	w         *bufio.Writer
	json      bool
	committed uint64
	dead      []uint64 // offsets, sorted; bounded by the log of dead letters
	shown     uint64
	content   []byte
	line      []byte
}

func (f *filter) passes(e *wal.Event) bool {
	return e.Time >= f.since && e.Time <= f.until && (f.entity == nil || *f.entity == e.Entity) && (f.kind == 0 || uint8(f.kind) == e.Kind) &&
		(f.action == nil || uint8(*f.action) == e.Action)
}

// record prints one record of the queue; false ends the dump.
func (d *dumper) record(r *wal.Record) bool {
	switch r.Found {
	case wal.FoundEvent:
		if !d.f.passes(&r.Event) {
			return true
		}
		d.event(r)
	case wal.FoundControl:
		if !d.f.all {
			return true
		}
		d.control(r)
	case wal.FoundThinned:
		if !d.f.all {
			return true
		}
		fallthrough
	default:
		d.damage(r)
		_, err := d.w.Write(d.line)
		return err == nil
	}
	d.shown++
	_, err := d.w.Write(d.line)
	return err == nil && d.shown != d.f.limit
}

func (d *dumper) state(offset uint64) string {
	if _, ok := slices.BinarySearch(d.dead, offset); ok {
		return "DEAD"
	}
	if offset > d.committed {
		return "PENDING"
	}
	return "DEPLOYED"
}

// stamped shows a time, or the time since the machine's start of a frame that was written before the clock was set.
func stamped(ms int64) string {
	if up, undated := proto.Uptime(ms); undated {
		return fmt.Sprintf("%-*s", len("2006-01-02T15:04:05.000Z"), "uptime "+(time.Duration(up)*time.Millisecond).String())
	}
	return time.UnixMilli(ms).UTC().Format(stamp)
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
		d.line = fmt.Appendf(d.line[:0], "%10d  %s  %-8s  %-19s  %s %s  %s\n",
			r.Offset, at, d.state(r.Offset), proto.Action(e.Action), printable(orDash(entityType)), proto.FormatUUID(e.Entity), text)
		return
	}
	o := object{append(d.line[:0], '{')}
	o.text("type", "event")
	o.number("offset", int64(r.Offset))
	o.text("time", at)
	o.text("state", d.state(r.Offset))
	o.text("action", proto.Action(e.Action).String())
	o.text("kind", proto.Kind(e.Kind).String())
	o.text("entity_type", entityType)
	o.text("entity", proto.FormatUUID(e.Entity))
	o.number("bytes", int64(len(e.Fragment)))
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

var foundNames = map[wal.Found]string{wal.FoundDamage: "damaged", wal.FoundMissing: "missing", wal.FoundLost: "lost", wal.FoundTorn: "torn", wal.FoundThinned: "thinned"}

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

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// flatten shows the JSON object of a content as key=value pairs, cut to about most bytes.
func flatten(content []byte, most int) string {
	var b strings.Builder
	flattenObject(&b, content, "", most)
	s := b.String()
	if len(s) > most {
		for most > 0 && !utf8.RuneStart(s[most]) {
			most--
		}
		s = s[:most] + "…"
	}
	return printable(s)
}

func flattenObject(b *strings.Builder, content []byte, prefix string, most int) {
	d := json.NewDecoder(bytes.NewReader(content))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return
	}
	for d.More() && b.Len() <= most {
		t, err := d.Token()
		key, ok := t.(string)
		var raw json.RawMessage
		if err != nil || !ok || d.Decode(&raw) != nil || len(raw) == 0 {
			return
		}
		if raw[0] == '{' && len(raw) > 2 {
			inner := prefix + key + "."
			if prefix == "" && (key == "values" || key == "entity") {
				inner = ""
			}
			flattenObject(b, raw, inner, most)
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(prefix + key + "=")
		if raw[0] == '"' && !bytes.ContainsAny(raw[1:len(raw)-1], " \"\\=") && len(raw) > 2 {
			raw = raw[1 : len(raw)-1]
		}
		b.Write(raw)
	}
}

// printable makes text from elsewhere harmless for a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
