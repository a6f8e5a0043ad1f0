package cli

import (
	"io"
	"log/slog"
	"testing"

	"edgesync/sync/config"
	"edgesync/wal"
)

// Whatever writes into data_dir is in the one account of the day.
func TestEveryRoomIsMetered(t *testing.T) {
	g := &gateway{
		program: &program{stderr: io.Discard}, config: &config.Config{DataDir: t.TempDir()},
		log: slog.New(slog.DiscardHandler),
	}
	defer g.close()
	var last wal.Account
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"", func() error { // the clock's file is written with the first time that it believes
			if err := g.lock(); err != nil {
				return err
			}
			return g.openQueue()
		}},
		{"", g.openDead},
		{"dead letters", func() error { return g.dead.Put(wal.DeadLetter{Offset: 1}) }},
		{"registry", g.openRegistry}, // makes its store
		{"clock", func() error { g.clock.Close(); return nil }},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		now := g.queue.Stats().Today
		if step.name != "" && (now.Written <= last.Written || now.Fsyncs <= last.Fsyncs || now.Wear < last.Wear) {
			t.Errorf("%s: %+v, before %+v", step.name, now, last)
		}
		last = now
	}
}
