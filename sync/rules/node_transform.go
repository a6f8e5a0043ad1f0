package rules

import (
	"edgesync/proto"
	"edgesync/sync/rules/script"
)

type transforming struct {
	Script *script.Program `conf:"tbelScript jsScript"`
}

func (f *transforming) do(r *round) {
	v := r.result(f.Script)
	if v == nil {
		return
	}
	lang := f.Script.Language()
	if !isRow(v) {
		if r.check(transform(r.m, v, lang)) {
			r.tell("Success")
		}
		return
	}
	if v.Len() == 0 {
		r.fail("Message or messages list are empty!")
		return
	}
	made := make([]*Message, v.Len())
	for i := range made {
		made[i] = r.m.copyOf()
		if item := v.At(i); lang == script.JavaScript && item.Kind() != script.Map {
			continue // it has no member that would change the message
		} else if !r.check(transform(made[i], item, lang)) {
			return
		}
	}
	r.several(made)
}

// several gives messages on that came of one: one at once, more behind what waits.
func (r *round) several(made []*Message) {
	m := r.m
	if len(made) == 1 {
		*m = *made[0]
		r.tell("Success")
		return
	}
	for _, c := range made {
		r.enqueue(c, "Success")
	}
	r.tally.Made-- // one of them is what the message became
	m.from.live--
}

// transform changes a message to what a script gave.
func transform(m *Message, v *script.Value, lang script.Language) error {
	if v.Kind() != script.Map {
		return faultOn("Wrong result type: %", v.Kind().String())
	}
	if t, ok := v.Member("msgType"); ok {
		if text, _, err := plainOf(t, lang); err == nil && text != "" {
			m.Type = text
		}
	}
	if md, ok := v.Member("metadata"); ok && md.Kind() != script.Null {
		if md.Kind() != script.Map {
			return faultOn("Wrong result type: metadata is a %", md.Kind().String())
		}
		pairs := make([]script.Pair, 0, md.Len())
		for i := range md.Len() {
			text, ok, err := plainOf(md.At(i), lang)
			if err != nil {
				return err
			}
			if ok {
				pairs = addPair(pairs, md.Key(i), text)
			}
		}
		m.Metadata, m.owned = pairs, true
	}
	if data, ok := v.Member("msg"); ok {
		b, err := lang.AppendJSON(nil, data, script.AsStored)
		if err != nil {
			return err
		}
		m.Data = string(b)
	}
	return nil
}

// plainOf is a value of metadata as text (RULES.md 5.1); ok is false for null.
func plainOf(v *script.Value, lang script.Language) (text string, ok bool, err error) {
	switch {
	case v.Kind() == script.Null || v.Kind() == script.Unset:
		return "", false, nil
	case isString(v):
		return v.Text(), true, nil
	case lang == script.JavaScript && (v.Kind() == script.Map || isRow(v)):
		return "", false, faultOn("Wrong result type: metadata hold a %", v.Kind().String())
	}
	b, err := lang.AppendJSON(nil, v, script.AsStored)
	if err != nil {
		return "", false, err
	}
	t, err := parseTree(string(b))
	return string(t.appendJava(nil)), true, err
}

// appendJava prints a list or an object as Java's toString does.
func (t *tree) appendJava(b []byte) []byte {
	if t == nil || t.kind < isList {
		if t.null() {
			return addText(b, "null")
		}
		return addText(b, t.plain())
	}
	brackets := "[]"
	if t.kind == isObject {
		brackets = "{}"
	}
	b = addByte(b, brackets[0])
	for i, item := range t.items {
		if i > 0 {
			b = addText(b, ", ")
		}
		if t.kind == isObject {
			b = addByte(addText(b, t.keys[i]), '=')
		}
		b = item.appendJava(b)
	}
	return addByte(b, brackets[1])
}

type copyKeys struct {
	Keys     matcher `conf:"keys"`
	Metadata bool    `conf:"copyFrom METADATA"`
}

