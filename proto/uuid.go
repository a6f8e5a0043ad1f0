package proto

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
)

// NewUUID makes a random id (version 4 of RFC 9562): the id of an entity or of a request that is
// made here. Safe for concurrent use.
func NewUUID() (id UUID) {
	rand.Read(id[:]) // never fails: the process ends without a source of random numbers
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

// UUIDOf joins the MSB and LSB fields of a message to an id.
func UUIDOf(msb, lsb int64) (id UUID) {
	binary.BigEndian.PutUint64(id[:8], uint64(msb))
	binary.BigEndian.PutUint64(id[8:], uint64(lsb))
	return id
}

// Halves are the MSB and LSB fields of an id.
func Halves(id UUID) (msb, lsb int64) {
	return int64(binary.BigEndian.Uint64(id[:8])), int64(binary.BigEndian.Uint64(id[8:]))
}

// FormatUUID writes an id as entity JSON does: lower-case hexadecimal digits in groups of 8, 4, 4,
// 4 and 12.
func FormatUUID(id UUID) string {
	var b [36]byte
	hex.Encode(b[:8], id[:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:], id[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// ParseUUID reads the form that FormatUUID writes, in lower or upper case.
func ParseUUID(s string) (id UUID, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return UUID{}, false
	}
	digits := []byte(s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:])
	if _, err := hex.Decode(id[:], digits); err != nil {
		return UUID{}, false
	}
	return id, true
}
