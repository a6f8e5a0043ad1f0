package script

// The routines of Go on lists, sets and maps.

// changing is the object of argument 0, which is about to be changed.
//
//go:noinline
func (r *run) changing(a []*Value) *object {
	o := a[0].o
	r.change(a[0])
	r.step(len(o.items) >> 5)
	return o
}

func sizeOf(r *run, a []*Value) *Value { return r.number(len(a[0].o.items)) }

func listHas(r *run, a []*Value) *Value { return boolOf(r.indexOf(a[0].o.items, a[1]) >= 0) }

func listIndexOf(r *run, a []*Value) *Value {
	i := r.indexOf(a[0].o.items[r.start(a, 2):], a[1])
	if i >= 0 {
		i += r.intAt(a, 2, 0) // also a negative one, as the engine does
	}
	return r.number(i)
}

// start is argument i as the first place of a part of a list: TBEL has none behind the end.
func (r *run) start(a []*Value, i int) int {
	n := len(a[0].o.items)
	if r.lang == TBEL && r.intAt(a, i, 0) > n {
		panic(failed("fromIndex is beyond the list"))
	}
	return r.clip(arg(a, i), n, 0)
}

// clip is a place in a list or text of n: a negative one counts from the end.
//
//go:noinline
func (r *run) clip(v *Value, n, missing int) int {
	i := r.intAt([]*Value{v}, 0, missing)
	if i < 0 {
		i += n
	}
	return max(0, min(i, n))
}

func clipped(r *run, a []*Value) *Value {
	return r.number(r.clip(a[0], r.intAt(a, 1, 0), r.intAt(a, 2, 0)))
}

// clamped is the same but for negative ones, which are the first place.
func clamped(r *run, a []*Value) *Value {
	return r.number(max(0, min(r.intAt(a, 0, r.intAt(a, 2, 0)), r.intAt(a, 1, 0))))
}

// copied is a new list of the items.
//
//go:noinline
func (r *run) copied(items []*Value) *Value {
	r.step(len(items) >> 5)
	return r.list(clone(items))
}

func listSlice(r *run, a []*Value) *Value {
	items := a[0].o.items
	from, to := r.start(a, 1), r.clip(arg(a, 2), len(items), len(items))
	if from > to && r.lang == TBEL {
		panic(failed("fromIndex > toIndex"))
	}
	return r.copied(items[from:max(from, to)])
}

// insert puts values into a list; at is checked.
//
//go:noinline
func (r *run) insert(o *object, at int, more []*Value) {
	r.use(len(more) * valueSize)
	n := len(o.items)
	if at < 0 || at > n {
		panic(outOfBounds(at, n))
	}
	o.items = append(o.items, more...)
	if at < n {
		more = clone(more)
		copy(o.items[at+len(more):], o.items[at:n])
		copy(o.items[at:], more)
	}
}

// listAdd is add(value), add(index, value) and push(value).
func listAdd(r *run, a []*Value) *Value {
	o := r.changing(a)
	if len(a) == 3 {
		r.insert(o, int(argInt(a[1])), a[2:])
		return null
	}
	r.insert(o, len(o.items), a[1:])
	return yes
}

// listAddAll is addAll([index, ]list).
func listAddAll(r *run, a []*Value) *Value {
	o := r.changing(a)
	at := len(o.items)
	if len(a) == 3 {
		at = r.intAt(a, 1, 0)
	}
	more := argList(a[len(a)-1])
	r.insert(o, at, more)
	return boolOf(len(more) > 0)
}

func listReverse(r *run, a []*Value) *Value {
	items := r.changing(a).items
	for i, j := 0, len(items)-1; i < j; i, j = i+1, j-1 {
		items[i], items[j] = items[j], items[i]
	}
	if r.lang == JavaScript {
		return a[0]
	}
	return null
}

func clearAll(r *run, a []*Value) *Value {
	*r.changing(a) = object{}
	return null
}

func setAdd(r *run, a []*Value) *Value {
	o := r.changing(a)
	if r.indexOf(o.items, a[1]) >= 0 {
		return no
	}
	r.insert(o, len(o.items), a[1:])
	return yes
}

// listTake takes the member at an index out.
func listTake(r *run, a []*Value) *Value {
	o := r.changing(a)
	i := r.intAt(a, 1, 0)
	if i < 0 || i >= len(o.items) {
		panic(outOfBounds(i, len(o.items)))
	}
	v := o.items[i]
	o.items = append(o.items[:i], o.items[i+1:]...)
	return v
}

// become gives a list or map what another holds.
func become(r *run, a []*Value) *Value {
	o := r.changing(a)
	o.items, o.keys, o.index = a[1].o.items, a[1].o.keys, nil
	return null
}

func freeze(r *run, a []*Value) *Value { return &Value{k: a[0].k, o: a[0].o, s: readOnly} }

func asArray(r *run, a []*Value) *Value { return &Value{k: Array, o: a[0].o} }

func asSet(r *run, a []*Value) *Value { return &Value{k: Set, o: a[0].o} }

