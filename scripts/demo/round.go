package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sort"
	"time"

	"edgesync/scripts/internal/rig"
	agent "edgesync/sync"
)

const (
	sendingTime = 20 * time.Second // how long the stations take
	drainLimit  = 90 * time.Second // from the last post to an empty queue
	deadTime    = time.Second      // between SIGKILL and the next start
)

// fault is something bad that happens in a round, at a time after the stations began.
type fault struct {
	at      time.Duration
	command string        // for the cloud; "" = kill the agent
	lasts   time.Duration // of a cut
}

// firstFaults are those of the ordinary demo.
var firstFaults = []fault{
	{at: 4 * time.Second, command: "away 8s", lasts: 8 * time.Second},
	{at: 9 * time.Second},
}

// randomFaults are those of a later round of demo-forever.
func randomFaults(r *rand.Rand) []fault {
	var faults []fault
	for at := time.Second; ; {
		at += time.Duration(500+r.IntN(3500)) * time.Millisecond
		if at > sendingTime-2*time.Second {
			break
		}
		switch r.IntN(4) {
		case 0:
			lasts := time.Duration(1+r.IntN(5)) * time.Second
			faults = append(faults, fault{at: at, command: fmt.Sprintf("away %v", lasts), lasts: lasts})
			if r.IntN(2) == 0 { // one kill during the cut
				faults = append(faults, fault{at: at + lasts/2})
			}
			at += lasts
		case 1:
			faults = append(faults, fault{at: at, command: fmt.Sprintf("stall %ds", 1+r.IntN(3))})
		case 2:
			faults = append(faults, fault{at: at, command: "kick"})
		default:
			faults = append(faults, fault{at: at})
		}
		at += 2 * deadTime
	}
	sort.SliceStable(faults, func(i, j int) bool { return faults[i].at < faults[j].at })
	return faults
}

// result is the outcome of a round.
type result struct {
	Final      agent.Snapshot
	Readings   int
	Posts      int64
	Repeats    int64
	Series     int
	Rows       int // values compared and found equal
	Values     int // values that the files have
	Duplicates int // writes of readings beyond the first
	Cuts       int
	Kills      int
	MaxBacklog uint64
	Problems   []string
}

// lostNothing reports whether the round is a success.
func (r *result) lostNothing() bool { return len(r.Problems) == 0 }

// round is one round of the demo. The goroutine of run owns it.
type round struct {
	site
	faults []fault
	result result
}

// run plays the round. An error means that it could not be played to its end.
func (r *round) run(ctx context.Context, stations []Station) (*result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer r.close()
	devices, err := r.open(ctx, len(stations), "")
	if err != nil {
		return nil, err
	}
	r.screen.say("edgesync runs (pid %d) and knows its devices; %d stations begin", r.agent.PID(), len(stations))

	var senders []*sender
	finished := make(chan error, len(stations))
	for i := range stations {
		s := &sender{station: &stations[i], token: devices[i].Token, address: &r.address, client: r.client}
		senders = append(senders, s)
		r.result.Readings += len(stations[i].Readings)
		go func() { finished <- s.run(ctx, sendingTime) }()
	}
	r.screen.begin(senders, r.result.Readings)
	watch, stopWatch := context.WithCancel(ctx)
	defer stopWatch()
	go r.screen.watch(watch, r.bin.Agent, r.path("config.toml"))

	if err := r.story(ctx, finished, len(senders)); err != nil {
		return nil, err
	}
	for _, s := range senders {
		r.result.Posts += s.posts.Load()
		r.result.Repeats += s.repeats.Load()
	}
	r.screen.say("all stations are done; waiting for the queue to drain")
	if r.result.Final, err = r.drain(ctx); err != nil {
		return nil, err
	}
	stopWatch()
	r.screen.show(r.result.Final)
	r.result.MaxBacklog = r.screen.maxBacklog()
	r.screen.say("drained; comparing every row")
	if err := r.judge(ctx, stations, devices); err != nil {
		return nil, err
	}
	if err := r.agent.Stop(); err != nil {
		r.result.Problems = append(r.result.Problems, err.Error())
	}
	return &r.result, nil
}

