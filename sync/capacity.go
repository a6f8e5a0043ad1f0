package sync

import (
	"time"

	"edgesync/wal"
)

// Capacity is how much of the room for events is used, how long it lasts, and what the medium has
// borne.
type Capacity struct {
	Used    int64   `json:"used_bytes"`  // of the queue's files, acknowledged events that give way first among them
	Limit   int64   `json:"limit_bytes"` // queue.max_bytes; 0 = not known
	Percent float64 `json:"percent"`     // used, of the limit, but for acknowledged events

	acknowledged int64 // of Used

	// At the rate of the last hour, or of this life if it is shorter; 0 = too early to tell.
	EventsPerHour float64 `json:"events_per_hour"`
	BytesPerHour  float64 `json:"bytes_per_hour"`
	// FullInMS is until the room is used up at that rate while nothing leaves; nil: not known.
	FullInMS *int64 `json:"full_in_ms,omitempty"`

	// queue.policy = "reject_new": devices are refused for want of room since, and were last.
	RejectedSince *time.Time `json:"rejected_since,omitempty"`
	RejectedLast  *time.Time `json:"rejected_last,omitempty"`

	Written int64      `json:"flash_written_bytes"` // over the life of data_dir, since Since; less what a crash has forgotten
	Worn    int64      `json:"flash_worn_bytes"`
	Since   *time.Time `json:"flash_since,omitempty"`
	// ArraysOf10 is how many times longer the medium would last if devices sent their events in
	// arrays of 10; 0 = not worth it, or too early to tell.
	ArraysOf10 float64 `json:"arrays_of_10"`
}

// frameBytes is what an event takes of the queue beside its fragment (OPERATIONS.md).
const frameBytes = 32

// pace are samples of what has entered, one a minute for an hour. The loop's goroutine owns it.
type pace struct {
	ring [60]paced
	n    int // taken in all
}

// paced is what had entered at a time.
type paced struct {
	at            time.Time
	events, bytes uint64
}

// take takes a sample if that is due, and returns the oldest.
func (p *pace) take(now time.Time, q *wal.Queue) paced {
	if p.n == 0 || now.Sub(p.ring[(p.n-1)%len(p.ring)].at) >= time.Minute {
		p.ring[p.n%len(p.ring)] = pacedNow(now, q.Life())
		p.n++
	}
	if p.n <= len(p.ring) {
		return p.ring[0]
	}
	return p.ring[p.n%len(p.ring)]
}

func pacedNow(now time.Time, life wal.Account) paced {
	return paced{at: now, events: life.Number, bytes: uint64(life.Events) + frameBytes*life.Number}
}

// addRoom fills in what a running agent knows of its room.
func (a *Agent) addRoom(s *Snapshot, from paced) {
	r := &s.Room
	limit, rejected := a.Queue.Room()
	if r.Limit = limit; limit > 0 {
		r.Percent = float64(r.Used-r.acknowledged) * 100 / float64(limit)
	}
	if !rejected.Since.IsZero() {
		now := time.Now()
		since, last := s.At.Add(rejected.Since.Sub(now)), s.At.Add(rejected.Last.Sub(now))
		r.RejectedSince, r.RejectedLast = &since, &last
	}
	life := a.Queue.Life()
	r.ArraysOf10 = arraysOf10(&life, s.FlashCommit)
	if a.Tally != nil {
		f := a.Tally.Flash()
		since := f.Since.UTC()
		r.Written, r.Worn, r.Since = f.Written, f.Worn, &since
	}
	now := pacedNow(time.Now(), life)
	d := now.at.Sub(from.at)
	if from.at.IsZero() || d < time.Minute {
		return
	}
	r.EventsPerHour = float64(now.events-from.events) / d.Hours()
	r.BytesPerHour = float64(now.bytes-from.bytes) / d.Hours()
	if r.BytesPerHour > 0 && limit > 0 {
		free := limit
		if s.Pending > 0 {
			free -= min(r.Used-r.acknowledged, limit)
		}
		ms := int64(min(float64(free)/r.BytesPerHour*float64(time.Hour/time.Millisecond), maxFullIn))
		r.FullInMS = &ms
	}
}

// maxFullIn bounds FullInMS: a hundred years.
const maxFullIn = 100 * 365.25 * 24 * 3600 * 1000

const (
	array       = 10  // events
	worthArrays = 1.2 // times longer, at least, to be told
	tellArrays  = 100 // commits before anything is told
)

// arraysOf10 is how many times longer the medium would last if each commit held at least ten
// events. What the others in data_dir write stays as it is.
func arraysOf10(life *wal.Account, commit int64) float64 {
	fewer := int64(life.Commits) - int64((life.Number+array-1)/array)
	if life.Commits < tellArrays || fewer <= 0 || commit <= 0 {
		return 0
	}
	left := life.Wear - fewer*commit
	if left <= 0 {
		left = commit
	}
	if n := float64(life.Wear) / float64(left); n >= worthArrays {
		return min(n, array)
	}
	return 0
}
