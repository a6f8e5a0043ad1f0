package tally

import (
	"strconv"
	"strings"
	"time"
)

const header = "edgesync tally 1"

// format is the content of the file (doc.go).
func format(f *facts) string {
	b := []byte(header + "\n")
	line := func(name string, numbers ...int64) {
		b = append(b, name...)
		for _, n := range numbers {
			b = strconv.AppendInt(append(b, ' '), n, 10)
		}
		b = append(b, '\n')
	}
	for r := range f.losses {
		if l := &f.losses[r]; l.total > 0 {
			line("loss "+reasonNames[r], int64(l.total), int64(l.events), l.from, l.to, milli(l.since), milli(l.until))
		}
	}
	line("damaged", int64(f.damaged))
	line("flash", f.flash.Written, f.flash.Worn, milli(f.flash.Since))
	return string(b)
}

func milli(t time.Time) int64 {
	if ms := t.UnixMilli(); known(ms) {
		return ms
	}
	return 0
}

func instant(ms int64) (t time.Time) {
	if ms != 0 {
		t = time.UnixMilli(ms)
	}
	return t
}

// parse reads what format wrote. ok is false if anything in it is wrong; what stands before that is
// returned.
func parse(s string) (f facts, ok bool) {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	if lines[0] != header {
		return f, false
	}
	for _, line := range lines[1:] {
		words := strings.Split(line, " ")
		kind, words := words[0], words[1:]
		r := reasons
		if kind == "loss" && len(words) > 0 {
			for r = 0; r < reasons && reasonNames[r] != words[0]; r++ {
			}
			words = words[1:]
		}
		var n [6]int64
		if len(words) > len(n) {
			return f, false
		}
		for i, w := range words {
			v, err := strconv.ParseInt(w, 10, 64)
			if err != nil || v < 0 || v > 1<<53 {
				return f, false
			}
			n[i] = v
		}
		switch {
		case kind == "loss" && r < reasons && len(words) == 6 && n[1] <= n[0]:
			f.losses[r] = loss{uint64(n[0]), uint64(n[1]), n[2], n[3], instant(n[4]), instant(n[5])}
		case kind == "damaged" && len(words) == 1:
			f.damaged = uint64(n[0])
		case kind == "flash" && len(words) == 3:
			f.flash = Flash{n[0], n[1], instant(n[2])}
		default:
			return f, false
		}
	}
	return f, true
}
