package proto

import "google.golang.org/protobuf/encoding/protowire"

// An undated event is one that is accepted before the time is known. In the queue and inside its
// fragment it carries the time since the machine's start, written as a time of the years 2107 to
// 2109. The varint of such a time is as long as one of today, so that the true time later takes its
// bytes without moving anything else. Padding is no alternative, because Java's decoder gets a
// padded varint of ten bytes wrong. A time that a device gave itself is overwritten only if it
// equals the event's mark to the millisecond, which does not happen by accident.
const (
	undatedSpan = 1 << 36 // milliseconds: two years without a restart
	undatedBase = 1<<42 - undatedSpan
	leastDate   = 1 << 35 // the first time whose varint has six bytes, in 1971
)

// Undated is the mark that stands for the time uptime milliseconds after the machine's start.
func Undated(uptime int64) int64 { return undatedBase + min(max(uptime, 0), undatedSpan-1) }

// Uptime is the time since the machine's start, in milliseconds, that the mark t stands for; ok is
// false if t is an ordinary time.
func Uptime(t int64) (uptime int64, ok bool) {
	return t - undatedBase, t >= undatedBase && t < undatedBase+undatedSpan
}

// SetTime overwrites, in place, each time of a fragment that equals mark with to, and returns how
// many there were. With to equal to mark it only counts. A time outside the years 1971 to 2106 is
// replaced by the nearest one inside.
func SetTime(fragment []byte, mark, to int64) (n int) {
	if to != mark {
		to = min(max(to, leastDate), undatedBase-1)
	}
	set := func(v []byte) {
		if t, size := protowire.ConsumeVarint(v); size == 6 && int64(t) == mark {
			protowire.AppendVarint(v[:0], uint64(to))
			n++
		}
	}
	eachField(fragment, protowire.Number(KindEntityData), protowire.BytesType, func(entity []byte) {
		eachField(entity, 9, protowire.VarintType, set)               // attributeTs
		eachField(entity, 4, protowire.BytesType, func(post []byte) { // postTelemetryMsg
			eachField(post, 1, protowire.BytesType, func(list []byte) { // tsKvList
				eachField(list, 1, protowire.VarintType, set) // ts
			})
		})
	})
	return n
}
