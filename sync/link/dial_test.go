package link

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A step that returns just after its timer has fired took too long, whatever it returns:
// the error wraps ErrTimeout, so that the next attempt is given more time, and the error does not
// name a nil.
func TestStepEndsAsTheTimerFires(t *testing.T) {
	broken := errors.New("broken")
	for _, result := range []error{nil, broken} {
		synctest.Test(t, func(t *testing.T) {
			for n := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				err := within(time.Second, cancel, "knock", func() error { <-ctx.Done(); return result })
				if !errors.Is(err, ErrTimeout) || err.Error() != "knock: no answer in time (1s)" || strings.Contains(err.Error(), "nil") {
					t.Fatalf("step %d that returns %v: %v", n, result, err)
				}
				synctest.Wait()
				if ctx.Err() == nil {
					t.Fatal("the attempt is not cancelled")
				}
			}
		})
	}
}

func TestStepEndsInTime(t *testing.T) {
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if err := within(time.Second, cancel, "knock", func() error { time.Sleep(time.Second - 1); return nil }); err != nil {
			t.Error(err)
		}
		err := within(time.Second, cancel, "knock", func() error { return broken })
		if !errors.Is(err, broken) || errors.Is(err, ErrTimeout) || err.Error() != "knock: broken" {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if ctx.Err() != nil {
			t.Error("a timer runs on after its step")
		}
	})
}
