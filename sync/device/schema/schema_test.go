package schema

import (
	"encoding/hex"
	"strings"
	"testing"
)

const everything = `
// A comment.
syntax = "proto3"; /* and
another */
package all.kinds;
option java_package = "x";

message All {
  option deprecated = true;
  reserved 100 to 110, 200;
  reserved "old";
  enum Mode { option allow_alias = true; OFF = 0; ON = 1; AN = 1; MINUS = -2; }
  message Inner { optional int64 at = 1; bool ok = 2; }
  double d = 1; float f = 2; int32 i32 = 3; int64 i64 = 4; uint32 u32 = 5; uint64 u64 = 6;
  sint32 s32 = 7; sint64 s64 = 8;
  fixed32 f32 = 9; fixed64 f64 = 10; sfixed32 sf32 = 11; sfixed64 sf64 = 12; bool b = 13; string s = 14; bytes by = 15;
  Mode mode = 16; Inner inner = 17;
  repeated int32 list = 18 [packed = false]; repeated string texts = 19;
  repeated .all.kinds.All.Inner inners = 20; repeated Mode modes = 21;
  oneof choice { int32 one = 25; string two = 26; Inner three = 0x1b; }
  optional int32 maybe = 28; optional Mode maybe_mode = 29; optional double maybe_double = 30;
  optional string _under_score_3d_ = 31 [json_name = "no"];
}
`

func parse(t testing.TB, text string) *Message {
	t.Helper()
	m, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParse(t *testing.T) {
	const p3 = `syntax = "proto3"; `
	for _, c := range []struct{ text, want string }{
		{p3 + `message A {}`, ""},
		{`syntax='proto3';package a.b;message A { B b = 1; C c = 2; a.b.C d = 3; b.C e = 4; } ` +
			`message B {} enum C { X = 0; }`, ""},
		{p3 + `service S { rpc F (A) returns (A) { option x = { a: "}" }; } } message A {}`, ""},
		{p3 + `message A { message message2 {} message2 a = 1; };`, ""},
		{`message A {}`, `"proto3" is missing`},
		{`syntax = "proto2"; message A {}`, `line 1: "\"proto2\"" where "proto3" is expected`},
		{p3, "declares no message"},
		{p3 + `enum E { A = 0; }`, "declares no message"},
		{p3 + `import "x.proto"; message A {}`, "import is not supported"},
		{p3 + `import public "x.proto"; message A {}`, "import is not supported"},
		{p3 + `message A {} extend A { int32 b = 5; }`, "extend is not supported"},
		{p3 + `message A { extensions 4 to 5; }`, "extensions is not supported"},
		{p3 + `message A { group G = 1 {} }`, "group is not supported"},
		{p3 + `message A { required int32 a = 1; }`, "required is not supported"},
		{p3 + `message A { oneof o { repeated int32 a = 1; } }`, "repeated cannot stand in a oneof"},
		{p3 + `message A { int32 a = 1; int64 a = 2; }`, "used twice"},
		{p3 + `message A { int32 a = 1; oneof o { int64 b = 1; } }`, "used twice"},
		{p3 + `message A {} message A {}`, "A is declared twice"},
		{p3 + `message A {} enum A { X = 0; }`, "A is declared twice"},
		{p3 + "message A {\n\n B b = 1; }", "line 3: there is no type B"},
		{p3 + `message A { message B {} } message C { B b = 1; }`, "there is no type B"},
		{p3 + `message A { int32 a = 0; }`, "number of a field"},
		{p3 + `message A { int32 a = 536870912; }`, "number of a field"},
		{p3 + `message A { int32 a = x; }`, "number of a field"},
		{p3 + `message A { int32 a; }`, `";" where = is expected`},
		{p3 + `message A { int32 3a = 1; }`, "name of a field"},
		{p3 + `message A { map<string, int32> m = 1; }`, "map is not supported"},
		{p3 + `message A { enum E {} }`, "no values"},
		{p3 + `enum E { A = 0; A = 1; } message A {}`, "declared twice"},
		{p3 + `enum E { A = 2147483648; } message A {}`, "number of 32 bits"},
		{p3 + `message A {} package late;`, "before all types"},
		{p3 + `message A { option x = { a: 1 } ; int32 a = 1`, "the text ends"},
		{p3 + `message A { /* }`, "comment does not end"},
		{p3 + "message A { option x = \"a\n\"; }", "string does not end"},
		{p3 + `message`, "the text ends where a name"},
		{p3 + strings.Repeat("message A {", maxDepth) + strings.Repeat("}", maxDepth), ""},
		{p3 + strings.Repeat("message A {", maxDepth+1), "more than 32 deep"},
		{p3 + `message A {}` + strings.Repeat(" ", MaxText), "longer than 16384"},
	} {
		_, err := Parse(c.text)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%.100s: %v, want %s", c.text, err, c.want)
		}
	}
	parse(t, everything)
}

