package payload

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"edgesync/proto"
	"edgesync/sync/device/charset"
)

// reference reads JSON by the rules of API.md 1.3 in the plainest way, with recursion, copies and
// panics, for comparison. It knows the rules of the text; what becomes of a number or of a text
// that looks like one, TestValues holds against the section.
type reference struct {
	text []rune
	at   int
}

// node is a value. Of an object the last of equal keys counts, in the place of the first.
type node struct {
	kind   byte // o, a, s, n, b, 0 for null
	text   string
	keys   []string
	values []node
}

var errReference = errors.New("refused")

func (r *reference) refuse() { panic(errReference) }

func (r *reference) looking(text string) bool {
	return strings.HasPrefix(string(r.text[r.at:min(len(r.text), r.at+8)]), text)
}

func (r *reference) skip() {
	for r.at < len(r.text) {
		switch {
		case strings.ContainsRune(" \t\r\n", r.text[r.at]):
			r.at++
		case r.looking("/*"):
			for r.at += 2; !r.looking("*/"); r.at++ {
				if r.at >= len(r.text) {
					r.refuse()
				}
			}
			r.at += 2
		case r.looking("//") || r.looking("#"):
			for r.at < len(r.text) && r.text[r.at] != '\n' && r.text[r.at] != '\r' {
				r.at++
			}
		default:
			return
		}
	}
}

func (r *reference) take(texts ...string) bool {
	r.skip()
	for _, t := range texts {
		if r.looking(t) {
			r.at += len(t)
			return true
		}
	}
	return false
}

func (r *reference) word() (string, bool) {
	r.skip()
	from := r.at
	for r.at < len(r.text) && !strings.ContainsRune("/\\;#={}[]:, \t\f\r\n", r.text[r.at]) {
		r.at++
	}
	return string(r.text[from:r.at]), r.at > from
}

func (r *reference) quoted() (text string, ok bool) {
	r.skip()
	if !r.looking(`"`) && !r.looking("'") {
		return "", false
	}
	quote := r.text[r.at]
	var units []uint16
	for r.at++; ; r.at++ {
		if r.at >= len(r.text) {
			r.refuse()
		}
		switch c := r.text[r.at]; c {
		case quote:
			r.at++
			return strings.ReplaceAll(string(decodeUnits(units)), "\ufffe", "?"), true
		case '\\':
			r.at++
			if r.at >= len(r.text) {
				r.refuse()
			}
			if i := strings.IndexRune("\"\\/bfnrt'\n", r.text[r.at]); i >= 0 {
				units = append(units, uint16("\"\\/\b\f\n\r\t'\n"[i]))
				continue
			}
			if r.text[r.at] != 'u' || r.at+4 >= len(r.text) {
				r.refuse()
			}
			var u uint16
			for _, d := range string(r.text[r.at+1 : r.at+5]) {
				i := strings.IndexRune("0123456789abcdef0123456789ABCDEF", d)
				if i < 0 {
					r.refuse()
				}
				u = u<<4 | uint16(i%16)
			}
			r.at += 4
			units = append(units, u)
		default:
			units = utf16.AppendRune(units, c)
		}
	}
}

// decodeUnits is utf16.Decode with "?" for a surrogate alone.
func decodeUnits(units []uint16) (text []rune) {
	for i := 0; i < len(units); i++ {
		u := rune(units[i])
		if utf16.IsSurrogate(u) {
			if i+1 < len(units) && utf16.DecodeRune(u, rune(units[i+1])) != 0xFFFD {
				u = utf16.DecodeRune(u, rune(units[i+1]))
				i++
			} else {
				u = '?'
			}
		}
		text = append(text, u)
	}
	return text
}

