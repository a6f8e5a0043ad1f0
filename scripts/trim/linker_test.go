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
	if out := run("", trim, "-linker", trim+"-link"); out != "" {
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
