package wal

import "encoding/binary"

// counters are cumulative and go with a committed position: what became of the events up to it.
type counters struct {
	deployed, dropped, dead, damaged uint64
}

func (c counters) sum() uint64 { return c.deployed + c.dropped + c.dead + c.damaged }

// control is the payload of a control frame and of a slot of the committed file: where the queue
// stands.
type control struct {
	seq       uint64 // events accepted before this frame
	committed Position
	counters  counters
	ahead     uint64   // events that thinning has removed behind the committed position; they count as dropped
	thin      thinning // the replacement of segments that may be under way
	gap       Gap      // dropped, and not yet reported by an event
	kept      uint64   // offsets in front of the committed one that Queue.Keep has asked for
}

// controlFields is how many numbers a control holds, each a uvarint: most of them are small or
// zero. Only the first requiredFields of them are always there.
const (
	controlFields  = 16
	requiredFields = 15
	// maxControlSize is what older versions wrote at most, and so the size of a slot stays. The
	// numbers fit, because valid bounds most of them by maxOffset.
	maxControlSize = requiredFields * binary.MaxVarintLen64
)

func (c *control) fields() [controlFields]uint64 {
	return [controlFields]uint64{
		c.seq, c.committed.Offset, c.committed.Seq,
		c.counters.deployed, c.counters.dropped, c.counters.dead, c.counters.damaged,
		c.ahead, c.thin.into, c.thin.from, c.thin.bytes, uint64(c.thin.level)<<8 | uint64(c.gap.Why),
		c.gap.Events, zigzag(c.gap.First), zigzag(c.gap.Last), c.kept,
	}
}

func (c *control) append(dst []byte) []byte {
	fields := c.fields()
	written := fields[:]
	if c.kept == 0 {
		written = fields[:requiredFields]
	}
	for _, v := range written {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}

// parseControl takes zeros behind the numbers for padding (pad.go).
func parseControl(b []byte) (c control, ok bool) {
	var v [controlFields]uint64
	for i := range v {
		n := 0
		if i >= requiredFields && len(b) == 0 {
			break
		}
		if v[i], n = binary.Uvarint(b); n <= 0 {
			return c, false
		}
		b = b[n:]
	}
	c = control{
		seq: v[0], committed: Position{Offset: v[1], Seq: v[2]}, counters: counters{v[3], v[4], v[5], v[6]},
		ahead: v[7], thin: thinning{into: v[8], from: v[9], bytes: v[10], level: uint8(v[11] >> 8)},
		gap: Gap{Events: v[12], First: unzigzag(v[13]), Last: unzigzag(v[14]), Why: Why(v[11])}, kept: v[15],
	}
	return c, zeros(b) && v[11] <= 0xffff && c.valid()
}

// valid rejects what cannot be, so that sums never overflow.
func (c *control) valid() bool {
	for _, v := range [...]uint64{
		c.seq, c.committed.Offset, c.committed.Seq,
		c.counters.deployed, c.counters.dropped, c.counters.dead, c.counters.damaged,
		c.ahead, c.thin.into, c.thin.from, c.gap.Events,
	} {
		if v > maxOffset {
			return false
		}
	}
	return c.committed.Seq <= c.seq && c.counters.sum() == c.committed.Seq && c.ahead <= c.seq-c.committed.Seq &&
		c.kept <= c.committed.Offset
}

// newer reports whether c was written later than d. The committed position, the events counted up
// to it, the number of the dropped and that of the accepted only grow.
func (c *control) newer(d *control) bool {
	if c.committed.Offset != d.committed.Offset {
		return c.committed.Offset > d.committed.Offset
	}
	if c.committed.Seq != d.committed.Seq { // more is known to be missing in front of it
		return c.committed.Seq > d.committed.Seq
	}
	if dropped, before := c.counters.dropped+c.ahead, d.counters.dropped+d.ahead; dropped != before {
		return dropped > before
	}
	return c.seq > d.seq // a gap was reported
}

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }
