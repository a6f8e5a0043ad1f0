package sync

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sections are the sections of CONTRACT.md that have rules; below is the number of numbered
// sections in each.
var sections = func() (list []string) {
	for _, s := range []struct{ section, below int }{
		{0, 0}, {1, 6}, {2, 8}, {3, 6}, {4, 8}, {5, 11}, {6, 5}, {7, 4}, {8, 2}, {9, 0}, {10, 30}, {11, 0}, {12, 0}, {13, 9},
	} {
		if s.below == 0 {
			list = append(list, strconv.Itoa(s.section))
		}
		for i := range s.below {
			list = append(list, fmt.Sprintf("%d.%d", s.section, i+1))
		}
	}
	return list
}()

// testDirs are the directories of the tests of the packages that the table names.
var testDirs = map[string]string{
	"sync": ".", "cli": "cli", "config": "config", "clock": "clock", "link": "link", "calls": "calls",
	"registry": "registry", "rest": "rest", "cloudtest": "cloudtest",
	"device": "device", "payload": filepath.Join("device", "payload"), "mqtt": filepath.Join("device", "mqtt"),
	"proto": filepath.Join("..", "proto"), "scripts/cloud": filepath.Join("..", "scripts", "cloud"),
}

// testNames returns the tests of a directory, each with the strings in it, which hold the names of
// its subtests.
func testNames(t *testing.T, dir string) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s (%v)", dir, err)
	}
	names := map[string][]string{}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") {
				continue
			}
			texts := []string{}
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					if s, err := strconv.Unquote(l.Value); err == nil {
						texts = append(texts, s)
					}
				}
				return true
			})
			names[fn.Name.Name] = texts
		}
	}
	return names
}

// indexProblems holds the table against the tests: every numbered section has a row, every row has
// a test that exists or a reason, and every conformance test stands in a row of its own section.
func indexProblems(table string, tests func(pkg string) map[string][]string) (problems []string) {
	complain := func(format string, a ...any) { problems = append(problems, fmt.Sprintf(format, a...)) }
	covered, cited := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(cells) < 3 || !slices.Contains(sections, cells[0]) || len(cells[1]) < 3 {
			complain("%q is no row: section, rule, tests or a reason", line)
			continue
		}
		covered[cells[0]] = true
		for _, proof := range cells[2:] {
			if reason, ok := strings.CutPrefix(proof, "reason: "); ok {
				if len(reason) < 10 {
					complain("%s, %s: no reason", cells[0], cells[1])
				}
				continue
			}
			pkg, name, _ := strings.Cut(proof, " ")
			name, sub, hasSub := strings.Cut(name, "/")
			all := tests(pkg)
			texts, ok := all[name]
			if !ok || hasSub && !slices.Contains(texts, sub) {
				complain("%s, %s: there is no test %q", cells[0], cells[1], proof)
			}
			cited[cells[0]+" "+proof] = true
		}
	}
	for _, s := range sections {
		if !covered[s] {
			complain("section %s has no row", s)
		}
	}
	for name, texts := range tests("sync") {
		if !strings.HasPrefix(name, "TestConformance") {
			continue
		}
		for _, sub := range texts {
			if section := sectionOf.FindString(sub); section != "" && !cited[strings.TrimSpace(section)+" sync "+name+"/"+sub] {
				complain("%s/%s stands in no row of its section", name, sub)
			}
		}
	}
	return problems
}

// sectionOf matches the section with which the name of a conformance test begins.
var sectionOf = regexp.MustCompile(`^\d+\.\d+ `)

// The table of rules and of the tests that prove them agrees with the sources.
func TestContractIndex(t *testing.T) {
	table, err := os.ReadFile(filepath.Join("testdata", "contract.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]map[string][]string{}
	tests := func(pkg string) map[string][]string {
		if known[pkg] == nil && testDirs[pkg] != "" {
			known[pkg] = testNames(t, testDirs[pkg])
		}
		return known[pkg]
	}
	for _, p := range indexProblems(string(table), tests) {
		t.Error(p)
	}
	// Each kind of fault in the table is found.
	rest := func(without string) string {
		var b strings.Builder
		for line := range strings.Lines(string(table)) {
			if !strings.HasPrefix(line, without+"\t") {
				b.WriteString(line)
			}
		}
		return b.String()
	}
	for _, c := range []struct{ table, want string }{
		{rest("4.4"), "section 4.4 has no row"},
		{rest("4.4"), "stands in no row of its section"},
		{rest("x") + "4.4\tsomething\tsync TestNobody\n", "there is no test"},
		{rest("x") + "4.4\tsomething\tnowhere TestJudge\n", "there is no test"},
		{rest("x") + "4.4\tsomething\tsync TestConformanceUplink/4.4 nobody\n", "there is no test"},
		{rest("x") + "4.4\tsomething\treason: none\n", "no reason"},
		{rest("x") + "4.9\tsomething\tsync TestJudge\n", "is no row"},
		{rest("x") + "4.4\tsomething\n", "is no row"},
	} {
		if !slices.ContainsFunc(indexProblems(c.table, tests), func(p string) bool { return strings.Contains(p, c.want) }) {
			t.Errorf("%q is not found", c.want)
		}
	}
}
