package payload

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"edgesync/proto"
	"edgesync/sync/device/charset"
)

// Bounds of one payload. With them a body of 1 MiB takes less than 16 MB of memory to parse,
// whatever it holds.
const (
	MaxEvents = 32768 // elements of a telemetry array
	MaxKeys   = 32768 // keys of one element
)

// ErrTooLarge is wrapped by the error for a value that is too large for an event: one value cannot
// become several events, and an event is in memory several times on its way to the cloud.
var ErrTooLarge = errors.New("a value is too large")

// Error is what is wrong with a payload, and where. Its text is meant for the owner of the device.
type Error struct {
	Offset int // of the byte in the payload, from 0
	Reason string
	Cut    bool // the text ends too early
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s (at byte %d)", e.Reason, e.Offset) }

// Parser turns payloads into events. The zero value is ready. One goroutine at a time uses a
// Parser. A Parser keeps its buffers: what a call returns is valid until the next call, and the
// payload must not change before that.
type Parser struct {
	// Strict makes the parser refuse what RFC 8259 does not allow. Without it the parser is as
	// lenient as the server's own reader of what devices send (API.md 1.3).
	Strict bool

	scan   scanner
	kvs    []proto.KV
	index  keyIndex
	clean  []byte // the payload as valid UTF-8, if it was none
	arena  []byte // what kvs points to beside the payload: strings, JSON, written-out numbers
	growth int    // bytes of written-out numbers so far
	out    []byte // the fragments, one behind the other
	ends   []int  // of each fragment in out
	events []proto.Event

	spare []proto.KV // what kvs was before it was given other keys; both take turns
	path  []byte     // the key of what is being flattened
	flat  int        // bytes of the keys in kvs that were given others

	owners   []proto.UUID // by fragment, in a gateway's message
	metadata bool         // the key "metadata" of an element is no data
}

// Retained returns about how many bytes the parser's buffers take, so that a pool can drop a large
// parser.
func (p *Parser) Retained() int {
	return cap(p.clean) + cap(p.arena) + cap(p.out) + 8*cap(p.ends) + 16*cap(p.owners) +
		72*(cap(p.kvs)+cap(p.spare)) + cap(p.path) + 64*cap(p.events) + 4*cap(p.index.table)
}

// begin sets the parser to the first byte of the payload. A byte order mark, which some editors and
// shells write, is skipped. Of text that is not UTF-8 it reads a copy, in which U+FFFD stands for
// what is malformed; offsets in errors are then those of the copy. With Strict such text is an
// error.
func (p *Parser) begin(payload []byte) error {
	p.reset()
	valid := utf8.Valid(payload)
	if !valid && !p.Strict {
		p.clean = charset.UTF8(p.clean[:0], payload)
		payload, valid = p.clean, true
	}
	p.scan = scanner{data: payload, strict: p.Strict}
	if !valid {
		return p.scan.fail(charset.Valid(payload), "invalid UTF-8")
	}
	p.scan.mark()
	p.scan.preamble()
	return nil
}

// reset forgets what the call before has made.
func (p *Parser) reset() {
	p.arena, p.out, p.ends, p.growth = p.arena[:0], p.out[:0], p.ends[:0], 0
}

// Strictly returns a text of any JSON value, read as leniently as telemetry, as JSON of RFC 8259 in
// UTF-8. Its error is an *Error. What it returns is valid until the parser's next call.
func (p *Parser) Strictly(text []byte) ([]byte, error) {
	err := p.begin(text)
	if err == nil {
		p.arena, err = p.scan.value(p.arena, true, 0)
	}
	if err == nil {
		err = p.scan.end()
	}
	return p.arena, err
}

// notObject is the error for a value that should be an object. If the text is no JSON value at all,
// the error says that instead.
func (p *Parser) notObject(what string) error { return p.wrong(what + " must be a JSON object") }

// wrong is the error for a value of the wrong type. If the text is no JSON value at all, the error
// says that instead.
func (p *Parser) wrong(reason string) error {
	at := p.scan.pos
	if _, err := p.scan.value(nil, false, 0); err != nil {
		return err
	}
	return p.scan.fail(at, "%s", reason)
}

// endFragment ends the fragment that begins at from. It refuses one that is too large for an event.
func (p *Parser) endFragment(from int) error {
	if size := len(p.out) - from; size > largeEvent+partEvent {
		return fmt.Errorf("%w: %d bytes, at most about %d", ErrTooLarge, size, largeEvent)
	}
	p.ends = append(p.ends, len(p.out))
	return nil
}

// The values of an object beyond largeEvent become several events of the same time, because an
// event is in memory several times on its way to the cloud. One value alone is an event up to that.
const (
	largeEvent = 1<<20 + 64<<10 // bytes
	partEvent  = 256 << 10      // of each of the several
)

// part returns how many of kvs make the next event. some says that others were made of this object.
func part(kvs []proto.KV, some bool) int {
	if len(kvs) == 0 {
		return 0
	}
	size, n := 0, -1 // n: of a part
	for i := range kvs {
		size += len(kvs[i].Key) + len(kvs[i].Str) + 24
		if size > partEvent && n < 0 {
			n = max(i, 1)
		}
		if n >= 0 && (some || size > largeEvent) {
			return n
		}
	}
	return len(kvs)
}

// makeEvents makes an event of each fragment. It comes last, because out may move while it grows.
func (p *Parser) makeEvents(action proto.Action, entity proto.UUID, now int64) []proto.Event {
	p.events = p.events[:0]
	from := 0
	for _, end := range p.ends {
		p.events = append(p.events, proto.Event{
			Kind: proto.KindEntityData, Action: action, Time: now, Entity: entity, Fragment: p.out[from:end:end],
		})
		from = end
	}
	return p.events
}
