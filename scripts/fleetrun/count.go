//go:build linux

package main

import (
	"fmt"
	"io"
	"math"
	"time"

	"edgesync/scripts/internal/rig"
)

const (
	// spreadShare is how much of a minute's attempts one second may have, and smallSecond how many
	// attempts are never too many for one.
	spreadShare = 0.15
	smallSecond = 5
)

// spread is how the attempts of the seconds after a moment are distributed.
type spread struct {
	counts []int
	all    int
	most   int // of one second
}

// spreadOf takes the attempts of so many seconds from at on out of the cloud's list.
func spreadOf(list []rig.Second, at time.Time, seconds int) spread {
	s := spread{counts: make([]int, seconds)}
	for _, l := range list {
		if i := l.At - at.Unix(); i >= 0 && i < int64(seconds) {
			s.counts[i] = l.Count
			s.all += l.Count
			s.most = max(s.most, l.Count)
		}
	}
	return s
}

// wide reports whether no second has more than its share.
func (s *spread) wide() bool {
	return s.most <= max(smallSecond, int(math.Ceil(spreadShare*float64(s.all))))
}

// print writes a number for each second up to the last attempt, ten in a line.
func (s *spread) print(w io.Writer, what string) {
	fmt.Fprintf(w, "\nattempts to connect in each second %s: %d in %d s, at most %d in one (%.0f %%)\n", what, s.all, len(s.counts),
		s.most, 100*float64(s.most)/float64(max(s.all, 1)))
	last := len(s.counts)
	for last > 0 && s.counts[last-1] == 0 {
		last--
	}
	for i := 0; i < last; i += 10 {
		fmt.Fprintf(w, "  %3d s ", i)
		for _, n := range s.counts[i:min(i+10, len(s.counts))] {
			fmt.Fprintf(w, "%5d", n)
		}
		fmt.Fprintln(w)
	}
}

// gauge is what processes have used so far, and need now.
type gauge struct {
	at                  time.Time
	cpu                 time.Duration
	resident, own, peak int64 // bytes; peak is the sum of each one's highest resident memory
}

// measure adds up what the processes use.
func measure(pids ...int) (gauge, error) {
	g := gauge{at: time.Now()}
	for _, pid := range pids {
		cpu, err := rig.CPUTime(pid)
		if err != nil {
			return g, err
		}
		g.cpu += cpu
		for _, f := range []struct {
			file, name string
			sum        *int64
		}{{"status", "VmRSS", &g.resident}, {"status", "VmHWM", &g.peak}, {"smaps_rollup", "Pss", &g.own}} {
			n, err := rig.ProcField(pid, f.file, f.name)
			if err != nil {
				return g, err
			}
			*f.sum += n
		}
	}
	return g, nil
}

// percent is how much of one processor was used since before, in percent.
func (g gauge) percent(before gauge) float64 {
	return 100 * float64(g.cpu-before.cpu) / float64(g.at.Sub(before.at))
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }
