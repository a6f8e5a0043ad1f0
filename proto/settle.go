package proto

import (
	"bytes"
	"math"
	"strconv"
)

// Settle makes of a value that was sent up what the server stores of it: the server writes it as JSON, as Java does, and reads that again (device API
// 1.3, 1.4, wire contract 5.3). NUL is cut out of texts. Doubles come out differently: written with an exponent, from 10,000,000 on and below 0.001, a whole one becomes a
// long, beyond 64 bits a text; one of more than 16 decimals becomes a text too. What is read here is to equal what is read there.
func (kv *KV) Settle() {
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
			plain = append(plain, '0') // Java writes one digit behind the point of 1.0E-5 at least
		}
		point := bytes.IndexByte(plain, '.')
		asText = point >= 0 && len(plain)-point-1 > maxDecimals
	}
	if asText {
		kv.Type, kv.Str, kv.Double = KeyValueType_STRING_V, plain, 0
	}
}
