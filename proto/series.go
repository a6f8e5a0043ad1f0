package proto

import "google.golang.org/protobuf/encoding/protowire"

// Series tells which series of its entity a fragment of telemetry belongs to: a number made of its keys, in their order. Values that
// come together are one series. ok is false for everything that is no telemetry, and for what does not parse. It allocates nothing.
func Series(fragment []byte) (series uint64, ok bool) {
	h := uint64(fnvOffset)
	ok = eachField(fragment, protowire.Number(KindEntityData), protowire.BytesType, func(entity []byte) {
		eachField(entity, 4, protowire.BytesType, func(post []byte) { // postTelemetryMsg
			eachField(post, 1, protowire.BytesType, func(list []byte) { // tsKvList
				eachField(list, 2, protowire.BytesType, func(kv []byte) {
					eachField(kv, 1, protowire.BytesType, func(key []byte) {
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

// eachField calls fn for each field of a message that has this number and type: with what it holds. It is false if the message does not parse.
func eachField(b []byte, number protowire.Number, typ protowire.Type, fn func([]byte)) bool {
	for len(b) > 0 {
		n, t, size := protowire.ConsumeTag(b)
		if size < 0 {
			return false
		}
		b = b[size:]
		if size = protowire.ConsumeFieldValue(n, t, b); size < 0 {
			return false
		}
		if n == number && t == typ {
			v := b[:size]
			if typ == protowire.BytesType {
				v, _ = protowire.ConsumeBytes(b)
			}
			fn(v)
		}
		b = b[size:]
	}
	return true
}
