package cloudtest

import (
	"math"
	"strconv"
	"strings"
	"unicode"

	"edgesync/proto"
)

// maxDecimals is how many digits a double may have after the decimal point; a number with more
// becomes a string (CONTRACT.md 5.3).
const maxDecimals = 16

// maxPlainDigits bounds the decimal text of a number in exponent form: 1e100000 becomes a string of
// 100,001 digits (API.md 1.3). A number beyond the bound is kept as the text that was sent.
const maxPlainDigits = 1 << 17

// pair is one key with its value as the server stores it.
type pair struct {
	key string
	val Value
}

// convertDouble returns what the server stores for a DOUBLE_V: the server writes the double as JSON
// the way Java does (exponent form from 1e7 on and below 1e-3) and parses that text again
// (CONTRACT.md 5.3).
func convertDouble(d float64) Value {
	switch {
	case math.IsNaN(d):
		return Value{Type: proto.KeyValueType_STRING_V, Str: "NaN"}
	case math.IsInf(d, 1):
		return Value{Type: proto.KeyValueType_STRING_V, Str: "Infinity"}
	case math.IsInf(d, -1):
		return Value{Type: proto.KeyValueType_STRING_V, Str: "-Infinity"}
	case d == 0:
		return Value{Type: proto.KeyValueType_DOUBLE_V} // -0.0 loses its sign
	}
	var buf [48]byte
	if a := math.Abs(d); a >= 1e-3 && a < 1e7 {
		text := strconv.AppendFloat(buf[:0], d, 'f', -1, 64)
		for i, c := range text {
			if c == '.' && len(text)-i-1 > maxDecimals {
				return Value{Type: proto.KeyValueType_STRING_V, Str: string(text)}
			}
		}
		return Value{Type: proto.KeyValueType_DOUBLE_V, Dbl: d}
	}
	text := string(strconv.AppendFloat(buf[:0], d, 'e', -1, 64))
	if mantissa, exp, ok := strings.Cut(text, "e"); ok && !strings.Contains(mantissa, ".") {
		text = mantissa + ".0e" + exp // Java writes at least one digit after the point
	}
	v, ok := convertNumber(text)
	if !ok {
		return Value{Type: proto.KeyValueType_DOUBLE_V, Dbl: d}
	}
	return v
}

// convertString returns what the server stores for a STRING_V: text that looks like a plain decimal
// number becomes a number, and NUL is cut out (CONTRACT.md 5.3, API.md 1.3).
func convertString(s string) Value {
	if plain, ok := parsable(s); ok {
		if v, ok := convertNumber(plain); ok {
			return v
		}
	}
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	return Value{Type: proto.KeyValueType_STRING_V, Str: s}
}

// parsable reports whether the server takes the string for a number: an optional minus, digits of
// any script, at most one point, which may not be last. The text is returned with ASCII digits.
func parsable(s string) (string, bool) {
	if s == "" || s[len(s)-1] == '.' {
		return "", false
	}
	rest := strings.TrimPrefix(s, "-")
	if rest == "" {
		return "", false
	}
	points, ascii := 0, true
	for _, r := range rest {
		switch {
		case r == '.':
			points++
		case r >= '0' && r <= '9':
		case r > unicode.MaxASCII && unicode.IsDigit(r):
			ascii = false
		default:
			return "", false
		}
	}
	if points > 1 {
		return "", false
	}
	if ascii {
		return s, true
	}
	return strings.Map(asciiDigit, s), true
}

// asciiDigit maps a decimal digit of any script to its ASCII form. It relies on the digits of a
// script being ten in a row in each range of the table.
func asciiDigit(r rune) rune {
	if r <= unicode.MaxASCII {
		return r
	}
	for _, t := range unicode.Nd.R16 {
		if r >= rune(t.Lo) && r <= rune(t.Hi) {
			return '0' + (r-rune(t.Lo))%10
		}
	}
	for _, t := range unicode.Nd.R32 {
		if r >= rune(t.Lo) && r <= rune(t.Hi) {
			return '0' + (r-rune(t.Lo))%10
		}
	}
	return r
}

// decimal is a decimal number: the digits times ten to the power of -scale.
type decimal struct {
	neg    bool
	digits string // without leading zeros; empty for zero
	scale  int
}

// parseDecimal reads a number such as "-12.50e3". The bool is false for text that is no number or
// has an exponent beyond all use.
func parseDecimal(text string) (decimal, bool) {
	var d decimal
	rest := text
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		d.neg = rest[0] == '-'
		rest = rest[1:]
	}
	exp := 0
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		n, err := strconv.ParseInt(rest[i+1:], 10, 32)
		if err != nil {
			return d, false
		}
		exp, rest = int(n), rest[:i]
	}
	whole, frac, _ := strings.Cut(rest, ".")
	digits := whole + frac
	if digits == "" {
		return d, false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return d, false
		}
	}
	d.digits = strings.TrimLeft(digits, "0")
	d.scale = len(frac) - exp
	if d.scale > maxPlainDigits || d.scale < -maxPlainDigits {
		return d, false
	}
	return d, true
}

