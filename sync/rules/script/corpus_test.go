package script

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

// line is one line of the corpora (RULES.md 5.6).
type line struct {
	N        int             `json:"n"`
	Script   string          `json:"script"`
	Args     []string        `json:"args"`
	Msg      json.RawMessage `json:"msg"`
	Metadata json.RawMessage `json:"metadata"`
	MsgType  string          `json:"msgType"`
	JSON     *string         `json:"json"`
	Type     string          `json:"type"`
	Error    *string         `json:"error"`
	Exotic   bool            `json:"exotic"`
}

func corpus(t testing.TB, name string) (lines []line) {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var l line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// pairs are the members of a JSON object of texts, in their order.
func pairs(t testing.TB, raw json.RawMessage) (list []Pair) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		k, _ := d.Token()
		v, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Pair{Key: k.(string), Value: v.(string)})
	}
	return list
}

var testClock = Env{Now: func() time.Time { return time.UnixMilli(1767225600000) }}

// evaluate runs the script of a line and gives its JSON text and type.
func evaluate(t testing.TB, lang Language, l line) (text, kind string, err error) {
	t.Helper()
	names := Arguments
	if len(l.Args) == 3 {
		names = Names{l.Args[0], l.Args[1], l.Args[2]}
	}
	p, err := Compile(lang, l.Script, names)
	if err != nil {
		return "", "", err
	}
	var doc Doc
	if err := doc.Parse(string(l.Msg)); err != nil {
		t.Fatal(err)
	}
	v, err := p.Run(testClock, Args{Msg: &doc, Metadata: pairs(t, l.Metadata), MsgType: l.MsgType})
	if err != nil {
		return "", "", err
	}
	b, err := lang.AppendJSON(nil, v, AsScript)
	if lang == JavaScript && v.Kind() == Unset {
		b = []byte("undefined")
	}
	return string(b), v.Kind().String(), err
}

// verdict says what is wrong with a line; "" if nothing is.
func verdict(t testing.TB, lang Language, l line) string {
	text, kind, err := evaluate(t, lang, l)
	switch {
	case err != nil && l.Error != nil:
		if strings.Contains(err.Error(), "internal") {
			return err.Error()
		}
		return ""
	case err != nil:
		return "want " + *l.JSON + ", got error " + err.Error()
	case l.Error != nil:
		return "want an error (" + *l.Error + "), got " + text
	case text != *l.JSON:
		return "want " + *l.JSON + ", got " + text
	case lang == TBEL && kind != l.Type:
		return "want type " + l.Type + ", got " + kind
	}
	return ""
}

// TestCorpus runs every recorded script, and those of sources.jsonl, whose results are read from
// the public sources of the engine and of its functions, and from their tests. testdata/differs.txt
// lists the lines that are evaluated otherwise on purpose, with the reason; the list is exact.
func TestCorpus(t *testing.T) {
	differs := map[string]string{}
	raw, err := os.ReadFile("testdata/differs.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		if row == "" || row[0] == '#' {
			continue
		}
		key, reason, ok := strings.Cut(row, "\t")
		if !ok || reason == "" {
			t.Fatalf("testdata/differs.txt: no reason in %q", row)
		}
		differs[key] = reason
	}
	for name, lang := range map[string]Language{"tbel.jsonl": TBEL, "sources.jsonl": TBEL, "js.jsonl": JavaScript} {
		lines := corpus(t, name)
		if want := map[string]int{"tbel.jsonl": 1059, "sources.jsonl": 297, "js.jsonl": 49}[name]; len(lines) != want {
			t.Errorf("%s has %d lines, want %d", name, len(lines), want)
		}
		for _, l := range lines {
			key := name + ":" + itoa(l.N)
			wrong := verdict(t, lang, l)
			switch _, listed := differs[key]; {
			case wrong != "" && !listed:
				t.Errorf("%s: %s\n%s", key, wrong, l.Script)
			case wrong == "" && listed:
				t.Errorf("%s passes, but testdata/differs.txt lists it", key)
			}
			delete(differs, key)
		}
	}
	for key := range differs {
		t.Errorf("testdata/differs.txt lists %s, which no corpus has", key)
	}
}

func itoa(n int) string { return string(appendScript(nil, float64(n))) }
