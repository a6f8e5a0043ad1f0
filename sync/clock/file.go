package clock

import (
	"strconv"
	"strings"
)

// boot is a start of the machine with the clock not set, and what dates its events.
type boot struct {
	id     string
	from   uint64 // offset in the queue of the first frame that may be of this start
	offset int64  // time of the start, milliseconds since the epoch
	known  byte   // how the time is known
}

// What is known of the time of a start.
const (
	notYet  = '?' // by an estimate that counts once another start has come
	exactly = '='
	roughly = '~' // by an estimate that is in use
)

const (
	// maxBoots bounds the starts that are remembered. They are starts in a row in which no clock
	// was set.
	maxBoots  = 64
	header    = "edgesync clock 1"
	maxBootID = 64
)

// format is the content of the file "clock" (doc.go).
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

// parse reads what format wrote. ok is false if anything in it is wrong; then what stands before
// that is returned.
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

// parseTime reads milliseconds since the epoch, up to the year 2106: marks (proto.Undated) begin
// above that.
func parseTime(s string) (int64, bool) {
	t, err := strconv.ParseInt(s, 10, 64)
	return t, err == nil && t >= 0 && t < 1<<42-1<<36
}

func validBoot(s string) bool {
	return s != "" && len(s) <= maxBootID && strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") == ""
}