// TestPayloadIsTheLastMessage expects the last message at the top of the schema.
func TestPayloadIsTheLastMessage(t *testing.T) {
	m := parse(t, `syntax = "proto3"; message A { int32 a = 1; } `+
		`message B { message C { int32 c = 1; } int32 b = 1; } enum E { X = 0; }`)
	if b, err := m.AppendJSON(nil, []byte{8, 5}); string(b) != `{"b":5}` || err != nil {
		t.Errorf("%s %v", b, err)
	}
}

// TestDefaults reads an empty message: ThingsBoard's printer includes some absent fields and leaves
// out others.
func TestDefaults(t *testing.T) {
	const want = `{"d":0.0,"f":0.0,"i32":0,"i64":"0","u32":0,"u64":"0","s32":0,"s64":"0","f32":0,"f64":"0",` +
		`"sf32":0,"sf64":"0","b":false,"s":"","by":"",` +
		`"mode":"OFF","list":[],"texts":[],"inners":[],"modes":[]}`
	got, err := parse(t, everything).AppendJSON([]byte("x"), nil)
	if string(got) != "x"+want || err != nil {
		t.Errorf("got  %s %v\nwant %s", got, err, want)
	}
}

// TestAppendJSON reads wire bytes, written by hand, of one field each.
func TestAppendJSON(t *testing.T) {
	m := parse(t, everything)
	for _, c := range []struct{ wire, want string }{
		{"09 000000000000f83f", `"d":1.5`},
		{"09 000000000000f87f", `"d":"NaN"`},
		{"09 000000000000f0ff", `"d":"-Infinity"`},
		{"09 0000000000000080", `"d":-0.0`},
		{"09 0000000080842e41", `"d":1000000.0`},
		{"09 00000000d0126341", `"d":1.0E7`},
		{"09 fca9f1d24d62503f", `"d":0.001`},
		{"09 2d431cebe2361a3f", `"d":1.0E-4`},
		{"09 ffffffffffffef7f", `"d":1.7976931348623157E308`},
		{"15 cdcccc3d", `"f":0.1`},
		{"15 0000807f", `"f":"Infinity"`},
		{"15 20bcbe4c", `"f":1.0E8`},
		{"15 9a99d9bf", `"f":-1.7`},
		{"18 ffffffffffffffffff01", `"i32":-1`},
		{"18 ffffffff0f", `"i32":-1`},
		{"18 8080808010", `"i32":0`}, // the upper bits are cut
		{"20 ffffffffffffffff7f", `"i64":"9223372036854775807"`},
		{"20 80808080808080808001", `"i64":"-9223372036854775808"`},
		{"28 ffffffff0f", `"u32":4294967295`},
		{"30 ffffffffffffffffff01", `"u64":"18446744073709551615"`},
		{"38 03", `"s32":-2`},
		{"38 ffffffff0f", `"s32":-2147483648`},
		{"40 feffffffffffffffff01", `"s64":"9223372036854775807"`},
		{"4d ffffffff", `"f32":4294967295`},
		{"51 ffffffffffffffff", `"f64":"18446744073709551615"`},
		{"5d ffffffff", `"sf32":-1`},
		{"61 feffffffffffffff", `"sf64":"-2"`},
		{"68 01", `"b":true`},
		{"68 8002", `"b":true`},
		{"72 06 612263c3a40a", `"s":"a\"cä\n"`},
		{"7a 04 fbefbe00", `"by":"++++AA=="`},
		{"8001 01", `"mode":"ON"`},
		{"8001 feffffffffffffffff01", `"mode":"MINUS"`},
		{"8001 07", `"mode":7`},
		{"8a01 00", `"inner":{"ok":false}`},
		{"8a01 04 0800 1001", `"inner":{"at":"0","ok":true}`},
		{"8a01 02 0805 8a01 02 1001", `"inner":{"at":"5","ok":true}`}, // merged
		{"9201 04 01 02 8001 9001 05", `"list":[1,2,128,5]`},          // packed, and not
		{"9001 00", `"list":[0]`},
		{"9a01 00 9a01 01 61", `"texts":["","a"]`},
		{"a201 00 a201 02 0805", `"inners":[{"ok":false},{"at":"5","ok":false}]`},
		{"aa01 03 000109", `"modes":["OFF","ON",9]`},
		{"c801 00", `"one":0`},
		{"c801 05 d201 00", `"two":""`}, // the last of a oneof
		{"c801 05 da01 02 0801 d201 0161 c801 06", `"one":6`},
		{"da01 02 0801 da01 02 1001", `"three":{"at":"1","ok":true}`},
		{"e001 00", `"maybe":0`},
		{"e801 00", `"maybeMode":"OFF"`},
		{"f101 0000000000000000", `"maybeDouble":0.0`},
		{"fa01 00", `"UnderScore3d":""`},
		{"18 05 18 06", `"i32":6`},
		// Ignored: unknown fields, a group with another in it, other wire types.
		{"c006 05 18 07", `"i32":7`},
		{"c306 0b 0c c406 18 07", `"i32":7`},
		{"1a 01 05", `"i32":0`},
		{"1d 01000000", `"i32":0`},
		{"70 05", `"s":""`},
	} {
		b, err := m.AppendJSON(nil, unhex(t, c.wire))
		members := "," + strings.Trim(string(b), "{}") + ","
		if err != nil || !strings.Contains(members, ","+c.want+",") && !strings.Contains(string(b), ","+c.want+"}") {
			t.Errorf("%s: %v, want %s in\n%s", c.wire, err, c.want, b)
		}
	}
	for _, wire := range []string{
		"08", "0f", "00", "09 00", "15 000000", "18 ff", "18 ffffffffffffffffffff01",
		"72 02 61", "72 02 c328", "72 01 80", "8a01 02 08", "9201 01 80", "0c", "c306 18 07",
		"c306 cc06", "9a01 01 ff", "72ffffffff0f", "c0ffffffffffffffff01 05",
	} {
		if b, err := m.AppendJSON(nil, unhex(t, wire)); err == nil {
			t.Errorf("%s: %s", wire, b)
		}
	}
}

