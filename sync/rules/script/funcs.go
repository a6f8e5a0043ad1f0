package script

import (
	"encoding/base64"
	"math"
	"strings"
)

// tbelFunction is a function of TBEL by its name; nil if there is none (RULES.md 5.5).
func tbelFunction(name word) builtin {
	for _, family := range []func(word) builtin{parseFunction, bytesFunction, hexFunction, valueFunction} {
		if fn := family(name); fn != nil {
			return fn
		}
	}
	return nil
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

func parseFunction(name word) builtin {
	bigEndian := !hasPrefix(name.String(), "parseLittle")
	switch name {
	case wParseInt:
		return wholeParser(32)
	case wParseLong:
		return wholeParser(64)
	case wParseFloat:
		return func(r *run, a []*Value) *Value {
			return parseFloatText(r.textOrNull(a0(a)), r.radixOf(a), false, true)
		}
	case wParseDouble:
		return func(r *run, a []*Value) *Value {
			return parseDoubleText(r.textOrNull(a0(a)), r.radixOf(a), true)
		}
	case wParseHexToInt, wParseBigEndianHexToInt, wParseLittleEndianHexToInt:
		return hexParser(bigEndian, func(s string, big bool) *Value { return parseWhole(s, 16, 32, big) })
	case wParseHexToLong, wParseBigEndianHexToLong, wParseLittleEndianHexToLong:
		return hexParser(bigEndian, func(s string, big bool) *Value { return parseWhole(s, 16, 64, big) })
	case wParseHexToFloat, wParseBigEndianHexToFloat, wParseLittleEndianHexToFloat:
		return hexParser(bigEndian, func(s string, big bool) *Value { return parseFloatText(s, 16, true, big) })
	case wParseHexToDouble, wParseBigEndianHexToDouble, wParseLittleEndianHexToDouble:
		return hexParser(bigEndian, func(s string, big bool) *Value { return parseDoubleText(s, 16, big) })
	case wParseHexIntLongToFloat:
		return func(r *run, a []*Value) *Value {
			need(a, 2, 2)
			n := parseWhole(r.textOrNull(a[0]), 16, 64, argBool(a[1]))
			if n.k == Null {
				return null
			}
			return floatOf(float32(int32(n.n)))
		}
	case wIsBinary, wIsOctal, wIsDecimal, wIsHexadecimal:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 1)
			s, radix, ok := r.textOrNull(a[0]), int32(10), false
			switch name {
			case wIsBinary:
				radix, ok = 2, onlyDigits(s, "01")
			case wIsOctal:
				radix, ok = 8, onlyDigits(s, "01234567")
			case wIsDecimal:
				ok = isDecimal(s)
			default:
				radix, ok = 16, isHexadecimal(s)
			}
			if !ok {
				radix = -1
			}
			return intOf(radix)
		}
	}
	return nil
}

