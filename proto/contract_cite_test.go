package proto

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// laws are the documents that code, tests and other documents cite by section.
var laws = map[string]string{
	"CONTRACT.md": "CONTRACT.md",
	"API.md":      filepath.Join("..", "sync", "device", "API.md"),
}

var (
	heading  = regexp.MustCompile(`^#{2,3} (\d+(?:\.\d+)?)\b`)
	item     = regexp.MustCompile(`^(\d+)\. `)
	row      = regexp.MustCompile(`^\| (\d+\.\d+) \|`)
	citation = regexp.MustCompile(`\b(CONTRACT|API)\.md[\])]? (\d+(?:\.\d+)?(?:(?:, | to )\d+(?:\.\d+)?)*)`)
	section  = regexp.MustCompile(`\d+(?:\.\d+)?`)
	recorded = regexp.MustCompile("`([a-z-]+)\\.jsonl:([0-9, -]+)`")
)

// sectionsOf are the numbers that a law can be cited by: those of its headings, and, where a
// section is one numbered list (10) or one table of numbered facts (13), those of its entries.
func sectionsOf(t *testing.T, file string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	known, current := map[string]bool{}, ""
	for line := range strings.Lines(string(text)) {
		if m := heading.FindStringSubmatch(line); m != nil {
			current = m[1]
			known[current] = true
		} else if m := item.FindStringSubmatch(line); m != nil && current != "" && !strings.Contains(current, ".") {
			known[current+"."+m[1]] = true
		} else if m := row.FindStringSubmatch(line); m != nil && strings.HasPrefix(m[1], current+".") {
			known[m[1]] = true
		}
	}
	return known
}

