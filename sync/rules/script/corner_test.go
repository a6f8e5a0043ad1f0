package script

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

const cornerMessage = `{"i":7,"l":3000000001,"d":2.5,"s":"abc","num":"42","z":0,"t":true,"n":null,"list":[3,1,2],"o":{"a":1,"size":9},"dup":1,"dup":2,
"e":"","u":"\u00e9\ud83d\ude00","esc\"k":4}`

// corner evaluates one script and gives "JSON :type", or "error: reason".
func corner(t *testing.T, lang Language, source string) string {
	t.Helper()
	p, err := Compile(lang, source, Arguments)
	if err == nil {
		var d Doc
		if err := d.Parse(cornerMessage); err != nil {
			t.Fatal(err)
		}
		var v *Value
		v, err = p.Run(testClock, Args{Msg: &d, Metadata: fuzzMetadata, MsgType: "T"})
		if err == nil {
			var b []byte
			if b, err = lang.AppendJSON(nil, v, AsScript); err == nil {
				return string(b) + " :" + v.Kind().String()
			}
		}
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *Error", err)
	}
	return "error: " + e.Reason.String()
}

func check(t *testing.T, lang Language, rows [][2]string) {
	t.Helper()
	for _, row := range rows {
		if got := corner(t, lang, row[0]); got != row[1] {
			t.Errorf("%s\n got %s\nwant %s", row[0], got, row[1])
		}
	}
}

func TestTBELNumbers(t *testing.T) {
	check(t, TBEL, [][2]string{
		// RULES.md 5.4.4: kinds, overflow, division
		{"return 2147483647 + 1;", "2147483648 :long"},
		{"return -2147483648 - 1;", "-2147483649 :long"},
		{"return 65536 * 65536;", "4294967296 :long"},
		{"return msg.i / 2;", "3.5 :double"},
		{"return msg.i / 0;", `"Infinity" :double`},
		{"return msg.z / msg.z;", `"NaN" :double`},
		{"return msg.i % msg.z;", "error: script failed"},
		{"return msg.l % 0L;", "error: script failed"},
		{"return msg.l / 2;", "1500000000 :long"},
		{"return msg.l / 2L;", "1.5000000005E9 :double"},
		{"return 7 / 2L;", "3 :long"},
		{"return 9223372036854775807 + 1;", "9223372036854775807 :long"},
		{"return 9223372036854775807 + 1L;", "-9223372036854775808 :long"},
		{"return 9007199254740993 + 0;", "9007199254740992 :long"},
		{"return msg.l * 10000000000;", "-6893488137419103232 :long"},
		{"return parseFloat('0.1') + parseFloat('0.2');", "0.3 :float"},
		{"return parseFloat('0.1') * 3;", "0.3 :float"},
		{"return parseFloat('1') / parseFloat('3');", "0.3333333333333333 :double"},
		{"return parseFloat('1') + 0.5;", "1.5 :double"},
		{"return 2 ** 31;", "2.147483648E9 :double"},
		{"return 2 ** -1;", "0 :int"},
		{"return 2L ** 40L;", "1099511627776 :long"},
		{"return 2.0 ** 3;", "8.0 :double"},
		{"return -7 % 3;", "-1 :int"},
		{"return -7.5 % 2;", "-1.5 :double"},
		{"return '5' * '2';", "10.0 :double"},
		{"return '2.5' * 2;", "5 :int"},
		{"return 'x' * 2;", "null :null"},
		{"return '1767225600123' - 1;", "2147483647 :int"},
		{"return null * 2;", "null :null"},
		{"return null + null;", `"nullnull" :string`},
		{"return 1 + true;", `"1true" :string`},
		{"return [1] + 2;", "[1,2] :list"},
		{"return [1] + [2, 3];", "[1,2,3] :list"},
		{"return 5 & 3L;", "1 :long"},
		{"return 1 << 33;", "2 :int"},
		{"return 1L << 33;", "8589934592 :long"},
		{"return -1 >>> 28;", "15 :int"},
		{"return msg.d & 1;", "null :null"},
		{"return 2.5 & 1;", "error: syntax error"},
		{"return true & true;", "1 :int"},
		{"return (int) 2.9;", "2 :int"},
		{"return (long) '12';", "12 :long"},
		{"var a = 2147483647; a++; return a;", "2147483648 :long"},
		{"var a = 1.5; a++; return a;", "2.5 :double"},
		{"return -(-2147483648);", "2147483648 :long"},
		// literals alone are folded from the left (5.3)
		{"return 1 << 2 + 1;", "5 :int"},
		{"return 2 + 3 * 4 - 1;", "13 :int"},
		{"return true || false && false;", "false :bool"},
		{"return msg.t || msg.t && !msg.t;", "true :bool"},
		{"return 1 + 2 * 3 == 7;", "true :bool"},
	})
}

