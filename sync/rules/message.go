package rules

import (
	"strconv"
	"strings"
	"unicode/utf16"

	"edgesync/proto"
	"edgesync/sync/rules/script"
)

// The message types that the engine treats in a way of their own (RULES.md 3.2 has them all).
const (
	PostTelemetry     = "POST_TELEMETRY_REQUEST"
	PostAttributes    = "POST_ATTRIBUTES_REQUEST"
	AttributesUpdated = "ATTRIBUTES_UPDATED"
	AttributesDeleted = "ATTRIBUTES_DELETED"
	CallFromDevice    = "TO_SERVER_RPC_REQUEST"
	CallToDevice      = "RPC_CALL_FROM_SERVER_TO_DEVICE"
)

// Entity is a thing that messages are about: its type as the server writes it (DEVICE, ASSET, …),
// and its id.
type Entity struct {
	Type string
	ID   proto.UUID
}

// Message is what goes through a chain (RULES.md 2.1). Whoever brings it fills in the fields;
// from Handle on it belongs to the engine.
type Message struct {
	Type       string
	Originator Entity
	Time       int64 // of its creation, ms since the epoch
	Metadata   []script.Pair
	Data       string // JSON
	// Up: what the message says is in the queue already. A push node passes it on as long as its
	// data are what they were, and nothing is done instead of a chain.
	Up bool

	owned  bool // nobody else has Metadata
	pushed bool
	count  int32   // executions of nodes so far
	seq    uint32  // in the journal, while a node holds it
	stack  []frame // calls of chains
	from   *origin
	stored int64 // when a node began to hold it
}

// frame is a call of another chain: where its outputs go on.
type frame struct {
	chain proto.UUID
	node  uint64 // node.key
}

// maxStack bounds the calls that a message may have open.
const maxStack = 64

// origin is what became of a message that entered and of all that came of it in one round.
type origin struct {
	raw     []*Message // as they entered; several where a window merged them
	live    int        // messages that are on their way
	pushed  bool       // a push node was reached
	odd     bool       // a node that is not supported was met
	failed  bool       // a node failed, and its Failure is not connected
	called  bool       // a device was called
	replied bool       // a device's call was answered
}

//go:noinline
func (m *Message) meta(key string) string {
	for i := range m.Metadata {
		if m.Metadata[i].Key == key {
			return m.Metadata[i].Value
		}
	}
	return ""
}

//go:noinline
func (m *Message) hasMeta(key string) bool {
	for i := range m.Metadata {
		if m.Metadata[i].Key == key {
			return true
		}
	}
	return false
}

// newMessage is a message that a node makes.
//
//go:noinline
func newMessage(typ string, who Entity, now int64, data string) *Message {
	return &Message{Type: typ, Originator: who, Time: now, Data: data, from: &origin{live: 1}}
}

// own makes the metadata the message's alone.
//
//go:noinline
func (m *Message) own() {
	if !m.owned {
		m.Metadata = append(make([]script.Pair, 0, len(m.Metadata)+4), m.Metadata...)
		m.owned = true
	}
}

//go:noinline
func (m *Message) setMeta(key, value string) {
	m.own()
	for i := range m.Metadata {
		if m.Metadata[i].Key == key {
			m.Metadata[i].Value = value
			return
		}
	}
	m.Metadata = addPair(m.Metadata, key, value)
}

// keepMeta removes the metadata for which stays is false.
//
//go:noinline
func (m *Message) keepMeta(stays func(key string) bool) {
	old := m.Metadata
	m.Metadata, m.owned = make([]script.Pair, 0, len(old)), true
	for _, p := range old {
		if stays(p.Key) {
			m.Metadata = addPair(m.Metadata, p.Key, p.Value)
		}
	}
}

// copyOf is a copy whose changes m does not see.
//
//go:noinline
func (m *Message) copyOf() *Message {
	m.owned = false
	c := *m
	return &c
}

// when is the message time (RULES.md 2.1).
func (m *Message) when() int64 {
	if t, err := strconv.ParseInt(m.meta("ts"), 10, 64); err == nil {
		return t
	}
	return m.Time
}

// object parses the data, which must be an object; nil if they are none.
func (m *Message) object() *tree {
	t, err := parseTree(m.Data)
	if err != nil || t.kind != isObject {
		return nil
	}
	return t
}

// metadataTree is the metadata as an object, in the order in which Java's HashMap holds them.
func (m *Message) metadataTree() *tree {
	t := &tree{kind: isObject}
	for _, p := range hashOrder(m.Metadata) {
		t.set(p.Key, textTree(p.Value))
	}
	return t
}

// appendMetadata appends metadataTree as JSON. No two metadata have one key.
func (m *Message) appendMetadata(b []byte) []byte {
	b = addByte(b, '{')
	for i, p := range hashOrder(m.Metadata) {
		if i > 0 {
			b = addByte(b, ',')
		}
		b = addByte(proto.AppendJSONString(b, p.Key), ':')
		b = proto.AppendJSONString(b, p.Value)
	}
	return addByte(b, '}')
}

// hashOrder is pairs in the order of a HashMap of Java: by bucket, then as they came.
func hashOrder(pairs []script.Pair) []script.Pair {
	size := uint32(16)
	for len(pairs)*4 > int(size)*3 {
		size *= 2
	}
	out := make([]script.Pair, 0, len(pairs))
	buckets := make([]uint32, len(pairs))
	for i, p := range pairs {
		var h uint32
		for _, c := range p.Key {
			if c >= 0x10000 {
				high, low := utf16.EncodeRune(c)
				h = (h*31+uint32(high))*31 + uint32(low)
				continue
			}
			h = h*31 + uint32(c)
		}
		buckets[i] = (h ^ h>>16) & (size - 1)
		at := i
		for at > 0 && buckets[at-1] > buckets[at] {
			buckets[at-1], buckets[at] = buckets[at], buckets[at-1]
			at--
		}
		out = addPair(out, p.Key, p.Value)
		copy(out[at+1:], out[at:])
		out[at] = p
	}
	return out
}

// pattern fills in ${metadata} and $[data] (RULES.md 4.2); ok is false if data are asked for and
// are no JSON.
func (m *Message) pattern(text string) (filled string, ok bool) {
	if !strings.Contains(text, "${") && !strings.Contains(text, "$[") {
		return text, true
	}
	text = replaced(text, "${", '}', func(key string) (string, bool) {
		if key == "*" {
			return string(m.appendMetadata(nil)), true
		}
		return m.meta(key), m.hasMeta(key)
	})
	if !strings.Contains(text, "$[") {
		return text, true
	}
	data, err := parseTree(m.Data)
	if err != nil {
		return text, false
	}
	return replaced(text, "$[", ']', func(path string) (string, bool) {
		if path == "*" {
			return data.String(), true
		}
		t := data.under(path)
		if t == nil || t.kind >= isList {
			return "", false
		}
		return t.plain(), true
	}), true
}

// replaced replaces each open…end of text for which value knows one.
func replaced(text, open string, end byte, value func(key string) (string, bool)) string {
	var b []byte
	for {
		i := strings.Index(text, open)
		if i < 0 {
			break
		}
		n := strings.IndexByte(text[i:], end)
		if n < 0 {
			break
		}
		if end == '}' { // one of metadata may be in another one
			inner := strings.LastIndex(text[i:i+n], open)
			i, n = i+inner, n-inner
		}
		b = addText(b, text[:i])
		if v, ok := value(text[i+len(open) : i+n]); ok {
			b = addText(b, v)
		} else {
			b = addText(b, text[i:i+n+1])
		}
		text = text[i+n+1:]
	}
	return string(addText(b, text))
}
