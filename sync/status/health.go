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

// Judge says what matters most about a snapshot, in one sentence.
func Judge(s *agent.Snapshot) Health {
	h := Health{
		Queue:   grade(s.Pending, queueHealthy, queueWarning),
		Latency: grade(uint64(max(s.OldestPendingMS, 0)), uint64(latencyHealthy.Milliseconds()), uint64(latencyWarning.Milliseconds())),
		Link:    OK,
	}
	if s.State == agent.Disconnected || s.State == agent.Reconnecting {
		h.Link = Warn
	}
	h.Level, h.Text = verdict(s, h)
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

func verdict(s *agent.Snapshot, h Health) (Level, string) {
	waiting := "nothing waits"
	if s.Pending > 0 {
		waiting = plural(s.Pending, "event waits", "events wait") + " on flash"
	}
	switch {
	case !s.Running:
		return Bad, "No agent runs on this directory; " + waiting + "."
	case !s.Writable:
		return Bad, "The queue cannot be written, so devices are refused" + because(s.LastError) + "."
	case !Balanced(s):
		return Bad, "The counters do not add up: events were lost or counted twice. Please report this."
	case s.State == agent.Disconnected || s.State == agent.Reconnecting:
		next := ""
		if s.State == agent.Disconnected && s.NextAttemptMS > 0 {
			next = "; next attempt in " + span(s.NextAttemptMS)
		}
		return Warn, "No link to the cloud" + because(s.LastError) + "; " + waiting + next + "."
	case s.RateLimited:
		return Warn, "The cloud limits the rate; " + waiting + "."
	case h.Queue == Warn || h.Latency == Warn:
		return Warn, "The cloud is behind: " + waiting + ", the oldest for " + span(s.OldestPendingMS) + "."
	case s.Former != nil && s.Former.Events > 0:
		return Warn, plural(s.Former.Events, "event is", "events are") + " of the former edge " + clean(s.Former.Edge) + " and kept: `" +
			clean(s.Former.Command) + "` sends them to the devices of the same names."
	case s.Dead > 0:
		return Warn, plural(s.Dead, "event could not be handed to the cloud; it is", "events could not be handed to the cloud; they are") +
			" kept in the dead-letter log (`edgesync dead list`)" + because(s.LastError) + "."
	case s.Damaged > 0:
		return Warn, plural(s.Damaged, "event was", "events were") + " damaged on the medium and could not be delivered."
	case s.Dropped > 0:
		return Warn, "The link works; " + plural(s.Dropped, "event was", "events were") +
			" dropped earlier: by queue.policy, queue.max_age, or from the dead letters."
	case s.Pending > 0:
		return OK, "All is well; " + plural(s.Pending, "event is", "events are") + " on the way."
	}
	return OK, "All is well; the cloud has everything."
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
