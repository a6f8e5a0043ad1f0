package wal

import (
	"fmt"
	"os"
	"sort"
	"strconv"
)

//go:noinline
func segmentName(first uint64) string { return fmt.Sprintf("%020d", first) }

// sortUint64 sorts numbers. An instance of slices.Sort would be some kB more of code, for what
// happens at a start.
func sortUint64(v []uint64) {
	sort.Slice(v, func(i, j int) bool { return v[i] < v[j] })
}

// listSegments returns the first offsets of the segments in dir, sorted. Other files are ignored.
func listSegments(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var firsts []uint64
	for _, e := range entries {
		if n, ok := segmentFirst(e.Name()); ok && e.Type().IsRegular() {
			firsts = append(firsts, n)
		}
	}
	sortUint64(firsts)
	return firsts, nil
}

// IsSegment reports whether a file of a queue's directory is a segment, by its name.
func IsSegment(name string) bool {
	_, ok := segmentFirst(name)
	return ok
}

func segmentFirst(name string) (uint64, bool) {
	if len(name) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(name, 10, 64)
	return n, err == nil && n > 0 && n <= maxOffset
}
