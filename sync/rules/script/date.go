package script

import (
	"math"
	"time"
)

// The routines of Go on dates: what is left of them is in the library.

func nowDate(r *run, _ []*Value) *Value {
	r.use(objectSize)
	return dateOf(momentOf(r.now()))
}

func nowMillis(r *run, _ []*Value) *Value { return doubleOf(float64(r.now().UnixMilli())) }

// makeDate is of seconds and nanoseconds.
func makeDate(r *run, a []*Value) *Value {
	r.use(objectSize)
	return dateOf(checked(time.Unix(argLong(a[0]), argLong(a[1]))))
}

func dateParts(r *run, a []*Value) *Value {
	m := argDate(a[0]).date
	return r.list([]*Value{longOf(m.sec), intOf(m.nano)})
}

func putDate(r *run, a []*Value) *Value {
	argDate(a[0]).date = checked(time.Unix(argLong(a[1]), argLong(a[2])))
	return null
}

// makeDateMillis is of milliseconds; NaN and what is beyond the range is an invalid date.
func makeDateMillis(r *run, a []*Value) *Value {
	r.use(objectSize)
	return dateOf(momentMillis(scriptNumber(r, a[0])))
}

func dateMillis(r *run, a []*Value) *Value {
	argDate(a[0])
	return doubleOf(scriptNumber(r, a[0]))
}

func putDateMillis(r *run, a []*Value) *Value {
	argDate(a[0]).date = momentMillis(scriptNumber(r, a[1]))
	return doubleOf(scriptNumber(r, a[0]))
}

//go:noinline
func argDate(v *Value) *object {
	if v.k != Date {
		panic(failedKind("no date: %", v))
	}
	return v.o
}

// zoneAt is argument i as a zone: null and undefined are the script's.
//
//go:noinline
func (r *run) zoneAt(a []*Value, i int) *time.Location {
	if a[i].k <= Null {
		return r.zone()
	}
	return r.zoneNamed(a[i].Text())
}

func checkZone(r *run, a []*Value) *Value {
	r.zoneAt(a, 0)
	return a[0]
}

//go:noinline
func (r *run) timeAt(a []*Value) time.Time {
	return time.Unix(toLong(r.numberAt(a, 0)), 0).In(r.zoneAt(a, 1))
}

// dateFields are year, month, day, hour, minute, second, weekday, day of the year and offset.
func dateFields(r *run, a []*Value) *Value {
	t := r.timeAt(a)
	_, offset := t.Zone()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	list := make([]*Value, 0, 9)
	for _, n := range [...]int{
		year, int(month), day, hour, minute, second, int(t.Weekday()), t.YearDay(), offset,
	} {
		list = addValue(list, r.number(n))
	}
	return r.list(list)
}

// unixOf is the seconds of a list of fields, from year to second.
func unixOf(r *run, a []*Value) *Value {
	f := [6]int{}
	for i := range f {
		f[i] = r.intAt(argList(a[0]), i, 0)
	}
	t := time.Date(f[0], time.Month(f[1]), f[2], f[3], f[4], f[5], 0, r.zoneAt(a, 1))
	if r.lang == JavaScript {
		return doubleOf(float64(t.Unix()))
	}
	return longOf(t.Unix())
}

// layOutDate prints by a layout of Go; with the last argument the year comes first.
func layOutDate(r *run, a []*Value) *Value {
	t := r.timeAt(a)
	s := t.Format(r.textAt(a, 2))
	if a[3].n != 0 {
		s = yearText(t.Year()) + s
	}
	return r.text(s)
}

// zoneName is the name of a zone at a time: 0 short, 1 long, 2 as the script said it.
func zoneName(r *run, a []*Value) *Value {
	t := r.timeAt(a)
	switch a[2].n {
	case 1:
		return textOf(zoneTitle(t))
	case 2:
		return textOf(t.Location().String())
	}
	if t.Location() == time.UTC {
		return textOf("UTC")
	}
	return textOf(t.Format("MST"))
}

// dateOptions is what JSON options of toLocaleString say; null for a text that is none.
func dateOptions(r *run, a []*Value) *Value {
	var d Doc
	if err := d.Parse(r.textAt(a, 0)); err != nil || d.cells[0].kind != cellMap {
		return null
	}
	return d.build(r, 0, r.lang)
}

// momentMillis is a moment of JavaScript.
//
//go:noinline
func momentMillis(ms float64) moment {
	if !(math.Abs(ms) <= 8.64e15) {
		return moment{invalid: true}
	}
	return momentOf(time.UnixMilli(int64(ms)))
}
