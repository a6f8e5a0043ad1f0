// Package complaint limits the warnings of a process that runs for months: a cloud that is away for a week, or a device that
// sends nonsense every second, fills no log.
//
// A warning has a kind (what is wrong, a constant text), a subject (with whom: a device, an address; "" for the process itself)
// and a reason. The first warning of a kind and subject is logged at once. A repetition is logged when its reason is another, or
// when the interval has passed since the last line, together with the number of warnings that were left out between.
//
// The log is bounded: beyond maxKept pairs of kind and subject the pair whose last line is oldest is forgotten.
package complaint

import (
	"log/slog"
	"sync"
	"time"
)

// maxKept bounds the remembered pairs of kind and subject. One pair takes less than 1 KiB.
const maxKept = 256

// maxReason bounds the remembered reason in bytes. A longer reason is compared by its beginning.
const maxReason = 512

// Log writes warnings to a logger, rate-limited by kind and subject. It is safe for concurrent use.
type Log struct {
	log   *slog.Logger
	every time.Duration

	mu   sync.Mutex // guards kept; no line is written under it
	kept map[pair]*last
}

type pair struct{ kind, subject string }

// last is the line that was written last of a pair.
type last struct {
	reason string
	at     time.Time
	silent int // warnings left out since
}

// New returns a Log that repeats a warning at most once in every.
func New(log *slog.Logger, every time.Duration) *Log {
	return &Log{log: log, every: every, kept: make(map[pair]*last)}
}

// Warn logs a warning of a kind about a subject, unless the same was logged a short time before now. subject and reason may be
// empty. args are further attributes of the line, as slog takes them.
func (l *Log) Warn(now time.Time, kind, subject, reason string, args ...any) {
	silent, ok := l.due(now, pair{kind, subject}, reason[:min(len(reason), maxReason)])
	if !ok {
		return
	}
	args = args[:len(args):len(args)]
	if subject != "" {
		args = append(args, "device", subject)
	}
	if reason != "" {
		args = append(args, "reason", reason)
	}
	if silent > 0 {
		args = append(args, "repeated", silent)
	}
	l.log.Warn(kind, args...)
}

// due notes a warning, and says whether it is to be written and how many were left out before it.
func (l *Log) due(now time.Time, p pair, reason string) (silent int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kept[p]
	switch {
	case k == nil:
		if len(l.kept) >= maxKept {
			l.forget()
		}
		k = new(last)
		l.kept[p] = k
	case k.reason == reason && now.Sub(k.at) < l.every:
		k.silent++
		return 0, false
	}
	silent = k.silent
	*k = last{reason: reason, at: now}
	return silent, true
}

// forget makes room for one pair.
func (l *Log) forget() {
	var oldest pair
	var at time.Time
	for p, k := range l.kept {
		if at.IsZero() || k.at.Before(at) {
			oldest, at = p, k.at
		}
	}
	delete(l.kept, oldest)
}