func TestTBELTruthAndComparison(t *testing.T) {
	check(t, TBEL, [][2]string{
		{"return msg.nope > 1;", "false :bool"},
		{"return 1 < msg.n;", "false :bool"},
		{"return msg.n == null && msg.nope == msg.n;", "true :bool"},
		{"if (msg.i) { return 1; }", "error: script failed"},
		{"return msg.t && msg.i;", "error: script failed"},
		{"return !msg.t && msg.i;", "false :bool"},
		{"return msg.t && 1;", "error: syntax error"},
		{"return '10' < '9';", "true :bool"},
		{"return '10' < 9;", "false :bool"},
		{"return 'b' < 9;", "error: script failed"},
		{"return '1' == '1.0';", "false :bool"},
		{"return 1 == '1.0';", "true :bool"},
		{"return 1 == true && 0 == false && -1 == false;", "true :bool"},
		{"return 'abc'[0] == 'a' && 'abc'.charAt(1) != 'a';", "true :bool"},
		{"return [1, [2]] == [1, [2]];", "true :bool"},
		{"return [1] == [1L];", "false :bool"},
		{"return {a: 1, b: 2} == {b: 2, a: 1};", "true :bool"},
		{"return new Date(0) == new Date(0);", "false :bool"},
		{"var d = new Date(0); return d == d;", "true :bool"},
		{"return new Date(5) - new Date(1);", "null :null"},
		{"return msg.t or msg.i;", "true :bool"},
		{"return msg.e or 'x';", `"x" :string`},
		{"return msg.i instanceof Integer && msg.d instanceof Double && msg.s instanceof String && msg.l instanceof Long;", "true :bool"},
	})
}

