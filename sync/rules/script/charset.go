package script

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// The routines of Go from bytes to texts and back.

func textOfBytes(r *run, a []*Value) *Value { return r.text(charset(r.bytesOf(a[0]), r.textAt(a, 1))) }

func bytesOfText(r *run, a []*Value) *Value {
	return r.bytesList(encode(r.textAt(a, 0), r.textAt(a, 1)), true)
}

func base64OfBytes(r *run, a []*Value) *Value {
	return r.text(base64.StdEncoding.EncodeToString(r.bytesOf(a[0])))
}

// bytesOfBase64 takes standard base64, padded or not, as Java's decoder does.
func bytesOfBase64(r *run, a []*Value) *Value {
	s := r.textAt(a, 0)
	out, err := base64.RawStdEncoding.DecodeString(s)
	if hasText(s, "=") {
		out, err = base64.StdEncoding.DecodeString(s)
	}
	if err != nil || strings.ContainsAny(s, "\r\n") {
		panic(failed("the text is no base64"))
	}
	return r.bytesList(out, true)
}

// charset decodes bytes: UTF-8, ASCII and Latin-1.
func charset(b []byte, name string) string {
	switch word := strings.ToUpper(name); {
	case is(word, "UTF-8") || is(word, "UTF8"):
		if utf8.Valid(b) {
			return string(b)
		}
		return strings.ToValidUTF8(string(b), "�")
	case is(word, "ISO-8859-1") || is(word, "LATIN1"):
		var s strings.Builder
		for _, c := range b {
			putRune(&s, rune(c))
		}
		return s.String()
	case is(word, "US-ASCII") || is(word, "ASCII"):
		var s strings.Builder
		for _, c := range b {
			if c >= 0x80 {
				putRune(&s, utf8.RuneError)
			} else {
				putByte(&s, c)
			}
		}
		return s.String()
	}
	panic(unsupportedOn("the character set %", name))
}

// encode is the bytes of a text in a character set.
func encode(s, name string) []byte {
	switch word := strings.ToUpper(name); {
	case is(word, "UTF-8") || is(word, "UTF8"):
		return []byte(s)
	case is(word, "ISO-8859-1") || is(word, "LATIN1") || is(word, "US-ASCII") || is(word, "ASCII"):
		most := rune(0xFF)
		if hasText(strings.ToUpper(name), "ASCII") {
			most = 0x7F
		}
		out := make([]byte, 0, len(s))
		for _, c := range s {
			if c > most {
				c = '?'
			}
			out = append(out, byte(c))
		}
		return out
	}
	panic(unsupportedOn("the character set %", name))
}
