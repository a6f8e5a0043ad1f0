package rig

import (
	"context"
	"sync"
	"testing"
	"time"
)

// Go runs a loop, such as the agent's, in a goroutine of its own. halt ends the loop's context and
// waits until the loop has returned; it may be called more than once.
func Go(ctx context.Context, loop func(context.Context)) (halt func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		loop(ctx)
	}()
	return sync.OnceFunc(func() {
		cancel()
		<-done
	})
}

// Patience is how long a test waits for a condition or for another program: long enough for a
// machine with several times as much to do as it can.
const Patience = 4 * time.Minute

// Eventually polls until ok returns true, because another process does not report its changes. It
// ends the test after Patience; what says for what it waited.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(Patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long: %s", what)
		}
	}
}
