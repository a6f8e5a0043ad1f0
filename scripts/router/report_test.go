//go:build linux

package main

import "testing"

// TestRateOfASlowMachine holds that less than one commit a second is not printed as none, and that
// none seen is not printed as a rate.
func TestRateOfASlowMachine(t *testing.T) {
	for best, want := range map[float64]string{
		0: "commits a second not seen", 0.3: "0.3 commits a second at best", 5.04: "5.0 commits a second at best",
	} {
		if got := rateText(best); got != want {
			t.Errorf("%v is %q, want %q", best, got, want)
		}
	}
}
