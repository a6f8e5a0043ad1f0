package payload

import (
	"bytes"

	"edgesync/proto"
)

// Bounds of a message whose keys get a prefix or are flattened. An object that is nested deeper
// stays one JSON value; a message that would have more keys, or longer ones, is refused: a few
// bytes of a payload could become many in the queue otherwise.
const (
	MaxFlat      = 1024      // keys of a message
	MaxFlatDepth = 8         // names in one key, with a point between each two
	maxFlatBytes = 128 << 10 // of all keys of a message
)

// Shape says what becomes of the message of a program that was not written for ThingsBoard (API.md
// 10.1). Key and Prefix are UTF-8, as all topics are that package mqtt lets in.
type Shape struct {
	Attributes bool   // client attributes; else telemetry
	Key        string // of a payload that is no object
	Prefix     string // in front of each key, that of Shape too
	Flatten    bool   // the members of an object in an object become keys of their own
}

// Foreign parses a message of a program that was not written for ThingsBoard. A payload that begins
// with a brace is an object, read as an element of telemetry or as attributes are; all else is one
// value: what is JSON by itself as such, any other text as a string. An empty payload, null and an
// object without values give no events. find is called once, and only if there are values; without
// ok there are no events either. Errors are those of Telemetry.
func (p *Parser) Foreign(
	payload []byte, shape *Shape, find func() (id proto.UUID, ok bool), now int64,
) ([]proto.Event, error) {
	if err := p.begin(payload); err != nil {
		return nil, err
	}
	// What the reader of JSON skips, as a comment, may be all that a text has: #ff0000.
	text := bytes.Trim(bytes.TrimPrefix(p.scan.data, mark), " \t\r\n")
	when, start := now, p.scan.pos
	var err error
	switch {
	case len(text) == 0 || text[0] != '{':
		err = p.single(shape.Key, text)
	case shape.Attributes:
		err = p.object(0)
	default:
		when, err = p.values(now, 0)
	}
	if err == nil {
		err = p.scan.end()
	}
	if err == nil && (shape.Prefix != "" || shape.Flatten) {
		if err = p.reshape(shape, start); err == nil && !shape.Attributes {
			err = p.checkNames(start)
		}
	}
	if err != nil || len(p.kvs) == 0 {
		return nil, err
	}
	id, ok := find()
	if !ok {
		return nil, nil
	}
	action := proto.ActionTimeseriesUpdated
	if shape.Attributes {
		action, err = proto.ActionPostAttributes, p.appendAttributes(id)
	} else {
		err = p.appendTelemetry(id, when)
	}
	if err != nil {
		return nil, err
	}
	return p.makeEvents(action, id, now), nil
}

// mark is a byte order mark.
var mark = []byte("\ufeff")

// single reads the text, which is all of the payload, as one value of that key into kvs.
func (p *Parser) single(key string, text []byte) error {
	p.kvs = p.kvs[:0]
	p.scan.pos = len(p.scan.data)
	if len(text) == 0 {
		return nil
	}
	if why := BadKey([]byte(key)); why != "" {
		return p.scan.fail(0, "the key %q %s", excerpt([]byte(key)), why)
	}
	// The strict reader decides what is JSON by itself: the lenient one takes the first word of a
	// sentence for a value.
	kv := proto.KV{Key: keep(p, key)}
	if !p.isValue(&kv, text) {
		kv = proto.KV{Key: kv.Key}
		if err := p.text(&kv, text, 0); err != nil {
			return err
		}
	}
	if kv.Type != typeNull {
		p.kvs = append(p.kvs, kv)
	}
	return nil
}

// isValue reads the text into kv, and reports whether it is JSON by itself and nothing else.
func (p *Parser) isValue(kv *proto.KV, text []byte) bool {
	if bytes.IndexByte([]byte(`"[-0123456789tfn`), text[0]) < 0 {
		return false // most words; the reader would make an error of it
	}
	whole, arena, growth := p.scan, len(p.arena), p.growth
	p.scan = scanner{data: text, strict: true}
	ok := p.value(kv, 0) == nil && p.scan.end() == nil
	if p.scan = whole; !ok {
		p.arena, p.growth = p.arena[:arena], growth
	}
	return ok
}

// keep returns a copy of the text that lasts until the parser's next call.
func keep[T string | []byte](p *Parser, text T) []byte {
	from := len(p.arena)
	p.arena = append(p.arena, text...)
	return p.arena[from:len(p.arena):len(p.arena)]
}

// reshape gives the keys of kvs their prefix, and the members of objects in kvs keys of their own.
// Of equal keys the last wins. start is where the payload's object begins.
func (p *Parser) reshape(shape *Shape, start int) error {
	read := p.kvs
	p.kvs, p.spare = p.spare[:0], read // each is written while the other is read
	p.flat = 0
	p.index.reset()
	text := p.scan
	defer func() { p.scan = text }()
	for i := range read {
		kv := read[i]
		from := len(p.arena)
		p.arena = append(append(p.arena, shape.Prefix...), kv.Key...)
		kv.Key = p.arena[from:len(p.arena):len(p.arena)]
		var err error
		if shape.Flatten && kv.Type == proto.KeyValueType_JSON_V && kv.Str[0] == '{' {
			err = p.flatten(kv, start)
		} else {
			err = p.put(kv, start)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// put adds kv to kvs, or takes the place of an equal key there.
func (p *Parser) put(kv proto.KV, start int) error {
	if why := BadKey(kv.Key); why != "" {
		return p.scan.fail(start, "the key %q %s", excerpt(kv.Key), why)
	}
	i := p.index.find(kv.Key, p.kvs)
	if i < len(p.kvs) {
		p.kvs[i] = kv
		return nil
	}
	if i == MaxFlat {
		return p.scan.fail(start, "more than %d keys in one message", MaxFlat)
	}
	if p.flat += len(kv.Key); p.flat > maxFlatBytes {
		return p.scan.fail(start, "the keys of one message take more than %d bytes", maxFlatBytes)
	}
	p.kvs = append(p.kvs, kv)
	return nil
}

// empty is the text of an object without members.
var empty = []byte("{}")

// flatten puts the members of the object in kv, which is strict JSON, each under a key that begins
// with that of kv. An object without members stays a value.
func (p *Parser) flatten(kv proto.KV, start int) error {
	var lengths [MaxFlatDepth]int // of the key of each object that is open
	key := append(p.path[:0], kv.Key...)
	defer func() { p.path = key[:0] }()
	depth := 1 // names in the key so far
	lengths[0] = len(key)
	p.scan = scanner{data: kv.Str, pos: 1, strict: true}
	s := &p.scan
	for first := true; depth > 0; {
		key = key[:lengths[depth-1]]
		raw, how, more, err := s.key(first)
		switch {
		case err != nil:
			return err // not of text that the parser has written
		case !more && first:
			if err := p.put(proto.KV{Key: keep(p, key), Type: proto.KeyValueType_JSON_V, Str: empty}, start); err != nil {
				return err
			}
			fallthrough
		case !more:
			depth--
			first = false
			continue
		}
		first = false
		key = append(key, '.')
		if how&escaped != 0 {
			key = appendUnescaped(key, raw)
		} else {
			key = append(key, raw...)
		}
		if s.peek() == '{' && depth+1 < MaxFlatDepth {
			lengths[depth] = len(key)
			depth++
			s.pos++
			first = true
			continue
		}
		var member proto.KV
		if err := p.value(&member, 0); err != nil {
			return err
		}
		if member.Type == typeNull {
			continue
		}
		member.Key = keep(p, key)
		if err := p.put(member, start); err != nil {
			return err
		}
	}
	return nil
}
