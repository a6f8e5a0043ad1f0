package rig

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b strings.Builder
		done := Doing(&b, "building")
		time.Sleep(44 * time.Second)
		done()
		time.Sleep(time.Minute)
		if got, want := b.String(), "building …\nstill building, 15 s\nstill building, 30 s\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