func bytesFunction(name word) builtin {
	switch name {
	case wParseBytesToInt:
		return fromBytes(4, func(b []byte) *Value { return intOf(int32(unsigned(b))) })
	case wParseBytesToLong:
		return fromBytes(8, func(b []byte) *Value { return longOf(int64(unsigned(b))) })
	case wParseBytesToFloat:
		return fromBytes(4, func(b []byte) *Value {
			f := math.Float32frombits(uint32(unsigned(b)))
			if f != f {
				panic(failed("the bytes are a Not-a-Number (NaN) value"))
			}
			return floatOf(f)
		})
	case wParseBytesToDouble:
		return fromBytes(8, func(b []byte) *Value {
			f := math.Float64frombits(unsigned(b))
			if f != f {
				panic(failed("the bytes are a Not-a-Number (NaN) value"))
			}
			return doubleOf(f)
		})
	case wParseBytesIntToFloat:
		return fromBytes(4, func(b []byte) *Value { return floatOf(float32(unsigned(b))) })
	case wParseBytesLongToDouble:
		return fromBytes(8, func(b []byte) *Value { return doubleOf(float64(unsigned(b))) })
	case wBytesToHex:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 1)
			items := argList(a[0])
			for _, v := range items {
				if n := argLong(v); a[0].k != Array && n > 127 {
					panic(failed("Value out of range: " + formatInt(n, 10)))
				}
			}
			r.step(len(items) >> 2)
			return r.text(bytesToHex(r.bytesOf(a[0])))
		}
	case wBytesToString, wDecodeToString:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 2)
			set := "UTF-8"
			if len(a) > 1 {
				set = r.argText(a[1])
			}
			return r.text(charset(r.bytesOf(a[0]), set))
		}
	case wStringToBytes:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 2)
			if a[0].k != Text {
				panic(failed("Invalid type parameter. Expected 'String'"))
			}
			set := "UTF-8"
			if len(a) > 1 {
				set = r.argText(a[1])
			}
			return r.bytesList(encode(a[0].s, set))
		}
	case wDecodeToJson:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 1)
			if a[0].isList() {
				return r.parseJSON(charset(r.bytesOf(a[0]), "UTF-8"))
			}
			return r.parseJSON(r.argText(a[0]))
		}
	case wPrintUnsignedBytes:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 1)
			b := r.bytesOf(a[0])
			out := make([]*Value, len(b))
			for i, c := range b {
				out[i] = intOf(int32(c))
			}
			return r.list(out)
		}
	case wParseByteToBinaryArray, wParseLongToBinaryArray:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 3)
			count := 8
			if name == wParseLongToBinaryArray {
				count = 64
			}
			if len(a) > 1 {
				count = int(argInt(a[1]))
			}
			v := r.list(bits01(uint64(argLong(a[0])), count, len(a) < 3 || argBool(a[2])))
			v.k = Array
			return v
		}
	case wParseBytesToBinaryArray:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 2)
			var out []*Value
			for _, c := range r.bytesOf(a[0]) {
				out = append(out, bits01(uint64(c), 8, true)...)
			}
			if len(a) > 1 {
				n := int(argInt(a[1]))
				if n < 0 || n > len(out) {
					panic(failed("more bits than the bytes have"))
				}
				out = out[len(out)-n:]
			}
			v := r.list(out)
			v.k = Array
			return v
		}
	case wParseBinaryArrayToInt:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 3)
			items := argList(a[0])
			from, length := 0, len(items)
			if len(a) > 1 {
				from = int(argInt(a[1]))
				length -= from
			}
			if len(a) > 2 {
				length = int(argInt(a[2]))
			}
			if from < 0 || length < 0 || length > len(items)-from {
				panic(failed("the bits are out of bounds"))
			}
			n := int64(0)
			for _, v := range items[from : from+length] {
				n = n<<1 | argLong(v)&1
			}
			if n > math.MaxInt32 {
				return longOf(n)
			}
			return intOf(int32(n))
		}
	}
	return nil
}

func hexFunction(name word) builtin {
	// flags are bigEndian, prefix and length of intToHex and its like.
	flags := func(a []*Value) (bigEndian, prefix bool, length int) {
		bigEndian = len(a) < 2 || argBool(a[1])
		prefix = len(a) > 2 && argBool(a[2])
		if len(a) > 3 {
			if length = int(argInt(a[3])); length < 0 {
				length = 0
			}
		}
		return bigEndian, prefix, length
	}
	switch name {
	case wIntToHex, wLongToHex:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 4)
			bigEndian, prefix, length := flags(a)
			if name == wIntToHex {
				return r.text(numberToHex(int64(argInt(a[0])), bigEndian, prefix, length, 8))
			}
			return r.text(numberToHex(argLong(a[0]), bigEndian, prefix, length, 16))
		}
	case wIntLongToRadixString:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 4)
			radix := 10
			if len(a) > 1 {
				radix = int(argInt(a[1]))
			}
			bigEndian := len(a) < 3 || argBool(a[2])
			return r.text(radixText(argLong(a[0]), radix, bigEndian, len(a) > 3 && argBool(a[3])))
		}
	case wFloatToHex, wDoubleToHex:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 2)
			s := ""
			if name == wFloatToHex {
				n := math.Float32bits(float32(argDouble(a[0])))
				s = bytesToHex([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
			} else {
				n := math.Float64bits(argDouble(a[0]))
				b := make([]byte, 8)
				for i := range b {
					b[i] = byte(n >> uint(56-8*i))
				}
				s = bytesToHex(b)
			}
			if len(a) > 1 && !argBool(a[1]) {
				s = reverseHex(s)
			}
			return r.text("0x" + s)
		}
	case wHexToBytes:
		return func(r *run, a []*Value) *Value { need(a, 1, 1); return r.bytesList(hexToBytes(r, r.textOrNull(a[0]))) }
	case wHexToBytesArray:
		return func(r *run, a []*Value) *Value { need(a, 1, 1); return r.bytesArray(hexToBytes(r, r.textOrNull(a[0]))) }
	case wBtoa:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 1)
			return r.text(base64.StdEncoding.EncodeToString([]byte(r.argText(a[0]))))
		}
	case wAtob:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 1)
			return r.text(charset(decodeBase64(r.argText(a[0])), "UTF-8"))
		}
	case wBase64ToHex:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 1)
			return r.text(bytesToHex(decodeBase64(r.argText(a[0]))))
		}
	case wHexToBase64:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 1)
			return r.text(base64.StdEncoding.EncodeToString(hexToBytes(r, r.textOrNull(a[0]))))
		}
	case wBase64ToBytes:
		return func(r *run, a []*Value) *Value { need(a, 1, 1); return r.bytesArray(decodeBase64(r.argText(a[0]))) }
	case wBase64ToBytesList:
		return func(r *run, a []*Value) *Value { need(a, 1, 1); return r.bytesList(decodeBase64(r.argText(a[0]))) }
	case wBytesToBase64:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 1)
			return r.text(base64.StdEncoding.EncodeToString(r.bytesOf(a[0])))
		}
	}
	return nil
}

