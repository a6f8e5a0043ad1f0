package plain

import (
	"strings"
	"unicode/utf8"
)

// Columns is the width that texts for people are filled to.
const Columns = 80

// Fill breaks a text at its blanks into lines of at most Columns characters: the first behind head,
// the others below the column indent. A word that is wider has a line of its own. The last line
// ends with a line feed.
func Fill(head, text string, indent int) string {
	var b strings.Builder
	b.WriteString(head)
	used := utf8.RuneCountInString(head)
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case used+n+min(i, 1) > Columns && used > indent:
			b.WriteByte('\n')
			for used = 0; used < indent; used++ {
				b.WriteByte(' ')
			}
		case i > 0:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += n
	}
	b.WriteByte('\n')
	return b.String()
}
