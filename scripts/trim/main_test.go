package main

import (
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnlined(t *testing.T) {
	const text = "// Package p.\npackage p\n\n//go:noinline\nfunc f(\n\ta int) string { // f\n" +
		"\tg()\n\t/* of two\n\tlines */ return `raw\n\treturn` + \"x\"; }\n"
	const want = "//line trimmed.go:1\n// Package p.\n@package p\n\n//go:noinline\n@func f(\n\t@a int) string { // f\n" +
		"\t@g()\n\t/* of two\n\tlines */ @return `raw\n\treturn` @+ \"x\"; }\n"
	if got := strings.ReplaceAll(string(unlined([]byte(text))), "/*line :1:1*/", "@"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// words reads a text word by word, as the compiler does; file says where a word is.
type words struct {
	scanner.Scanner
	file *token.File
}

func wordsOf(text []byte) *words {
	w := &words{file: token.NewFileSet().AddFile("/dir/a.go", -1, len(text))}
	w.Init(w.file, text, nil, 0)
	return w
}

// Of the standard library's files, of which some hold every form that Go has, each word stays, and
// is in line 1 of the common file.
func TestOnlyLinesChange(t *testing.T) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), "src", "[e-r]*", "*.go"))
	if err != nil || len(files) < 100 {
		t.Fatalf("%d files of the standard library, error %v", len(files), err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before, after := wordsOf(text), wordsOf(unlined(text))
		for n := 1; ; n++ {
			_, was, wasLiteral := before.Scan()
			pos, word, literal := after.Scan()
			if word != was || literal != wasLiteral {
				t.Errorf("%s: word %d is %v %q, and was %v %q", path, n, word, literal, was, wasLiteral)
				break
			}
			if word == token.EOF {
				break
			}
			if word == token.SEMICOLON && literal != ";" { // of the end of a line
				continue
			}
			if at := after.file.Position(pos); at.Filename != "/dir/trimmed.go" || at.Line != 1 {
				t.Errorf("%s: word %d is at %v", path, n, at)
				break
			}
		}
	}
}

// Each cut is of the Go that is used here, and of the dependencies in the versions of go.mod.
func TestCutsFit(t *testing.T) {
	names := map[string]bool{}
	for _, c := range cuts {
		names[c.file] = true
	}
	for name := range names {
		pkg, file := filepath.Split(name)
		dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", strings.TrimSuffix(pkg, "/")).Output()
		if err != nil {
			t.Fatalf("%s: %v", pkg, err)
		}
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), file))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cut(text, name); err != nil {
			t.Error(err)
		}
	}
}

func TestCutsThatDoNotFit(t *testing.T) {
	const text = "package impl // if opaqueInitHook(mi) { if opaqueInitHook(mi) {"
	got, err := cut([]byte(text), "google.golang.org/protobuf/internal/impl/message.go")
	if err == nil || !strings.Contains(err.Error(), `it has "if opaqueInitHook(mi) {" 2 times, not once`) || string(got) != text {
		t.Errorf("%q, error %v", got, err)
	}
}

// The cache of go build would keep what another version of the cuts made.
func TestCacheKnowsTheSource(t *testing.T) {
	if len(source) < 1000 || len(sourceOfCuts) < 1000 {
		t.Errorf("%d bytes of main.go, %d of cuts.go", len(source), len(sourceOfCuts))
	}
}
