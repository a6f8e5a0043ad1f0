//go:build !linux

package clock

import "time"

// uptime returns a function that returns the milliseconds since now.
func uptime() func() int64 {
	began := time.Now()
	return func() int64 { return time.Since(began).Milliseconds() }
}
