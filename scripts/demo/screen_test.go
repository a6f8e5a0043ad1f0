package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	agent "edgesync/sync"
)

var escape = regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]")

// TestPictureKeepsItsSize: the picture always has the same height and fits into 78 columns, and the
// chart falls when the backlog falls.
func TestPictureKeepsItsSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := newScreen(&out, true, strings.Repeat("head ", 10))
		s.begin(nil, 1e9)
		height := len(s.lines())
		for i := range 200 {
			time.Sleep(250 * time.Millisecond)
			pending := uint64(max(0, 100-abs(100-i))) * 12_345
			s.show(agent.Snapshot{State: agent.State(i % 5), Pending: pending, Deployed: 123_456_789})
			switch i {
			case 50:
				s.link(false, "cut")
			case 60:
				s.killed(true, "kill -9")
			case 61:
				s.killed(false, "")
			}
			if i%10 == 0 {
				s.say("a line of the story that is far too long for any terminal of the world: %d %s", i, strings.Repeat("x", 50))
			}
			lines := s.lines()
			if len(lines) != height {
				t.Fatalf("step %d: %d lines, before %d", i, len(lines), height)
			}
			for _, l := range lines {
				if n := utf8.RuneCountInString(escape.ReplaceAllString(l, "")); n > 78 {
					t.Fatalf("step %d: %d columns: %q", i, n, l)
				}
			}
		}
		bottom := []rune(escape.ReplaceAllString(s.bars()[chartRows-1], ""))
		if last := bottom[len(bottom)-1]; last == '█' {
			t.Errorf("the backlog is small again, and the chart ends with %q", last)
		}
		if s.maxBacklog() != 100*12_345 {
			t.Errorf("highest backlog is %d", s.maxBacklog())
		}
	})
}

func TestThousands(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is written %s, want %s", n, got, want)
		}
	}
}

func abs(n int) int { return max(n, -n) }