func (r *reference) value(depth int) node {
	if text, ok := r.quoted(); ok {
		return node{kind: 's', text: text}
	}
	if depth == maxDepth && (r.looking("{") || r.looking("[")) {
		r.refuse()
	}
	switch {
	case r.take("{"):
		n := node{kind: 'o'}
		for !r.take("}") {
			if len(n.keys) > 0 && !r.take(",", ";") {
				r.refuse()
			}
			key, ok := r.quoted()
			if !ok {
				if key, ok = r.word(); !ok {
					r.refuse()
				}
			}
			if !r.take("=>", "=", ":") {
				r.refuse()
			}
			n.keys, n.values = append(n.keys, key), append(n.values, r.value(depth+1))
		}
		return n.once()
	case r.take("["):
		n := node{kind: 'a'}
		for !r.take("]") {
			if len(n.values) > 0 && !r.take(",", ";") {
				r.refuse()
			}
			if r.skip(); r.looking(",") || r.looking(";") || r.looking("]") {
				n.values = append(n.values, node{})
			} else {
				n.values = append(n.values, r.value(depth+1))
			}
		}
		return n
	}
	word, ok := r.word()
	if !ok {
		r.refuse()
	}
	ascii := !strings.ContainsFunc(word, func(c rune) bool { return c >= 0x80 })
	switch lower := strings.ToLower(word); {
	case ascii && lower == "null":
		return node{}
	case ascii && (lower == "true" || lower == "false"):
		return node{kind: 'b', text: lower}
	case len(word) < 1024 && (word[0] == '-' || '0' <= word[0] && word[0] <= '9') && json.Valid([]byte(word)):
		return node{kind: 'n', text: word}
	}
	return node{kind: 's', text: word}
}

func (n node) once() node {
	kept := node{kind: n.kind}
	for i, k := range n.keys {
		if at := slices.Index(kept.keys, k); at >= 0 {
			kept.values[at] = n.values[i]
		} else {
			kept.keys, kept.values = append(kept.keys, k), append(kept.values, n.values[i])
		}
	}
	return kept
}

func (n node) get(key string) (node, bool) {
	i := slices.Index(n.keys, key)
	if i < 0 {
		return node{}, false
	}
	return n.values[i], true
}

// String writes a value in one way only.
func (n node) String() string {
	var b strings.Builder
	switch n.kind {
	case 0:
		return "null"
	case 's':
		return fmt.Sprintf("%q", n.text)
	case 'n', 'b':
		return n.text
	}
	for i, v := range n.values {
		if n.keys != nil {
			fmt.Fprintf(&b, "%q:", n.keys[i])
		}
		fmt.Fprintf(&b, "%v,", v)
	}
	return string(n.kind) + "(" + b.String() + ")"
}

func readReference(text string) (n node, err error) {
	defer func() {
		if e := recover(); e != nil && e != errReference {
			panic(e)
		} else if e != nil {
			err = errReference
		}
	}()
	r := reference{text: []rune(strings.TrimPrefix(text, "\ufeff"))}
	if r.skip(); r.looking(")]}'\n") {
		r.at += 5
	}
	n = r.value(0)
	if strings.Trim(string(r.text[r.at:]), " \t\r\n") != "" {
		r.refuse()
	}
	return n, nil
}

// lists are the values of each element of telemetry as compare writes them, or an error.
func (n node) lists() (lists []string, err error) {
	elements := []node{n}
	if n.kind == 'a' {
		elements = n.values
	}
	for _, e := range elements {
		if e.kind != 'o' {
			return nil, errReference
		}
		values := e
		ts, timed := e.get("ts")
		if v, ok := e.get("values"); ok && timed {
			if ts.kind == 0 || ts.kind == 'b' || ts.kind == 'o' || v.kind != 'o' {
				return nil, errReference
			}
			values = v
		}
		var b strings.Builder
		_, hasTs := values.get("ts")
		_, hasValues := values.get("values")
		for i, k := range values.keys {
			if BadKey([]byte(k)) != "" {
				return nil, errReference
			}
			switch v := values.values[i]; v.kind {
			case 0:
				hasTs, hasValues = hasTs && k != "ts", hasValues && k != "values"
				continue
			case 'b':
				fmt.Fprintf(&b, "%q=b%s ", k, v.text)
			case 's', 'n':
				var p Parser
				var kv proto.KV
				if v.kind == 's' {
					err = p.Text(&kv, []byte(v.text))
				} else {
					err = p.setNumber(&kv, []byte(v.text), 0)
				}
				if err != nil {
					return nil, err
				}
				fmt.Fprintf(&b, "%q=%d %d %v %q ", k, kv.Type, kv.Long, kv.Double, kv.Str)
			default:
				fmt.Fprintf(&b, "%q=j%v ", k, v)
			}
		}
		if hasTs && hasValues {
			return nil, errReference
		}
		lists = append(lists, b.String())
	}
	return lists, nil
}

