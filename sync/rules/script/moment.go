package script

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

// moment is a point in time, as a Date of either language holds it.
type moment struct {
	sec     int64 // since 1970
	nano    int32
	invalid bool // of JavaScript: the date of a text that is no date
}

// maxYear bounds what a date may be set to, as Java's does.
const maxYear = 999_999

//go:noinline
func momentOf(t time.Time) moment { return moment{sec: t.Unix(), nano: int32(t.Nanosecond())} }

//go:noinline
func (m moment) millis() int64 { return m.sec*1000 + int64(m.nano)/1e6 }

//go:noinline
func (m moment) bad() bool { return m.invalid }

//go:noinline
func (m moment) in(zone *time.Location) time.Time { return time.Unix(m.sec, int64(m.nano)).In(zone) }

// checked refuses what Java's dates cannot hold.
//
//go:noinline
func checked(t time.Time) moment {
	if y := t.Year(); y > maxYear || y < -maxYear {
		panic(failed("the date exceeds the minimum or maximum instant"))
	}
	return momentOf(t)
}

// yearText is a year of four digits at least.
func yearText(y int) string {
	s := decimal(y)
	if y < 0 {
		s = s[1:]
	}
	s = strings.Repeat("0", max(0, 4-len(s))) + s
	switch {
	case y < 0:
		return "-" + s
	case y > 9999:
		return "+" + s
	}
	return s
}

// millisISO is toISOString of JavaScript: always milliseconds.
func (m moment) millisISO() string {
	t := m.in(time.UTC)
	return yearText(t.Year()) + t.Format("-01-02T15:04:05.000Z")
}

// full is toString of TBEL in UTC, which is also the JSON form.
func (m moment) full() string { return fullText(m.in(time.UTC)) }

//go:noinline
func fullText(t time.Time) string {
	return t.Format("Monday, January 2, 2006 at 3:04:05 PM ") + zoneTitle(t)
}

// zoneTitle is the name of a zone as the long forms print it. Names of zones are not on a router;
// only UTC's is known.
//
//go:noinline
func zoneTitle(t time.Time) string {
	if t.Location() == time.UTC {
		return "Coordinated Universal Time"
	}
	return "GMT" + t.Format("-07:00")
}

// zones keeps the zones that scripts asked for, up to maxZones.
var zones = struct {
	sync.Mutex
	byName map[string]*time.Location
}{byName: map[string]*time.Location{}}

const maxZones = 32

// zoneNamed is a zone by its name or offset. Offsets and UTC are always known; names come from the
// machine's zoneinfo, which most routers do not have: nothing of it is in the program.
func (r *run) zoneNamed(name string) *time.Location {
	switch name {
	case "", "UTC", "Z", "GMT", "UT", "Etc/UTC", "Etc/GMT":
		return time.UTC
	}
	offset := trimPrefix(trimPrefix(trimPrefix(name, "UTC"), "GMT"), "UT")
	if offset[:min(1, len(offset))] == "+" || offset[:min(1, len(offset))] == "-" {
		if seconds, rest, ok := parseOffset(offset); ok && rest == "" {
			return time.FixedZone("", seconds)
		}
		panic(failedOn("Invalid ID for offset-based ZoneId: %", name))
	}
	r.step(100)
	zones.Lock()
	defer zones.Unlock()
	if z := zones.byName[name]; z != nil {
		return z
	}
	z, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		panic(unsupportedOn("the time zone %, of which this machine has no rules: use an offset as +02:00", name))
	}
	if len(zones.byName) >= maxZones {
		clear(zones.byName)
	}
	zones.byName[strings.Clone(name)] = z
	return z
}

// parseOffset reads +h, +hh, +hhmm, +hhmmss, +hh:mm or +hh:mm:ss at the beginning of s.
func parseOffset(s string) (seconds int, rest string, ok bool) {
	if s == "" || s[0] != '+' && s[0] != '-' {
		return 0, s, false
	}
	sign := 1
	if s[0] == '-' {
		sign = -1
	}
	i, digits, colons := 1, "", 0
	for i < len(s) && len(digits) < 6 && (s[i] >= '0' && s[i] <= '9' || s[i] == ':' && len(digits) == 2*colons+2) {
		if s[i] == ':' {
			colons++
		} else {
			digits += s[i : i+1]
		}
		i++
	}
	if len(digits) == 1 {
		digits = "0" + digits
	}
	if digits == "" || len(digits)%2 != 0 || s[i-1] == ':' || colons > 0 && len(digits) != 2*colons+2 {
		return 0, s, false
	}
	n, _ := strconv.Atoi((digits + "0000")[:6])
	h, m, sec := n/10000, n/100%100, n%100
	if h > 18 || m > 59 || sec > 59 {
		return 0, s, false
	}
	return sign * (h*3600 + m*60 + sec), s[i:], true
}
