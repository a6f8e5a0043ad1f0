package script

import "strings"

// textMethod is the methods of a text of TBEL, which are Java's.
func (r *run) textMethod(s string, name word, a []*Value) (*Value, bool) {
	r.step(len(s) >> 6)
	switch len(a) {
	case 0:
		return r.textMethod0(s, name)
	case 1:
		return r.textMethod1(s, name, a[0])
	}
	switch {
	case name == wSubstring && len(a) == 2:
		from, to, n := int(argInt(a[0])), int(argInt(a[1])), units(s)
		if from < 0 || to > n || from > to {
			panic(failed("substring beyond the text"))
		}
		return textOf(cut(s, from, to)), true
	case name == wReplace && len(a) == 2:
		out := replaceAll(s, r.argText(a[0]), r.growing(s, r.argText(a[0]), r.argText(a[1])))
		return r.text(out), true
	case (name == wReplaceAll || name == wReplaceFirst) && len(a) == 2:
		p := r.pattern(r.argText(a[0]), tbelPattern)
		return r.text(p.replace(r, s, r.argText(a[1]), name == wReplaceFirst)), true
	case name == wSplit && len(a) == 2:
		return r.split(s, r.argText(a[0]), int(argInt(a[1]))), true
	case (name == wIndexOf || name == wLastIndexOf) && len(a) == 2:
		from := int(argInt(a[1]))
		what := r.argText(a[0])
		if name == wIndexOf {
			b := byteIndex(s, from)
			i := indexText(s[b:], what)
			if i < 0 {
				return intOf(-1), true
			}
			return intOf(int32(unitIndex(s, b+i))), true
		}
		if from < 0 {
			return intOf(-1), true
		}
		end := min(len(s), byteIndex(s, from)+len(what))
		return intOf(int32(unitIndex(s, strings.LastIndex(s[:end], what)))), true
	case name == wStartsWith && len(a) == 2:
		from := int(argInt(a[1]))
		return boolOf(from >= 0 && from <= units(s) && hasPrefix(s[byteIndex(s, from):], r.argText(a[0]))), true
	}
	return nil, false
}

// growing checks that replacing old by with does not outgrow the memory, and returns with.
//
//go:noinline
func (r *run) growing(s, old, with string) string {
	if n := strings.Count(s, old); n > 0 && len(with) > len(old) {
		if n > maxMemory/len(with) {
			panic(limitError("a text beyond the memory of a script"))
		}
		r.use(n * (len(with) - len(old)))
	}
	return with
}

func (r *run) textMethod0(s string, name word) (*Value, bool) {
	switch name {
	case wLength:
		return intOf(int32(units(s))), true
	case wIsEmpty:
		return boolOf(s == ""), true
	case wIsBlank:
		return boolOf(blank(s)), true
	case wToUpperCase:
		return r.text(strings.ToUpper(s)), true
	case wToLowerCase:
		return r.text(strings.ToLower(s)), true
	case wTrim:
		return textOf(strings.TrimFunc(s, func(c rune) bool { return c <= ' ' })), true
	case wStrip:
		return textOf(strings.TrimSpace(s)), true
	case wStripLeading:
		return textOf(strings.TrimLeft(s, " \t\n\r\f\v")), true
	case wStripTrailing:
		return textOf(strings.TrimRight(s, " \t\n\r\f\v")), true
	case wToString, wIntern:
		return textOf(s), true
	case wToCharArray:
		n := units(s)
		r.use(objectSize + n*valueSize)
		out := make([]*Value, 0, n)
		for i := 0; i < n; i++ {
			out = append(out, charOf(unitAt(s, i)))
		}
		r.step(n)
		return arrayOf(out), true
	case wGetBytes:
		return r.bytesArray([]byte(s)), true
	case wHashCode:
		return intOf(int32(javaHash(s))), true
	}
	return nil, false
}

func (r *run) textMethod1(s string, name word, arg *Value) (*Value, bool) {
	switch name {
	case wCharAt, wCodePointAt:
		i := int(argInt(arg))
		if i < 0 || i >= units(s) {
			panic(failed("string index out of range"))
		}
		if name == wCodePointAt {
			for _, c := range s[byteIndex(s, i):] {
				return intOf(c), true
			}
		}
		return charOf(unitAt(s, i)), true
	case wSubstring:
		from := int(argInt(arg))
		if from < 0 || from > units(s) {
			panic(failed("substring beyond the text"))
		}
		return textOf(s[byteIndex(s, from):]), true
	case wIndexOf:
		return intOf(int32(unitIndex(s, indexText(s, r.argText(arg))))), true
	case wLastIndexOf:
		return intOf(int32(unitIndex(s, strings.LastIndex(s, r.argText(arg))))), true
	case wContains:
		return boolOf(hasText(s, r.argText(arg))), true
	case wStartsWith:
		return boolOf(hasPrefix(s, r.argText(arg))), true
	case wEndsWith:
		return boolOf(strings.HasSuffix(s, r.argText(arg))), true
	case wEquals:
		return boolOf(arg.isText() && arg.Text() == s), true
	case wEqualsIgnoreCase:
		return boolOf(arg.isText() && strings.EqualFold(arg.Text(), s)), true
	case wCompareTo:
		return intOf(int32(compareTexts(s, r.argText(arg)))), true
	case wCompareToIgnoreCase:
		return intOf(int32(compareTexts(strings.ToLower(s), strings.ToLower(r.argText(arg))))), true
	case wConcat:
		return r.text(s + r.argText(arg)), true
	case wRepeat:
		n := int(argInt(arg))
		if n < 0 {
			panic(failed("count is negative"))
		}
		if s != "" && n > maxMemory/len(s) {
			panic(limitError("a text beyond the memory of a script"))
		}
		r.use(n * len(s))
		return textOf(strings.Repeat(s, n)), true
	case wSplit:
		return r.split(s, r.argText(arg), 0), true
	case wMatches:
		return boolOf(r.pattern(r.argText(arg), tbelPattern).full(r, s)), true
	}
	return nil, false
}

// split is Java's: without a limit empty texts at the end are left out.
func (r *run) split(s, pattern string, limit int) *Value {
	var parts []string
	if plainPattern(pattern) {
		if s == "" {
			parts = []string{""}
		} else if limit > 0 {
			parts = strings.SplitN(s, pattern, limit)
		} else {
			parts = strings.Split(s, pattern)
		}
	} else {
		parts = r.pattern(pattern, tbelPattern).split(r, s, limit)
	}
	if limit == 0 {
		for len(parts) > 1 && parts[len(parts)-1] == "" {
			parts = parts[:len(parts)-1]
		}
		if len(parts) == 1 && parts[0] == "" && s != "" {
			parts = nil
		}
	}
	r.use(objectSize + len(parts)*valueSize)
	r.step(len(parts) >> 2)
	out := make([]*Value, len(parts))
	for i, p := range parts {
		out[i] = textOf(p)
	}
	return arrayOf(out)
}

// plainPattern reports whether a pattern is a plain text that is not empty.
//
//go:noinline
func plainPattern(p string) bool { return p != "" && !strings.ContainsAny(p, `\.[]{}()*+?^$|`) }
