//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"edgesync/scripts/internal/rig"
)

const (
	// backLimit is how long it may take until every edge is connected: reconnect.max_interval (60
	// s), a wait that began just before the return, and the time for an attempt.
	backLimit = 80 * time.Second
	// startLimit is how long the first full syncs of all agents together may take, and arriveLimit
	// what was posted.
	startLimit  = 10 * time.Minute
	arriveLimit = 2 * time.Minute
	lookEvery   = 200 * time.Millisecond
	// asking is how many agents are asked for their status at a time.
	asking = 4
	// many is the number that figures are reckoned up to.
	many = 10000
)

// plan says how large a run is.
type plan struct {
	agents int
	every  time.Duration // a device posts
	calm   time.Duration // that is measured while nothing happens
	outage time.Duration
	watch  time.Duration // whose attempts are counted
}

// fleet is one run.
type fleet struct {
	plan
	out      io.Writer
	dir      string
	bin      rig.Binaries
	cloud    *rig.Cloud
	gateways []*gateway
	client   *http.Client
	wrong    []string // what does not hold, at most maxWrong
}

const maxWrong = 20

func newFleet(out io.Writer, dir string, bin rig.Binaries, p plan) *fleet {
	return &fleet{plan: p, out: out, dir: dir, bin: bin, client: &http.Client{
		Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1},
	}}
}

