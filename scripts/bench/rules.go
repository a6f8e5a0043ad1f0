//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	ruleRounds = 5      // runs of each benchmark, in turns
	ruleTime   = "0.3s" // of one of them
	// defaultChain is the chain that a server gives every new edge.
	defaultChain = "sync/rules/testdata/chains/01-default-edge-root.json"
)

// rules measures the rule engine by the benchmarks of its packages, and then two agents that take
// posts in turns: one with the chain of a new edge, one without rules.
func (s *site) rules(ctx context.Context) error {
	took, err := measureTake(ctx, s.dir)
	if err != nil {
		return err
	}
	off, plain, filter := took.of("BenchmarkTake/off"), took.of("BenchmarkTake/default"), took.of("BenchmarkTake/filter")
	s.t.add(line{
		what: "default chain, CPU a message, ns", measured: plain("cpu-ns/op"), format: "%.0f", yardstick: off("cpu-ns/op"),
		of: "without rules", noBound: true,
	})
	s.t.add(line{what: "  allocations", measured: plain("allocs/op"), format: "%.0f", bound: 0})
	s.t.add(line{
		what: "switch, script, push; 16 writers: messages/s", measured: 1e9 / filter("ns/op"), format: "%.0f",
		atLeast: true, bound: 200_000,
	})
	s.t.add(line{what: "  CPU a message, µs", measured: filter("cpu-ns/op") / 1000, format: "%.2f", bound: 5})
	s.t.add(line{what: "  allocations", measured: filter("allocs/op"), format: "%.0f", bound: 3})
	simple, parse := took.of("BenchmarkRun/threshold"), took.of("BenchmarkRun/parse")
	s.t.add(line{
		what: "TBEL filters a second of CPU", measured: 1e9 / simple("cpu-ns/op"), format: "%.0f", atLeast: true, bound: 1_000_000,
		yardstick: 1e9 / parse("cpu-ns/op"), of: "messages are parsed, each once for its scripts",
	})
	compile := took.of("BenchmarkCompile")
	s.t.add(line{what: "a chain of 50 nodes is compiled, CPU, ms", measured: compile("cpu-ns/op") / 1e6, format: "%.2f", bound: 20})
	return s.rulesOverHTTP(ctx)
}

// measureTake runs the benchmarks of the rules in turns, so that what else the machine does falls
// on all alike. They are built with the flags of the releases.
func measureTake(ctx context.Context, dir string) (benchmarks, error) {
	all := benchmarks{}
	var runs [][]string
	for _, b := range [][2]string{
		{"edgesync/sync/ruling", "^BenchmarkTake$"},
		{"edgesync/sync/rules/script", "^BenchmarkRun$/^(threshold|parse)$"},
		{"edgesync/sync/rules", "^BenchmarkCompile$"},
	} {
		binary := filepath.Join(dir, strings.ReplaceAll(b[0], "/", "-")+".test")
		if out, err := exec.CommandContext(ctx, "make", "shipped-test", "OUT="+binary, "PACKAGE="+b[0]).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("make shipped-test %s: %w\n%s", b[0], err, out)
		}
		runs = append(runs, []string{binary, "-test.run", "^$", "-test.bench", b[1], "-test.benchtime", ruleTime})
	}
	for range ruleRounds {
		for _, run := range runs {
			out, err := exec.CommandContext(ctx, run[0], run[1:]...).CombinedOutput()
			if err == nil {
				err = all.read(string(out))
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", strings.Join(run, " "), err, out)
			}
		}
	}
	for _, name := range []string{
		"BenchmarkTake/off", "BenchmarkTake/default", "BenchmarkTake/filter", "BenchmarkRun/threshold", "BenchmarkRun/parse",
		"BenchmarkCompile",
	} {
		for _, unit := range []string{"ns/op", "cpu-ns/op", "allocs/op"} {
			if len(all[name][unit]) != ruleRounds {
				return nil, fmt.Errorf("%s has %d values of %s instead of %d", name, len(all[name][unit]), unit, ruleRounds)
			}
		}
	}
	return all, nil
}

