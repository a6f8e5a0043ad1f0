package cloudtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"edgesync/proto"
)

// object is the JSON of an entity in an uplink. Unknown members are ignored, missing ones are null
// (CONTRACT.md 5.1).
type object map[string]json.RawMessage

const redacted = "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: %d, column: %d]"

// readObject parses the JSON of an entity. The error for text that does not parse has the words of
// the server's parser (CONTRACT.md 4.5). The text "null" gives a nil object.
func readObject(src, class, where string) (object, error) {
	if strings.Trim(src, " \t\r\n") == "" {
		return nil, &thrown{
			"No content to map due to end-of-input\n" +
				" at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1]", where,
		}
	}
	var first json.RawMessage
	if json.NewDecoder(strings.NewReader(src)).Decode(&first) != nil { // the server ignores text behind the first value
		s := scanner{src: src}
		if err := s.value(); err != nil {
			return nil, &thrown{err.Error(), where}
		}
		return nil, &thrown{"Unexpected character", where}
	}
	switch first[0] {
	case 'n':
		return nil, nil
	case '{':
		var o object
		if err := json.Unmarshal(first, &o); err != nil {
			return nil, &thrown{err.Error(), where}
		}
		return o, nil
	}
	token := map[byte]string{
		'[': "Array value (token `JsonToken.START_ARRAY`)", '"': "String value",
		't': "Boolean value (token `JsonToken.VALUE_TRUE`)", 'f': "Boolean value (token `JsonToken.VALUE_FALSE`)",
	}[first[0]]
	if token == "" {
		token = "Number value"
	}
	return nil, &thrown{"Cannot deserialize value of type `org.thingsboard.server.common.data." + class + "` from " + token, where}
}

// given returns the JSON text of a member, nil if it is absent or null.
func (o object) given(name string) json.RawMessage {
	raw := o[name]
	if raw == nil || bytes.Equal(raw, []byte("null")) {
		return nil
	}
	return raw
}

func (o object) text(name string) string { return text(o[name]) }

// millis returns a member that is a time, 0 if absent.
func (o object) millis(name string) (ms int64) {
	if json.Unmarshal(o[name], &ms) != nil {
		return 0
	}
	return ms
}

// word returns a member with one of the words of an enumeration. ok is false if the member is
// absent; the error for another word is thrown.
func (o object) word(name, class string, words []string, where string) (word string, ok bool, err error) {
	raw := o.given(name)
	if raw == nil {
		return "", false, nil
	}
	word = text(raw)
	for _, w := range words {
		if w == word {
			return word, true, nil
		}
	}
	return "", false, &thrown{fmt.Sprintf("Cannot deserialize value of type "+
		"`org.thingsboard.server.common.data.%s` from String %s: not one of the values accepted for Enum class: [%s]\n"+
		" at "+redacted, class, quoted(word), strings.Join(words, ", "), 1, 1), where}
}

// originator returns an id object whose type is not known beforehand: it must have both members
// (CONTRACT.md 5.1). ok is false if it is null. The type is typeNone for an unknown name, which is
// an error on the server.
func (o object) originator(name, where string) (r ref, ok bool, err error) {
	raw := o.given(name)
	if raw == nil {
		return ref{}, false, nil
	}
	var id struct {
		EntityType string `json:"entityType"`
		ID         string `json:"id"`
	}
	if json.Unmarshal(raw, &id) != nil || id.EntityType == "" || id.ID == "" {
		return ref{}, false, &thrown{"Unexpected IOException (of type java.io.IOException): Missing entityType or id!", where}
	}
	if r.typ, err = typeOf(id.EntityType, where); err != nil {
		return ref{}, false, err
	}
	if r.id, ok = proto.ParseUUID(id.ID); !ok {
		return ref{}, false, &thrown{"Invalid UUID string: " + id.ID, where}
	}
	return r, true, nil
}

// cannotConvert is what the server throws for an entity that is the text "null": its text is the
// whole message, printed over several lines.
func (u *uplink) cannotConvert(part, kind string, typ proto.UpdateMsgType, msb, lsb int64, entity, where string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "[{%s}] %s {", proto.FormatUUID(u.t.id), part)
	if typ != created {
		name, known := proto.UpdateMsgType_name[int32(typ)]
		if !known {
			name = fmt.Sprint(int32(typ))
		}
		fmt.Fprintf(&b, "msgType: %s\n", name)
	}
	fmt.Fprintf(&b, "idMSB: %d\nidLSB: %d\nentity: %s\n} cannot be converted to %s", msb, lsb, quoted(entity), kind)
	return &thrown{b.String(), where}
}

