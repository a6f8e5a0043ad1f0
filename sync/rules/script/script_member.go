package script

import (
	"math"
	"strconv"
)

// scriptKey is a value as the name of a member.
func (r *run) scriptKey(v *Value) *Value {
	if v.k == Text {
		return v
	}
	return textOf(r.scriptText(v))
}

// arrayIndex reads the name of a list's member: 0, 1 …
func arrayIndex(s string) (int, bool) {
	if s == "" || len(s) > 9 || s[0] == '0' && len(s) > 1 || !onlyDigits(s, "0123456789") {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// putScript sets a member of an object. Names that are whole numbers come first, in their order.
func (o *object) putScript(key, v *Value) bool {
	n, ok := arrayIndex(key.s)
	if !ok || o.find(key) >= 0 {
		return o.put(key, v)
	}
	at := 0
	for at < len(o.keys) {
		if m, ok := arrayIndex(o.keys[at].s); !ok || m > n {
			break
		}
		at++
	}
	if at == len(o.keys) {
		return o.put(key, v)
	}
	o.keys = append(o.keys, nil)
	o.items = append(o.items, nil)
	copy(o.keys[at+1:], o.keys[at:])
	copy(o.items[at+1:], o.items[at:])
	o.keys[at], o.items[at] = key, v
	o.index = nil
	return true
}

//go:noinline
func (r *run) hasMember(o *Value, key string) bool {
	switch o.k {
	case Map:
		return o.o.find(textOf(key)) >= 0
	case List:
		i, ok := arrayIndex(key)
		return ok && i < len(o.o.items) || is(key, "length")
	case Function, Date, Regexp, Failure, Class:
		return false
	}
	panic(typeError("Cannot use 'in' operator to search for '" + key + "' in " + r.scriptText(o)))
}

// scriptMember is o[key] and o.key.
func (r *run) scriptMember(o, key *Value) *Value {
	switch o.k {
	case Map:
		if v, ok := o.o.get(r.scriptKey(key)); ok {
			return v
		}
		return undefined
	case List:
		if key.k == Double {
			if f := key.Number(); f >= 0 && f < float64(len(o.o.items)) && f == math.Trunc(f) {
				return o.o.items[int(f)]
			}
			return undefined
		}
		k := r.scriptText(key)
		if is(k, "length") {
			return doubleOf(float64(len(o.o.items)))
		}
		if i, ok := arrayIndex(k); ok && i < len(o.o.items) {
			return o.o.items[i]
		}
		if o.o.props != nil {
			if v, ok := o.o.props.get(textOf(k)); ok {
				return v
			}
		}
	case Text:
		r.step(len(o.s) >> 6)
		k := r.scriptText(key)
		if is(k, "length") {
			return doubleOf(float64(units(o.s)))
		}
		if i, ok := arrayIndex(k); ok && i < units(o.s) {
			return textOf(cut(o.s, i, i+1))
		}
	case Unset, Null:
		panic(typeError("Cannot read properties of " + r.scriptText(o) + " (reading '" + r.scriptText(key) + "')"))
	case Failure:
		switch r.scriptText(key) {
		case "message":
			return o.o.items[0]
		case "name":
			return textOf(o.o.text)
		}
	case Regexp:
		switch word := r.scriptText(key); {
		case is(word, "source"):
			return textOf(o.o.re.source)
		case is(word, "flags"):
			return textOf(o.o.re.flags)
		case is(word, "global"):
			return boolOf(hasText(o.o.re.flags, "g"))
		case is(word, "lastIndex"):
			return doubleOf(float64(o.o.re.last))
		}
	case Class:
		return classMember(o.o.text, r.scriptText(key))
	case Function:
		if o.o.props != nil {
			if v, ok := o.o.props.get(r.scriptKey(key)); ok {
				return v
			}
		}
	}
	return undefined
}

// setScriptMember is o[key] = v.
func (r *run) setScriptMember(o, key, v *Value) {
	switch o.k {
	case Map:
		r.step(len(o.o.keys) >> 6)
		if o.o.putScript(r.scriptKey(key), v) {
			r.use(2 * valueSize)
		}
	case List:
		r.setItem(o, r.scriptText(key), v)
	case Function:
		if o.o.props == nil {
			o.o.props = &object{}
		}
		if o.o.props.put(r.scriptKey(key), v) {
			r.use(2 * valueSize)
		}
	case Regexp:
		if r.scriptText(key) == "lastIndex" {
			o.o.re.last = int(toInt32(scriptNumber(r, v)))
		}
	case Failure:
		if r.scriptText(key) == "message" {
			o.o.items[0] = textOf(r.scriptText(v))
		}
	case Unset, Null:
		panic(typeError("Cannot set properties of " + r.scriptText(o) + " (setting '" + r.scriptText(key) + "')"))
	}
}

//go:noinline
func (r *run) setItem(o *Value, key string, v *Value) {
	n := len(o.o.items)
	if is(key, "length") {
		want := int(toInt32(scriptNumber(r, v)))
		if want < 0 {
			panic(&thrownValue{failure("RangeError", "Invalid array length")})
		}
		r.growTo(o, want)
		clear(o.o.items[want:])
		o.o.items = o.o.items[:want]
		return
	}
	i, ok := arrayIndex(key)
	if !ok {
		if o.o.props == nil {
			o.o.props = &object{}
		}
		if o.o.props.put(textOf(key), v) {
			r.use(2 * valueSize)
		}
		return
	}
	if i >= n {
		r.growTo(o, i+1)
	}
	o.o.items[i] = v
}

// growTo makes a list at least n long.
//
//go:noinline
func (r *run) growTo(o *Value, n int) {
	more := n - len(o.o.items)
	if more <= 0 {
		return
	}
	if more > maxMemory/valueSize {
		panic(limitError("a list beyond the memory of a script"))
	}
	r.use(more * valueSize)
	o.o.items = append(o.o.items, make([]*Value, more)...)
	unset(o.o.items[len(o.o.items)-more:])
}

// scriptMembers is what for-in (keys) and for-of run over.
func (r *run) scriptMembers(v *Value, keys bool) []*Value {
	switch v.k {
	case List:
		r.step(len(v.o.items) >> 3)
		if !keys {
			return append([]*Value(nil), v.o.items...)
		}
		r.use(len(v.o.items) * valueSize)
		out := make([]*Value, len(v.o.items))
		for i := range out {
			out[i] = textOf(decimal(i))
		}
		return out
	case Map:
		if keys {
			r.step(len(v.o.keys) >> 3)
			return append([]*Value(nil), v.o.keys...)
		}
	case Text:
		r.step(len(v.s))
		r.use(len(v.s) * valueSize)
		var out []*Value
		if !keys {
			for _, c := range v.s {
				out = addValue(out, textOf(string(c)))
			}
			return out
		}
		for i := range units(v.s) {
			out = addValue(out, textOf(decimal(i)))
		}
		return out
	}
	if keys {
		return nil
	}
	panic(typeErrorOn("% is not iterable", typeOf(v)))
}

// classMember is Class.name where it is no call.
func classMember(class, name string) *Value {
	if v := constantOf(JavaScript, class+"."+name); v != nil {
		return v
	}
	if f := routineOf(JavaScript, class+"."+name); f != nil {
		return nativeOf(f)
	}
	if name == "prototype" {
		panic(unsupported("prototypes of JavaScript"))
	}
	return undefined
}

// scriptMethod calls the method of a name of a[0]; f is what the language has for its kind.
func (r *run) scriptMethod(f *routine, name string, a []*Value) *Value {
	o := a[0]
	switch o.k {
	case Unset, Null:
		panic(typeError("Cannot read properties of " + r.scriptText(o) + " (reading '" + name + "')"))
	case Map, Function:
		if v := r.scriptMember(o, textOf(name)); v.k != Unset {
			return r.callValue(v, a[1:], name)
		}
	case Class:
		if v := classMember(o.o.text, name); v.k != Unset {
			return r.callValue(v, a[1:], name)
		}
	}
	if f == nil {
		panic(typeErrorOn("% is not a function", name))
	}
	return r.invoke(f, a)
}
