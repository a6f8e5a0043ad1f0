package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"edgesync/scripts/internal/rig"
	agent "edgesync/sync"
)

// The story of the demo of rules, in time after the stations began.
const (
	rulesSending = 14 * time.Second // how long the stations take
	assignAt     = 3 * time.Second
	killAt       = 8 * time.Second // or when more than mostHeld readings wait in windows
	mostHeld     = 500
	windowTime   = 2 * time.Second // of the chain, instead of a minute

	// mostReadings are taken of each file: a post for each of them.
	mostReadings = 3400
	// minuteChain is the ready chain that is assigned.
	minuteChain = "scripts/chains/minute.json"
)

// rulesResult is the outcome of the demo of rules.
type rulesResult struct {
	Final    agent.Snapshot
	Readings int
	Repeats  int
	Raw      int // readings that went up as they came, before the chain was there
	Windows  int
	Values   int // minima, maxima, averages, counts and last values that are equal to the files'
	Before   traffic
	After    traffic
	Held     uint64 // readings that waited in windows when the agent was killed
	Problems []string
}

// traffic is what went to the cloud in a part of the story.
type traffic struct {
	Readings      int    // that were accepted from the stations
	Events, Bytes uint64 // that reached the cloud, and their bytes on the wire
}

// rulesRound plays the demo of rules. The goroutine of run owns it.
type rulesRound struct {
	site
	counters []*counter
	middle   traffic // when the chain began
	result   rulesResult
}

// counter posts the readings of one station, each with its number, and with the time at which it
// was to be posted. The goroutine of run owns all but the counts.
type counter struct {
	sender
	begin    time.Time
	step     time.Duration
	repeated map[int]bool // readings that were posted more than once
}

// ts is the time of a reading, in ms since the epoch.
func (c *counter) ts(i int) int64 { return c.begin.Add(time.Duration(i) * c.step).UnixMilli() }

// appendPost writes a reading as it is posted.
func (c *counter) appendPost(b []byte, i int) []byte {
	b = append(strconv.AppendInt(append(b, `{"ts":`...), c.ts(i), 10), `,"values":{"n":`...)
	b = strconv.AppendInt(b, int64(i), 10)
	for k, key := range c.station.Keys {
		b = append(strconv.AppendQuote(append(b, ','), key), ':')
		b = append(b, c.station.Readings[i].Values[k]...)
	}
	return append(b, "}}"...)
}

// count posts all readings, one at a time, and keeps their pace as far as the agent does.
func (c *counter) count(ctx context.Context) error {
	var body []byte
	for i := range c.station.Readings {
		if wait := time.Until(c.begin.Add(time.Duration(i) * c.step)); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		before := c.repeats.Load()
		body = c.appendPost(body[:0], i)
		if err := c.deliver(ctx, body); err != nil {
			return err
		}
		if c.repeats.Load() != before {
			c.repeated[i] = true
		}
		c.acked.Add(1)
		c.posts.Add(1)
	}
	return nil
}

// runRules builds the programs and plays the demo of rules. It returns nil only if every number of
// the cloud is that of the files.
func runRules(ctx context.Context, out io.Writer, live bool) (err error) {
	stations, err := loadStations()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "edgesync-demo-")
	if err != nil {
		return err
	}
	built := rig.Doing(out, "building edgesync and the cloud in a box")
	bin, err := rig.Build(ctx, dir)
	built()
	r := &rulesRound{site: site{bin: bin, dir: dir}}
	if err == nil {
		head := "edgesync demo: a rule chain makes one event of many, and no number is lost"
		r.screen = newScreen(out, live, head)
		r.screen.rules = &rulesView{}
		err = r.run(ctx, stations)
		r.screen.end()
	}
	if err == nil {
		reportRules(out, &r.result)
		if len(r.result.Problems) > 0 {
			err = errors.New("something is not as it must be, see above")
		}
	}
	if err != nil && ctx.Err() == nil {
		_ = os.Remove(r.path("config.toml")) // it holds a secret, and the logs suffice
		return fmt.Errorf("%w\nthe logs are kept in %s", err, dir)
	}
	_ = os.RemoveAll(dir)
	return err
}

// writeChain writes the chain with its short windows.
func (r *rulesRound) writeChain() error {
	text, err := os.ReadFile(minuteChain)
	if err != nil {
		return err
	}
	minute := []byte(`"interval": 60,`)
	if bytes.Count(text, minute) != 1 {
		return fmt.Errorf("%s has no window of a minute", minuteChain)
	}
	text = bytes.Replace(text, minute, fmt.Appendf(nil, `"interval": %d,`, int(windowTime.Seconds())), 1)
	return os.WriteFile(r.path("minute.json"), text, 0o600)
}

