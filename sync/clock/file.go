package clock

import (
	"strconv"
	"strings"
)

// boot is a start of the machine with the clock not set, and what its events are to be dated with.
type boot struct {
	id     string
	from   uint64 // offset of the first frame that may be its
	offset int64  // time of the start, milliseconds since the epoch; an estimate, unless known says other
	known  byte
}

// What is known of the time of a start.
const (
	notYet  = '?' // the estimate is used when another start has come
	exactly = '='
	roughly = '~' // the estimate is in use
)

const (
	// maxBoots bounds the starts that are remembered: those in a row in which no clock was set, while nothing was sent.
	maxBoots  = 64
	header    = "edgesync clock 1"
	maxBootID = 64
)

// formatClock is the content of the file "clock":
//
//	edgesync clock 1
//	seen 1767225600000
//	boot 6f1c… 4711 1767225590000 =
func format(seen int64, boots []boot) string {
	b := append([]byte(header+"\nseen "), strconv.FormatInt(seen, 10)...)
	for i := range boots {
		b = append(append(b, "\nboot "...), boots[i].id...)
		b = strconv.AppendUint(append(b, ' '), boots[i].from, 10)
		b = strconv.AppendInt(append(b, ' '), boots[i].offset, 10)
		b = append(b, ' ', boots[i].known)
	}
	return string(append(b, '\n'))
}

// parseClock reads what formatClock wrote; not ok if anything in it is wrong, and then what stands before is returned.
func parse(s string) (seen int64, boots []boot, ok bool) {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	if len(lines) < 2 || len(lines) > 2+maxBoots || lines[0] != header {
		return 0, nil, false
	}
	text, found := strings.CutPrefix(lines[1], "seen ")
	if seen, ok = parseTime(text); !found || !ok {
		return 0, nil, false
	}
	for _, line := range lines[2:] {
		f := strings.Split(line, " ")
		if len(f) != 5 || f[0] != "boot" || !validBoot(f[1]) || f[4] != "?" && f[4] != "=" && f[4] != "~" {
			return seen, boots, false
		}
		from, err := strconv.ParseUint(f[2], 10, 62)
		offset, fine := parseTime(f[3])
		if n := len(boots); err != nil || !fine || n > 0 && boots[n-1].from >= from {
			return seen, boots, false
		}
		boots = append(boots, boot{f[1], from, offset, f[4][0]})
	}
	return seen, boots, true
}

// parseTime takes times that fit where they are used, up to the year 2106.
func parseTime(s string) (int64, bool) {
	t, err := strconv.ParseInt(s, 10, 64)
	return t, err == nil && t >= 0 && t < 1<<42-1<<36
}

func validBoot(s string) bool {
	return s != "" && len(s) <= maxBootID && strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") == ""
}
