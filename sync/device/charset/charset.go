// Package charset turns text in the charsets that devices name in a Content-Type into UTF-8, piece
// by piece. What is malformed becomes U+FFFD, cut as the server's decoders cut it (API.md 2).
//
// The tables are our own: golang.org/x/text would add its encoders, and a table of 3 KiB for each
// of these charsets, 192 KiB in all, to a program that has to fit into the flash of a router.
package charset

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// scheme is how a charset puts characters into bytes.
type scheme uint8

const (
	multi  scheme = iota // UTF-8
	single               // a byte each
	pairs                // UTF-16
	quads                // UTF-32
)

// order is which byte of a unit comes first.
type order uint8

const (
	unknown order = iota // a byte order mark says so, or it is big
	big
	little
)

// Decoder turns a text into UTF-8. The zero value reads UTF-8. One goroutine uses a Decoder.
type Decoder struct {
	scheme scheme
	order  order
	table  string // of a single-byte charset: the characters from 0x80 on, or "" for those of Unicode
	ascii  bool   // the bytes from 0x80 on mean nothing
}

// aliases are other names, as normal writes them.
var aliases = map[string]string{
	"unicode11utf8": "utf8", "ascii": "usascii", "iso646us": "usascii", "ansix3.41968": "usascii", "ansix3.41986": "usascii",
	"cp367": "usascii", "ibm367": "usascii", "us": "usascii", "isoir6": "usascii",
	"latin1": "iso88591", "isolatin1": "iso88591", "l1": "iso88591", "ibm819": "iso88591", "cp819": "iso88591", "isoir100": "iso88591",
	"iso885911987": "iso88591", "latin2": "iso88592", "l2": "iso88592", "latin5": "iso88599", "l5": "iso88599",
	"latin9": "iso885915", "latin7": "iso885913", "cyrillic": "iso88595", "greek": "iso88597", "hebrew": "iso88598",
	"arabic": "iso88596", "koi8": "koi8r", "tis620.2533": "tis620", "iso885911": "tis620",
	"unicode": "utf16", "unicodebig": "utf16", "iso10646ucs2": "utf16be", "unicodebigunmarked": "utf16be",
	"unicodelittleunmarked": "utf16le", "unicodelittle": "utf16le", "utf16lebom": "utf16le",
}

// normal writes a name in small letters, without what stands between its parts, and with its family
// in one spelling.
func normal(name string) string {
	name = strings.NewReplacer("-", "", "_", "", ":", "").Replace(strings.ToLower(strings.TrimSpace(name)))
	name = strings.TrimPrefix(strings.TrimPrefix(name, "cs"), "x")
	for _, family := range [...][2]string{{"8859", "iso8859"}, {"cp12", "windows12"}, {"cp", "ibm"}} {
		if rest, ok := strings.CutPrefix(name, family[0]); ok && aliases[name] == "" {
			name = family[1] + rest
			break
		}
	}
	if full := aliases[name]; full != "" {
		return full
	}
	return name
}

// Named returns a decoder of the charset with that name, in any letters. ok is false if it is not
// known here: charsets with thousands of characters, of East Asia, are not.
func Named(name string) (d Decoder, ok bool) {
	switch name = normal(name); name {
	case "", "utf8":
		return Decoder{}, true
	case "usascii":
		return Decoder{scheme: single, ascii: true}, true
	case "iso88591":
		return Decoder{scheme: single}, true
	case "utf16":
		return Decoder{scheme: pairs}, true
	case "utf16be":
		return Decoder{scheme: pairs, order: big}, true
	case "utf16le":
		return Decoder{scheme: pairs, order: little}, true
	case "utf32":
		return Decoder{scheme: quads}, true
	case "utf32be":
		return Decoder{scheme: quads, order: big}, true
	case "utf32le":
		return Decoder{scheme: quads, order: little}, true
	}
	table, ok := tables[name]
	return Decoder{scheme: single, table: table}, ok
}

// IsUTF8 reports whether the decoder leaves valid UTF-8 as it is.
func (d *Decoder) IsUTF8() bool { return d.scheme == multi }

// Append appends to dst the text that src holds, as UTF-8: at most three bytes for each byte of
// src. src follows the bytes of the call before. Unless last is true, the beginning of a character
// at the end of src is left for the next call; left is its length, at most 7.
func (d *Decoder) Append(dst, src []byte, last bool) (out []byte, left int) {
	switch d.scheme {
	case single:
		return d.appendSingle(dst, src), 0
	case pairs:
		return d.appendPairs(dst, src, last)
	case quads:
		return d.appendQuads(dst, src, last)
	}
	return appendUTF8(dst, src, last)
}

func (d *Decoder) appendSingle(dst, src []byte) []byte {
	var high [128]rune
	i := 0
	for _, r := range d.table {
		high[i] = r
		i++
	}
	for _, c := range src {
		switch {
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		case d.ascii:
			dst = utf8.AppendRune(dst, utf8.RuneError)
		case d.table == "":
			dst = utf8.AppendRune(dst, rune(c))
		default:
			dst = utf8.AppendRune(dst, high[c-utf8.RuneSelf])
		}
	}
	return dst
}

// unit is the number in the first n bytes of b.
func (d *Decoder) unit(b []byte, n int) (u rune) {
	for i := range n {
		if d.order == little {
			u |= rune(b[i]) << (8 * i)
		} else {
			u = u<<8 | rune(b[i])
		}
	}
	return u
}

const mark = 0xFEFF // the byte order mark

// begin finds the order of the bytes if it is not known. It returns how many bytes of src say so.
func (d *Decoder) begin(src []byte, n int) int {
	if d.order != unknown {
		return 0
	}
	d.order = little
	if d.unit(src, n) == mark {
		return n
	}
	if d.order = big; d.unit(src, n) == mark {
		return n
	}
	return 0
}

func (d *Decoder) appendPairs(dst, src []byte, last bool) (out []byte, left int) {
	if len(src) >= 2 {
		src = src[d.begin(src, 2):]
	}
	for len(src) >= 2 {
		r := d.unit(src, 2)
		n := 2
		switch {
		case 0xD800 <= r && r < 0xDC00: // two bytes more belong to it
			if len(src) < 4 {
				if !last {
					return dst, len(src)
				}
				n = len(src)
				r = utf8.RuneError
				break
			}
			r, n = utf16.DecodeRune(r, d.unit(src[2:], 2)), 4
		case 0xDC00 <= r && r < 0xE000, r == 0xFFFE:
			r = utf8.RuneError
		}
		dst, src = utf8.AppendRune(dst, r), src[n:]
	}
	return rest(dst, src, last)
}

func (d *Decoder) appendQuads(dst, src []byte, last bool) (out []byte, left int) {
	if len(src) >= 4 {
		src = src[d.begin(src, 4):]
	}
	for len(src) >= 4 {
		dst, src = utf8.AppendRune(dst, d.unit(src, 4)), src[4:] // AppendRune knows what is no character
	}
	return rest(dst, src, last)
}

// rest ends a piece of text with what is left of it.
func rest(dst, src []byte, last bool) (out []byte, left int) {
	if last && len(src) > 0 {
		return utf8.AppendRune(dst, utf8.RuneError), 0
	}
	return dst, len(src)
}
