package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	agent "edgesync/sync"
)

// Config is the part of the agent's configuration file in which the demo and the benchmarks differ.
type Config struct {
	DataDir    string
	Cloud      string // host:port
	HTTPListen string
	MQTTListen string // "" = off
	Extra      string // further TOML lines, sections included
}

// WriteConfig writes the file, readable by its owner only: it holds a secret.
func WriteConfig(path string, c Config) error {
	host, port, err := net.SplitHostPort(c.Cloud)
	if err != nil {
		return err
	}
	text := fmt.Sprintf(`data_dir = %q

[cloud]
host = %q
port = %s
routing_key = %q
routing_secret = %q

[http]
listen = %q

[mqtt]
listen = %q

# The link comes and goes by the second here. Attempts up to a minute apart would only prolong it.
[reconnect]
interval = "500ms"
max_interval = "2s"
%s`, c.DataDir, host, port, RoutingKey, Secret, c.HTTPListen, c.MQTTListen, c.Extra)
	return os.WriteFile(path, []byte(text), 0o600)
}

// Agent is a running agent.
type Agent struct {
	*process
	bin, config string
	HTTP        string // host:port of the door for devices
}

// StartAgent starts the agent and waits until its status has the address of its HTTP door.
func StartAgent(ctx context.Context, bin, config, logPath string) (*Agent, error) {
	a, err := Launch(ctx, bin, config, logPath)
	if err != nil {
		return nil, err
	}
	var last error
	err = Poll(ctx, 20*time.Millisecond, StartLimit, a.Done(), func() bool {
		var s agent.Snapshot
		s, last = a.Status(ctx)
		// A status that comes from the files, or from another agent, does not count.
		if last == nil && s.Running && s.HTTPAddress != "" {
			a.HTTP = dialable(s.HTTPAddress)
			return true
		}
		return false
	})
	switch {
	case err == nil:
		return a, nil
	case err == ErrGone:
		return nil, a.died()
	default:
		a.Kill()
		return nil, fmt.Errorf("the agent has no HTTP door: %w (last status: %v)\n%s", err, last, Tail(logPath, 10))
	}
}

// Launch starts the agent and returns at once, with HTTP empty.
func Launch(ctx context.Context, bin, config, logPath string) (*Agent, error) {
	p, err := start(ctx, "the agent", logPath, nil, bin, "run", "--config", config)
	if err != nil {
		return nil, err
	}
	return &Agent{process: p, bin: bin, config: config}, nil
}

// dialable turns the address of a listener on all addresses into one that can be dialled.
func dialable(addr string) string {
	if host, port, err := net.SplitHostPort(addr); err == nil && (host == "" || net.ParseIP(host).IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

// Status runs `edgesync status --json`. This is the public way, so that the demo shows what a user
// sees.
func (a *Agent) Status(ctx context.Context) (agent.Snapshot, error) {
	return Status(ctx, a.bin, a.config)
}

// Status returns the status of the agent that uses this configuration; without a running agent, of
// its files.
func Status(ctx context.Context, bin, config string) (agent.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "status", "--json", "--config", config)
	cmd.Env = cleanEnviron()
	var errText strings.Builder
	cmd.Stderr = &errText
	out, err := cmd.Output()
	if err != nil {
		return agent.Snapshot{}, fmt.Errorf("edgesync status: %w: %s", err, strings.TrimSpace(errText.String()))
	}
	var s agent.Snapshot
	if err := json.Unmarshal(out, &s); err != nil {
		return agent.Snapshot{}, fmt.Errorf("edgesync status --json: %w", err)
	}
	return s, nil
}

// WaitReady waits until /readyz answers 200, which means that the agent knows its devices.
func (a *Agent) WaitReady(ctx context.Context) error {
	client := &http.Client{Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	said := "nothing"
	err := Poll(ctx, 20*time.Millisecond, StartLimit, a.Done(), func() bool {
		res, err := client.Get("http://" + a.HTTP + "/readyz")
		if err != nil {
			said = err.Error()
			return false
		}
		res.Body.Close()
		said = res.Status
		return res.StatusCode == http.StatusOK
	})
	switch err {
	case nil:
		return nil
	case ErrGone:
		return a.died()
	default:
		return fmt.Errorf("the agent is not ready: %w; /readyz says %s\n%s", err, said, Tail(a.logPath, 10))
	}
}
