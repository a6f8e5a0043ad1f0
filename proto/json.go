package proto

import (
	"math"
	"strconv"
)

// AppendJSONValue appends the value of kv as JSON, as ThingsBoard writes it to devices. JSON text
// is copied as it is.
func AppendJSONValue(dst []byte, kv *KV) []byte {
	switch kv.Type {
	case KeyValueType_BOOLEAN_V:
		return strconv.AppendBool(dst, kv.Bool)
	case KeyValueType_LONG_V:
		return strconv.AppendInt(dst, kv.Long, 10)
	case KeyValueType_DOUBLE_V:
		return appendDouble(dst, kv.Double)
	case KeyValueType_JSON_V:
		if len(kv.Str) == 0 {
			return append(dst, "null"...)
		}
		return append(dst, kv.Str...)
	default:
		return AppendJSONString(dst, kv.Str)
	}
}

// appendDouble writes the shortest text that reads back as the same double and is visibly no
// integer. JSON knows neither NaN nor Infinity: ThingsBoard writes both as strings
// (CONTRACT.md 5.3).
func appendDouble(dst []byte, d float64) []byte {
	if math.IsNaN(d) || math.IsInf(d, 0) {
		text := "NaN"
		if math.IsInf(d, 1) {
			text = "Infinity"
		} else if math.IsInf(d, -1) {
			text = "-Infinity"
		}
		return append(append(append(dst, '"'), text...), '"')
	}
	start := len(dst)
	format := byte('f')
	if a := math.Abs(d); a != 0 && (a >= 1e7 || a < 1e-3) {
		format = 'E'
	}
	dst = strconv.AppendFloat(dst, d, format, -1, 64)
	if format == 'f' {
		for _, c := range dst[start:] {
			if c == '.' {
				return dst
			}
		}
		return append(dst, '.', '0')
	}
	return dst
}
