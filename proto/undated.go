package proto

import "google.golang.org/protobuf/encoding/protowire"

// An event that is taken before the time is known has the time since the machine's start instead, in the queue and inside its fragment, as a number
// of the years 2107 to 2109. A varint of these is as long as one of today, so that the true time is written over it without moving anything, and stays
// as short as protobuf wants it: Java's decoder gets a padded varint of ten bytes wrong. A time that a device gave by itself is written over only if it
// is the same millisecond of those years that the event has: it would have to be made so.
const (
	undatedSpan = 1 << 36 // milliseconds, two years without a restart
	undatedBase = 1<<42 - undatedSpan
	leastDate   = 1 << 35 // of six bytes, in 1971
)

// Undated is what stands for a time uptime milliseconds after the start of a machine.
func Undated(uptime int64) int64 { return undatedBase + min(max(uptime, 0), undatedSpan-1) }

// Uptime is the time since the machine's start that stands in t; ok is false if t is an ordinary time.
func Uptime(t int64) (uptime int64, ok bool) {
	return t - undatedBase, t >= undatedBase && t < undatedBase+undatedSpan
}

// SetTime writes the time to over each time of a fragment that is mark, in place, and tells how many that are; with mark as to it only counts. to
// must be of the years 1972 to 2106; others become the nearest of them.
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
