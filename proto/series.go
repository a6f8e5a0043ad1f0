package proto

import "google.golang.org/protobuf/encoding/protowire"

// Series tells which series of its entity a fragment of telemetry belongs to: a number made of its keys, in their order. Values that
// come together are one series. ok is false for everything that is no telemetry, and for what does not parse. It allocates nothing.
func Series(fragment []byte) (series uint64, ok bool) {
	h := uint64(fnvOffset)
	ok = eachField(fragment, protowire.Number(KindEntityData), func(entity []byte) {
		eachField(entity, 4, func(post []byte) { // postTelemetryMsg
			eachField(post, 1, func(list []byte) { // tsKvList
				eachField(list, 2, func(kv []byte) {
					eachField(kv, 1, func(key []byte) {
						for _, c := range key {
							h = (h ^ uint64(c)) * fnvPrime
						}
						h = (h ^ 0xff) * fnvPrime // no key holds this byte
					})
				})
			})
		})
	})
	return h, ok && h != fnvOffset
}

// The numbers of FNV-1a with 64 bits.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// eachField calls fn for each field of a message that has this number and holds bytes; false if the message does not parse.
func eachField(b []byte, number protowire.Number, fn func([]byte)) bool {
	for len(b) > 0 {
		n, t, size := protowire.ConsumeTag(b)
		if size < 0 {
			return false
		}
		b = b[size:]
		if n == number && t == protowire.BytesType {
			v, size := protowire.ConsumeBytes(b)
			if size < 0 {
				return false
			}
			fn(v)
			b = b[size:]
			continue
		}
		if size = protowire.ConsumeFieldValue(n, t, b); size < 0 {
			return false
		}
		b = b[size:]
	}
	return true
}