// plain is the number written without an exponent, with as many zeros as the scale asks for.
func (d decimal) plain() string {
	sign := ""
	if d.neg && d.digits != "" {
		sign = "-"
	}
	switch {
	case d.digits == "" && d.scale <= 0:
		return "0"
	case d.scale <= 0:
		return sign + d.digits + strings.Repeat("0", -d.scale)
	case len(d.digits) > d.scale:
		return sign + d.digits[:len(d.digits)-d.scale] + "." + d.digits[len(d.digits)-d.scale:]
	}
	return sign + "0." + strings.Repeat("0", d.scale-len(d.digits)) + d.digits
}

// stripped is the same number without trailing zeros.
func (d decimal) stripped() decimal {
	s := strings.TrimRight(d.digits, "0")
	if s == "" {
		return decimal{}
	}
	d.scale -= len(d.digits) - len(s)
	d.digits = s
	return d
}

// convertNumber returns what the server stores for the JSON text of a number: a long, a double, or
// a string if the number fits neither. The bool is false for text that is no number.
func convertNumber(text string) (Value, bool) {
	d, ok := parseDecimal(text)
	if !ok {
		return Value{}, false
	}
	point := strings.IndexByte(text, '.') >= 0 && !strings.ContainsAny(text, "eE")
	if s := d.stripped(); s.scale <= 0 && !point {
		if n, err := strconv.ParseInt(s.plain(), 10, 64); err == nil {
			return Value{Type: proto.KeyValueType_LONG_V, Long: n}, true
		}
		return Value{Type: proto.KeyValueType_STRING_V, Str: d.plain()}, true
	}
	if d.scale > maxDecimals {
		return Value{Type: proto.KeyValueType_STRING_V, Str: d.plain()}, true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil && !math.IsInf(f, 0) {
		return Value{}, false
	}
	if f == 0 {
		f = 0 // no negative zero: the number passed through a decimal
	}
	return Value{Type: proto.KeyValueType_DOUBLE_V, Dbl: f}, true
}

// convertJSON returns what the server stores for the text of a JSON_V. A scalar is stored as its
// own type; null and an empty text are not stored (ok is false). The error has the words of the
// server's parser.
func convertJSON(text string) (v Value, ok bool, err error) {
	e, err := parseLenient(text)
	if err != nil {
		return Value{}, false, err
	}
	v, ok = e.value()
	return v, ok, nil
}

// convertList appends the key-values of one message to dst, as the server stores them: unknown
// types are left out, and of two equal keys the last one counts. The error is that of a broken
// JSON_V.
func convertList(dst []pair, kvs []*proto.KeyValueProto) ([]pair, error) {
	var seen map[string]int
	if len(kvs) > 32 {
		seen = make(map[string]int, len(kvs))
	}
	base := len(dst)
	for _, kv := range kvs {
		p := pair{key: kv.GetKey()}
		keep := true
		switch kv.GetType() {
		case proto.KeyValueType_BOOLEAN_V:
			p.val = Value{Type: proto.KeyValueType_BOOLEAN_V, Bool: kv.GetBoolV()}
		case proto.KeyValueType_LONG_V:
			p.val = Value{Type: proto.KeyValueType_LONG_V, Long: kv.GetLongV()}
		case proto.KeyValueType_DOUBLE_V:
			p.val = convertDouble(kv.GetDoubleV())
		case proto.KeyValueType_STRING_V:
			p.val = convertString(kv.GetStringV())
		case proto.KeyValueType_JSON_V:
			var err error
			if p.val, keep, err = convertJSON(kv.GetJsonV()); err != nil {
				return dst[:base], err
			}
		default:
			continue
		}
		if !keep {
			p.val.Type = skipped
		}
		at := -1
		if seen != nil {
			if i, ok := seen[p.key]; ok {
				at = i
			} else {
				seen[p.key] = len(dst)
			}
		} else {
			for i := base; i < len(dst); i++ {
				if dst[i].key == p.key {
					at = i
					break
				}
			}
		}
		if at >= 0 {
			dst[at].val = p.val
		} else {
			dst = append(dst, p)
		}
	}
	return dst, nil
}

// skipped marks a pair whose value is null: it replaces an earlier pair of its key and is not
// stored.
const skipped = proto.KeyValueType(-1)

// storable reports whether the server stores pairs with these keys. One key that is empty, is
// longer than 255 characters, or contains NUL or markup loses all others of the message
// (CONTRACT.md 4.7, API.md 1.4).
func storable(pairs []pair) bool {
	for i := range pairs {
		if pairs[i].val.Type != skipped && !storableKey(pairs[i].key) {
			return false
		}
	}
	return true
}

func storableKey(key string) bool {
	if key == "" || strings.IndexByte(key, 0) >= 0 {
		return false
	}
	if i := strings.IndexByte(key, '<'); i >= 0 && strings.IndexByte(key[i:], '>') > 0 {
		return false
	}
	if len(key) <= maxKey {
		return true
	}
	n := 0
	for _, r := range key {
		n++
		if r > 0xFFFF {
			n++ // Java counts UTF-16 units
		}
	}
	return n <= maxKey
}

// maxKey is the longest key that is stored, in characters (CONTRACT.md 4.7).
const maxKey = 255
