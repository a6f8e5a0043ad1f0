package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Each case is a file with tests, and the lines on which it sleeps outside a bubble. "BUBBLE{ … })"
// stands for a call of synctest.Test.
func TestSearch(t *testing.T) {
	const head = "package p\n\nimport (\n\t\"testing\"\n\t\"testing/synctest\"\n\t\"time\"\n)\n\n" // 8 lines
	for _, c := range []struct {
		name, text string
		lines      []int
	}{
		{"in a test", "func TestA(t *testing.T) { time.Sleep(1) }", []int{9}},
		{"in a bubble", "func TestA(t *testing.T) { BUBBLE{ time.Sleep(1) }) }", nil},
		{"another test of the file has a bubble", "func TestA(t *testing.T) { time.Sleep(1) }\n" +
			"func TestB(t *testing.T) { BUBBLE{ time.Sleep(1) }) }", []int{9}},
		{"after the bubble", "func TestA(t *testing.T) {\nBUBBLE{})\ntime.Sleep(1)\n}", []int{11}},
		{"a goroutine in the bubble", "func TestA(t *testing.T) { BUBBLE{ go func() { time.Sleep(1) }() }) }", nil},
		{"a function for bubbles", "func nap() { time.Sleep(1) }\nfunc TestA(t *testing.T) { BUBBLE{ nap() }) }", nil},
		{"one call is outside", "func nap() { time.Sleep(1) }\n" +
			"func TestA(t *testing.T) { nap(); BUBBLE{ nap() }) }", []int{9}},
		{"nobody calls it", "func nap() { time.Sleep(1) }", []int{9}},
		{"vouched for", "// nap sleeps.\n//\n//sleeps:bubble handlers call it\nfunc nap() { time.Sleep(1) }\n" +
			"func TestA(t *testing.T) { nap() }", nil},
		{"vouched for without a reason", "//sleeps:bubble\nfunc nap() { time.Sleep(1) }\nfunc TestA(t *testing.T) { nap() }", []int{10}},
		{"over two functions", "func nap() { time.Sleep(1) }\nfunc more() { nap() }\nfunc TestA(t *testing.T) { more() }", []int{9}},
		{"a wrapper", "func bubble(t *testing.T, f func()) { BUBBLE{ f() }) }\n" +
			"func TestA(t *testing.T) { bubble(t, func() { time.Sleep(1) }) }", nil},
		{"a wrapper of a wrapper", "func bubble(t *testing.T, f func()) { BUBBLE{ f() }) }\n" +
			"func outer(t *testing.T, f func()) { bubble(t, func() { f() }) }\n" +
			"func TestA(t *testing.T) { outer(t, func() { time.Sleep(1) }) }", nil},
		{"no wrapper: it calls it outside too", "func bubble(t *testing.T, f func()) { f(); BUBBLE{ f() }) }\n" +
			"func TestA(t *testing.T) { bubble(t, func() { time.Sleep(1) }) }", []int{10}},
		{"a wrapper's other arguments", "func bubble(t *testing.T, n int, f func()) { BUBBLE{ f() }) }\n" +
			"func nap() int { time.Sleep(1); return 1 }\nfunc TestA(t *testing.T) { bubble(t, nap(), func() {}) }", []int{10}},
		{"a method of a type of bubbles", "type slow struct{}\nfunc (slow) Sync() { time.Sleep(1) }\n" +
			"func TestA(t *testing.T) { BUBBLE{ use(slow{}) }) }", nil},
		{"the type is used outside", "type slow struct{}\nfunc (slow) Sync() { time.Sleep(1) }\n" +
			"func TestA(t *testing.T) { use(slow{}) }", []int{10}},
		{"the type is within another that is", "type slow struct{}\nfunc (slow) Sync() { time.Sleep(1) }\ntype more struct{ slow }\n" +
			"func TestA(t *testing.T) { use(more{}) }", []int{10}},
		{"a method that only bubbles call", "type rig struct{}\nfunc (rig) nap() { time.Sleep(1) }\n" +
			"func TestA(t *testing.T) { r := rig{}; BUBBLE{ r.nap() }) }", nil},
		{"a function that waits", "func pass() { time.Sleep(1); synctest.Wait() }\nfunc TestA(t *testing.T) { pass() }", nil},
		{"it waits in a literal below", "func pass() { time.Sleep(1); use(func() { synctest.Wait() }) }\n" +
			"func TestA(t *testing.T) { pass() }", []int{9}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			text := strings.ReplaceAll(c.text, "BUBBLE{", "synctest.Test(t, func(t *testing.T) {")
			if err := os.WriteFile(filepath.Join(dir, "p_test.go"), []byte(head+text+"\n"), 0o666); err != nil {
				t.Fatal(err)
			}
			found, err := search(dir)
			var lines []int
			for _, f := range found {
				lines = append(lines, f.Line)
			}
			if err != nil || !slices.Equal(lines, c.lines) {
				t.Errorf("lines %v, want %v (%v)", lines, c.lines, err)
			}
		})
	}
}
