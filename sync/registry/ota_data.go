package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"edgesync/proto"
	"edgesync/wal/disk"
)

const (
	// maxOTA bounds the binaries of all packages in bytes, unless one message may bring a larger
	// one.
	maxOTA = 32 << 20
	// maxInfo bounds what a package's JSON holds beside the data, in bytes.
	maxInfo = 256 << 10
)

// base64Len is how many bytes so many characters of base64 stand for, at most.
func base64Len(characters int) int { return base64.StdEncoding.DecodedLen(characters) }

// otaRoom is how many bytes the binary of a package may have: what other packages leave of the
// room, and half of what is free on the medium. The caller holds write.
func (r *Registry) otaRoom(id proto.UUID) int64 {
	room := max(maxOTA, int64(base64Len(r.o.MaxMessage))) - r.otaBytes(id)
	if free, ok := freeOn(r.o.Dir); ok {
		room = min(room, free/2)
	}
	return room
}

// storePackage decodes the data of a package that is wanted into a file beside the place where
// keepPackage puts it: complete and checked, or not at all. Any goroutine, but one at a time.
func (r *Registry) storePackage(p *incoming, text func() io.Reader) {
	if !p.store {
		return
	}
	p.store = false
	path := r.otaPath(p.id)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.err = fmt.Errorf("registry: %w", err)
		return
	}
	for _, path := range [...]string{path, path + disk.Temp} {
		if err := disk.MakeWay(path, disk.File, r.o.CorruptDir, r.log); err != nil {
			p.err = fmt.Errorf("registry: %w", err)
			return
		}
	}
	var wrote int64
	err := disk.Prepare(path, func(w io.Writer) (err error) {
		wrote, err = p.decodeTo(w, text())
		return err
	})
	r.o.Meter.Add(0, wrote, 2)
	switch {
	case err == nil:
		p.store = true
	case errors.Is(err, errMalformed):
		p.err = err
	default:
		p.err = fmt.Errorf("registry: %w", err)
	}
}

// decodeTo writes the binary that stands in text, and checks its size and checksum.
func (p *incoming) decodeTo(w io.Writer, text io.Reader) (wrote int64, err error) {
	if _, err := io.CopyN(io.Discard, text, int64(p.data.from)); err != nil {
		return 0, err
	}
	sum := sha256.New()
	wrote, err = io.Copy(io.MultiWriter(w, sum), base64.NewDecoder(base64.StdEncoding, io.LimitReader(text, int64(p.data.length))))
	var corrupt base64.CorruptInputError
	switch {
	case errors.As(err, &corrupt), errors.Is(err, io.ErrUnexpectedEOF):
		return wrote, errMalformed
	case err != nil:
		return wrote, err
	case p.Size > 0 && wrote != p.Size,
		p.Algorithm == "SHA256" && !strings.EqualFold(p.Checksum, hex.EncodeToString(sum.Sum(nil))):
		return wrote, errMalformed
	}
	return wrote, nil
}

// span is a part of a text, in bytes.
type span struct{ from, length int }

// cutData reads the JSON of an OTA package up to its end and cuts the value of "data" at the top
// level out of it, if that is a string. rest is the object with null instead, data the text between
// the quotes. A field that is absent or null gives an empty span. Not ok: a string has no end, or
// rest would be longer than maxInfo.
func cutData(text io.Reader) (rest []byte, data span, ok bool) {
	c := cutting{}
	buf := make([]byte, 4<<10)
	for {
		n, err := text.Read(buf)
		c.take(buf[:n])
		if err == io.EOF {
			return c.rest, c.data, c.at != inString && c.at != inData && len(c.rest) <= maxInfo
		}
		if err != nil || len(c.rest) > maxInfo {
			return nil, span{}, false
		}
	}
}

// cutting is where cutData stands in the object. Its words are those of the object's text.
type cutting struct {
	rest  []byte
	data  span
	at    place
	depth int
	read  int // bytes of the text

	escaped bool    // the character before was a backslash
	name    [6]byte // the beginning of the string that is being read, or was just read
	length  int     // of that string
}

type place uint8

const (
	between     place = iota // strings
	inString                 // not that of the data
	behindName               // of the data
	beforeValue              // of the data
	inData
	behindData // nothing else is looked for
)

// take reads the next part of the text.
func (c *cutting) take(part []byte) {
	for len(part) > 0 {
		switch c.at {
		case inData: // megabytes of it
			n := bytes.IndexByte(part, '"')
			if n < 0 {
				n = len(part)
			}
			if at := bytes.IndexByte(part[:n], '\\'); at >= 0 {
				n = at
			}
			if c.escaped {
				n = 0
			}
			c.data.length += n
			c.read += n
			if part = part[n:]; len(part) == 0 {
				return
			}
		case behindData:
			c.read += len(part)
			c.rest = append(c.rest, part...)
			return
		}
		c.one(part[0])
		c.read++
		part = part[1:]
	}
}

// one reads one character.
func (c *cutting) one(ch byte) {
	space := ch == ' ' || ch == '\t' || ch == '\r' || ch == '\n'
	switch {
	case c.at == inData:
		if ch == '"' && !c.escaped {
			c.rest, c.at = append(c.rest, "null"...), behindData
			return
		}
		c.escaped = ch == '\\' && !c.escaped
		c.data.length++
		return
	case c.at == inString && ch == '"' && !c.escaped:
		c.at = between
		if c.depth == 1 && c.length == len("data") && string(c.name[:4]) == "data" {
			c.at = behindName
		}
	case c.at == inString:
		if c.length < len(c.name) {
			c.name[c.length] = ch
		}
		c.length = min(c.length+1, len(c.name))
		c.escaped = ch == '\\' && !c.escaped
	case c.at >= behindName && space:
	case c.at == behindName && ch == ':':
		c.at = beforeValue
	case c.at == beforeValue && ch == '"':
		c.at, c.data.from = inData, c.read+1
		return // the quote is cut too
	case c.at == beforeValue:
		c.at = behindData
	case ch == '"':
		c.at, c.length = inString, 0
	default:
		c.at = between
		switch ch {
		case '{', '[':
			c.depth++
		case '}', ']':
			c.depth--
		}
	}
	c.rest = append(c.rest, ch)
}