func (f *copyKeys) do(r *round) {
	t := r.m.object()
	changed := false
	switch {
	case t == nil:
	case !f.Metadata:
		for i, key := range t.keys {
			if f.Keys(key) {
				r.m.setMeta(key, t.items[i].plain())
			}
		}
	default:
		for _, p := range hashOrder(r.m.Metadata) {
			if f.Keys(p.Key) {
				t.set(p.Key, textTree(p.Value))
				changed = true
			}
		}
	}
	if changed {
		r.m.Data = t.String()
	}
	r.tell("Success")
}

type renameKeys struct {
	Names    []script.Pair `conf:"renameKeysMapping"`
	Metadata bool          `conf:"renameIn METADATA"`
}

func (f *renameKeys) do(r *round) {
	t := r.m.object()
	if f.Metadata {
		t = r.m.metadataTree()
	}
	changed := false
	for i := range f.Names {
		p := &f.Names[i]
		if v := t.get(p.Key); v != nil && p.Key != p.Value {
			changed = true
			t.keep(func(key string) bool { return key != p.Key })
			t.set(p.Value, v)
		}
	}
	switch {
	case !changed:
	case f.Metadata:
		r.m.keepMeta(func(string) bool { return false })
		for i, key := range t.keys {
			r.m.setMeta(key, t.items[i].text)
		}
	default:
		r.m.Data = t.String()
	}
	r.tell("Success")
}

type deleteKeys struct {
	Keys     matcher `conf:"keys"`
	Metadata bool    `conf:"deleteFrom METADATA"`
}

func (f *deleteKeys) stays(key string) bool { return !f.Keys(key) }

func (f *deleteKeys) do(r *round) {
	if f.Metadata {
		r.m.keepMeta(f.stays)
	} else if t := r.m.object(); t != nil {
		n := len(t.keys)
		if t.keep(f.stays); len(t.keys) != n {
			r.m.Data = t.String()
		}
	}
	r.tell("Success")
}

type splitting struct{}

func (*splitting) do(r *round) {
	t, err := parseTree(r.m.Data)
	if err != nil || t.kind != isList {
		r.fail("Msg data is not a JSON Array!")
		return
	}
	if len(t.items) == 0 {
		r.end()
		return
	}
	if len(t.items) > r.left {
		r.over(filled("an array of % elements is too long to be split", decimal(int64(len(t.items)))))
		return
	}
	made := make([]*Message, len(t.items))
	for i, item := range t.items {
		made[i] = r.m.copyOf()
		made[i].Data = item.String()
	}
	r.several(made)
}

type pathNode struct {
	Path string `conf:"jsonPath"`
	path path
}

func (f *pathNode) prepare(_ *node, c *config) {
	var err error
	if f.path, err = parsePath(f.Path); err != nil {
		c.bad("jsonPath", "is not supported: "+err.Error())
	}
}

func (f *pathNode) do(r *round) {
	if len(f.path) > 0 {
		t, err := parseTree(r.m.Data)
		if !r.check(err) {
			return
		}
		v, err := f.path.find(t)
		if !r.check(err) {
			return
		}
		r.m.Data = v.String()
	}
	r.tell("Success")
}

type newOriginator struct {
	_      uncompared
	Source string `conf:"originatorSource"`
	Kind   string `conf:"entityType"`
	Name   string `conf:"entityNamePattern"`
	Query  *query `conf:"relationsQuery"`
}

func (f *newOriginator) do(r *round) {
	m, reg := r.m, r.e.reg
	var to Entity
	ok := true
	switch {
	case is(f.Source, "TENANT"):
		to = reg.Tenant()
	case is(f.Source, "CUSTOMER"):
		to, ok = reg.Owner(&m.Originator)
	case is(f.Source, "RELATED"):
		to, ok = f.Query.first(reg, &m.Originator)
	case is(f.Source, "ALARM_ORIGINATOR"):
		if a := reg.AlarmByID(m.Originator.ID); a != nil {
			to = a.Originator
		}
	case is(f.Source, "ENTITY"):
		name, good := m.pattern(f.Name)
		if to, ok = reg.Find(f.Kind, name); !good || !ok {
			r.notFound(f.Kind, name)
			return
		}
	}
	if !ok || to.ID == (proto.UUID{}) {
		r.fail("Failed to find new originator!")
		return
	}
	m.Originator = to
	r.tell("Success")
}
