package tally

import (
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"edgesync/wal"
	"edgesync/wal/disk"
)

// Reason is why events were given up.
type Reason uint8

// The reasons.
const (
	Quota  Reason = iota // the room was used up
	Thin                 // every second of a series gave way, so that the room lasts
	Age                  // older than queue.max_age
	Dead                 // refused by the cloud, and the dead-letter log is full
	Person               // a person dropped them
	reasons
)

var reasonNames = [reasons]string{"quota", "thinning", "age", "dead_letters_full", "person"}

// String is the reason's name in status, metrics and the file.
func (r Reason) String() string { return reasonNames[r] }

const (
	fileName = "tally"
	maxFile  = 4 << 10 // bytes
	// episode is how long nothing is lost for a reason before the next loss begins to count anew.
	episode = 24 * time.Hour
	// saveWorn is the wear, in bytes, that a crash may forget: the write of the file is some 0.2 %
	// of it.
	saveWorn = 8 << 20
	// saveEvery is how long after a write the next loss is not worth another.
	saveEvery = time.Hour
)

// Loss is what was given up for one reason. From and To are when the first and the last of the
// events were accepted, Since and Until when they were given up; nil: not known. All but Total are
// of the losses since a person has seen them last, or since a day without any.
type Loss struct {
	Reason string     `json:"reason"`
	Events uint64     `json:"events"`
	From   *time.Time `json:"from,omitempty"`
	To     *time.Time `json:"to,omitempty"`
	Since  *time.Time `json:"since,omitempty"`
	Until  *time.Time `json:"until,omitempty"`
	Total  uint64     `json:"total"` // over the life of data_dir, as far as it is recorded
}

// loss is a Loss while it is counted. since and until hold a monotonic time if they are of this
// process's life.
type loss struct {
	total, events uint64
	from, to      int64
	since, until  time.Time
}

// Flash is what was written to the medium.
type Flash struct {
	Written, Worn int64     // bytes, see wal.Account
	Since         time.Time // zero: not known
}

// File is the tally of one data directory. It is safe for concurrent use. Note and Gap write
// nothing, and do not block. A nil File takes notes and keeps none.
type File struct {
	path string
	log  *slog.Logger
	now  func() time.Time // the time as well as it is known
	wear func() Flash     // of this process's life; may be nil

	mu          sync.Mutex // guards what follows
	facts       facts
	unrecorded  uint64 // events dropped before this life under no reason
	saved       time.Time
	dirty, fail bool
	looked      time.Time // when the wear was looked after
	worn        int64     // of this life when the file was written last, or tried to be
	meter       disk.Meter
}

// facts is what the file holds.
type facts struct {
	losses  [reasons]loss
	damaged uint64 // events that a person has seen to be damaged
	flash   Flash  // of earlier lives
}

// Open reads the tally of a data directory. A file that is missing or damaged is none.
func Open(dir string, now func() time.Time, log *slog.Logger) *File {
	t := &File{path: filepath.Join(dir, fileName), log: log, now: now}
	for _, path := range [...]string{t.path, t.path + disk.Temp} {
		if err := disk.MakeWay(path, disk.File, filepath.Join(dir, "corrupt"), log); err != nil {
			log.Warn("the file of the tally is in the way of a new one", "error", err)
		}
	}
	t.read()
	return t
}

// Look reads the losses of a directory on which no agent runs. damaged is how many damaged events a
// person has seen.
func Look(dir string, now time.Time) (losses []Loss, damaged uint64) {
	t := &File{path: filepath.Join(dir, fileName), log: slog.New(slog.DiscardHandler), now: func() time.Time { return now }}
	t.read()
	return t.Losses(), t.facts.damaged
}

func (t *File) read() {
	if data, err := disk.ReadRegular(t.path, maxFile); err == nil {
		var ok bool
		if t.facts, ok = parse(string(data)); !ok {
			t.log.Warn("the file of the tally is damaged; causes of earlier losses are not known", "file", t.path)
		}
	}
	if t.facts.flash.Since.IsZero() {
		t.facts.flash.Since = time.Now()
	}
}

// Begin says how many events the counters have as dropped, and from where the wear of this life
// comes; what is written goes to m. It is called once, before others than Note and Gap.
func (t *File) Begin(dropped uint64, m disk.Meter, wear func() Flash) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.meter, t.wear = m, wear
	recorded := uint64(0)
	for r := range t.facts.losses {
		recorded += t.facts.losses[r].total
	}
	t.unrecorded = dropped - min(recorded, dropped)
}

// Gap notes what the queue or the dead-letter log has dropped.
func (t *File) Gap(g wal.Gap) {
	r := Quota
	switch g.Why {
	case wal.WhyThin:
		r = Thin
	case wal.WhyAge:
		r = Age
	case wal.WhyDead:
		r = Dead
	}
	t.Note(r, g.Events, g.First, g.Last)
}

