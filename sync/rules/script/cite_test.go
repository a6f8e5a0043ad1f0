package script

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// TestCitations: every section of RULES.md that the sources cite is one of its headings.
func TestCitations(t *testing.T) {
	law, err := os.ReadFile("../RULES.md")
	if err != nil {
		t.Fatal(err)
	}
	headings := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (\d+(?:\.\d+)?)`).FindAllSubmatch(law, -1) {
		headings[string(m[1])] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^\*\*(\d+)\. `).FindAllSubmatch(law, -1) {
		headings["5.4."+string(m[1])] = true // the numbered rules of 5.4
	}
	files, _ := filepath.Glob("*.go")
	library, _ := filepath.Glob("library/*.txt")
	files = append(files, library...)
	cited := 0
	for _, f := range files {
		source, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`RULES\.md (\d+(?:\.\d+)*)`).FindAllSubmatch(source, -1) {
			cited++
			if !headings[string(m[1])] {
				t.Errorf("%s cites RULES.md %s, which is no section", f, m[1])
			}
		}
	}
	if cited < 30 {
		t.Errorf("only %d citations were found", cited)
	}
}
