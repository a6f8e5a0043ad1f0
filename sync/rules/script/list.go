package script

import (
	"slices"
)

// listMethod is the methods of lists and arrays of TBEL.
func (r *run) listMethod(o *Value, name word, a []*Value) (*Value, bool) {
	items := o.o.items
	r.step(len(items) >> 5)
	if v, ok := r.readList(o, name, a); ok {
		return v, true
	}
	if o.k == Array {
		return nil, false // it has a fixed length
	}
	r.change(o)
	switch name {
	case wPush, wAdd:
		if len(a) == 2 && name == wAdd {
			i := argInt(a[0])
			if i < 0 || int(i) > len(items) {
				panic(failed("index " + decimal(int(i)) + " is out of bounds for length " + decimal(len(items))))
			}
			r.use(valueSize)
			o.o.items = insert(items, int(i), a[1])
			return null, true
		}
		need(a, 1, 1)
		r.use(valueSize)
		o.o.items = append(items, a[0])
		return boolOf(true), true
	case wPop:
		if len(items) == 0 {
			return null, true
		}
		o.o.items = items[:len(items)-1]
		return items[len(items)-1], true
	case wShift:
		if len(items) == 0 {
			panic(failed("index 0 is out of bounds for length 0"))
		}
		v := items[0]
		o.o.items = cutOut(items, 0, 1)
		return v, true
	case wUnshift:
		r.use(len(a) * valueSize)
		o.o.items = insert(items, 0, a...)
		return null, true
	case wRemove:
		need(a, 1, 1)
		if a[0].k == Int {
			i := r.listIndex(o, a[0])
			v := items[i]
			o.o.items = cutOut(items, i, i+1)
			return v, true
		}
		i := r.indexOf(items, a[0])
		if i >= 0 {
			o.o.items = cutOut(items, i, i+1)
		}
		return boolOf(i >= 0), true
	case w_set:
		need(a, 2, 2)
		i := r.listIndex(o, a[0])
		old := items[i]
		items[i] = a[1]
		return old, true
	case wClear:
		o.o.items = nil
		return null, true
	case wAddAll:
		need(a, 1, 2)
		more := clone(argList(a[len(a)-1]))
		at := len(items)
		if len(a) == 2 {
			if at = int(argInt(a[0])); at < 0 || at > len(items) {
				panic(failed("the index is out of bounds"))
			}
		}
		r.use(len(more) * valueSize)
		o.o.items = insert(items, at, more...)
		return boolOf(len(more) > 0), true
	case wRemoveAll, wRetainAll:
		need(a, 1, 1)
		other, keep := argList(a[0]), name == wRetainAll
		kept := items[:0:0]
		for _, v := range items {
			if (r.indexOf(other, v) >= 0) == keep {
				kept = append(kept, v)
			}
		}
		o.o.items = kept
		return boolOf(len(kept) != len(items)), true
	case wSplice:
		return r.splice(o, a), true
	case wSort:
		need(a, 0, 1)
		r.sortList(items, len(a) == 0 || argBool(a[0]))
		return null, true
	case wReverse:
		reverse(items)
		return null, true
	case wFill:
		need(a, 1, 3)
		from, to := bounds(a[1:], len(items))
		for i := from; i < to; i++ {
			items[i] = a[0]
		}
		return o, true
	}
	return nil, false
}

// bounds are from and to of slice and its like: negative ones count from the end.
func bounds(a []*Value, n int) (from, to int) {
	to = n
	clip := func(v *Value) int {
		i := int(argInt(v))
		if i < 0 {
			i += n
		}
		return max(0, min(i, n))
	}
	if len(a) > 0 {
		from = clip(a[0])
	}
	if len(a) > 1 {
		to = clip(a[1])
	}
	return from, max(from, to)
}

// copied is a new list of the items.
//
//go:noinline
func (r *run) copied(items []*Value) *Value { return r.list(clone(items)) }

