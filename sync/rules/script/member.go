package script

// mapMethod reports whether a name behind a map's point means the method, not the key (RULES.md
// 5.4.7).
//
//go:noinline
func mapMethod(name string) bool { return oneOf("size values keys empty isEmpty", name) }

// mapKey is a value as the key of a map.
//
//go:noinline
func mapKey(v *Value) *Value {
	if v.k == Unset {
		return null
	}
	return v
}

// property is o.name without brackets, for everything but an ordinary key of a map: a method that
// takes no arguments.
func (r *run) property(o *Value, name string) *Value {
	method := ""
	switch o.k {
	case Null, Unset:
		panic(failedOn("null pointer: .% of null", name))
	case Map:
		if !mapMethod(name) {
			if v, ok := o.o.get(textOf(name)); ok {
				return v
			}
			return null
		}
		method = name
	case List, Array, Set, Text:
		if oneOf("length size isEmpty isBlank", name) {
			method = name
		}
		if is(name, "length") && o.k == Set {
			method = "size"
		}
	case Entry:
		switch name {
		case "key":
			return o.o.items[0]
		case "value":
			return o.o.items[1]
		}
	case Class:
		if v := constantOf(TBEL, o.o.text+"."+name); v != nil {
			return v
		}
	case Date:
		method = "get" + upperFirst(name)
	}
	switch {
	case is(name, "empty"):
		method = "isEmpty"
	case is(name, "blank"):
		method = "isBlank"
	case is(name, "bytes"):
		method = "getBytes"
	}
	f := methodOf(TBEL, o.k, method)
	if f == nil {
		panic(failedOn("could not access property: %", name))
	}
	base := len(r.argv)
	r.argv = append(r.argv, o)
	v := r.invoke(f, r.argv[base:])
	r.argv = r.argv[:base]
	return v
}

//go:noinline
func upperFirst(s string) string {
	if s != "" && s[0] >= 'a' && s[0] <= 'z' {
		return string(s[0]-'a'+'A') + s[1:]
	}
	return s
}

// index is o[key].
func (r *run) index(o, key *Value) *Value {
	switch o.k {
	case Map:
		if v, ok := o.o.get(mapKey(key)); ok {
			return v
		}
		return null
	case List, Array:
		return o.o.items[r.listIndex(o, key)]
	case Text:
		if key.k != Int {
			panic(failed("the index of a text has to be an int"))
		}
		r.step(len(o.s) >> 6)
		i := int(int32(key.n))
		if i < 0 || i >= units(o.s) {
			panic(failedAt("string index out of bounds: %", i))
		}
		return charOf(unitAt(o.s, i))
	case Null, Unset:
		panic(failedOn("null pointer: [%] of null", r.javaText(key)))
	case Entry, Date:
		if key.k == Text {
			return r.property(o, key.s)
		}
	}
	panic(failedKind("no index into %", o))
}

// listIndex checks an index of a list.
func (r *run) listIndex(o, key *Value) int {
	if key.k != Int {
		panic(failedKind("the index of a list has to be an int, not %", key))
	}
	i := int(int32(key.n))
	if i < 0 || i >= len(o.o.items) {
		panic(outOfBounds(i, len(o.o.items)))
	}
	return i
}

// setIndex is o[key] = v and o.key = v.
func (r *run) setIndex(o, key, v *Value) {
	switch o.k {
	case Map:
		r.change(o)
		r.put(o.o, mapKey(key), v)
		return
	case List, Array:
		r.change(o)
		o.o.items[r.listIndex(o, key)] = v
		return
	case Null, Unset:
		panic(failedOn("could not access property: %; parent is null", r.javaText(key)))
	case Entry:
		if key.k == Text && is(key.s, "value") {
			o.o.items[1] = v
			return
		}
	}
	panic(failed("nothing of " + o.k.String() + " can be set: " + r.javaText(key)))
}

// change refuses to change what toUnmodifiable gave.
//
//go:noinline
func (r *run) change(o *Value) {
	if o.s == readOnly {
		panic(failed("the value cannot be changed: it is unmodifiable"))
	}
}

// readOnly marks, as its text, a list or map that toUnmodifiable gave: a view of the one that may
// be changed.
const readOnly = "unmodifiable"

// members is what a loop runs over. Of a map it is a copy: the loop may change the map.
func (r *run) members(v *Value, keys bool) []*Value {
	if r.lang == JavaScript {
		return r.scriptMembers(v, keys)
	}
	switch v.k {
	case List, Array, Set:
		return v.o.items
	case Int: // from 1 to the number
		n := int(int32(v.n))
		if n < 0 { // it never ends
			n = maxMemory
		}
		r.room(n, valueSize)
		out := make([]*Value, n)
		for i := range out {
			out[i] = intOf(int32(i + 1))
		}
		return out
	case Map:
		return r.entries(v)
	case Text:
		r.step(len(v.s))
		r.use(len(v.s) * valueSize)
		out := make([]*Value, 0, len(v.s))
		for _, c := range v.s {
			first, second := surrogates(c)
			out = addValue(out, charOf(first))
			if second != 0 {
				out = addValue(out, charOf(second))
			}
		}
		return out
	case Null, Unset:
		panic(failed("a loop over null"))
	}
	panic(failedKind("a loop over %", v))
}

func (r *run) entries(v *Value) []*Value {
	n := len(v.o.items)
	r.step(n >> 3)
	r.use(n * (objectSize + 3*valueSize))
	out := make([]*Value, n)
	for i := range out {
		out[i] = entryOf(v.o.keys[i], v.o.items[i])
	}
	return out
}
