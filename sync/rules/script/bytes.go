package script

import (
	"encoding/base64"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The functions of TBEL on bytes and hexadecimal texts (RULES.md 5.5). A byte is an int of -128 to
// 127, as Java's is signed.

// bytesOf makes bytes of a list of numbers from -128 to 255, or of numeric texts.
func (r *run) bytesOf(v *Value) []byte {
	items := argList(v)
	out := make([]byte, len(items))
	for i, item := range items {
		n := int64(0)
		switch {
		case item.k == Int || item.k == Long:
			n = int64(item.n)
		case item.isText():
			p := parseWhole(item.Text(), 0, 32, true)
			if p.k != Int {
				panic(failed("no byte: " + item.Text()))
			}
			n = p.Integer()
		default:
			panic(failed("The value '" + r.javaText(item) + "' could not be correctly converted to a byte"))
		}
		if n > 255 || n < -128 {
			panic(failed("The value '" + formatInt(n, 10) + "' could not be correctly converted to a byte"))
		}
		out[i] = byte(n)
	}
	return out
}

func signedBytes(b []byte) []*Value {
	out := make([]*Value, len(b))
	for i, c := range b {
		out[i] = intOf(int32(int8(c)))
	}
	return out
}

//go:noinline
func (r *run) bytesList(b []byte) *Value {
	r.step(len(b) >> 3)
	return r.list(signedBytes(b))
}

//go:noinline
func (r *run) bytesArray(b []byte) *Value {
	v := r.bytesList(b)
	v.k = Array
	return v
}

func hexToBytes(r *run, s string) []byte {
	if blank(s) {
		panic(failed("Hex string must be not empty!"))
	}
	hex := numberText(s)
	if len(hex)%2 > 0 {
		panic(failed("Hex string must be even-length."))
	}
	r.step(len(hex) >> 4)
	out := make([]byte, len(hex)/2)
	for i := range out {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			panic(failed(`Value: "` + s + `" is not numeric or hexDecimal format!`))
		}
		out[i] = byte(n)
	}
	return out
}

const hexDigits = "0123456789ABCDEF"

//go:noinline
func bytesToHex(b []byte) string {
	out := make([]byte, 0, 2*len(b))
	for _, c := range b {
		out = append(out, hexDigits[c>>4], hexDigits[c&15])
	}
	return string(out)
}

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
func numberText(s string) string {
	s = strings.TrimSpace(s)
	s = replaceAll(replaceAll(s, "0x", ""), "0X", "")
	return replaceAll(s, ",", ".")
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

// isDecimal: -?digits with an optional fraction.
func isDecimal(s string) bool {
	whole, fraction, point := strings.Cut(trimPrefix(s, "-"), ".")
	return onlyDigits(whole, "0123456789") && (!point || onlyDigits(fraction, "0123456789"))
}

// isExponent: a decimal number with an exponent, as 1e3; it comes before a hexadecimal reading.
func isExponent(s string) bool {
	mantissa, exponent, ok := strings.Cut(strings.ToLower(s), "e")
	exponent = trimPrefix(trimPrefix(exponent, "-"), "+")
	return ok && isDecimal(mantissa) && onlyDigits(exponent, "0123456789")
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
		panic(failed(`Value: "` + value + `" is not numeric or hexDecimal format!`))
	case radix != 2 && radix != 8 && radix != 10 && radix != 16:
		panic(failed("Invalid radix: [" + decimal(radix) + "]"))
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
	text := numberText(value)
	if !bigEndian {
		text = reverseHex(text)
	}
	radix = radixOf(text, radix, value)
	if radix == 2 && len(text) == size && text[0] == '1' {
		n, err := strconv.ParseUint(text, 2, 64)
		if err == nil {
			if size == 32 {
				return intOf(int32(n))
			}
			return longOf(int64(n))
		}
	}
	n, err := strconv.ParseInt(text, radix, size)
	if err != nil {
		panic(failed("For input string: " + quote(value)))
	}
	if size == 32 {
		return intOf(int32(n))
	}
	return longOf(n)
}

func parseFloatText(value string, radix int, hexOnly, bigEndian bool) *Value {
	if blank(value) {
		return null
	}
	text := numberText(value)
	if !bigEndian {
		text = reverseHex(text)
	}
	if hexOnly {
		radix = 16
	}
	if (radix != 0 || !isExponent(text)) && radixOf(text, radix, value) == 16 {
		n, err := strconv.ParseInt(text, 16, 64)
		if err != nil {
			panic(failed("For input string: " + quote(value)))
		}
		return floatOf(math.Float32frombits(uint32(n)))
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(value), 32)
	if err != nil && !infinite(f) {
		panic(failed("For input string: " + quote(value)))
	}
	return floatOf(float32(f))
}

func parseDoubleText(value string, radix int, bigEndian bool) *Value {
	text := numberText(value)
	if radix == 0 {
		if f, err := strconv.ParseFloat(text, 64); err == nil && isExponent(text) {
			return doubleOf(f)
		}
	}
	if blank(value) {
		panic(failed(`Value: "` + value + `" is not numeric or hexDecimal format!`))
	}
	if !bigEndian {
		text = reverseHex(text)
	}
	if radixOf(text, radix, value) == 10 {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil && !infinite(f) {
			panic(failed("For input string: " + quote(value)))
		}
		return doubleOf(f)
	}
	n, err := strconv.ParseUint(text, 16, 64)
	if err != nil {
		panic(failed("For input string: " + quote(value)))
	}
	return doubleOf(math.Float64frombits(n))
}

// numberToHex is intToHex and longToHex: whole bytes, without leading zeros or, if it is negative,
// without leading FF but one.
func numberToHex(n int64, bigEndian, prefix bool, length, most int) string {
	hex := strings.ToUpper(formatUint(uint64(n), 16))
	if len(hex)%2 > 0 {
		hex = "0" + hex
	}
	if n < 0 {
		short := strings.TrimLeft(hex[:len(hex)-1], "F") + hex[len(hex)-1:]
		if len(short)%2 > 0 {
			short = "F" + short
		}
		switch {
		case most > 0 && len(short) > most:
			hex = short[len(short)-most:]
		case most > 0 && len(short) == most:
			hex = short
		case most <= 0 && len(short) == len(hex):
			hex = short
		default:
			hex = "FF" + short
		}
	}
	if !bigEndian {
		hex = reverseHex(hex)
	}
	if length > 0 {
		if length > len(hex) {
			panic(failed("begin " + decimal(len(hex)-length) + ", length " + decimal(len(hex))))
		}
		hex = hex[len(hex)-length:]
	}
	if prefix {
		return "0x" + hex
	}
	return hex
}

// radixText is intLongToRadixString.
func radixText(n int64, radix int, bigEndian, prefix bool) string {
	switch {
	case radix >= 25 && radix <= 36 || radix == 10:
		return formatInt(n, radix)
	case radix == 8:
		return formatUint(uint64(n), 8)
	case radix == 16:
		return numberToHex(n, bigEndian, prefix, 0, 0)
	case radix == 2:
		s := formatUint(uint64(n), 2)
		for _, width := range []int{8, 16, 32, 64} {
			if len(s) <= width {
				return strings.Repeat("0", width-len(s)) + s
			}
		}
		return s
	}
	panic(failed("Invalid radix: [" + decimal(radix) + "]"))
}

// part is the bytes that parseBytesTo… read: list, offset, length, in the order of a big endian
// number.
func (r *run) part(a []*Value, most int) []byte {
	need(a, 1, 4)
	b := r.bytesOf(a[0])
	offset := 0
	if len(a) > 1 {
		offset = int(argInt(a[1]))
	}
	if offset < 0 || offset > len(b) {
		panic(failed("Offset: " + decimal(offset) + " is out of bounds for array with length: " + decimal(len(b)) + "!"))
	}
	length := min(len(b)-offset, most)
	if len(a) > 2 {
		length = int(argInt(a[2]))
	}
	if length < 0 || length > len(b)-offset {
		panic(failed("Offset: " + decimal(offset) + " and Length: " + decimal(length) +
			" is out of bounds for array with length: " + decimal(len(b)) + "!"))
	}
	if length > most {
		panic(failed("Length: " + decimal(length) + " is too large. Maximum " + decimal(most) + " bytes is allowed!"))
	}
	b = b[offset : offset+length]
	if len(a) > 3 && !argBool(a[3]) {
		for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
			b[i], b[j] = b[j], b[i]
		}
	}
	return b
}

