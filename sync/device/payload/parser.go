package payload

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"unicode/utf8"

	"edgesync/proto"
)

// Bounds of one payload. A body of 1 MiB stays below 16 MB of memory with them, whatever is in it.
const (
	MaxEvents = 32768 // elements of a telemetry array
	MaxKeys   = 32768 // keys of one element
)

// maxKey is the most UTF-16 units that the server takes in a key (device API 1.4).
const maxKey = 255

// maxRequest is what the server takes in one message (wire contract 2.5); an event that passes it could never be sent.
const maxRequest = 4 << 20

// The first and last millisecond of the years 1 to 9999.
const (
	minTime = -62135596800000
	maxTime = 253402300799999
)

// ErrTooLarge is wrapped by the error for an event that could never be sent to the cloud.
var ErrTooLarge = errors.New("larger than the cloud takes")

// Parser turns payloads into events. It is for one goroutine at a time and keeps its buffers: what a call returns is valid
// until the next one, and the payload must not change before.
type Parser struct {
	scan   scanner
	kvs    []proto.KV
	index  keyIndex
	arena  []byte // unescaped strings, JSON values, written-out numbers: what kvs points to, beside the payload
	growth int    // bytes of numbers written out so far
	out    []byte // fragments, one behind the other
	ends   []int  // where each ends
	events []proto.Event

	owners   []proto.UUID // of the fragments, in a gateway's message
	metadata bool         // "metadata" of an element is not data
}

// Retained is about how many bytes the parser's buffers take: who pools parsers drops large ones.
func (p *Parser) Retained() int {
	return cap(p.arena) + cap(p.out) + 8*cap(p.ends) + 16*cap(p.owners) + 72*cap(p.kvs) + 64*cap(p.events) + 4*cap(p.index.table)
}

// Telemetry parses a telemetry payload of the entity (device API 1.1): one event for each element, in their order, with now
// (milliseconds since the Unix epoch) for those without a time of their own. An empty array gives no events. A payload with
// anything wrong in it gives an error and no events: an *Error, or one that wraps ErrTooLarge.
func (p *Parser) Telemetry(payload []byte, entity proto.UUID, now int64) ([]proto.Event, error) {
	if err := p.begin(payload); err != nil {
		return nil, err
	}
	switch p.scan.peek() {
	case '{':
		if err := p.element(entity, now, 0); err != nil {
			return nil, err
		}
	case '[':
		if err := p.elements(entity, now, 0); err != nil {
			return nil, err
		}
	default:
		return nil, p.notObject("telemetry")
	}
	if err := p.scan.end(); err != nil {
		return nil, err
	}
	return p.finish(proto.ActionTimeseriesUpdated, entity, now), nil
}

// elements parses an array of telemetry inside depth levels.
func (p *Parser) elements(entity proto.UUID, now int64, depth int) error {
	if p.scan.peek() != '[' {
		return p.wrong("the telemetry of a device must be a JSON array")
	}
	p.scan.pos++
	for first := true; ; first = false {
		c := p.scan.peek()
		if c == ']' {
			p.scan.pos++
			return nil
		}
		if !first {
			if c != ',' {
				return p.scan.unexpected("',' or ']'")
			}
			p.scan.pos++
			c = p.scan.peek()
		}
		if c != '{' {
			return p.notObject("an element of the telemetry array")
		}
		if len(p.ends) == MaxEvents {
			return p.scan.fail(p.scan.pos, "more than %d elements in one message", MaxEvents)
		}
		if err := p.element(entity, now, depth+1); err != nil {
			return err
		}
	}
}

// Attributes parses an attributes payload of the entity (device API 1.2) into one event for the client scope, or none if it
// has no values. Errors are those of Telemetry.
func (p *Parser) Attributes(payload []byte, entity proto.UUID, now int64) ([]proto.Event, error) {
	if err := p.begin(payload); err != nil {
		return nil, err
	}
	if err := p.attributes(entity, 0); err != nil {
		return nil, err
	}
	if err := p.scan.end(); err != nil {
		return nil, err
	}
	return p.finish(proto.ActionPostAttributes, entity, now), nil
}

