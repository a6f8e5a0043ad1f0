package status

import (
	"strings"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/plain"
	"edgesync/sync/tally"
)

// Kind is what a headline is about: a word for scripts, which stays.
type Kind string

// The kinds, the one that matters most first.
const (
	KindNotRunning   Kind = "not_running"
	KindNotWritable  Kind = "not_writable"
	KindUnbalanced   Kind = "unbalanced"
	KindFull         Kind = "full"
	KindNoLink       Kind = "no_link"
	KindCloudRefuses Kind = "cloud_refuses"
	KindFormerEdge   Kind = "former_edge"
	KindRateLimited  Kind = "rate_limited"
	KindCloudBehind  Kind = "cloud_behind"
	KindDeadLetters  Kind = "dead_letters"
	KindDamaged      Kind = "damaged"
	KindLost         Kind = "lost"
	KindWell         Kind = "well"
)

var kinds = []Kind{
	KindNotRunning, KindNotWritable, KindUnbalanced, KindFull, KindNoLink, KindCloudRefuses, KindFormerEdge, KindRateLimited,
	KindCloudBehind, KindDeadLetters, KindDamaged, KindLost, KindWell,
}

const (
	// lossTold is how long a loss stays in the headline after its last event, if nobody says
	// `edgesync status --ack` before.
	lossTold = 24 * time.Hour
	// fullFrom is the share of the limit, in percent, from which on a queue that drops is full:
	// what gives way is a segment at a time, of up to a quarter of a small room.
	fullFrom = 75
	// rejectsFor is how long after the last device was refused for want of room the queue is full.
	rejectsFor = 10 * time.Minute
	// causeShown bounds a cause in the headline in bytes: `edgesync status` has 80 columns.
	causeShown = 240
)

// headline says what matters most about a snapshot.
func headline(s *agent.Snapshot, h *Health) (Level, Kind, string) {
	switch {
	case !s.Running:
		return Bad, KindNotRunning, "No agent runs on this directory; " + waiting(s) + "."
	case !s.Writable:
		return Bad, KindNotWritable, "The queue cannot be written, so devices are refused" + because(s.LastError) + "."
	case !Balanced(s):
		return Bad, KindUnbalanced, "The counters do not add up: events were lost or counted twice. Please report this."
	}
	if text := full(s); text != "" {
		return Bad, KindFull, text
	}
	switch {
	case away(s):
		return Warn, KindNoLink, noLink(s)
	case s.State == agent.Refused:
		return Warn, KindCloudRefuses, "The cloud refuses every event since " + when(s, s.Since) +
			because(strings.TrimPrefix(s.LastError, agent.HoldWords+": ")) + "; " + waiting(s) + ". See `edgesync dead list`."
	case s.RefusedCreations != nil && s.RefusedCreations.Devices > 0:
		return Warn, KindCloudRefuses, refused(s) + " See `edgesync dead list`."
	case s.RateLimited:
		return Warn, KindRateLimited, "The cloud limits the rate; " + waiting(s) + "."
	case h.Queue == Warn || h.Latency == Warn:
		return Warn, KindCloudBehind, "The cloud is behind: " + waiting(s) + ", the oldest for " + span(s.OldestPendingMS) + "."
	case s.Former != nil && s.Former.Events > 0:
		return Warn, KindFormerEdge, plural(s.Former.Events, "event is", "events are") + " of the former edge " + clean(s.Former.Edge) +
			" and kept: `" + clean(s.Former.Command) + "` sends them to the devices of the same names."
	case s.Dead > 0 && s.Dead != uint64(max(s.UnprovenCreations, 0)):
		return Warn, KindDeadLetters, "The cloud refuses " + plural(s.Dead, "event; it is kept", "events; they are kept") +
			" (`edgesync dead list`)" + because(s.LastError) + "."
	case s.Damaged > s.DamagedSeen:
		return Warn, KindDamaged, plural(s.Damaged-s.DamagedSeen, "event was", "events were") +
			" damaged on the medium and could not be delivered (`edgesync status --ack` once you know)."
	}
	if l := recent(s); l != nil {
		level, ack := Warn, " (`edgesync status --ack` once you know)."
		if l.Reason == tally.Person.String() {
			level, ack = OK, "."
		}
		return level, KindLost, "The link works; " + told(s, l) + ack
	}
	if s.Pending > 0 {
		return OK, KindWell, "All is well; " + plural(s.Pending, "event is", "events are") + " on the way."
	}
	return OK, KindWell, "All is well; the cloud has everything."
}

func waiting(s *agent.Snapshot) string {
	if s.Pending == 0 {
		return "nothing waits"
	}
	return plural(s.Pending, "event waits", "events wait") + " on flash"
}

func away(s *agent.Snapshot) bool {
	return !s.State.Linked()
}

// full says that new or old events give way for want of room; "" if they do not.
func full(s *agent.Snapshot) string {
	if r := &s.Room; r.RejectedSince != nil && r.RejectedLast != nil && s.At.Sub(*r.RejectedLast) < rejectsFor {
		return "FULL and refusing devices since " + when(s, *r.RejectedSince) + ": " + waiting(s) + ", " + cause(s) + "."
	}
	if s.Pending == 0 || s.Room.Percent < fullFrom {
		return ""
	}
	for i := range s.Losses {
		l := &s.Losses[i]
		if l.Events == 0 || l.Since == nil || !isRecent(s, l) {
			continue
		}
		switch l.Reason {
		case tally.Quota.String():
			return "FULL and dropping the oldest since " + when(s, *l.Since) + ": " + plural(l.Events, "event is", "events are") + " gone" +
				period(s, l) + ", " + cause(s) + "."
		case tally.Thin.String():
			return "FULL and thinning since " + when(s, *l.Since) + ": " + plural(l.Events, "event is", "events are") + " gone" +
				period(s, l) + ", " + cause(s) + "."
		}
	}
	return ""
}

