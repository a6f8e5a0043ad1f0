package sync

import (
	"testing"

	"edgesync/wal"
)

// The what-if: single values pay for a commit each; arrays of ten pay for a tenth of them. What
// others write stays, and what comes in arrays already gains nothing.
func TestArraysOf10(t *testing.T) {
	for _, tt := range []struct {
		life wal.Account
		want float64
	}{
		{wal.Account{Commits: 1000, Number: 1000, Wear: 8192 * 1000}, 10},
		{wal.Account{Commits: 1000, Number: 1000, Wear: 8192 * 1800}, 2},
		{wal.Account{Commits: 1000, Number: 1000, Wear: 8192 * 900}, 10}, // more is never spared
		{wal.Account{Commits: 1000, Number: 5000, Wear: 8192 * 1000}, 2},
		{wal.Account{Commits: 1000, Number: 10000, Wear: 8192 * 1000}, 0},
		{wal.Account{Commits: 1000, Number: 1000, Wear: 8192 * 9000}, 0}, // 1.11 times
		{wal.Account{Commits: 99, Number: 99, Wear: 8192 * 99}, 0},       // too early
	} {
		if got := arraysOf10(&tt.life, 8192); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.life, got, tt.want)
		}
	}
}
