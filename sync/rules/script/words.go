package script

// word is a name that one of the languages knows: of a method, a function, a class or a member.
// Where names are told apart they are numbers: comparing texts takes a router as much code as all
// the rest.
type word uint16

// The words, in the order of their texts in wordTexts.
const (
	wNone word = iota // no word of a language
	wArray
	wArrayfrom
	wArrayisArray
	wArrayof
	wArrayList
	wBoolean
	wBooleanparseBoolean
	wBooleanvalueOf
	wCharacter
	wCharacterisDigit
	wCharacterisLetter
	wCollection
	wDate
	wDouble
	wDoubleMAXVALUE
	wDoubleMINVALUE
	wDoubleNEGATIVEINFINITY
	wDoubleNaN
	wDoublePOSITIVEINFINITY
	wDoubleisNaN
	wDoubleparseDouble
	wDoubletoString
	wDoublevalueOf
	_ // E
	_ // EPSILON
	wError
	wExecutionArrayList
	wExecutionHashMap
	wFloat
	wFloatisNaN
	wFloatparseFloat
	wFloattoString
	wFloatvalueOf
	wHashMap
	wInteger
	wIntegerMAXVALUE
	wIntegerMINVALUE
	wIntegerparseInt
	wIntegertoBinaryString
	wIntegertoHexString
	wIntegertoString
	wIntegervalueOf
	wJSON
	_ // LN10
	_ // LN2
	_ // LOG10E
	_ // LOG2E
	wLinkedHashMap
	wList
	wLong
	wLongMAXVALUE
	wLongMINVALUE
	wLongparseLong
	wLongtoString
	wLongvalueOf
	_ // MAX_SAFE_INTEGER
	_ // MAX_VALUE
	_ // MIN_SAFE_INTEGER
	_ // MIN_VALUE
	wMap
	wMath
	wMathE
	wMathLN10
	wMathLN2
	wMathLOG10E
	wMathLOG2E
	wMathPI
	wMathSQRT2
	_ // NEGATIVE_INFINITY
	_ // NaN
	wNumber
	wNumberEPSILON
	wNumberMAXSAFEINTEGER
	wNumberMAXVALUE
	wNumberMINSAFEINTEGER
	wNumberMINVALUE
	wNumberNEGATIVEINFINITY
	wNumberNaN
	wNumberPOSITIVEINFINITY
	wNumberisFinite
	wNumberisInteger
	wNumberisNaN
	wNumberisSafeInteger
	wNumberparseFloat
	wNumberparseInt
	wObject
	_ // PI
	_ // POSITIVE_INFINITY
	wRangeError
	wReferenceError
	wRegExp
	_ // SQRT2
	wSet
	wString
	wStringformat
	wStringfromCharCode
	wStringjoin
	wStringvalueOf
	wSyntaxError
	wTypeError
	wUTC
	wAbs
	wAcos
	wAcosh
	wAdd
	wAddAll
	wAddDays
	wAddHours
	wAddMinutes
	wAddMonths
	wAddNanos
	wAddSeconds
	wAddWeeks
	wAddYears
	wApply
	wAsin
	wAsinh
	wAssign
	wAt
	wAtan
	wAtan2
	wAtanh
	wAtob
	wBase64ToBytes
	wBase64ToBytesList
	wBase64ToHex
	wBind
	wBlank
	w_boolean
	wBooleanValue
	wBtoa
	wBytes
	wBytesToBase64
	wBytesToHex
	wBytesToString
	wCall
	wCbrt
	wCeil
	wChar
	wCharAt
	wCharCodeAt
	wClear
	wClone
	wCodePointAt
	wCompareTo
	wCompareToIgnoreCase
	wConcat
	wContains
	wContainsAll
	wContainsKey
	wContainsValue
	wCos
	wCosh
	wDecodeToJson
	wDecodeToString
	wDecodeURI
	wDecodeURIComponent
	w_double
	wDoubleToHex
	wDoubleValue
	wEmpty
	wEncodeURI
	wEncodeURIComponent
	wEndsWith
	wEntries
	wEntrySet
	wEquals
	wEqualsIgnoreCase
	wEvery
	wExec
	wExp
	wExpm1
	wFill
	wFilter
	wFind
	wFindIndex
	wFlags
	wFlat
	wFlatMap
	w_float
	wFloatToHex
	wFloatValue
	wFloor
	wFloorDiv
	wFloorMod
	wForEach
	_ // format
	wFreeze
	_ // from
	_ // fromCharCode
	wFround
	wGet
	wGetBytes
	wGetDate
	wGetDay
	wGetFullYear
	wGetHours
	wGetKey
	wGetMilliseconds
	wGetMinutes
	wGetMonth
	wGetOrDefault
	wGetSeconds
	wGetTime
	wGetTimezoneOffset
	_ // getUTCDate
	_ // getUTCDay
	_ // getUTCFullYear
	_ // getUTCHours
	_ // getUTCMilliseconds
	_ // getUTCMinutes
	_ // getUTCMonth
	_ // getUTCSeconds
	wGetValue
	wGlobal
	wHasOwnProperty
	wHashCode
	wHexToBase64
	wHexToBytes
	wHexToBytesArray
	wHypot
	wIncludes
	wIndexOf
	wInt
	wIntLongToRadixString
	wIntToHex
	wIntValue
	wIntern
	wInvert
	wIsArray
	wIsBinary
	wIsBlank
	wIsDecimal
	_ // isDigit
	wIsEmpty
	wIsFinite
	wIsHexadecimal
	wIsInsideCircle
	wIsInsidePolygon
	wIsInteger
	_ // isLetter
	wIsList
	wIsMap
	wIsNaN
	wIsOctal
	_ // isSafeInteger
	wIsSet
	wJavalangString
	wJavautilArrayList
	wJoin
	wKey
	wKeySet
	wKeys
	wLastIndex
	wLastIndexOf
	wLength
	wLocaleCompare
	wLog
	wLog10
	wLog1p
	wLog2
	w_long
	wLongToHex
	wLongValue
	w_map
	wMatch
	wMatchAll
	wMatches
	wMax
	wMessage
	wMin
	wName
	wNewSet
	wNormalize
	wNow
	_ // of
	wPadEnd
	wPadStart
	wParse
	wParseBigEndianHexToDouble
	wParseBigEndianHexToFloat
	wParseBigEndianHexToInt
	wParseBigEndianHexToLong
	wParseBinaryArrayToInt
	_ // parseBoolean
	wParseByteToBinaryArray
	wParseBytesIntToFloat
	wParseBytesLongToDouble
	wParseBytesToBinaryArray
	wParseBytesToDouble
	wParseBytesToFloat
	wParseBytesToInt
	wParseBytesToLong
	wParseDouble
	wParseFloat
	wParseHexIntLongToFloat
	wParseHexToDouble
	wParseHexToFloat
	wParseHexToInt
	wParseHexToLong
	wParseInt
	wParseLittleEndianHexToDouble
	wParseLittleEndianHexToFloat
	wParseLittleEndianHexToInt
	wParseLittleEndianHexToLong
	wParseLong
	wParseLongToBinaryArray
	wParseSecond
	wParseSecondMilli
	wPop
	wPow
	wPrintUnsignedBytes
	wPropertyIsEnumerable
	wPrototype
	wPush
	wPut
	wPutAll
	wPutIfAbsent
	wRaiseError
	wRandom
	wReduce
	wReduceRight
	wRemove
	wRemoveAll
	wRepeat
	wReplace
	wReplaceAll
	wReplaceFirst
	wRetainAll
	wReverse
	wRint
	wRound
	wSearch
	w_set
	wSetDate
	wSetFullYear
	wSetHours
	wSetMilliseconds
	wSetMinutes
	wSetMonth
	wSetSeconds
	wSetTime
	_ // setUTCDate
	_ // setUTCDay
	_ // setUTCFullYear
	_ // setUTCHours
	_ // setUTCMilliseconds
	_ // setUTCMinutes
	_ // setUTCMonth
	_ // setUTCSeconds
	wSetValue
	wShift
	wSign
	wSignum
	wSin
	wSinh
	wSize
	wSlice
	wSome
	wSort
	wSortByKey
	wSortByValue
	wSource
	wSplice
	wSplit
	wSqrt
	wStartsWith
	wStringToBytes
	wStringify
	wStrip
	wStripLeading
	wStripTrailing
	wSubList
	wSubstr
	wSubstring
	wTan
	wTanh
	wTest
	_ // toBinaryString
	wToCharArray
	wToDateString
	wToDegrees
	wToExponential
	wToFixed
	wToFlatMap
	wToGMTString
	_ // toHexString
	wToISOString
	wToInt
	wToInverted
	wToJSON
	wToList
	wToLocaleDateString
	wToLocaleLowerCase
	wToLocaleString
	wToLocaleTimeString
	wToLocaleUpperCase
	wToLowerCase
	wToPrecision
	wToRadians
	wToReversed
	wToSet
	wToSorted
	wToSortedByKey
	wToSortedByValue
	wToSpliced
	wToString
	wToTimeString
	wToUTCString
	wToUnmodifiable
	wToUpperCase
	wTrim
	wTrimEnd
	wTrimLeft
	wTrimRight
	wTrimStart
	wTrunc
	wUnshift
	wValue
	wValueOf
	wValues
	wWith
)

