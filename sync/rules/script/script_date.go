package script

import (
	"math"
	"strings"
	"time"
)

// The Date of JavaScript: months from 0, Sunday is 0.

// dateOfNumber is a date of milliseconds; NaN and what is beyond the range is an invalid date.
func dateOfNumber(f float64) *Value {
	if f != f || math.Abs(f) > 8.64e15 {
		return dateOf(moment{invalid: true})
	}
	return dateOf(momentMillis(int64(f)))
}

func newScriptDate(r *run, a []*Value) *Value {
	r.use(objectSize)
	switch {
	case len(a) == 0:
		return dateOf(momentMillis(r.now().UnixMilli()))
	case len(a) > 1:
		return dateOfNumber(r.fieldsMillis(a, r.zone()))
	case a[0].k == Text:
		return dateOfNumber(r.parseDateScript(a[0].s))
	}
	return dateOfNumber(scriptNumber(r, a[0]))
}

// fieldsMillis is year, month, day, hour, minute, second, millisecond; fields beyond their range
// carry over.
func (r *run) fieldsMillis(a []*Value, zone *time.Location) float64 {
	f := [7]int{0, 0, 1}
	for i := 0; i < len(a) && i < 7; i++ {
		n := scriptNumber(r, a[i])
		if n != n || math.Abs(n) > 1e9 {
			return math.NaN()
		}
		f[i] = int(n)
	}
	if f[0] >= 0 && f[0] <= 99 {
		f[0] += 1900
	}
	return scriptMillis(f, zone)
}

func scriptMillis(f [7]int, zone *time.Location) float64 {
	if f[0] > 300_000 || f[0] < -300_000 {
		return math.NaN()
	}
	years := f[1] / 12
	if f[1]%12 < 0 {
		years--
	}
	month := f[1] - years*12
	if y := f[0] + years; y > 300_000 || y < -300_000 {
		return math.NaN()
	}
	t := time.Date(f[0]+years, time.Month(month+1), 1, 0, 0, 0, 0, time.UTC)
	sec := t.Unix() + int64(f[2]-1)*86400 + int64(f[3])*3600 + int64(f[4])*60 + int64(f[5])
	ms := sec*1000 + int64(f[6])
	if zone != time.UTC {
		_, offset := time.UnixMilli(ms).In(zone).Zone()
		_, offset = time.UnixMilli(ms - int64(offset)*1000).In(zone).Zone()
		ms -= int64(offset) * 1000
	}
	return float64(ms)
}

// parseDateScript reads an ISO text, a date without time (UTC) or the text form of a date.
func (r *run) parseDateScript(s string) float64 {
	if t, dateOnly, ok := r.parseISO(s); ok {
		if dateOnly {
			_, offset := t.Zone()
			t = t.Add(time.Duration(offset) * time.Second)
		}
		return float64(t.UnixMilli())
	}
	for _, layout := range []string{
		"Mon, 2 Jan 2006 15:04:05 MST", "Mon Jan 02 2006 15:04:05 GMT-0700", "Jan 2, 2006 15:04:05", "Jan 2, 2006",
		"1/2/2006 15:04:05", "1/2/2006", "2006/1/2 15:04:05", "2006/1/2",
	} {
		if at := indexText(s, " ("); at > 0 {
			s = s[:at]
		}
		if t, err := time.ParseInLocation(layout, s, r.zone()); err == nil {
			return float64(t.UnixMilli())
		}
	}
	return math.NaN()
}

func scriptDateClass(name word) builtin {
	switch name {
	case wNow:
		return func(r *run, _ []*Value) *Value { return doubleOf(float64(r.now().UnixMilli())) }
	case wParse:
		return func(r *run, a []*Value) *Value { return doubleOf(r.parseDateScript(r.scriptText(arg(a, 0)))) }
	case wUTC:
		return func(r *run, a []*Value) *Value { return doubleOf(r.fieldsMillis(a, time.UTC)) }
	}
	return nil
}

func (r *run) scriptDateMethod(o *Value, name word, a []*Value) (*Value, bool) {
	m := o.o.date
	zone := r.zone()
	field := name
	for _, verb := range []string{"get", "set"} {
		if rest, ok := strings.CutPrefix(name.String(), verb+"UTC"); ok {
			field, zone = wordOf(verb+rest), time.UTC
		}
	}
	if hasPrefix(field.String(), "set") {
		return r.setScriptDate(o, field, a, zone)
	}
	if hasPrefix(field.String(), "get") || field == wValueOf {
		if m.bad() {
			return doubleOf(math.NaN()), true
		}
		t := fieldsOf(m.in(zone))
		n, ok := t.read(field)
		switch field {
		case wGetTime, wValueOf:
			return doubleOf(float64(m.millis())), true
		case wGetMonth:
			n = t.month - 1
		case wGetDay:
			n = t.weekday
		case wGetTimezoneOffset:
			n = -t.offset / 60
		default:
			if !ok {
				return nil, false
			}
		}
		return doubleOf(float64(n)), true
	}
	switch name {
	case wToISOString:
		if m.bad() {
			panic(&thrownValue{failure("RangeError", "Invalid time value")})
		}
		return r.text(m.millisISO()), true
	case wToJSON:
		if m.bad() {
			return null, true
		}
		return r.text(m.millisISO()), true
	case wToUTCString, wToGMTString:
		return r.text(m.in(time.UTC).Format("Mon, 02 Jan 2006 15:04:05 GMT")), true
	case wToDateString:
		return r.text(m.in(zone).Format("Mon Jan 02 2006")), true
	case wToLocaleString, wToLocaleDateString, wToLocaleTimeString, wToTimeString:
		panic(unsupported(name.String() + " of a date"))
	}
	return nil, false
}

// setScriptDate is the setters; they give the milliseconds.
func (r *run) setScriptDate(o *Value, name word, a []*Value, zone *time.Location) (*Value, bool) {
	if name == wSetTime {
		o.o.date = dateOfNumber(scriptNumber(r, arg(a, 0))).o.date
		return doubleOf(float64(o.o.date.millis())), true
	}
	t := fieldsOf(o.o.date.in(zone))
	f := [7]int{t.year, t.month - 1, t.day, t.hour, t.minute, t.second, t.nano / 1e6}
	first, ok := 0, true
	switch name {
	case wSetFullYear:
	case wSetMonth:
		first = 1
	case wSetDate:
		first = 2
	case wSetHours:
		first = 3
	case wSetMinutes:
		first = 4
	case wSetSeconds:
		first = 5
	case wSetMilliseconds:
		first = 6
	default:
		ok = false
	}
	if !ok {
		return nil, false
	}
	ms := math.NaN()
	if len(a) > 0 && !o.o.date.bad() {
		ok := true
		for i := 0; i < len(a) && first+i < 7; i++ {
			n := scriptNumber(r, a[i])
			ok = ok && n == n && math.Abs(n) <= 1e9
			f[first+i] = int(toInt32(n))
		}
		if ok {
			ms = scriptMillis(f, zone)
		}
	}
	o.o.date = dateOfNumber(ms).o.date
	return doubleOf(ms), true
}
