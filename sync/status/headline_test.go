package status

import (
	"slices"
	"testing"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/tally"
)

// The first line, sentence by sentence: what matters most comes first.
func TestHeadline(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *time.Time { t := at.Add(-d); return &t }
	lost := func(reason tally.Reason, events uint64, since, until time.Duration) tally.Loss {
		return tally.Loss{
			Reason: reason.String(), Events: events, Total: events, Since: ago(since), Until: ago(until),
			From: ago(30 * time.Hour), To: ago(20 * time.Hour),
		}
	}
	refused := agent.Cause{
		Text: "nothing listens there: check cloud.host; it worked until 06:25 UTC (connect: connection refused)", Count: 40,
	}
	secret := agent.Cause{Text: "the cloud refused the edge's secret: check cloud.routing_secret", Count: 2, Told: true}
	for _, tt := range []struct {
		name  string
		do    func(*agent.Snapshot)
		level Level
		kind  Kind
		text  string
	}{
		{"well", func(*agent.Snapshot) {}, OK, KindWell, "All is well; the cloud has everything."},
		{
			"full without a link", func(s *agent.Snapshot) {
				s.State, s.LastContact, s.Pending, s.Dropped, s.Accepted = agent.Disconnected, ago(40*time.Hour), 9000, 12400, 21409
				s.Room.Percent, s.Causes = 91, []agent.Cause{refused}
				s.Losses = []tally.Loss{lost(tally.Quota, 12400, 3*time.Hour, time.Minute)}
			}, Bad, KindFull,
			"FULL and dropping the oldest since 09:00 UTC (3h00m): 12,400 events are gone, of 23 Nov 06:00 to 23 Nov 16:00, because" +
				" there is no link since 22 Nov 20:00 UTC (1d16h) (nothing listens there: check cloud.host, 40 times).",
		},
		{
			"full, the cloud refuses", func(s *agent.Snapshot) {
				s.State, s.Since = agent.Refused, *ago(5 * time.Hour)
				s.Pending, s.Dropped, s.Accepted = 9000, 1, 9010
				s.Room.Percent = 75
				s.Losses = []tally.Loss{lost(tally.Thin, 1, 3*time.Hour, time.Minute)}
			}, Bad, KindFull,
			"FULL and thinning since 09:00 UTC (3h00m): 1 event is gone, of 23 Nov 06:00 to 23 Nov 16:00, because the cloud refuses" +
				" every event since 07:00 UTC (5h00m) (`edgesync dead list`).",
		},
		{
			"full, devices are refused", func(s *agent.Snapshot) {
				s.Pending, s.Accepted = 9000, 9009
				s.Room.RejectedSince, s.Room.RejectedLast = ago(time.Hour), ago(9*time.Minute)
			}, Bad, KindFull,
			"FULL and refusing devices since 11:00 UTC (1h00m): 9,000 events wait on flash," +
				" because the cloud takes less than devices send.",
		},
		{
			"no link since the last contact, not since the last attempt", func(s *agent.Snapshot) {
				s.State, s.Since, s.LastContact, s.AttemptsSince = agent.Reconnecting, *ago(time.Second), ago(192*time.Second), 44
				s.Causes = []agent.Cause{secret, refused}
				s.Pending, s.Accepted = 1, 10
			}, Warn, KindNoLink,
			"No link since 11:56 UTC (3m12s), 44 attempts: the cloud refused the edge's secret: check cloud.routing_secret, 2 times;" +
				" 1 event waits on flash.",
		},
		{
			"never a link", func(s *agent.Snapshot) {
				s.State, s.UptimeMS, s.AttemptsSince, s.NextAttemptMS = agent.Disconnected, 61000, 1, 2500
				s.Causes = []agent.Cause{{Text: "a\x1b[2Jb", Count: 1}}
			}, Warn, KindNoLink,
			"No link since the start, 11:58 UTC (1m01s), 1 attempt: a [2Jb; nothing waits; next attempt in 2.5s.",
		},
		{
			"the room is not full any more", func(s *agent.Snapshot) {
				s.State, s.LastContact, s.Pending, s.Dropped, s.Accepted = agent.Disconnected, ago(time.Minute), 1, 5, 15
				s.Room.Percent = 74
				s.Losses = []tally.Loss{lost(tally.Quota, 5, 3*time.Hour, 2*time.Hour)}
			}, Warn, KindNoLink,
			"No link since 11:59 UTC (1m00s); 1 event waits on flash.",
		},
		{
			"refuses everything", func(s *agent.Snapshot) {
				s.State, s.Since, s.Pending, s.Accepted = agent.Refused, *ago(time.Minute), 2, 11
				s.LastError = agent.HoldWords + ": no tenant."
			}, Warn, KindCloudRefuses,
			"The cloud refuses every event since 11:59 UTC (1m00s): no tenant; 2 events wait on flash. See `edgesync dead list`.",
		},
		{
			"refuses creations", func(s *agent.Snapshot) {
				s.Dead, s.Accepted = 5, 14
				s.RefusedCreations = &agent.RefusedCreations{Devices: 1, Events: 4, Names: []string{"Meter"}, Cause: "limit reached"}
			}, Warn, KindCloudRefuses,
			"The cloud refuses to create 1 device (Meter): limit reached; 4 events wait for that. See `edgesync dead list`.",
		},
		{
			"dead", func(s *agent.Snapshot) { s.Dead, s.Accepted = 1, 10 }, Warn, KindDeadLetters,
			"The cloud refuses 1 event; it is kept (`edgesync dead list`).",
		},
		{
			"a creation is to be proved", func(s *agent.Snapshot) { s.Dead, s.UnprovenCreations, s.Accepted = 1, 1, 10 }, OK, KindWell,
			"All is well; the cloud has everything.",
		},
		{
			"damaged", func(s *agent.Snapshot) { s.Damaged, s.DamagedSeen, s.Accepted = 3, 1, 12 }, Warn, KindDamaged,
			"2 events were damaged on the medium and could not be delivered (`edgesync status --ack` once you know).",
		},
		{
			"damaged, and seen", func(s *agent.Snapshot) { s.Damaged, s.DamagedSeen, s.Accepted = 3, 3, 12 }, OK, KindWell,
			"All is well; the cloud has everything.",
		},
		{
			"quota before what a person dropped later", func(s *agent.Snapshot) {
				s.Dropped, s.Accepted = 12, 21
				s.Losses = []tally.Loss{lost(tally.Person, 2, time.Hour, time.Hour), lost(tally.Quota, 10, 5*time.Hour, 4*time.Hour)}
			}, Warn, KindLost,
			"The link works; 10 events were dropped, because the room (queue.max_bytes) was used up, from 07:00 to 08:00 UTC, of" +
				" 23 Nov 06:00 to 23 Nov 16:00 (`edgesync status --ack` once you know).",
		},
		{
			"a person", func(s *agent.Snapshot) {
				s.Dropped, s.Accepted = 2, 11
				s.Losses = []tally.Loss{{Reason: "person", Events: 2, Total: 2, Since: ago(time.Hour), Until: ago(time.Hour)}}
			}, OK, KindLost, "The link works; 2 events were dropped by hand (`edgesync dead drop`) at 11:00 UTC.",
		},
		{
			"age", func(s *agent.Snapshot) {
				s.Dropped, s.Accepted = 1, 10
				s.Losses = []tally.Loss{{Reason: "age", Events: 1, Total: 1, Since: ago(13 * time.Hour), Until: ago(13 * time.Hour)}}
			}, Warn, KindLost,
			"The link works; 1 event was dropped, older than queue.max_age, at 23 Nov 23:00 UTC (`edgesync status --ack` once you know).",
		},
		{
			"a day later", func(s *agent.Snapshot) {
				s.Dropped, s.Accepted = 10, 19
				s.Losses = []tally.Loss{lost(tally.Quota, 10, 25*time.Hour, 24*time.Hour)}
			}, OK, KindWell, "All is well; the cloud has everything.",
		},
		{
			"seen", func(s *agent.Snapshot) {
				s.Dropped, s.Accepted, s.Losses = 10, 19, []tally.Loss{{Reason: "quota", Total: 10}}
			}, OK, KindWell, "All is well; the cloud has everything.",
		},
	} {
		s := agent.Snapshot{State: agent.Connected, Running: true, Writable: true, Accepted: 9, Deployed: 9, At: at}
		tt.do(&s)
		if h := Judge(&s); h.Level != tt.level || h.Kind != tt.kind || h.Text != tt.text {
			t.Errorf("%s: %s %s\n%q, want\n%q", tt.name, h.Level, h.Kind, h.Text, tt.text)
		}
		if !slices.Contains(kinds, tt.kind) {
			t.Errorf("%s is not in kinds", tt.kind)
		}
	}
}

// How often stands behind what failed, and until when the link worked where nothing else says it.
func TestShortCause(t *testing.T) {
	text := "nothing listens there: check cloud.host; it worked until 06:25 UTC (connect: connection refused)"
	for _, c := range []struct {
		contact *time.Time
		text    string
		count   uint64
		want    string
	}{
		{nil, text, 2, "nothing listens there: check cloud.host, 2 times; it worked until 06:25 UTC"},
		{nil, text, 1, "nothing listens there: check cloud.host; it worked until 06:25 UTC"},
		{new(time.Time), text, 2, "nothing listens there: check cloud.host, 2 times"},
		{nil, "no answer; it has worked before", 3, "no answer, 3 times; it has worked before"},
		{nil, "no answer.", 3, "no answer, 3 times"},
	} {
		if got := shortCause(&agent.Snapshot{LastContact: c.contact}, &agent.Cause{Text: c.text, Count: c.count}); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
