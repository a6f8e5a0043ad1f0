package status

import "strings"

const (
	// wrapIndent is where a line goes on: below the values of a table.
	wrapIndent = 12
	// wrapLeast is the narrowest screen that lines are broken for.
	wrapLeast = 40
)

// wrap breaks a line at blanks into rows of so many columns; 0 = as many as it takes. Colours take
// no column. A word that is wider than a row has a row of its own.
func wrap(line string, columns int) []string {
	if columns == 0 || width(line) <= max(columns, wrapLeast) {
		return []string{line}
	}
	columns = max(columns, wrapLeast)
	indent := strings.Repeat(" ", len(line)-len(strings.TrimLeft(line, " ")))
	if name := line[:min(wrapIndent, len(line))]; strings.HasSuffix(name, "  ") && len(indent) == 2 {
		indent = strings.Repeat(" ", wrapIndent) // the name of a row, and blanks behind it
	}
	var rows []string
	row, used := "", 0
	for i, word := range strings.Split(line, " ") {
		n := width(word)
		switch {
		case i == 0:
			row, used = word, n
		case used+1+n <= columns || strings.TrimSpace(row) == "":
			row, used = row+" "+word, used+1+n
		default:
			rows = append(rows, row)
			row, used = indent+word, len(indent)+n
		}
	}
	return append(rows, row)
}

// width is how many columns a text takes: its characters without colours.
func width(s string) (n int) {
	colour := false
	for _, c := range s {
		switch {
		case c == '\x1b':
			colour = true
		case colour:
			colour = c != 'm'
		default:
			n++
		}
	}
	return n
}