func TestTBELMembers(t *testing.T) {
	check(t, TBEL, [][2]string{
		{"return msg.size;", "13 :int"}, // the method, not the key; null and the double key are gone
		{"return msg.o.size;", "2 :int"},
		{"return msg.o['size'];", "9 :int"},
		{"return msg.dup;", "2 :int"},
		{`return msg['esc"k'];`, "4 :int"},
		{"return msg.u.length();", "3 :int"},
		{"return msg.u.substring(1).length();", "2 :int"},
		{"return msg.nope;", "null :null"},
		{"return msg.nope.x;", "error: script failed"},
		{"return msg.i.x;", "error: script failed"},
		{"return msg.o.?x.y.z;", "null :null"},
		{"return msg.?nope.x.y();", "null :null"},
		{"return msg.list[3];", "error: script failed"},
		{"return msg.list[1.0];", "error: script failed"},
		{"return msg.list[1L];", "error: script failed"},
		{"var o = msg.o; o.a = 5; return msg.o.a;", "5 :int"},
		{"msg.x = null; return msg.containsKey('x');", "false :bool"},
		{"msg.i = null; return msg.containsKey('i');", "false :bool"},
		{"msg = 5; return msg;", "5 :int"},
		{"var msg = {a: 1}; return msg.a;", "1 :int"},
		{"metadata.ts = 5; return metadata.ts;", "5 :int"},
		{"metadata.remove('ts'); return metadata;", `{"deviceName":"th-1"} :map`},
		{"return metadata.nope;", "null :null"},
		{"return metadata['ts'] + metadata.deviceName;", `"1767225600123th-1" :string`},
		{"var k = msg.keySet(); return k;", "error: script failed"},
		{"var k = msg.o.entrySet(); return k.size();", "2 :int"},
		{"foreach (e : msg.o.entrySet()) { msg.o.remove(e.key); } return msg.o;", "{} :map"},
		{"var l = [1,2,3]; foreach (x : l) { l.push(x); } return l;", "error: script failed"},
		{"var l = [1,2]; l.remove(1); return l;", "[1] :list"},
		{"var l = ['1','2']; return l.remove('1');", "true :bool"},
		{"return [3,1,2].toUnmodifiable().push(1);", "error: script failed"},
		{"return [1,[2,3]].join('-');", `"1-2,3" :string`},
		{"return ['10','9'].toSorted();", `["9","10"] :list`},
		{"return ['b','a10','a9'].toSorted(false);", `["b","a9","a10"] :list`},
		{"return [1,2,3,4].splice(-2);", "[3,4] :list"},
		{"return [1,2,3].with(0, 9);", "[9,1,2,3] :list"},
		{"return [1,2,3].slice(-2, -1);", "[2] :list"},
		{"var m = {a: 1, b: 1, c: 2}; return m.toInverted();", `{"1":"b","2":"c"} :map`},
		{"return {b: 1, a: 2}.toSortedByKey(false);", `{"b":1,"a":2} :map`},
		{"return 'a1b22'.split('[0-9]+');", `["a","b"] :list`},
		{"return 'a,b,,'.split(',');", `["a","b"] :list`},
		{"return ',a'.split(',');", `["","a"] :list`},
		{"return 'a.b'.split('\\\\.');", `["a","b"] :list`},
		{"return 'abc'.replaceAll('(b)(c)', '$2$1');", `"acb" :string`},
		{"return 'abc'.replaceAll('b(?=c)', 'x');", "error: not supported"},
		{"return 'aa'.matches('(a)\\\\1');", "error: not supported"},
		{"return 'a'.matches('(a');", "error: script failed"},
	})
}

