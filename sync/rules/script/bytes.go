package script

import (
	"math"
	"strconv"
	"strings"
)

// The routines of Go on numbers in texts and on bytes (RULES.md 5.5). A byte is an int of -128 to
// 127, as Java's is signed.

// bytesOf makes bytes of a list of numbers from -128 to 255, or of numeric texts.
func (r *run) bytesOf(v *Value) []byte {
	items := argList(v)
	r.step(len(items) >> 3)
	out := make([]byte, len(items))
	for i, item := range items {
		if item.isText() {
			item = parseWhole(item.Text(), 0, 32, true)
		}
		n := item.Integer()
		if item.k != Int && item.k != Long || n > 255 || n < -128 {
			panic(failedOn("The value '%' could not be correctly converted to a byte", r.javaText(item)))
		}
		out[i] = byte(n)
	}
	return out
}

// bytesList is a list of the bytes; signed: from -128 to 127.
//
//go:noinline
func (r *run) bytesList(b []byte, signed bool) *Value {
	r.step(len(b) >> 3)
	out := make([]*Value, len(b))
	for i, c := range b {
		if out[i] = intOf(int32(c)); signed {
			out[i] = &Value{k: Int, n: uint64(int64(int8(c))), s: javaByte}
		}
	}
	return r.list(out)
}

func octets(r *run, a []*Value) *Value { return r.bytesList(r.bytesOf(a[0]), false) }

func hexToBytes(r *run, a []*Value) *Value {
	s := r.textOrNull(a[0])
	if blank(s) {
		panic(failed("Hex string must be not empty!"))
	}
	hex := numberText(s, true)
	if len(hex)%2 > 0 {
		panic(failed("Hex string must be even-length."))
	}
	out := make([]byte, len(hex)/2)
	for i := range out {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			panic(noDigits(s))
		}
		out[i] = byte(n)
	}
	return r.bytesList(out, true)
}

func hexOfBytes(r *run, a []*Value) *Value {
	var out []byte
	for _, c := range r.bytesOf(a[0]) {
		out = addHex(out, c)
	}
	return r.text(string(out))
}

// textOrNull is a text argument of parseInt and its like: null is a blank text to them.
//
//go:noinline
func (r *run) textOrNull(v *Value) string {
	if v.k <= Null {
		return ""
	}
	return r.javaText(v)
}

// parseInt and parseLong are of a text and a radix.
func parseInt(r *run, a []*Value) *Value {
	return parseWhole(r.textOrNull(a[0]), r.intAt(a, 1, 0), 32, true)
}

func parseLong(r *run, a []*Value) *Value {
	return parseWhole(r.textOrNull(a[0]), r.intAt(a, 1, 0), 64, true)
}

// parseBits is of a text, a radix, the size of the number and whether it is big endian; the
// functions for floating numbers have the same arguments.
func parseBits(r *run, a []*Value) *Value {
	return parseWhole(r.textOrNull(a[0]), r.intAt(a, 1, 0), r.intAt(a, 2, 0), argBool(a[3]))
}

func parseFloating(r *run, a []*Value) *Value {
	return parseFloatText(r.textOrNull(a[0]), r.intAt(a, 1, 0), argBool(a[2]), argBool(a[3]))
}

func parseDoubling(r *run, a []*Value) *Value {
	return parseDoubleText(r.textOrNull(a[0]), r.intAt(a, 1, 0), argBool(a[2]))
}

func toFixed(r *run, a []*Value) *Value {
	v, digits := a[0], int(argInt(a[1]))
	if v.k != Double {
		v = floatOf(float32(argDouble(v)))
	}
	r.step(4 + max(0, digits)>>3)
	return fixed(v, digits)
}

// roundAway is toInt: half away from zero. Of a number that is no int the lowest bits are left.
func roundAway(r *run, a []*Value) *Value {
	f := argDouble(a[0])
	if !finite(f) {
		panic(failed("no decimal digit number"))
	}
	return intOf(int32(int64(math.Mod(math.Round(f), 1<<32))))
}

// floatOfBits is the number of 32 or 64 bits.
func floatOfBits(r *run, a []*Value) *Value {
	n := uint64(argLong(a[0]))
	if argInt(a[1]) == 32 {
		return floatOf(math.Float32frombits(uint32(n)))
	}
	return doubleOf(math.Float64frombits(n))
}

