package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"edgesync/sync/config"
	"edgesync/wal/disk"
)

// table prints edges as CSV, each as soon as it is known.
type table struct{ w *csv.Writer }

func newTable(w io.Writer) (*table, error) {
	t := &table{csv.NewWriter(w)}
	err := t.w.Write([]string{"name", "id", "routing_key", "routing_secret"})
	t.w.Flush()
	return t, err
}

func (t *table) add(e *edge) error {
	if err := t.w.Write([]string{e.Name, e.ID, e.Key, e.Secret}); err != nil {
		return err
	}
	t.w.Flush()
	return t.w.Error()
}

// files writes for each edge a tree DIR/NAME/etc/…, as it belongs on the gateway's root.
type files struct {
	dir      string
	uci      bool
	settings [][2]string // the same for all: cloud.host and so on
}

// loaded is the configuration of an edge, checked as edgesync checks it.
func (f *files) loaded(e *edge) (*config.Loaded, error) {
	var flags config.Flags
	flags.UseFile("")
	for _, s := range append(f.settings, [2]string{"cloud.routing_key", e.Key}, [2]string{"cloud.routing_secret", e.Secret}) {
		flags.Set(s[0], s[1])
	}
	return config.Load(&flags, nil)
}

func (f *files) add(e *edge) error {
	l, err := f.loaded(e)
	if err != nil {
		return err
	}
	place := config.PlaceOf(f.uci)
	for path, text := range map[string][]byte{place.File: l.Render(place), place.Secret: []byte(e.Secret + "\n")} {
		full := filepath.Join(f.dir, e.Name, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			return err
		}
		if err := disk.Replace(full, text); err != nil {
			return err
		}
	}
	return nil
}

// check is the error about a setting of every gateway.
func (f *files) check(s [2]string) error {
	if !config.IsKey(s[0]) {
		return fmt.Errorf("-set %s: edgesync has no such key; config.toml.example lists all", s[0])
	}
	if err := config.Check(s[0], s[1]); err != nil {
		return fmt.Errorf("-set %s: %w", s[0], err)
	}
	return nil
}