func (r *rulesRound) run(ctx context.Context, stations []Station) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := r.writeChain(); err != nil {
		return err
	}
	defer r.close()
	// This cloud keeps what it has acknowledged, so that nothing need be sent again after the kill.
	devices, err := r.open(ctx, len(stations), "[sync]\nrepeat = \"0s\"\n")
	if err != nil {
		return err
	}
	finished := make(chan error, len(stations))
	begin := time.Now().Add(100 * time.Millisecond)
	var senders []*sender
	for i := range stations {
		s := &stations[i]
		s.Readings = s.Readings[:min(len(s.Readings), mostReadings)]
		c := &counter{
			sender: sender{station: s, token: devices[i].Token, address: &r.address, client: r.client},
			begin:  begin, step: rulesSending / time.Duration(len(s.Readings)), repeated: map[int]bool{},
		}
		r.counters, senders = append(r.counters, c), append(senders, &c.sender)
		r.result.Readings += len(s.Readings)
		go func() { finished <- c.count(ctx) }()
	}
	r.screen.begin(senders, r.result.Readings)
	r.screen.say("%d stations post; all goes to the cloud as it comes", len(stations))
	watch, stopWatch := context.WithCancel(ctx)
	defer stopWatch()
	go r.screen.watchRules(watch, r.cloud, r.bin.Agent, r.path("config.toml"))
	if err := r.story(ctx, finished); err != nil {
		return err
	}
	r.screen.say("all stations are done; the last windows close")
	if r.result.Final, err = r.drain(ctx); err != nil {
		return err
	}
	end, err := r.traffic(ctx)
	if err != nil {
		return err
	}
	r.result.After = end.since(r.middle)
	stopWatch()
	r.screen.say("comparing every number with the files")
	return r.judge(ctx, devices)
}

// wait waits until a moment of the story, or until all stations are done.
func (r *rulesRound) wait(ctx context.Context, until time.Time, finished <-chan error, left *int) error {
	alarm := time.NewTimer(time.Until(until))
	defer alarm.Stop()
	for *left > 0 {
		select {
		case err := <-finished:
			if err != nil {
				return err
			}
			*left--
		case <-r.agent.Done():
			return r.ended()
		case <-r.cloud.Done():
			return r.ended()
		case <-ctx.Done():
			return ctx.Err()
		case <-alarm.C:
			return nil
		}
	}
	return nil
}

// story assigns the chain and kills the agent while the stations post, and returns when they are
// done.
func (r *rulesRound) story(ctx context.Context, finished <-chan error) error {
	begin := time.Now()
	left := len(r.counters)
	first, err := r.traffic(ctx)
	if err != nil {
		return err
	}
	if err := r.wait(ctx, begin.Add(assignAt), finished, &left); err != nil {
		return err
	}
	if err := r.cloud.Command(ctx, "root "+r.path("minute.json")); err != nil {
		return err
	}
	r.screen.mark("chain")
	r.screen.say("a chain is assigned: min, max, avg, count of each %v", windowTime)
	held := 0
	err = r.until(ctx, func(s *agent.Snapshot) bool {
		held = int(s.Held)
		return held > 0 && s.Pending == 0
	})
	if err != nil {
		return fmt.Errorf("the chain does not run: %w", err)
	}
	if r.middle, err = r.traffic(ctx); err != nil {
		return err
	}
	r.middle.Readings -= held
	r.result.Before = r.middle.since(first)
	if err := r.wait(ctx, begin.Add(killAt), finished, &left); err != nil {
		return err
	}
	err = r.until(ctx, func(s *agent.Snapshot) bool {
		r.result.Held = s.Held
		return s.Held > mostHeld
	})
	if err != nil {
		return fmt.Errorf("no readings wait in windows: %w", err)
	}
	gone := fmt.Sprintf(" in the middle of a window: %d readings wait", r.result.Held)
	if err := r.kill(ctx, gone, ", and so are its windows"); err != nil {
		return err
	}
	if err := r.wait(ctx, begin.Add(rulesSending+drainLimit), finished, &left); err != nil {
		return err
	}
	if left > 0 {
		return fmt.Errorf("the stations could not deliver within %v", rulesSending+drainLimit)
	}
	return nil
}

// until asks the agent for its status until it is as wanted.
func (r *rulesRound) until(ctx context.Context, wanted func(*agent.Snapshot) bool) error {
	return rig.Poll(ctx, 50*time.Millisecond, rulesSending, r.agent.Done(), func() bool {
		s, err := r.agent.Status(ctx)
		return err == nil && s.Running && wanted(&s)
	})
}

// traffic is what has been posted and has gone to the cloud so far.
func (r *rulesRound) traffic(ctx context.Context) (traffic, error) {
	s, err := r.cloud.Stats(ctx)
	return traffic{int(r.screen.postedNow()), s.Events, s.WireBytes}, err
}

func (t traffic) since(u traffic) traffic {
	return traffic{t.Readings - u.Readings, t.Events - u.Events, t.Bytes - u.Bytes}
}

// judge compares the rows and the windows of the cloud with the files, and adds up the agent's
// counters.
func (r *rulesRound) judge(ctx context.Context, devices []rig.Device) error {
	for i, c := range r.counters {
		series := map[string][]rig.Row{}
		keys := append([]string{"n"}, c.station.Keys...)
		for _, key := range keys {
			for _, suffix := range []string{"", "_min", "_max", "_avg", "_count"} {
				rows, err := r.cloud.Series(ctx, devices[i].Name, key+suffix)
				if err != nil {
					return err
				}
				series[key+suffix] = rows
			}
		}
		j := judgement{station: c.station, repeated: c.repeated, ts: c.ts, series: series}
		j.judge()
		r.result.Raw += j.raw
		r.result.Windows += j.windows
		r.result.Values += j.values
		r.result.Repeats += len(c.repeated)
		r.result.Problems = append(r.result.Problems, j.problems...)
	}
	f := r.result.Final
	r.result.Problems = append(r.result.Problems, identity(f, 0)...)
	if f.Received+f.Made != f.Accepted+f.Filtered+f.Held+f.Merged {
		r.result.Problems = append(r.result.Problems,
			fmt.Sprintf("received %d + made %d is not accepted %d + filtered %d + held %d + merged %d",
				f.Received, f.Made, f.Accepted, f.Filtered, f.Held, f.Merged))
	}
	return nil
}