// wordTexts are the texts of the words, sorted.
var wordTexts = [...]string{
	"",
	"Array", "Array.from", "Array.isArray", "Array.of", "ArrayList", "Boolean", "Boolean.parseBoolean",
	"Boolean.valueOf", "Character", "Character.isDigit", "Character.isLetter", "Collection", "Date", "Double",
	"Double.MAX_VALUE", "Double.MIN_VALUE", "Double.NEGATIVE_INFINITY", "Double.NaN",
	"Double.POSITIVE_INFINITY", "Double.isNaN", "Double.parseDouble", "Double.toString", "Double.valueOf", "E",
	"EPSILON", "Error", "ExecutionArrayList", "ExecutionHashMap", "Float", "Float.isNaN", "Float.parseFloat",
	"Float.toString", "Float.valueOf", "HashMap", "Integer", "Integer.MAX_VALUE", "Integer.MIN_VALUE",
	"Integer.parseInt", "Integer.toBinaryString", "Integer.toHexString", "Integer.toString", "Integer.valueOf",
	"JSON", "LN10", "LN2", "LOG10E", "LOG2E", "LinkedHashMap", "List", "Long", "Long.MAX_VALUE",
	"Long.MIN_VALUE", "Long.parseLong", "Long.toString", "Long.valueOf", "MAX_SAFE_INTEGER", "MAX_VALUE",
	"MIN_SAFE_INTEGER", "MIN_VALUE", "Map", "Math", "Math.E", "Math.LN10", "Math.LN2", "Math.LOG10E",
	"Math.LOG2E", "Math.PI", "Math.SQRT2", "NEGATIVE_INFINITY", "NaN", "Number", "Number.EPSILON",
	"Number.MAX_SAFE_INTEGER", "Number.MAX_VALUE", "Number.MIN_SAFE_INTEGER", "Number.MIN_VALUE",
	"Number.NEGATIVE_INFINITY", "Number.NaN", "Number.POSITIVE_INFINITY", "Number.isFinite", "Number.isInteger",
	"Number.isNaN", "Number.isSafeInteger", "Number.parseFloat", "Number.parseInt", "Object", "PI",
	"POSITIVE_INFINITY", "RangeError", "ReferenceError", "RegExp", "SQRT2", "Set", "String", "String.format",
	"String.fromCharCode", "String.join", "String.valueOf", "SyntaxError", "TypeError", "UTC", "abs", "acos",
	"acosh", "add", "addAll", "addDays", "addHours", "addMinutes", "addMonths", "addNanos", "addSeconds",
	"addWeeks", "addYears", "apply", "asin", "asinh", "assign", "at", "atan", "atan2", "atanh", "atob",
	"base64ToBytes", "base64ToBytesList", "base64ToHex", "bind", "blank", "boolean", "booleanValue", "btoa",
	"bytes", "bytesToBase64", "bytesToHex", "bytesToString", "call", "cbrt", "ceil", "char", "charAt",
	"charCodeAt", "clear", "clone", "codePointAt", "compareTo", "compareToIgnoreCase", "concat", "contains",
	"containsAll", "containsKey", "containsValue", "cos", "cosh", "decodeToJson", "decodeToString", "decodeURI",
	"decodeURIComponent", "double", "doubleToHex", "doubleValue", "empty", "encodeURI", "encodeURIComponent",
	"endsWith", "entries", "entrySet", "equals", "equalsIgnoreCase", "every", "exec", "exp", "expm1", "fill",
	"filter", "find", "findIndex", "flags", "flat", "flatMap", "float", "floatToHex", "floatValue", "floor",
	"floorDiv", "floorMod", "forEach", "format", "freeze", "from", "fromCharCode", "fround", "get", "getBytes",
	"getDate", "getDay", "getFullYear", "getHours", "getKey", "getMilliseconds", "getMinutes", "getMonth",
	"getOrDefault", "getSeconds", "getTime", "getTimezoneOffset", "getUTCDate", "getUTCDay", "getUTCFullYear",
	"getUTCHours", "getUTCMilliseconds", "getUTCMinutes", "getUTCMonth", "getUTCSeconds", "getValue", "global",
	"hasOwnProperty", "hashCode", "hexToBase64", "hexToBytes", "hexToBytesArray", "hypot", "includes",
	"indexOf", "int", "intLongToRadixString", "intToHex", "intValue", "intern", "invert", "isArray", "isBinary",
	"isBlank", "isDecimal", "isDigit", "isEmpty", "isFinite", "isHexadecimal", "isInsideCircle",
	"isInsidePolygon", "isInteger", "isLetter", "isList", "isMap", "isNaN", "isOctal", "isSafeInteger", "isSet",
	"java.lang.String", "java.util.ArrayList", "join", "key", "keySet", "keys", "lastIndex", "lastIndexOf",
	"length", "localeCompare", "log", "log10", "log1p", "log2", "long", "longToHex", "longValue", "map",
	"match", "matchAll", "matches", "max", "message", "min", "name", "newSet", "normalize", "now", "of",
	"padEnd", "padStart", "parse", "parseBigEndianHexToDouble", "parseBigEndianHexToFloat",
	"parseBigEndianHexToInt", "parseBigEndianHexToLong", "parseBinaryArrayToInt", "parseBoolean",
	"parseByteToBinaryArray", "parseBytesIntToFloat", "parseBytesLongToDouble", "parseBytesToBinaryArray",
	"parseBytesToDouble", "parseBytesToFloat", "parseBytesToInt", "parseBytesToLong", "parseDouble",
	"parseFloat", "parseHexIntLongToFloat", "parseHexToDouble", "parseHexToFloat", "parseHexToInt",
	"parseHexToLong", "parseInt", "parseLittleEndianHexToDouble", "parseLittleEndianHexToFloat",
	"parseLittleEndianHexToInt", "parseLittleEndianHexToLong", "parseLong", "parseLongToBinaryArray",
	"parseSecond", "parseSecondMilli", "pop", "pow", "printUnsignedBytes", "propertyIsEnumerable", "prototype",
	"push", "put", "putAll", "putIfAbsent", "raiseError", "random", "reduce", "reduceRight", "remove",
	"removeAll", "repeat", "replace", "replaceAll", "replaceFirst", "retainAll", "reverse", "rint", "round",
	"search", "set", "setDate", "setFullYear", "setHours", "setMilliseconds", "setMinutes", "setMonth",
	"setSeconds", "setTime", "setUTCDate", "setUTCDay", "setUTCFullYear", "setUTCHours", "setUTCMilliseconds",
	"setUTCMinutes", "setUTCMonth", "setUTCSeconds", "setValue", "shift", "sign", "signum", "sin", "sinh",
	"size", "slice", "some", "sort", "sortByKey", "sortByValue", "source", "splice", "split", "sqrt",
	"startsWith", "stringToBytes", "stringify", "strip", "stripLeading", "stripTrailing", "subList", "substr",
	"substring", "tan", "tanh", "test", "toBinaryString", "toCharArray", "toDateString", "toDegrees",
	"toExponential", "toFixed", "toFlatMap", "toGMTString", "toHexString", "toISOString", "toInt", "toInverted",
	"toJSON", "toList", "toLocaleDateString", "toLocaleLowerCase", "toLocaleString", "toLocaleTimeString",
	"toLocaleUpperCase", "toLowerCase", "toPrecision", "toRadians", "toReversed", "toSet", "toSorted",
	"toSortedByKey", "toSortedByValue", "toSpliced", "toString", "toTimeString", "toUTCString",
	"toUnmodifiable", "toUpperCase", "trim", "trimEnd", "trimLeft", "trimRight", "trimStart", "trunc",
	"unshift", "value", "valueOf", "values", "with",
}

// String is the text of a word.
//
//go:noinline
func (w word) String() string { return wordTexts[w] }

// wordOf finds the word of a text; wNone if no language knows the text.
//
//go:noinline
func wordOf(s string) word {
	low, high := 1, len(wordTexts)
	for low < high {
		mid := (low + high) / 2
		switch t := wordTexts[mid]; {
		case t == s:
			return word(mid)
		case t < s:
			low = mid + 1
		default:
			high = mid
		}
	}
	return wNone
}
