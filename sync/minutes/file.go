package minutes

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"os"
	"strconv"

	"edgesync/wal/disk"
)

const (
	header    = "edgesync minutes 1\n"
	maxFile   = 64 << 10 // bytes
	frameHead = 6        // bytes before the payload
	maxDate   = 1 << 40  // minutes since the epoch
)

// appendFrame appends one frame of n minutes, the first at a date. Minutes from before the epoch
// are left out: the clock was not set.
func appendFrame(b []byte, first int64, n int, pick func(int) *minute) []byte {
	i := int(max(0, min(-first, int64(n))))
	if i >= n || first > maxDate {
		return b
	}
	start := len(b)
	b = append(b, make([]byte, frameHead)...)
	b = binary.AppendUvarint(b, uint64(first+int64(i)))
	for ; i < n; i++ {
		m := pick(i)
		b = append(b, m.seen<<4|m.up)
		if m.seen != 0 {
			for _, v := range [...]uint32{m.backlog, m.in, m.out, m.latency, uint32(m.room)} {
				b = binary.AppendUvarint(b, uint64(v))
			}
		}
	}
	payload := b[start+frameHead:]
	binary.LittleEndian.PutUint16(b[start:], uint16(len(payload)))
	binary.LittleEndian.PutUint32(b[start+2:], crc32.ChecksumIEEE(payload))
	return b
}

// parse calls fn for each minute of a file with its date. ok is false if anything in the file is
// wrong; what stands before that was found.
func parse(data []byte, fn func(at int64, m minute)) (ok bool) {
	b, ok := bytes.CutPrefix(data, []byte(header))
	for ok && len(b) > 0 {
		if len(b) < frameHead {
			return false
		}
		n := frameHead + int(binary.LittleEndian.Uint16(b))
		if len(b) < n || crc32.ChecksumIEEE(b[frameHead:n]) != binary.LittleEndian.Uint32(b[2:]) {
			return false
		}
		ok = parsePayload(b[frameHead:n], fn)
		b = b[n:]
	}
	return ok
}

func parsePayload(b []byte, fn func(at int64, m minute)) bool {
	at, n := binary.Uvarint(b)
	if n <= 0 || at == 0 || at > maxDate {
		return false
	}
	for b = b[n:]; len(b) > 0; at++ {
		m := minute{seen: b[0] >> 4, up: b[0] & 15}
		if m.up > m.seen {
			return false
		}
		b = b[1:]
		if m.seen != 0 {
			var v [5]uint32
			for i := range v {
				x, n := binary.Uvarint(b)
				if n <= 0 || x > math.MaxUint32 {
					return false
				}
				v[i], b = uint32(x), b[n:]
			}
			if v[4] > math.MaxUint16 {
				return false
			}
			m.backlog, m.in, m.out, m.latency, m.room = v[0], v[1], v[2], v[3], uint16(v[4])
		}
		fn(int64(at), m)
	}
	return true
}

// appendTo appends to an existing file, and waits for nothing.
func appendTo(path string, b []byte) error {
	f, err := disk.Open(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// appendJSON appends n minutes as JSON, the first at a date in milliseconds.
func appendJSON(b []byte, from int64, n int, pick func(int) *minute) []byte {
	b = append(b, `{"from":`...)
	b = strconv.AppendInt(b, from, 10)
	b = append(b, `,"step_ms":60000`...)
	for k, name := range [...]string{"backlog", "in", "out", "latency_ms", "room_percent", "up"} {
		b = append(b, `,"`+name+`":`...)
		for i := range n {
			c := byte(',')
			if i == 0 {
				c = '['
			}
			b = append(b, c)
			m := pick(i)
			if m == nil || m.seen == 0 {
				b = append(b, "null"...)
				continue
			}
			switch k {
			case 4:
				b = strconv.AppendFloat(b, float64(m.room)/100, 'f', -1, 32)
			case 5:
				b = strconv.AppendFloat(b, float64(m.up)/float64(m.seen), 'g', 3, 32)
			default:
				b = strconv.AppendUint(b, uint64([...]uint32{m.backlog, m.in, m.out, m.latency}[k]), 10)
			}
		}
		b = append(b, ']')
	}
	return append(b, "}\n"...)
}
