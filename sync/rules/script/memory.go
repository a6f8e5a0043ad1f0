package script

// recount counts what the variables hold, when the run has made as many bytes as it may hold: a
// text that is built piece by piece leaves garbage, which is no memory of the script. n bytes are
// about to be made. What is held only by an expression that is being evaluated is not seen; maxMade
// bounds it.
func (r *run) recount(n int) {
	h := holder{seen: map[*object]bool{}, scopes: map[*scope]bool{}}
	h.scope(r.sc)
	h.scope(r.top)
	for _, sc := range r.callers {
		h.scope(sc)
	}
	for _, v := range r.argv {
		h.value(v)
	}
	h.value(r.ret)
	r.step(1 + h.bytes>>9)
	budget := maxMemory - h.bytes - n
	r.made -= r.base - r.memory // what was made since the last count
	if budget < 0 || r.made < 0 {
		panic(limitAt("the script made or holds more than % bytes of values", maxMemory))
	}
	r.memory = min(budget, r.made)
	r.base = r.memory
}

// holder adds up the bytes behind variables, each list and map once.
type holder struct {
	seen   map[*object]bool
	scopes map[*scope]bool
	bytes  int
}

func (h *holder) scope(sc *scope) {
	for ; sc != nil && !h.scopes[sc]; sc = sc.up {
		h.scopes[sc] = true
		for _, v := range sc.vars {
			h.value(v)
		}
	}
}

//go:noinline
func (h *holder) value(v *Value) {
	if v == nil {
		return
	}
	h.bytes += valueSize + len(v.s)
	if v.o == nil || h.seen[v.o] || h.bytes > maxMemory {
		return
	}
	h.seen[v.o] = true
	h.bytes += objectSize + 8*(len(v.o.items)+len(v.o.keys))
	for _, item := range v.o.items {
		h.value(item)
	}
	for _, k := range v.o.keys {
		h.value(k)
	}
	if v.o.props != nil {
		h.value(&Value{o: v.o.props})
	}
	if v.o.fn != nil && v.o.fn.sc != nil {
		h.scope(v.o.fn.sc)
	}
}
