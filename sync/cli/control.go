package cli

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/config"
	"edgesync/sync/status"
)

// Reconnect implements status.Control.
func (h holder) Reconnect(ctx context.Context) error { return h.g.agent.Reconnect(ctx) }

// Sync implements status.Control.
func (h holder) Sync(ctx context.Context, full bool) error { return h.g.agent.Sync(ctx, full) }

// Replay implements status.Control.
func (h holder) Replay(ctx context.Context, o agent.ReplayOrder) error {
	return h.g.agent.Replay(ctx, o)
}

// StopReplay implements status.Control.
func (h holder) StopReplay(ctx context.Context) error { return h.g.agent.StopReplay(ctx) }

// LastLog implements status.Control.
func (h holder) LastLog() string { return h.g.logs.last.String() }

// SetLogLevel implements status.Control. It lasts until the next start, or until the configuration
// is read again and names another level than before.
func (h holder) SetLogLevel(level string) error {
	if err := h.g.logs.set(level); err != nil {
		return err
	}
	h.g.log.Info("the log level was changed", "level", level)
	return nil
}

// live are the settings that can change while the agent runs: sections and names.
var live = []string{"batch.", "retry.", "reconnect.", "queue.flash_budget", "queue.max_delay", "log.level"}

// reload reads the configuration again, puts in force what can be, and says what waits for a
// restart. A configuration that is wrong changes nothing. The goroutine of waitForEnd calls it.
func (g *gateway) reload(ctx context.Context) {
	l, err := g.load()
	var chain []byte
	if err == nil {
		chain, err = chainOf(&l.Config)
	}
	if err != nil {
		g.log.Error("the configuration was not read again: it is wrong, and what was in force stays", "error", err)
		return
	}
	before := g.loaded.Load()
	now, waiting := changed(before, l)
	_, since := changed(g.begun, l)
	if len(waiting) > 0 {
		g.log.Warn("settings have changed that need a restart", "settings", strings.Join(waiting, ", "))
	}
	text := ""
	if len(since) > 0 {
		text = "these settings have changed, and need a restart: " + strings.Join(since, ", ")
	}
	g.restart.Store(&text)
	if len(now) > 0 {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := g.agent.Reload(ctx, &l.Config); err != nil {
			g.log.Warn("the configuration was not read again", "error", err)
			return
		}
		if l.Config.Log.Level != before.Config.Log.Level {
			_ = g.logs.set(l.Config.Log.Level) // package config has checked it
		}
	}
	if h := sha256.Sum256(chain); h != g.chain && chain != nil && l.Config.Rules == g.begun.Config.Rules {
		g.chain = h
		g.rules.SetFile(chain)
		now = append(now, "rules.file")
	}
	if len(now) > 0 {
		g.log.Info("the configuration was read again", "changed", strings.Join(now, ", "))
	}
	g.loaded.Store(l)
}

// changed names the settings in which two configurations differ: those that can change while the
// agent runs, and those that wait for a restart.
func changed(a, b *config.Loaded) (now, waiting []string) {
	before := a.Values()
	for i, v := range b.Values() {
		same := v.Value == before[i].Value
		if v.Key == "cloud.routing_secret" { // shown as ***
			same = a.Config.Cloud.RoutingSecret == b.Config.Cloud.RoutingSecret
		}
		if same {
			continue
		}
		list := &waiting
		for _, name := range live {
			if strings.HasPrefix(v.Key, name) {
				list = &now
			}
		}
		*list = append(*list, v.Key)
	}
	return now, waiting
}

// order is reconnect, sync or log: what a person wants of the agent that runs.
func (p *program) order(name string, args []string) int {
	t := p.newTool(name, "")
	full := false
	most := 0
	switch name {
	case "sync":
		t.flags.BoolVar(&full, "full", false, "")
	case "log":
		most = 1
	}
	rest, code, done := t.parse(args, most)
	if done {
		return code
	}
	if len(rest) > 0 && !slices.Contains(strings.Fields(pageOf(name).subs), strings.ToLower(rest[0])) {
		return p.usage(name, errLevel.Error())
	}
	dir, err := t.dataDir()
	said := ""
	if err == nil {
		switch {
		case name == "reconnect":
			said, err = "the agent connects anew; edgesync status shows whether it gets through\n", status.Reconnect(dir)
		case name == "sync":
			said = "the agent asks the cloud for what belongs to this edge; edgesync status shows how far it is\n"
			err = status.Sync(dir, full)
		case len(rest) > 0:
			said, err = "the agent logs from "+rest[0]+" on, until its next start\n", status.SetLogLevel(dir, rest[0])
		default:
			said, err = status.LastLog(dir)
		}
	}
	if err = noAgentOn(dir, err); err == nil {
		fmt.Fprint(p.stdout, said)
	}
	return t.end(err)
}
