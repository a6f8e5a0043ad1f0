//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"edgesync/proto"
	"edgesync/scripts/internal/rig"
	agent "edgesync/sync"
	"edgesync/sync/cloudtest"
)

// tinyLimit makes the cloud announce a limit below what batches have, so that they are cut smaller,
// and below what some messages have, which then lie in the dead letters until the limit is the
// proper one again.
func tinyLimit(ctx context.Context, s *soak) (string, error) {
	s.cloud.AnnounceMax(600)
	s.cloud.EndSessions(cloudtest.EndOK)
	d := s.span(2*time.Second, 10*time.Second)
	err := rig.Pause(ctx, d)
	st, _ := s.status()
	s.cloud.AnnounceMax(0)
	s.cloud.EndSessions(cloudtest.EndOK)
	if err != nil {
		return "", err
	}
	gone, err := s.noneDead(ctx)
	return fmt.Sprintf("for %.1f s, %d dead letters, all delivered %.2f s later", d.Seconds(), st.Dead, gone.Seconds()), err
}

// floodWithOne sends one large downlink without a pause.
func floodWithOne(ctx context.Context, s *soak) (string, error) {
	st, _ := s.status()
	m := &proto.DashboardUpdateMsg{Entity: `{"title":"t","x":"` + strings.Repeat("x", 100<<10) + `"}`}
	m.IdMSB, m.IdLSB = proto.Halves(s.edge.ID)
	down := &proto.DownlinkMsg{DashboardUpdateMsg: []*proto.DashboardUpdateMsg{m}}
	s.cloud.Flood(func() *proto.DownlinkMsg { return down })
	d := s.span(time.Second, 5*time.Second)
	err := rig.Pause(ctx, d)
	s.cloud.Flood(nil)
	now, _ := s.status()
	return fmt.Sprintf("%d downlinks of 100 KiB taken in %.1f s", now.Downlinks-st.Downlinks, d.Seconds()), err
}

// longSync begins a sync that brings new entities for as long as it lasts.
func longSync(ctx context.Context, s *soak) (string, error) {
	st, _ := s.status()
	said, err := s.during(ctx, time.Second, 10*time.Second, func(on bool) {
		if on {
			s.cloud.LongSync(0, 0)
			s.cloud.StartSync(s.edge.ID)
		} else {
			s.cloud.LongSync(-1, 0)
		}
	})
	now, _ := s.status()
	return fmt.Sprintf("%d downlinks, %s", now.Downlinks-st.Downlinks, said), err
}

// anotherEdge has the edge and its devices made anew in the cloud, under other ids, while events
// wait for the former one. All of these, and no others, must be kept apart; sent by name they are
// in the cloud, each at the new device of its name.
func anotherEdge(ctx context.Context, s *soak) (string, error) {
	if err := s.quiet(ctx); err != nil {
		return "", err
	}
	before, err := s.status()
	if err != nil {
		return "", err
	}
	v := s.verify(ctx)
	for _, p := range v.problems {
		s.breach("before another edge: %s", p)
	}
	s.renew() // what arrived is gone with the devices
	s.link.cut(true)
	s.gate.set(false)
	err = rig.Pause(ctx, s.span(time.Second, 4*time.Second))
	s.gate.set(true) // devices are unknown until the first sync of the new edge brings them
	if err == nil {
		err = s.atRest(ctx)
	}
	waiting, failed := s.status()
	s.edge = s.cloud.RemakeEdge(s.edge.ID)
	s.forgetIDs()
	s.holds.hold() // until the first sync has brought the devices again
	s.link.cut(false)
	defer s.holds.release()
	if err := errors.Join(err, failed); err != nil {
		return "", err
	}
	var st agent.Snapshot
	err = until(ctx, quietLimit, "what waited for the former edge is kept apart", func() bool {
		st, err = s.status()
		return err == nil && st.Former != nil && !st.Former.Moving && st.Pending == 0 && st.Synced
	})
	if err != nil {
		return "", err
	}
	// Devices that were made meanwhile go up with their data: the former edge never had them. Their
	// data count as dead too until a sync proves that the cloud has them.
	var last agent.Snapshot
	_ = until(ctx, quietLimit, "only what is kept apart is dead", func() bool {
		if now, err := s.status(); err == nil && now.Former != nil {
			last = now
		}
		return last.Former != nil && last.Former.Events == last.Dead && last.Pending == 0
	})
	if last.Former != nil {
		st = last
	}
	if st.Former.Events != st.Dead || st.Deployed+st.Dead != st.Accepted || st.Deployed < before.Deployed {
		s.breach("kept apart are %d events, dead %d, accepted %d, deployed %d, and %d before",
			st.Former.Events, st.Dead, st.Accepted, st.Deployed, before.Deployed)
	}
	s.sums(st)
	out, err := exec.CommandContext(ctx, s.bin, "dead", "retry", "--by-name", "--config", s.config).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("edgesync dead retry --by-name: %w: %s", err, out)
	}
	if err := s.quiet(ctx); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	v = s.verify(ctx)
	for _, p := range v.problems {
		s.breach("after another edge: %s", p)
	}
	s.gate.set(false)
	return fmt.Sprintf("%d events waited, %d kept apart, %d values at the new devices",
		waiting.Pending, st.Former.Events, v.acked), nil
}

// atRest waits until the agent accepts nothing more.
func (s *soak) atRest(ctx context.Context) error {
	last, since := uint64(0), time.Now()
	return until(ctx, quietLimit, "the devices are quiet", func() bool {
		st, err := s.status()
		if err != nil || st.Accepted != last {
			last, since = st.Accepted, time.Now()
			return false
		}
		return time.Since(since) > time.Second
	})
}

// renew begins the journals anew: the devices will be others of the same names.
func (s *soak) renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		st.renew()
	}
	for _, c := range s.counters {
		c.renew()
	}
}

// forgetIDs forgets what the cloud knew the devices by, and the shared attributes of the old ones.
func (s *soak) forgetIDs() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.ids)
	for i := range s.shared {
		s.shared[i].Store(0)
	}
}
