package script

import "slices"

// mapMethod is the methods of maps of TBEL.
func (r *run) mapMethod(o *Value, name word, a []*Value) (*Value, bool) {
	m := o.o
	if v, ok := r.readMap(o, name, a); ok {
		return v, true
	}
	r.change(o)
	r.step(len(m.keys) >> 6)
	switch name {
	case wPut:
		need(a, 2, 2)
		old, _ := m.get(mapKey(a[0]))
		r.put(m, mapKey(a[0]), a[1])
		return orNull(old), true
	case wRemove:
		need(a, 1, 1)
		old, _ := r.drop(m, mapKey(a[0]))
		return orNull(old), true
	case wPutIfAbsent:
		need(a, 2, 2)
		old, ok := m.get(mapKey(a[0]))
		if !ok {
			r.put(m, mapKey(a[0]), a[1])
		}
		return orNull(old), true
	case wReplace:
		need(a, 2, 3)
		old, ok := m.get(mapKey(a[0]))
		if len(a) == 3 {
			ok = ok && r.same(old, a[1], 0)
			if ok {
				r.put(m, mapKey(a[0]), a[2])
			}
			return boolOf(ok), true
		}
		if ok {
			r.put(m, mapKey(a[0]), a[1])
		}
		return orNull(old), true
	case wPutAll:
		need(a, 1, 1)
		from := argMap(a[0])
		for i, k := range clone(from.keys) {
			r.put(m, k, from.items[i])
		}
		return null, true
	case wClear:
		*m = object{}
		return null, true
	case wSortByKey, wSortByValue, wReverse, wInvert:
		need(a, 0, 1)
		made := r.reordered(m, name, len(a) == 0 || argBool(a[0]))
		m.keys, m.items, m.index = made.keys, made.items, nil
		return null, true
	}
	return nil, false
}

//go:noinline
func orNull(v *Value) *Value {
	if v == nil {
		return null
	}
	return v
}

// readMap is the methods that change nothing.
func (r *run) readMap(o *Value, name word, a []*Value) (*Value, bool) {
	m := o.o
	switch name {
	case wGet:
		need(a, 1, 1)
		v, _ := m.get(mapKey(a[0]))
		return orNull(v), true
	case wGetOrDefault:
		need(a, 2, 2)
		if v, ok := m.get(mapKey(a[0])); ok {
			return v, true
		}
		return a[1], true
	case wContainsKey:
		need(a, 1, 1)
		return boolOf(m.find(mapKey(a[0])) >= 0), true
	case wContainsValue:
		need(a, 1, 1)
		return boolOf(r.indexOf(m.items, a[0]) >= 0), true
	case wSize:
		return intOf(int32(len(m.keys))), true
	case wIsEmpty:
		return boolOf(len(m.keys) == 0), true
	case wKeys:
		return r.copied(m.keys), true
	case wValues:
		return r.copied(m.items), true
	case wKeySet:
		v := r.copied(m.keys)
		v.o.text = name.String() // a view: keepable refuses it
		return &Value{k: Set, o: v.o}, true
	case wEntrySet:
		return &Value{k: Set, o: &object{items: r.entries(o)}}, true
	case wToSortedByKey, wToSorted:
		need(a, 0, 1)
		return &Value{k: Map, o: r.reordered(m, wSortByKey, len(a) == 0 || argBool(a[0]))}, true
	case wToSortedByValue:
		need(a, 0, 1)
		return &Value{k: Map, o: r.reordered(m, wSortByValue, len(a) == 0 || argBool(a[0]))}, true
	case wToReversed:
		return &Value{k: Map, o: r.reordered(m, wReverse, true)}, true
	case wToInverted:
		return &Value{k: Map, o: r.reordered(m, wInvert, true)}, true
	case wSlice, wClone, wToUnmodifiable:
		need(a, 0, 2)
		from, to := bounds(a, len(m.keys))
		r.use(objectSize + 2*valueSize*(to-from))
		made := &object{keys: clone(m.keys[from:to]), items: clone(m.items[from:to])}
		if name == wToUnmodifiable {
			made.text = readOnly
		}
		return &Value{k: Map, o: made}, true
	}
	return nil, false
}

// reordered is a copy of a map in another order, or with keys and values exchanged.
func (r *run) reordered(m *object, how word, ascending bool) *object {
	r.step(len(m.keys))
	r.use(objectSize + 2*valueSize*len(m.keys))
	made := &object{}
	if how == wInvert {
		for i, v := range m.items {
			r.invert(m, made, m.keys[i], v)
		}
		return made
	}
	pairs := make([]*Value, len(m.keys)) // places, as ints
	by := make([]*Value, len(m.keys))
	for i := range pairs {
		pairs[i] = intOf(int32(i))
		by[i] = m.keys[i]
		if how == wSortByValue {
			by[i] = m.items[i]
		}
	}
	if how == wReverse {
		reverse(pairs)
	} else {
		compare := r.comparing(by, ascending)
		slices.SortStableFunc(pairs, func(p, q *Value) int { return compare(by[p.n], by[q.n]) })
	}
	for _, p := range pairs {
		made.keys = append(made.keys, m.keys[p.n])
		made.items = append(made.items, m.items[p.n])
	}
	return made
}

// invert puts key under value; a value of several keys gets the list of them.
func (r *run) invert(m, made *object, key, value *Value) {
	times := 0
	for _, v := range m.items {
		r.step(1)
		if r.javaText(v) == r.javaText(value) {
			times++
		}
	}
	if times == 1 {
		made.put(mapKey(value), key)
		return
	}
	if list, ok := made.get(mapKey(value)); ok && list.k == List {
		list.o.items = append(list.o.items, key)
		return
	}
	made.put(mapKey(value), r.list([]*Value{key}))
}
