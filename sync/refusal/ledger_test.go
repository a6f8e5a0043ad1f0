package refusal

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 6, 1, 14, 2, 0, 0, time.UTC)

// ledger is a Ledger whose lines a test reads, without their cures.
func ledger() (*Ledger, func() []string) {
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.TimeKey, slog.LevelKey, "cure":
			return slog.Attr{}
		}
		return a
	}}))
	return New(log), func() []string {
		s := strings.TrimSpace(b.String())
		b.Reset()
		if s == "" {
			return nil
		}
		return strings.Split(s, "\n")
	}
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("logged\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The first refusal has a line at once, the next one after ten minutes says how many there were.
func TestOneWarningInTenMinutes(t *testing.T) {
	l, read := ledger()
	wrong := Case{Door: HTTP, Reason: UnknownToken, Address: "192.168.1.20"}
	l.Note(start.Add(-time.Second), wrong)
	expect(t, read(), `msg="192.168.1.20 was refused: unknown token" door=http`)
	for minute := range 12 {
		l.Note(start.Add(time.Duration(minute)*time.Minute), wrong)
	}
	expect(t, read(), `msg="192.168.1.20 was refused: unknown token, 11 times since 14:02" door=http`)
	l.Note(start.Add(24*time.Hour), wrong)
	expect(t, read(), `msg="192.168.1.20 was refused: unknown token, 2 times since 1 Jun 14:13" door=http`)
	if got := fmt.Sprint(l.Counts()); got != "[{http unknown_token 14}]" {
		t.Error(got)
	}
	p := l.Latest(9)
	if len(p) != 1 || p[0].Count != 14 || !p[0].Since.Equal(start.Add(-time.Second)) || p[0].Device {
		t.Errorf("%+v", p)
	}
}

// A reason, a device and an address of the same name have lines of their own, with topic and
// detail.
func TestNoisyDevicesHideNobody(t *testing.T) {
	l, read := ledger()
	for i := range 10000 {
		l.Note(start, Case{
			Door: MQTT, Reason: BadPayload, Device: "pump", Topic: "v1/devices/me/telemetry", Detail: fmt.Sprint("byte ", i),
		})
	}
	l.Note(start, Case{Door: MQTT, Reason: UnknownTopic, Device: "pump", Topic: "plant/1\x1b[31m"})
	l.Note(start, Case{Door: MQTT, Reason: BadPayload, Device: "10.0.0.1"})
	l.Note(start, Case{Door: HTTP, Reason: BadPayload, Address: "10.0.0.1"})
	l.Note(start, Case{Door: HTTP, Reason: TLS})
	expect(t, read(),
		`msg="pump was refused: its payload cannot be stored" door=mqtt topic=v1/devices/me/telemetry detail="byte 0"`,
		`msg="pump was refused: the topic or path does not exist" door=mqtt topic="plant/1 [31m"`,
		`msg="10.0.0.1 was refused: its payload cannot be stored" door=mqtt`,
		`msg="10.0.0.1 was refused: its payload cannot be stored" door=http`,
		`msg="somebody was refused: its TLS handshake failed" door=http`)
	if got := fmt.Sprint(l.Counts()); got != "[{http bad_payload 1} {http tls 1} {mqtt bad_payload 10001} {mqtt unknown_topic 1}]" {
		t.Error(got)
	}
}

// Of a hundred that begin at once, each that goes on has its line within a few minutes.
func TestManyPartiesHaveTheirLines(t *testing.T) {
	l, read := ledger()
	seen := make(map[string]int)
	for minute := range 10 {
		for n := range 60 {
			l.Note(start.Add(time.Duration(minute)*time.Minute), Case{Door: MQTT, Reason: UnknownToken, Device: fmt.Sprint("lamp", n)})
		}
		lines := read()
		if len(lines) > linesOfReason {
			t.Errorf("%d lines in a minute", len(lines))
		}
		for _, line := range lines {
			name, _, _ := strings.Cut(strings.TrimPrefix(line, `msg="`), " ")
			seen[name]++
		}
	}
	if len(seen) != 60 {
		t.Errorf("%d of 60 had a line", len(seen))
	}
}

func TestLedgerIsBounded(t *testing.T) {
	l, _ := ledger()
	long := strings.Repeat("ä", 1<<16)
	l.Note(start, Case{Door: MQTT, Reason: BadPayload, Device: "quiet"})
	for n := range 10000 {
		at := start.Add(time.Duration(n) * time.Second)
		l.Note(at, Case{Door: HTTP, Reason: UnknownToken, Address: fmt.Sprint(n, long), Detail: long, Topic: long})
	}
	if len(l.addresses) != maxParties || len(l.devices) != 1 {
		t.Errorf("%d addresses, %d devices", len(l.addresses), len(l.devices))
	}
	for k, p := range l.addresses {
		if len(k.who) > maxWho+3 || len(p.topic) > maxTopic+3 || len(p.detail) > maxDetail+3 {
			t.Errorf("%d, %d, %d bytes", len(k.who), len(p.topic), len(p.detail))
		}
	}
	if got := l.Latest(10); len(got) != 10 || got[9].Who != "quiet" || !got[9].Device {
		t.Errorf("the device is not among the latest: %+v", got[len(got)-1])
	}
}

// The four tokens that were shown last are told apart by their marks; the address has one warning.
func TestMarks(t *testing.T) {
	l, read := ledger()
	for _, mark := range []string{"aaaa", "", "bbbb", "cccc", "dddd", "bbbb", "eeee"} {
		l.Note(start, Case{Door: HTTP, Reason: UnknownToken, Address: "10.0.0.7", Mark: mark})
	}
	if p := l.All(); len(p) != 1 || fmt.Sprint(p[0].Marks) != "[cccc dddd bbbb eeee]" || p[0].Count != 7 {
		t.Errorf("%+v", p)
	}
	if n := len(read()); n != 1 {
		t.Errorf("%d lines", n)
	}
}

func TestEveryReasonHasItsWords(t *testing.T) {
	names := make(map[string]bool)
	for r := range reasons {
		if r.String() == "" || r.Words() == "" || r.Cure() == "" || names[r.String()] {
			t.Errorf("%d: %q, %q, %q", r, r.String(), r.Words(), r.Cure())
		}
		names[r.String()] = true
	}
}