func bitsOfFloat(r *run, a []*Value) *Value {
	f := argDouble(a[0])
	if argInt(a[1]) == 32 {
		return longOf(int64(math.Float32bits(float32(f))))
	}
	return longOf(int64(math.Float64bits(f)))
}

func radixUnsigned(r *run, a []*Value) *Value {
	return textOf(formatUint(uint64(argLong(a[0])), int(argInt(a[1]))))
}

// radixSigned takes 10 for a radix that there is not, as Java does.
func radixSigned(r *run, a []*Value) *Value {
	radix := r.intAt(a, 1, 10)
	if radix < 2 || radix > 36 {
		radix = 10
	}
	return textOf(formatInt(toLong(r.numberAt(a, 0)), radix))
}

// halfUpText prints a number with so many digits behind the point. Java rounds the decimal text of
// the number half up, where Go rounds the binary number.
func halfUpText(r *run, a []*Value) *Value {
	v, size := a[0], 64
	if v.k == Float {
		size = 32
	}
	digits := r.intAt(a, 1, 0)
	r.step(8 + digits>>3)
	return r.text(rounded(formatFloat(v.Number(), 'f', -1, size), digits))
}

// rounded is a decimal text with so many digits behind the point, halves away from zero.
func rounded(s string, digits int) string {
	whole, rest, _ := strings.Cut(s, ".")
	if n := digits - len(rest); n >= 0 {
		rest += strings.Repeat("0", n)
	} else {
		up := rest[digits] >= '5'
		rest = rest[:digits]
		b := []byte(whole + rest)
		for i := len(b) - 1; up && i >= 0; i-- {
			if b[i] == '-' {
				break
			}
			if b[i]++; b[i] <= '9' {
				up = false
			} else {
				b[i] = '0'
			}
		}
		n := len(whole)
		whole, rest = string(b[:n]), string(b[n:])
		if up {
			whole = "1" + whole
			if hasPrefix(s, "-") {
				whole = "-1" + whole[2:]
			}
		}
	}
	if digits == 0 {
		return whole
	}
	return whole + "." + rest
}

func exponentText(r *run, a []*Value) *Value {
	return r.text(formatFloat(r.numberAt(a, 0), r.textAt(a, 1)[0], r.intAt(a, 2, 0), 64))
}

// fixedText is toFixed of JavaScript: halves of the exact binary number, which has up to 1,074
// digits, go away from zero.
func fixedText(r *run, a []*Value) *Value {
	f, digits := r.numberAt(a, 0), r.intAt(a, 1, 0)
	if f == 0 {
		f = 0 // not -0
	}
	r.step(20 + digits>>3)
	return r.text(rounded(formatFloat(f, 'f', 1074, 64), digits))
}

func plainDigits(r *run, a []*Value) *Value {
	return r.text(formatFloat(r.numberAt(a, 0), 'f', r.intAt(a, 1, 0), 64))
}

const hexDigits = "0123456789ABCDEF"

// reverseHex turns the order of the bytes of a hexadecimal text around.
//
//go:noinline
func reverseHex(s string) string {
	if hasPrefix(s, "-") {
		panic(failed("The hexadecimal string must be without a negative sign."))
	}
	prefix := ""
	if hasPrefix(s, "0x") {
		prefix, s = "0x", s[2:]
	}
	if len(s)%2 > 0 {
		panic(failed("The hexadecimal string must be even-length."))
	}
	var b strings.Builder
	putText(&b, prefix)
	for i := len(s) - 2; i >= 0; i -= 2 {
		putText(&b, s[i:i+2])
	}
	return b.String()
}

// numberText is a text without what parseInt and its like do not mind.
//
//go:noinline
func numberText(s string, bigEndian bool) string {
	s = strings.TrimSpace(s)
	s = replaceAll(replaceAll(s, "0x", ""), "0X", "")
	if s = replaceAll(s, ",", "."); bigEndian {
		return s
	}
	return reverseHex(s)
}

func onlyDigits(s, digits string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(digits, s[i]) < 0 {
			return false
		}
	}
	return true
}

// isDecimal: digits with an optional fraction and exponent; both may have a sign.
func isDecimal(s string) bool {
	mantissa, exponent, e := strings.Cut(strings.ToLower(s), "e")
	whole, fraction, point := strings.Cut(unsigned(mantissa), ".")
	const digits = "0123456789"
	return onlyDigits(whole, digits) && (!point || onlyDigits(fraction, digits)) && (!e || onlyDigits(unsigned(exponent), digits))
}