func TestTBELStatements(t *testing.T) {
	check(t, TBEL, [][2]string{
		{"if (msg.t) { x = 1; } return x;", "error: script failed"},
		{"x = 1; if (msg.t) { x = 2; } return x;", "2 :int"},
		{"for (var i = 0; i < 2; i++) { if (i == 1) { return y; } y = 1; }", "error: script failed"},
		{"var x = 5; var x = 6; return x;", "6 :int"},
		{"int x = '5'; return x;", `"5" :string`},
		{"5;", "5 :int"},
		{"var a = 5;", "5 :int"},
		{"if (false) { 5; }", "null :null"},
		{"if (msg.t) { 5 }", "5 :int"},
		{"function f(n) { if (n == 0) { return 0; } return 1 + f(n - 1); } return f(60);", "60 :int"},
		{"function f(n) { if (n == 0) { return 0; } return 1 + f(n - 1); } return f(70);", "error: limit exceeded"},
		{"function f(x) { var y = x * 2; y } return f(4);", "8 :int"},
		{"var n = 1; function f() { n = n + 1; return g(); } function g() { return n; } return f() + n;", "4 :int"},
		{"function f(a, b) { return b; } return f(1);", "error: script failed"},
		{"var r = 0; do { r++; } until (r >= 3); return r;", "3 :int"},
		{"return msg.t ? msg.i > 5 ? 'a' : 'b' : 'c';", `"a" :string`},
		{"return {a: msg.t ? 1 : 2};", `{"1":2} :map`}, // RULES.md 5.4.10
		{"return {a: (msg.t ? 1 : 2)};", `{"a":1} :map`},
		{"return f([msg.t ? 1 : 2]); function f(x) { return x; }", `{"1":2} :map`},
		{"return {l: [1], m: {}};", `{"l":[1],"m":[]} :map`},
		{"return {o: {x: 1}, l: [1]};", "error: syntax error"},
		{"return {o: {x: 1}, l: [{y: 1}]};", `{"o":{"x":1},"l":[{"y":1}]} :map`},
		{"return {o: {x: 1}, l: [msg.i]};", `{"o":{"x":1},"l":[7]} :map`},
		{"switch (msg.i) { case 7: return 'a'; default: return 'b'; }", `"a" :string`},
		{"var r = 0;\nswitch (msg.i) {\n  case 7:\n    r = 1;\n    break;\n  default:\n    r = 2;\n}\nreturn r;", "1 :int"},
		{"switch (msg.i) { case 7: case 8: return 1; }", "1 :int"},
		{"switch (msg.i) { case 7: { var x = 1; return x; } default: return 2; }", "1 :int"},
		{"var x = 1; switch (msg.i) { case 8: var x = 2; return x; default: return x; }", "1 :int"},
		{"var x = 1; switch (msg.i) { case 8: var x = 2; break;\ncase 6: case 7: x = x + 2; break;\n} return x;", "3 :int"},
		{"let a = 1; return a;", "error: syntax error"},
		{"var a = 1, b = 2; return a;", "error: syntax error"},
		{"return msg?.i;", "error: syntax error"},
		{"return 1 !== 2;", "error: syntax error"},
		{"return `x`;", "error: syntax error"},
		{"return 'u\\u00e9';", "error: syntax error"},
		{"return '\\q';", "error: syntax error"},
		{"return 'a\nb';", `"a\nb" :string`},
		{"return 'a;", "error: syntax error"},
		{"return 1_000;", "error: syntax error"},
		{"return 0b1;", "error: syntax error"},
		{"return 010 + 0x10;", "24 :int"},
		{"return 9223372036854775808;", "error: syntax error"},
		{"return .5 + 5. + 1e2 + 5d;", "110.5 :double"},
		{"return 5f;", "5.0 :float"},
		{"   ", "error: syntax error"},
		{"import java.util.List; return 1;", "error: not supported"},
		{"break;", "error: syntax error"},
		{"return ($ * 2 in msg.list if $ > 1);", "[6,4] :list"},
		{"return raiseError('no');", "error: script failed"},
	})
}

