package proto

import (
	"bytes"
	"math"
	"strconv"
)

// ConvertToStored turns a value that was sent to the server into the value that the server stores,
// so that both ends show the same. The server writes the value as JSON, as Java does, and parses
// that text again (API.md 1.3, 1.4, CONTRACT.md 5.3), which changes texts and doubles:
//
//   - NUL is cut out of a text.
//   - A whole double of at least 10,000,000, which Java writes with an exponent, becomes a long;
//     beyond 64 bits it becomes a text.
//   - A double with more than 16 decimals becomes a text, and so do NaN and the infinities.
func (kv *KV) ConvertToStored() {
	if kv.Type == KeyValueType_STRING_V {
		kv.Str = bytes.ReplaceAll(kv.Str, []byte{0}, nil)
	}
	if kv.Type != KeyValueType_DOUBLE_V {
		return
	}
	const maxDecimals = 16
	d := kv.Double
	a := math.Abs(d)
	plain := strconv.AppendFloat(nil, d, 'f', -1, 64)
	asText := false
	switch {
	case math.IsNaN(d) || math.IsInf(d, 0):
		plain, asText = bytes.Trim(appendDouble(nil, d), `"`), true
	case d == 0:
		kv.Double = 0 // without a sign
	case a >= 1e7 && d == math.Trunc(d):
		v, err := strconv.ParseInt(string(plain), 10, 64)
		if asText = err != nil; !asText {
			kv.Type, kv.Long, kv.Double = KeyValueType_LONG_V, v, 0
		}
	default:
		if a < 1e-3 && len(bytes.TrimLeft(plain, "-0.")) == 1 {
			plain = append(plain, '0') // Java writes at least one digit behind the point: 1.0E-5
		}
		point := bytes.IndexByte(plain, '.')
		asText = point >= 0 && len(plain)-point-1 > maxDecimals
	}
	if asText {
		kv.Type, kv.Str, kv.Double = KeyValueType_STRING_V, plain, 0
	}
}
