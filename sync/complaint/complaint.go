// Package complaint limits the warnings of a process that runs for months: a cloud that is away for
// a week, or a device that sends nonsense every second, fills no log.
//
// A warning has a kind (what is wrong, a constant text), a subject (with whom: a device, an
// address; "" for the process itself) and a reason. The first warning of a kind and subject is
// logged at once. A repetition is logged when its reason is another, or when the interval has
// passed since the last line, together with the number of warnings that were left out between.
//
// The lines are bounded, whatever a hostile sender does. Of one kind at most linesOfKind are
// written in an interval, and of one subject at most linesOfSubject of these; linesAgain in all are
// for subjects that had one already, so that subjects whose reasons change each time leave lines
// for the others. What exceeds linesOfKind, such as a thousand subjects at once, is counted, and
// the next line of the kind says how many.
//
// The memory is bounded: beyond maxKept pairs of kind and subject the pair whose last line is
// oldest is forgotten; beyond maxKinds kinds the kind whose interval is oldest.
package complaint

import (
	"log/slog"
	"sync"
	"time"
)

// maxKept bounds the remembered pairs of kind and subject. One pair takes less than 1 KiB.
const maxKept = 256

// maxKinds bounds the kinds whose lines are counted. A kind is a constant of the program, so that
// only a program with more of them reaches the bound.
const maxKinds = 64

// The lines of one interval. With the 30 kinds of the doors that is at most 240 lines a minute
// under any attack, and some 3 KiB a second of log.
const (
	linesOfKind    = 8
	linesOfSubject = 3 // of them, of one subject
	linesAgain     = 4 // of them, of subjects that had a line in the interval already
)

// Bounds of what others put into a line, in bytes. A longer text is cut, and compared by its
// beginning.
const (
	maxReason  = 512
	maxSubject = 256
)

// Log writes warnings to a logger, rate-limited by kind and subject. It is safe for concurrent use.
type Log struct {
	log   *slog.Logger
	every time.Duration

	mu    sync.Mutex // guards what follows; no line is written under it
	kept  map[pair]*last
	kinds map[string]*budget
}

// budget counts the lines of a kind in the interval that began at since.
type budget struct {
	since   time.Time
	lines   int
	again   int // of lines: those of subjects that had one in the interval already
	leftOut int // warnings without a line, of subjects that would have had one
}

type pair struct{ kind, subject string }

// last is the line that was written last of a pair.
type last struct {
	reason string
	at     time.Time
	silent int // warnings left out since

	since time.Time // of the interval in which lines were counted
	lines int
}

// New returns a Log that repeats a warning at most once in every.
func New(log *slog.Logger, every time.Duration) *Log {
	return &Log{log: log, every: every, kept: make(map[pair]*last), kinds: make(map[string]*budget)}
}

// Warn logs a warning of a kind about a subject, unless the same was logged a short time before
// now. subject and reason may be empty. args are further attributes of the line, as slog takes
// them.
func (l *Log) Warn(now time.Time, kind, subject, reason string, args ...any) {
	subject, reason = subject[:min(len(subject), maxSubject)], reason[:min(len(reason), maxReason)]
	silent, leftOut, ok := l.due(now, pair{kind, subject}, reason)
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
	if leftOut > 0 {
		args = append(args, "left_out", leftOut)
	}
	l.log.Warn(kind, args...)
}

// due notes a warning, and says whether it is to be written, and how many were left out before it:
// of the same subject, and of others for which the interval had no line left.
func (l *Log) due(now time.Time, p pair, reason string) (silent, leftOut int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kept[p]
	if k != nil {
		if now.Sub(k.since) >= l.every {
			k.since, k.lines = now, 0
		}
		if k.reason == reason && now.Sub(k.at) < l.every || k.lines >= linesOfSubject {
			k.silent++
			return 0, 0, false
		}
	}
	b := l.kinds[p.kind]
	if b == nil {
		if len(l.kinds) >= maxKinds {
			l.forgetKind()
		}
		b = &budget{since: now}
		l.kinds[p.kind] = b
	}
	if now.Sub(b.since) >= l.every {
		b.since, b.lines, b.again = now, 0, 0
	}
	again := k != nil && k.lines > 0
	if b.lines >= linesOfKind || again && b.again >= linesAgain {
		b.leftOut++
		if k != nil {
			k.silent++
		}
		return 0, 0, false
	}
	if k == nil {
		if len(l.kept) >= maxKept {
			l.forget()
		}
		k = &last{since: now}
		l.kept[p] = k
	}
	silent, leftOut = k.silent, b.leftOut
	k.reason, k.at, k.silent = reason, now, 0
	k.lines++
	if again {
		b.again++
	}
	b.lines, b.leftOut = b.lines+1, 0
	return silent, leftOut, true
}

// forgetKind makes room for one kind.
func (l *Log) forgetKind() {
	var oldest string
	var at time.Time
	for kind, b := range l.kinds {
		if at.IsZero() || b.since.Before(at) {
			oldest, at = kind, b.since
		}
	}
	delete(l.kinds, oldest)
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
