package rules

import (
	"edgesync/proto"
	"edgesync/sync/rules/script"
)

func makeTransform(_ *node, c *config) work {
	p := c.program("tbelScript", "jsScript", script.Arguments)
	return func(r *round) {
		v := r.result(p)
		if v == nil {
			return
		}
		lang := p.Language()
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
			if !r.check(transform(made[i], v.At(i), lang)) {
				return
			}
		}
		r.several(made)
	}
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
		return fault("Wrong result type: " + v.Kind().String())
	}
	if t, ok := v.Member("msgType"); ok && isString(t) && t.Text() != "" {
		m.Type = t.Text()
	}
	if md, ok := v.Member("metadata"); ok && md.Kind() != script.Null {
		if md.Kind() != script.Map {
			return fault("Wrong result type: metadata is a " + md.Kind().String())
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
		return "", false, fault("Wrong result type: metadata hold a " + v.Kind().String())
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

func makeCopyKeys(_ *node, c *config) work {
	matches, data := c.matcher("keys"), c.text("copyFrom") != "METADATA"
	return func(r *round) {
		t := r.m.object()
		if t == nil {
			r.tell("Success")
			return
		}
		changed := false
		if data {
			for i, key := range t.keys {
				if matches(key) {
					r.m.setMeta(key, t.items[i].plain())
				}
			}
		} else {
			for _, p := range hashOrder(r.m.Metadata) {
				if matches(p.Key) {
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
}

func makeRenameKeys(_ *node, c *config) work {
	names, data := c.pairs("renameKeysMapping"), c.text("renameIn") != "METADATA"
	return func(r *round) {
		t := r.m.object()
		if !data {
			t = r.m.metadataTree()
		}
		changed := false
		for _, p := range names {
			v := t.get(p.Key)
			if v == nil || p.Key == p.Value {
				continue
			}
			if changed = true; data {
				t.keep(func(key string) bool { return key != p.Key })
				t.set(p.Value, v)
				continue
			}
			t.keep(func(key string) bool { return key != p.Key })
			t.set(p.Value, v)
		}
		switch {
		case changed && data:
			r.m.Data = t.String()
		case changed:
			r.m.keepMeta(func(string) bool { return false })
			for i, key := range t.keys {
				r.m.setMeta(key, t.items[i].text)
			}
		}
		r.tell("Success")
	}
}

func makeDeleteKeys(_ *node, c *config) work {
	matches, data := c.matcher("keys"), c.text("deleteFrom") != "METADATA"
	stays := func(key string) bool { return !matches(key) }
	return func(r *round) {
		if !data {
			r.m.keepMeta(stays)
		} else if t := r.m.object(); t != nil {
			n := len(t.keys)
			if t.keep(stays); len(t.keys) != n {
				r.m.Data = t.String()
			}
		}
		r.tell("Success")
	}
}

func makeSplit(_ *node, _ *config) work {
	return func(r *round) {
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
			r.over("an array of " + decimal(int64(len(t.items))) + " elements is too long to be split")
			return
		}
		made := make([]*Message, len(t.items))
		for i, item := range t.items {
			made[i] = r.m.copyOf()
			made[i].Data = item.String()
		}
		r.several(made)
	}
}

func makePath(_ *node, c *config) work {
	p, err := parsePath(c.text("jsonPath"))
	if err != nil {
		c.bad("jsonPath", "is not supported: "+err.Error())
	}
	return func(r *round) {
		if len(p) == 0 {
			r.tell("Success")
			return
		}
		t, err := parseTree(r.m.Data)
		if !r.check(err) {
			return
		}
		v, err := p.find(t)
		if r.check(err) {
			r.m.Data = v.String()
			r.tell("Success")
		}
	}
}

func makeChangeOriginator(_ *node, c *config) work {
	source, kind, pattern := c.text("originatorSource"), c.text("entityType"), c.text("entityNamePattern")
	q := c.query("relationsQuery")
	return func(r *round) {
		var to Entity
		ok := true
		switch source {
		case "TENANT":
			to = r.e.reg.Tenant()
		case "CUSTOMER":
			to, ok = r.e.reg.Owner(r.m.Originator)
		case "RELATED":
			to, ok = q.first(r.e.reg, r.m.Originator)
		case "ALARM_ORIGINATOR":
			a := r.e.reg.AlarmByID(r.m.Originator.ID)
			if ok = a != nil; ok {
				to = a.Originator
			}
		case "ENTITY":
			name, good := r.m.pattern(pattern)
			if to, ok = r.e.reg.Find(kind, name); !good || !ok {
				r.fail("Failed to find " + kind + " with name '" + name + "'!")
				return
			}
		default:
			ok = false
		}
		if !ok || to.ID == (proto.UUID{}) {
			r.fail("Failed to find new originator!")
			return
		}
		r.m.Originator = to
		r.tell("Success")
	}
}
