package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"syscall"

	"edgesync/sync/config"
	"edgesync/sync/plain"
)

// logger is the agent's log, whose level can change. Any goroutine.
type logger struct {
	*slog.Logger
	level *slog.LevelVar // what is below it is not logged
	last  *ring
}

var errLevel = errors.New("the level is one of debug, info, warn, error")

// set makes a word of log.level the level.
func (l *logger) set(word string) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(word)); err != nil || level%4 != 0 {
		return errLevel
	}
	l.level.Set(level)
	return nil
}

// newLogger returns the agent's log. Where it goes and how it looks follows from log.target and
// log.format (config.toml.example):
//
//	stderr    every line to stderr, with the time
//	procd     debug and info to stdout, warn and error to stderr: procd gives each a priority
//	journal   every line to stderr behind <N>, its priority for journald
//
// procd and journald add the time themselves. The last lines are kept in memory too, as text.
func newLogger(stdout, stderr io.Writer, c *config.Log, env environment) *logger {
	o := slog.HandlerOptions{Level: slog.LevelDebug}
	l := &logger{level: new(slog.LevelVar), last: new(ring)}
	_ = l.set(c.Level) // info, where nobody has said
	target := c.Target
	if target == "auto" {
		target = "stderr"
		if env.journal(os.Stderr) {
			target = "journal"
		}
	}
	timed := target == "stderr"
	o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if !timed && len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return shortened(a)
	}
	on := func(w io.Writer) slog.Handler {
		if c.Format == "json" {
			return slog.NewJSONHandler(w, &o)
		}
		return slog.NewTextHandler(w, &o)
	}
	kept := slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr { return shortened(a) }}
	h := &levels{lowest: l.level, kept: slog.NewTextHandler(l.last, &kept)}
	switch target {
	case "procd":
		calm, loud := on(stdout), on(stderr)
		h.of = [4]slog.Handler{calm, calm, loud, loud}
	case "journal":
		for i, prefix := range [4]string{"<7>", "<6>", "<4>", "<3>"} {
			h.of[i] = on(&prefixed{stderr, prefix})
		}
	default:
		all := on(stderr)
		h.of = [4]slog.Handler{all, all, all, all}
	}
	l.Logger = slog.New(h)
	return l
}

// journal reports whether a stream of this process goes to journald: JOURNAL_STREAM names the
// device and inode of the socket. A shell below a service inherits the variable, and its streams go
// elsewhere.
func (e environment) journal(stream *os.File) bool {
	var st syscall.Stat_t
	if syscall.Fstat(int(stream.Fd()), &st) != nil {
		return false
	}
	return e.has(fmt.Sprintf("JOURNAL_STREAM=%d:%d", uint64(st.Dev), uint64(st.Ino)))
}

// levels is a slog.Handler that has one for each level: debug, info, warn, error; and one for what
// is kept. It does not change once it is made.
type levels struct {
	lowest *slog.LevelVar // what is below it is not logged
	of     [4]slog.Handler
	kept   slog.Handler
}

func (h *levels) Enabled(_ context.Context, l slog.Level) bool { return l >= h.lowest.Level() }

func (h *levels) Handle(ctx context.Context, r slog.Record) error {
	i := 0
	for i < 3 && r.Level >= slog.LevelInfo+slog.Level(4*i) { // levels are 4 apart
		i++
	}
	_ = h.kept.Handle(ctx, r) // memory does not fail
	return h.of[i].Handle(ctx, r)
}

func (h *levels) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.each(func(of slog.Handler) slog.Handler { return of.WithAttrs(attrs) })
}

func (h *levels) WithGroup(name string) slog.Handler {
	return h.each(func(of slog.Handler) slog.Handler { return of.WithGroup(name) })
}

func (h *levels) each(change func(slog.Handler) slog.Handler) slog.Handler {
	n := &levels{lowest: h.lowest, kept: change(h.kept)}
	for i, of := range h.of {
		n.of[i] = change(of)
	}
	return n
}

// prefixed writes each line behind a prefix. A slog.Handler hands it a line at a time.
type prefixed struct {
	w      io.Writer
	prefix string
}

func (p *prefixed) Write(line []byte) (int, error) {
	if _, err := p.w.Write(append([]byte(p.prefix), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// maxLogged bounds one value in the log, in bytes: the cloud may send a name or an error text of
// megabytes.
const maxLogged = 2 << 10

func shortened(a slog.Attr) slog.Attr {
	var text string
	switch v := a.Value; v.Kind() {
	case slog.KindString:
		text = v.String()
	case slog.KindAny:
		err, ok := v.Any().(error)
		if !ok {
			return a
		}
		text = err.Error()
	}
	if len(text) > maxLogged {
		a.Value = slog.StringValue(plain.Cut(text, maxLogged))
	}
	return a
}

// sentences is a slog.Handler that prints records as sentences, for a person who waits for them.
type sentences struct {
	w io.Writer
	n int // records printed
}

func (s *sentences) Enabled(context.Context, slog.Level) bool { return true }
func (s *sentences) WithAttrs([]slog.Attr) slog.Handler       { return s }
func (s *sentences) WithGroup(string) slog.Handler            { return s }

func (s *sentences) Handle(_ context.Context, r slog.Record) error {
	s.n++
	text, sep := r.Message, ": "
	r.Attrs(func(a slog.Attr) bool {
		text += sep + a.Key + " " + a.Value.String()
		sep = ", "
		return true
	})
	_, err := fmt.Fprintln(s.w, text)
	return err
}
