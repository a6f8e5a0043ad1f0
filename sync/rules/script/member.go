package script

// mapMethod reports whether a name behind a map's point means the method, not the key (RULES.md
// 5.4.7).
func mapMethod(name word) bool {
	switch name {
	case wSize, wValues, wKeys, wEmpty, wIsEmpty:
		return true
	}
	return false
}

// mapKey is a value as the key of a map: a char is its text.
//
//go:noinline
func mapKey(v *Value) *Value {
	switch v.k {
	case Char:
		return textOf(v.Text())
	case Unset:
		return null
	}
	return v
}

// property is o.name without brackets, for everything but an ordinary key of a map.
func (r *run) property(o *Value, text string, name word) *Value {
	switch o.k {
	case Null, Unset:
		panic(failed("null pointer: ." + text + " of null"))
	case Map:
		switch name {
		case wEmpty:
			name = wIsEmpty
		case wSize, wValues, wKeys, wIsEmpty:
		default:
			if v, ok := o.o.get(textOf(text)); ok {
				return v
			}
			return null
		}
		return r.method(o, text, name, nil)
	case List, Array, Set:
		switch name {
		case wLength, wSize:
			return intOf(int32(len(o.o.items)))
		case wEmpty, wIsEmpty:
			return boolOf(len(o.o.items) == 0)
		}
	case Text:
		switch name {
		case wLength:
			return intOf(int32(units(o.s)))
		case wEmpty, wIsEmpty:
			return boolOf(o.s == "")
		case wBlank, wIsBlank:
			return boolOf(blank(o.s))
		case wBytes:
			return r.bytesArray([]byte(o.s))
		}
	case Entry:
		switch name {
		case wKey:
			return o.o.items[0]
		case wValue:
			return o.o.items[1]
		}
	case Class:
		if v, ok := classConstant(wordOf(o.o.text), name); ok {
			return v
		}
	case Date:
		if v, ok := r.dateGet(o, wordOf("get"+upperFirst(text))); ok {
			return v
		}
	}
	panic(failed("could not access property: " + text))
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
			panic(failed("string index out of bounds: " + decimal(i)))
		}
		return charOf(unitAt(o.s, i))
	case Null, Unset:
		panic(failed("null pointer: [" + r.javaText(key) + "] of null"))
	case Entry, Date:
		if key.k == Text {
			return r.property(o, key.s, wordOf(key.s))
		}
	}
	panic(failed("no index into " + o.k.String()))
}

// listIndex checks an index of a list.
func (r *run) listIndex(o, key *Value) int {
	if key.k != Int {
		panic(failed("the index of a list has to be an int, not " + key.k.String()))
	}
	i := int(int32(key.n))
	if i < 0 || i >= len(o.o.items) {
		panic(failed("index " + decimal(i) + " is out of bounds for length " + decimal(len(o.o.items))))
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
//
//go:noinline
func (r *run) change(o *Value) {
	if o.o.text == readOnly {
		panic(failed("the value cannot be changed: it is unmodifiable"))
	}
}

// readOnly marks what toUnmodifiable gave; the mark lies in text, which lists and maps do not use.
const readOnly = "unmodifiable"

// members is what a loop runs over: a copy, so that the loop may change what it loops over.
func (r *run) members(v *Value, keys bool, lang Language) []*Value {
	if lang == JavaScript {
		return r.scriptMembers(v, keys)
	}
	switch v.k {
	case List, Array, Set:
		r.step(len(v.o.items) >> 3)
		return append([]*Value(nil), v.o.items...)
	case Map:
		return r.entries(v)
	case Text:
		out := make([]*Value, 0, len(v.s))
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

// method calls o.name(args) of TBEL.
func (r *run) method(o *Value, text string, name word, a []*Value) *Value {
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
		case wGetKey:
			return o.o.items[0]
		case wGetValue:
			return o.o.items[1]
		case wSetValue:
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
		case wIntValue:
			return r.castTo(o, "int")
		case wLongValue:
			return r.castTo(o, "long")
		case wFloatValue:
			return r.castTo(o, "float")
		case wDoubleValue:
			return r.castTo(o, "double")
		}
	case Bool:
		if name == wBooleanValue {
			return o
		}
	}
	switch name {
	case wToString:
		return r.text(r.javaText(o))
	case wEquals:
		need(a, 1, 1)
		return boolOf(r.same(o, a[0], 0))
	case wHashCode:
		if o.isText() {
			return intOf(int32(javaHash(o.Text())))
		}
	case wCompareTo:
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
	panic(failed("unable to resolve method: " + o.k.String() + "." + text + "() [arglength=" + decimal(len(a)) + "]"))
}
