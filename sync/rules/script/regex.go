package script

import (
	"regexp"
	resyntax "regexp/syntax"
	"strconv"
	"strings"
)

// dialect is whose regular expressions a pattern is written in.
type dialect uint8

const (
	tbelPattern dialect = iota
	scriptPattern
)

const (
	maxPattern = 1000   // bytes of a pattern
	maxMatches = 20_000 // matches of one replace, split or match
	maxStates  = 2_000  // states of the machine that a pattern becomes: what {n} repeats counts n times
)

// pattern is a compiled regular expression. Go's run in a time that grows with the text only, and
// have neither look-around nor back references: what needs them is not supported.
type pattern struct {
	_      [0]func() // never compared: that would be code for each such type
	source string
	flags  string
	re     *regexp.Regexp
	last   int // where the next exec of JavaScript begins, in units
	states int
}

// cost accounts for one pass of the pattern over a text.
//
//go:noinline
func (p *pattern) cost(r *run, s string) { r.step(1 + len(s)*p.states>>7) }

// states is about how many states the machine of an expression has.
func states(re *resyntax.Regexp) int {
	n := 1
	switch re.Op {
	case resyntax.OpLiteral:
		n = len(re.Rune)
	case resyntax.OpRepeat:
		n = max(re.Min, re.Max, 1) * (1 + states(re.Sub[0]))
	default:
		for _, sub := range re.Sub {
			if n += states(sub); n > maxStates {
				break
			}
		}
	}
	return min(n, maxStates+1)
}

// pattern compiles a pattern, or finds it among the last ones of this run; whole: it has to match
// the whole text.
func (r *run) pattern(source string, whole bool) *pattern {
	flags := ""
	if whole {
		flags = "w"
	}
	for _, p := range r.cache {
		if p.source == source && p.flags == flags {
			return p
		}
	}
	r.step(100 + 10*len(source))
	d := tbelPattern
	if r.lang == JavaScript {
		d = scriptPattern
	}
	p := compilePattern(source, flags, d)
	if len(r.cache) == 8 {
		r.cache = r.cache[:0]
	}
	r.cache = append(r.cache, p)
	return p
}

func compilePattern(source, flags string, d dialect) *pattern {
	if len(source) > maxPattern {
		panic(unsupportedOn("a regular expression of more than % bytes", decimal(maxPattern)))
	}
	text := translate(source, d)
	mode := ""
	for _, f := range flags {
		switch f {
		case 'i', 'm', 's':
			mode += string(f)
		case 'g', 'u':
		case 'w': // of pattern
			text = `\A(?:` + text + `)\z`
		default:
			panic(unsupportedOn("the flag % of a regular expression", string(f)))
		}
	}
	if mode != "" {
		text = "(?" + mode + ")" + text
	}
	size := 0
	tree, err := resyntax.Parse(text, resyntax.Perl)
	if err == nil {
		if size = states(tree); size > maxStates {
			panic(unsupported("a regular expression of so many states"))
		}
	}
	var re *regexp.Regexp
	if err == nil {
		re, err = regexp.Compile(text)
	}
	if err != nil {
		panic(failed("a regular expression that does not compile: " + trimPrefix(err.Error(), "error parsing regexp: ")))
	}
	return &pattern{source: source, flags: flags, re: re, states: size}
}

// translate turns a pattern of Java or JavaScript into Go's. It panics with the part that Go's
// cannot say.
func translate(s string, d dialect) string {
	var b strings.Builder
	class := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i = translateEscape(&b, s, i+1, d)
		case class > 0:
			switch {
			case c == '[' && s[i:min(i+2, len(s))] != "[:":
				if d == tbelPattern {
					panic(unsupported("a character class inside a character class"))
				}
				putText(&b, `\[`)
				continue
			case c == '&' && hasPrefix(s[i:], "&&") && d == tbelPattern:
				panic(unsupported("the intersection && of a character class"))
			case c == ']':
				class--
			}
			putByte(&b, c)
		case c == '[':
			class++
			putByte(&b, c)
			if i+1 < len(s) && s[i+1] == '^' {
				i++
				putByte(&b, '^')
			}
			if i+1 < len(s) && s[i+1] == ']' {
				i++
				putText(&b, `\]`)
			}
		case c == '(' && hasPrefix(s[i:], "(?"):
			for _, look := range []string{"(?=", "(?!", "(?<=", "(?<!", "(?>"} {
				if hasPrefix(s[i:], look) {
					panic(unsupportedOn("look-around and atomic groups of a regular expression: %", look))
				}
			}
			putByte(&b, c)
		case c == '+' && i > 0 && (s[i-1] == '+' || s[i-1] == '*' || s[i-1] == '?' || s[i-1] == '}') && !(i > 1 && s[i-2] == '\\'):
			panic(unsupported("possessive quantifiers of a regular expression"))
		case c == '$' && d == tbelPattern:
			putText(&b, `(?:\n?\z)`)
		default:
			putByte(&b, c)
		}
	}
	return b.String()
}

