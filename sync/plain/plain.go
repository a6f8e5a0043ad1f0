// Package plain makes text from elsewhere harmless for a terminal and bounds its length. Names,
// error texts and contents of events come from devices and from the cloud; a terminal acts on some
// of their characters: C0 and C1 controls, bidi controls, separators of lines.
//
// One rule holds for every form of output: a character reaches a terminal only if unicode.IsPrint
// says so; line feeds are the program's own. Writer is what the program prints through; Text is for
// one line between colours, which Writer would take for an attack.
package plain

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// Text shows s in one line: what is not printable becomes a blank. A text of more than most bytes
// is cut and ends with an ellipsis.
func Text(s string, most int) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != utf8.RuneError {
			return r
		}
		return ' '
	}, Cut(s, most))
}

// Cut cuts a text of more than most bytes at a rune's end and adds an ellipsis.
func Cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// Writer writes text or JSON to a terminal. What is not printable is escaped as JSON does it
// (\u001b), so that JSON stays the same JSON; carriage returns and tabs become blanks. Any
// goroutine.
type Writer struct {
	mu   sync.Mutex
	w    io.Writer
	rest []byte // begin of a rune whose end has not been written yet
	buf  []byte
}

// NewWriter returns a Writer on w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes p, but for the begin of a rune at the end of p, which is kept until the rune's end
// comes.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := p
	if len(w.rest) > 0 {
		text = append(w.rest, p...)
	}
	w.buf = w.buf[:0]
	for len(text) > 0 {
		n := 0
		for n < len(text) && (text[n] >= ' ' && text[n] < 0x7f || text[n] == '\n') {
			n++
		}
		w.buf = append(w.buf, text[:n]...)
		if text = text[n:]; len(text) == 0 || !utf8.FullRune(text) {
			break
		}
		r, n := utf8.DecodeRune(text)
		w.buf = appendRune(w.buf, r)
		text = text[n:]
	}
	w.rest = append([]byte(nil), text...)
	if _, err := w.w.Write(w.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

func appendRune(b []byte, r rune) []byte {
	switch {
	case r == '\r' || r == '\t':
		return append(b, ' ')
	case unicode.IsPrint(r):
		return utf8.AppendRune(b, r)
	case r > 0xffff:
		r -= 0x10000
		return fmt.Appendf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
	}
	return fmt.Appendf(b, `\u%04x`, r)
}

// Ago says how long ago something was, in words: "3 min ago". What is less than a second ago, or to
// come, is "now".
func Ago(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, " d ago"}, {time.Hour, " h ago"}, {time.Minute, " min ago"}, {time.Second, " s ago"}} {
		if d >= unit.of {
			return strconv.FormatInt(int64(d/unit.of), 10) + unit.name
		}
	}
	return "now"
}
