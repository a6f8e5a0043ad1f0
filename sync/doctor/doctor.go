package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/config"
	"edgesync/sync/link"
	"edgesync/sync/plain"
	"edgesync/wal/medium"
)

// State is what a check came to.
type State uint8

// The states.
const (
	Open State = iota // nothing to judge, not known, or worth knowing: no fault
	Good
	Bad // it keeps the agent from its work, or will
)

var (
	signs = [...]string{"–", "✔", "✘"}
	words = [...]string{"open", "good", "bad"}
)

// MarshalText makes the state a word in JSON: "good", "bad" or "open".
func (s State) MarshalText() ([]byte, error) { return []byte(words[s]), nil }

// Check is one thing that was looked at. A field once published keeps its name and meaning.
type Check struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	Found string `json:"found"`
	Do    string `json:"do,omitempty"` // what a person can do about it
}

// Report is what `edgesync doctor --json` prints.
type Report struct {
	OK      bool      `json:"ok"` // no check is bad
	Version string    `json:"version"`
	At      time.Time `json:"at"`
	Checks  []Check   `json:"checks"`
}

// Options say what to look at. The functions replace the machine in tests; nil = this machine.
type Options struct {
	Loaded  *config.Loaded
	Fault   error // what is wrong with the configuration; nil: nothing is
	Version string
	Built   time.Time // no clock is right that shows less; zero: not known
	// Agent is the state of the agent that runs on the data directory; nil: none runs. Held says
	// that somebody holds the directory and does not answer.
	Agent *agent.Snapshot
	Held  bool

	Brief bool // only the way to the cloud, and a session
	// Silence is how long the link is silent before the second ping; 0 = 8 s, or keepalive.time if
	// that is shorter.
	Silence time.Duration
	Watch   time.Duration // for another agent with this key; 0 = 6 s, below 0 = not at all

	Emit   func(Check) // is called with each check once it is known
	Now    func() time.Time
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	Medium func(dir string) (medium.Medium, error)
	Env    func(name string) string
	Root   string   // of /proc and /sys
	Dates  []string // host and port, of what may tell the time over HTTP; nil = the cloud's host on 80, 443 and 8080
}

// examination is one run. One goroutine owns it.
type examination struct {
	*Options
	ctx    context.Context
	config *config.Config
	report Report
	dialer link.Dialer
	roused bool // the way to HTTP/2 was found
}

func newExamination(ctx context.Context, o *Options) *examination {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Medium == nil {
		o.Medium = medium.Probe
	}
	x := &examination{Options: o, ctx: ctx, config: &o.Loaded.Config}
	x.report = Report{OK: true, Version: o.Version, At: o.Now().UTC()}
	x.dialer = link.Dialer{
		Cloud: x.config.Cloud, Keepalive: x.config.Keepalive, MaxInbound: agent.MaxInbound(x.config), Env: o.Env,
	}
	return x
}

// Run looks at everything, one after the other. It ends early, with what it has, when ctx ends.
func Run(ctx context.Context, o Options) *Report {
	x := newExamination(ctx, &o)
	steps := []func(){x.configuration, x.dataDir, x.ports, x.memory, x.way, x.session}
	if o.Brief {
		steps = steps[4:]
	}
	for _, step := range steps {
		if ctx.Err() == nil && x.left(1) > 0 {
			step()
		}
	}
	if x.left(1) == 0 {
		x.say("time", Bad, "it was up before all was looked at", "run edgesync doctor on this machine, which takes the time it needs")
	}
	return &x.report
}

// left is how much of d remains of the time for the examination.
func (x *examination) left(d time.Duration) time.Duration {
	if end, ok := x.ctx.Deadline(); ok {
		d = min(d, max(0, time.Until(end)))
	}
	return d
}

// Local is the part of Run that needs no cloud, for a look before an agent starts: what it finds
// about the directory, the ports and the cloud's name that is worth a warning, beside the traps of
// the medium. It writes nothing.
func Local(ctx context.Context, o Options) (warnings []string) {
	o.Emit = func(c Check) {
		if c.State == Bad {
			warnings = append(warnings, c.text())
		}
	}
	if o.Medium == nil {
		o.Medium = func(dir string) (medium.Medium, error) {
			m, err := medium.Read(dir)
			m.RAM, m.ReadOnly = false, false // these are among the traps
			return m, err
		}
	}
	x := newExamination(ctx, &o)
	x.directory()
	x.ports()
	x.names(time.Second)
	return warnings
}

func (x *examination) say(name string, state State, found, do string) {
	secret := x.config.Cloud.RoutingSecret
	c := Check{name, state, plain.Text(link.Redact(found, secret), maxText), plain.Text(link.Redact(do, secret), maxText)}
	x.report.OK = x.report.OK && state != Bad
	x.report.Checks = append(x.report.Checks, c)
	if x.Emit != nil {
		x.Emit(c)
	}
}

// maxText bounds what a check says, in bytes.
const maxText = 1 << 10

func (c *Check) text() string {
	if c.Do == "" {
		return c.Name + ": " + c.Found
	}
	return c.Name + ": " + c.Found + "; " + c.Do
}

// Text is the check in lines of at most 80 columns: its sign, its name and what was found, and
// below it what to do.
func (c *Check) Text() string {
	const indent = 17
	text := plain.Fill(fmt.Sprintf("%s %-14s ", signs[c.State], c.Name), c.Found, indent)
	if c.Do != "" {
		text += plain.Fill(strings.Repeat(" ", indent-2)+"→ ", c.Do, indent)
	}
	return text
}

// size is a number of bytes in words.
func size(n int64) string {
	switch {
	case n < 10<<10:
		return strconv.FormatInt(n, 10) + " bytes"
	case n < 10<<20:
		return strconv.FormatInt(n>>10, 10) + " KiB"
	case n < 10<<30:
		return strconv.FormatInt(n>>20, 10) + " MiB"
	}
	return strconv.FormatInt(n>>30, 10) + " GiB"
}

// took is a time with two digits.
func took(d time.Duration) string {
	switch {
	case d > time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d > 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}