func TestTBELFunctions(t *testing.T) {
	check(t, TBEL, [][2]string{
		{"return Integer.toString(-5, 99) + ' ' + Long.toString(5L, 1);", `"-5 5" :string`},
		{"return Integer.toString(35, 36) + ' ' + Integer.toString(5, -2);", `"z 5" :string`},
		{"return Math.max(21.7, 5);", "21 :int"},
		{"return Math.max(2.756, 0.0);", "2.756 :double"},
		{"return Math.max(parseFloat('2.5'), parseFloat('1'));", "2.5 :float"},
		{"return Math.round(-2.5);", "-2 :long"},
		{"return Math.abs(-5L);", "5 :long"},
		{"return Math.floorMod(-7L, 3);", "2 :long"},
		{"return toFixed(1.005, 2);", "1.01 :double"},
		{"return toFixed(-2.345, 2);", "-2.35 :double"},
		{"return toFixed(5, 2);", "5.0 :float"},
		{"return toInt(2.5) + toInt(-2.5);", "0 :int"},
		{"return parseInt('0x2A');", "42 :int"},
		{"return parseInt('abcd');", "43981 :int"},
		{"return parseInt('3000000000');", "error: script failed"},
		{"return parseInt('z', 36);", "35 :int"},
		{"return parseInt('11111111111111111111111111111111', 2);", "-1 :int"},
		{"return parseInt('12', 7);", "error: script failed"},
		{"return parseFloat('1,5');", "error: script failed"},
		{"return parseFloat('1e3');", "1000.0 :float"},
		{"return parseDouble('4.9E-324');", "4.9E-324 :double"},
		{"return intToHex(-256);", `"FF00" :string`},
		{"return intToHex(431, false);", `"AF01" :string`},
		{"return intToHex(431, true, true, 2);", `"0xAF" :string`},
		{"return longToHex(-1L);", `"FFFF" :string`},
		{"return hexToBytes('0xFF00');", "[-1,0] :list"},
		{"return bytesToHex([255]);", "error: script failed"},
		{"return parseBytesToInt([1, 2, 3, 4, 5]);", "16909060 :int"},
		{"return parseBytesToInt([1, 2], 1, 2);", "error: script failed"},
		{"return parseBytesToFloat([127, -64, 0, 0]);", "error: script failed"},
		{"return parseByteToBinaryArray(5, 8, false);", "[1,0,1,0,0,0,0,0] :list"},
		{"return decodeURI(encodeURI('ä b'));", `"ä b" :string`},
		{"return atob(btoa('é'));", `"é" :string`},
		{"return toFlatMap({a: {b: [1, {c: 2}]}, d: null});", `{"a.b.0":1,"a.b.1.c":2} :map`},
		{"return padEnd('5', 3, 'ab');", "error: script failed"},
		{"return JSON.parse('{\"a\":[1,2.0,3000000000,null]}');", `{"a":[1,2.0,3000000000,null]} :map`},
		{"return JSON.parse('{\"a\":1,}');", "error: script failed"},
		{"return JSON.stringify({a: null, b: [null]});", `"{\"b\":[null]}" :string`},
		{
			"return String.format('%5d|%-5s|%05.1f|%x|%,d|%%|%2$s', 42, 'a', 2.25, 255, 1234567);",
			`"   42|a    |002.3|ff|1,234,567|%|a" :string`,
		},
		{"return String.format('%d', 1.5);", "error: script failed"},
		{"return String.format('%h', 1);", "error: not supported"},
		{"return stringToBytes('x');", "error: script failed"},
		{
			"return isInsideCircle(50.0, 30.0, '{\"latitude\":50.0,\"longitude\":30.1,\"radius\":5,\"radiusUnit\":\"KILOMETER\"}');",
			"false :bool",
		},
		{"return isInsidePolygon(5, 5, '[[[0,0],[0,10],[10,10],[10,0]],[[4,4],[4,6],[6,6],[6,4]]]');", "false :bool"},
		{"return toSet([1, 1, 2]);", "[1,2] :list"},
		{"return foo(1);", "error: script failed"},
		{"return java.lang.Runtime.getRuntime();", "error: script failed"},
	})
}

