package minutes

import (
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"time"

	"edgesync/wal/disk"
)

const (
	// Day is how many minutes are kept.
	Day = 1440
	// Every is how often Take is to be called.
	Every = 10 * time.Second
	// saveAfter is how many minutes are worth a write that rides with others.
	saveAfter = 60
	fileName  = "minutes"
)

// Sample is the agent's state at a moment. The counts are over the life of data_dir.
type Sample struct {
	Backlog, Accepted, Deployed uint64
	Latency                     int64   // age of the oldest pending event, in milliseconds
	Percent                     float64 // of the room that is used
	Up                          bool    // the cloud is heard
	Commits                     uint64  // group commits of this life: the medium is being written
}

// minute is what was seen in one. The zero minute was not seen: no agent ran.
type minute struct {
	backlog, in, out uint32
	latency          uint32 // milliseconds
	room             uint16 // per 10,000
	seen, up         uint8  // samples, and those with a link; at most 15
}

// Log is the record of a data directory. Its methods may be called from any goroutine, Take from
// one.
type Log struct {
	path  string
	log   *slog.Logger
	meter disk.Meter

	mu     sync.Mutex // guards what follows
	ring   [Day]minute
	now    int       // number of the current minute; minute n is at ring[n%Day]
	base   int       // number of the first minute of this life
	before int64     // date of the minute base-1, in minutes since the epoch
	begun  time.Time // of minute base, monotonic
	last   Sample
	taken  bool // last is set
	saved  int  // number of the first minute that the file lacks
	broken bool // the file must be replaced
	size   int64
	failed bool // a write has failed, and it was logged
}

// Open reads the record of a data directory. A file that is missing or damaged costs the minutes
// before, and is no error.
func Open(dir string, meter disk.Meter, log *slog.Logger) *Log {
	l := &Log{path: filepath.Join(dir, fileName), log: log, meter: meter, begun: time.Now()}
	for _, path := range [...]string{l.path, l.path + disk.Temp} {
		if err := disk.MakeWay(path, disk.File, filepath.Join(dir, "corrupt"), log); err != nil {
			log.Warn("the file of the minutes is in the way of a new one", "error", err)
		}
	}
	data, err := disk.ReadRegular(l.path, maxFile)
	if err == nil {
		l.broken = !parse(data, func(at int64, m minute) {
			switch d := at - l.before; {
			case l.before == 0 || d >= Day || d <= -Day: // the first, or none of the others counts
				l.ring, l.before = [Day]minute{}, at
			case d > 0:
				for n := int64(1); n < d; n++ {
					l.ring[mod(l.before+n)] = minute{}
				}
				l.before = at
			}
			l.ring[mod(at)] = m
		})
	} else {
		l.broken = true
	}
	// Numbers go on behind those of the file.
	l.base = Day + mod(l.before+1)
	l.now, l.saved, l.size = l.base, l.base, int64(len(data))
	l.ring[l.base%Day] = minute{}
	return l
}

func mod(at int64) int { return int((at%Day + Day) % Day) }

// Take notes the state of the agent. It writes where doc.go says so; at is the time as well as it
// is known.
func (l *Log) Take(s *Sample, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn()
	m := &l.ring[l.now%Day]
	if l.taken {
		m.in, m.out = added(m.in, l.last.Accepted, s.Accepted), added(m.out, l.last.Deployed, s.Deployed)
	}
	m.backlog = max(m.backlog, added(0, 0, s.Backlog))
	m.latency = max(m.latency, added(0, 0, uint64(max(s.Latency, 0))))
	if s.Percent > 0 {
		m.room = uint16(min(s.Percent*100, math.MaxUint16))
	}
	if m.seen < 15 {
		m.seen++
		if s.Up {
			m.up++
		}
	}
	writing := l.taken && s.Commits > l.last.Commits
	l.last, l.taken = *s, true
	if writing && l.now-l.saved >= saveAfter {
		l.save(at)
	}
}

// turn goes to the current minute. The caller holds mu.
func (l *Log) turn() {
	number := l.base + int(time.Since(l.begun)/time.Minute)
	if number-l.now >= Day { // the machine slept
		l.ring, l.now = [Day]minute{}, number
	}
	for l.now < number {
		l.now++
		l.ring[l.now%Day] = minute{}
	}
}

// added is n and what a counter has grown by.
func added(n uint32, from, to uint64) uint32 {
	if to < from {
		return n
	}
	return uint32(min(uint64(n)+min(to-from, math.MaxUint32), math.MaxUint32))
}

// Close writes what the file lacks, the minute that has just begun too. That it cannot be written
// is logged, and is no error of the stop.
func (l *Log) Close(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn()
	l.now++ // the file takes whole minutes
	l.ring[l.now%Day] = minute{}
	l.save(at.Add(time.Minute))
}

// save appends the minutes that have passed to the file. The caller holds mu.
func (l *Log) save(at time.Time) {
	from := l.saved
	fresh := l.broken
	if fresh {
		from = l.now - Day + 1
	}
	b := l.frame(nil, from, at)
	if l.size+int64(len(b)) > maxFile && !fresh {
		fresh = true
		b = l.frame(nil, l.now-Day+1, at)
	}
	l.saved = l.now // also of a failure, so that a dead medium is not tried every minute
	if len(b) == 0 {
		return
	}
	var err error
	if fresh {
		b = append([]byte(header), b...)
		if err = disk.Replace(l.path, b); err == nil {
			l.size = 0
		}
	} else {
		err = appendTo(l.path, b)
	}
	l.broken = err != nil
	if err != nil {
		if !l.failed {
			l.log.Warn("the history of the page cannot be written to data_dir", "file", l.path, "error", err)
		}
		l.failed = true
		return
	}
	l.meter.Add(l.size, int64(len(b)), 1)
	l.size, l.failed = l.size+int64(len(b)), false
}

// frame appends frames of the minutes from a number up to the current one, which is left out.
func (l *Log) frame(b []byte, from int, at time.Time) []byte {
	today := at.UnixMilli() / 60000
	from = max(from, l.now-Day+1)
	if from < l.base && l.before > 0 {
		first := l.before - int64(l.base-1-from)
		b = appendFrame(b, first, l.base-from, func(i int) *minute { return &l.ring[(from+i)%Day] })
	}
	from = max(from, l.base)
	return appendFrame(b, today-int64(l.now-from), l.now-from, func(i int) *minute { return &l.ring[(from+i)%Day] })
}

// Append appends the last n minutes as JSON, the current one at the end; at is the time as well as
// it is known. What was not seen is null.
//
//	{"from":1767225600000,"step_ms":60000,"backlog":[0,…],"in":[…],"out":[…],"latency_ms":[…],"room_percent":[…],"up":[…]}
//
// from is the beginning of the first minute; in and out are events within a minute, backlog,
// latency_ms and room_percent the most that was seen in it, and up the share of it with a link.
func (l *Log) Append(b []byte, n int, at time.Time) []byte {
	today := at.UnixMilli() / 60000
	n = min(max(n, 1), Day)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn()
	// The minute that is shown at a place: one of this life, else one of before with that date.
	pick := func(i int) *minute {
		back := n - 1 - i
		if number := l.now - back; number >= l.base {
			return &l.ring[number%Day]
		}
		if old := l.before - (today - int64(back)); old >= 0 && old < int64(Day-(l.now-l.base+1)) {
			return &l.ring[(l.base-1-int(old))%Day]
		}
		return nil
	}
	return appendJSON(b, (today-int64(n-1))*60000, n, pick)
}
