package status

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/refusal"
	"edgesync/sync/tally"
)

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		line    string
		columns int
		want    []string
	}{
		{"  flash     a b c", 0, []string{"  flash     a b c"}},
		{"  flash     " + strings.Repeat("abcd ", 8) + "end", 40, []string{
			"  flash     abcd abcd abcd abcd abcd", "            abcd abcd abcd end",
		}},
		{"  No link since " + strings.Repeat("x", 50) + " y", 10, []string{"  No link since", "  " + strings.Repeat("x", 50), "  y"}},
		{"  \x1b[33m" + strings.Repeat("é ", 19) + "\x1b[0m", 40, []string{"  \x1b[33m" + strings.Repeat("é ", 19) + "\x1b[0m"}},
	} {
		if got := wrap(tt.line, tt.columns); !slices.Equal(got, tt.want) {
			t.Errorf("%q in %d: %q, want %q", tt.line, tt.columns, got, tt.want)
		}
	}
}

// What people watch fits the smallest screens, and begins with what matters most.
func TestWatchFits(t *testing.T) {
	s := sample()
	s.At, s.State, s.Room.Percent = s.Since.Add(time.Hour), agent.Disconnected, 99
	s.Causes = []agent.Cause{{Text: strings.Repeat("the cause ", 50), Count: 9}}
	s.Losses = []tally.Loss{{Reason: "quota", Events: 10, Since: &s.Since, Until: &s.Since}}
	s.ExtraWarnings = []string{strings.Repeat("a warning ", 30)}
	for _, to := range []screen{{columns: 80, rows: 23}, {columns: 60, rows: 23, colour: true}} {
		var b bytes.Buffer
		if err := printFor(&b, &s, s.At, to); err != nil {
			t.Fatal(err)
		}
		rows := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if len(rows) > to.rows || !strings.Contains(rows[1], "FULL and dropping the oldest since") {
			t.Errorf("%d rows:\n%s", len(rows), b.String())
		}
		for _, row := range rows {
			if width(row) > to.columns {
				t.Errorf("%d columns: %s", width(row), row)
			}
		}
	}
}

// fullest is an agent that has everything to tell at once: no link, no room, losses, refused
// creations, events of a former edge, rules, a sync, and five who were refused at the doors.
func fullest() agent.Snapshot {
	s := sample()
	at := s.Since.Add(38 * time.Minute)
	from := at.Add(-26 * time.Hour)
	s.At, s.State, s.LastContact, s.AttemptsSince = at, agent.Disconnected, &s.Since, 17
	s.Causes = []agent.Cause{
		{Text: "the name tb.example.org is not known (no such host)", Count: 12},
		{Text: "no answer in time (10s)", Count: 5},
	}
	s.NextAttemptMS, s.LastError = 41000, s.Causes[0].Text
	s.Room.Percent = 99.4
	s.Losses = []tally.Loss{{Reason: "quota", Events: 3120, Total: 3120, From: &from, To: &s.Since, Since: &s.Since, Until: &at}}
	s.Received, s.Made, s.Filtered, s.Held, s.Merged = 1300000, 2000, 60000, 433, 7000
	s.Sync, s.Repeated = "the full sync runs: 1,234 messages so far", 42
	s.RefusedCreations = &agent.RefusedCreations{
		Devices: 12, Events: 3456, Cause: "Devices limit reached", Names: []string{"Cold store 1", "Cold store 2", "Gate"}, Full: true,
	}
	s.TurnedAway = 99
	s.Replay = &agent.Replay{
		Start: 1000, Offset: 2000, Until: 900000, Events: 990, Left: 10, State: agent.ReplayRuns, Waits: "there is no link",
	}
	s.Former = &agent.Former{Edge: "Gateway 6", Events: 1234, Command: "edgesync dead retry --by-name"}
	s.MQTTAddress, s.MQTTTLSAddress, s.HTTPTLSAddress, s.MQTTConnections = "[::]:1883", "[::]:8883", "[::]:8443", 5
	s.Medium, s.MediumFree = "ubifs on ubi0_1, 64 KiB a commit", 3<<20
	s.ExtraWarnings = []string{"data_dir is in RAM (tmpfs): a power cut loses what waits there; set data_dir to flash or disk", clockWords}
	for range 6 {
		s.Refused = append(s.Refused, refusal.Party{
			Who: "192.168.1.20", Words: "no device here has this access token", Count: 12, Since: at.Add(-time.Hour), Last: at,
			Cure: "copy the token of the device from the cloud, or assign the device to this edge",
		})
	}
	return s
}

const clockWords = "the clock of this machine is not set: telemetry without a time of its own waits until it is (is NTP reachable?)"

// Whoever watches sees all that is told, in the columns of the screen, and without scrolling: what
// matters most, the account and the room, whatever else there is. What has no row is left out.
func TestWatchFitsTheFullest(t *testing.T) {
	s := fullest()
	for _, to := range []screen{{columns: 80, rows: 23}, {columns: 60, rows: 23}, {columns: 60, rows: 23, colour: true}} {
		var b bytes.Buffer
		if err := printFor(&b, &s, s.At, to); err != nil {
			t.Fatal(err)
		}
		rows := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if len(rows) > to.rows {
			t.Errorf("%d rows", len(rows))
		}
		for _, row := range rows {
			if width(row) > to.columns {
				t.Errorf("%d columns: %s", width(row), row)
			}
		}
		for _, must := range []string{
			"disconnected", " for 38m00s", "FULL and dropping the oldest", "\n    accepted  1,234,567\n", "\n  = deployed ",
			"\n  + pending ", "\n  + dropped ", "\n  + dead ", "\n  + damaged ", "\n  room      1.0 MiB of 8.0 MiB used (99 %)",
		} {
			if !strings.Contains(b.String(), must) {
				t.Errorf("%d columns: no %q in\n%s", to.columns, must, b.String())
			}
		}
	}
}
