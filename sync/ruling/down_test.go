package ruling

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
)

// What the cloud sends of thousands of entities does not hold up calls of devices, nor the end.
func TestComingLetsOthersGoBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		defer g.close(false)
		const most = 500
		ran, called := 0, 0
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		for range most {
			g.run(ofCloud, 0, func() {
				if ran++; ran == 1 {
					g.later(func() { called = ran })
				}
				if ran == most/2 {
					stop()
				}
			})
		}
		g.work(ctx)
		if called == 0 || ran == most {
			t.Errorf("a call came behind %d of %d messages, the end behind %d", called, most, ran)
		}
	})
}

// However many devices fail to provision, what the cloud sends, states of calls and devices that
// are made find their place.
func TestNoSourceKeepsAnotherOut(t *testing.T) {
	g := newRig(t)
	defer g.close(false)
	for from := range sources {
		ran := make(map[source]int)
		for range 10_000 {
			g.run(from, 1000, func() { ran[from]++ })
		}
		for other := range sources {
			g.run(other, 1000, func() { ran[other]++ })
		}
		for len(g.calls.came) > 0 {
			g.cameIn()
		}
		for other := range sources {
			if want := maxDown[other] / 1128; other == from && ran[from] != want || other != from && ran[other] != 1 {
				t.Errorf("behind many of source %d, %d of source %d run", from, ran[other], other)
			}
		}
	}
	if g.calls.down != [sources]int{} {
		t.Errorf("%d bytes wait", g.calls.down)
	}
}

// A flood of provisionings that fail, each with a long key, does not fill the place of one that
// does not.
func TestFailedProvisioningsKeepNobodyOut(t *testing.T) {
	g := newRig(t)
	defer g.close(false)
	for range 1000 {
		g.Provisioned(device(1), false, strings.Repeat("k", 8000), "")
	}
	before := len(g.calls.came)
	g.Provisioned(device(1), true, "key", "")
	if n := len(g.calls.came) - before; before != 4 || n != 1 {
		t.Errorf("%d that failed wait, and %d that did not", before, n)
	}
}
