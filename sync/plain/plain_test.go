package plain_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"edgesync/sync/plain"
)

// hostile holds what a terminal may act on: C0, DEL, C1, bidi controls, separators of lines and
// paragraphs, invisible letters, and bytes that are no UTF-8.
const hostile = "a\x00\x07\x1b[2J\r\t\x7f\u0085\u009b31m\u061c\u200b\u200e\u200f\u2028\u2029" +
	"\u202a\u202e\u2066\u2069\ufeff\U000e0041\xff\xc3z"

func harmless(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Errorf("%q is not UTF-8", s)
	}
	for _, r := range s {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%q holds %U", s, r)
		}
	}
}

func TestText(t *testing.T) {
	harmless(t, plain.Text(hostile, 1000))
	for _, test := range []struct {
		text, want string
		most       int
	}{
		{"Gateway 7", "Gateway 7", 9},
		{"Gateway 7", "Gateway …", 8},
		{"ééé", "é…", 3},
		{"a\nb", "a b", 3},
		{"", "", 0},
		{"x", "…", 0},
	} {
		if got := plain.Text(test.text, test.most); got != test.want {
			t.Errorf("%q cut to %d: %q, want %q", test.text, test.most, got, test.want)
		}
	}
	if got := plain.Cut("ab\x1bé", 4); got != "ab\x1b…" {
		t.Errorf("%q", got)
	}
}

// Whatever the bounds of the writes are, the same text comes out, and JSON stays what it was.
func TestWriter(t *testing.T) {
	object, err := json.Marshal(map[string]string{"k": strings.ToValidUTF8(hostile, "?"), "é": "中\U0001f600"})
	if err != nil {
		t.Fatal(err)
	}
	text := string(object) + "\n" + hostile + "\n"
	var whole bytes.Buffer
	if n, err := plain.NewWriter(&whole).Write([]byte(text)); n != len(text) || err != nil {
		t.Fatal(n, err)
	}
	harmless(t, whole.String())
	line, _, _ := strings.Cut(whole.String(), "\n")
	var got map[string]string
	if err := json.Unmarshal([]byte(line), &got); err != nil {
		t.Fatalf("%v of %s", err, line)
	}
	if got["k"] != strings.ToValidUTF8(hostile, "?") || got["é"] != "中\U0001f600" {
		t.Errorf("%q", got)
	}
	var parts bytes.Buffer
	w := plain.NewWriter(&parts)
	for i := range len(text) {
		if n, err := w.Write([]byte(text[i : i+1])); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if parts.String() != whole.String() {
		t.Errorf("byte by byte %q\nat once      %q", parts.String(), whole.String())
	}
	if !strings.Contains(whole.String(), `\u001b[2J \u007f\u0085`) && !strings.Contains(whole.String(), `\u001b[2J  \u007f\u0085`) {
		t.Errorf("%q", whole.String())
	}
}