// attributes parses an object of attributes inside depth levels and appends its fragment, if it has values.
func (p *Parser) attributes(entity proto.UUID, depth int) error {
	if p.scan.peek() != '{' {
		return p.notObject("attributes")
	}
	if err := p.object(depth); err != nil || len(p.kvs) == 0 {
		return err
	}
	start := len(p.out)
	p.out = proto.AppendPostAttributes(p.out, entity, proto.DeviceEntity, proto.ClientScope, p.kvs)
	return p.fits(start)
}

func (p *Parser) begin(payload []byte) error {
	p.scan = scanner{data: bytes.TrimPrefix(payload, []byte("\ufeff"))} // some editors and shells put a byte order mark in front
	p.arena, p.out, p.ends, p.growth = p.arena[:0], p.out[:0], p.ends[:0], 0
	if utf8.Valid(payload) {
		return nil
	}
	at := 0
	for at < len(payload) {
		r, n := utf8.DecodeRune(payload[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return p.scan.fail(at, "invalid UTF-8")
}

// notObject is the error for what should be an object: bad JSON if it is no value at all.
func (p *Parser) notObject(what string) error { return p.wrong(what + " must be a JSON object") }

// wrong is the error for a value of the wrong type: bad JSON if it is no value at all.
func (p *Parser) wrong(reason string) error {
	at := p.scan.pos
	if _, err := p.scan.value(nil, false, 0); err != nil {
		return err
	}
	return p.scan.fail(at, "%s", reason)
}

// element parses one object of telemetry inside depth levels and appends its fragment.
func (p *Parser) element(entity proto.UUID, now int64, depth int) error {
	// An object is timestamped only if it has both "ts" and "values", which shows at its end: so once through for the
	// syntax and the places of these two, and once more for the values.
	s := &p.scan
	start, ts, values := s.pos, -1, -1
	s.pos++
	for first := true; ; first = false {
		raw, escaped, more, err := s.key(first)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if escaped {
			p.arena = appendUnescaped(p.arena[:0], raw)
			raw = p.arena
		}
		s.peek()
		switch string(raw) {
		case "ts":
			ts = s.pos
		case "values":
			values = s.pos
		}
		if _, err := s.value(nil, false, depth+1); err != nil {
			return err
		}
	}
	end := s.pos
	p.arena = p.arena[:0]

	when := now
	s.pos = start
	if ts >= 0 && values >= 0 {
		s.pos = ts
		t, err := p.time()
		if err != nil {
			return err
		}
		when = t
		if s.pos = values; s.peek() != '{' {
			return s.fail(values, `"values" must be a JSON object`)
		}
		depth++
	}
	if err := p.object(depth); err != nil {
		return err
	}
	s.pos = end
	if p.metadata {
		p.dropMetadata()
	}
	if p.find("ts") && p.find("values") {
		// The server would take them for the timestamped form and store nothing under their names (wire contract 5.3).
		return s.fail(start, `the keys "ts" and "values" cannot be stored together`)
	}
	from := len(p.out)
	p.out = proto.AppendTelemetry(p.out, entity, proto.DeviceEntity, when, p.kvs)
	return p.fits(from)
}

// dropMetadata removes what a gateway measures of itself; it is no data (device API 4.3).
func (p *Parser) dropMetadata() {
	for i := range p.kvs {
		if kv := &p.kvs[i]; string(kv.Key) == "metadata" && kv.Type == proto.KeyValueType_JSON_V && kv.Str[0] == '{' {
			p.kvs = append(p.kvs[:i], p.kvs[i+1:]...)
			return
		}
	}
}

func (p *Parser) find(key string) bool {
	for i := range p.kvs {
		if string(p.kvs[i].Key) == key {
			return true
		}
	}
	return false
}

// time reads the value of "ts": a number, whose fraction is cut, a text of digits, or an array with one of these (device API 1.1).
// Unlike the server's it does not wrap around.
func (p *Parser) time() (int64, error) {
	s := &p.scan
	at, depth := s.pos, 0
	for s.peek() == '[' {
		s.pos++
		depth++
	}
	var kv proto.KV
	bad := func() (int64, error) {
		return 0, s.fail(at, `"ts" must be a number of milliseconds since 1970`)
	}
	switch c := s.peek(); {
	case c == '"':
		raw, escaped, err := s.text()
		if err != nil {
			return 0, err
		}
		digits := bytes.TrimPrefix(raw, []byte("+"))
		number, ok := p.plainNumber(digits)
		if escaped || !ok || bytes.IndexByte(number, '.') >= 0 || len(digits) < len(raw) && digits[0] == '-' {
			return bad()
		}
		if err := p.setNumber(&kv, number, at); err != nil {
			return 0, err
		}
	case c == '-' || '0' <= c && c <= '9':
		text, err := s.number()
		if err != nil {
			return 0, err
		}
		if err := p.setNumber(&kv, text, at); err != nil {
			return 0, err
		}
	default:
		return bad()
	}
	for range depth {
		if s.peek() != ']' {
			return bad()
		}
		s.pos++
	}
	ms := kv.Long
	switch kv.Type {
	case proto.KeyValueType_DOUBLE_V:
		if !(kv.Double > minTime-1 && kv.Double < maxTime+1) {
			ms = math.MaxInt64
		} else {
			ms = int64(kv.Double)
		}
	case proto.KeyValueType_STRING_V: // too large, or with more than 16 decimals
		whole, _, _ := bytes.Cut(kv.Str, []byte("."))
		d, _ := readDecimal(whole)
		v, ok := d.int64(0, len(d.whole), 0)
		if ms = v; !ok {
			ms = math.MaxInt64
		}
	}
	if ms < minTime || ms > maxTime {
		return 0, s.fail(at, `"ts" is outside the years 1 to 9999 (it counts milliseconds since 1970)`)
	}
	return ms, nil
}

// object reads an object inside depth levels into kvs, with each value converted. Of equal keys the last wins, null too: a null is no value.
func (p *Parser) object(depth int) error {
	s := &p.scan
	p.kvs = p.kvs[:0]
	p.index.reset()
	nulls := false
	s.pos++
	for first := true; ; first = false {
		raw, escaped, more, err := s.key(first)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		at, key := s.last, raw
		if escaped {
			from := len(p.arena)
			p.arena = appendUnescaped(p.arena, raw)
			key = p.arena[from:len(p.arena):len(p.arena)]
		}
		if why := BadKey(key); why != "" {
			return s.fail(at, "the key %q %s", excerpt(key), why)
		}
		i := p.index.place(key, p.kvs)
		if i == len(p.kvs) {
			if i == MaxKeys {
				return s.fail(at, "more than %d keys in one object", MaxKeys)
			}
			p.kvs = append(p.kvs, proto.KV{Key: key})
		}
		kv := proto.KV{Key: key}
		if err := p.value(&kv, depth+1); err != nil {
			return err
		}
		nulls = nulls || kv.Type == typeNull
		p.kvs[i] = kv
	}
	if nulls {
		kept := p.kvs[:0]
		for _, kv := range p.kvs {
			if kv.Type != typeNull {
				kept = append(kept, kv)
			}
		}
		p.kvs = kept
	}
	return nil
}

// typeNull marks a key whose last value is null. It never leaves object.
const typeNull proto.KeyValueType = -1

// value reads and converts one value (device API 1.3).
func (p *Parser) value(kv *proto.KV, depth int) error {
	s := &p.scan
	c := s.peek()
	at := s.pos
	switch {
	case c == '"':
		raw, escaped, err := s.text()
		if err != nil {
			return err
		}
		if escaped {
			from := len(p.arena)
			p.arena = appendUnescaped(p.arena, raw)
			raw = p.arena[from:len(p.arena):len(p.arena)]
		}
		return p.text(kv, raw, at)
	case c == '{' || c == '[':
		from := len(p.arena)
		var err error
		if p.arena, err = s.value(p.arena, true, depth); err != nil {
			return err
		}
		kv.Type, kv.Str = proto.KeyValueType_JSON_V, p.arena[from:len(p.arena):len(p.arena)]
		return nil
	}
	text, err := s.scalar()
	if err != nil {
		return err
	}
	switch c {
	case 't', 'f':
		kv.Type, kv.Bool = proto.KeyValueType_BOOLEAN_V, c == 't'
		return nil
	case 'n':
		kv.Type = typeNull
		return nil
	}
	return p.setNumber(kv, text, at)
}

// BadKey tells why the server would acknowledge the key and lose it, with the keys beside it (device API 1.4); "" if it would not.
func BadKey(key []byte) string {
	if len(key) == 0 {
		return "is empty"
	}
	units, prev := 0, rune(0)
	for i := 0; i < len(key); {
		r, n := rune(key[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(key[i:])
		}
		i += n
		if units++; r > 0xFFFF {
			units++
		}
		if r == 0 {
			return "contains a NUL character"
		}
		// Where a tag can begin in HTML. Stricter than the server where it would let a broken tag pass.
		if prev == '<' && (r == '/' || r == '!' || r == '?' || 'a' <= r|0x20 && r|0x20 <= 'z') {
			return "contains markup"
		}
		prev = r
	}
	if units > maxKey {
		return "is longer than 255 characters"
	}
	return ""
}

// fits ends the fragment that begins at from, if a message with it alone stays within what the server takes.
func (p *Parser) fits(from int) error {
	if size := proto.RequestSize(len(p.out)-from, math.MaxInt32); size > maxRequest {
		return fmt.Errorf("one message with %d bytes for the cloud is %w (%d)", size, ErrTooLarge, maxRequest)
	}
	p.ends = append(p.ends, len(p.out))
	return nil
}

// finish makes events of the fragments, now that out does not move any more.
func (p *Parser) finish(action proto.Action, entity proto.UUID, now int64) []proto.Event {
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

// keyIndex finds equal keys. Few keys are compared one by one; many go through a hash table, with a random seed so that
// nobody can choose keys that collide.
type keyIndex struct {
	seed  maphash.Seed
	table []int32 // index into the keys, plus 1; the length is a power of two, at least twice the keys
	used  bool
}

const fewKeys = 16

func (x *keyIndex) reset() { x.used = false }

// place is the index of key among kvs, len(kvs) if it is not there; then the caller appends it.
func (x *keyIndex) place(key []byte, kvs []proto.KV) int {
	if len(kvs) < fewKeys {
		for i := range kvs {
			if bytes.Equal(kvs[i].Key, key) {
				return i
			}
		}
		return len(kvs)
	}
	if !x.used || 2*(len(kvs)+1) > len(x.table) {
		x.build(kvs)
	}
	slot := x.slot(key, kvs)
	if i := x.table[slot]; i > 0 {
		return int(i - 1)
	}
	x.table[slot] = int32(len(kvs) + 1)
	return len(kvs)
}

// build makes a table of all kvs with room for as many again.
func (x *keyIndex) build(kvs []proto.KV) {
	if x.table == nil {
		x.seed = maphash.MakeSeed()
	}
	size := 8 * fewKeys
	for size < 4*len(kvs) {
		size *= 2
	}
	if cap(x.table) < size {
		x.table = make([]int32, size)
	}
	x.table = x.table[:size]
	clear(x.table)
	x.used = true
	for i := range kvs {
		x.table[x.slot(kvs[i].Key, kvs)] = int32(i + 1)
	}
}

// slot is where key stands, or the free place where it belongs.
func (x *keyIndex) slot(key []byte, kvs []proto.KV) uint64 {
	mask := uint64(len(x.table) - 1)
	for h := maphash.Bytes(x.seed, key) & mask; ; h = (h + 1) & mask {
		i := x.table[h]
		if i == 0 || bytes.Equal(kvs[i-1].Key, key) {
			return h
		}
	}
}
