package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"edgesync/sync/plain"
)

// newLogger returns the agent's log on w. journald adds the time itself, so there it is left out.
func newLogger(w io.Writer, level string, env environment) *slog.Logger {
	o := slog.HandlerOptions{Level: slog.LevelInfo}
	var l slog.Level
	if l.UnmarshalText([]byte(level)) == nil {
		o.Level = l
	}
	journal := env.has("JOURNAL_STREAM")
	o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
		if journal && len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return shortened(a)
	}
	return slog.New(slog.NewTextHandler(w, &o))
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
