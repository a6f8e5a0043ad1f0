package ruling

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// The queue's goroutine, which says what became of an append, waits neither for a change that is
// being undone nor for a chain: both may wait for the queue, or for the registry's medium. This
// test hangs if it does.
func TestQueueWaitsForNoUndo(t *testing.T) {
	for _, slow := range []string{"what is undone", "a chain"} {
		t.Run(slow, func(t *testing.T) {
			g := newRig(t)
			g.devices(17, 17) // of the same shard as the first
			g.readsLatest.Store(true)
			g.chain(chainID, true, []string{
				`transform.TbTransformMsgNode|add|{"scriptLang":"TBEL","tbelScript":"msg.m = 1; return {msg: msg, metadata: metadata, ` +
					`msgType: msgType};"}`, saveNode, pushNode, pushNode, pushNode, windowNode,
			}, "0>1:Success", "1>2:Success", "1>3:Success", "1>4:Success", "1>5:Success")
			g.Start()
			defer g.close(false)
			take := func(n int) func(error, func(error)) error {
				t.Helper()
				out, finish, err := g.Take(events(t, n, fmt.Sprintf(`{"n":%d}`, n)))
				if err != nil || len(out) != 3 {
					t.Fatal(len(out), err)
				}
				return finish
			}
			refused, accepted, later := take(1), take(2), take(2)
			entered, release := make(chan struct{}), make(chan struct{})
			hold := func() {
				close(entered)
				<-release
			}
			large := make(chan error, 1)
			if slow == "a chain" { // one that fills what may be gathered, and waits for the queue
				g.wide.Store(wideBytes)
				g.queued = hold
				go func() {
					_, finish, err := g.Take(events(t, 17, `{"n":"`+strings.Repeat("x", 90_000)+`"}`))
					if err == nil {
						err = finish(nil, nil)
					}
					large <- err
				}()
				<-entered
			} else {
				g.undoes = hold
				large <- nil
			}
			undone := make(chan error, 1)
			go func() { undone <- refused(errFull, nil) }()
			if slow != "a chain" {
				<-entered
			}
			for g.steps.undoing.TryLock() { // until it is being undone
				g.steps.undoing.Unlock()
				runtime.Gosched()
			}
			// The queue's goroutine.
			done, refuses := make(chan error, 1), make(chan error, 1)
			_ = accepted(nil, func(err error) { done <- err })
			_ = later(errFull, func(err error) { refuses <- err })
			if err := <-done; err != nil {
				t.Error(err)
			}
			g.undoes = nil
			close(release)
			for _, end := range []chan error{undone, refuses} {
				if err := <-end; !errors.Is(err, errFull) {
					t.Error(err)
				}
			}
			if err := <-large; err != nil {
				t.Error(err)
			}
			if s := g.engine.Sums(); s.Received+s.Made != s.Accepted+s.Filtered+uint64(s.Held)+s.Merged {
				t.Errorf("%+v", s)
			}
		})
	}
}
