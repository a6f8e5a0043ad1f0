package payload

import (
	"bytes"
	"math"
	"strconv"
	"unicode"
	"unicode/utf8"

	"edgesync/proto"
)

// Bounds of numbers whose exponent is written out. The server stores 1e100000 as a text of 100,001
// digits (API.md 1.3). A number beyond these bounds is stored as the text that the device wrote, so
// that the values beside it are not lost.
const (
	maxPlain  = 1024     // digits of one number
	maxGrowth = 64 << 10 // bytes of all such numbers of one payload
)

// maxScale is the most decimals that the server keeps as a number. A number with more decimals is
// stored as text (API.md 1.3).
const maxScale = 16

// The server converts a value in two passes (API.md 1.3), and the conversions below are the first
// of them. The second pass runs in the server on what the edge sends, which it turns into JSON and
// reads again, as it does with what a device posts there directly (CONTRACT.md 5.3).

// decimal is the text of a number taken apart: (-1)^neg × digits × 10^-scale. Its digits are those
// of whole followed by those of frac.
type decimal struct {
	neg, point  bool // point: has "." and no exponent
	exponent    bool
	whole, frac []byte
	scale       int
}

// readDecimal takes apart an optional "-", digits with at most one point among them, and an
// optional exponent. ok is false if the exponent is larger than 10^8.
func readDecimal(text []byte) (d decimal, ok bool) {
	if len(text) > 0 && text[0] == '-' {
		d.neg, text = true, text[1:]
	}
	exp := 0
	if i := bytes.IndexAny(text, "eE"); i >= 0 {
		d.exponent = true
		e := text[i+1:]
		minus := e[0] == '-'
		for _, c := range bytes.TrimLeft(e, "+-") {
			if exp = exp*10 + int(c-'0'); exp > 1e8 {
				return d, false
			}
		}
		if minus {
			exp = -exp
		}
		text = text[:i]
	}
	d.whole = text
	if i := bytes.IndexByte(text, '.'); i >= 0 {
		d.whole, d.frac = text[:i], text[i+1:]
		d.point = !d.exponent
	}
	d.whole = bytes.TrimLeft(d.whole, "0")
	d.scale = len(d.frac) - exp
	return d, true
}

// digit returns the i-th digit of whole and frac together.
func (d *decimal) digit(i int) byte {
	if i < len(d.whole) {
		return d.whole[i]
	}
	return d.frac[i-len(d.whole)]
}

// setNumber stores in kv the number with that text as the server would. The text is a valid JSON
// number or one that plainNumber accepts. at is its offset in the payload.
func (p *Parser) setNumber(kv *proto.KV, text []byte, at int) error {
	d, ok := readDecimal(text)
	if !ok {
		return p.scan.fail(at, "the number %s is too large or too small", excerpt(text))
	}
	n := len(d.whole) + len(d.frac)
	lead := 0 // zeros in front
	for lead < n && d.digit(lead) == '0' {
		lead++
	}
	trail := 0 // zeros behind the last other digit
	for trail < n-lead && d.digit(n-1-trail) == '0' {
		trail++
	}
	zero := lead == n

	if (zero || d.scale-trail <= 0) && !d.point { // integral, and not written with a point
		if zero {
			kv.Type, kv.Long = proto.KeyValueType_LONG_V, 0
			return nil
		}
		if v, ok := d.int64(lead, n-trail, trail-d.scale); ok {
			kv.Type, kv.Long = proto.KeyValueType_LONG_V, v
			return nil
		}
		p.setPlain(kv, &d, lead, text)
		return nil
	}
	if d.scale > maxScale {
		p.setPlain(kv, &d, lead, text)
		return nil
	}
	kv.Type, kv.Double = proto.KeyValueType_DOUBLE_V, d.float64(lead, text)
	return nil
}

// int64 returns the value of the digits from..to followed by that many zeros, if it fits.
func (d *decimal) int64(from, to, zeros int) (v int64, ok bool) {
	if to-from+zeros > 19 {
		return 0, false
	}
	var u uint64
	for i := from; i < to; i++ {
		u = u*10 + uint64(d.digit(i)-'0')
	}
	for range zeros {
		u *= 10 // 19 digits fit into 64 bits
	}
	if d.neg {
		return int64(-u), u <= 1<<63
	}
	return int64(u), u <= math.MaxInt64
}

var powersOfTen = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
}