func TestTBELDates(t *testing.T) {
	check(t, TBEL, [][2]string{
		{"return new Date(2026, 2, 28).getDay();", "6 :int"},
		{"return new Date(2026, 1, 4).getDay();", "7 :int"},
		{"return new Date(2026, 2, 30);", "error: script failed"},
		{"return new Date(26, 1, 1).getFullYear();", "2026 :int"},
		{"return Date.parse('2026-01-01');", "-1 :long"},
		{"return Date.parse('2026-01-01 10:00:00');", "1767261600000 :long"},
		{"return new Date('2026-01-01T00:00:00+02:00').toISOString();", `"2025-12-31T22:00:00Z" :string`},
		{"return new Date('Tue, 3 Jun 2008 11:05:30 GMT').getTime();", "1212491130000 :long"},
		{"return new Date('03.06.2008 00', 'dd.MM.yyyy HH').toISOString();", `"2008-06-03T00:00:00Z" :string`},
		{"return new Date(1767225600123).toLocaleString('en-US');", `"1/1/26, 12:00:00 AM" :string`},
		{
			"return new Date(1767225600123).toLocaleString('en-US', '{\"pattern\":\"yyyy/MM/dd HH:mm:ss.SSS " +
				"EEE\",\"timeZone\":\"+05:30\"}');",
			`"2026/01/01 05:30:00.123 Thu" :string`,
		},
		{"return new Date(0).toLocaleString('uk');", "error: not supported"},
		{"return new Date(0).toLocaleString('en', 'Mars/Phobos');", "error: not supported"},
		{"var d = new Date(2026, 1, 31); d.addMonths(1); return d.toISOString();", `"2026-02-28T00:00:00Z" :string`},
		{"var d = new Date(2026, 1, 31); d.setMonth(2); return d.toISOString();", `"2026-03-03T00:00:00Z" :string`},
		{"var d = new Date(0); d.setHours(25); return d;", "error: script failed"},
		{"var d = new Date(0); d.addNanos(1); return d.toISOString();", `"1970-01-01T00:00:00.000000001Z" :string`},
		{"return Date.now();", "1767225600000 :long"},
		{"return Date.UTC(2026, 0, 0);", "1798675200000 :long"},
	})
	berlin := time.FixedZone("", 3600)
	p, err := Compile(TBEL, "var d = new Date(2026, 1, 1); return [d.getHours(), d.getUTCHours(), d.toISOString()];", Arguments)
	if err != nil {
		t.Fatal(err)
	}
	v, err := p.Run(Env{Zone: berlin}, Args{})
	if b, _ := TBEL.AppendJSON(nil, v, AsScript); err != nil || string(b) != `[0,23,"2025-12-31T23:00:00Z"]` {
		t.Errorf("%s %v", b, err)
	}
}