// story makes the faults happen while the stations send, and returns when all stations are done.
func (r *round) story(ctx context.Context, finished <-chan error, stations int) error {
	begin := time.Now()
	faults := r.faults
	var back time.Time // when the link returns
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(sendingTime + drainLimit)
	defer limit.Stop()
	for stations > 0 || len(faults) > 0 || !back.IsZero() {
		select {
		case err := <-finished:
			if err != nil {
				return err
			}
			stations--
		case <-r.agent.Done():
			return r.ended()
		case <-r.cloud.Done():
			return r.ended()
		case <-limit.C:
			return fmt.Errorf("the stations could not deliver within %v", sendingTime+drainLimit)
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if !back.IsZero() && time.Now().After(back) {
			back = time.Time{}
			r.screen.link(true, "back")
			r.screen.say("the link is back")
		}
		if len(faults) == 0 || time.Since(begin) < faults[0].at {
			continue
		}
		f := faults[0]
		faults = faults[1:]
		if err := r.happen(ctx, f); err != nil {
			return err
		}
		if f.lasts > 0 {
			back = time.Now().Add(f.lasts)
		}
	}
	return nil
}

func (r *round) happen(ctx context.Context, f fault) error {
	switch {
	case f.command == "":
		r.result.Kills++
		return r.kill(ctx, ": the agent is gone, the stations keep trying", " and takes posts again")
	case f.lasts > 0:
		r.result.Cuts++
		r.screen.link(false, "cut")
		r.screen.say("the link to the cloud is cut for %v", f.lasts)
	default:
		r.screen.say("command to the cloud: %s", f.command)
	}
	return r.cloud.Command(ctx, f.command)
}

// judge compares the cloud's rows with the files and adds up the agent's counters.
func (r *round) judge(ctx context.Context, stations []Station, devices []rig.Device) error {
	for i := range stations {
		s := &stations[i]
		for k, key := range s.Keys {
			rows, err := r.cloud.Series(ctx, devices[i].Name, key)
			if err != nil {
				return err
			}
			arrivals, err := r.cloud.Arrivals(ctx, devices[i].Name, key)
			if err != nil {
				return err
			}
			c := compare(s, k, rows, arrivals)
			r.result.Series++
			r.result.Rows += c.Rows
			r.result.Values += len(s.Readings)
			r.result.Problems = append(r.result.Problems, c.problems()...)
			if k == 0 { // a reading is repeated with all of its values
				r.result.Duplicates += c.Duplicates
			}
		}
	}
	r.result.Problems = append(r.result.Problems, identity(r.result.Final, uint64(r.result.Readings))...)
	return nil
}

// identity returns what is wrong with the agent's counters. posted is how many events, at least,
// were answered with 200.
func identity(s agent.Snapshot, posted uint64) []string {
	var p []string
	if sum := s.Deployed + s.Pending + s.Dropped + s.Dead + s.Damaged; s.Accepted != sum {
		p = append(p, fmt.Sprintf("accepted is %d, but deployed + pending + dropped + dead + damaged is %d", s.Accepted, sum))
	}
	if s.Accepted < posted {
		p = append(p, fmt.Sprintf("%d events were answered with 200, and accepted is %d", posted, s.Accepted))
	}
	if lost := s.Dropped + s.Dead + s.Damaged; lost > 0 {
		p = append(p, fmt.Sprintf("%d events did not get through: dropped %d, dead %d, damaged %d", lost, s.Dropped, s.Dead, s.Damaged))
	}
	return p
}

// cleanUp removes the directory of a round, or keeps its logs when it failed.
func (r *round) cleanUp(failed bool) (kept string) {
	if failed {
		_ = os.Remove(r.path("config.toml")) // it holds a secret, and the logs suffice
		return r.dir
	}
	_ = os.RemoveAll(r.dir)
	return ""
}
