package payload

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestRefusedTelemetry(t *testing.T) {
	long := strings.Repeat("k", 256)
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct{ name, json, reason string }{
		{"empty", ``, "bad JSON"},
		{"white space", "  ", "bad JSON"},
		{"number", `5`, "must be a JSON object"},
		{"null", `null`, "must be a JSON object"},
		{"string", `"a"`, "must be a JSON object"},
		{"word", `hello`, "must be a JSON object"},
		{"number in the array", `[{"a":1},5]`, "must be a JSON object"},
		{"array in the array", `[[{"a":1}]]`, "must be a JSON object"},
		{"null in the array", `[null]`, "must be a JSON object"},
		{"nested bad element", `[{"a":1},{"ts":1,"values":{"b":[1,}]}}]`, "bad JSON"},
		{"trailing comma in the array", `[{"a":1},]`, "bad JSON"},
		{"trailing comma in the object", `{"a":1,}`, "bad JSON"},
		{"leading comma", `{,"a":1}`, "bad JSON"},
		{"no comma", `{"a":1 "b":2}`, "bad JSON"},
		{"no colon", `{"a" 1}`, "bad JSON"},
		{"no value", `{"a":}`, "bad JSON"},
		{"text behind", `{"a":1} x`, "bad JSON"},
		{"NUL behind", "{\"a\":1}\x00", "bad JSON"},
		{"second document", `{"a":1}{"b":2}`, "bad JSON"},
		{"unfinished object", `{"a":1`, "bad JSON"},
		{"unfinished array", `[{"a":1}`, "bad JSON"},
		{"unfinished string", `{"a":"b`, "bad JSON"},
		{"unfinished escape", `{"a":"b\`, "bad JSON"},
		{"bad escape", `{"a":"\x"}`, "bad JSON"},
		{"bad unicode escape", `{"a":"\u12g4"}`, "bad JSON"},
		{"absurd number", `{"a":1e99999999999999999999999}`, "too large or too small"},
		{"empty key", `{"good":1,"":2}`, "is empty"},
		{"long key", `{"` + long + `":1}`, "longer than 255"},
		{"long key of pairs", `{"` + strings.Repeat("🌡", 128) + `":1}`, "longer than 255"},
		{"NUL in a key", `{"a\u0000b":1}`, "NUL"},
		{"markup in a key", `{"<script>":1}`, "markup"},
		{"closing markup in a key", `{"a</b>":1}`, "markup"},
		{"bad key in values", `{"ts":1,"values":{"":1}}`, "is empty"},
		{"ts and values as keys", `{"ts":1,"values":{"ts":2,"values":3}}`, "cannot be stored together"},
		{
			"ts and values as keys in an array",
			`[{"ts":1,"values":{"values":3,"x":1,"ts":2}}]`, "cannot be stored together",
		},
		{"values no object", `{"ts":1,"values":5}`, "must be a JSON object"},
		{"values null", `{"ts":1,"values":null}`, "must be a JSON object"},
		{"ts null", `{"ts":null,"values":{}}`, "must be a number"},
		{"ts word", `{"ts":"now","values":{}}`, "must be a number"},
		{"ts with a fraction as text", `{"ts":"1.5","values":{}}`, "must be a number"},
		{"ts empty", `{"ts":"","values":{}}`, "must be a number"},
		{"ts with two signs", `{"ts":"+-5","values":{}}`, "must be a number"},
		{"ts bool", `{"ts":true,"values":{}}`, "must be a number"},
		{"ts object", `{"ts":{},"values":{}}`, "must be a number"},
		{"ts of two", `{"ts":[1,2],"values":{}}`, "must be a number"},
		{"ts of none", `{"ts":[],"values":{}}`, "must be a number"},
		{"ts of int64 maximum", `{"ts":9223372036854775807,"values":{}}`, "years 1 to 9999"},
		{"ts over int64", `{"ts":18446744073709551617,"values":{}}`, "years 1 to 9999"},
		{"ts over int64 as double", `{"ts":1e300,"values":{}}`, "years 1 to 9999"},
		{"ts in the year 10000", `{"ts":253402300800000,"values":{}}`, "years 1 to 9999"},
		{"ts before the year 1", `{"ts":-62135596800001,"values":{}}`, "years 1 to 9999"},
		{"256 levels", deep(256), "must be a JSON object"},
		{"256 levels of value", `{"a":` + deep(255) + `}`, "deeper than 255"},
		{"256 levels in an array", `[{"a":` + deep(254) + `}]`, "deeper than 255"},
		{"100,000 levels", `{"a":` + deep(100000) + `}`, "deeper than 255"},
		{"100,000 levels of objects", strings.Repeat(`{"a":`, 100000), "deeper than 255"},
		{"too many elements", `[` + strings.Repeat(`{},`, MaxEvents) + `{}]`, "more than 32768 elements"},
	} {
		var p Parser
		events, err := p.Telemetry([]byte(c.json), testID, testNow)
		var pe *Error
		if c.name == "256 levels" {
			// The parser finds the depth, not the missing object: it reads the value first.
			if err == nil {
				t.Errorf("%s: accepted", c.name)
			}
			continue
		}
		if !errors.As(err, &pe) || !strings.Contains(err.Error(), c.reason) || events != nil {
			t.Errorf("%s: %d events, error %v; want an Error with %q", c.name, len(events), err, c.reason)
			continue
		}
		if pe.Offset < 0 || pe.Offset > len(c.json) || !utf8.ValidString(err.Error()) || len(err.Error()) > 300 {
			t.Errorf("%s: bad error %d %q", c.name, pe.Offset, err)
		}
	}
}

// TestErrorsNameTheOffset holds the offset in an error to that of the offending byte.
func TestErrorsNameTheOffset(t *testing.T) {
	for json, want := range map[string]string{
		`{"a":1,"b":}`:                 `bad JSON: '}' where a value`,
		`{"a":1,"b":1e999999999}`:      `the number 1e999999999 is too large or too small (at byte 11)`,
		`{"a":1,"<b>":2}`:              `the key "<b>" contains markup (at byte 7)`,
		`{"ts":"x","values":{"a":1}}`:  `"ts" must be a number of milliseconds since 1970 (at byte 6)`,
		`{"a":1`:                       `bad JSON: the text ends where ',' or '}' should be (at byte 6)`,
		`{"a":[1,[2,{"b":3 "c":4}]]} `: `bad JSON: '"' where ',' or '}' should be (at byte 18)`,
	} {
		var p Parser
		if _, err := p.Telemetry([]byte(json), testID, testNow); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", json, err, want)
		}
	}
}

func TestValueTooLargeForAnEvent(t *testing.T) {
	var p Parser
	body := []byte(`{"a":"` + strings.Repeat("x", largeEvent+partEvent) + `"}`)
	if _, err := p.Telemetry(body, testID, testNow); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
	if _, err := p.Attributes(body, testID, testNow); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
}

func TestNestingAllowed(t *testing.T) {
	var p Parser
	json := `{"a":` + strings.Repeat("[", 254) + strings.Repeat("]", 254) + `}`
	if _, err := p.Telemetry([]byte(json), testID, testNow); err != nil {
		t.Errorf("255 levels: %v", err)
	}
}

// TestStrictRefuses expects a strict parser to refuse what a lenient one takes.
func TestStrictRefuses(t *testing.T) {
	for _, c := range []struct{ name, json, reason string }{
		{"control character", "{\"a\":\"b\nc\"}", "control character"},
		{"single quotes", `{'a':1}`, "bad JSON"},
		{"bare name", `{a:1}`, "bad JSON"},
		{"comment", `{"a":1/*x*/}`, "bad JSON"},
		{"NaN", `{"a":NaN}`, "bad JSON"},
		{"Infinity", `{"a":-Infinity}`, "bad JSON"},
		{"hexadecimal", `{"a":0x10}`, "bad JSON"},
		{"leading zero", `{"a":012}`, "bad JSON"},
		{"plus", `{"a":+5}`, "bad JSON"},
		{"point at the end", `{"a":5.}`, "bad JSON"},
		{"point first", `{"a":.5}`, "bad JSON"},
		{"no exponent", `{"a":5e}`, "bad JSON"},
		{"part of a word", `{"a":tru}`, "bad JSON"},
		{"long word", `{"a":truex}`, "bad JSON"},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", "invalid UTF-8"},
		{"overlong UTF-8", "{\"a\":\"\xc0\xaf\"}", "invalid UTF-8"},
		{"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", "invalid UTF-8"},
		{"comment in a line", "{\"a\":1 // x\n}", "bad JSON"},
		{"hash", "{\"a\":1 # x\n}", "bad JSON"},
		{"prefix", ")]}'\n{\"a\":1}", "must be a JSON object"},
		{"equals sign", `{"a"=1}`, "bad JSON"},
		{"arrow", `{"a"=>1}`, "bad JSON"},
		{"semicolon", `{"a":1;"b":2}`, "bad JSON"},
		{"semicolon in an array", `{"a":[1;2]}`, "bad JSON"},
		{"semicolon between elements", `[{"a":1};{"b":2}]`, "bad JSON"},
		{"capitals", `{"a":TRUE}`, "bad JSON"},
		{"missing element", `{"a":[1,,2]}`, "bad JSON"},
		{"last element missing", `{"a":[1,]}`, "bad JSON"},
		{"escaped single quote", `{"a":"\'"}`, "bad JSON"},
		{"escaped end of a line", "{\"a\":\"\\\n\"}", "bad JSON"},
		{"single quotes around a value", `{"a":'b'}`, "bad JSON"},
		{"bare value inside", `{"a":[hello]}`, "bad JSON"},
		{"bare name inside", `{"a":{b:1}}`, "bad JSON"},
		{"bare ts", `{"ts":012,"values":{}}`, "bad JSON"},
	} {
		p := Parser{Strict: true}
		events, err := p.Telemetry([]byte(c.json), testID, testNow)
		var pe *Error
		if events != nil || !errors.As(err, &pe) || !strings.Contains(err.Error(), c.reason) && c.name != "prefix" {
			t.Errorf("%s: %d events, error %v; want an Error with %q", c.name, len(events), err, c.reason)
		}
		p.Strict = false
		if events, err = p.Telemetry([]byte(c.json), testID, testNow); err != nil || len(events) == 0 {
			t.Errorf("%s: a lenient parser says %v", c.name, err)
		}
	}
}
