package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"edgesync/proto"
	"edgesync/sync/plain"
)

const (
	// stamp is RFC 3339 with milliseconds, always of one width.
	stamp = "2006-01-02T15:04:05.000Z07:00"
	// lineContent bounds the content in a line for people, in bytes.
	lineContent = 160
)

// stamped shows a time, or the time since the machine's start of a frame that was written before
// the clock was set.
func stamped(ms int64) string {
	if up, undated := proto.Uptime(ms); undated {
		return fmt.Sprintf("%-*s", len("2006-01-02T15:04:05.000Z"), "uptime "+(time.Duration(up)*time.Millisecond).String())
	}
	return time.UnixMilli(ms).UTC().Format(stamp)
}

// several is a number with its noun.
func several(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// flatten shows the JSON object of a content as key=value pairs, cut to about most bytes.
func flatten(content []byte, most int) string {
	var b strings.Builder
	flattenObject(&b, content, "", most)
	return printable(plain.Cut(b.String(), most))
}

func flattenObject(b *strings.Builder, content []byte, prefix string, most int) {
	d := json.NewDecoder(bytes.NewReader(content))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return
	}
	for d.More() && b.Len() <= most {
		t, err := d.Token()
		key, ok := t.(string)
		var raw json.RawMessage
		if err != nil || !ok || d.Decode(&raw) != nil || len(raw) == 0 {
			return
		}
		if raw[0] == '{' && len(raw) > 2 {
			inner := prefix + key + "."
			if prefix == "" && (key == "values" || key == "entity") {
				inner = ""
			}
			flattenObject(b, raw, inner, most)
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(prefix + key + "=")
		if raw[0] == '"' && !bytes.ContainsAny(raw[1:len(raw)-1], " \"\\=") && len(raw) > 2 {
			raw = raw[1 : len(raw)-1]
		}
		b.Write(raw)
	}
}

// printable makes text from elsewhere harmless for a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
