package script

import (
	"strings"
	"time"
)

// The Date of TBEL (RULES.md 5.5): months from 1, Monday is 1.

func newDate(r *run, a []*Value) *Value {
	r.use(objectSize)
	switch {
	case len(a) == 0:
		return dateOf(momentOf(r.now()))
	case a[0].isText():
		return dateOf(r.dateOfText(a))
	case len(a) == 1 && a[0].isNumber():
		return dateOf(momentMillis(argLong(a[0])))
	}
	need(a, 3, 8)
	zone := r.zone()
	if last := a[len(a)-1]; last.isText() {
		zone = r.zoneNamed(last.Text())
		a = a[:len(a)-1]
	}
	need(a, 3, 7)
	return dateOf(dateOfFields(a, zone))
}

// dateOfFields is year, month, day, hour, minute, second, millisecond.
func dateOfFields(a []*Value, zone *time.Location) moment {
	f := [7]int{}
	for i, v := range a {
		f[i] = int(argInt(v))
	}
	switch y := f[0]; {
	case y < 70:
		f[0] = 2000 + y
	case y <= 99:
		f[0] = 1900 + y
	}
	t, ok := clock{f[0], f[1], f[2], f[3], f[4], f[5], f[6] * 1e6}.time(zone)
	if !ok {
		panic(failed("Invalid value for a field of a date"))
	}
	return checked(t)
}

// dateOfText is text[, pattern[, locale[, zone]]].
func (r *run) dateOfText(a []*Value) moment {
	s := a[0].Text()
	if len(a) > 1 {
		need(a, 2, 4)
		zone := r.zone()
		if len(a) > 2 {
			r.english(r.argText(a[2]), r.argText(a[1]))
		}
		if len(a) > 3 {
			zone = r.zoneNamed(r.argText(a[3]))
		}
		t, ok := parsePattern(s, r.argText(a[1]), zone)
		if !ok {
			panic(failed("Cannot parse value [" + s + "] as instant"))
		}
		return checked(t)
	}
	if s != "" && s[0] >= '0' && s[0] <= '9' {
		if t, dateOnly, ok := r.parseISO(s); ok && !dateOnly {
			return checked(t)
		}
	} else if t, ok := r.parseRFC1123(s); ok {
		return checked(t)
	}
	panic(failed("Cannot parse value [" + s + "] as instant"))
}

// dateClass is Date.name(…).
func dateClass(name word) builtin {
	switch name {
	case wNow:
		return func(r *run, _ []*Value) *Value { return longOf(momentOf(r.now()).millis()) }
	case wParse:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 2)
			s := r.argText(a[0])
			var t time.Time
			ok := false
			if len(a) == 2 {
				t, ok = parsePattern(s, r.argText(a[1]), r.zone())
			} else {
				dateOnly := false
				t, dateOnly, ok = r.parseISO(s)
				ok = ok && !dateOnly
			}
			if !ok {
				return longOf(-1)
			}
			return longOf(t.UnixMilli())
		}
	case wUTC:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 7)
			f := append([]*Value(nil), a...)
			for len(f) < 3 {
				f = append(f, intOf(0))
			}
			for i, zero := range []int32{1899, 12, 31} {
				if argInt(f[i]) == 0 {
					f[i] = intOf(zero)
				}
			}
			return longOf(dateOfFields(f, time.UTC).millis())
		}
	}
	return nil
}

// dateGet is the methods without arguments that read a field.
func (r *run) dateGet(o *Value, name word) (*Value, bool) {
	m := o.o.date
	zone := r.zone()
	if rest, ok := strings.CutPrefix(name.String(), "getUTC"); ok {
		name, zone = wordOf("get"+rest), time.UTC
	}
	t := fieldsOf(m.in(zone))
	n, ok := t.read(name)
	switch name {
	case wGetTime, wValueOf, wParseSecondMilli:
		return longOf(m.millis()), true
	case wParseSecond:
		return longOf(m.sec), true
	case wGetMonth:
		n = t.month
	case wGetDay:
		if n = t.weekday; n == 0 {
			n = 7
		}
	default:
		if !ok {
			return nil, false
		}
	}
	return intOf(int32(n)), true
}

