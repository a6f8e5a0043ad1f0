package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A program that the cut linker has linked collects garbage, and its trace of a panic has the names
// of functions without directories and without the values of arguments.
func TestTraceOfACutLinker(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example\n\ngo 1.26\n",
		"main.go": "package main\n\nimport (\n\t\"example/deep/inner\"\n\t\"runtime\"\n)\n\n" +
			"func main() { runtime.GC(); inner.Fall([]string{}) }\n",
		"deep/inner/inner.go": "package inner\n\nimport \"runtime\"\n\n//go:noinline\nfunc Fall[T any](list []T) T {\n" +
			"\tkept := make([]*[]T, 1000)\n\tfor i := range kept {\n\t\tkept[i] = &list\n\t}\n" +
			"\truntime.GC()\n\treturn (*kept[7])[len(list)]\n}\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trim := filepath.Join(dir, "trim")
	run := func(in string, command ...string) string {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir = in
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
		return string(out)
	}
	run("", "go", "build", "-trimpath", "-o", trim, ".")
	if out := run("", trim, "-rebuild", "link", trim+"-link"); out != "" {
		t.Fatal(out)
	}
	run(dir, "go", "build", "-trimpath", "-toolexec", trim, "-o", "program", ".")
	out, err := exec.Command(filepath.Join(dir, "program")).CombinedOutput()
	if err == nil {
		t.Fatalf("no panic: %s", out)
	}
	for _, want := range []string{
		"panic: runtime error: index out of range [0] with length 0",
		"\ninner.Fall[...]()\n", "\nmain.main()\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in the trace:\n%s", want, out)
		}
	}
}

// The compiler for MIPS puts behind a branch what stands in front of it, but neither what the
// branch depends on nor anything behind a call of deferreturn, to which recover goes.
func TestSlotsOfBranches(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example\n\ngo 1.26\n",
		"p.go": "package p\n\nfunc call(n int) int { return other(n) }\n\nfunc other(n int) int { return n }\n\n" +
			"func deferred() (n int) { defer other(1); n = 7; return }\n\n" +
			"func store(p **int, q *int) { for { *p = q } }\n\n" +
			"func pointer(f *func()) { (*f)() }\n\nfunc choose(b *bool) int { if *b { return other(1) }; return 2 }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trim := filepath.Join(dir, "trim")
	run := func(in string, command ...string) string {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir = in
		cmd.Env = append(os.Environ(), "GOFLAGS=")
		if in != "" {
			cmd.Env = append(cmd.Env, "GOOS=linux", "GOARCH=mipsle", "GOMIPS=softfloat")
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
		return string(out)
	}
	run("", "go", "build", "-trimpath", "-o", trim, ".")
	if out := run("", trim, "-rebuild", "compile", trim+"-compile"); out != "" {
		t.Fatal(out)
	}
	code := map[string]string{} // of each function, an instruction a line, without its head
	function := ""
	for line := range strings.Lines(run(dir, "go", "build", "-a", "-trimpath", "-toolexec", trim, "-gcflags=-l -S", ".")) {
		if name, _, ok := strings.Cut(line, " STEXT "); ok {
			function = strings.TrimPrefix(name, "example.")
		}
		part := strings.SplitN(strings.TrimSpace(line), "\t", 3)
		if !strings.HasPrefix(line, "\t0x") || len(part) < 2 || part[1] == "PCDATA" || part[1] == "FUNCDATA" || part[1] == "NOP" {
			continue
		}
		code[function] += strings.Join(strings.Fields(strings.Join(part[1:], " ")), " ") + "\n"
	}
	for name, want := range map[string]string{
		"call":     "CALL example.other(SB)\nMOVW R1, 4(R29)\n",
		"deferred": "CALL runtime.deferreturn(SB)\nNOOP\n",
		"store":    "CALL runtime.gcWriteBarrier2(SB)\nMOVW (R1), R3\nMOVW R2, (R25)\nJMP 56\nMOVW R3, 4(R25)\n",
		"pointer":  "CALL (R1)\nNOOP\n",
		"other":    "JMP (R31)\nMOVW R1, example.~r0+4(FP)\n",
		"choose":   "JMP (R31)\nADDU $12, R29\n",
	} {
		if !strings.Contains(code[name], want) {
			t.Errorf("%s lacks %q:\n%s", name, want, code[name])
		}
	}
}
