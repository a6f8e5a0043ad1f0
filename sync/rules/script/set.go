package script

// setMethod is the methods of sets of TBEL.
func (r *run) setMethod(o *Value, name word, a []*Value) (*Value, bool) {
	items := o.o.items
	r.step(len(items) >> 5)
	switch name {
	case wSize, wIsEmpty, wContains, wContainsAll, wToList:
		return r.readList(o, name, a)
	case wToSorted:
		v, _ := r.readList(o, name, a)
		return &Value{k: Set, o: v.o}, true
	case wToUnmodifiable:
		v, _ := r.readList(o, name, a)
		v.o.text = readOnly
		return &Value{k: Set, o: v.o}, true
	}
	r.change(o)
	switch name {
	case wAdd:
		need(a, 1, 1)
		return boolOf(r.addToSet(o.o, a[0])), true
	case wAddAll:
		need(a, 1, 1)
		changed := false
		for _, v := range clone(argList(a[0])) {
			changed = r.addToSet(o.o, v) || changed
		}
		return boolOf(changed), true
	case wRemove:
		need(a, 1, 1)
		i := r.indexOf(items, a[0])
		if i >= 0 {
			o.o.items = cutOut(items, i, i+1)
		}
		return boolOf(i >= 0), true
	case wClear:
		o.o.items = nil
		return null, true
	case wSort:
		need(a, 0, 1)
		r.sortList(items, len(a) == 0 || argBool(a[0]))
		return null, true
	}
	return nil, false
}

func (r *run) addToSet(o *object, v *Value) bool {
	if r.indexOf(o.items, v) >= 0 {
		return false
	}
	r.use(valueSize)
	o.items = append(o.items, v)
	return true
}