// Note notes that events were given up. first and last are the times of the first and the last of
// them in milliseconds since the epoch; those of a clock that was not set are left out.
func (t *File) Note(r Reason, events uint64, first, last int64) {
	if t == nil || events == 0 {
		return
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	l := &t.facts.losses[r]
	if l.events == 0 || now.Sub(l.until) > episode {
		*l = loss{total: l.total, since: now}
	}
	l.total += events
	l.events += events
	l.until = now
	if known(first) && (l.from == 0 || first < l.from) {
		l.from = first
	}
	if known(last) && last > l.to {
		l.to = last
	}
	t.dirty = true
}

// known reports whether a time is one of a clock that was set: of the years 2020 to 2100.
func known(ms int64) bool { return ms >= 1577836800000 && ms < 4102444800000 }

// Losses are the losses with the latest first, those of which nothing is left to tell too if
// anything was lost for that reason ever.
func (t *File) Losses() []Loss {
	now, wall := time.Now(), t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []Loss
	var latest [reasons]time.Time
	for r := range t.facts.losses {
		l := &t.facts.losses[r]
		if l.total == 0 {
			continue
		}
		n := Loss{Reason: reasonNames[r], Total: l.total, Events: l.events}
		if l.events > 0 {
			n.From, n.To = moment(l.from), moment(l.to)
			n.Since, n.Until = at(l.since, now, wall), at(l.until, now, wall)
		}
		i := len(list)
		list = append(list, n)
		for ; i > 0 && latest[i-1].Before(l.until); i-- {
			list[i], latest[i] = list[i-1], latest[i-1]
		}
		list[i], latest[i] = n, l.until
	}
	return list
}

func moment(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

// at is a moment by the clock as it is now; nil if it is not known.
func at(t, now, wall time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = wall.Add(t.Sub(now)).UTC()
	return &t
}

// Unrecorded is how many events were dropped before this life of which no reason is recorded.
func (t *File) Unrecorded() uint64 { return t.unrecorded }

// Damaged is how many damaged events a person has seen.
func (t *File) Damaged() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.facts.damaged
}

// Flash is what the medium has written over the life of the directory, as far as it is recorded.
func (t *File) Flash() Flash {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.flash()
}

func (t *File) flash() Flash {
	f := t.facts.flash
	if t.wear != nil {
		w := t.wear()
		f.Written, f.Worn = f.Written+w.Written, f.Worn+w.Worn
	}
	return f
}

// Seen notes durably that a person has seen all losses, and so many damaged events: the next loss
// begins to count anew.
func (t *File) Seen(damaged uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.facts
	for r := range t.facts.losses {
		t.facts.losses[r] = loss{total: t.facts.losses[r].total}
	}
	t.facts.damaged = damaged
	if err := t.save(); err != nil {
		t.facts = before
		return err
	}
	return nil
}

// SaveIfDue writes a loss that was noted when nothing was written for an hour, and the wear when
// enough has come that the write does not count beside it.
func (t *File) SaveIfDue() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	due := t.dirty && (t.saved.IsZero() || time.Since(t.saved) >= saveEvery)
	if !due && t.wear != nil && time.Since(t.looked) >= time.Minute {
		t.looked = time.Now()
		due = t.wear().Worn-t.worn >= saveWorn
	}
	if due {
		t.keep()
	}
}

// Close writes what is known. That it cannot be written is logged, and is no error of the stop.
func (t *File) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keep()
}

// keep is save for what nobody waits for: a failure is logged once.
func (t *File) keep() {
	t.saved = time.Now() // also of a failure, so that a dead medium is not tried on each loss
	if t.wear != nil {
		t.worn = t.wear().Worn
	}
	if err := t.save(); err != nil && !t.fail {
		t.fail = true
		t.log.Warn("the tally cannot be written to data_dir", "file", t.path, "error", err)
	}
}

func (t *File) save() error {
	now, wall := time.Now(), t.now()
	f := t.facts
	f.flash = t.flash()
	for r := range f.losses {
		if l := &f.losses[r]; l.events > 0 {
			for _, m := range [...]*time.Time{&l.since, &l.until} {
				if !m.IsZero() {
					*m = wall.Add(m.Sub(now))
				}
			}
		}
	}
	f.flash.Since = wall.Add(f.flash.Since.Sub(now))
	content := format(&f)
	if err := disk.Replace(t.path, []byte(content)); err != nil {
		return err
	}
	t.meter.Add(0, int64(len(content)), 2)
	t.saved, t.dirty, t.fail = now, false, false
	return nil
}
