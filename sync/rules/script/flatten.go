package script

import (
	"net/url"
	"strings"
)

// toFlatMap(map[, excludeKeys][, pathInKey]).
func toFlatMap(r *run, a []*Value) *Value {
	need(a, 1, 3)
	var exclude []*Value
	path := true
	for _, v := range a[1:] {
		if v.k == Bool {
			path = v.Bool()
		} else {
			exclude = argList(v)
		}
	}
	out := r.newMap()
	r.flatten(out.o, &Value{k: Map, o: argMap(a[0])}, exclude, "", path, 0)
	return out
}

func (r *run) flatten(out *object, v *Value, exclude []*Value, at string, path bool, depth int) {
	r.step(1)
	if depth > textDepth {
		panic(limitError("a map that is nested beyond the bounds"))
	}
	r.use(len(at))
	switch v.k {
	case List, Array, Set:
		for i, item := range v.o.items {
			r.flatten(out, item, exclude, at+"."+decimal(i), path, depth+1)
		}
	case Map:
		for i, item := range v.o.items {
			key := v.o.keys[i]
			if r.indexOf(exclude, key) >= 0 {
				continue
			}
			next := r.javaText(key)
			if !blank(at) {
				next = at + "." + next
			}
			r.flatten(out, item, exclude, next, path, depth+1)
		}
	default:
		if !path {
			at = lastPart(at)
		}
		r.put(out, textOf(at), v)
	}
}

// lastPart is the key of a path; the number of a list's member keeps one part more.
func lastPart(at string) string {
	key := at[strings.LastIndexByte(at, '.')+1:]
	if !onlyDigits(key, "0123456789") {
		return key
	}
	end := strings.LastIndexByte(at, '.')
	if end < 0 {
		return key
	}
	return at[strings.LastIndexByte(at[:end], '.')+1:]
}

// uriKept are the bytes that encodeURI leaves as they are, beside letters and digits.
const uriKept = "-_.!~*'();/?:@&=+$,#"

func encodeURI(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || hasByte(uriKept, c) {
			putByte(&b, c)
			continue
		}
		putByte(&b, '%')
		putByte(&b, hexDigits[c>>4])
		putByte(&b, hexDigits[c&15])
	}
	return b.String()
}

func decodeURI(s string) string {
	out, err := url.PathUnescape(s)
	if err != nil {
		panic(failed("no encoded URI: " + err.Error()))
	}
	return out
}
