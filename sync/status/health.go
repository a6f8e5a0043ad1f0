package status

import (
	"fmt"
	"strings"
	"time"

	agent "edgesync/sync"
)

// Level is how much something needs a person.
type Level string

// The levels, from calm to urgent.
const (
	OK     Level = "ok"
	Raised Level = "raised" // above healthy, and nothing to do yet
	Warn   Level = "warning"
	Bad    Level = "bad"
)

// Health is the judgement of a snapshot: one level and sentence for the whole, and a level for each
// of queue, latency and link.
type Health struct {
	Level   Level  `json:"level"`
	Kind    Kind   `json:"kind"`
	Text    string `json:"text"`
	Queue   Level  `json:"queue"`
	Latency Level  `json:"latency"`
	Link    Level  `json:"link"`
}

// Thresholds of ThingsBoard Edge's health indicators: healthy below the first, a warning above the
// second.
const (
	queueHealthy, queueWarning     = 1000, 5000
	latencyHealthy, latencyWarning = 5 * time.Second, 30 * time.Second
)

// Judge says what matters most about a snapshot, in one sentence (headline.go). Every surface shows
// that sentence: it depends on nothing but the snapshot.
func Judge(s *agent.Snapshot) Health {
	h := Health{
		Queue:   grade(s.Pending, queueHealthy, queueWarning),
		Latency: grade(uint64(max(s.OldestPendingMS, 0)), uint64(latencyHealthy.Milliseconds()), uint64(latencyWarning.Milliseconds())),
		Link:    OK,
	}
	if !s.State.Linked() {
		h.Link = Warn
	}
	h.Level, h.Kind, h.Text = headline(s, &h)
	return h
}

func grade(n, healthy, warning uint64) Level {
	switch {
	case n < healthy:
		return OK
	case n > warning:
		return Warn
	}
	return Raised
}

// Balanced reports whether the counters add up: every accepted event is deployed, pending, dropped,
// dead or damaged.
func Balanced(s *agent.Snapshot) bool {
	return s.Accepted == s.Deployed+s.Pending+s.Dropped+s.Dead+s.Damaged
}

func because(lastError string) string {
	if lastError == "" {
		return ""
	}
	return ": " + strings.TrimRight(clean(lastError), ". ")
}

func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return group(n) + " " + many
}

// span shows milliseconds with two units at most: 850ms, 4.2s, 3m12s, 5h07m, 3d4h.
func span(milliseconds int64) string {
	d := time.Duration(max(milliseconds, 0)) * time.Millisecond
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int64(d.Hours())/24, int64(d.Hours())%24)
}
