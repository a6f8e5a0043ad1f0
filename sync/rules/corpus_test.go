package rules

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestChains: every step of the recordings does what a real edge did with it (RULES.md 6).
func TestChains(t *testing.T) {
	files, err := filepath.Glob("testdata/chains/*.expect.jsonl")
	if err != nil || len(files) != 16 {
		t.Fatal(files, err)
	}
	steps := 0
	for _, file := range files {
		edge, err := os.ReadFile(strings.TrimSuffix(file, ".expect.jsonl") + ".json")
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		e, err := NewTrial(edge, Options{Drop: true, Likeness: true})
		if err != nil {
			t.Fatal(file, err)
		}
		for line := range strings.Lines(string(want)) {
			got, err := e.Step([]byte(line))
			if err != nil {
				t.Fatal(file, err)
			}
			steps++
			compareStep(t, filepath.Base(file), line, string(got))
		}
	}
	if steps != 93 {
		t.Errorf("%d steps, want 93", steps)
	}
}

// compareStep compares the lists that a step names, as sets.
func compareStep(t *testing.T, name, wantLine, gotLine string) {
	t.Helper()
	want, err := parseTree(wantLine)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseTree(gotLine)
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range want.keys {
		if key == "in" || key == "at" || key == "rpcAnswer" {
			continue
		}
		if w, g := asSet(want.items[i]), asSet(got.get(key)); w != g {
			t.Errorf("%s at %s: %s\n got %s\nwant %s", name, want.get("at"), key, g, w)
		}
	}
	for _, key := range []string{"saved", "attributes", "device", "failed", "unsupported", "dropped"} {
		if g := got.get(key); want.get(key) == nil && len(g.items) > 0 {
			t.Errorf("%s at %s: %s that nobody expects: %s", name, want.get("at"), key, g)
		}
	}
}

// asSet is a list in the order of its texts, objects by their keys, without the words of errors.
func asSet(v *tree) string {
	if v == nil {
		return "nothing"
	}
	var texts []string
	if v.kind != isList {
		return sorted(v).String()
	}
	for _, item := range v.items {
		if item.get("error") != nil {
			item.set("error", textTree("…"))
		}
		s := sorted(item).String()
		at := 0
		for at < len(texts) && texts[at] < s {
			at++
		}
		texts = append(texts[:at], append([]string{s}, texts[at:]...)...)
	}
	return strings.Join(texts, "\n     ")
}

func sorted(v *tree) *tree {
	out := *v
	out.items = nil
	if v.kind != isObject {
		for _, item := range v.items {
			out.items = append(out.items, sorted(item))
		}
		return &out
	}
	out.keys, out.index = nil, nil
	for range v.keys {
		least := -1
		for i, key := range v.keys {
			if out.find(key) < 0 && (least < 0 || key < v.keys[least]) {
				least = i
			}
		}
		out.set(v.keys[least], sorted(v.items[least]))
	}
	return &out
}

// differs are the lines of the recordings that come out otherwise, with the reason.
func differs(t *testing.T, name string) map[string]string {
	t.Helper()
	b, err := os.ReadFile("testdata/differs.txt")
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), " ", 3)
		if len(f) == 3 && f[0] == name {
			list[f[1]] = f[2]
		}
	}
	return list
}

// TestNodeResults: each recorded node configuration makes of one message what the nodes of a real
// edge made of it.
func TestNodeResults(t *testing.T) {
	b, err := os.ReadFile("testdata/node-results.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var in, world *tree
	odd := differs(t, "node-results.jsonl")
	n := 0
	for line := range strings.Lines(string(b)) {
		v, err := parseTree(line)
		if err != nil {
			t.Fatal(err)
		}
		n++
		if n == 1 {
			in, world = v.get("in"), v.get("world")
			continue
		}
		got, want := oneNode(t, in, world, v), wantedResult(in, v)
		_, differs := odd[strconv.Itoa(n)]
		if (got != want) != differs {
			t.Errorf("line %d, %s %s:\n got %s\nwant %s", n, textOf(v, "type"), v.get("configuration"), got, want)
		}
	}
	if n != 141 {
		t.Errorf("%d lines, want 141", n)
	}
}

func wantedResult(in, v *tree) string {
	data, md, who := v.get("data"), v.get("metadata"), textOf(v, "originator")
	if data == nil {
		data = in.get("data")
	}
	if data.kind == isNull {
		data = textTree("null")
	}
	if md == nil {
		md = in.get("metadata")
	}
	if who == "" {
		who = textOf(in, "originator")
	}
	return textOf(v, "relation") + " " + data.text + " " + sorted(md).String() + " " + who
}

// oneNode runs the message through a chain of one node, with every relation it may take connected
// to a node that is not executed and notes what it gets.
func oneNode(t *testing.T, in, world, v *tree) string {
	t.Helper()
	device := object("entityType", textTree("DEVICE"), "id", world.get("id"))
	item := *world
	item.keep(func(key string) bool {
		return key != "attributes" && key != "latest" && key != "customer" && key != "id"
	})
	item.set("entity", device)
	item.set("credentials", object("type", textTree("ACCESS_TOKEN"), "value", textTree("r50th-1")))
	edge := object("world", object("entities", &tree{kind: isList, items: []*tree{&item}}))
	trial, err := NewTrial([]byte(edge.String()), Options{Drop: true, Likeness: true})
	if err != nil {
		t.Fatal(err)
	}
	config := *v
	config.set("name", textTree("node"))
	md := object("ruleChainId", object("id", textTree("11111111-1111-1111-1111-111111111111")), "firstNodeIndex", wholeTree(0))
	nodes, links := &tree{kind: isList, items: []*tree{&config}}, &tree{kind: isList}
	for _, name := range []string{"Success", "Failure", "True", "False", "Other", "r50"} {
		nodes.items = append(nodes.items, object("type", textTree("none"), "name", textTree(name)))
		to := wholeTree(int64(len(nodes.items) - 1))
		links.items = append(links.items, object("fromIndex", wholeTree(0), "toIndex", to, "type", textTree(name)))
	}
	md.set("nodes", nodes)
	md.set("connections", links)
	if err := trial.e.Head([]byte(`{"id":{"id":"11111111-1111-1111-1111-111111111111"},"root":true}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := trial.e.Metadata([]byte(md.String())); err != nil {
		t.Fatal(err)
	}
	out := &notes{Trial: trial}
	trial.e.out = out
	m := &Message{Type: textOf(in, "msgType"), Originator: entityOf(device), Data: textOf(in, "data")}
	for i, key := range in.get("metadata").keys {
		m.setMeta(key, in.get("metadata").items[i].text)
	}
	if known, err := trial.e.Handle(m, nil); !known || err != nil {
		t.Fatal(known, err)
	}
	return strings.Join(out.got, "; ")
}

// notes are messages that came to nodes which are not executed.
type notes struct {
	*Trial
	got []string
}

func (n *notes) Unsupported(node, _ string, m *Message) {
	n.got = append(n.got, node+" "+m.Data+" "+sorted(m.metadataTree()).String()+" "+m.Originator.Type)
}

// object is an object of keys and *tree values.
func object(members ...any) *tree {
	t := &tree{kind: isObject}
	for i := 0; i < len(members); i += 2 {
		t.set(members[i].(string), members[i+1].(*tree))
	}
	return t
}