// repositoryTexts calls f with the name, from the repository's root, and the text of every file
// that may cite: Go, protobuf, documents, tables, scripts, the Makefile, the example of a
// configuration.
func repositoryTexts(t *testing.T, f func(name, text string)) {
	t.Helper()
	if testing.Short() {
		t.Skip("the texts are the same for each processor")
	}
	n := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel("..", path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name == ".git" || name == "build" || d.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		switch filepath.Ext(name) {
		case ".go", ".md", ".proto", ".tsv", ".example", ".py", ".sh":
		case "":
			if dir := filepath.Dir(name); dir != ".ci" && dir != filepath.Join("scripts", "ci") && name != "Makefile" {
				return nil
			}
		default:
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n++
		f(filepath.ToSlash(name), string(text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 200 {
		t.Errorf("only %d files were read", n)
	}
}

// unwrapped is a text as one line, without the marks of comments where lines began. A regular
// expression for that takes seconds for a repository under the race detector.
func unwrapped(text string) string {
	var b strings.Builder
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			line = strings.TrimLeft(line, " \t")
			for _, mark := range []string{"//", "#", "*"} {
				if rest, ok := strings.CutPrefix(line, mark); ok {
					line = strings.TrimLeft(rest, " \t")
					break
				}
			}
			b.WriteByte(' ')
		}
		b.WriteString(line)
	}
	return b.String()
}

// badCitations are the citations of a text that lead to no section; lines that are wrapped, in
// comments too, count as one.
func badCitations(text string, known map[string]map[string]bool) (n int, bad []string) {
	for _, m := range citation.FindAllStringSubmatch(unwrapped(text), -1) {
		for _, s := range section.FindAllString(m[2], -1) {
			n++
			if !known[m[1]+".md"][s] {
				bad = append(bad, m[1]+".md "+s)
			}
		}
	}
	return n, bad
}

// Every section of CONTRACT.md and API.md that anything in the repository cites exists.
func TestCitations(t *testing.T) {
	known := map[string]map[string]bool{}
	for law, file := range laws {
		known[law] = sectionsOf(t, file)
	}
	for law, want := range map[string][]string{
		"CONTRACT.md": {"0", "4.3", "5.11", "9", "10.17", "12", "13.9"},
		"API.md":      {"1.3", "2", "4.3", "9"},
	} {
		for _, s := range want {
			if !known[law][s] {
				t.Errorf("%s has no section %s, so its headings are not read right", law, s)
			}
		}
	}
	repositoryTexts(t, func(name, text string) {
		if name == "proto/contract_cite_test.go" || !strings.Contains(text, "CONTRACT.md") && !strings.Contains(text, "API.md") {
			return
		}
		_, bad := badCitations(text, known)
		for _, b := range bad {
			t.Errorf("%s cites %s, which is not there", name, b)
		}
	})
	for _, c := range []struct {
		text string
		n    int
		bad  []string
	}{
		{"as it is (CONTRACT.md 4.3).", 1, nil},
		{"CONTRACT.md 4.3, 99.1 and more", 2, []string{"CONTRACT.md 99.1"}},
		{"\t// so says CONTRACT.md\n\t// 4.3,\n\t// 6.9: not\n", 2, []string{"CONTRACT.md 6.9"}},
		{"CONTRACT.md 1.2 to 1.7", 2, []string{"CONTRACT.md 1.7"}},
		{"sync/device/API.md 4.4; CONTRACT.md alone", 1, []string{"API.md 4.4"}},
		{"[API.md](API.md) 9.1", 1, []string{"API.md 9.1"}},
	} {
		if n, bad := badCitations(c.text, known); n != c.n || !slices.Equal(bad, c.bad) {
			t.Errorf("%q: %d citations, bad %q", c.text, n, bad)
		}
	}
}

// oldCitation is how the laws were cited before they stood in the repository.
var oldCitation = regexp.MustCompile(`(?i)\b(?:wire contract|device API),? (?:section )?\d|` +
	`[( ]architecture,|\barchitecture\.md\b|\bexchanges/[a-z]`)

// oldWords are words of which every old citation has one, in lower case: most texts have none.
var oldWords = []string{"wire contract", "device api", "architecture", "exchanges/"}

func oldCitations(text string) []string {
	text = unwrapped(text)
	lower := strings.ToLower(text)
	if !slices.ContainsFunc(oldWords, func(word string) bool { return strings.Contains(lower, word) }) {
		return nil
	}
	return oldCitation.FindAllString(text, -1)
}

// Nothing cites what is not in the repository.
func TestNoOldCitations(t *testing.T) {
	repositoryTexts(t, func(name, text string) {
		if name == "proto/contract_cite_test.go" {
			return
		}
		for _, found := range oldCitations(text) {
			t.Errorf("%s: %q; cite as CONTRACT.md 4.3 or API.md 1.3, or name the file", name, found)
		}
	})
	for text, want := range map[string][]string{
		"as the Wire\n\t// contract, section 4 says": {"Wire contract, section 4"},
		"of the device API 1.2":                      {"device API 1"},
		"(Architecture, 3) and ARCHITECTURE.md":      {"(Architecture,", "ARCHITECTURE.md"},
		"in exchanges/a.jsonl":                       {"exchanges/a"},
		"the wire contract, and an architecture":     nil,
	} {
		if got := oldCitations(text); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

var (
	link   = regexp.MustCompile(`\]\(([^)#: ]*)(?:#([^)]*))?\)`)
	title  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fenced = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```")
	sign   = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// Every link of a document to another one, or to a heading, leads somewhere.
func TestLinks(t *testing.T) {
	n := 0
	repositoryTexts(t, func(name, text string) {
		if filepath.Ext(name) != ".md" {
			return
		}
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			n++
			file := name
			if m[1] != "" {
				file = filepath.Join(filepath.Dir(name), filepath.FromSlash(m[1]))
			}
			b, err := os.ReadFile(filepath.Join("..", file))
			if err != nil {
				t.Errorf("%s links to %s: %v", name, m[0], err)
				continue
			}
			found := m[2] == ""
			for _, h := range title.FindAllStringSubmatch(fenced.ReplaceAllString(string(b), ""), -1) {
				anchor := strings.ReplaceAll(sign.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-")
				found = found || anchor == m[2]
			}
			if !found {
				t.Errorf("%s links to %s, which is no heading there", name, m[0])
			}
		}
	})
	if n < 30 {
		t.Errorf("only %d links", n)
	}
}

// Every rule in the tables of rules belongs to a section of the contract, and every message in
// the table of messages stands in it.
func TestTablesOfTheContract(t *testing.T) {
	known := sectionsOf(t, laws["CONTRACT.md"])
	rules, err := os.ReadFile(filepath.Join("..", "sync", "testdata", "contract.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(rules)) {
		if s, _, _ := strings.Cut(line, "\t"); !strings.HasPrefix(line, "#") && !known[s] {
			t.Errorf("sync/testdata/contract.tsv: %q is no section of CONTRACT.md", s)
		}
	}
	contract, err := os.ReadFile(laws["CONTRACT.md"])
	if err != nil {
		t.Fatal(err)
	}
	messages, err := os.ReadFile(filepath.Join("testdata", "contract.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(messages)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		cells := strings.Split(strings.TrimRight(line, "\t\n"), "\t")
		words := []string{strings.TrimPrefix(cells[0], "enum ")}
		if strings.HasPrefix(cells[0], "enum ") {
			words = append(words, strings.TrimSuffix(cells[2], "_RPC_MESSAGE"))
		}
		for _, w := range words {
			if !strings.Contains(string(contract), w) {
				t.Errorf("proto/testdata/contract.tsv: %s does not stand in CONTRACT.md", w)
			}
		}
	}
}

// Every recording that the contract cites is in the repository, with at least one of the lines.
func TestRecordingsOfTheContract(t *testing.T) {
	held := map[string][]int{}
	files, err := filepath.Glob(filepath.Join("..", "sync", "*", "testdata", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, filepath.Join("..", "sync", "testdata", "downlinks.jsonl")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var entry struct {
				Recording string
				Line      int
			}
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if entry.Recording == "" {
				entry.Recording = strings.TrimSuffix(filepath.Base(file), ".jsonl")
			}
			held[entry.Recording] = append(held[entry.Recording], entry.Line)
		}
	}
	contract, err := os.ReadFile(laws["CONTRACT.md"])
	if err != nil {
		t.Fatal(err)
	}
	cited := recorded.FindAllStringSubmatch(string(contract), -1)
	if len(cited) < 50 {
		t.Errorf("only %d citations", len(cited))
	}
	for _, m := range cited {
		for span := range strings.SplitSeq(m[2], ", ") {
			first, last, isRange := strings.Cut(span, "-")
			a, err := strconv.Atoi(first)
			b := a
			if err == nil && isRange {
				b, err = strconv.Atoi(last)
			}
			if err != nil || !slices.ContainsFunc(held[m[1]], func(l int) bool { return a <= l && l <= b }) {
				t.Errorf("%s.jsonl:%s is in no recording (%v)", m[1], span, err)
			}
		}
	}
}