// scanner finds the error in a JSON text, in the words of the server's strict parser. It is used
// only on texts that do not parse.
type scanner struct {
	src   string
	pos   int
	depth int
}

func (s *scanner) at(pos int) string {
	line, start := 1, 0
	for i := range pos {
		if s.src[i] == '\n' {
			line, start = line+1, i+1
		}
	}
	return fmt.Sprintf(redacted, line, pos-start+1)
}

func (s *scanner) space() {
	for s.pos < len(s.src) && strings.IndexByte(" \t\r\n", s.src[s.pos]) >= 0 {
		s.pos++
	}
}

func (s *scanner) ended(what string, start int) error {
	return said("Unexpected end-of-input: expected close marker for %s (start marker at %s)\n at %s", what, s.at(start), s.at(len(s.src)))
}

func (s *scanner) unexpected(want string) error {
	r, _ := utf8.DecodeRuneInString(s.src[s.pos:])
	return said("Unexpected character ('%c' (code %d)): %s\n at %s", r, r, want, s.at(s.pos))
}

func (s *scanner) value() error {
	s.space()
	if s.pos == len(s.src) {
		return said("Unexpected end-of-input within/between entries\n at %s", s.at(s.pos))
	}
	if s.depth++; s.depth > 1000 {
		return said("Document nesting depth (1001) exceeds the maximum allowed (1000, from `StreamReadConstraints.getMaxNestingDepth()`)")
	}
	defer func() { s.depth-- }()
	switch c := s.src[s.pos]; {
	case c == '{':
		return s.members("Object", '}')
	case c == '[':
		return s.members("Array", ']')
	case c == '"':
		return s.text()
	case c == '-' || c >= '0' && c <= '9':
		for s.pos < len(s.src) && strings.IndexByte("+-.eE0123456789", s.src[s.pos]) >= 0 {
			s.pos++
		}
		return nil
	case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		start := s.pos
		for s.pos < len(s.src) && strings.IndexByte(" \t\r\n,:{}[]\"", s.src[s.pos]) < 0 {
			s.pos++
		}
		switch word := s.src[start:s.pos]; word {
		case "true", "false", "null":
			return nil
		default:
			return said("Unrecognized token '%s': was expecting "+
				"(JSON String, Number, Array, Object or token 'null', 'true' or 'false')\n at %s", word, s.at(s.pos))
		}
	}
	return s.unexpected("expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')")
}

func (s *scanner) members(what string, end byte) error {
	start := s.pos
	s.pos++
	for first := true; ; first = false {
		s.space()
		if s.pos == len(s.src) {
			return s.ended(what, start)
		}
		if s.src[s.pos] == end {
			s.pos++
			return nil
		}
		if !first {
			if s.src[s.pos] != ',' {
				return s.unexpected("was expecting comma to separate " + what + " entries")
			}
			s.pos++
			s.space()
			if s.pos == len(s.src) {
				return s.ended(what, start)
			}
		}
		if what == "Object" {
			if s.src[s.pos] != '"' {
				return s.unexpected("was expecting double-quote to start field name")
			}
			if err := s.text(); err != nil {
				return err
			}
			s.space()
			if s.pos == len(s.src) {
				return s.ended(what, start)
			}
			if s.src[s.pos] != ':' {
				return s.unexpected("was expecting a colon to separate field name and value")
			}
			s.pos++
		}
		s.space()
		if s.pos == len(s.src) {
			return s.ended(what, start)
		}
		if err := s.value(); err != nil {
			return err
		}
	}
}

func (s *scanner) text() error {
	for s.pos++; s.pos < len(s.src); s.pos++ {
		switch c := s.src[s.pos]; {
		case c == '\\':
			s.pos++
		case c == '"':
			s.pos++
			return nil
		case c < 0x20:
			return said("Illegal unquoted character ((CTRL-CHAR, code %d)): has to be escaped "+
				"using backslash to be included in string value\n at %s", c, s.at(s.pos))
		}
	}
	s.pos = len(s.src)
	return said("Unexpected end-of-input: was expecting closing quote for a string value\n at %s", s.at(s.pos))
}

// serverWords is an error in the words of the server, which do not follow Go's style of error
// texts.
type serverWords string

func (w serverWords) Error() string { return string(w) }

func said(format string, args ...any) error { return serverWords(fmt.Sprintf(format, args...)) }
