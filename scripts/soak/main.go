//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"edgesync/scripts/internal/rig"
)

func main() {
	long := flag.Duration("for", 20*time.Minute, "how long attacks begin; under 2m they are short ones")
	seed := flag.Uint64("seed", 0, "decides the attacks and what devices send; 0 = a new one")
	latency := flag.Duration("latency", 0, "bound on the 99th percentile of honest posts; 0 = it is only printed")
	memory := flag.String("memory", "", "bound of a memory cgroup for the agent, such as 32MiB; needs root")
	each := flag.Bool("each", false, "every attack once, in the table's order, as short as they are; -for does not count")
	only := flag.String("only", "", "attacks by name, separated by commas, in this order")
	bin := flag.String("agent", "build/edgesync", "the agent")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := soakFor(ctx, os.Stdout, *bin, *long, *seed, *latency, *each, *only, *memory); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// soakFor does one run in a directory of its own, which stays if something does not hold.
func soakFor(
	ctx context.Context, out io.Writer, bin string, long time.Duration, seed uint64, latency time.Duration, each bool, only, memory string,
) error {
	deck, err := chosen(only, each, long)
	if err != nil {
		return err
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	// The directory is in the tree, not in /tmp, which is often memory.
	if err := os.MkdirAll("build", 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("build", "soak-")
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := newSoak(out, dir, bin, seed, each || long < briefBelow)
	if err != nil {
		return err
	}
	if memory != "" {
		if s.cgroup, err = newCgroup(memory, dir, bin); err != nil {
			return err
		}
		defer s.cgroup.remove()
		s.agentBin = s.cgroup.wrapper
	}
	defer s.cloud.Stop()
	defer s.link.close()
	r := &report{limit: latency}
	course := "-for " + long.String()
	if each {
		course = "-each"
	}
	fmt.Fprintf(out, "soak %s -seed %d\n", course, seed)
	if memory != "" {
		fmt.Fprintf(out, "the agent has %s of memory, with the pages of its files\n", memory)
	}
	err = s.run(ctx, r, deck, each, only == "", long)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	if s.agent != nil {
		s.agent.Kill()
	}
	if s.cgroup != nil {
		if s.cgroup.kills() > 0 {
			s.breach("the kernel has ended the agent for want of memory")
		}
		s.cgroup.remove()
	}
	s.mu.Lock()
	breaches := s.breaches
	s.mu.Unlock()
	if err == nil && len(breaches) == 0 {
		return os.RemoveAll(dir)
	}
	for _, b := range breaches {
		fmt.Fprintln(out, "BREACH:", b)
	}
	if err == nil {
		err = fmt.Errorf("%d things do not hold, the first is: %s", len(breaches), breaches[0])
	}
	return fmt.Errorf("%w\nthe files are kept in %s; to repeat: %s -seed %d", err, dir, course, seed)
}

// briefBelow is the length of a run from which on attacks last as long as they may.
const briefBelow = 2 * time.Minute

// chosen returns the attacks of a run: all those that fit, or the named ones in their order. Where
// each comes once, honest load alone comes first.
func chosen(only string, each bool, long time.Duration) ([]attack, error) {
	var deck []attack
	if each {
		deck = append(deck, attack{name: "no attack", run: noAttack})
	}
	if only == "" {
		for _, a := range attacks {
			if each || !a.long || long >= briefBelow {
				deck = append(deck, a)
			}
		}
		return deck, nil
	}
	for _, name := range strings.Split(only, ",") {
		i := slices.IndexFunc(attacks, func(a attack) bool { return a.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no attack %q", name)
		}
		deck = append(deck, attacks[i])
	}
	return deck, nil
}

// run is the course of a run, with the attacks each once, or for that long, in their order or
// shuffled anew each time. An error means that it could not go on.
func (s *soak) run(ctx context.Context, r *report, deck []attack, each, shuffled bool, long time.Duration) error {
	begun := time.Now()
	s.holds.hold()
	if err := s.start(ctx); err != nil {
		return err
	}
	if err := s.agent.WaitReady(ctx); err != nil {
		return err
	}
	if _, err := s.mark(ctx, backLimit); err != nil {
		return err
	}
	s.holds.release()
	stop := s.traffic(ctx)
	defer stop()
	if err := s.first(ctx); err != nil {
		return err
	}
	r.head(s)
	for i := 0; (each && i < len(deck) || !each && time.Since(begun) < long) && ctx.Err() == nil; i++ {
		if i%len(deck) == 0 && shuffled && !each {
			s.random.Shuffle(len(deck), func(a, b int) { deck[a], deck[b] = deck[b], deck[a] })
		}
		if err := s.attack(ctx, r, deck[i%len(deck)]); err != nil {
			return err
		}
		if err := rig.Pause(ctx, s.span(500*time.Millisecond, 2*time.Second)); err != nil {
			return err
		}
	}
	if err := s.quiet(ctx); err != nil {
		return err
	}
	v := s.verify(ctx)
	for _, p := range v.problems {
		s.breach("%s", p)
	}
	st, err := s.status()
	if err != nil {
		return err
	}
	files, _ := openFiles(s.agent.PID())
	goroutines, err := s.endQuietly(ctx)
	if err != nil {
		return err
	}
	r.end(s, v, st, files, goroutines)
	return nil
}

// first lives a short life to see what a quiet agent has open, and starts the next one.
func (s *soak) first(ctx context.Context) error {
	if err := rig.Pause(ctx, 2*time.Second); err != nil {
		return err
	}
	if err := s.quiet(ctx); err != nil {
		return err
	}
	files, err := openFiles(s.agent.PID())
	if err != nil {
		return err
	}
	goroutines, err := s.endQuietly(ctx)
	if err != nil {
		return err
	}
	s.base = baseline{files, goroutines}
	_, err = s.again(ctx)
	return err
}

// attack carries out one attack and measures what became of the honest traffic.
func (s *soak) attack(ctx context.Context, r *report, a attack) error {
	s.lat.sinceLast()
	if s.cgroup != nil {
		s.cgroup.mark()
	}
	begun := time.Now()
	said, err := a.run(ctx, s)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.breach("%s: %v", a.name, err)
	}
	if !s.alive() {
		return errors.New("the agent is gone")
	}
	lasted := time.Since(begun)
	back, err := s.mark(ctx, backLimit)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		st, _ := s.status()
		s.breach("after %q: %v (state %v, pending %d, dead %d, last error %q)", a.name, err, st.State, st.Pending, st.Dead, st.LastError)
		return errors.New("the agent does not come back")
	}
	r.add(s, a.name, said, lasted, back, s.weigh())
	return nil
}
