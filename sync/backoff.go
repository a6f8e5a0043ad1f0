package sync

import (
	"math/rand/v2"
	"time"
)

// Waits between attempts (architecture, "Time limits").
const (
	refusedMin = 10 * time.Second // after refused credentials
	refusedMax = 5 * time.Minute
	timeoutMax = 60 * time.Second // for the dial and the answer to CONNECT, after doubling
)

// doubling is a duration that doubles with each Next up to a bound. The loop's goroutine owns it.
type doubling struct {
	min, max time.Duration
	next     time.Duration // 0 = min
}

// Next returns the present value and doubles it.
func (d *doubling) Next() time.Duration {
	v := d.Peek()
	if d.next = 2 * v; d.next > d.max {
		d.next = d.max
	}
	return v
}

// Peek returns the present value.
func (d *doubling) Peek() time.Duration {
	if d.next < d.min {
		return min(d.min, d.max)
	}
	return d.next
}

func (d *doubling) Reset() { d.next = 0 }

// Top makes the next value the largest.
func (d *doubling) Top() { d.next = d.max }

// fullJitter spreads reconnects of a whole fleet over the interval, so that a cloud that comes back is not run down.
func fullJitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d) + 1
}