// compare holds the parser against the reference.
func compare(t *testing.T, body []byte) {
	clean := charset.UTF8(nil, body)
	n, err := readReference(string(clean))
	var want []string
	if err == nil {
		want, err = n.lists()
	}
	var p Parser
	events, got := p.Telemetry(body, testID, testNow)
	if got != nil && strings.Contains(got.Error(), `"ts"`) {
		return // what is a time, the reference does not know
	}
	if p.growth > 0 { // it depends on the numbers in front which of them are written out
		return
	}
	if (err != nil) != (got != nil) || len(events) != len(want) {
		t.Fatalf("%q: %d events, %v; the reference says %v %q", body, len(events), got, err, want)
	}
	for i, d := range decode(t, events) {
		var b strings.Builder
		for _, kv := range d.PostTelemetryMsg.TsKvList[0].Kv {
			switch kv.Type {
			case proto.KeyValueType_BOOLEAN_V:
				fmt.Fprintf(&b, "%q=b%v ", kv.Key, kv.BoolV)
			case proto.KeyValueType_JSON_V:
				inner, err := readReference(kv.JsonV)
				if err != nil || !json.Valid([]byte(kv.JsonV)) {
					t.Fatalf("%q: %q is not strict", body, kv.JsonV)
				}
				fmt.Fprintf(&b, "%q=j%v ", kv.Key, inner)
			default:
				fmt.Fprintf(&b, "%q=%d %d %v %q ", kv.Key, kv.Type, kv.LongV, kv.DoubleV, kv.StringV)
			}
		}
		if b.String() != want[i] {
			t.Fatalf("%q: element %d is %s\nthe reference says %s", body, i, b.String(), want[i])
		}
	}
}

// lenientSeeds are texts with everything of API.md 1.3 in them.
var lenientSeeds = []string{
	`{temperature:25}`, `{'a'=>nan;"b"=.5,c:TRUE}`, "#x\n[{a:1}/*y*/;{b:[,;]}]", "\ufeff)]}'\n{a:\"x\n\\'\\\n\"}",
	"{\"\xb0\":\xfc,a:'\xed\xa0\x80'}", `{ts:012,values:{it's:5.}}`, `{a:{b=[x,{},'"\u0041\ud800']}}`,
	`{a:1}//`, "{a:1\x00}", `[{a:1},]`, `{a:+5,b:0x10,c:1e5,d:-Infinity,a:NULL}`, `{a:[[[]],[1;2],]}`,
}

// FuzzLenient compares the parser with the reference.
func FuzzLenient(f *testing.F) {
	for _, s := range lenientSeeds {
		f.Add([]byte(s))
	}
	for _, v := range lenientValues {
		f.Add([]byte("{k:" + v.text + "}"))
	}
	f.Fuzz(compare)
}

// TestAgainstReference compares the parser with the reference on many texts of the pieces that the
// rules are about.
func TestAgainstReference(t *testing.T) {
	pieces := strings.Fields("{ } [ ] : , ; = => ' \" / * // /* */ # \\ \\' \\\" \\n \\u00e9 a ts values " +
		"1 0 .5 - e5 nan TRUE null true x\x00 \xb0 \xe2\x82 é ٣")
	pieces = append(pieces, " ", "\n", "\r", "\f", "{a:", "{a:1}", `"b":`, "[{", "}]", ",c=", "{'d'=>")
	seed := uint64(1)
	next := func(n int) int {
		seed = seed*6364136223846793005 + 1442695040888963407
		return int(seed>>33) % n
	}
	for range 20_000 {
		var b strings.Builder
		b.WriteString([]string{"{a:", "[{a=", "{\"a\":[", "", "{'a':1;b:"}[next(5)])
		for range next(12) {
			b.WriteString(pieces[next(len(pieces))])
		}
		b.WriteString([]string{"}", "}]", "]}", "", "'}"}[next(5)])
		compare(t, []byte(b.String()))
	}
}
