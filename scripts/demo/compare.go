package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"edgesync/scripts/internal/rig"
)

// comparison is the result of comparing one time series of the cloud with the file.
type comparison struct {
	Rows       int // of the file that the cloud has with the right value
	Duplicates int // writes beyond the first
	Missing    []string
	Wrong      []string // values
	Extra      []string
	Disorder   []string
}

// ok reports whether the cloud has exactly the rows of the file, in the order of the file.
func (c *comparison) ok() bool {
	return len(c.Missing)+len(c.Wrong)+len(c.Extra)+len(c.Disorder) == 0
}

// problems lists all differences, the worst first.
func (c *comparison) problems() []string {
	var all []string
	for _, l := range [][]string{c.Missing, c.Wrong, c.Extra, c.Disorder} {
		all = append(all, l...)
	}
	return all
}

// compare compares the rows of one key with the readings of a station, both sorted by time.
// arrivals are the timestamps in the order in which the cloud first got them. A station posts in
// order, so this must be the order of the file.
func compare(s *Station, key int, rows []rig.Row, arrivals []int64) comparison {
	var c comparison
	name := s.Name + ", " + s.Keys[key]
	want := s.Readings
	for i := 1; i < len(rows); i++ {
		if rows[i].TS <= rows[i-1].TS {
			c.Disorder = append(c.Disorder, fmt.Sprintf("%s: the cloud lists %s behind %s", name, stamp(rows[i].TS), stamp(rows[i-1].TS)))
			return c // the walk below needs an order
		}
	}
	for len(want) > 0 || len(rows) > 0 {
		switch {
		case len(rows) == 0 || len(want) > 0 && want[0].TS < rows[0].TS:
			c.Missing = append(c.Missing, fmt.Sprintf("%s: the row of %s is missing", name, stamp(want[0].TS)))
			want = want[1:]
		case len(want) == 0 || rows[0].TS < want[0].TS:
			c.Extra = append(c.Extra, fmt.Sprintf("%s: the cloud has a row of %s that no file has", name, stamp(rows[0].TS)))
			rows = rows[1:]
		default:
			if !sameValue(want[0].Values[key], rows[0].Value) {
				c.Wrong = append(c.Wrong, fmt.Sprintf("%s: the row of %s is %s in the file and %s in the cloud",
					name, stamp(want[0].TS), want[0].Values[key], rows[0].Value))
			} else {
				c.Rows++
			}
			c.Duplicates += max(rows[0].Writes-1, 0)
			want, rows = want[1:], rows[1:]
		}
	}
	for i := 1; i < len(arrivals); i++ {
		if arrivals[i] < arrivals[i-1] {
			c.Disorder = append(c.Disorder, fmt.Sprintf("%s: the row of %s arrived behind that of %s", name,
				stamp(arrivals[i]), stamp(arrivals[i-1])))
		}
	}
	if n := len(s.Readings) - len(c.Missing) + len(c.Extra); len(arrivals) != n {
		c.Disorder = append(c.Disorder, fmt.Sprintf("%s: the cloud has %d rows and noted %d arrivals", name, n, len(arrivals)))
	}
	return c
}

// sameValue compares JSON values: numbers as numbers, because 39.0 may come back as 39, and other
// values by type and content.
func sameValue(file string, cloud json.RawMessage) bool {
	if want, err := strconv.ParseFloat(file, 64); err == nil {
		got, err := strconv.ParseFloat(string(cloud), 64)
		return err == nil && got == want
	}
	var want, got any
	if json.Unmarshal([]byte(file), &want) != nil || json.Unmarshal(cloud, &got) != nil {
		return false
	}
	return want == got
}

func stamp(ts int64) string { return time.UnixMilli(ts).UTC().Format("2006-01-02 15:04") }
