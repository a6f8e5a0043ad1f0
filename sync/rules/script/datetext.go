package script

import (
	"strconv"
	"strings"
	"time"
)

// dateText is toISOString, toLocaleString and their like. Locales are English, and the root that
// the engine takes where a script names none; nothing else is on a router.
func (r *run) dateText(m moment, name word, a []*Value) (string, bool) {
	need(a, 0, 2)
	switch name {
	case wToISOString, wToJSON:
		return m.iso(), true
	}
	root, date, clock := true, "", ""
	switch name {
	case wToString:
		root, date, clock = false, "FULL", "FULL"
	case wToUTCString:
		date, clock = "FULL", "MEDIUM"
	case wToDateString:
		date = "FULL"
	case wToTimeString:
		root, clock = false, "FULL"
	case wToLocaleDateString:
		if date = "FULL"; len(a) == 2 {
			date = "SHORT"
		}
	case wToLocaleTimeString:
		root, clock = false, "MEDIUM"
	case wToLocaleString:
		date, clock = "SHORT", "MEDIUM"
	default:
		return "", false
	}
	o := options{zone: r.zone()}
	if name == wToUTCString {
		o.zone = time.UTC
	}
	if len(a) > 1 && a[1].k > Null {
		o.read(r, r.argText(a[1]))
	}
	if len(a) > 0 && a[0].k > Null {
		locale := r.argText(a[0])
		root = strings.EqualFold(locale, "UTC")
		if !root {
			r.english(locale, o.pattern)
		}
	}
	t := m.in(o.zone)
	if o.pattern != "" {
		r.use(len(o.pattern))
		return formatPattern(t, o.pattern), true
	}
	if hasPrefix(name.String(), "toLocale") {
		if date != "" && o.date != "" {
			date = o.date
		}
		if clock != "" && o.clock != "" {
			clock = o.clock
		}
	}
	return styled(t, date, clock, root), true
}

// english refuses a locale whose names of months and days are not known; a pattern without names
// prints the same in every locale.
func (r *run) english(locale, pattern string) {
	l := strings.ToLower(locale)
	if l == "" || l == "en" || hasPrefix(l, "en-us") || l == "utc" {
		return
	}
	if pattern != "" && !strings.ContainsAny(pattern, "EaGzO") && !hasText(pattern, "MMM") {
		return
	}
	panic(unsupported("the locale " + locale + ": only en-US is known"))
}

// options is what the second argument of toLocaleString says: a zone, or JSON.
type options struct {
	zone                 *time.Location
	date, clock, pattern string
}

func (o *options) read(r *run, s string) {
	var d Doc
	if err := d.Parse(s); err != nil || d.cells[0].kind != cellMap {
		o.zone = r.zoneNamed(s)
		return
	}
	text := func(key string) string {
		if at := d.find(0, key); at != 0 {
			return d.item(at, TBEL).Text()
		}
		return ""
	}
	if z := text("timeZone"); z != "" {
		o.zone = r.zoneNamed(z)
	}
	o.date, o.clock, o.pattern = strings.ToUpper(text("dateStyle")), strings.ToUpper(text("timeStyle")), text("pattern")
}

// styled prints a date and a time in one of Java's four styles.
func styled(t time.Time, date, clock string, root bool) string {
	d, c, glue := "", "", " "
	if root {
		switch date {
		case "FULL":
			d = t.Format("2006 Jan 2, Mon")
		case "LONG":
			d = t.Format("2006 Jan 2")
		case "MEDIUM":
			d = t.Format("2006 Jan 2")
		case "SHORT":
			d = t.Format("2006-01-02")
		}
		switch clock {
		case "FULL":
			c = t.Format("15:04:05 ") + zoneTitle(t)
		case "LONG":
			c = t.Format("15:04:05 ") + zoneShort(t)
		case "MEDIUM":
			c = t.Format("15:04:05")
		case "SHORT":
			c = t.Format("15:04")
		}
	} else {
		glue = ", "
		switch date {
		case "FULL":
			d, glue = t.Format("Monday, January 2, 2006"), " at "
		case "LONG":
			d, glue = t.Format("January 2, 2006"), " at "
		case "MEDIUM":
			d = t.Format("Jan 2, 2006")
		case "SHORT":
			d = t.Format("1/2/06")
		}
		switch clock {
		case "FULL":
			c = t.Format("3:04:05 PM ") + zoneTitle(t)
		case "LONG":
			c = t.Format("3:04:05 PM ") + zoneShort(t)
		case "MEDIUM":
			c = t.Format("3:04:05 PM")
		case "SHORT":
			c = t.Format("3:04 PM")
		}
	}
	switch {
	case d == "":
		return c
	case c == "":
		return d
	}
	return d + glue + c
}

//go:noinline
func zoneShort(t time.Time) string {
	if t.Location() == time.UTC {
		return "UTC"
	}
	return t.Format("MST")
}

