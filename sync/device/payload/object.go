package payload

import (
	"edgesync/proto"
)

// object reads an object inside depth levels into kvs, with each value converted. Of equal keys the
// last wins. A null is no value, and removes an earlier one of the same key.
func (p *Parser) object(depth int) error {
	s := &p.scan
	p.kvs = p.kvs[:0]
	p.index.reset()
	nulls := false
	s.pos++
	for first := true; ; first = false {
		raw, how, more, err := s.key(first)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		at, key := s.last, raw
		if how&escaped != 0 {
			from := len(p.arena)
			p.arena = appendUnescaped(p.arena, raw)
			key = p.arena[from:len(p.arena):len(p.arena)]
		}
		if why := BadKey(key); why != "" {
			return s.fail(at, "the key %q %s", excerpt(key), why)
		}
		i := p.index.find(key, p.kvs)
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

// typeNull marks a key whose last value is null. It does not leave object.
const typeNull proto.KeyValueType = -1

// value reads one value inside depth levels and converts it (API.md 1.3).
func (p *Parser) value(kv *proto.KV, depth int) error {
	s := &p.scan
	c := s.peek()
	at := s.pos
	switch {
	case s.isQuote(c):
		raw, how, err := s.quoted(c)
		if err != nil {
			return err
		}
		if how&escaped != 0 {
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
	text, what, err := s.scalar()
	if err != nil {
		return err
	}
	switch what {
	case isTrue, isFalse:
		kv.Type, kv.Bool = proto.KeyValueType_BOOLEAN_V, what == isTrue
		return nil
	case isNull:
		kv.Type = typeNull
		return nil
	case isWord:
		return p.text(kv, text, at)
	}
	return p.setNumber(kv, text, at)
}
