package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"edgesync/scripts/internal/rig"
)

// judgement compares what the cloud has of one station with its file: the readings that went up as
// they came, and then windows, each of which says by n_min, n_max and n_count which readings are in
// it. A reading whose post was repeated may be there twice; no other one is.
type judgement struct {
	station  *Station
	repeated map[int]bool
	ts       func(i int) int64
	series   map[string][]rig.Row

	raw, windows, values int
	problems             []string
}

func (j *judgement) errorf(format string, args ...any) {
	j.problems = append(j.problems, j.station.Name+": "+fmt.Sprintf(format, args...))
}

func (j *judgement) judge() {
	j.rawRows()
	next := j.raw
	for _, row := range j.series["n_count"] {
		n, ok := number(row.Value)
		least, ok1 := j.at("n_min", row.TS)
		most, ok2 := j.at("n_max", row.TS)
		if !ok || !ok1 || !ok2 {
			j.errorf("a window without the numbers of its readings")
			return
		}
		j.windows++
		if !j.window(row.TS, next, int(most), int(least), int(n)) {
			j.errorf("no readings from %d on give the window that ends with %d and holds %d", next, int(most), int(n))
		}
		next = int(most) + 1
	}
	if next != len(j.station.Readings) {
		j.errorf("the last reading in the cloud is number %d of %d", next, len(j.station.Readings))
	}
}

// rawRows checks the readings that went up as they came: the first ones of the file, without a gap.
func (j *judgement) rawRows() {
	rows := j.series["n"]
	j.raw = len(rows)
	for i, row := range rows {
		if n, ok := number(row.Value); !ok || int(n) != i || row.TS != j.ts(i) || i >= len(j.station.Readings) {
			j.errorf("row %d of the cloud is reading %s", i, row.Value)
			return
		}
		for k, key := range j.station.Keys {
			// The last value of what is no number stands in a window, too.
			if got, ok := value(j.series[key], row.TS); !ok || !sameValue(j.station.Readings[i].Values[k], got) {
				j.errorf("reading %d: %s is %s in the file and %s in the cloud", i, key, j.station.Readings[i].Values[k], got)
			}
		}
	}
}

// window checks one window: the readings from next to most, and so many of the repeated ones again
// that there are n.
func (j *judgement) window(ts int64, next, most, least, n int) bool {
	if most < next-1 || most >= len(j.station.Readings) {
		return false
	}
	var base []int
	for i := next; i <= most; i++ {
		base = append(base, i)
	}
	var again []int
	for i := range j.repeated {
		if i <= most {
			again = append(again, i)
		}
	}
	slices.Sort(again)
	extra := n - len(base)
	if extra < 0 || extra > len(again) {
		return false
	}
	return choose(again, extra, func(chosen []int) bool {
		all := append(slices.Clone(base), chosen...)
		if len(all) == 0 || slices.Min(all) != least {
			return false
		}
		values, ok := j.equal(ts, all)
		if ok {
			j.values += values
		}
		return ok
	})
}

// choose calls try with each choice of so many of list, until it returns true.
func choose(list []int, n int, try func([]int) bool) bool {
	var from func(at int, chosen []int) bool
	from = func(at int, chosen []int) bool {
		if len(chosen) == n {
			return try(chosen)
		}
		for i := at; i < len(list); i++ {
			if from(i+1, append(slices.Clone(chosen), list[i])) {
				return true
			}
		}
		return false
	}
	return from(0, nil)
}

// equal compares all numbers of a window with those of the readings in it.
func (j *judgement) equal(ts int64, readings []int) (values int, ok bool) {
	check := func(name string, want, tolerance float64) bool {
		got, ok := j.at(name, ts)
		values++
		return ok && math.Abs(got-want) <= tolerance
	}
	for k, key := range append([]string{"n"}, j.station.Keys...) {
		least, most, sum, n, text := math.Inf(1), math.Inf(-1), 0.0, 0, ""
		for _, i := range readings {
			v := strconv.Itoa(i)
			if k > 0 {
				v = j.station.Readings[i].Values[k-1]
			}
			f, err := strconv.ParseFloat(v, 64)
			if err != nil {
				text = v
				continue
			}
			least, most, sum, n = min(least, f), max(most, f), sum+f, n+1
		}
		if n == 0 { // the last text; that of a repeated reading may come behind it
			got, ok := value(j.series[key], ts)
			if values++; !ok || len(j.repeated) == 0 && !sameValue(text, got) {
				return values, false
			}
			continue
		}
		if !check(key+"_min", least, 0) || !check(key+"_max", most, 0) || !check(key+"_count", float64(n), 0) ||
			!check(key+"_avg", sum/float64(n), 0.0005001) {
			return values, false
		}
	}
	return values, true
}

// at is the number of a series at a time.
func (j *judgement) at(name string, ts int64) (float64, bool) {
	v, ok := value(j.series[name], ts)
	if !ok {
		return 0, false
	}
	return number(v)
}

func value(rows []rig.Row, ts int64) (json.RawMessage, bool) {
	i, ok := slices.BinarySearchFunc(rows, ts, func(r rig.Row, ts int64) int { return int(r.TS - ts) })
	if !ok {
		return nil, false
	}
	return rows[i].Value, true
}

func number(v json.RawMessage) (float64, bool) {
	f, err := strconv.ParseFloat(string(v), 64)
	return f, err == nil
}