// TestBounds holds the JSON and the work that a few bytes can cause to their bounds.
func TestBounds(t *testing.T) {
	deep := parse(t, `syntax = "proto3"; message M { M m = 1; repeated M list = 3; }`)
	for _, field := range []byte{0x0a, 0x1a} {
		var wire []byte
		for range maxLevels - 1 {
			wire = append([]byte{field, byte(len(wire)), byte(len(wire) >> 7)}, wire...)
			if wire[1] |= 0x80; wire[2] > 0x7f {
				t.Fatal("too long")
			}
		}
		if _, err := deep.AppendJSON(nil, wire); err != nil {
			t.Error(err)
		}
		wire = append([]byte{field, byte(len(wire)) | 0x80, byte(len(wire) >> 7)}, wire...)
		if _, err := deep.AppendJSON(nil, wire); err != errTooDeep {
			t.Error(err)
		}
	}
	many := `syntax = "proto3"; message I { `
	few := `syntax = "proto3"; message I { `
	for i, n := 0, 1; i < 300; i, n = i+1, n+1 {
		name := "a" + hex.EncodeToString([]byte{byte(i >> 8), byte(i)})
		number := "0x" + hex.EncodeToString([]byte{byte(n >> 8), byte(n)})
		many += "int32 " + name + "=" + number + ";"
		few += "optional int32 " + name + "=" + number + ";"
	}
	const tail = `} message M { repeated I list = 1; }`
	wire := strings.Repeat("\x0a\x00", 32<<10)
	for _, text := range []string{many, few} {
		if b, err := parse(t, text+tail).AppendJSON(nil, []byte(wire)); err != errTooLarge || len(b) > MaxJSON+MaxText {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	}
	if _, err := deep.AppendJSON(nil, make([]byte, MaxJSON+1)); err != errTooLarge {
		t.Error(err)
	}
}

func TestAppendWire(t *testing.T) {
	m := parse(t, everything)
	for _, c := range []struct{ object, want string }{
		{`{}`, ""},
		{
			`{"d":1.5,"f":"0.1","i32":-1,"i64":"-1","u32":4294967295,"u64":"18446744073709551615"}`,
			"09000000000000f83f 15cdcccc3d 18ffffffffffffffffff01 20ffffffffffffffffff01 " +
				"28ffffffff0f 30ffffffffffffffffff01",
		},
		{
			`{"s32":-2,"s64":"1","f32":1,"f64":2,"sf32":-1,"sf64":-2}`,
			"3803 4002 4d01000000 510200000000000000 5dffffffff 61feffffffffffffff",
		},
		{`{"b":true,"s":"aä","by":"-_8=","mode":"AN"}`, "6801 720361c3a4 7a02fbff 800101"},
		// A default value needs no bytes.
		{`{"d":0,"f":0,"i32":0,"i64":"0","b":false,"s":"","by":"","mode":"OFF","mode2":1,"inner":null}`, ""},
		{`{"d":-0.0}`, "090000000000000080"},
		{`{"d":"NaN","f":"-Infinity"}`, "09010000000000f87f 15000080ff"},
		{
			`{"maybe":0,"maybeMode":"OFF","maybeDouble":0,"one":0,"UnderScore3d":""}`,
			"c80100 e00100 e80100 f1010000000000000000 fa0100",
		},
		{`{"maybe_mode":"MINUS"}`, "e801feffffffffffffffff01"}, // by the name in the schema
		{`{"mode":7}`, "800107"},
		{`{"mode":"7"}`, "800107"},
		{`{"mode":"NOT_THERE","modes":["ON","NOT_THERE","MINUS"]}`, "aa010b01feffffffffffffffff01"},
		{`{"s":5}`, "720135"},
		{`{"s":true}`, "720474727565"},
		{`{"s":["x"]}`, "720178"},
		{`{"s":1.50}`, "7204312e3530"},
		{`{"b":"true","i32":"5","u32":1e3,"i64":5.0}`, "1805 2005 28e807 6801"},
		{`{"inner":{"at":0,"unknown":{}},"inners":[{},{"ok":true}]}`, "8a01020800 a20100 a201021001"},
		{`{"list":[1,"2",128],"texts":["","a"],"modes":[0]}`, "920104010280 01 9a0100 9a010161 aa010100"},
		{`{"two":null,"one":5}`, "c80105"},
	} {
		got, err := m.AppendWire(nil, []byte(c.object))
		if want := strings.ReplaceAll(c.want, " ", ""); hex.EncodeToString(got) != want || err != nil {
			t.Errorf("%s: %v\ngot  %x\nwant %s", c.object, err, got, want)
		}
	}
	for _, object := range []string{
		``, `[]`, `5`, `{"s":{}}`, `{"s":["a","b"]}`, `{"i32":2147483648}`, `{"i32":1.5}`, `{"i32":"x"}`,
		`{"u32":-1}`, `{"u64":-1}`, `{"u32":4294967296}`, `{"b":1}`,
		`{"d":"x"}`, `{"d":"0x1p3"}`, `{"d":"inf"}`, `{"f":1e40}`,
		`{"by":"%"}`, `{"inner":5}`, `{"list":5}`, `{"list":[null]}`, `{"inners":[5]}`,
		`{"one":1,"two":"x"}`, `{"maybe_mode":1,"maybeMode":1}`,
	} {
		if got, err := m.AppendWire(nil, []byte(object)); err == nil {
			t.Errorf("%s: %x", object, got)
		}
	}
}