func TestJavaScriptCorners(t *testing.T) {
	check(t, JavaScript, [][2]string{
		// a name that nothing declares is global from its assignment on
		{"function f() { return x; } x = 5; return f();", "5 :double"},
		{"function f() { return x; } f(); x = 5;", "error: script failed"},
		{"function f() { return typeof x; } var a = f(); x = 5; return a + f();", `"undefinednumber" :string`},
		{"function f() { x += 1; } x = 5; f(); return x;", "6 :double"},
		{"function f() { return x; } function g() { x = 7; } g(); return f();", "7 :double"},
		{"function f() { return x; } function g() { var x = 7; x = 8; } g(); return f();", "error: script failed"},
		{"return msg.nope;", "null :undefined"},
		{"return {a: undefined, b: function () {}, c: [undefined]};", `{"c":[null]} :map`},
		{"return 0.1 + 0.2;", "0.30000000000000004 :double"},
		{"return msg.l / 2;", "1500000000.5 :double"},
		{"return [1e21, 1e-7, 123456789012345680000, -0, NaN];", "[1e+21,1e-7,123456789012345680000,0,null] :list"},
		{"return '5' * 2 + '1';", `"101" :string`},
		{"return [] + {};", `"[object Object]" :string`},
		{"return null == undefined && null !== undefined && !(null == 0);", "true :bool"},
		{"return '1' == 1 && [1] == 1 && true == '1';", "true :bool"},
		{"return (msg.i >>> 0) + (-1 >>> 28) + (1 << 31);", "-2147483626 :double"},
		{"return {b: 1, 2: 'x', a: 2, 1: 'y'};", `{"1":"y","2":"x","b":1,"a":2} :map`},
		{"var f = function (n) { return n < 2 ? n : f(n - 1) + f(n - 2); }; return f(10);", "55 :double"},
		{"function add(a) { return function (b) { return a + b; }; } return add(1)(2);", "3 :double"},
		{"var s = 0; for (var k in {a: 1, b: 2}) { s += k; } return s;", `"0ab" :string`},
		{"let s = 0; for (const x of [1, 2]) { s += x; } return s;", "3 :double"},
		{"return [3, 10, 2].sort();", "[10,2,3] :list"},
		{"return [3, 10, 2].sort(function (a, b) { return a - b; });", "[2,3,10] :list"},
		{"return msg.list.map(x => x * 2).filter(x => x > 2).reduce((a, b) => a + b, 0);", "10 :double"},
		{"try { null.x; } catch (e) { return e.name + ': ' + (e instanceof TypeError); }", `"TypeError: true" :string`},
		{"try { throw new Error('a'); } catch (e) { return e.message; } finally { msg.x = 1; }", `"a" :string`},
		{"try { return 1; } finally { return 2; }", "2 :double"},
		{"try { while (true) {} } catch (e) { return 1; }", "error: limit exceeded"},
		{"throw 'x';", "error: script failed"},
		{"var i = 0; while (true) { i++; if (i < 5) continue; break; } return i;", "5 :double"},
		{"switch (msg.i) { case 1: case 7: msg.x = 'a'; default: msg.x += 'b'; } return msg.x;", `"ab" :string`},
		{"return typeof nope + typeof msg + typeof null + typeof isNaN;", `"undefinedobjectobjectfunction" :string`},
		{"return nope;", "error: script failed"},
		{"delete msg.i; return 'i' in msg;", "false :bool"},
		{"return msg.u.length + msg.u.charAt(0);", `"3é" :string`},
		{"return 'a-b-c'.replace(/-/g, function (m, at) { return at; });", `"a1b3c" :string`},
		{"return 'x=1;y=2'.match(/(\\w)=(\\d)/)[2];", `"1" :string`},
		{"var r = /\\d/g, n = 0; while (r.exec('a1b2')) { n++; } return n;", "2 :double"},
		{"return /(?=a)/.test('a');", "error: not supported"},
		{"return (1.005).toFixed(2) + (25).toString(2);", `"1.0011001" :string`},
		{"return new Date(2026, 0, 31).getMonth() + new Date('2026-01-01').getTime();", "1767225600000 :double"},
		{"return new Date(NaN);", "null :date"},
		{"return this.x;", "error: not supported"},
		{"return new Foo();", "error: not supported"},
		{"class A {}", "error: not supported"},
		{"return [...msg.list];", "error: not supported"},
		{"var {a} = msg; return a;", "error: not supported"},
		{"return eval('1');", "error: not supported"},
		{"return msg?.o?.a ?? 5;", "1 :double"},
		{"return msg.nope?.x.y;", "null :undefined"},
		{"return `${msg.i}-${msg.s + `!`}`;", `"7-abc!" :string`},
		{"var a = 1\nvar b = 2\nreturn a + b", "3 :double"},
		{"return\n5", "null :undefined"},
		{"return [1, 2, 3].indexOf(4) === -1 && Object.keys(msg.o).length === 2;", "true :bool"},
		{"return JSON.stringify({a: [1, {}], b: 'x'}, null, 2);", `"{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": \"x\"\n}" :string`},
		{"var a = []; a[2] = 1; a.length = 2; return a;", "[null,null] :list"},
		{"return Math.max.apply(null, msg.list) + Math.round(-2.5);", "1 :double"},
		{"a = b = {}; a.x = 1; for (k in msg.o) {} for (i = 0; i < 3; i++) {} return [b, i, k];", `[{"x":1},3,"size"] :list`},
		{"function f() { n = 5; } f(); return n;", "5 :double"},
		{"n += 1; return n;", "error: script failed"},
		{"var k = 1; for (const k of [5]) {} { let k = 2; } return k;", "1 :double"},
		{"return [[1, 2, 1].indexOf(1, 1), [1, [2, [3]]].flat(Infinity)];", "[2,[1,2,3]] :list"},
		{"return ['b', 'C', 'a', 'A'].sort(function (a, b) { return a.localeCompare(b); });", `["a","A","b","C"] :list`},
		{"return [new Date('2026').getTime(), new Date('2026-02').getTime()];", "[1767225600000,1769904000000] :list"},
		{"return JSON.stringify({a: [1, 'x', null]}) + parseInt('12px') + parseFloat('1.5e3x');", `"{\"a\":[1,\"x\",null]}121500" :string`},
	})
}

