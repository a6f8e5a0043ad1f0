package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	children "edgesync/sync/cloudtest/rig"
)

// StartLimit is how long a process may take until it answers.
const StartLimit = 20 * time.Second

// Binaries are the paths of the built programs.
type Binaries struct {
	Agent, Cloud string
}

// Build builds the agent and the cloud in a box into dir, from the module of the working directory.
// The Makefile builds the agent, with the flags of the releases.
func Build(ctx context.Context, dir string) (Binaries, error) {
	b := Binaries{Agent: dir + "/edgesync", Cloud: dir + "/cloud"}
	for _, args := range [][]string{
		{"make", "build", "OUT=" + b.Agent},
		{"go", "build", "-trimpath", "-o", b.Cloud, "edgesync/scripts/cloud"},
	} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return b, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return b, nil
}

// process is a child process with a log file.
type process struct {
	*children.Process
	name    string
	logPath string
}

// start runs a program whose standard error is appended to logPath; so is its standard output
// unless stdout takes it.
func start(ctx context.Context, name, logPath string, stdout io.Writer, bin string, args ...string) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Stdout, cmd.Stderr = stdout, log
	if stdout == nil {
		cmd.Stdout = log
	}
	cmd.Env = cleanEnviron()
	cmd.SysProcAttr = childAttributes()
	cmd.WaitDelay = time.Second
	p, err := children.StartProcess(name, cmd)
	if err != nil {
		return nil, err
	}
	return &process{p, name, logPath}, nil
}

// cleanEnviron returns the environment without the variables that configure the agent.
func cleanEnviron() []string {
	var env []string
	for _, kv := range os.Environ() {
		k, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(k, "EDGESYNC_") || strings.HasPrefix(k, "CLOUD_") ||
			strings.HasPrefix(k, "HTTP_BIND_") || strings.HasPrefix(k, "MQTT_BIND_") {
			continue
		}
		env = append(env, kv)
	}
	return env
}

// Stop is [children.Process.Stop] with the log file in the error.
func (p *process) Stop() error {
	if err := p.Process.Stop(); err != nil {
		return fmt.Errorf("%w; its log is %s", err, p.logPath)
	}
	return nil
}

// died describes an unexpected end.
func (p *process) died() error {
	return fmt.Errorf("%s ended by itself: %w\n%s", p.name, p.Err(), Tail(p.logPath, 10))
}

// Tail returns the last lines of a log file, with its path.
func Tail(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return fmt.Sprintf("last lines of %s:\n  %s", path, strings.Join(all, "\n  "))
}

// Poll calls try every interval until it returns true, the limit passes, the context ends or gone
// is closed (nil: never). The error says which of the last three happened.
func Poll(ctx context.Context, interval, limit time.Duration, gone <-chan struct{}, try func() bool) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for !try() {
		select {
		case <-tick.C:
		case <-gone:
			return ErrGone
		case <-deadline.C:
			return fmt.Errorf("%w: %v", ErrLimit, limit)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// The errors of Poll, beside that of the context.
var (
	ErrGone  = errors.New("the process ended")
	ErrLimit = errors.New("time limit passed")
)
