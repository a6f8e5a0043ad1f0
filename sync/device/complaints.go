package device

import (
	"sync"
	"time"
)

// complaints lets one line a minute of each text into the log, with how often it was wanted.
type complaints struct {
	mu    sync.Mutex
	kinds map[string]*complaint // by text; texts are constants of this package
}

type complaint struct {
	logged time.Time
	count  int
}

// complain logs a mistake of a device, or one of ours that devices see, at most once a minute for
// each text.
func (d *Doors) complain(text, device string, err error) {
	d.complaints.mu.Lock()
	if d.complaints.kinds == nil {
		d.complaints.kinds = make(map[string]*complaint)
	}
	c := d.complaints.kinds[text]
	if c == nil {
		c = new(complaint)
		d.complaints.kinds[text] = c
	}
	c.count++
	now, n := time.Now(), c.count
	due := now.Sub(c.logged) >= time.Minute
	if due {
		c.logged, c.count = now, 0
	}
	d.complaints.mu.Unlock()
	if due {
		d.Log.Warn(text, "device", device, "error", err, "times", n)
	}
}