func sameValues(r *run, a []*Value) *Value { return boolOf(r.same(a[0], a[1], 0)) }

// up is the order that sort and its like are asked for.
//
//go:noinline
func (r *run) up(a []*Value) bool { return len(a) < 2 || a[1].k <= Null || argBool(a[1]) }

func listSort(r *run, a []*Value) *Value {
	items := r.changing(a).items
	r.step(len(items))
	sortStable(items, r.comparing(items, r.up(a)))
	return null
}

// sortStable sorts by merging: that of the library of Go would be 3 kB more on a router. A function
// of a script that only says true or false changes nothing, as with the other engines.
func sortStable(vs []*Value, compare func(a, b *Value) int) {
	if len(vs) < 2 {
		return
	}
	left, right := clone(vs[:len(vs)/2]), vs[len(vs)/2:]
	sortStable(left, compare)
	sortStable(right, compare)
	for k := range vs {
		if len(left) == 0 {
			break // the rest of the right half is in its place
		}
		if len(right) > 0 && compare(right[0], left[0]) < 0 {
			vs[k], right = right[0], right[1:]
		} else {
			vs[k], left = left[0], left[1:]
		}
	}
}

// places are the places of the members of a list in the order of their values.
func places(r *run, a []*Value) *Value {
	by := a[0].o.items
	r.step(len(by))
	list := make([]*Value, len(by))
	for i := range list {
		list[i] = intOf(int32(i))
	}
	compare := r.comparing(by, r.up(a))
	sortStable(list, func(p, q *Value) int { return compare(by[p.n], by[q.n]) })
	return r.list(list)
}

// comparing compares two of the values: by value if all are numbers, also those in texts, else as
// texts.
func (r *run) comparing(values []*Value, ascending bool) func(a, b *Value) int {
	numbers := true
	for _, v := range values {
		r.long(v)
		if _, ok := asDouble(v); !ok {
			numbers = false
			break
		}
	}
	return func(a, b *Value) int {
		n := 0
		r.long(a)
		r.long(b)
		if numbers {
			x, _ := asDouble(a)
			y, _ := asDouble(b)
			n = order(x, y)
		} else {
			n = compareTexts(r.javaText(a), r.javaText(b))
		}
		if !ascending {
			n = -n
		}
		return n
	}
}

//go:noinline
func order(x, y float64) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// sortScript sorts by a function, or by the texts of the members; undefined goes to the end.
func sortScript(r *run, a []*Value) *Value {
	items, f := a[0].o.items, arg(a, 1)
	r.step(len(items))
	sortStable(items, func(x, y *Value) int {
		switch {
		case x.k == Unset || y.k == Unset:
			return order(float64(boolOf(x.k == Unset).n), float64(boolOf(y.k == Unset).n))
		case f.k == Function:
			r.step(1)
			args := [2]*Value{x, y}
			return order(scriptNumber(r, r.callValue(f, args[:], "the comparison")), 0)
		}
		return compareTexts(r.scriptText(x), r.scriptText(y))
	})
	return a[0]
}

//go:noinline
func orNull(v *Value) *Value {
	if v == nil {
		return null
	}
	return v
}

func mapGet(r *run, a []*Value) *Value {
	v, _ := a[0].o.get(mapKey(a[1]))
	return orNull(v)
}

func mapPut(r *run, a []*Value) *Value {
	o, key := r.changing(a), mapKey(a[1])
	old, _ := o.get(key)
	r.put(o, key, a[2])
	return orNull(old)
}

func mapHas(r *run, a []*Value) *Value { return boolOf(a[0].o.find(mapKey(a[1])) >= 0) }

func mapRemove(r *run, a []*Value) *Value {
	old, _ := r.drop(r.changing(a), mapKey(a[1]))
	return orNull(old)
}

func mapKeys(r *run, a []*Value) *Value { return r.copied(a[0].o.keys) }

func mapValues(r *run, a []*Value) *Value { return r.copied(a[0].o.items) }

// mapKeySet is a view, which keepable refuses.
func mapKeySet(r *run, a []*Value) *Value {
	v := r.copied(a[0].o.keys)
	v.o.text = "keySet"
	return &Value{k: Set, o: v.o}
}

func mapEntrySet(r *run, a []*Value) *Value {
	return &Value{k: Set, o: &object{items: r.entries(a[0])}}
}

func membersOf(r *run, a []*Value) *Value { return r.list(r.scriptMembers(a[0], a[1].n != 0)) }

func checkText(r *run, a []*Value) *Value { return r.text(r.argText(a[0])) }

func checkBool(r *run, a []*Value) *Value { return boolOf(argBool(a[0])) }

func checkList(r *run, a []*Value) *Value {
	argList(a[0])
	return a[0]
}

func checkMap(r *run, a []*Value) *Value {
	if a[0].k != Map {
		panic(failedKind("no map: %", a[0]))
	}
	return a[0]
}

func fail(r *run, a []*Value) *Value { panic(failed(r.javaText(a[0]))) }

func refuse(r *run, a []*Value) *Value { panic(unsupported(r.textOf(a[0]))) }
