package cli

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"edgesync/sync/ruling"
)

// Names, errors and facts of chains are shown in any script, and leave the terminal as it is.
func TestRulesShowsNamesInAnyScript(t *testing.T) {
	for name, want := range map[string]string{
		"🌡️ Фильтр e\u0301": "🌡️ Фильтр e\u0301", "מד חום": "מד חום", "𠜎": "𠜎",
		"a\x1b[2J\nb\x00": "a?[2J?b?", "\u202eabc": "?abc", "\xff\xfe": "\ufffd\ufffd", "\u009b1m": "?1m",
	} {
		var b bytes.Buffer
		printRules(&b, &ruling.Report{
			Facts: []string{"fact " + name},
			Chains: []ruling.Chain{{Name: name, Nodes: []ruling.Node{{
				Name: "node " + name, Type: "a.b." + name, Out: map[string]uint32{"to " + name: 3, "never": 0}, Ended: 7,
				Reason: "why " + name, LastError: "failed " + name,
			}}}},
		})
		lines := strings.Split(b.String(), "\n")
		for _, r := range b.String() {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%q is shown with %q", name, r)
			}
		}
		for i, part := range map[int]string{
			0: "fact " + want, 4: "node " + want, 5: "    not executed: why " + want, 6: "failed " + want,
		} {
			if len(lines) != 8 || !strings.Contains(lines[i], part) {
				t.Errorf("%q, want %q in line %d", lines, part, i)
			}
		}
		if !strings.Contains(lines[4], ", to "+want+" 3, ended 7") || !strings.Contains(lines[4], " "+want+" ") {
			t.Errorf("%q", lines[4])
		}
	}
}
