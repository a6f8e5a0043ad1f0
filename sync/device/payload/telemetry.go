package payload

import (
	"bytes"
	"math"

	"edgesync/proto"
)

// The first and the last millisecond of the years 1 to 9999, since the Unix epoch.
const (
	minTime = -62135596800000
	maxTime = 253402300799999
)

// Telemetry parses a telemetry payload of the entity (API.md 1.1) and returns one event for each
// element, in their order. An element without a time of its own gets now, in milliseconds since the
// Unix epoch. An empty array gives no events. A payload with anything wrong in it gives no events
// and an error: an *Error, or one that wraps ErrTooLarge.
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
	return p.makeEvents(proto.ActionTimeseriesUpdated, entity, now), nil
}

// elements parses an array of telemetry that stands inside depth levels of the payload.
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
			if !p.scan.isComma(c) {
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

// element parses one object of telemetry inside depth levels and appends its fragment.
func (p *Parser) element(entity proto.UUID, now int64, depth int) error {
	s := &p.scan
	// An element is timestamped only if it has both "ts" and "values", which is not known before
	// its end. So the parser reads it twice: first for the syntax and the offsets of these two,
	// then for the values.
	start, ts, values := s.pos, -1, -1
	s.pos++
	for first := true; ; first = false {
		raw, how, more, err := s.key(first)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if how&escaped != 0 {
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
	if p.hasKey("ts") && p.hasKey("values") {
		// The server would take them for the timestamped form and store nothing under their names
		// (CONTRACT.md 5.3).
		return s.fail(start, `the keys "ts" and "values" cannot be stored together`)
	}
	for kvs := p.kvs; ; {
		n := part(kvs, len(kvs) < len(p.kvs))
		from := len(p.out)
		p.out = proto.AppendTelemetry(p.out, entity, proto.DeviceEntity, when, kvs[:n])
		if err := p.endFragment(from); err != nil || n == len(kvs) {
			return err
		}
		kvs = kvs[n:]
	}
}

// dropMetadata removes the key "metadata", in which a gateway sends measurements of its own work.
// The server does not store it (API.md 4.3).
func (p *Parser) dropMetadata() {
	for i := range p.kvs {
		if kv := &p.kvs[i]; string(kv.Key) == "metadata" && kv.Type == proto.KeyValueType_JSON_V && kv.Str[0] == '{' {
			p.kvs = append(p.kvs[:i], p.kvs[i+1:]...)
			return
		}
	}
}

// hasKey reports whether the object that was read last has the key.
func (p *Parser) hasKey(key string) bool {
	for i := range p.kvs {
		if string(p.kvs[i].Key) == key {
			return true
		}
	}
	return false
}

// time reads the value of "ts" (API.md 1.1): a number, whose fraction is cut, a string of digits,
// or an array with one of these. A time outside the years 1 to 9999 is an error; the server lets it
// wrap around.
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
	var text []byte
	var how form
	what := isWord
	var err error
	switch c := s.peek(); {
	case s.isQuote(c):
		text, how, err = s.quoted(c)
	case c == '{' || s.isMissing(c):
		return bad()
	default:
		text, what, err = s.scalar()
	}
	if err != nil {
		return 0, err
	}
	switch what {
	case isNumber:
	case isWord:
		if how&escaped != 0 {
			p.arena = appendUnescaped(p.arena, text)
			text = p.arena
		}
		digits := bytes.TrimPrefix(text, []byte("+"))
		number, ok := p.plainNumber(digits)
		if !ok || bytes.IndexByte(number, '.') >= 0 || len(digits) < len(text) && digits[0] == '-' {
			return bad()
		}
		text = number
	default:
		return bad()
	}
	if err := p.setNumber(&kv, text, at); err != nil {
		return 0, err
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
		if ms = v; !ok || d.exponent {
			ms = math.MaxInt64
		}
	}
	if ms < minTime || ms > maxTime {
		return 0, s.fail(at, `"ts" is outside the years 1 to 9999 (it counts milliseconds since 1970)`)
	}
	return ms, nil
}
