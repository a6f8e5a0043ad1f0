package script

import (
	"math"
	"strings"
	"unicode"
)

const (
	inTBEL = 1 << TBEL
	inJS   = 1 << JavaScript
	inBoth = inTBEL | inJS
)

// native is a routine of Go; those of TBEL have bounds for their arguments.
type native struct {
	langs       uint8
	least, most int8
	name        string
	fn          any
}

var natives = [...]native{
	// texts
	{inBoth, 1, 1, "text.toUpperCase", upper},
	{inBoth, 1, 1, "text.toLowerCase", strings.ToLower},
	{inTBEL, 1, 1, "text.length", units},
	{inTBEL, 1, 1, "text.isBlank", blank},
	{inTBEL, 1, 1, "text.trim", trimJava},
	{inJS, 1, 1, "text.trim", strings.TrimSpace},
	{inTBEL, 1, 1, "$strip", strings.TrimSpace},
	{inTBEL, 2, 2, "text.contains", textContains},
	{inTBEL, 2, 2, "text.endsWith", strings.HasSuffix},
	{inJS, 2, 2, "$ends", strings.HasSuffix},
	{inBoth, 2, 2, "$starts", strings.HasPrefix},
	{inTBEL, 2, 2, "$fold", strings.EqualFold},
	{inTBEL, 2, 2, "text.compareTo", compareTexts},
	{inBoth, 2, 2, "$order", compareTexts},
	{inBoth, 2, 3, "text.indexOf", textIndex},
	{inBoth, 2, 3, "text.lastIndexOf", textLastIndex},
	{inTBEL, 3, 3, "text.replace", textReplace},
	{inTBEL, 2, 2, "text.matches", textMatches},
	{inBoth, 3, 3, "$cut", textCut},
	{inBoth, 2, 2, "$code", textCode},
	{inBoth, 2, 2, "$repeat", textRepeat},
	{inBoth, 2, 2, "$join", joinTexts},
	{inBoth, 3, 3, "$find", findPieces},
	{inBoth, 1, 1, "$names", groupNames},
	{inTBEL, 1, 1, "$hash", hashOf},
	{inTBEL, 1, 1, "$char", charText},
	{inJS, 1, 1, "$chars", charTexts},
	{inTBEL, 2, 2, "$digits", onlyDigits},
	{inTBEL, 1, 1, "$decimal", isDecimal},
	{inTBEL, 1, 1, "$hexadecimal", isHexadecimal},
	{inTBEL, 1, 1, "$letter", isLetter},
	{inBoth, 1, 1, ".encodeURI", encodeURI},
	{inBoth, 1, 1, ".decodeURI", decodeURI},
	// lists, sets and maps
	{inTBEL, 1, 1, "list.length", sizeOf},
	{inTBEL, 1, 1, "seq.size", sizeOf},
	{inTBEL, 1, 1, "map.size", sizeOf},
	{inTBEL, 2, 2, "seq.contains", listHas},
	{inTBEL, 2, 2, "$has", listHas},
	{inTBEL, 2, 3, "list.indexOf", listIndexOf},
	{inTBEL, 2, 2, "$index", listIndexOf},
	{inBoth, 1, 3, "list.slice", listSlice},
	{inTBEL, 1, 3, "list.subList", listSlice},
	{inTBEL, 1, 1, "seq.toList", listSlice},
	{inTBEL, 2, 2, "grow.push", listAdd},
	{inTBEL, 2, 3, "grow.add", listAdd},
	{inTBEL, 2, 3, "grow.addAll", listAddAll},
	{inJS, 3, 3, "$insert", listAddAll},
	{inTBEL, 1, 1, "grow.reverse", listReverse},
	{inJS, 1, 1, "list.reverse", listReverse},
	{inTBEL, 1, 2, "grow.sort", listSort},
	{inTBEL, 1, 2, "set.sort", listSort},
	{inJS, 1, 2, "list.sort", sortScript},
	{inTBEL, 1, 1, "grow.clear", clearAll},
	{inTBEL, 1, 1, "set.clear", clearAll},
	{inTBEL, 1, 1, "map.clear", clearAll},
	{inTBEL, 2, 2, "set.add", setAdd},
	{inBoth, 2, 2, "$take", listTake},
	{inBoth, 3, 3, "$clip", clipped},
	{inJS, 3, 3, "$clamp", clamped},
	{inTBEL, 2, 2, "$become", become},
	{inTBEL, 1, 1, "$freeze", freeze},
	{inTBEL, 1, 1, "$array", asArray},
	{inTBEL, 1, 1, "$set", asSet},
	{inTBEL, 2, 2, "$places", places},
	{inTBEL, 2, 2, "$same", sameValues},
	{inTBEL, 2, 2, "any.equals", sameValues},
	{inTBEL, 2, 2, "map.get", mapGet},
	{inTBEL, 3, 3, "map.put", mapPut},
	{inTBEL, 2, 2, "map.containsKey", mapHas},
	{inTBEL, 2, 2, "map.remove", mapRemove},
	{inTBEL, 1, 1, "map.keys", mapKeys},
	{inTBEL, 1, 1, "map.values", mapValues},
	{inTBEL, 1, 1, "map.keySet", mapKeySet},
	{inTBEL, 1, 1, "map.entrySet", mapEntrySet},
	{inJS, 2, 2, "$members", membersOf},
	// checks
	{inTBEL, 1, 1, "$text", checkText},
	{inTBEL, 1, 1, "$bool", checkBool},
	{inTBEL, 1, 1, "$list", checkList},
	{inTBEL, 1, 1, "$map", checkMap},
	{inTBEL, 1, 1, "$fail", fail},
	{inBoth, 1, 1, "$refuse", refuse},
	{inJS, 2, 2, "$error", makeError},
	// numbers and bytes
	{inTBEL, 1, 2, ".parseInt", parseInt},
	{inTBEL, 1, 2, ".parseLong", parseLong},
	{inTBEL, 4, 4, "$whole", parseBits},
	{inTBEL, 4, 4, "$floating", parseFloating},
	{inTBEL, 3, 3, "$doubling", parseDoubling},
	{inTBEL, 2, 2, ".toFixed", toFixed},
	{inTBEL, 1, 1, ".toInt", roundAway},
	{inTBEL, 1, 1, "$octets", octets},
	{inTBEL, 2, 2, "$float", floatOfBits},
	{inTBEL, 2, 2, "$ieeeBits", bitsOfFloat},
	{inTBEL, 1, 1, "$hex", hexOfBytes},
	{inTBEL, 1, 1, "$flip", reverseHex},
	{inTBEL, 1, 1, ".hexToBytes", hexToBytes},
	{inTBEL, 2, 2, "$decode", textOfBytes},
	{inTBEL, 2, 2, "$bytes", bytesOfText},
	{inTBEL, 1, 1, "$btoa", base64OfBytes},
	{inTBEL, 1, 1, "$atob", bytesOfBase64},
	{inTBEL, 2, 2, "$radix", radixUnsigned},
	{inBoth, 2, 2, "$signed", radixSigned},
	{inTBEL, 2, 2, "$halfUp", halfUpText},
	{inBoth, 3, 3, "$exponent", exponentText},
	{inJS, 2, 2, "$fixed", fixedText},
	{inJS, 2, 2, "$plain", plainDigits},
	{inJS, 1, 2, ".parseInt", parseIntScript},
	{inJS, 1, 1, ".parseFloat", parseFloatScript},
	{inJS, 0, 1, ".String", makeText},
	{inJS, 1, 2, ".RegExp", makeRegexp},
	{inJS, 1, 9, "function.call", callFunction},
	{inJS, 1, 3, "function.apply", applyFunction},
	// Math, JSON
	{inTBEL, 1, 1, "Math.abs", mathAbs},
	{inJS, 1, 1, "Math.abs", math.Abs},
	{inTBEL, 2, 2, "Math.max", mathMax},
	{inTBEL, 2, 2, "Math.min", mathMin},
	{inTBEL, 2, 2, "Math.floorDiv", floorDiv},
	{inTBEL, 2, 2, "Math.floorMod", floorMod},
	{inBoth, 0, 0, "Math.random", random},
	{inBoth, 1, 1, "Math.acos", preciseAcos},
	{inBoth, 1, 1, "Math.asin", preciseAsin},
	{inBoth, 1, 1, "Math.atan", preciseAtan},
	{inBoth, 2, 2, "Math.atan2", preciseAtan2},
	{inBoth, 1, 1, "Math.cbrt", preciseCbrt},
	{inBoth, 1, 1, "Math.ceil", math.Ceil},
	{inBoth, 1, 1, "Math.cos", preciseCos},
	{inBoth, 1, 1, "Math.cosh", preciseCosh},
	{inBoth, 1, 1, "Math.exp", preciseExp},
	{inBoth, 1, 1, "Math.expm1", preciseExpm1},
	{inBoth, 1, 1, "Math.floor", math.Floor},
	{inBoth, 2, 2, "Math.hypot", preciseHypot},
	{inBoth, 1, 1, "Math.log", preciseLog},
	{inBoth, 1, 1, "Math.log10", preciseLog10},
	{inBoth, 1, 1, "Math.log1p", preciseLog1p},
	{inJS, 1, 1, "Math.log2", math.Log2},
	{inBoth, 2, 2, "Math.pow", precisePow},
	{inTBEL, 1, 1, "Math.rint", math.RoundToEven},
	{inTBEL, 1, 1, "Math.signum", sign},
	{inJS, 1, 1, "Math.sign", sign},
	{inBoth, 1, 1, "Math.sin", preciseSin},
	{inBoth, 1, 1, "Math.sinh", preciseSinh},
	{inBoth, 1, 1, "Math.sqrt", math.Sqrt},
	{inBoth, 1, 1, "Math.tan", preciseTan},
	{inBoth, 1, 1, "Math.tanh", preciseTanh},
	{inJS, 1, 1, "Math.trunc", math.Trunc},
	{inJS, 1, 1, "Math.fround", fround},
	{inTBEL, 1, 1, "JSON.stringify", stringify},
	{inJS, 1, 3, "JSON.stringify", stringifyScript},
	{inBoth, 1, 2, "JSON.parse", parseJSON},
	// dates
	{inTBEL, 0, 0, "$now", nowDate},
	{inJS, 0, 0, "Date.now", nowMillis},
	{inTBEL, 2, 2, "$date", makeDate},
	{inJS, 1, 1, "$date", makeDateMillis},
	{inTBEL, 1, 1, "$get", dateParts},
	{inJS, 1, 1, "$get", dateMillis},
	{inTBEL, 3, 3, "$put", putDate},
	{inJS, 2, 2, "$put", putDateMillis},
	{inBoth, 2, 2, "$fields", dateFields},
	{inBoth, 2, 2, "$unix", unixOf},
	{inBoth, 4, 4, "$layout", layOutDate},
	{inTBEL, 1, 1, "$zone", checkZone},
	{inTBEL, 3, 3, "$zoneName", zoneName},
	{inTBEL, 1, 1, "$options", dateOptions},
}