// translateEscape writes what the backslash before s[i] means and returns the place of its last
// byte.
func translateEscape(b *strings.Builder, s string, i int, d dialect) int {
	switch c := s[i]; {
	case c >= '1' && c <= '9' || c == 'k':
		panic(unsupported("back references of a regular expression"))
	case c == 'u' && i+4 < len(s):
		if n, err := strconv.ParseUint(s[i+1:i+5], 16, 16); err == nil {
			putText(b, `\x{`+formatUint(n, 16)+`}`)
			return i + 4
		}
	case c == 'h' && d == tbelPattern:
		putText(b, `[ \t\x{a0}]`)
		return i
	case c == 'R' && d == tbelPattern:
		putText(b, `(?:\r\n|[\n\x{0b}\f\r\x{85}])`)
		return i
	case c == 'e':
		putText(b, `\x1b`)
		return i
	case c == 'G' || c == 'X' || c == 'c':
		panic(unsupported(`\` + string(c) + " of a regular expression"))
	case c == 'Z' && d == tbelPattern:
		putText(b, `(?:\n?\z)`)
		return i
	case c == '0' && d == scriptPattern:
		putText(b, `\x00`)
		return i
	case (c == 'p' || c == 'P') && hasPrefix(s[i+1:], "{"):
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			panic(failed("a regular expression that does not compile: \\p without end"))
		}
		name := s[i+2 : i+end]
		if posix := posixClass(name); posix != "" {
			if c == 'P' {
				posix = "^" + posix
			}
			putText(b, "["+posix+"]")
			return i + end
		}
		name = trimPrefix(trimPrefix(name, "Is"), "script=")
		putText(b, `\`+string(c)+"{"+name+"}")
		return i + end
	case d == scriptPattern && !strings.ContainsRune(`dDwWsSbBnrtfvxpPQEA`, rune(c)) && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'):
		putByte(b, c)
		return i
	case c >= 0x80:
		putByte(b, c)
		return i
	}
	putByte(b, '\\')
	putByte(b, s[i])
	return i
}

func posixClass(name string) string {
	switch {
	case oneOf("Alpha Digit Alnum Upper Lower Punct Space Blank Cntrl Graph Print XDigit", name):
		return "[:" + strings.ToLower(name) + ":]"
	case name == "ASCII":
		return `\x00-\x7F`
	}
	return ""
}

// found reports whether the pattern is anywhere in the text.
func (p *pattern) found(r *run, s string) bool {
	p.cost(r, s)
	return p.re.MatchString(s)
}

// findPieces divides a text at up to n matches, all if n is negative: the text before the first
// match, the list of the match and its groups, the text behind it, and so on. A pattern is a
// regular expression, or a text: plain in JavaScript, of TBEL one that is compiled if it is not
// plain.
func findPieces(r *run, a []*Value) *Value {
	s, n := r.textAt(a, 1), r.intAt(a, 2, -1)
	if n < 0 || n > maxMatches {
		n = maxMatches + 1
	}
	var found [][]int
	switch text := a[0].Text(); {
	case a[0].k != Regexp && text != "" && (r.lang == JavaScript || !strings.ContainsAny(text, `\.[]{}()*+?^$|`)):
		for at := 0; len(found) < n; {
			i := indexText(s[at:], text)
			if i < 0 {
				break
			}
			found = append(found, []int{at + i, at + i + len(text)})
			at += i + len(text)
		}
	default:
		p := r.patternOf(a[0])
		p.cost(r, s)
		found = p.re.FindAllStringSubmatchIndex(s, n)
	}
	r.step(len(found))
	if len(found) > maxMatches {
		panic(limitAt("a regular expression with more than % matches", maxMatches))
	}
	list := make([]*Value, 0, 1+2*len(found))
	at := 0
	for _, m := range found {
		groups := make([]*Value, len(m)/2)
		for i := range groups {
			groups[i] = r.none()
			if m[2*i] >= 0 {
				groups[i] = textOf(s[m[2*i]:m[2*i+1]])
			}
		}
		list = addValue(addValue(list, textOf(s[at:m[0]])), r.list(groups))
		at = m[1]
	}
	return r.list(addValue(list, textOf(s[at:])))
}

func (r *run) patternOf(v *Value) *pattern {
	if v.k == Regexp {
		return v.o.re
	}
	return r.pattern(r.textOf(v), false)
}

// groupNames are the names of the groups of a pattern, parallel to what is found.
func groupNames(r *run, a []*Value) *Value {
	var list []*Value
	for _, name := range r.patternOf(a[0]).re.SubexpNames() {
		list = addValue(list, textOf(name))
	}
	return r.list(list)
}

//go:noinline
func regexpOf(p *pattern) *Value { return &Value{k: Regexp, o: &object{re: p}} }