func (r *run) dateMethod(o *Value, name word, a []*Value) (*Value, bool) {
	if len(a) == 0 {
		if v, ok := r.dateGet(o, name); ok {
			return v, true
		}
	}
	m := &o.o.date
	switch {
	case hasPrefix(name.String(), "set"):
		return null, r.dateSet(m, name, a)
	case hasPrefix(name.String(), "add"):
		return null, r.dateAdd(m, name, a)
	case hasPrefix(name.String(), "to"):
		s, ok := r.dateText(*m, name, a)
		if !ok {
			return nil, false
		}
		return r.text(s), true
	}
	return nil, false
}

// dateSet is the setters: field and the smaller ones behind it.
func (r *run) dateSet(m *moment, name word, a []*Value) bool {
	zone := r.zone()
	if rest, ok := strings.CutPrefix(name.String(), "setUTC"); ok {
		name, zone = wordOf("set"+rest), time.UTC
	}
	if name == wSetTime {
		need(a, 1, 1)
		*m = momentMillis(argLong(a[0]))
		return true
	}
	f := fieldsOf(m.in(zone))
	c := clock{f.year, f.month, f.day, f.hour, f.minute, f.second, f.nano}
	fields := [...]*int{&c.year, &c.month, &c.day, &c.hour, &c.minute, &c.second, &c.nano}
	first, most := 0, 0
	switch name {
	case wSetFullYear:
		first, most = 0, 3
	case wSetMonth:
		first, most = 1, 2
	case wSetDate:
		first, most = 2, 1
	case wSetHours:
		first, most = 3, 4
	case wSetMinutes:
		first, most = 4, 3
	case wSetSeconds:
		first, most = 5, 2
	case wSetMilliseconds:
		first, most = 6, 1
	default:
		return false
	}
	need(a, 1, most)
	dayGiven := first+len(a) > 2
	for i, v := range a {
		n := int(argInt(v))
		if first+i == 6 {
			n *= 1e6
		}
		*fields[first+i] = n
	}
	rest := 0
	if !dayGiven && c.day > 28 {
		// The days beyond the first go into the next month, if this one is too short for them.
		rest, c.day = c.day-1, 1
	}
	t, ok := c.time(zone)
	if !ok {
		panic(failed("Invalid value for a field of a date"))
	}
	*m = checked(t.Add(time.Duration(rest) * 24 * time.Hour))
	return true
}

// dateAdd is addYears and its like. Months and years keep the day, or take the last one of the
// month.
func (r *run) dateAdd(m *moment, name word, a []*Value) bool {
	need(a, 1, 1)
	n := argLong(a[0])
	if n > 1<<40 || n < -1<<40 {
		if name != wAddNanos {
			panic(failed("the date exceeds the minimum or maximum instant"))
		}
	}
	t := m.in(r.zone())
	switch name {
	case wAddYears:
		t = addMonths(t, n*12)
	case wAddMonths:
		t = addMonths(t, n)
	case wAddWeeks:
		t = addSeconds(t, n*7*86400)
	case wAddDays:
		t = addSeconds(t, n*86400)
	case wAddHours:
		t = addSeconds(t, n*3600)
	case wAddMinutes:
		t = addSeconds(t, n*60)
	case wAddSeconds:
		t = addSeconds(t, n)
	case wAddNanos:
		t = t.Add(time.Duration(n))
	default:
		return false
	}
	*m = checked(t)
	return true
}

func addSeconds(t time.Time, n int64) time.Time {
	return time.Unix(t.Unix()+n, int64(t.Nanosecond())).In(t.Location())
}

func addMonths(t time.Time, n int64) time.Time {
	months := int64(t.Year())*12 + int64(t.Month()) - 1 + n
	if months > maxYear*12 || months < -maxYear*12 {
		panic(failed("the date exceeds the minimum or maximum instant"))
	}
	year, month := int(months/12), int(months%12)
	if month < 0 {
		year, month = year-1, month+12
	}
	day := min(t.Day(), daysOf(year, month+1))
	return time.Date(year, time.Month(month+1), day, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), t.Location())
}