//go:noinline
func unsigned(s string) string {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		return s[1:]
	}
	return s
}

func isHexadecimal(s string) bool {
	s = trimPrefix(s, "-")
	if len(s) > 2 && (s[:2] == "0x" || s[:2] == "0X") {
		s = s[2:]
	}
	return onlyDigits(s, "0123456789abcdefABCDEF")
}

// radixOf checks a number's text, without its prefix, and says in which radix it is. radix 0 asks:
// decimal, else hexadecimal.
func radixOf(text string, radix int, value string) int {
	found := 0
	switch {
	case radix == 0 && isDecimal(text):
		found = 10
	case radix == 0 && isHexadecimal(text):
		found = 16
	case radix >= 25 && radix <= 36:
		return radix
	case radix == 2 && onlyDigits(text, "01"), radix == 8 && onlyDigits(text, "01234567"),
		radix == 10 && isDecimal(text), radix == 16 && isHexadecimal(text):
		found = radix
	case radix == 0:
		panic(noDigits(value))
	case radix != 2 && radix != 8 && radix != 10 && radix != 16:
		panic(failedAt("Invalid radix: [%]", radix))
	default:
		panic(failed("Failed radix [" + decimal(radix) + `] for value: "` + value + `"`))
	}
	if hasPrefix(value, "0x") {
		found = 16
	}
	if found == 16 && len(trimPrefix(value, "-"))%2 > 0 {
		panic(failed(`The hexadecimal value: "` + value + `" must be of even length, or if the decimal value must be a number!`))
	}
	return found
}

// parseWhole is parseInt and parseLong: size is 32 or 64 bits; null for a blank text.
func parseWhole(value string, radix, size int, bigEndian bool) *Value {
	if blank(value) {
		return null
	}
	text := numberText(value, bigEndian)
	radix = radixOf(text, radix, value)
	n, err := strconv.ParseInt(text, radix, size)
	if radix == 2 && len(text) >= size && len(text) <= 64 && text[0] == '1' { // the first bit is the sign
		n, err = parseBinary(text)
	}
	if err != nil || size == 32 && n != int64(int32(n)) {
		panic(noNumber(value))
	}
	if size == 32 {
		return intOf(int32(n))
	}
	return longOf(n)
}

// parseBinary is a number of up to 64 bits whose first one is the sign.
func parseBinary(text string) (int64, error) {
	n, err := strconv.ParseUint(text, 2, 64)
	rest := 64 - len(text)
	return int64(n<<rest) >> rest, err
}

func parseFloatText(value string, radix int, hexOnly, bigEndian bool) *Value {
	if blank(value) {
		return null
	}
	text := numberText(value, bigEndian)
	if hexOnly {
		radix = 16
	}
	if radixOf(text, radix, value) == 16 {
		n, err := strconv.ParseInt(text, 16, 64)
		if err != nil {
			panic(noNumber(value))
		}
		return floatOf(math.Float32frombits(uint32(n)))
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(value), 32)
	if err != nil && !infinite(f) {
		panic(noNumber(value))
	}
	return floatOf(float32(f))
}

func parseDoubleText(value string, radix int, bigEndian bool) *Value {
	if radix == 0 && !isDecimal(value) && !isHexadecimal(value) {
		panic(noDigits(value))
	}
	text := numberText(value, bigEndian)
	if radixOf(text, radix, value) == 10 {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil && !infinite(f) {
			panic(noNumber(value))
		}
		return doubleOf(f)
	}
	n, err := strconv.ParseUint(text, 16, 64)
	if err != nil {
		panic(noNumber(value))
	}
	return doubleOf(math.Float64frombits(n))
}

// fixed rounds half up in decimal digits, as BigDecimal does with the text of the number.
func fixed(v *Value, digits int) *Value {
	f := v.Number()
	if !finite(f) {
		panic(failed("Character N is neither a decimal digit number, decimal point, nor \"e\" notation exponential mark."))
	}
	if digits > 400 {
		digits = 400
	}
	// A float is widened first, as BigDecimal.valueOf does: all its binary digits count.
	text := formatFloat(f, 'f', -1, 64)
	if digits < 0 {
		panic(unsupported("toFixed to so many digits"))
	}
	if v.k == Float {
		f, _ = strconv.ParseFloat(rounded(text, digits), 32) // halves go away from zero
		return floatOf(float32(f))
	}
	f, _ = strconv.ParseFloat(rounded(text, digits), 64)
	return doubleOf(f)
}