func (f *fleet) say(format string, args ...any) {
	fmt.Fprintf(f.out, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

func (f *fleet) fail(format string, args ...any) {
	if len(f.wrong) < maxWrong {
		f.wrong = append(f.wrong, fmt.Sprintf(format, args...))
	}
}

// run is the course of a run. An error says what does not hold.
func (f *fleet) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer f.client.CloseIdleConnections()
	var err error
	f.cloud, err = rig.StartCloud(ctx, f.bin.Cloud, filepath.Join(f.dir, "cloud.log"), 1, "--edges", strconv.Itoa(f.agents))
	if err != nil {
		return err
	}
	defer f.cloud.Kill()
	defer f.kill()
	if err := f.prepare(); err != nil {
		return err
	}
	empty, err := measure(f.cloud.PID())
	if err != nil {
		return err
	}
	if err := f.first(ctx); err != nil {
		return err
	}
	stop := f.traffic(ctx)
	defer stop()
	if err := f.costs(ctx, empty); err != nil {
		return err
	}
	if err := f.fall(ctx); err != nil {
		return err
	}
	if err := f.restart(ctx); err != nil {
		return err
	}
	stop()
	if err := f.verify(ctx); err != nil {
		return err
	}
	f.end()
	for _, w := range f.wrong {
		fmt.Fprintln(f.out, "WRONG:", w)
	}
	if n := len(f.wrong); n > 0 {
		return fmt.Errorf("%d things do not hold, the first is: %s", n, f.wrong[0])
	}
	return nil
}

// prepare writes the configurations.
func (f *fleet) prepare() error {
	lis, err := net.Listen("tcp", ":0")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(lis.Addr().String())
	lis.Close()
	if err != nil {
		return err
	}
	for n := range f.agents {
		g, err := newGateway(f.dir, f.cloud.GRPC, port, n+1)
		if err != nil {
			return err
		}
		f.gateways = append(f.gateways, g)
	}
	return nil
}

func (f *fleet) start(ctx context.Context) error {
	for _, g := range f.gateways {
		if err := g.start(ctx, f.bin.Agent); err != nil {
			return err
		}
	}
	return nil
}

// kill ends all agents that run.
func (f *fleet) kill() {
	var all sync.WaitGroup
	for _, g := range f.gateways {
		if g.agent != nil {
			all.Go(g.agent.Kill)
		}
	}
	all.Wait()
}

// wait waits until the cloud's counters are as they should be.
func (f *fleet) wait(ctx context.Context, what string, limit time.Duration, ok func(s *rig.Stats) bool) (time.Duration, error) {
	begun := time.Now()
	var s rig.Stats
	var last error
	err := rig.Poll(ctx, lookEvery, limit, f.cloud.Done(), func() bool {
		s, last = f.cloud.Stats(ctx)
		return last == nil && ok(&s)
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w; %d of %d edges are connected, %d syncs completed (%v)%s", what, err, s.Connected, f.agents,
			s.SyncsCompleted, last, f.absent(ctx))
	}
	return time.Since(begun), nil
}

// absent names the agents that have no link, and ends the first few so that what their goroutines
// do stands in their logs.
func (f *fleet) absent(ctx context.Context) (text string) {
	n := 0
	for _, g := range f.gateways {
		if g.agent == nil || n == maxWrong {
			break
		}
		select {
		case <-g.agent.Done():
			n++
			text += fmt.Sprintf("\n  %s: the agent has ended\n%s", g.device, rig.Tail(g.log, 5))
			continue
		default:
		}
		s, err := g.agent.Status(ctx)
		if err == nil && s.State.Linked() {
			continue
		}
		n++
		text += fmt.Sprintf("\n  %s: %v for %v, next attempt in %d ms, last error %q (%v)", g.device, s.State,
			s.At.Sub(s.Since).Round(time.Second), s.NextAttemptMS, s.LastError, err)
		g.agent.Quit()
	}
	return text
}

func (f *fleet) everybody(s *rig.Stats) bool { return s.Connected == f.agents }

// first starts all agents for the first time.
func (f *fleet) first(ctx context.Context) error {
	f.say("%d agents start", f.agents)
	if err := f.start(ctx); err != nil {
		return err
	}
	took, err := f.wait(ctx, "the first full syncs", startLimit, func(s *rig.Stats) bool {
		return f.everybody(s) && s.SyncsCompleted >= uint64(f.agents)
	})
	if err != nil {
		return err
	}
	f.say("all are connected and have their first full sync, after %.1f s", took.Seconds())
	return nil
}

// traffic starts the devices. stop ends them and waits; it may be called again.
func (f *fleet) traffic(ctx context.Context) (stop func()) {
	end := make(chan struct{})
	var all sync.WaitGroup
	for _, g := range f.gateways {
		all.Go(func() { g.post(ctx, f.client, f.every, end) })
	}
	return sync.OnceFunc(func() {
		close(end)
		all.Wait()
	})
}

func (f *fleet) pids() (list []int) {
	for _, g := range f.gateways {
		list = append(list, g.agent.PID())
	}
	return list
}

// costs measures a while in which nothing happens.
func (f *fleet) costs(ctx context.Context, empty gauge) error {
	if err := rig.Pause(ctx, f.calm/4); err != nil { // the syncs are over, and the heaps small again
		return err
	}
	cloudBefore, err := measure(f.cloud.PID())
	if err != nil {
		return err
	}
	before, err := measure(f.pids()...)
	if err != nil {
		return err
	}
	if err := rig.Pause(ctx, f.calm); err != nil {
		return err
	}
	cloud, err := measure(f.cloud.PID())
	if err != nil {
		return err
	}
	agents, err := measure(f.pids()...)
	if err != nil {
		return err
	}
	n := float64(f.agents)
	one := float64(cloud.resident-empty.resident) / n
	fmt.Fprintf(f.out, "\nin %v of calm, in which each device posts every %v\n", f.calm, f.every)
	fmt.Fprintf(f.out, "  cloud    %.1f %% of a processor; %.0f MB resident, %.0f at most so far (%.0f before the first agent)\n",
		cloud.percent(cloudBefore), mb(cloud.resident), mb(cloud.peak), mb(empty.resident))
	fmt.Fprintf(f.out, "  agents   %.1f %% of a processor together; resident %.0f MB, %.1f each; own %.0f MB, %.1f each\n",
		agents.percent(before), mb(agents.resident), mb(agents.resident)/n, mb(agents.own), mb(agents.own)/n)
	fmt.Fprintf(f.out, "  reckoned up to %d agents, not measured: the cloud %.0f %% of a processor, %.1f GB\n\n", many,
		many*cloud.percent(cloudBefore)/n, (float64(empty.resident)+many*one)/1e9)
	return nil
}

// fall has the cloud fall over and come back.
func (f *fleet) fall(ctx context.Context) error {
	before, err := f.cloud.Stats(ctx)
	if err != nil {
		return err
	}
	cut := time.Now()
	if err := f.cloud.Command(ctx, "away "+f.outage.String()); err != nil {
		return err
	}
	f.say("the cloud is away for %v", f.outage)
	if err := rig.Pause(ctx, f.outage); err != nil {
		return err
	}
	back := time.Now()
	if err := f.comeBack(ctx, "the outage", back, before, func() error { return nil }); err != nil {
		return err
	}
	return f.attempts(ctx, []moment{{"from the cut on", cut, true}, {"from the return on", back, true}})
}

// comeBack has all edges connect again, which may begin with an act, and says what that took from
// a moment on. It returns when all attempts of the watch have been made.
func (f *fleet) comeBack(ctx context.Context, after string, at time.Time, before rig.Stats, act func() error) error {
	cloudBefore, err := measure(f.cloud.PID())
	if err != nil {
		return err
	}
	if err := act(); err != nil {
		return err
	}
	if _, err := f.wait(ctx, "after "+after, backLimit, f.everybody); err != nil {
		return err
	}
	took := time.Since(at)
	cloud, err := measure(f.cloud.PID())
	if err != nil {
		return err
	}
	f.say("all are connected again %.1f s after %s; meanwhile the cloud took %.1f %% of a processor, and %.0f MB at most", took.Seconds(),
		after, cloud.percent(cloudBefore), mb(cloud.peak))
	if err := rig.Pause(ctx, f.watch-time.Since(at)); err != nil {
		return err
	}
	return f.nobodyRefused(ctx, before)
}

func (f *fleet) nobodyRefused(ctx context.Context, before rig.Stats) error {
	s, err := f.cloud.Stats(ctx)
	if err != nil {
		return err
	}
	if s.Refused != before.Refused {
		f.fail("%d times an edge was refused", s.Refused-before.Refused)
	}
	return nil
}

// moment is when attempts are counted from.
type moment struct {
	what    string
	at      time.Time
	bounded bool
}

// attempts shows when the agents tried to connect.
func (f *fleet) attempts(ctx context.Context, from []moment) error {
	list, err := f.cloud.Attempts(ctx)
	if err != nil {
		return err
	}
	for _, m := range from {
		s := spreadOf(list, m.at, int(f.watch/time.Second))
		s.print(f.out, m.what)
		if m.bounded && f.watch >= time.Minute && !s.wide() { // of a few seconds one may well have all
			f.fail("the attempts %s are not spread: %d of %d in one second", m.what, s.most, s.all)
		}
	}
	fmt.Fprintln(f.out)
	return nil
}

// restart kills all agents and starts them again.
func (f *fleet) restart(ctx context.Context) error {
	before, err := f.cloud.Stats(ctx)
	if err != nil {
		return err
	}
	f.kill()
	if _, err := f.wait(ctx, "kill -9 for all agents", backLimit, func(s *rig.Stats) bool { return s.Connected == 0 }); err != nil {
		return err
	}
	f.say("all agents are killed, and start again")
	at := time.Now()
	if err := f.comeBack(ctx, "the restart", at, before, func() error { return f.start(ctx) }); err != nil {
		return err
	}
	return f.attempts(ctx, []moment{{"from the restart on", at, false}})
}

// verify waits until everything is in the cloud, compares it, and asks each agent for its account.
func (f *fleet) verify(ctx context.Context) error {
	posted, repeated, writes := 0, 0, 0
	limit := time.Now().Add(arriveLimit)
	for _, g := range f.gateways {
		posted, repeated = posted+g.posted, repeated+g.repeated
		for {
			rows, err := f.cloud.Series(ctx, g.device, "n")
			if err != nil {
				return err
			}
			wrong, missing := g.compare(rows)
			if wrong == "" && missing > 0 {
				if time.Now().Before(limit) {
					if err := rig.Pause(ctx, lookEvery); err != nil {
						return err
					}
					continue
				}
				wrong = fmt.Sprintf("%s: %d of %d readings are missing", g.device, missing, g.posted)
			}
			if wrong != "" {
				f.fail("%s", wrong)
			}
			for _, r := range rows {
				writes += r.Writes
			}
			break
		}
	}
	f.say("%d readings were acknowledged, %d posts had to be repeated; %d of the readings came to the cloud again", posted, repeated,
		writes-posted)
	if len(f.wrong) == 0 {
		f.say("compared one by one: in the cloud is exactly what was acknowledged")
	}
	if posted < f.agents {
		f.fail("only %d readings by %d devices", posted, f.agents)
	}
	return f.accounts(ctx)
}

// accounts asks each agent for its account.
func (f *fleet) accounts(ctx context.Context) error {
	problems := make([]string, len(f.gateways))
	var all sync.WaitGroup
	turn := make(chan struct{}, asking)
	for i, g := range f.gateways {
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			s, err := g.agent.Status(ctx)
			switch {
			case err != nil:
				problems[i] = err.Error()
			case s.Accepted != s.Deployed || s.Pending+s.Dropped+s.Dead+s.Damaged > 0 || s.Accepted < uint64(g.posted):
				problems[i] = fmt.Sprintf("%s: %d posted; accepted %d = deployed %d + pending %d + dropped %d + dead %d + damaged %d",
					g.device, g.posted, s.Accepted, s.Deployed, s.Pending, s.Dropped, s.Dead, s.Damaged)
			}
		})
	}
	all.Wait()
	even := 0
	for _, p := range problems {
		if p == "" {
			even++
		} else {
			f.fail("%s", p)
		}
	}
	f.say("the accounts of %d of %d agents are even: accepted = deployed, nothing pending, dropped, dead or damaged", even, f.agents)
	return ctx.Err()
}

// end stops all agents and the cloud.
func (f *fleet) end() {
	errs := make([]error, len(f.gateways))
	var all sync.WaitGroup
	for i, g := range f.gateways {
		all.Go(func() { errs[i] = g.agent.Stop() })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			f.fail("%v", err)
		}
	}
	if err := f.cloud.Stop(); err != nil {
		f.fail("%v", err)
	}
}
