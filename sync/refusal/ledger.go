package refusal

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"edgesync/sync/plain"
)

// Every is how long a device or address has no second warning of the same reason.
const Every = 10 * time.Minute

// Bounds of a Ledger; doc.go says what they bound.
const (
	maxParties    = 128
	linesOfReason = 8 // in a minute
	maxWho        = 128
	maxTopic      = 128
	maxDetail     = 256
	maxMarks      = 4
	maxMark       = 16
)

// Case is one refusal.
type Case struct {
	Door    Door
	Reason  Reason
	Device  string // its name; "" while the device is not known
	Address string // without the port; used where there is no name
	Topic   string // of MQTT; "" where none is concerned
	Detail  string // what is wrong in particular, without secrets; may be ""
	Mark    string // tells one token from another without saying it; "" where none was shown
}

// Count is how often a door has refused for a reason in this life.
type Count struct {
	Door   string `json:"door"`
	Reason string `json:"reason"`
	Count  uint64 `json:"count"`
}

// Party is a device or an address that was refused.
type Party struct {
	Who    string    `json:"who"`
	Device bool      `json:"device"` // Who is the name of a device, else an address
	Door   string    `json:"door"`
	Reason string    `json:"reason"`
	Words  string    `json:"words"`
	Topic  string    `json:"topic,omitempty"`
	Detail string    `json:"detail,omitempty"`
	Cure   string    `json:"cure"`
	Marks  []string  `json:"marks,omitempty"` // of what it has shown, the latest last, at most four
	Count  uint64    `json:"count"`
	Since  time.Time `json:"since"`
	Last   time.Time `json:"last"`
}

// Ledger counts refusals and warns of them. It is safe for concurrent use.
type Ledger struct {
	log    *slog.Logger
	counts [doors][reasons]atomic.Uint64

	mu        sync.Mutex // guards what follows; no line is written under it
	addresses map[pair]*party
	devices   map[pair]*party
	lines     [reasons]budget
}

type pair struct {
	who    string
	reason Reason
}

// party is what is remembered of a pair.
type party struct {
	door          Door
	topic, detail string
	marks         []string
	count         uint64
	since, last   time.Time

	warned  time.Time // zero: never yet
	silent  uint64    // refusals since then
	silence time.Time // the first of them
}

// budget counts the lines of a reason in the minute that began at since.
type budget struct {
	since   time.Time
	lines   int
	leftOut uint64 // refusals that would have had a line
}

// New returns a Ledger that warns to log.
func New(log *slog.Logger) *Ledger {
	return &Ledger{log: log, addresses: make(map[pair]*party), devices: make(map[pair]*party)}
}

// Who is what Party.Who says of a device of that name.
func Who(name string) string { return plain.Text(name, maxWho) }

// Note counts a refusal, and warns of it if that is due.
func (l *Ledger) Note(now time.Time, c Case) {
	l.counts[c.Door][c.Reason].Add(1)
	who, parties := Who(c.Device), l.devices
	if c.Device == "" {
		who, parties = plain.Text(cmp.Or(c.Address, "somebody"), maxWho), l.addresses
	}
	topic, detail := plain.Text(c.Topic, maxTopic), plain.Text(c.Detail, maxDetail)

	l.mu.Lock()
	p := parties[pair{who, c.Reason}]
	if p == nil {
		if len(parties) >= maxParties {
			forget(parties)
		}
		p = &party{since: now}
		parties[pair{strings.Clone(who), c.Reason}] = p
	}
	// The texts may be parts of whole packets.
	p.door, p.topic, p.detail, p.last = c.Door, strings.Clone(topic), strings.Clone(detail), now
	p.mark(c.Mark)
	p.count++
	if p.silent == 0 {
		p.silence = now
	}
	p.silent++
	times, since := p.silent, p.silence
	leftOut, due := l.due(p, c.Reason, now)
	l.mu.Unlock()
	if due {
		l.warn(now, &c, who, topic, detail, times, since, leftOut)
	}
}