// eachField calls do for every run of one letter of a Java pattern, and literal for what is
// between.
func eachField(pattern string, do func(letter byte, n int), literal func(s string)) {
	for i := 0; i < len(pattern); {
		c := pattern[i]
		switch {
		case c == '\'':
			end := strings.IndexByte(pattern[i+1:], '\'')
			switch {
			case end == 0:
				literal("'")
			case end < 0:
				panic(failed("Pattern ends with an incomplete string literal: " + pattern))
			default:
				literal(pattern[i+1 : i+1+end])
			}
			i += end + 2
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			n := 1
			for i+n < len(pattern) && pattern[i+n] == c {
				n++
			}
			do(c, n)
			i += n
		default:
			literal(pattern[i : i+1])
			i++
		}
	}
}

//go:noinline
func padded(n, width int) string {
	s := decimal(n)
	return strings.Repeat("0", max(0, min(width, 20)-len(s))) + s
}

func formatPattern(t time.Time, pattern string) string {
	var b strings.Builder
	eachField(pattern, func(letter byte, n int) {
		putText(&b, fieldText(t, letter, n))
	}, func(s string) { putText(&b, s) })
	return b.String()
}

func fieldText(t time.Time, letter byte, n int) string {
	f := fieldsOf(t)
	switch letter {
	case 'y', 'u':
		if n == 2 {
			return padded(((f.year%100)+100)%100, 2)
		}
		return padded(f.year, n)
	case 'M', 'L':
		switch {
		case n == 3:
			return t.Format("Jan")
		case n == 4:
			return t.Format("January")
		case n < 3:
			return padded(f.month, n)
		}
	case 'd':
		return padded(f.day, n)
	case 'D':
		return padded(f.yearDay, n)
	case 'E':
		if n == 4 {
			return t.Format("Monday")
		}
		return t.Format("Mon")
	case 'e':
		return padded(f.weekday+1, n)
	case 'H':
		return padded(f.hour, n)
	case 'k':
		return padded((f.hour+23)%24+1, n)
	case 'h':
		return padded((f.hour+11)%12+1, n)
	case 'K':
		return padded(f.hour%12, n)
	case 'm':
		return padded(f.minute, n)
	case 's':
		return padded(f.second, n)
	case 'S':
		return (padded(f.nano, 9) + strings.Repeat("0", min(n, 9)))[:min(n, 9)]
	case 'a':
		return t.Format("PM")
	case 'Z':
		if n == 5 {
			return t.Format("Z07:00")
		}
		return t.Format("-0700")
	case 'X':
		return t.Format([]string{"Z07", "Z0700", "Z07:00"}[min(n, 3)-1])
	case 'x':
		return t.Format([]string{"-07", "-0700", "-07:00"}[min(n, 3)-1])
	case 'z':
		return zoneShort(t)
	case 'V':
		return t.Location().String()
	}
	panic(unsupported("the letter " + string(letter) + " of a date pattern"))
}

// parsePattern reads a date by a Java pattern. A pattern without a time or without a zone takes
// midnight and the zone given.
func parsePattern(s, pattern string, zone *time.Location) (time.Time, bool) {
	c := clock{year: 1970, month: 1, day: 1}
	ok, pm, half := true, false, false
	number := func(n, most int) int {
		i := 0
		for i < len(s) && i < most && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		v, err := strconv.Atoi(s[:i])
		if err != nil || i < min(n, most) {
			ok = false
		}
		s = s[i:]
		return v
	}
	word := func(list []string) int {
		for i, w := range list {
			if len(s) >= len(w) && strings.EqualFold(s[:len(w)], w) {
				s = s[len(w):]
				return i + 1
			}
		}
		ok = false
		return 1
	}
	eachField(pattern, func(letter byte, n int) {
		switch letter {
		case 'y', 'u':
			if c.year = number(n, max(n, 4)); n == 2 && c.year < 100 {
				c.year += 2000
			}
		case 'M', 'L':
			switch {
			case n >= 4:
				c.month = word(months(true))
			case n == 3:
				c.month = word(months(false))
			default:
				c.month = number(n, 2)
			}
		case 'd':
			c.day = number(n, 2)
		case 'E':
			word([]string{
				"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
				"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun",
			})
		case 'H':
			c.hour = number(n, 2)
		case 'h':
			c.hour, half = number(n, 2), true
		case 'm':
			c.minute = number(n, 2)
		case 's':
			c.second = number(n, 2)
		case 'S':
			from := s
			number(n, n)
			digits := from[:len(from)-len(s)]
			c.nano, _ = strconv.Atoi((digits + "000000000")[:9])
		case 'a':
			pm = word([]string{"AM", "PM"}) == 2
		case 'Z', 'X', 'x':
			if hasPrefix(s, "Z") {
				s, zone = s[1:], time.UTC
				return
			}
			seconds, rest, good := parseOffset(s)
			ok = ok && good
			s, zone = rest, time.FixedZone("", seconds)
		default:
			panic(unsupported("the letter " + string(letter) + " of a date pattern"))
		}
	}, func(text string) {
		if !hasPrefix(s, text) {
			ok = false
			return
		}
		s = s[len(text):]
	})
	if half {
		c.hour = c.hour % 12
		if pm {
			c.hour += 12
		}
	}
	t, good := c.time(zone)
	return t, ok && good && s == ""
}

func months(long bool) []string {
	out := make([]string, 12)
	for i := range out {
		out[i] = time.Month(i + 1).String()
		if !long {
			out[i] = out[i][:3]
		}
	}
	return out
}
