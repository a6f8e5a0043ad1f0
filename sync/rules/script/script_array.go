package script

import (
	"math"
	"slices"
)

// arrayMethod is the methods of arrays of JavaScript.
func (r *run) arrayMethod(o *Value, name word, a []*Value) (*Value, bool) {
	items := o.o.items
	r.step(len(items) >> 5)
	switch name {
	case wPush:
		r.use(len(a) * valueSize)
		o.o.items = append(items, a...)
		return doubleOf(float64(len(o.o.items))), true
	case wPop:
		if len(items) == 0 {
			return undefined, true
		}
		o.o.items = items[:len(items)-1]
		return items[len(items)-1], true
	case wShift:
		if len(items) == 0 {
			return undefined, true
		}
		v := items[0]
		o.o.items = cutOut(items, 0, 1)
		return v, true
	case wUnshift:
		r.use(len(a) * valueSize)
		o.o.items = insert(items, 0, a...)
		return doubleOf(float64(len(o.o.items))), true
	case wSplice:
		if len(a) == 0 {
			return r.list(nil), true
		}
		from := r.place(arg(a, 0), len(items), 0, true)
		n := len(items) - from
		if len(a) > 1 {
			n = r.place(a[1], n, 0, false)
		}
		removed := r.copied(items[from : from+n])
		with := clone(a[min(2, len(a)):])
		r.use(len(with) * valueSize)
		o.o.items = slices.Replace(items, from, from+n, with...)
		return removed, true
	case wReverse:
		reverse(items)
		return o, true
	case wSort:
		r.sortScript(items, arg(a, 0))
		return o, true
	case wFill:
		from, to := r.place(arg(a, 1), len(items), 0, true), r.place(arg(a, 2), len(items), len(items), true)
		for i := from; i < to; i++ {
			items[i] = arg(a, 0)
		}
		return o, true
	}
	if v, ok := r.readArray(o, name, a); ok {
		return v, true
	}
	return r.eachArray(o, name, a)
}

func (r *run) readArray(o *Value, name word, a []*Value) (*Value, bool) {
	items := o.o.items
	switch name {
	case wSlice:
		from, to := r.place(arg(a, 0), len(items), 0, true), r.place(arg(a, 1), len(items), len(items), true)
		return r.copied(items[from:max(from, to)]), true
	case wConcat:
		out := clone(items)
		for _, v := range a {
			if v.k == List {
				r.use(len(v.o.items) * valueSize)
				out = append(out, v.o.items...)
			} else {
				out = append(out, v)
			}
		}
		return r.list(out), true
	case wJoin:
		separator := ","
		if v := arg(a, 0); v.k != Unset {
			separator = r.scriptText(v)
		}
		var b []byte
		for i, v := range items {
			if i > 0 {
				b = addText(b, separator)
			}
			if v.k > Null {
				b = appendScriptText(b, v, 0)
			}
			if len(b) > maxMemory {
				panic(limitError("a text beyond the memory of a script"))
			}
		}
		return r.text(string(b)), true
	case wToString:
		return r.text(r.scriptText(o)), true
	case wIndexOf, wLastIndexOf, wIncludes:
		at := -1
		for i := range items {
			j := i
			if name == wLastIndexOf {
				j = len(items) - 1 - i
			}
			nan := name == wIncludes && items[j].k == Double && arg(a, 0).k == Double && items[j].Number() != items[j].Number()
			if scriptSame(r, items[j], arg(a, 0)) || nan && math.IsNaN(a[0].Number()) {
				at = j
				break
			}
		}
		if name == wIncludes {
			return boolOf(at >= 0), true
		}
		return doubleOf(float64(at)), true
	case wAt:
		i := toInt32(scriptNumber(r, arg(a, 0)))
		if i < 0 {
			i += int32(len(items))
		}
		if i < 0 || int(i) >= len(items) {
			return undefined, true
		}
		return items[i], true
	case wFlat:
		var out []*Value
		for _, v := range items {
			if v.k == List {
				r.use(len(v.o.items) * valueSize)
				out = append(out, v.o.items...)
			} else {
				out = append(out, v)
			}
		}
		return r.list(out), true
	case wKeys:
		return r.list(r.scriptMembers(o, true)), true
	}
	return nil, false
}

// eachArray is the methods that call a function for each member.
func (r *run) eachArray(o *Value, name word, a []*Value) (*Value, bool) {
	switch name {
	case w_map, wFilter, wForEach, wSome, wEvery, wFind, wFindIndex, wReduce, wReduceRight, wFlatMap:
	default:
		return nil, false
	}
	items, f := clone(o.o.items), arg(a, 0)
	if f.k != Function && (f.k != Class || f.o.fn == nil) {
		panic(typeError(r.scriptText(f) + " is not a function"))
	}
	if hasPrefix(name.String(), "reduce") {
		return r.reduce(o, items, f, a, name == wReduceRight), true
	}
	call := func(i int) *Value {
		r.step(1)
		args := [3]*Value{items[i], doubleOf(float64(i)), o}
		return r.callValue(f, args[:], "the callback")
	}
	var out []*Value
	for i := range items {
		v := call(i)
		switch name {
		case w_map:
			out = append(out, v)
		case wFlatMap:
			if v.k == List {
				r.use(len(v.o.items) * valueSize)
				out = append(out, v.o.items...)
			} else {
				out = append(out, v)
			}
		case wFilter:
			if truthy(v) {
				out = append(out, items[i])
			}
		case wSome:
			if truthy(v) {
				return boolOf(true), true
			}
		case wEvery:
			if !truthy(v) {
				return boolOf(false), true
			}
		case wFind:
			if truthy(v) {
				return items[i], true
			}
		case wFindIndex:
			if truthy(v) {
				return doubleOf(float64(i)), true
			}
		}
	}
	switch name {
	case w_map, wFilter, wFlatMap:
		return r.list(out), true
	case wSome:
		return boolOf(false), true
	case wEvery:
		return boolOf(true), true
	case wFindIndex:
		return doubleOf(-1), true
	}
	return undefined, true
}

func (r *run) reduce(o *Value, items []*Value, f *Value, a []*Value, right bool) *Value {
	i := 0
	var acc *Value
	switch {
	case len(a) > 1:
		acc = a[1]
	case len(items) == 0:
		panic(typeError("Reduce of empty array with no initial value"))
	default:
		i = 1
		acc = items[0]
		if right {
			acc = items[len(items)-1]
		}
	}
	for ; i < len(items); i++ {
		r.step(1)
		j := i
		if right {
			j = len(items) - 1 - i
		}
		args := [4]*Value{acc, items[j], doubleOf(float64(j)), o}
		acc = r.callValue(f, args[:], "the callback")
	}
	return acc
}

// sortScript sorts by a function, or by the texts of the members; undefined goes to the end.
func (r *run) sortScript(items []*Value, f *Value) {
	r.step(len(items))
	slices.SortStableFunc(items, func(x, y *Value) int {
		switch {
		case x.k == Unset || y.k == Unset:
			return boolInt(x.k == Unset) - boolInt(y.k == Unset)
		case f.k == Function:
			r.step(1)
			args := [2]*Value{x, y}
			n := scriptNumber(r, r.callValue(f, args[:], "the comparison"))
			switch {
			case n < 0:
				return -1
			case n > 0:
				return 1
			}
			return 0
		}
		return compareTexts(r.scriptText(x), r.scriptText(y))
	})
}
