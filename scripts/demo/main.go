package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"edgesync/scripts/internal/rig"
)

const shownProblems = 15

func main() {
	forever := flag.Bool("forever", false, "play round after round, with faults at random moments, until Ctrl-C")
	rules := flag.Bool("rules", false, "show a rule chain that makes one event of many")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: demo [--forever | --rules]   (from within the source tree; see make demo)")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 || *forever && *rules {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	if *rules {
		err = runRules(ctx, os.Stdout, isTerminal(os.Stdout))
	} else {
		err = run(ctx, os.Stdout, isTerminal(os.Stdout), *forever)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run builds the programs and plays one round, or rounds until the context ends. It returns nil
// only if nothing was lost.
func run(ctx context.Context, out io.Writer, live, forever bool) (err error) {
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
	if err != nil {
		_ = os.RemoveAll(dir)
		return err
	}
	var sum totals
	seed := uint64(time.Now().UnixNano())
	for n := 1; ; n++ {
		faults := firstFaults
		head := "edgesync demo: a cut link, a kill -9, and nothing lost"
		if forever && n > 1 {
			seed++
			faults = randomFaults(rand.New(rand.NewPCG(seed, 0)))
			head = fmt.Sprintf("round %d (seed %d): so far %s readings, %d cuts, %d kills, 0 lost",
				n, seed, thousands(uint64(sum.readings)), sum.cuts, sum.kills)
		}
		here := filepath.Join(dir, fmt.Sprintf("round-%d", n))
		r := &round{site: site{bin: bin, dir: here, screen: newScreen(out, live, head)}, faults: faults}
		if err = os.Mkdir(r.dir, 0o700); err != nil {
			break
		}
		var res *result
		res, err = r.run(ctx, stations)
		r.screen.end()
		if ctx.Err() != nil { // Ctrl-C ends demo-forever normally and fails the ordinary demo
			err = nil
			if !forever {
				err = errors.New("interrupted")
			}
			r.cleanUp(false)
			break
		}
		if err == nil {
			sum.add(res)
			report(out, res)
			if !res.lostNothing() {
				err = errors.New("something is not as it must be, see above")
			}
		}
		if kept := r.cleanUp(err != nil); kept != "" {
			err = fmt.Errorf("%w\nthe logs are kept in %s", err, kept)
			break
		}
		if !forever {
			break
		}
	}
	_ = os.Remove(bin.Agent)
	_ = os.Remove(bin.Cloud)
	_ = os.Remove(dir) // fails if a round left its logs, which is intended
	if forever {
		fmt.Fprintf(out, "\n%d rounds, %s readings, %d cuts, %d kills, %s duplicates\n",
			sum.rounds, thousands(uint64(sum.readings)), sum.cuts, sum.kills, thousands(uint64(sum.duplicates)))
	}
	return err
}

// totals are the sums over all rounds.
type totals struct {
	rounds, readings, cuts, kills, duplicates int
}

func (t *totals) add(r *result) {
	t.rounds++
	t.readings += r.Readings
	t.cuts += r.Cuts
	t.kills += r.Kills
	t.duplicates += r.Duplicates
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// report prints the result of a round.
func report(out io.Writer, r *result) {
	f := r.Final
	fmt.Fprintf(out, "\n  sent       %s readings in %s posts, of which %s had to be repeated\n",
		thousands(uint64(r.Readings)), thousands(uint64(r.Posts)), thousands(uint64(r.Repeats)))
	fmt.Fprintf(out, "  faults     link cut %s, agent killed with SIGKILL %s, backlog at most %s\n", times(r.Cuts),
		times(r.Kills), thousands(r.MaxBacklog))
	fmt.Fprintf(out, "  identity   accepted %s = deployed %s + pending %s + dropped %s + dead %s + damaged %s\n",
		thousands(f.Accepted), thousands(f.Deployed), thousands(f.Pending), thousands(f.Dropped), thousands(f.Dead), thousands(f.Damaged))
	fmt.Fprintf(out, "  compared   %d time series row by row, in order: %s of %s values equal to the files\n",
		r.Series, thousands(uint64(r.Rows)), thousands(uint64(r.Values)))
	fmt.Fprintf(out, "  duplicates %s readings arrived again and were written over themselves\n", thousands(uint64(r.Duplicates)))
	if r.lostNothing() {
		fmt.Fprintf(out, "\n  NOTHING LOST\n")
		return
	}
	reportProblems(out, r.Problems)
}

func reportProblems(out io.Writer, problems []string) {
	fmt.Fprintf(out, "\n  PROBLEMS: %d\n", len(problems))
	for i, p := range problems {
		if i == shownProblems {
			fmt.Fprintf(out, "  … and %d more\n", len(problems)-shownProblems)
			break
		}
		fmt.Fprintf(out, "  %s\n", p)
	}
}
