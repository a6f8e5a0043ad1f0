package ruling

import (
	"context"
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
			g.run(0, func() {
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