// mark notes what a party has shown.
func (p *party) mark(mark string) {
	if mark == "" {
		return
	}
	mark = plain.Text(mark, maxMark)
	if at := slices.Index(p.marks, mark); at >= 0 {
		p.marks = append(p.marks[:at], p.marks[at+1:]...)
	} else if len(p.marks) == maxMarks {
		p.marks = p.marks[:copy(p.marks, p.marks[1:])]
	}
	p.marks = append(p.marks, strings.Clone(mark))
}

// due notes that p has a warning now, or reports that it has none. The caller holds mu.
func (l *Ledger) due(p *party, reason Reason, now time.Time) (leftOut uint64, ok bool) {
	if !p.warned.IsZero() && now.Sub(p.warned) < Every {
		return 0, false
	}
	b := &l.lines[reason]
	if now.Sub(b.since) >= time.Minute {
		b.since, b.lines = now, 0
	}
	if b.lines >= linesOfReason {
		b.leftOut++
		return 0, false
	}
	leftOut, b.leftOut = b.leftOut, 0
	b.lines++
	p.warned, p.silent = now, 0
	return leftOut, true
}

func (l *Ledger) warn(now time.Time, c *Case, who, topic, detail string, times uint64, since time.Time, leftOut uint64) {
	args := []any{"door", c.Door.String()}
	if topic != "" {
		args = append(args, "topic", topic)
	}
	if detail != "" {
		args = append(args, "detail", detail)
	}
	args = append(args, "cure", c.Reason.Cure())
	if leftOut > 0 {
		args = append(args, "left_out", leftOut)
	}
	l.log.Warn(who+" was refused: "+c.Reason.Words()+Times(times, since, now), args...)
}

// Times says how often something happened since a time, and begins with a comma; it is empty for
// once. The day is named only where it is another one than today.
func Times(n uint64, since, now time.Time) string {
	if n < 2 {
		return ""
	}
	form := "15:04"
	if since.Format(time.DateOnly) != now.Format(time.DateOnly) {
		form = "2 Jan 15:04"
	}
	return fmt.Sprintf(", %d times since %s", n, since.Format(form))
}

// Counts returns the counters that are not 0, by door and reason.
func (l *Ledger) Counts() (list []Count) {
	for d := range doors {
		for r := range reasons {
			if n := l.counts[d][r].Load(); n > 0 {
				list = append(list, Count{d.String(), r.String(), n})
			}
		}
	}
	return list
}

// Latest returns at most so many of the parties that were refused, the latest first. Of as many as
// there are places, half are for devices and half for addresses where there are that many of both.
func (l *Ledger) Latest(most int) []Party {
	l.mu.Lock()
	devices, addresses := list(l.devices, true), list(l.addresses, false)
	l.mu.Unlock()
	n := min(len(devices), max(most-most/2, most-len(addresses)))
	all := append(devices[:n], addresses[:min(len(addresses), most-n)]...)
	sort.SliceStable(all, func(i, j int) bool { return later(&all[i], &all[j]) })
	return all
}

// All returns all parties that are remembered, the latest first.
func (l *Ledger) All() []Party { return l.Latest(2 * maxParties) }

// later reports whether a comes before b. An instance of slices.SortFunc would be 15 kB more of
// code on MIPS, and one of slices.SortStableFunc another 10.
func later(a, b *Party) bool {
	switch {
	case !a.Last.Equal(b.Last):
		return a.Last.After(b.Last)
	case a.Who != b.Who:
		return a.Who < b.Who
	}
	return a.Reason < b.Reason
}

// list returns the parties, the latest first.
func list(parties map[pair]*party, devices bool) []Party {
	all := make([]Party, 0, len(parties))
	for at, p := range parties {
		all = append(all, Party{
			Who: at.who, Device: devices, Door: p.door.String(), Reason: at.reason.String(), Words: at.reason.Words(),
			Topic: p.topic, Detail: p.detail, Cure: at.reason.Cure(), Count: p.count, Since: p.since, Last: p.last,
			Marks: append([]string(nil), p.marks...),
		})
	}
	sort.Slice(all, func(i, j int) bool { return later(&all[i], &all[j]) })
	return all
}

// forget makes room for one party.
func forget(parties map[pair]*party) {
	var oldest pair
	var at time.Time
	for k, p := range parties {
		if at.IsZero() || p.last.Before(at) {
			oldest, at = k, p.last
		}
	}
	delete(parties, oldest)
}
