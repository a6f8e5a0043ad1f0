// Command trim makes binaries smaller. It compiles everything without the names and lines of files:
// a binary holds a table of which instruction is of which line, which on MIPS is some 4.5 of 100
// bytes of it, and 12 of 100 packed. The instructions are the same without that table. Of the
// standard library and the dependencies it leaves out what never runs here, too, and of the
// linker's tables what nobody reads (cuts.go). A trace of a panic still has each function's name,
// without directories, and the instruction in it; which line that is says go tool objdump -s, of a
// binary that is built from the same commit without -toolexec and -s -w.
//
// It is for go build -toolexec, which starts it in place of each tool, with the tool's command. The
// linker it starts is the one that stands beside it as trim-link, if there is one; trim -linker
// FILE makes that from the source of the linker in use, with its cuts made.
package main

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"go/scanner"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// source tells this version of the command from others, for the cache of go build, wherever the
// command is and whatever machine it runs on.
var (
	//go:embed main.go
	source []byte
	//go:embed cuts.go
	sourceOfCuts []byte
)

func main() {
	var err error
	if len(os.Args) == 3 && os.Args[1] == "-linker" {
		err = linker(os.Args[2])
	} else {
		err = run(os.Args[1:])
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		os.Exit(exit.ExitCode()) // the tool has said why
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "trim:", err)
		os.Exit(1)
	}
}

// run runs the tool whose command it is given. The compiler's files are the last words of its
// command.
func run(command []string) error {
	if len(command) == 0 {
		return errors.New("no command of a tool: use go build -toolexec")
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	tool := strings.TrimSuffix(filepath.Base(command[0]), ".exe")
	if tool == "link" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		if _, err := os.Stat(self + "-link"); err == nil {
			cmd.Path, cmd.Err = self+"-link", nil
		} else {
			tool = "" // as it is
		}
	}
	if tool != "compile" && tool != "link" {
		return cmd.Run()
	}
	if len(command) > 1 && command[1] == "-V=full" {
		cmd.Stdout = nil
		version, err := cmd.Output()
		fmt.Printf("%s trim-%x\n", bytes.TrimSpace(version), sha256.Sum256(slices.Concat(source, sourceOfCuts)))
		return err
	}
	if tool == "link" {
		return cmd.Run()
	}
	pkg, dir := "main", ""
	for i := 1; i < len(cmd.Args); i++ {
		switch path := cmd.Args[i]; {
		case cmd.Args[i-1] == "-p":
			pkg = path
		case cmd.Args[i-1] == "-o":
			dir = filepath.Dir(path)
		case strings.HasSuffix(path, ".go") && pkg != "main":
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text, err = cut(text, pkg+"/"+filepath.Base(path))
			if err != nil { // Another version of Go than the cuts were made for is no error.
				fmt.Fprintln(os.Stderr, "trim:", err)
			}
			cmd.Args[i] = filepath.Join(dir, fmt.Sprintf("trim%d.go", i)) // of the directory that go build removes
			if err := os.WriteFile(cmd.Args[i], unlined(text), 0o600); err != nil {
				return err
			}
		}
	}
	return cmd.Run()
}

// cut returns the text of a file with its cuts made, or the whole text and an error when one of
// them is not of this text.
func cut(text []byte, name string) ([]byte, error) {
	short := text
	for _, c := range cuts {
		if c.file != name {
			continue
		}
		if n := bytes.Count(short, []byte(c.old)); n != 1 {
			return text, fmt.Errorf("%s is compiled whole: it has %q %d times, not once; see scripts/trim/cuts.go", name, c.old, n)
		}
		short = bytes.Replace(short, []byte(c.old), []byte(c.now), 1)
	}
	return short, nil
}

// unlined returns the text of a Go file with a comment before the first word of each line, that
// tells the compiler to take it for line 1 of a file that all have in common. It adds nothing else,
// and no line.
func unlined(text []byte) []byte {
	file := token.NewFileSet().AddFile("", -1, len(text))
	var words scanner.Scanner
	words.Init(file, text, nil, 0)
	out := []byte("//line trimmed.go:1\n")
	done, line := 0, 0
	for {
		pos, word, literal := words.Scan()
		if word == token.EOF {
			return append(out, text[done:]...)
		}
		// A semicolon that the end of a line means is not in the text.
		if n := file.Line(pos); n != line && (word != token.SEMICOLON || literal == ";") {
			at := file.Offset(pos)
			out = append(append(out, text[done:at]...), "/*line :1:1*/"...)
			done, line = at, n
		}
	}
}
