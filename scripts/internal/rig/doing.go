package rig

import (
	"fmt"
	"io"
	"time"
)

// sign is how often Doing gives a sign of life.
const sign = 15 * time.Second

// Doing writes what begins to w, and after every 15 s that it is still going on. The caller calls
// done when it is over; nothing is written after done has returned. Meanwhile nobody else may write
// to w, unless w is safe for concurrent use.
func Doing(w io.Writer, what string) (done func()) {
	fmt.Fprintf(w, "%s …\n", what)
	begin := time.Now()
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(sign)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(w, "still %s, %.0f s\n", what, time.Since(begin).Seconds())
			case <-over:
				return
			}
		}
	}()
	return func() {
		close(over)
		<-ended
	}
}
