//go:build linux

package main

import (
	"fmt"
	"strconv"
	"sync"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// firstTime is the timestamp of reading 0 of each stream; reading n is n ms later.
const firstTime = 1767225600000

// stream is the sequence of readings of one device, each with values that follow from its number,
// so that the cloud's rows can be compared without keeping them. Safe for concurrent use.
type stream struct {
	device string // its name in the cloud

	mu    sync.Mutex
	acked []bool // by the number of the reading; its length is how many were sent
	base  int    // what stands before it was compared, and is gone with its device
}

// take begins k readings and returns the number of the first.
func (s *stream) take(k int) (from int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from = len(s.acked)
	s.acked = append(s.acked, make([]bool, k)...)
	return from
}

// ack notes that the agent has acknowledged k readings.
func (s *stream) ack(from, k int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := from; n < from+k; n++ {
		s.acked[n] = true
	}
}

// renew begins anew with a new device of the same name: what was sent so far is compared, and gone
// with the old one.
func (s *stream) renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base = len(s.acked)
}

// counts returns how many readings were sent and how many of them were acknowledged.
func (s *stream) counts() (sent, acked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.acked {
		if a {
			acked++
		}
	}
	return len(s.acked), acked
}

// keys are those of a reading, each with whether the reading of that number has it and what the
// cloud must hold then.
var keys = []struct {
	name string
	has  func(n int) bool
	want func(device string, n int) cloudtest.Value
}{
	{"n", func(int) bool { return true }, func(_ string, n int) cloudtest.Value {
		return cloudtest.Value{Type: proto.KeyValueType_LONG_V, Long: int64(n)}
	}},
	{"half", func(n int) bool { return n%2 == 0 }, func(_ string, n int) cloudtest.Value {
		return cloudtest.Value{Type: proto.KeyValueType_DOUBLE_V, Dbl: float64(n) + 0.5}
	}},
	{"text", func(n int) bool { return n%10 == 0 }, func(device string, n int) cloudtest.Value {
		return cloudtest.Value{Type: proto.KeyValueType_STRING_V, Str: device + " #" + strconv.Itoa(n)}
	}},
}

// appendReading appends reading n as a timestamped object (API.md 1.1).
func (s *stream) appendReading(b []byte, n int) []byte {
	b = fmt.Appendf(b, `{"ts":%d,"values":{"n":%d`, firstTime+int64(n), n)
	if keys[1].has(n) {
		b = fmt.Appendf(b, `,"half":%d.5`, n)
	}
	if keys[2].has(n) {
		b = fmt.Appendf(b, `,"text":%q`, s.device+" #"+strconv.Itoa(n))
	}
	return append(b, "}}"...)
}

// appendReadings appends k readings as an array, or one as an object unless array is set.
func (s *stream) appendReadings(b []byte, from, k int, array bool) []byte {
	if k == 1 && !array {
		return s.appendReading(b, from)
	}
	for n := from; n < from+k; n++ {
		b = append(b, "[,"[min(n-from, 1)])
		b = s.appendReading(b, n)
	}
	return append(b, ']')
}

// verdict is what the comparison of streams with the cloud has found.
type verdict struct {
	acked, rows, unacked, duplicates int // unacked: stored though the device never heard so
	problems                         []string
}

func (v *verdict) complain(format string, args ...any) {
	v.problems = append(v.problems, fmt.Sprintf(format, args...))
}

// compare holds the rows of the device with that id against what was acknowledged: each value must
// be there and equal, and nothing that was never sent.
func (s *stream) compare(series func(id proto.UUID, key string) []cloudtest.Point, id proto.UUID, v *verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range keys {
		found := make([]bool, len(s.acked))
		for _, p := range series(id, k.name) {
			n := int(p.TS - firstTime)
			switch {
			case n < s.base || n >= len(s.acked) || !k.has(n):
				v.complain("%s: the cloud has %s at %d, which was never sent", s.device, k.name, p.TS)
				continue
			case p.Value != k.want(s.device, n):
				v.complain("%s: %s of reading %d is %+v in the cloud", s.device, k.name, n, p.Value)
			}
			found[n] = true
			v.rows++
			v.duplicates += p.Writes - 1
			if !s.acked[n] {
				v.unacked++
			}
		}
		missing, first := 0, 0
		for n, acked := range s.acked {
			if acked && n >= s.base && k.has(n) {
				v.acked++
				if !found[n] {
					if missing == 0 {
						first = n
					}
					missing++
				}
			}
		}
		if missing > 0 {
			v.complain("%s: %d acknowledged values of %s are not in the cloud, the first is that of reading %d of %d",
				s.device, missing, k.name, first, len(s.acked))
		}
	}
}

// counter is an attribute that its device sets to 1, 2, 3 …, each value once the one before was
// acknowledged. Safe for concurrent use.
type counter struct {
	device string
	mu     sync.Mutex
	sent   int
	acked  int
	base   int // acknowledged of a device that is gone
}

// renew begins anew with a new device of the same name.
func (c *counter) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base = c.acked
}

func (c *counter) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	return c.sent
}

func (c *counter) ack(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acked = max(c.acked, n)
}

// busy reports whether a value was sent and not acknowledged.
func (c *counter) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acked < c.sent
}

// check holds the value in the cloud against the one that was acknowledged last. A later one that
// was sent may have arrived.
func (c *counter) check(value cloudtest.Value, ok bool, v *verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.acked == c.base && !ok {
		return
	}
	if !ok || value.Type != proto.KeyValueType_LONG_V || value.Long < int64(c.acked) || value.Long > int64(c.sent) {
		v.complain("%s: the attribute count is %+v (%v) in the cloud, and %d was acknowledged last", c.device, value, ok, c.acked)
	}
}
