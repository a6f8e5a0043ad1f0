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
func momentMillis(ms int64) moment { return momentOf(time.UnixMilli(ms)) }

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

// iso is Java's Instant.toString: the fraction in groups of three digits, none if it is zero.
func (m moment) iso() string {
	t := m.in(time.UTC)
	s := yearText(t.Year()) + t.Format("-01-02T15:04:05")
	switch n := m.nano; {
	case n == 0:
	case n%1e6 == 0:
		s += t.Format(".000")
	case n%1e3 == 0:
		s += t.Format(".000000")
	default:
		s += t.Format(".000000000")
	}
	return s + "Z"
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
		panic(failed("Invalid ID for offset-based ZoneId: " + name))
	}
	r.step(100)
	zones.Lock()
	defer zones.Unlock()
	if z := zones.byName[name]; z != nil {
		return z
	}
	z, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		panic(unsupported("the time zone " + name + ", of which this machine has no rules: use an offset as +02:00"))
	}
	if len(zones.byName) >= maxZones {
		clear(zones.byName)
	}
	zones.byName[strings.Clone(name)] = z
	return z
}

// parseOffset reads +h, +hh, +hhmm, +hh:mm or +hh:mm:ss at the beginning of s.
func parseOffset(s string) (seconds int, rest string, ok bool) {
	if s == "" || s[0] != '+' && s[0] != '-' {
		return 0, s, false
	}
	sign := 1
	if s[0] == '-' {
		sign = -1
	}
	digits, i, colon := "", 1, false
	for i < len(s) && len(digits) < 6 {
		if s[i] == ':' && len(digits)%2 == 0 && digits != "" && i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '9' {
			colon = true
			i++
			continue
		}
		if s[i] < '0' || s[i] > '9' {
			break
		}
		if !colon && len(digits) == 4 {
			break
		}
		digits += s[i : i+1]
		i++
	}
	if len(digits) == 1 {
		digits = "0" + digits
	}
	if digits == "" || len(digits)%2 != 0 {
		return 0, s, false
	}
	digits += "000000"[len(digits):]
	h, _ := strconv.Atoi(digits[:2])
	m, _ := strconv.Atoi(digits[2:4])
	sec, _ := strconv.Atoi(digits[4:6])
	if h > 18 || m > 59 || sec > 59 {
		return 0, s, false
	}
	return sign * (h*3600 + m*60 + sec), s[i:], true
}

// digitsAt reads exactly n digits.
//
//go:noinline
func digitsAt(s string, n int) (v int, rest string, ok bool) {
	if len(s) < n || !onlyDigits(s[:n], "0123456789") {
		return 0, s, false
	}
	v, err := strconv.Atoi(s[:n])
	return v, s[n:], err == nil
}

// clock is the fields of a date that is being read.
type clock struct{ year, month, day, hour, minute, second, nano int }

// time makes the moment; fields that do not exist (a thirteenth month, the 30th of February) fail.
func (c clock) time(zone *time.Location) (time.Time, bool) {
	t := time.Date(c.year, time.Month(c.month), c.day, c.hour, c.minute, c.second, c.nano, zone)
	ok := c.month >= 1 && c.month <= 12 && c.day >= 1 && c.day <= daysOf(c.year, c.month) && c.hour >= 0 && c.hour < 24 &&
		c.minute >= 0 && c.minute < 60 && c.second >= 0 && c.second < 60 && c.nano >= 0 && c.nano < 1e9
	return t, ok
}

func daysOf(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// parseISO reads yyyy-MM-ddTHH:mm[:ss[.n]] with a zone; a blank instead of the T, and no zone, are
// the local forms of TBEL. dateOnly says that there was no time.
func (r *run) parseISO(s string) (t time.Time, dateOnly, ok bool) {
	var c clock
	rest := s
	if c.year, rest, ok = digitsAt(rest, 4); !ok || rest == "" || rest[0] != '-' {
		return t, false, false
	}
	if c.month, rest, ok = digitsAt(rest[1:], 2); !ok || rest == "" || rest[0] != '-' {
		return t, false, false
	}
	if c.day, rest, ok = digitsAt(rest[1:], 2); !ok {
		return t, false, false
	}
	if rest == "" {
		t, ok = c.time(r.zone())
		return t, true, ok
	}
	if rest[0] != 'T' && rest[0] != ' ' {
		return t, false, false
	}
	if c.hour, rest, ok = digitsAt(rest[1:], 2); !ok || rest == "" || rest[0] != ':' {
		return t, false, false
	}
	if c.minute, rest, ok = digitsAt(rest[1:], 2); !ok {
		return t, false, false
	}
	if hasPrefix(rest, ":") {
		if c.second, rest, ok = digitsAt(rest[1:], 2); !ok {
			return t, false, false
		}
		if hasPrefix(rest, ".") {
			n := 1
			for n < len(rest) && n <= 9 && rest[n] >= '0' && rest[n] <= '9' {
				n++
			}
			c.nano, _ = strconv.Atoi((rest[1:n] + "000000000")[:9])
			rest = rest[n:]
		}
	}
	zone := r.zone()
	switch rest = trimPrefix(rest, " "); {
	case rest == "":
	case rest == "Z" || rest == "UTC" || rest == "GMT":
		zone = time.UTC
	case rest[0] == '+' || rest[0] == '-':
		seconds, more, good := parseOffset(rest)
		if !good || more != "" {
			return t, false, false
		}
		zone = time.FixedZone("", seconds)
	default:
		if r.lang == JavaScript {
			return t, false, false
		}
		zone = r.zoneNamed(rest)
	}
	t, ok = c.time(zone)
	return t, false, ok
}

// parseRFC1123 reads "Tue, 3 Jun 2008 11:05:30 GMT" and the same with an offset.
func (r *run) parseRFC1123(s string) (time.Time, bool) {
	for _, layout := range []string{"Mon, 2 Jan 2006 15:04:05 GMT", "Mon, 2 Jan 2006 15:04:05 -0700", "Mon, 2 Jan 2006 15:04 GMT"} {
		if t, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
			return t, true
		}
	}
	t, err := time.ParseInLocation("Mon, 2 Jan 2006 15:04:05", s, r.zone())
	return t, err == nil
}

// fields are the parts of a date, read at once: what the library does for one of them takes more
// code than the call.
type fields struct{ year, month, day, hour, minute, second, nano, weekday, yearDay, offset int }

// read is the field that a getter reads, of those that both languages read alike.
func (f *fields) read(getter word) (n int, ok bool) {
	switch getter {
	case wGetFullYear:
		return f.year, true
	case wGetDate:
		return f.day, true
	case wGetHours:
		return f.hour, true
	case wGetMinutes:
		return f.minute, true
	case wGetSeconds:
		return f.second, true
	case wGetMilliseconds:
		return f.nano / 1e6, true
	}
	return 0, false
}

//go:noinline
func fieldsOf(t time.Time) (f fields) {
	f.year, f.month, f.day = t.Year(), int(t.Month()), t.Day()
	f.hour, f.minute, f.second, f.nano = t.Hour(), t.Minute(), t.Second(), t.Nanosecond()
	f.weekday, f.yearDay = int(t.Weekday()), t.YearDay()
	_, f.offset = t.Zone()
	return f
}
