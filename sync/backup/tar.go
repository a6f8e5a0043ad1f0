package backup

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

// block is what a tar counts in.
const block = 512

// maxName is what a name may have without the parts of the format that are not used here.
const maxName = 100

// header makes the header of a regular file of mode 0600.
func header(name string, size, seconds int64) []byte {
	h := make([]byte, block)
	octal := func(at, digits int, v int64) {
		s := strconv.FormatInt(v, 8)
		copy(h[at:], strings.Repeat("0", digits-len(s))+s)
	}
	copy(h, name)
	octal(100, 7, 0o600)
	octal(108, 7, 0)
	octal(116, 7, 0)
	octal(124, 11, size)
	octal(136, 11, max(seconds, 0))
	h[156] = '0'
	copy(h[257:], "ustar\x0000")
	octal(148, 6, checksum(h))
	h[154], h[155] = 0, ' '
	return h
}

// checksum is the sum of all bytes, those of the sum itself counted as blanks.
func checksum(h []byte) (sum int64) {
	for i, c := range h {
		if 148 <= i && i < 156 {
			c = ' '
		}
		sum += int64(c)
	}
	return sum
}

var errNotTar = errors.New("it is no archive of edgesync backup, or it is damaged")

// parseHeader reads a header. The end of the archive, a block of zeros, gives io.EOF.
func parseHeader(h []byte) (name string, size int64, err error) {
	if bytes.Count(h, []byte{0}) == block {
		return "", 0, io.EOF
	}
	text := func(at, n int) string {
		s, _, _ := bytes.Cut(h[at:at+n], []byte{0})
		return string(s)
	}
	octal := func(at, n int) int64 {
		v, err := strconv.ParseUint(strings.Trim(text(at, n), " "), 8, 62)
		if err != nil {
			return -1
		}
		return int64(v)
	}
	size = octal(124, 12)
	if octal(148, 8) != checksum(h) || size < 0 || h[156] != '0' || text(257, 6) != "ustar" || text(345, 155) != "" {
		return "", 0, errNotTar
	}
	return text(0, maxName), size, nil
}