func TestResultAsStored(t *testing.T) {
	p, err := Compile(JavaScript, "return [21, 1e7, 1767225600.123, 1e-5, 1e21, -0, 9007199254740992];", Arguments)
	if err != nil {
		t.Fatal(err)
	}
	v, err := p.Run(testClock, Args{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := JavaScript.AppendJSON(nil, v, AsStored)
	if want := "[21,10000000,1.767225600123E9,1.0E-5,1.0E21,0,9007199254740992]"; err != nil || string(b) != want {
		t.Errorf("got %s %v, want %s", b, err, want)
	}
}

// TestJavaNumbers: the digits of Java 17, which servers run, not the fewest that there are.
func TestJavaNumbers(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0.0", math.Copysign(0, -1): "-0.0", 1: "1.0", 0.1: "0.1", 1e7: "1.0E7", 9999999: "9999999.0", 0.001: "0.001", 0.00099: "9.9E-4",
		1e-5: "1.0E-5", 2e-3: "0.002", 1.0 / 3: "0.3333333333333333", 1e21: "1.0E21", 1e23: "9.999999999999999E22",
		2e23:            "1.9999999999999998E23",
		math.MaxFloat64: "1.7976931348623157E308", math.SmallestNonzeroFloat64: "4.9E-324", 123456789012345000: "1.23456789012344992E17",
		9007199254740993: "9.007199254740992E15", 1.1e18: "1.1E18", math.Inf(1): "Infinity", math.Inf(-1): "-Infinity",
		2.2250738585072014e-308: "2.2250738585072014E-308", 5.684341886080802e-14: "5.6843418860808015E-14",
		8.41e21:         "8.409999999999999E21",
		-1767225600.123: "-1.767225600123E9", 100: "100.0", 12345.678: "12345.678",
	} {
		if got := doubleText(f); got != want {
			t.Errorf("%g: %s, want %s", f, got, want)
		}
	}
	for f, want := range map[float32]string{
		0.1: "0.1", 1767225600123: "1.76722556E12", 7500000256: "7.5000003E9", 16777216: "1.6777216E7", math.MaxFloat32: "3.4028235E38",
		math.SmallestNonzeroFloat32: "1.4E-45", 0.3: "0.3", 1.0e10: "1.0E10", 33554432: "3.3554432E7",
	} {
		if got := string(appendJava(nil, float64(f), 32)); got != want {
			t.Errorf("%g: %s, want %s", f, got, want)
		}
	}
	// Whatever the digits, they read back as the number.
	for i := range 20000 {
		f := math.Float64frombits(uint64(i)*0x9E3779B97F4A7C15 + 12345)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			continue
		}
		s := doubleText(f)
		if g, err := strconv.ParseFloat(s, 64); err != nil || g != f {
			t.Fatalf("%g prints as %s", f, s)
		}
		g := float32(f)
		s = string(appendJava(nil, float64(g), 32))
		if h, err := strconv.ParseFloat(s, 32); !math.IsInf(float64(g), 0) && (err != nil || float32(h) != g) {
			t.Fatalf("%g prints as %s", g, s)
		}
	}
}

// TestMetadataInJavasOrder: by the hash of the key, as the HashMap of the server holds them.
func TestMetadataInJavasOrder(t *testing.T) {
	list := []Pair{}
	for _, k := range []string{
		"deviceName", "deviceType", "ts", "requestId", "scope", "userId", "userName", "userEmail",
		"cs_limit", "ss_max", "k11", "k12", "k13",
	} {
		list = append(list, Pair{Key: k})
	}
	order := func(list []Pair) string {
		var keys []string
		hashOrder(list, func(p Pair) { keys = append(keys, p.Key) })
		return strings.Join(keys, " ")
	}
	if got := order(list[:4]); got != "deviceType requestId deviceName ts" {
		t.Error(got)
	}
	if got, want := order(list), "13"; strconv.Itoa(len(strings.Fields(got))) != want {
		t.Error(got)
	}
}
