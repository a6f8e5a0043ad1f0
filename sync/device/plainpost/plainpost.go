package plainpost

import "bytes"

// Bounds of a plain post, in bytes.
const (
	MaxBody  = 4 << 10
	maxToken = 64
	maxHost  = 255
)

// Head is the head of a plain post. Its slices are parts of what was parsed.
type Head struct {
	Path   []byte // the target of the request, without an escape or a query
	Host   []byte
	Type   []byte // the Content-Type; nil: there is none
	Size   int    // bytes of the head itself, with the empty line at its end
	Length int    // bytes of the body, from 1 to MaxBody
}

// Verdict is what bytes at the beginning of a request are.
type Verdict uint8

const (
	Other   Verdict = iota // no plain post, or one that is not understood in full
	Partial                // the beginning of what may become the head of a plain post
	Plain                  // such a head, whole
)

const (
	begin      = "POST /api/v1/"
	telemetry  = "/telemetry HTTP/1.1"
	attributes = "/attributes HTTP/1.1"
)

// Parse judges the bytes at the beginning of a request. h is valid after Plain only.
func Parse(b []byte, h *Head) Verdict {
	if n := min(len(b), len(begin)); string(b[:n]) != begin[:n] {
		return Other
	}
	*h = Head{}
	line, at, v := nextLine(b, 0)
	if v != Plain {
		return v
	}
	if !h.target(line) {
		return Other
	}
	for seen := uint(0); ; {
		if line, at, v = nextLine(b, at); v != Plain {
			return v
		}
		if len(line) == 0 {
			h.Size = at
			return h.whole()
		}
		bit := h.field(line)
		if bit == 0 || seen&bit != 0 {
			return Other
		}
		seen |= bit
	}
}

// nextLine returns the line at b[at:], without its end, and where the next one begins.
func nextLine(b []byte, at int) (line []byte, next int, v Verdict) {
	end := bytes.IndexByte(b[at:], '\n')
	if end < 0 {
		line = b[at:]
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		if !printable(line) {
			return nil, 0, Other
		}
		return nil, 0, Partial
	}
	if end == 0 || b[at+end-1] != '\r' || !printable(b[at:at+end-1]) {
		return nil, 0, Other
	}
	return b[at : at+end-1], at + end + 1, Plain
}

// printable reports whether all of b is printable ASCII or spaces: no tab, no NUL, no lone CR.
func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// target reads the first line.
func (h *Head) target(line []byte) bool {
	if len(line) <= len(begin) {
		return false
	}
	rest := line[len(begin):]
	n := bytes.IndexByte(rest, '/')
	if n < 1 || n > maxToken || string(rest[n:]) != telemetry && string(rest[n:]) != attributes {
		return false
	}
	for _, c := range rest[:n] {
		if !letter(c) && !digit(c) && c != '-' && c != '_' {
			return false
		}
	}
	h.Path = line[len("POST ") : len(line)-len(" HTTP/1.1")]
	return true
}

// The fields that may be there, each once.
const (
	host = 1 << iota
	contentLength
	contentType
	connection
	userAgent
	accept
	acceptEncoding
	acceptLanguage
	cacheControl
)

// field reads a line of the head. It returns the bit of its field, 0 where the line is not
// understood.
func (h *Head) field(line []byte) uint {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return 0
	}
	name, value := line[:colon], line[colon+1:]
	for len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	if n := len(value); n > 0 && value[n-1] == ' ' {
		return 0
	}
	switch {
	case is(name, "host"):
		h.Host = value
		return yes(isHost(value), host)
	case is(name, "content-length"):
		h.Length = length(value)
		return yes(h.Length > 0, contentLength)
	case is(name, "content-type"):
		h.Type = value
		return yes(len(value) > 0, contentType)
	case is(name, "connection"):
		return yes(is(value, "keep-alive"), connection)
	case is(name, "user-agent"):
		return userAgent
	case is(name, "accept"):
		return accept
	case is(name, "accept-encoding"):
		return acceptEncoding
	case is(name, "accept-language"):
		return acceptLanguage
	case is(name, "cache-control"):
		return cacheControl
	}
	return 0
}

// whole judges a head whose last line has come.
func (h *Head) whole() Verdict {
	if h.Host == nil || h.Length == 0 {
		return Other
	}
	return Plain
}

func yes(ok bool, bit uint) uint {
	if ok {
		return bit
	}
	return 0
}

// is reports whether b is a word, which is in lower case, in whatever case.
func is(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if letter(c) {
			c |= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

func isHost(b []byte) bool {
	for _, c := range b {
		if !letter(c) && !digit(c) && c != '.' && c != '-' && c != ':' && c != '[' && c != ']' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= maxHost
}

// length reads a Content-Length as there is exactly one way to write it: 0 for any other, and for
// more than MaxBody.
func length(b []byte) (n int) {
	if len(b) == 0 || b[0] == '0' || len(b) > len("4096") {
		return 0
	}
	for _, c := range b {
		if !digit(c) {
			return 0
		}
		n = 10*n + int(c-'0')
	}
	if n > MaxBody {
		return 0
	}
	return n
}

func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func digit(c byte) bool { return '0' <= c && c <= '9' }
