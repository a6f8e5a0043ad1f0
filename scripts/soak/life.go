//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"edgesync/scripts/internal/rig"
	agent "edgesync/sync"
	"edgesync/sync/status"
)

// start starts the agent, and ends the hold once it listens.
func (s *soak) start(ctx context.Context) error {
	a, err := rig.StartAgent(ctx, s.agentBin, s.config, s.logPath)
	if err != nil {
		return err
	}
	st, err := a.Status(ctx)
	if err != nil {
		return err
	}
	s.agent = a
	s.lives++
	s.httpAddress.Store(&st.HTTPAddress)
	s.mqttAddress.Store(&st.MQTTAddress)
	return nil
}

// kill kills the agent with SIGKILL and holds.
func (s *soak) kill() {
	s.weigh()
	s.holds.hold()
	s.agent.Kill()
}

// again starts the agent after it was ended, and returns how long that took until it listens.
func (s *soak) again(ctx context.Context) (time.Duration, error) {
	begun := time.Now()
	if err := s.start(ctx); err != nil {
		return 0, err
	}
	s.holds.release()
	return time.Since(begun), nil
}

// alive notes a breach when the agent has ended by itself.
func (s *soak) alive() bool {
	select {
	case <-s.agent.Done():
		s.breach("the agent has ended by itself: %v\n%s", s.agent.Err(), rig.Tail(s.logPath, 40))
		return false
	default:
		return true
	}
}

// weigh notes the highest memory of this life, in bytes.
func (s *soak) weigh() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.agent.PID()))
	if err != nil {
		return 0 // ended, which alive reports
	}
	_, rest, _ := bytes.Cut(b, []byte("VmHWM:"))
	fields := strings.Fields(string(rest))
	if len(fields) < 2 {
		return 0
	}
	kib, _ := strconv.ParseInt(fields[0], 10, 64)
	n := kib << 10
	if n > memoryLimit && s.peak <= memoryLimit {
		s.breach("the agent has needed %.1f MB of memory, more than %.1f MB", float64(n)/1e6, float64(memoryLimit)/1e6)
	}
	s.peak = max(s.peak, n)
	return n
}

// status asks the running agent, or reads the files.
func (s *soak) status() (agent.Snapshot, error) { return status.Fetch(s.dataDir) }

// quiet stops the honest traffic, waits until everything that was accepted is in the cloud, and
// checks the sums and the descriptors. The traffic stays stopped.
func (s *soak) quiet(ctx context.Context) error {
	s.gate.set(true)
	var st agent.Snapshot
	var err error
	last, since := uint64(0), time.Now()
	late := until(ctx, quietLimit, "everything that was accepted is deployed", func() bool {
		if st, err = s.status(); err != nil || st.Accepted != last || st.Pending > 0 || st.Dead > 0 {
			last, since = st.Accepted, time.Now()
			return false
		}
		return time.Since(since) > 500*time.Millisecond && s.cloud.Pending(s.edge.ID) == 0
	})
	if !s.alive() {
		return errors.New("the agent is gone")
	}
	if late != nil {
		s.breach("%v: %v; accepted %d, deployed %d, pending %d, dead %d, state %v, last error %q; %d downlinks wait", late, err,
			st.Accepted, st.Deployed, st.Pending, st.Dead, st.State, st.LastError, s.cloud.Pending(s.edge.ID))
		return late
	}
	s.sums(st)
	files := 0
	if s.base.files > 0 {
		_ = until(ctx, settleLimit, "", func() bool {
			files, err = openFiles(s.agent.PID())
			return err == nil && files <= s.base.files+slackFiles
		})
		if files > s.base.files+slackFiles {
			s.breach("the agent has %d open files at a quiet point, and had %d at the first", files, s.base.files)
		}
	}
	s.weigh()
	return ctx.Err()
}

// sums checks the account of a status.
func (s *soak) sums(st agent.Snapshot) {
	if sum := st.Deployed + st.Pending + st.Dropped + st.Dead + st.Damaged; st.Accepted != sum {
		s.breach("accepted %d is not the sum of deployed %d, pending %d, dropped %d, dead %d, damaged %d",
			st.Accepted, st.Deployed, st.Pending, st.Dropped, st.Dead, st.Damaged)
	}
	if st.Dropped+st.Damaged > 0 {
		s.breach("dropped is %d and damaged %d, without a reason", st.Dropped, st.Damaged)
	}
	s.mu.Lock()
	streams := s.streams
	s.mu.Unlock()
	sum := s.marks
	for _, r := range streams {
		_, acked := r.counts()
		sum += acked
	}
	if st.Accepted < uint64(sum) {
		s.breach("accepted is %d, and %d readings were acknowledged", st.Accepted, sum)
	}
}

// endQuietly brings the agent to a quiet point and ends it there with SIGQUIT, which makes Go print
// all goroutines; their number is checked. The hold lasts until again.
func (s *soak) endQuietly(ctx context.Context) (goroutines int, err error) {
	if err := s.quiet(ctx); err != nil {
		return 0, err
	}
	before, err := os.ReadFile(s.logPath)
	if err != nil {
		return 0, err
	}
	s.holds.hold()
	_ = syscall.Kill(s.agent.PID(), syscall.SIGQUIT)
	limit, cancel := context.WithTimeout(ctx, quitLimit)
	defer cancel()
	select {
	case <-s.agent.Done():
	case <-limit.Done():
		s.agent.Kill()
		return 0, errors.New("the agent did not end at SIGQUIT")
	}
	after, err := os.ReadFile(s.logPath)
	if err != nil {
		return 0, err
	}
	dump := after[len(before):]
	goroutines = bytes.Count(dump, []byte("\ngoroutine "))
	if goroutines == 0 {
		return 0, fmt.Errorf("SIGQUIT brought no list of goroutines\n%s", rig.Tail(s.logPath, 10))
	}
	if s.base.goroutines > 0 && goroutines > s.base.goroutines+slackGoroutines {
		s.breach("the agent has %d goroutines at a quiet point, and had %d at the first; their list is in %s",
			goroutines, s.base.goroutines, s.logPath)
	}
	s.gate.set(false)
	return goroutines, nil
}

// launch starts the agent and does not wait.
func (s *soak) launch(ctx context.Context) (*rig.Agent, error) {
	return rig.Launch(ctx, s.agentBin, s.config, s.logPath)
}
