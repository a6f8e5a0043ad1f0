package proto

import "google.golang.org/protobuf/encoding/protowire"

// Series identifies the series that a fragment of telemetry belongs to, among those of its entity:
// the number is a hash of the keys, in their order. Values that come together are one series. ok is
// false for a fragment that is no telemetry or does not parse. Series allocates nothing.
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

// Offset basis and prime of FNV-1a with 64 bits.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// eachField calls fn with the content of each field of a message that has this number and type. It
// returns false if the message does not parse.
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
