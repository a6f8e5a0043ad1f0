package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"edgesync/scripts/internal/rig"
	agent "edgesync/sync"
)

// site is what both demos play with: a cloud in a box with devices, and an agent that dies and
// comes back. The goroutine of run owns it.
type site struct {
	bin     rig.Binaries
	dir     string
	screen  *screen
	cloud   *rig.Cloud
	agent   *rig.Agent
	address atomic.Pointer[string] // of the agent that runs
	client  *http.Client           // of the stations
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// open starts the cloud and the agent, and returns when the agent knows its devices. extra is put
// behind its configuration. close is due, whatever it returns.
func (s *site) open(ctx context.Context, stations int, extra string) ([]rig.Device, error) {
	var err error
	if s.cloud, err = rig.StartCloud(ctx, s.bin.Cloud, s.path("cloud.log"), stations); err != nil {
		return nil, err
	}
	devices, err := s.cloud.Devices(ctx)
	if err != nil {
		return nil, err
	}
	if len(devices) < stations {
		return nil, fmt.Errorf("the cloud has %d devices, %d are needed", len(devices), stations)
	}
	s.screen.say("the cloud in a box listens on %s", s.cloud.GRPC)
	config := rig.Config{DataDir: s.path("data"), Cloud: s.cloud.GRPC, HTTPListen: "127.0.0.1:0", Extra: extra}
	if err := rig.WriteConfig(s.path("config.toml"), config); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	s.client = &http.Client{Timeout: 10 * time.Second}
	return devices, s.agent.WaitReady(ctx)
}

// close kills what runs.
func (s *site) close() {
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
	if s.agent != nil {
		s.agent.Kill()
	}
	if s.cloud != nil {
		s.cloud.Kill()
	}
}

func (s *site) start(ctx context.Context) error {
	a, err := rig.StartAgent(ctx, s.bin.Agent, s.path("config.toml"), s.path("agent.log"))
	if err != nil {
		return err
	}
	s.agent = a
	s.address.Store(&a.HTTP)
	return nil
}

// kill kills the agent, and starts it again after deadTime. gone and back are said with its pid.
func (s *site) kill(ctx context.Context, gone, back string) error {
	pid := s.agent.PID()
	s.agent.Kill()
	s.screen.killed(true, "kill -9")
	s.screen.say("kill -9 %d%s", pid, gone)
	if err := rig.Pause(ctx, deadTime); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	s.screen.killed(false, "")
	s.screen.say("edgesync is back (pid %d)%s", s.agent.PID(), back)
	return nil
}

// ended is the error that the agent or the cloud has ended by itself; nil while both run.
func (s *site) ended() error {
	select {
	case <-s.agent.Done():
		return errors.New("the agent ended by itself\n" + rig.Tail(s.path("agent.log"), 15))
	case <-s.cloud.Done():
		return errors.New("the cloud in a box ended by itself\n" + rig.Tail(s.path("cloud.log"), 15))
	default:
		return nil
	}
}

// drain waits until nothing waits for the cloud, in the queue or in a window.
func (s *site) drain(ctx context.Context) (last agent.Snapshot, err error) {
	var failure error
	err = rig.Poll(ctx, 100*time.Millisecond, drainLimit, s.agent.Done(), func() bool {
		last, failure = s.agent.Status(ctx)
		return failure == nil && last.Running && last.Held == 0 && last.Pending == 0 && last.InFlight == 0
	})
	if err != nil {
		err = fmt.Errorf("what waits did not drain: %w; %d held, %d pending, state %v, last error %q, status: %v\n%s",
			err, last.Held, last.Pending, last.State, last.LastError, failure, rig.Tail(s.path("agent.log"), 15))
	}
	return last, err
}