// benchmarks are what runs of benchmarks report: by their names and units, one value a run.
type benchmarks map[string]map[string][]float64

// read adds what one run printed.
func (b benchmarks) read(out string) error {
	for l := range strings.Lines(out) {
		f := strings.Fields(l)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		name := f[0]
		if i := strings.LastIndexByte(name, '-'); i > 0 { // the number of processors
			name = name[:i]
		}
		if b[name] == nil {
			b[name] = map[string][]float64{}
		}
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return fmt.Errorf("benchmark line %q: %w", l, err)
			}
			b[name][f[i+1]] = append(b[name][f[i+1]], v)
		}
	}
	return nil
}

// of returns the medians of a benchmark by their units.
func (b benchmarks) of(name string) func(unit string) float64 {
	return func(unit string) float64 {
		list := slices.Sorted(slices.Values(b[name][unit]))
		return list[len(list)/2]
	}
}

// rulesOverHTTP measures posts to an agent with the chain of a new edge, and to one without rules.
func (s *site) rulesOverHTTP(ctx context.Context) error {
	chain, err := export(defaultChain)
	if err != nil {
		return err
	}
	file := filepath.Join(s.dir, "default-chain.json")
	if err := os.WriteFile(file, chain, 0o644); err != nil {
		return err
	}
	with, stop, err := s.postsWith(ctx, "rules-default", fmt.Sprintf("[rules]\nfile = %q\n", file))
	if err != nil {
		return err
	}
	defer stop()
	without, stop, err := s.postsWith(ctx, "rules-off", "[rules]\nmode = \"off\"\n")
	if err != nil {
		return err
	}
	defer stop()
	r, err := with.measure(without.run)
	if err != nil {
		return err
	}
	s.t.add(line{
		what: "default chain, HTTP posts/s, 16 connections", measured: r.perSecond, format: "%.0f", yardstick: r.otherPerSecond,
		of: "without rules", atLeast: true, onRatio: true, bound: 0.95,
	})
	s.t.add(line{
		what: "  CPU of the agent per 1,000 of them, ms", measured: r.cpu, format: "%.2f", yardstick: r.otherCPU, of: "without rules",
		onRatio: true, bound: 1.05,
	})
	return nil
}

// postsWith starts a loaded agent with these rules, and connects devices to it.
func (s *site) postsWith(ctx context.Context, name, rules string) (l *load, stop func(), err error) {
	a, tokens, err := s.startLoaded(ctx, name, rules)
	if err != nil {
		return nil, nil, err
	}
	l, closeAll, err := connect(ctx, server{a.HTTP, a.PID()}, tokens[:httpConnections], func(c net.Conn, token string) (poster, error) {
		return newHTTPPoster(c, a.HTTP, token), nil
	})
	if err != nil {
		a.Kill()
		return nil, nil, err
	}
	return l, func() { closeAll(); a.Kill() }, nil
}

// export makes a chain's export, which rules.file takes, of a recorded downlink.
func export(recorded string) ([]byte, error) {
	b, err := os.ReadFile(recorded)
	if err != nil {
		return nil, err
	}
	var in struct {
		Downlinks []struct {
			Head     json.RawMessage `json:"ruleChainUpdateMsg"`
			Metadata json.RawMessage `json:"ruleChainMetadataUpdateMsg"`
		} `json:"downlinks"`
	}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&in); err != nil {
		return nil, fmt.Errorf("%s: %w", recorded, err)
	}
	if len(in.Downlinks) != 1 || in.Downlinks[0].Head == nil || in.Downlinks[0].Metadata == nil {
		return nil, errors.New(recorded + " is not one chain")
	}
	return json.Marshal(map[string]json.RawMessage{"ruleChain": in.Downlinks[0].Head, "metadata": in.Downlinks[0].Metadata})
}
