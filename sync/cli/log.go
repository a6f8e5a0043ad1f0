package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
)

// newLogger returns the agent's log on w. journald adds the time itself, so there it is left out.
func newLogger(w io.Writer, level string, env environment) *slog.Logger {
	o := slog.HandlerOptions{Level: slog.LevelInfo}
	var l slog.Level
	if l.UnmarshalText([]byte(level)) == nil {
		o.Level = l
	}
	if env.has("JOURNAL_STREAM") {
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(w, &o))
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