func valueFunction(name word) builtin {
	switch name {
	case wIsMap:
		return isKind(Map)
	case wIsList:
		return isKind(List)
	case wIsArray:
		return isKind(Array)
	case wIsSet:
		return isKind(Set)
	case wToFixed:
		return func(r *run, a []*Value) *Value {
			need(a, 2, 2)
			v := a[0]
			if v.k != Double {
				v = floatOf(float32(argDouble(v)))
			}
			digits := int(argInt(a[1]))
			r.step(4 + max(0, digits)>>3)
			return fixed(v, digits)
		}
	case wToInt:
		return func(r *run, a []*Value) *Value { need(a, 1, 1); return roundAway(a[0]) }
	case wIsNaN:
		return func(r *run, a []*Value) *Value { need(a, 1, 1); return boolOf(math.IsNaN(argDouble(a[0]))) }
	case wPadStart, wPadEnd:
		return func(r *run, a []*Value) *Value {
			need(a, 3, 3)
			s, with := r.argText(a[0]), r.argText(a[2])
			if units(with) != 1 {
				panic(failed("one character is needed to pad with"))
			}
			n := int(argInt(a[1])) - units(s)
			if n <= 0 {
				return textOf(s)
			}
			if n > maxMemory/len(with) {
				panic(limitError("a text beyond the memory of a script"))
			}
			r.use(n * len(with))
			if name == wPadStart {
				return r.text(strings.Repeat(with, n) + s)
			}
			return r.text(s + strings.Repeat(with, n))
		}
	case wNewSet:
		return func(r *run, _ []*Value) *Value { r.use(objectSize); return &Value{k: Set, o: &object{}} }
	case wToSet:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 1)
			r.use(objectSize)
			o := &object{}
			for _, v := range argList(a[0]) {
				r.addToSet(o, v)
			}
			return &Value{k: Set, o: o}
		}
	case wToFlatMap:
		return toFlatMap
	case wEncodeURI:
		return func(r *run, a []*Value) *Value { need(a, 1, 1); return r.text(encodeURI(r.argText(a[0]))) }
	case wDecodeURI:
		return func(r *run, a []*Value) *Value { need(a, 1, 1); return r.text(decodeURI(r.argText(a[0]))) }
	case wRaiseError:
		return func(r *run, a []*Value) *Value {
			need(a, 1, 2)
			s := r.javaText(a[0])
			if len(a) > 1 && a[1].k > Null {
				s += " for value " + r.javaText(a[1])
			}
			panic(failed(s))
		}
	case wIsInsideCircle:
		return func(r *run, a []*Value) *Value {
			need(a, 3, 3)
			return boolOf(insideCircle(argDouble(a[0]), argDouble(a[1]), r.argText(a[2])))
		}
	case wIsInsidePolygon:
		return func(r *run, a []*Value) *Value {
			need(a, 3, 3)
			return boolOf(insidePolygon(argDouble(a[0]), argDouble(a[1]), r.argText(a[2])))
		}
	}
	return nil
}

// wholeParser is parseInt and parseLong.
//
//go:noinline
func wholeParser(size int) builtin {
	return func(r *run, a []*Value) *Value {
		return parseWhole(r.textOrNull(a0(a)), r.radixOf(a), size, true)
	}
}

// radixOf is the second of at most two arguments; 0 if it is not given.
func (r *run) radixOf(a []*Value) int {
	need(a, 1, 2)
	if len(a) > 1 {
		return int(argInt(a[1]))
	}
	return 0
}

// a0 is the first argument.
//
//go:noinline
func a0(a []*Value) *Value {
	need(a, 1, 64)
	return a[0]
}

// hexParser is parseHexToX and its forms for either order of the bytes.
//
//go:noinline
func hexParser(bigEndian bool, parse func(s string, bigEndian bool) *Value) builtin {
	return func(r *run, a []*Value) *Value {
		need(a, 1, 2)
		big := bigEndian
		if len(a) > 1 {
			big = argBool(a[1])
		}
		return parse(r.textOrNull(a[0]), big)
	}
}

// fromBytes is parseBytesToX of at most so many bytes.
//
//go:noinline
func fromBytes(most int, of func(b []byte) *Value) builtin {
	return func(r *run, a []*Value) *Value { return of(r.part(a, most)) }
}

// isKind is isMap and its like.
//
//go:noinline
func isKind(k Kind) builtin {
	return ofOne(func(_ *run, v *Value) *Value { return boolOf(v.k == k) })
}
