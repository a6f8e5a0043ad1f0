//go:build linux

package main

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"time"

	agent "edgesync/sync"
)

// report is what a run prints: a line for each attack, and a table at the end.
type report struct {
	limit time.Duration // on the 99th percentile; 0 = none
	sums  map[string]*line
}

// line is what all attacks of one name came to.
type line struct {
	times         int
	posts         int
	p99, longest  time.Duration // the worst
	back, highest time.Duration // sum, longest
	memory        int64
	pressure      pressure
}

func (r *report) head(s *soak) {
	r.sums = map[string]*line{}
	s.say("a quiet agent has %d open files and %d goroutines; attacks begin", s.base.files, s.base.goroutines)
}

// add prints the line of an attack.
func (r *report) add(s *soak, name, said string, lasted, back time.Duration, memory int64) {
	list, worst := s.lat.sinceLast()
	_, p99, longest := percentiles(list)
	within := pressure{}
	if s.cgroup != nil {
		within = s.cgroup.since()
		said += fmt.Sprintf("; the cgroup at most %.1f MB, %d times at the bound, %d pages read anew",
			float64(within.most)/1e6, within.hits, within.faults)
	}
	s.say("%-32s %5.1f s, back after %6.2f s; %5d posts, p99 %s, longest %s (%s); life %d at most %.1f MB; %s",
		name, lasted.Seconds(), back.Seconds(), len(list), millis(p99), millis(longest), worst, s.lives, float64(memory)/1e6, said)
	l := r.sums[name]
	if l == nil {
		l = &line{}
		r.sums[name] = l
	}
	l.times++
	l.posts += len(list)
	l.p99, l.longest = max(l.p99, p99), max(l.longest, longest)
	l.back, l.highest = l.back+back, max(l.highest, back)
	l.memory = max(l.memory, memory)
	l.pressure.join(within)
}

// end prints the table and the sums, and checks the latency.
func (r *report) end(s *soak, v verdict, st agent.Snapshot, files, goroutines int) {
	fmt.Fprintf(s.out, "\n%-32s %5s %7s %9s %10s %10s %10s %8s",
		"attack", "times", "posts", "p99", "longest", "back", "back most", "memory")
	if s.cgroup != nil {
		fmt.Fprintf(s.out, " %8s %8s %8s", "cgroup", "at bound", "re-read")
	}
	fmt.Fprintln(s.out)
	for _, name := range slices.Sorted(maps.Keys(r.sums)) {
		l := r.sums[name]
		fmt.Fprintf(s.out, "%-32s %5d %7d %9s %10s %8.2f s %8.2f s %5.1f MB",
			name, l.times, l.posts, millis(l.p99), millis(l.longest),
			l.back.Seconds()/float64(l.times), l.highest.Seconds(), float64(l.memory)/1e6)
		if s.cgroup != nil {
			fmt.Fprintf(s.out, " %5.1f MB %8d %8d", float64(l.pressure.most)/1e6, l.pressure.hits, l.pressure.faults)
		}
		fmt.Fprintln(s.out)
	}
	s.lat.mu.Lock()
	all, held := slices.Clone(s.lat.all), s.lat.held
	failed := maps.Clone(s.lat.failed)
	s.lat.mu.Unlock()
	p50, p99, longest := percentiles(all)
	fmt.Fprintf(s.out, "\nvalues     %d acknowledged, all compared; %d in the cloud, %d of them never acknowledged, %d written again\n",
		v.acked, v.rows, v.unacked, v.duplicates)
	fmt.Fprintf(s.out, "posts      %d, half within %s, p99 %s, longest %s; %d more fell into times when the agent was held\n",
		len(all), millis(p50), millis(p99), millis(longest), held)
	fmt.Fprintf(s.out, "repeated   %s\n", counted(failed))
	fmt.Fprintf(s.out, "calls      down %d answered, %d failed; up %d answered, %d failed\n",
		s.down.done.Load(), s.down.failed.Load(), s.up.done.Load(), s.up.failed.Load())
	fmt.Fprintf(s.out, "made here  %d devices provisioned, %d refused or without an answer; %d sub-devices of the gateway\n",
		s.born.done.Load(), s.born.failed.Load(), s.children.Load())
	fmt.Fprintf(s.out, "sums       accepted %d = deployed %d + pending %d + dropped %d + dead %d + damaged %d\n",
		st.Accepted, st.Deployed, st.Pending, st.Dropped, st.Dead, st.Damaged)
	fmt.Fprintf(s.out, "agent      %d lives, at most %.1f MB; open files %d, then %d; goroutines %d, then %d\n",
		s.lives, float64(s.peak)/1e6, s.base.files, files, s.base.goroutines, goroutines)
	if s.cgroup != nil {
		fmt.Fprintf(s.out, "cgroup     %s\n", s.cgroup.said())
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Fprintf(s.out, "machine    %d CPUs, load average %s", runtime.NumCPU(), load)
	}
	if r.limit > 0 && p99 >= r.limit {
		s.breach("99 of 100 honest posts take %s, and may take %s", millis(p99), millis(r.limit))
	}
	for what, n := range map[string]int64{
		"call of the cloud": s.down.done.Load(), "call of a device": s.up.done.Load(), "provisioning": s.born.done.Load(),
		"post": int64(len(all)),
	} {
		if n == 0 {
			s.breach("not one %s succeeded", what)
		}
	}
}

func millis(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000) }