// constants are the numbers of classes.
var constants = [...]struct {
	langs uint8
	kind  Kind
	name  string
	value float64
}{
	{inBoth, Double, "Math.PI", math.Pi},
	{inBoth, Double, "Math.E", math.E},
	{inJS, Double, "Math.LN2", math.Ln2},
	{inJS, Double, "Math.LN10", math.Ln10},
	{inJS, Double, "Math.LOG2E", math.Log2E},
	{inJS, Double, "Math.LOG10E", math.Log10E},
	{inJS, Double, "Math.SQRT2", math.Sqrt2},
	{inJS, Double, "Number.MAX_VALUE", math.MaxFloat64},
	{inJS, Double, "Number.MIN_VALUE", math.SmallestNonzeroFloat64},
	{inJS, Double, "Number.MAX_SAFE_INTEGER", 1<<53 - 1},
	{inJS, Double, "Number.MIN_SAFE_INTEGER", -(1<<53 - 1)},
	{inJS, Double, "Number.EPSILON", 0x1p-52},
	{inTBEL, Int, "Integer.MAX_VALUE", math.MaxInt32},
	{inTBEL, Int, "Integer.MIN_VALUE", math.MinInt32},
	{inTBEL, Long, "Long.MAX_VALUE", math.MaxInt64},
	{inTBEL, Long, "Long.MIN_VALUE", math.MinInt64},
	{inTBEL, Double, "Double.MAX_VALUE", math.MaxFloat64},
	{inTBEL, Double, "Double.MIN_VALUE", math.SmallestNonzeroFloat64},
}

// constantOf is Class.name; nil if there is none.
func constantOf(lang Language, name string) *Value {
	for i := range constants {
		if c := &constants[i]; c.langs&(1<<lang) != 0 && c.name == name {
			return narrow(c.value, c.kind)
		}
	}
	if _, rest, _ := strings.Cut(name, "."); hasPrefix(name, "Number") && lang == JavaScript || hasPrefix(name, "Double") && lang == TBEL {
		switch rest {
		case "NaN":
			return doubleOf(math.NaN())
		case "POSITIVE_INFINITY":
			return doubleOf(math.Inf(1))
		case "NEGATIVE_INFINITY":
			return doubleOf(math.Inf(-1))
		}
	}
	return nil
}

func isLetter(s string) bool {
	for _, c := range s {
		return unicode.IsLetter(c)
	}
	return false
}
