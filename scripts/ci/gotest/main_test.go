package main

import (
	"strings"
	"testing"
	"time"
)

// What a run of four packages says: one passes, one fails, one does not compile, one does not end.
const recorded = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:9: only seen on failure\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":1}
{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    a_test.go:9: b_test.go:3: no tmpfs here: EPERM\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB","Elapsed":0}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"pass","Package":"p","Elapsed":2}
{"Action":"start","Package":"q"}
{"Action":"run","Package":"q","Test":"TestC"}
{"Action":"output","Package":"q","Test":"TestC","Output":"    c_test.go:1: two is not three\n"}
{"Action":"fail","Package":"q","Test":"TestC","Elapsed":0}
{"Action":"output","Package":"q","Output":"FAIL\n"}
{"Action":"fail","Package":"q","Elapsed":3}
{"Action":"skip","Package":"none","Elapsed":0}
{"Action":"start","Package":"s"}
{"Action":"run","Package":"s","Test":"TestD"}
{"Action":"output","Package":"s","Test":"TestD","Output":"panic: test timed out after 9m0s\n"}
{"Action":"output","Package":"s","Output":"FAIL s 540s\n"}
{"Action":"fail","Package":"s","Elapsed":540}
{"ImportPath":"r","Action":"build-output","Output":"r.go:1: undefined: x\n"}
go: a line that is no event
`

func TestReport(t *testing.T) {
	for _, c := range []struct {
		name, list       string
		emulated, strict bool
		refused          bool
		word             string
	}{
		{"by hand", "", false, false, false, "SKIPPED"},
		{"in CI", "", false, true, true, "SKIPPED"},
		{"allowed", "# why\nno tmpfs here\n", false, true, false, "skipped"},
		{"allowed elsewhere", "emulated: no tmpfs", false, true, true, "SKIPPED"},
		{"emulated", "emulated: no tmpfs", true, true, false, "skipped"},
	} {
		var out strings.Builder
		r := newReport(&out, time.Now())
		r.read(strings.NewReader(recorded))
		if got := r.end(allowed(c.list, c.emulated), c.strict); got != c.refused {
			t.Errorf("%s: refused is %v", c.name, got)
		}
		for _, want := range []string{
			"ok    p  2.0 s\n", "c_test.go:1: two is not three\n", "FAIL  q  3.0 s\n", "r.go:1: undefined: x\n",
			"go: a line that is no event\n",
			"panic: test timed out after 9m0s\nFAIL s 540s\nFAIL  s  540.0 s\n", "  failed   s TestD did not end\n",
			"1 tests passed, 4 failed, 1 were skipped in ", "  failed   q TestC\n", "  " + c.word + "  p TestB: no tmpfs here: EPERM\n",
		} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is missing in\n%s", c.name, want, out.String())
			}
		}
		if strings.Contains(out.String(), "only seen on failure") {
			t.Errorf("%s: the output of a test that passed is printed", c.name)
		}
	}
}

func TestStillRunning(t *testing.T) {
	var out strings.Builder
	began := time.Now()
	r := newReport(&out, began)
	r.take(&event{Action: "start", Package: "p"}, began)
	r.take(&event{Action: "run", Package: "p", Test: "TestA"}, began)
	r.take(&event{Action: "run", Package: "p", Test: "TestA/b"}, began)
	r.stillRunning(began.Add(silence - 1))
	r.stillRunning(began.Add(silence))
	r.stillRunning(began.Add(silence + time.Second))
	r.stillRunning(began.Add(2 * silence))
	if got, want := out.String(), "      30s: p TestA/b\n      1m0s: p TestA/b\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