// cause says why the room is used up.
func cause(s *agent.Snapshot) string {
	switch {
	case away(s):
		text := "because there is no link since " + lost(s)
		if c := telling(s); c != nil {
			text += " (" + shortCause(s, c) + ")"
		}
		return text
	case s.State == agent.Refused:
		return "because the cloud refuses every event since " + when(s, s.Since) + " (`edgesync dead list`)"
	}
	return "because the cloud takes less than devices send"
}

// lost says since when the cloud is not heard.
func lost(s *agent.Snapshot) string {
	if s.LastContact != nil {
		return when(s, *s.LastContact)
	}
	return "the start, " + when(s, s.At.Add(-time.Duration(s.UptimeMS)*time.Millisecond))
}

// noLink says since when there is no link, what was tried, and when it is tried next.
func noLink(s *agent.Snapshot) string {
	text := "No link since " + lost(s)
	if s.AttemptsSince > 0 {
		text += ", " + plural(s.AttemptsSince, "attempt", "attempts")
	}
	if c := telling(s); c != nil {
		text += ": " + shortCause(s, c)
	} else {
		text += because(s.LastError)
	}
	text += "; " + waiting(s)
	if s.State == agent.Disconnected && s.NextAttemptMS > 0 {
		text += "; next attempt in " + span(s.NextAttemptMS)
	}
	return text + "."
}

// telling is the cause that says most: what the other end has told or shown, then the most frequent
// one, then the latest. nil: none is known.
func telling(s *agent.Snapshot) (best *agent.Cause) {
	for i := range s.Causes {
		if c := &s.Causes[i]; best == nil || c.Told && !best.Told || c.Told == best.Told && c.Count >= best.Count {
			best = c
		}
	}
	return best
}

// shortCause is a cause without the words of the transport behind it, which last_error has, and
// without until when the link worked, where that was said.
func shortCause(s *agent.Snapshot, c *agent.Cause) string {
	text := c.Text
	if hint, _, ok := strings.Cut(text, " ("); ok && strings.HasSuffix(text, ")") {
		text = hint
	}
	past := ""
	for _, begins := range [...]string{"; it worked ", "; it has worked "} {
		if i := strings.LastIndex(text, begins); i >= 0 {
			text, past = text[:i], text[i:]
		}
	}
	if s.LastContact != nil {
		past = ""
	}
	text = strings.TrimRight(plain.Text(text, causeShown), ". ")
	if c.Count > 1 {
		text += ", " + group(c.Count) + " times"
	}
	return text + strings.TrimRight(plain.Text(past, causeShown), ". ")
}

// isRecent reports whether a loss is to be told: it is less than a day old.
func isRecent(s *agent.Snapshot, l *tally.Loss) bool {
	return l.Events > 0 && l.Until != nil && s.At.Sub(*l.Until) < lossTold
}

// recent is the loss to be told: the latest that nobody has ordered, else what a person dropped.
func recent(s *agent.Snapshot) (best *tally.Loss) {
	for i := range s.Losses {
		l := &s.Losses[i]
		if !isRecent(s, l) {
			continue
		}
		if l.Reason != tally.Person.String() {
			return l
		}
		best = l
	}
	return best
}

// lossWords say what became of lost events, by reason.
func lossWords(reason string) string {
	switch reason {
	case tally.Quota.String():
		return "dropped, because the room (queue.max_bytes) was used up,"
	case tally.Thin.String():
		return "thinned out, because the room (queue.max_bytes) was used up,"
	case tally.Age.String():
		return "dropped, older than queue.max_age,"
	case tally.Dead.String():
		return "dropped from the dead letters, which were full,"
	}
	return "dropped by hand (`edgesync dead drop`)"
}

// told says what was given up, why, and when.
func told(s *agent.Snapshot, l *tally.Loss) string {
	text := plural(l.Events, "event was ", "events were ") + lossWords(l.Reason)
	switch {
	case l.Since == nil || l.Until == nil:
	case l.Until.Sub(*l.Since) < time.Minute:
		text += " at " + moment(s, *l.Until) + " UTC"
	default:
		text += " from " + moment(s, *l.Since) + " to " + moment(s, *l.Until) + " UTC"
	}
	return text + period(s, l)
}

// period says from when to when the lost events were accepted.
func period(s *agent.Snapshot, l *tally.Loss) string {
	if l.From == nil || l.To == nil {
		return ""
	}
	return ", of " + moment(s, *l.From) + " to " + moment(s, *l.To)
}

// when is a moment, and how long ago it is.
func when(s *agent.Snapshot, t time.Time) string {
	return moment(s, t) + " UTC (" + span(s.At.Sub(t).Milliseconds()) + ")"
}

// moment shows a time in UTC, with the day where it is another one than the snapshot's.
func moment(s *agent.Snapshot, t time.Time) string {
	t = t.UTC()
	if t.Format(time.DateOnly) == s.At.UTC().Format(time.DateOnly) {
		return t.Format("15:04")
	}
	return t.Format("2 Jan 15:04")
}
