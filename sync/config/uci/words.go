package uci

import "strconv"

// words splits a file into commands, and each into words.
type words struct {
	data    []byte
	at      int
	line    int // of data[at]
	notices []string
}

// maxNotices bounds how many notices a file gives.
const maxNotices = 8

// command is the next line with words in it, and where it begins; nil at the end of the file.
func (w *words) command() (list []string, line int, err error) {
	for w.at < len(w.data) {
		switch c := w.data[w.at]; {
		case c == '\n':
			w.newline()
			if list != nil {
				return list, line, nil
			}
		case isBlank(c):
			w.at++
		case c == '#':
			w.skipLine()
		case c == ';':
			w.at++
			w.dropRest()
		default:
			if list == nil {
				line = w.line
			}
			word, err := w.word()
			if err != nil {
				return nil, 0, err
			}
			list = append(list, word)
		}
	}
	return list, line, nil
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f' }

func (w *words) newline() {
	w.at++
	w.line++
}

func (w *words) skipLine() {
	for w.at < len(w.data) && w.data[w.at] != '\n' {
		w.at++
	}
}

// dropRest passes over what stands behind a ; and tells of it.
func (w *words) dropRest() {
	for w.at < len(w.data) && isBlank(w.data[w.at]) {
		w.at++
	}
	if w.at < len(w.data) && w.data[w.at] != '\n' && w.data[w.at] != '#' && len(w.notices) < maxNotices {
		w.notices = append(w.notices, "line "+strconv.Itoa(w.line)+": what stands behind the ; is ignored, as uci ignores it; "+
			"write it on a line of its own")
	}
	w.skipLine()
}

// word is the next word, which begins at w.at.
func (w *words) word() (string, error) {
	var text []byte
	for w.at < len(w.data) {
		switch c := w.data[w.at]; {
		case c == '\n' || c == ';' || c == '#' || isBlank(c):
			return string(text), nil
		case c == '\'' || c == '"':
			var err error
			if text, err = w.quoted(text, c); err != nil {
				return "", err
			}
		case c == '\\':
			text = w.escaped(text)
		default:
			text = append(text, c)
			w.at++
		}
	}
	return string(text), nil
}

// quoted appends what stands between two quotes, the first of which is at w.at.
func (w *words) quoted(text []byte, quote byte) ([]byte, error) {
	begin := w.line
	w.at++
	for w.at < len(w.data) {
		switch c := w.data[w.at]; {
		case c == quote:
			w.at++
			return text, nil
		case c == '\\' && quote == '"':
			text = w.escaped(text)
		default:
			if c == '\n' {
				w.line++
			}
			text = append(text, c)
			w.at++
		}
	}
	return nil, &Error{begin, "the quote that begins here has no end"}
}

// escaped appends the character behind the backslash at w.at. A backslash before the end of a line
// takes the line's end away.
func (w *words) escaped(text []byte) []byte {
	w.at++
	if w.at >= len(w.data) {
		return text
	}
	c := w.data[w.at]
	w.at++
	if c == '\n' {
		w.line++
		return text
	}
	return append(text, c)
}
