package rig

import (
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// StopLimit is how long a process may take to end after SIGTERM; the agent promises 10 s.
const StopLimit = 12 * time.Second

// Process is a child process. Any number of goroutines may wait for its end.
type Process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // from Wait; valid once done is closed
}

// StartProcess starts cmd. name stands in errors.
func StartProcess(name string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{name: name, cmd: cmd, done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID returns the id of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done returns a channel that is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err waits for the end of the process and returns how it ended: nil for exit code 0.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Kill sends SIGKILL and waits for the end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // fails only if the process has ended
	<-p.done
}

// Quit sends SIGQUIT, at which a Go program writes what its goroutines do and ends, and waits for
// the end.
func (p *Process) Quit() {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT) // fails only if the process has ended
	<-p.done
}

// Stop sends SIGTERM and waits for the end. After StopLimit it kills the process and returns an
// error. An exit code other than 0 is an error too.
func (p *Process) Stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	limit := time.NewTimer(StopLimit)
	defer limit.Stop()
	select {
	case <-p.done:
	case <-limit.C:
		p.Kill()
		return fmt.Errorf("%s did not end within %v of SIGTERM", p.name, StopLimit)
	}
	if p.err != nil {
		return fmt.Errorf("%s ended badly: %w", p.name, p.err)
	}
	return nil
}
