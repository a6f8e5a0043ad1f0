package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"edgesync/scripts/internal/rig"
	agent "edgesync/sync"
)

const (
	columns    = 64 // of the chart, each chartStep wide
	chartRows  = 6
	chartStep  = 500 * time.Millisecond
	storyLines = 7
	redraw     = 100 * time.Millisecond
	plainStep  = 2 * time.Second
)

// The colours used, as SGR parameters.
const (
	plain = "0"
	bold  = "1"
	dim   = "2"
	red   = "31"
	green = "32"
	amber = "33"
	blue  = "36"
)

// column is half a second of the chart.
type column struct {
	backlog uint64 // the highest seen; until a status comes, the previous column's
	seen    bool
	colour  string
	mark    string
}

// screen shows the progress: redrawn in place on a terminal, line by line elsewhere. Safe for
// concurrent use.
type screen struct {
	out  io.Writer
	live bool // the output is a terminal and can be redrawn
	head string
	// rules is nil but in the demo of rules.
	rules *rulesView

	mu       sync.Mutex
	begun    time.Time // when the clock of the story started
	senders  []*sender
	readings int
	status   agent.Snapshot
	seen     bool // a status has come
	down     bool // link
	dead     bool // agent
	chart    []column
	highest  uint64
	story    []string
	drawn    int // lines on the terminal
	nextLine time.Time
}

func newScreen(out io.Writer, live bool, head string) *screen {
	return &screen{out: out, live: live, head: head, begun: time.Now()}
}

// isTerminal reports whether f is a terminal and no variable asks for plain output.
func isTerminal(f *os.File) bool {
	if os.Getenv("CI") != "" || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// begin starts the picture, with the stations and the number of readings that they will send.
func (s *screen) begin(senders []*sender, readings int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.senders, s.readings = senders, readings
}

// say adds a line to the story.
func (s *screen) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := fmt.Sprintf("%5.1f s  ", time.Since(s.begun).Seconds()) + fmt.Sprintf(format, args...)
	s.story = append(s.story, line)
	if len(s.story) > storyLines {
		s.story = s.story[len(s.story)-storyLines:]
	}
	if s.live {
		s.draw()
	} else {
		fmt.Fprintln(s.out, line)
	}
}

// link and killed set whether the link and the agent are up, with a mark for the chart.
func (s *screen) link(up bool, mark string) { s.change(func() { s.down = !up }, mark) }

func (s *screen) killed(dead bool, mark string) { s.change(func() { s.dead = dead }, mark) }

func (s *screen) change(how func(), mark string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how()
	if mark != "" {
		s.advance()
		s.chart[len(s.chart)-1].mark = mark
	}
}

func (s *screen) maxBacklog() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.highest
}

// watch asks the agent for its status and draws, until the context ends.
func (s *screen) watch(ctx context.Context, bin, config string) {
	ask(ctx, bin, config, s.show, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.advance()
		if s.live {
			s.draw()
		} else if now := time.Now(); now.After(s.nextLine) && s.seen {
			s.nextLine = now.Add(plainStep)
			fmt.Fprintf(s.out, "%5.1f s  %-12s posted %6d  backlog %6d  deployed %6d\n",
				time.Since(s.begun).Seconds(), s.stateName(), s.posted(), s.status.Pending, s.status.Deployed)
		}
	})
}

// ask asks the agent for its status, and calls redrawn each time that the picture is due, until the
// context ends. One goroutine calls both.
func ask(ctx context.Context, bin, config string, told func(agent.Snapshot), redrawn func()) {
	answers := make(chan agent.Snapshot)
	go func() {
		for ctx.Err() == nil {
			// While the agent is dead the status comes from its files, as it does for a user.
			if st, err := rig.Status(ctx, bin, config); err == nil {
				select {
				case answers <- st:
				case <-ctx.Done():
				}
			}
			select {
			case <-time.After(250 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case st := <-answers:
			told(st)
		case <-tick.C:
			redrawn()
		}
	}
}

// show adopts a new status.
func (s *screen) show(st agent.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.seen = st, true
	s.highest = max(s.highest, st.Pending)
	s.advance()
	last := &s.chart[len(s.chart)-1]
	if !last.seen || st.Pending > last.backlog {
		last.backlog, last.seen = st.Pending, true
	}
}

// advance appends columns to the chart up to the present.
func (s *screen) advance() {
	for n := int(time.Since(s.begun)/chartStep) + 1; len(s.chart) < n; {
		var c column
		if k := len(s.chart); k > 0 {
			c.backlog = s.chart[k-1].backlog
		}
		s.chart = append(s.chart, c)
	}
	s.chart[len(s.chart)-1].colour = s.stateColour()
}

func (s *screen) stateName() string {
	if s.dead {
		return "killed"
	}
	return s.status.State.String()
}

func (s *screen) stateColour() string {
	switch {
	case s.dead:
		return red
	case !s.status.State.Linked():
		return amber
	case s.status.State == agent.Draining:
		return blue
	default:
		return green
	}
}

func (s *screen) posted() (n int64) {
	for _, snd := range s.senders {
		n += snd.acked.Load()
	}
	return n
}

// draw draws the whole picture over the last one. The caller holds the lock.
func (s *screen) draw() {
	lines := s.lines()
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.drawn)
	} else {
		b.WriteString("\x1b[?25l") // hide the cursor, which would flicker
	}
	for _, l := range lines {
		b.WriteString("\r\x1b[2K")
		b.WriteString(l)
		b.WriteByte('\n')
	}
	s.drawn = len(lines)
	_, _ = io.WriteString(s.out, b.String())
}