// float64 returns the nearest double. -0 loses its sign, as on the server.
func (d *decimal) float64(lead int, text []byte) float64 {
	n := len(d.whole) + len(d.frac)
	if n-lead <= 15 && d.scale >= 0 && d.scale <= 16 {
		// Both numbers are exact, so their quotient is the nearest double; most values of sensors
		// come this way, without allocating.
		var u uint64
		for i := lead; i < n; i++ {
			u = u*10 + uint64(d.digit(i)-'0')
		}
		v := float64(u) / powersOfTen[d.scale]
		if d.neg && u != 0 {
			v = -v
		}
		return v
	}
	v, _ := strconv.ParseFloat(string(text), 64) // out of range gives infinity, on the server too
	if v == 0 {
		return 0
	}
	return v
}

// setPlain stores a number that is neither long nor double for the server: as its text without an
// exponent.
func (p *Parser) setPlain(kv *proto.KV, d *decimal, lead int, text []byte) {
	n := len(d.whole) + len(d.frac)
	digits := n - lead
	size := digits
	if d.scale <= 0 {
		size -= d.scale
	} else {
		size = max(digits, d.scale+1)
	}
	if d.exponent {
		if p.growth += size; size > maxPlain || p.growth > maxGrowth {
			p.growth -= size
			kv.Type, kv.Str = proto.KeyValueType_STRING_V, text
			return
		}
	}
	start := len(p.arena)
	if d.neg && digits > 0 { // no "-0"
		p.arena = append(p.arena, '-')
	}
	point := size - max(d.scale, 0) // digits in front of the point
	for i := range size {
		if i == point {
			p.arena = append(p.arena, '.')
		}
		// The number is right-aligned when it has decimals (zeros in front), left-aligned otherwise
		// (zeros behind).
		j := lead + i
		if d.scale > 0 {
			j -= size - digits
		}
		c := byte('0')
		if lead <= j && j < n {
			c = d.digit(j)
		}
		p.arena = append(p.arena, c)
	}
	kv.Type, kv.Str = proto.KeyValueType_STRING_V, p.arena[start:len(p.arena):len(p.arena)]
}

// Text stores in kv what the server makes of the string text: a number if the string looks like a
// plain one, with digits of any script (API.md 1.3), else the string. What kv points to is valid
// until the parser's next call.
func (p *Parser) Text(kv *proto.KV, text []byte) error { return p.text(kv, text, 0) }

// text is Text for a string that begins at the offset at of the payload.
func (p *Parser) text(kv *proto.KV, text []byte, at int) error {
	if number, ok := p.plainNumber(text); ok {
		return p.setNumber(kv, number, at)
	}
	kv.Type, kv.Str = proto.KeyValueType_STRING_V, text
	return nil
}

// plainNumber reports whether text is an optional "-" and digits with at most one point, which is
// not the last character. It returns the number in ASCII digits.
func (p *Parser) plainNumber(text []byte) ([]byte, bool) {
	rest := bytes.TrimPrefix(text, []byte("-"))
	if len(rest) == 0 || rest[len(rest)-1] == '.' || rest[0] == '-' {
		return nil, false
	}
	points, ascii := 0, true
	for i := 0; i < len(rest); {
		c := rest[i]
		switch {
		case '0' <= c && c <= '9':
		case c == '.':
			if points++; points > 1 {
				return nil, false
			}
		case c < utf8.RuneSelf:
			return nil, false
		default:
			r, n := utf8.DecodeRune(rest[i:])
			if _, ok := digitValue(r); !ok {
				return nil, false
			}
			ascii = false
			i += n - 1
		}
		i++
	}
	if ascii {
		return text, true
	}
	start := len(p.arena)
	for _, r := range string(text) {
		if v, ok := digitValue(r); ok {
			r = '0' + v
		}
		p.arena = append(p.arena, byte(r))
	}
	return p.arena[start:], true
}

// digitValue returns the value of a decimal digit of any script of the basic plane. The server
// looks at UTF-16 units, so digits outside that plane are none.
func digitValue(r rune) (rune, bool) {
	if '0' <= r && r <= '9' {
		return r - '0', true
	}
	if r > 0xFFFF || !unicode.IsDigit(r) {
		return 0, false
	}
	for _, span := range unicode.Nd.R16 { // whole decades, in order
		if lo := rune(span.Lo); lo <= r && r <= rune(span.Hi) {
			return (r - lo) % 10, true
		}
	}
	return 0, false
}

// excerpt returns at most the first 40 bytes of text, cut between characters, for error messages.
func excerpt(text []byte) []byte {
	const most = 40
	if len(text) <= most {
		return text
	}
	n := most
	for !utf8.RuneStart(text[n]) {
		n--
	}
	return append(append([]byte{}, text[:n]...), "…"...)
}
