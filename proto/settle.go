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
	const maxDecimals = 16
	d := kv.Double
	switch kv.Type {
	case KeyValueType_STRING_V:
		if bytes.IndexByte(kv.Str, 0) >= 0 {
			kv.Str = bytes.ReplaceAll(kv.Str, []byte{0}, nil)
		}
		return
	case KeyValueType_DOUBLE_V:
	default:
		return
	}
	text := func(s []byte) { kv.Type, kv.Str, kv.Double = KeyValueType_STRING_V, s, 0 }
	switch a := math.Abs(d); {
	case math.IsNaN(d) || math.IsInf(d, 0):
		text(bytes.Trim(appendDouble(nil, d), `"`))
		return
	case d == 0:
		kv.Double = 0 // without a sign
		return
	case a >= 1e7 && d == math.Trunc(d):
		plain := strconv.AppendFloat(nil, d, 'f', -1, 64)
		if v, err := strconv.ParseInt(string(plain), 10, 64); err == nil {
			kv.Type, kv.Long, kv.Double = KeyValueType_LONG_V, v, 0
		} else {
			text(plain)
		}
		return
	case a < 1e-3:
		e := strconv.AppendFloat(nil, d, 'e', -1, 64) // -1.25e-05
		plain := strconv.AppendFloat(nil, d, 'f', -1, 64)
		if !bytes.ContainsRune(e, '.') {
			plain = append(plain, '0') // Java writes one digit behind the point at least
		}
		if decimals(plain) > maxDecimals {
			text(plain)
		}
	default:
		if plain := strconv.AppendFloat(nil, d, 'f', -1, 64); decimals(plain) > maxDecimals {
			text(plain)
		}
	}
}

// decimals counts the digits behind the point.
func decimals(plain []byte) int {
	if i := bytes.IndexByte(plain, '.'); i >= 0 {
		return len(plain) - i - 1
	}
	return 0
}
