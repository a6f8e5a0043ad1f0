package complaint

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// lines is a Log whose lines a test reads.
func lines(every time.Duration) (*Log, func() []string) {
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
	return New(log, every), func() []string {
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
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("logged %q, want %q", got, want)
	}
}

var start = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func TestRepetitionsAreCounted(t *testing.T) {
	l, read := lines(time.Minute)
	for s := range 90 {
		l.Warn(start.Add(time.Duration(s)*time.Second), "refused", "", "full", "bytes", 5)
	}
	expect(t, read(), "msg=refused bytes=5 reason=full", "msg=refused bytes=5 reason=full repeated=59")
	l.Warn(start.Add(2*time.Minute), "refused", "", "full")
	expect(t, read(), "msg=refused reason=full repeated=29")
}

func TestAnotherReasonIsLoggedAtOnce(t *testing.T) {
	l, read := lines(time.Minute)
	l.Warn(start, "refused", "", "full")
	l.Warn(start, "refused", "", "full")
	l.Warn(start, "refused", "", "worn")
	expect(t, read(), "msg=refused reason=full", "msg=refused reason=worn repeated=1")
}

func TestNoSubjectHidesAnother(t *testing.T) {
	l, read := lines(time.Minute)
	for range 1000 {
		l.Warn(start, "refused", "noisy", "")
	}
	l.Warn(start, "refused", "quiet", "")
	l.Warn(start, "slow", "noisy", "")
	expect(t, read(), "msg=refused device=noisy", "msg=refused device=quiet", "msg=slow device=noisy")
}

func TestMemoryIsBounded(t *testing.T) {
	l, read := lines(time.Minute)
	for n := range 10 * maxKept {
		l.Warn(start.Add(time.Duration(n)*time.Minute), "refused", fmt.Sprint("device ", n), strings.Repeat("x", 10*maxReason))
	}
	if len(read()) != 10*maxKept || len(l.kept) != maxKept {
		t.Errorf("%d pairs are kept, want %d", len(l.kept), maxKept)
	}
	for p, k := range l.kept {
		if len(k.reason) > maxReason {
			t.Errorf("%q: %d bytes of a reason are kept", p.subject, len(k.reason))
		}
	}
	l.Warn(start.Add((10*maxKept-1)*time.Minute), "refused", fmt.Sprint("device ", 10*maxKept-1), strings.Repeat("x", 10*maxReason))
	expect(t, read()) // the newest are those that are kept
}

func TestArgumentsOfTheCallerStay(t *testing.T) {
	l, _ := lines(time.Minute)
	args := make([]any, 2, 8)
	args[0], args[1] = "n", 1
	l.Warn(start, "refused", "d", "r", args...)
	if got := args[:4][2]; got != nil {
		t.Errorf("the caller's array now holds %v", got)
	}
}

// A subject whose reason is another each time has its few lines, and the next subject has one at
// once.
func TestAChangingReasonFillsNoLog(t *testing.T) {
	l, read := lines(time.Minute)
	for n := range 10000 {
		l.Warn(start, "refused", "hostile", fmt.Sprint("byte ", n))
	}
	l.Warn(start, "refused", "quiet", "full")
	expect(t, read(),
		`msg=refused device=hostile reason="byte 0"`, `msg=refused device=hostile reason="byte 1"`,
		`msg=refused device=hostile reason="byte 2"`, "msg=refused device=quiet reason=full")
	l.Warn(start.Add(time.Minute), "refused", "hostile", "byte 2")
	expect(t, read(), `msg=refused device=hostile reason="byte 2" repeated=9997`)
}

// Subjects whose reasons change leave lines of their kind for others.
func TestChangingReasonsHideNobody(t *testing.T) {
	l, read := lines(time.Minute)
	for n := range 1000 {
		l.Warn(start, "refused", fmt.Sprint("hostile ", n%3), fmt.Sprint("byte ", n))
	}
	if got := read(); len(got) != 3+linesAgain {
		t.Errorf("%d lines, want %d", len(got), 3+linesAgain)
	}
	l.Warn(start, "refused", "quiet", "full")
	if got := read(); len(got) != 1 || !strings.HasPrefix(got[0], "msg=refused device=quiet reason=full") {
		t.Errorf("logged %q", got)
	}
}

// A thousand subjects have the lines of their kind, the rest are counted, and another kind has its
// own lines. Old subjects that come again count as well.
func TestManySubjectsFillNoLog(t *testing.T) {
	l, read := lines(time.Minute)
	for n := range 1000 {
		l.Warn(start, "refused", fmt.Sprint("device ", n), "full")
	}
	if got := read(); len(got) != linesOfKind {
		t.Errorf("%d lines, want %d", len(got), linesOfKind)
	}
	l.Warn(start, "slow", "device 999", "")
	expect(t, read(), `msg=slow device="device 999"`)
	later := start.Add(time.Minute)
	l.Warn(later, "refused", "device 999", "full")
	expect(t, read(), `msg=refused device="device 999" reason=full left_out=992`)
	for n := range 1000 {
		l.Warn(later, "refused", fmt.Sprint("device ", n), "full")
	}
	if got := read(); len(got) != linesOfKind-1 {
		t.Errorf("%d lines in the second interval, want %d", len(got), linesOfKind-1)
	}
}

// A program with endless kinds keeps the latest.
func TestKindsAreBounded(t *testing.T) {
	l, _ := lines(time.Minute)
	for n := range 10 * maxKinds {
		l.Warn(start.Add(time.Duration(n)), fmt.Sprint("kind ", n), "", "")
	}
	if len(l.kinds) != maxKinds {
		t.Errorf("%d kinds are kept, want %d", len(l.kinds), maxKinds)
	}
}