// readList is the methods that change nothing.
func (r *run) readList(o *Value, name word, a []*Value) (*Value, bool) {
	items := o.o.items
	switch name {
	case wSize, wLength:
		return intOf(int32(len(items))), true
	case wIsEmpty:
		return boolOf(len(items) == 0), true
	case wGet:
		need(a, 1, 1)
		return items[r.listIndex(o, a[0])], true
	case wContains:
		need(a, 1, 1)
		return boolOf(r.indexOf(items, a[0]) >= 0), true
	case wContainsAll:
		need(a, 1, 1)
		for _, v := range argList(a[0]) {
			if r.indexOf(items, v) < 0 {
				return boolOf(false), true
			}
		}
		return boolOf(true), true
	case wIndexOf:
		need(a, 1, 2)
		from, _ := bounds(a[1:], len(items))
		if i := r.indexOf(items[from:], a[0]); i >= 0 {
			return intOf(int32(from + i)), true
		}
		return intOf(-1), true
	case wLastIndexOf:
		need(a, 1, 1)
		for i := len(items) - 1; i >= 0; i-- {
			if r.same(items[i], a[0], 0) {
				return intOf(int32(i)), true
			}
		}
		return intOf(-1), true
	case wSlice, wSubList:
		need(a, 0, 2)
		from, to := bounds(a, len(items))
		return r.copied(items[from:to]), true
	case wJoin:
		need(a, 0, 1)
		separator := ","
		if len(a) > 0 {
			separator = r.argText(a[0])
		}
		return r.join(items, separator), true
	case wToSorted:
		need(a, 0, 1)
		v := r.copied(items)
		r.sortList(v.o.items, len(a) == 0 || argBool(a[0]))
		return v, true
	case wToReversed:
		v := r.copied(items)
		reverse(v.o.items)
		return v, true
	case wConcat:
		need(a, 1, 1)
		return r.list(slices.Concat(items, argList(a[0]))), true
	case wToSpliced:
		v := r.copied(items)
		r.splice(v, a)
		return v, true
	case wWith:
		need(a, 2, 2)
		i := int(argInt(a[0]))
		if i < 0 {
			i += len(items)
		}
		if i < 0 || i >= len(items) {
			panic(failed("Index: " + decimal(i) + ", Size: " + decimal(len(items))))
		}
		return r.list(insert(clone(items), i, a[1])), true
	case wToList:
		return r.copied(items), true
	case wToUnmodifiable:
		v := r.copied(items)
		v.o.text = readOnly
		return v, true
	}
	return nil, false
}

// join prints the members; the engine also takes the brackets of lists away, and the blank behind a
// comma.
//
//go:noinline
func (r *run) join(items []*Value, separator string) *Value {
	var b []byte
	for i, v := range items {
		if v.k <= Null {
			panic(failed("null pointer: join of a list with null"))
		}
		if i > 0 {
			b = addText(b, separator)
		}
		b = appendText(b, v, 0)
	}
	r.step(len(b) >> 5)
	s := replaceAll(string(b), ", ", ",")
	s = replaceAll(s, "[", "")
	return r.text(replaceAll(s, "]", ""))
}

func (r *run) splice(o *Value, a []*Value) *Value {
	need(a, 1, 1000)
	items := o.o.items
	from, _ := bounds(a[:1], len(items))
	n := len(items) - from
	var with []*Value
	if len(a) > 1 {
		n = max(0, min(int(argInt(a[1])), n))
		with = clone(a[2:])
	}
	removed := r.copied(items[from : from+n])
	r.use(len(with) * valueSize)
	o.o.items = slices.Replace(items, from, from+n, with...)
	return removed
}

// sortList sorts numbers, also those in texts, by value, everything else as texts.
func (r *run) sortList(items []*Value, ascending bool) {
	r.step(len(items))
	slices.SortStableFunc(items, r.comparing(items, ascending))
}

// comparing compares two of the values: by value if all are numbers, also those in texts, else as
// texts.
func (r *run) comparing(values []*Value, ascending bool) func(a, b *Value) int {
	numbers := true
	for _, v := range values {
		if _, _, ok := operand(v); !ok {
			numbers = false
			break
		}
	}
	return func(a, b *Value) int {
		n := 0
		if numbers {
			x, _, _ := operand(a)
			y, _, _ := operand(b)
			if x < y {
				n = -1
			} else if x > y {
				n = 1
			}
		} else {
			n = compareTexts(r.javaText(a), r.javaText(b))
		}
		if !ascending {
			n = -n
		}
		return n
	}
}
