//go:build linux

package main

import (
	"fmt"
	"io"
)

// line is one row of the table.
type line struct {
	what      string
	measured  float64
	format    string // of measured, bound and yardstick
	yardstick float64
	of        string // name of the yardstick; "" = none
	atLeast   bool   // bound is a lower bound
	bound     float64
	onRatio   bool // the bound is on measured/yardstick
	noBound   bool // for information
}

// table prints lines as they come. It counts the figures beyond their bounds and those that could
// not be measured.
type table struct {
	out    io.Writer
	over   int
	absent int
}

func (t *table) head() {
	fmt.Fprintf(t.out, "%-46s %12s %8s  %-22s %s\n", "what", "measured", "ratio", "bound", "yardstick of the same run")
}

func (t *table) add(l line) {
	num := func(v float64) string { return fmt.Sprintf(l.format, v) }
	ratio := "-"
	against := "none"
	if l.of != "" && l.yardstick > 0 {
		ratio = fmt.Sprintf("%.3f", l.measured/l.yardstick)
		against = num(l.yardstick) + " " + l.of
	}
	bound, verdict := "-", ""
	if !l.noBound {
		got, sign := l.measured, "<="
		bound = num(l.bound)
		if l.onRatio {
			got = l.measured / l.yardstick
			bound = fmt.Sprintf("ratio %.2f", l.bound)
		}
		if l.atLeast {
			sign = ">="
		}
		bound = sign + " " + bound
		verdict = "PASS"
		// Written so that NaN does not pass.
		if l.atLeast && !(got >= l.bound) || !l.atLeast && !(got <= l.bound) {
			verdict = "over"
			if l.atLeast {
				verdict = "under"
			}
			t.over++
		}
	}
	fmt.Fprintf(t.out, "%-46s %12s %8s  %-16s %-5s %s\n", l.what, num(l.measured), ratio, bound, verdict, against)
}

// missing prints that a figure could not be measured, and why.
func (t *table) missing(what string, why error) {
	t.absent++
	fmt.Fprintf(t.out, "%-46s %12s  %v\n", what, "not measured", why)
}

// note prints a remark on the lines above.
func (t *table) note(text string) { fmt.Fprintln(t.out, text) }
