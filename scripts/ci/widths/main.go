// Command widths finds lines of Go that are too wide to read: comments over 100 columns, anything
// over 140; a tab counts as 4. It reads the files named, or all below the working directory, prints
// what it finds and ends with exit code 1 if there is any.
//
// Not held: generated files, directives such as //go:build, a comment of one word (an address), and
// lines of raw strings, which are data.
package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

const (
	maxComment = 100
	maxLine    = 140
	tab        = 4
)

func main() {
	files := os.Args[1:]
	if len(files) == 0 {
		err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "build") {
				return fs.SkipDir
			}
			if strings.HasSuffix(path, ".go") {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, "widths:", err)
			os.Exit(1)
		}
	}
	bad := false
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			fmt.Fprintln(os.Stderr, "widths:", err)
			os.Exit(1)
		}
		for _, c := range tooWide(text) {
			fmt.Fprintf(os.Stderr, "widths: %s:%s\n", file, c)
			bad = true
		}
	}
	if bad {
		os.Exit(1)
	}
}

// kind is what a line holds beside code.
type kind struct{ comment, raw bool }

// tooWide returns a complaint, with its line, for each line of a Go file that is too wide.
func tooWide(text []byte) (complaints []string) {
	fset := token.NewFileSet()
	if f, err := parser.ParseFile(fset, "", text, parser.PackageClauseOnly|parser.ParseComments); err == nil && ast.IsGenerated(f) {
		return nil
	}
	kinds := kindsOf(text)
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line = bytes.TrimRight(line, "\r\n")
		w := utf8.RuneCount(line) + bytes.Count(line, []byte("\t"))*(tab-1)
		words := bytes.Fields(line)
		switch {
		case kinds[n].raw, w <= maxComment, bytes.HasPrefix(line, []byte("//go:")):
		case kinds[n].comment && len(words) > 2:
			complaints = append(complaints, fmt.Sprintf("%d: a comment of %d columns, at most %d", n, w, maxComment))
		case w > maxLine && !kinds[n].comment:
			complaints = append(complaints, fmt.Sprintf("%d: %d columns, at most %d", n, w, maxLine))
		}
	}
	return complaints
}

// kindsOf tells of each line, counted from 1, whether it is a comment, and nothing else, or belongs
// to a raw string of several lines.
func kindsOf(text []byte) map[int]kind {
	kinds := map[int]kind{}
	file := token.NewFileSet().AddFile("", -1, len(text))
	var s scanner.Scanner
	s.Init(file, text, nil, scanner.ScanComments)
	last := 0 // line on which the token before ended
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return kinds
		}
		if tok == token.SEMICOLON && lit == "\n" {
			continue
		}
		first := file.Line(pos)
		end := first + strings.Count(lit, "\n")
		for n := first; n <= end; n++ {
			switch {
			case tok == token.COMMENT && n > last:
				kinds[n] = kind{comment: true}
			case tok == token.STRING && end > first:
				kinds[n] = kind{raw: true}
			}
		}
		last = end
	}
}
