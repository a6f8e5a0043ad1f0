package script

import "strconv"

// mapMethod reports whether a name behind a map's point means the method, not the key (RULES.md
// 5.4.7).
func mapMethod(name string) bool {
	switch name {
	case "size", "values", "keys", "empty", "isEmpty":
		return true
	}
	return false
}

// mapKey is a value as the key of a map: a char is its text.
func mapKey(v Value) Value {
	switch v.k {
	case Char:
		return textOf(v.Text())
	case Unset:
		return null
	}
	return v
}

// property is o.name without brackets, for everything but an ordinary key of a map.
func (r *run) property(o Value, name string) Value {
	switch o.k {
	case Null, Unset:
		panic(failed("null pointer: ." + name + " of null"))
	case Map:
		switch name {
		case "empty":
			name = "isEmpty"
		case "size", "values", "keys", "isEmpty":
		default:
			if v, ok := o.o.get(textOf(name)); ok {
				return v
			}
			return null
		}
		return r.method(o, name, nil)
	case List, Array, Set:
		switch name {
		case "length", "size":
			return intOf(int32(len(o.o.items)))
		case "empty", "isEmpty":
			return boolOf(len(o.o.items) == 0)
		}
	case Text:
		switch name {
		case "length":
			return intOf(int32(units(o.s)))
		case "empty", "isEmpty":
			return boolOf(o.s == "")
		case "blank", "isBlank":
			return boolOf(blank(o.s))
		case "bytes":
			return r.bytesArray([]byte(o.s))
		}
	case Entry:
		switch name {
		case "key":
			return o.o.items[0]
		case "value":
			return o.o.items[1]
		}
	case Class:
		if v, ok := classConstant(o.o.text, name); ok {
			return v
		}
	case Date:
		if v, ok := r.dateGet(o, "get"+upperFirst(name)); ok {
			return v
		}
	}
	panic(failed("could not access property: " + name))
}

func upperFirst(s string) string {
	if s != "" && s[0] >= 'a' && s[0] <= 'z' {
		return string(s[0]-'a'+'A') + s[1:]
	}
	return s
}

// index is o[key].
func (r *run) index(o, key Value) Value {
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
		i := int(int32(key.n))
		if i < 0 || i >= units(o.s) {
			panic(failed("string index out of bounds: " + strconv.Itoa(i)))
		}
		return charOf(unitAt(o.s, i))
	case Null, Unset:
		panic(failed("null pointer: [" + r.javaText(key) + "] of null"))
	case Entry, Date:
		if key.k == Text {
			return r.property(o, key.s)
		}
	}
	panic(failed("no index into " + o.k.String()))
}

// listIndex checks an index of a list.
func (r *run) listIndex(o, key Value) int {
	if key.k != Int {
		panic(failed("the index of a list has to be an int, not " + key.k.String()))
	}
	i := int(int32(key.n))
	if i < 0 || i >= len(o.o.items) {
		panic(failed("index " + strconv.Itoa(i) + " is out of bounds for length " + strconv.Itoa(len(o.o.items))))
	}
	return i
}

// setIndex is o[key] = v and o.key = v.
func (r *run) setIndex(o, key, v Value) {
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
		panic(failed("could not access property: " + r.javaText(key) + "; parent is null"))
	case Entry:
		if key.k == Text && key.s == "value" {
			o.o.items[1] = v
			return
		}
	}
	panic(failed("nothing of " + o.k.String() + " can be set: " + r.javaText(key)))
}

// change refuses to change what toUnmodifiable gave.
func (r *run) change(o Value) {
	if o.o.text == readOnly {
		panic(failed("the value cannot be changed: it is unmodifiable"))
	}
}

// readOnly marks what toUnmodifiable gave; the mark lies in text, which lists and maps do not use.
const readOnly = "unmodifiable"

// members is what a loop runs over: a copy, so that the loop may change what it loops over.
func (r *run) members(v Value, keys bool, lang Language) []Value {
	if lang == JavaScript {
		return r.scriptMembers(v, keys)
	}
	switch v.k {
	case List, Array, Set:
		r.step(len(v.o.items) >> 3)
		return append([]Value(nil), v.o.items...)
	case Map:
		return r.entries(v)
	case Text:
		out := make([]Value, 0, len(v.s))
		for i, n := 0, units(v.s); i < n; i++ {
			out = append(out, charOf(unitAt(v.s, i)))
			r.step(1)
		}
		return out
	case Null, Unset:
		panic(failed("a loop over null"))
	}
	panic(failed("a loop over " + v.k.String()))
}

func (r *run) entries(v Value) []Value {
	n := len(v.o.items)
	r.step(n >> 3)
	r.use(n * (objectSize + 3*valueSize))
	out := make([]Value, n)
	for i := range out {
		out[i] = entryOf(v.o.keys[i], v.o.items[i])
	}
	return out
}

// method calls o.name(args) of TBEL.
func (r *run) method(o Value, name string, a []Value) Value {
	switch o.k {
	case Text, Char:
		if v, ok := r.textMethod(o.Text(), name, a); ok {
			return v
		}
	case List, Array:
		if v, ok := r.listMethod(o, name, a); ok {
			return v
		}
	case Set:
		if v, ok := r.setMethod(o, name, a); ok {
			return v
		}
	case Map:
		if v, ok := r.mapMethod(o, name, a); ok {
			return v
		}
	case Entry:
		switch name {
		case "getKey":
			return o.o.items[0]
		case "getValue":
			return o.o.items[1]
		case "setValue":
			need(a, 1, 1)
			old := o.o.items[1]
			o.o.items[1] = a[0]
			return old
		}
	case Date:
		if v, ok := r.dateMethod(o, name, a); ok {
			return v
		}
	case Int, Long, Float, Double:
		switch name {
		case "intValue":
			return r.castTo(o, "int")
		case "longValue":
			return r.castTo(o, "long")
		case "floatValue":
			return r.castTo(o, "float")
		case "doubleValue":
			return r.castTo(o, "double")
		}
	case Bool:
		if name == "booleanValue" {
			return o
		}
	}
	switch name {
	case "toString":
		return r.text(r.javaText(o))
	case "equals":
		need(a, 1, 1)
		return boolOf(r.same(o, a[0], 0))
	case "hashCode":
		if o.isText() {
			return intOf(int32(javaHash(o.Text())))
		}
	case "compareTo":
		need(a, 1, 1)
		if o.isNumber() && a[0].isNumber() {
			x, y := o.Number(), a[0].Number()
			n := int32(0)
			if x < y {
				n = -1
			} else if x > y {
				n = 1
			}
			return intOf(n)
		}
	}
	panic(failed("unable to resolve method: " + o.k.String() + "." + name + "() [arglength=" + strconv.Itoa(len(a)) + "]"))
}
