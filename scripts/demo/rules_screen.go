package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"edgesync/scripts/internal/rig"
	agent "edgesync/sync"
)

// rulesView is what the demo of rules shows beside what every demo shows. The screen's mutex guards
// it.
type rulesView struct {
	events, bytes uint64 // that reached the cloud since the stations began
	begun         *rig.Stats
	held          uint64  // readings that wait in windows
	lastEvents    uint64  // at the beginning of the chart's last column
	perReading    float64 // bytes on the wire of a reading that goes up as it comes
}

// mark puts a word under the chart.
func (s *screen) mark(word string) {
	s.change(func() {
		if v := s.rules; v != nil && v.events > 0 {
			v.perReading = float64(v.bytes) / float64(v.events)
		}
	}, word)
}

func (s *screen) postedNow() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.posted()
}

// watchRules asks the cloud and the agent for their counters and draws, until the context ends.
func (s *screen) watchRules(ctx context.Context, cloud *rig.Cloud, bin, config string) {
	ask(ctx, bin, config, func(st agent.Snapshot) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.status, s.seen, s.rules.held = st, true, st.Held
	}, func() {
		if n, err := cloud.Stats(ctx); err == nil {
			s.showTraffic(n)
		}
	})
}

// showTraffic adopts the counters of the cloud: a column of the chart is the events of half a
// second.
func (s *screen) showTraffic(n rig.Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, now := s.rules, time.Now()
	if v.begun == nil { // a sync came first
		v.begun = &n
	}
	v.events, v.bytes = n.Events-v.begun.Events, n.WireBytes-v.begun.WireBytes
	columns := len(s.chart)
	s.advance()
	if len(s.chart) > columns { // a new half second
		for i := columns; i < len(s.chart); i++ {
			s.chart[i].backlog = 0
		}
		v.lastEvents = v.events
	}
	last := &s.chart[len(s.chart)-1]
	last.backlog = max(last.backlog, v.events-v.lastEvents)
	if s.live {
		s.draw()
	} else if now.After(s.nextLine) && s.seen {
		s.nextLine = now.Add(plainStep)
		fmt.Fprintf(s.out, "%5.1f s  %-12s posted %6d  in windows %5d  sent %6d events, %7d bytes\n",
			time.Since(s.begun).Seconds(), s.stateName(), s.posted(), v.held, v.events, v.bytes)
	}
}

// rulesLines is the picture of the demo of rules. The caller holds the lock.
func (s *screen) rulesLines(box, link string) []string {
	v, posted := s.rules, s.posted()
	raw := "as they come"
	if v.perReading > 0 {
		raw = thousands(uint64(float64(posted)*v.perReading)) + " bytes, as they come"
	}
	l := []string{
		"",
		"  " + paint(bold, s.head),
		"",
		"  stations ──HTTP── " + box + " " + link + " cloud" +
			fmt.Sprintf("     %s", paint(s.stateColour(), "● "+strings.ToUpper(s.stateName()))),
		"",
		fmt.Sprintf("  raw   %s %6s readings", bar(posted, int64(s.readings), 36, green), thousands(uint64(posted))),
		fmt.Sprintf("        %s", paint(dim, raw)),
		fmt.Sprintf("  sent  %s %6s events", bar(int64(v.events), int64(s.readings), 36, blue), thousands(v.events)),
		fmt.Sprintf("        %s", paint(dim, thousands(v.bytes)+" bytes on the wire")),
		"",
		fmt.Sprintf("  events to the cloud in half a second; %s readings wait in windows", paint(bold, thousands(v.held))),
	}
	l = append(l, s.bars()...)
	return append(l, "")
}

// reportRules prints the result of the demo of rules.
func reportRules(out io.Writer, r *rulesResult) {
	f := r.Final
	each := float64(r.Before.Bytes) / float64(max(r.Before.Events, 1))
	fmt.Fprintf(out, "\n  before     %s readings made %s events, %s bytes on the wire: %.1f bytes a reading\n",
		thousands(uint64(r.Before.Readings)), thousands(r.Before.Events), thousands(r.Before.Bytes), each)
	fmt.Fprintf(out, "  chain      %s readings made %s events, %s bytes on the wire, where %s raw ones are about %s bytes\n",
		thousands(uint64(r.After.Readings)), thousands(r.After.Events), thousands(r.After.Bytes),
		thousands(uint64(r.After.Readings)), thousands(uint64(each*float64(r.After.Readings))))
	fmt.Fprintf(out, "  kill -9    in the middle of a window, while %s readings waited; %d posts had to be repeated\n",
		thousands(r.Held), r.Repeats)
	fmt.Fprintf(out, "  identity   received %s + made %s = accepted %s + filtered %s + held %s + merged %s\n", thousands(f.Received),
		thousands(f.Made), thousands(f.Accepted), thousands(f.Filtered), thousands(f.Held), thousands(f.Merged))
	fmt.Fprintf(out, "  compared   %s raw readings, and of %d windows each minimum, maximum, average, count and last text:\n"+
		"             %s numbers, equal to the files'\n", thousands(uint64(r.Raw)), r.Windows, thousands(uint64(r.Values)))
	if len(r.Problems) == 0 {
		fmt.Fprintf(out, "\n  EVERY NUMBER IS RIGHT\n")
		return
	}
	reportProblems(out, r.Problems)
}