// end leaves the last picture standing.
func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live && s.drawn > 0 {
		s.draw()
		_, _ = io.WriteString(s.out, "\x1b[?25h")
	}
}

// lines returns the picture, always with the same number of lines and none wider than 78 columns.
func (s *screen) lines() []string {
	link := paint(green, "───── link ─────")
	if s.down {
		link = paint(red, "───── ✂ cut ────")
	}
	box := paint(bold, "edgesync")
	if s.dead {
		box = paint(red, "✝ killed")
	}
	if s.rules != nil {
		return s.storied(s.rulesLines(box, link))
	}
	posted := s.posted()
	l := []string{
		"",
		"  " + paint(bold, s.head),
		"",
		"  stations ──HTTP── " + box + " " + link + " cloud" +
			fmt.Sprintf("     %s", paint(s.stateColour(), "● "+strings.ToUpper(s.stateName()))),
		"",
		fmt.Sprintf("  posted   %s %7s of %s", bar(posted, int64(s.readings), 40, green), thousands(uint64(posted)),
			thousands(uint64(s.readings))),
		fmt.Sprintf("  in cloud %s %7s", bar(int64(s.status.Deployed), int64(s.readings), 40, blue), thousands(s.status.Deployed)),
		"",
		fmt.Sprintf("  backlog %s, at most %s", paint(bold, thousands(s.status.Pending)), thousands(s.highest)),
	}
	l = append(l, s.bars()...)
	return s.storied(append(l, ""))
}

// storied appends the lines of the story to a picture.
func (s *screen) storied(l []string) []string {
	for i := range storyLines {
		if i < len(s.story) {
			l = append(l, "  "+clip(s.story[i], 76))
		} else {
			l = append(l, "")
		}
	}
	return l
}

var eighths = []rune(" ▁▂▃▄▅▆▇█")

// bars returns the chart of the backlog: chartRows rows, and one with the marks.
func (s *screen) bars() []string {
	chart := s.chart
	if len(chart) > columns {
		chart = chart[len(chart)-columns:]
	}
	var top uint64 = 1
	for _, c := range chart {
		top = max(top, c.backlog)
	}
	var rows []string
	for row := chartRows - 1; row >= 0; row-- {
		var b strings.Builder
		b.WriteString("  ")
		colour := ""
		for _, c := range chart {
			level := int(c.backlog * chartRows * 8 / top)
			if c.backlog > 0 && level == 0 {
				level = 1
			}
			if c.colour != colour {
				colour = c.colour
				b.WriteString("\x1b[" + colour + "m")
			}
			b.WriteRune(eighths[min(max(level-row*8, 0), 8)])
		}
		b.WriteString("\x1b[0m")
		rows = append(rows, b.String())
	}
	marks := []rune("  " + strings.Repeat("─", columns))
	for i, c := range chart {
		if c.mark == "" {
			continue
		}
		copy(marks[2+i:], []rune("▲"+c.mark))
	}
	return append(rows, paint(dim, string(marks)))
}

// bar returns a horizontal bar of that many columns.
func bar(n, of int64, width int, colour string) string {
	full := 0
	if of > 0 {
		full = int(min(n, of) * int64(width) / of)
	}
	return paint(colour, strings.Repeat("█", full)) + paint(dim, strings.Repeat("░", width-full))
}

func paint(colour, text string) string { return "\x1b[" + colour + "m" + text + "\x1b[" + plain + "m" }

// clip cuts a line at that many columns; each character counts as one.
func clip(text string, width int) string {
	if r := []rune(text); len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return text
}

// thousands writes 18980 as 18,980.
func thousands(n uint64) string {
	t := fmt.Sprint(n)
	for i := len(t) - 3; i > 0; i -= 3 {
		t = t[:i] + "," + t[i:]
	}
	return t
}
