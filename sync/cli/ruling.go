package cli

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"edgesync/proto"
	"edgesync/sync/config"
	"edgesync/sync/rest"
	"edgesync/sync/rules"
	"edgesync/sync/ruling"
)

// openRules opens the rule chains, and what waits in them.
func (g *gateway) openRules(latest *rest.Latest) (err error) {
	c := &g.config.Rules
	o := ruling.Options{
		Dir: g.rulesDir(), CorruptDir: g.corruptDir(), Registry: g.registry, Queue: g.queue, Latest: latest, Clock: g.clock,
		Log: g.log, Meter: g.queue.Meter, Fill: g.medium.InPlace(), Presence: ruling.Presence{Last: g.lastSeen, Connected: g.isConnected},
		Off: c.Mode == "off", Drop: c.OnFailure == "drop",
	}
	if !g.env.has("GOGC") {
		o.Much = windowMemory
	}
	if o.File, err = chainOf(g.config); err != nil {
		return err
	}
	g.chain = sha256.Sum256(o.File)
	if g.rules, err = ruling.Open(o); err != nil {
		return err
	}
	g.opened(g.rules.Close)
	return nil
}

// lastSeen is when a device was active last.
func (g *gateway) lastSeen(id proto.UUID) time.Time { return g.seen.Of(time.Now(), id).Last }

// isConnected reports whether a device is connected over MQTT.
func (g *gateway) isConnected(id proto.UUID) bool { return g.doors != nil && g.doors.Connected(id) }

func (g *gateway) rulesDir() string { return filepath.Join(g.dir.Path, "rules") }

// chainOf is the chain of rules.file; nil: none is executed.
func chainOf(c *config.Config) ([]byte, error) {
	if c.Rules.File == "" || c.Rules.Mode == "off" {
		return nil, nil
	}
	return readChain(c.Rules.File)
}

// readChain reads the file of a rule chain. What is wrong with it is wrong with the configuration.
func readChain(path string) ([]byte, error) {
	wrong := func(err error) error {
		return &config.Error{Problems: []error{fmt.Errorf("rules.file: %w", err)}}
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, wrong(err)
	case !info.Mode().IsRegular() || info.Size() > ruling.MaxFile:
		return nil, wrong(fmt.Errorf("%s is no file of at most 1 MiB", path))
	}
	text, err := os.ReadFile(path)
	if err == nil {
		_, _, err = rules.Export(text)
	}
	if err != nil {
		return nil, wrong(fmt.Errorf("%s: %w", path, err))
	}
	return text, nil
}

// rulesReport is a ruling.Report as JSON.
func (g *gateway) rulesReport(contents bool) []byte {
	b, _ := json.Marshal(g.rules.Report(contents)) // of texts and numbers
	return b
}