//go:noinline
func unsigned(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

// bits01 is the last n bits of a number, as a list of 0 and 1.
func bits01(n uint64, count int, bigEndian bool) []*Value {
	if count < 0 || count > 64 {
		panic(failed("a number of bits from 0 to 64 is needed"))
	}
	out := make([]*Value, count)
	for i := range out {
		bit := int32(n >> uint(count-1-i) & 1)
		if bigEndian {
			out[i] = intOf(bit)
		} else {
			out[count-1-i] = intOf(bit)
		}
	}
	return out
}

// fixed rounds half up in decimal digits, as BigDecimal does with the text of the number.
func fixed(v *Value, digits int) *Value {
	f := v.Number()
	if (f != f) || infinite(f) {
		panic(failed("Character N is neither a decimal digit number, decimal point, nor \"e\" notation exponential mark."))
	}
	if digits > 400 {
		digits = 400
	}
	// A float is widened first, as BigDecimal.valueOf does: all its binary digits count.
	text := formatFloat(f, 'g', -1, 64)
	x, ok := new(big.Rat).SetString(text)
	if !ok || digits < 0 || digits > 400 {
		panic(unsupported("toFixed to so many digits"))
	}
	if v.k == Float {
		f, _ = strconv.ParseFloat(x.FloatString(digits), 32) // halves go away from zero
		return floatOf(float32(f))
	}
	f, _ = strconv.ParseFloat(x.FloatString(digits), 64)
	return doubleOf(f)
}

// roundAway is toInt: half away from zero.
func roundAway(v *Value) *Value {
	f := argDouble(v)
	return intOf(toInt(math.Round(f)))
}

// decodeBase64 takes standard base64, padded or not, as Java's decoder does.
func decodeBase64(s string) []byte {
	out, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		out, err = base64.RawStdEncoding.DecodeString(s)
	}
	if err != nil || strings.ContainsAny(s, "\r\n") {
		panic(failed("no base64: " + err0(err)))
	}
	return out
}

func err0(err error) string {
	if err == nil {
		return "a line break"
	}
	return err.Error()
}

// charset decodes bytes: UTF-8, ASCII and Latin-1.
func charset(b []byte, name string) string {
	switch strings.ToUpper(name) {
	case "UTF-8", "UTF8":
		if utf8.Valid(b) {
			return string(b)
		}
		return strings.ToValidUTF8(string(b), "�")
	case "ISO-8859-1", "LATIN1":
		var s strings.Builder
		for _, c := range b {
			putRune(&s, rune(c))
		}
		return s.String()
	case "US-ASCII", "ASCII":
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
	panic(unsupported("the character set " + name))
}

// encode is the bytes of a text in a character set.
func encode(s, name string) []byte {
	switch strings.ToUpper(name) {
	case "UTF-8", "UTF8":
		return []byte(s)
	case "ISO-8859-1", "LATIN1", "US-ASCII", "ASCII":
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
	panic(unsupported("the character set " + name))
}
