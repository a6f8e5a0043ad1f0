//go:build linux

package main

import (
	"path/filepath"
	"testing"

	"edgesync/sync/rules"
)

// TestBenchmarksAreRead: of several runs the median counts, by name and unit; what is no benchmark
// is left out.
func TestBenchmarksAreRead(t *testing.T) {
	b := benchmarks{}
	for _, ns := range []string{"30", "10.5", "20"} {
		out := "goos: linux\nBenchmarkA/x-y-16   \t 100\t " + ns + " ns/op\t 7 cpu-ns/op\t 0 B/op\t 3 allocs/op\nPASS\n"
		if err := b.read(out); err != nil {
			t.Fatal(err)
		}
	}
	of := b.of("BenchmarkA/x-y")
	if len(b) != 1 || of("ns/op") != 20 || of("cpu-ns/op") != 7 || of("allocs/op") != 3 {
		t.Errorf("%v", b)
	}
	if b.read("BenchmarkA-2 1 x ns/op\n") == nil {
		t.Error("a number that is none is read")
	}
}

// TestDefaultChainIsExported: the agent takes the chain that the bench gives it.
func TestDefaultChainIsExported(t *testing.T) {
	text, err := export(filepath.Join("..", "..", defaultChain))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := rules.Export(text); err != nil {
		t.Error(err)
	}
}
