package script

import (
	"bytes"
	"compress/flate"
	"flag"
	"os"
	"strings"
	"testing"
)

var pack = flag.Bool("pack", false, "write library/packed")

// stripped is a text of the library without comments, empty lines and what is only there to be
// looked at.
func stripped(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile("library/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(raw)) {
		inner := strings.HasPrefix(line, "\t")
		if line = strings.TrimSpace(line); inner {
			line = " " + line // begins no routine
		}
		if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "// ") {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// TestLibraryIsPacked: library/packed is what the texts beside it give. go generate writes it.
func TestLibraryIsPacked(t *testing.T) {
	want := stripped(t, "tbel.txt") + "\x00" + stripped(t, "js.txt")
	if *pack {
		var b bytes.Buffer
		w, err := flate.NewWriter(&b, flate.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(want)); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("library/packed", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		packed = b.String()
	}
	for i := range books {
		b := &book{lang: Language(i)}
		b.read()
		if !strings.Contains(want, b.text) || len(b.text) < 10_000 {
			t.Errorf("library/packed is not what %v of the library says: go generate writes it", b.lang)
		}
	}
}

// TestLibraryCompiles compiles every routine of the library: names that it calls are looked up
// then.
func TestLibraryCompiles(t *testing.T) {
	for i := range books {
		b := &books[i]
		b.once.Do(b.read)
		for name, f := range b.names {
			if f.fn != nil {
				continue
			}
			func() {
				defer func() {
					if x := recover(); x != nil {
						t.Errorf("%v %s: %v", b.lang, name, compileError(b.text, x))
					}
				}()
				f.code()
			}()
		}
	}
}

// TestLibraryIsHidden: what only the library calls is not there for scripts, and the arguments of
// its functions are counted.
func TestLibraryIsHidden(t *testing.T) {
	failed := "error: script failed"
	check(t, TBEL, [][2]string{
		{"return $cut('abc', 0, 1);", failed},
		{"return 'abc'.$cut(0, 1);", failed},
		{"return $n;", failed},
		{"function $cut(a) { return a; } return $cut(5);", "5 :int"},
		{"return 'abc'.substring();", failed},
		{"return 'abc'.substring(0, 1, 2);", failed},
		{"return padStart('5', 3);", failed},
		{"return [1].toList(2);", failed},
		{"return padEnd([], 3, '*');", `"[]*" :string`},
		{"return parseBinaryArrayToInt(toSet([1, 0]));", "2 :int"},
		{"return {b: 1, a: 2}.toSortedByKey().keys();", `["a","b"] :list`},
		{"var s = toSet([2, 1]).toUnmodifiable(); return s.toSorted();", "[1,2] :list"},
		{"return [msg.t ? 1 : 2, 3, 4];", `{"1":4} :map`},
	})
	check(t, JavaScript, [][2]string{
		{"return $cut('abc', 0, 1);", failed},
		{"return [3, 1, 2].sort(function (a, b) { return a > b; });", "[3,1,2] :list"},
		{"return 'abcb'.lastIndexOf('b', NaN) + 'abcb'.lastIndexOf('b', 2);", "4 :double"},
		{"return typeof $cut;", `"undefined" :string`},
		{"return ['1', '2'].map(Number);", "[1,2] :list"},
		{"return typeof Number + typeof Math;", `"functionobject" :string`},
		{"return [Math.max(1, null), Math.max(), 1 / Math.max(-0, 0)];", "[1,null,null] :list"},
		{"return 'abc'.substring(2, 0) + 'abc'.at(-1) + [1, [2]].flat().join('-');", `"abc1-2" :string`},
		{"return new Date(NaN).setMilliseconds(5);", "null :double"},
		{"return 'a.b.c'.split('.', 2).concat('a1b2'.split(/\\d/));", `["a","b","a","b",""] :list`},
		{"try { [].reduce(function () {}); } catch (e) { return e.name; }", `"TypeError" :string`},
	})
}
