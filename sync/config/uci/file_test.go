package uci_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"edgesync/sync/config/uci"
)

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// show prints sections as `uci show` does.
func show(pkg string, sections []*uci.Section) string {
	var b strings.Builder
	counts := map[string]int{}
	for _, s := range sections {
		name := s.Name
		if name == "" {
			name = fmt.Sprintf("@%s[%d]", s.Type, counts[s.Type])
		}
		counts[s.Type]++
		fmt.Fprintf(&b, "%s.%s=%s\n", pkg, name, s.Type)
		for _, o := range s.Options {
			var values []string
			for _, v := range o.Values {
				values = append(values, quoted(v))
			}
			fmt.Fprintf(&b, "%s.%s.%s=%s\n", pkg, name, o.Name, strings.Join(values, " "))
		}
	}
	return b.String()
}

// export prints sections as `uci export` does.
func export(pkg string, sections []*uci.Section) string {
	var b strings.Builder
	fmt.Fprintf(&b, "package %s\n", pkg)
	for _, s := range sections {
		fmt.Fprintf(&b, "\nconfig %s", s.Type)
		if s.Name != "" {
			fmt.Fprintf(&b, " '%s'", s.Name)
		}
		b.WriteString("\n")
		for _, o := range s.Options {
			word := "option"
			if o.List {
				word = "list"
			}
			for _, v := range o.Values {
				fmt.Fprintf(&b, "\t%s %s %s\n", word, o.Name, quoted(v))
			}
		}
	}
	return b.String() + "\n"
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// What the real program makes of an odd file, in both of its notations.
func TestAsTheRealProgram(t *testing.T) {
	sections, notices, err := uci.Parse([]byte(read(t, "odd.conf")))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := show("odd", sections), read(t, "odd.show"); got != want {
		t.Errorf("show\n%s\nwant\n%s", got, want)
	}
	if got, want := export("odd", sections), read(t, "odd.export"); got != want {
		t.Errorf("export\n%s\nwant\n%s", got, want)
	}
	if len(notices) != 1 || !strings.HasPrefix(notices[0], "line 17: what stands behind the ; is ignored") {
		t.Errorf("notices %q", notices)
	}
	if o := sections[0].Option("multi"); o == nil || o.Line != 15 {
		t.Errorf("multi is %+v, want it on line 15", o)
	}
}

// Recorded answers of `uci show`, of a package that is called t.
func TestSurprises(t *testing.T) {
	for in, want := range map[string]string{
		"config a m\n\toption a 1; option b 2":                    "t.m=a\nt.m.a='1'\n",
		"config a m\n\toption a x#y":                              "t.m=a\nt.m.a='x'\n",
		"config a m\n\toption a 1\nconfig a m\n\toption b 2":      "t.m=a\nt.m.a='1'\nt.m.b='2'\n",
		"config a m\n\tlist a 1\n\toption a 2":                    "t.m=a\nt.m.a='2'\n",
		"config a m\n\toption a 1\n\tlist a 2":                    "t.m=a\nt.m.a='1' '2'\n",
		"config a m\n\toption a":                                  "t.m=a\n",
		"config a\n\toption a ''\n\tlist c ''":                    "t.@a[0]=a\nt.@a[0].c=''\n",
		"config a-b m\r\n\toption a 'x'\r\n":                      "t.m=a-b\nt.m.a='x'\n",
		"config a\nconfig b\nconfig a\n\toption x \\#\\'\\ y\\\\": "t.@a[0]=a\nt.@b[0]=b\nt.@a[1]=a\nt.@a[1].x='#'\\'' y\\'\n",
		"config a m\n\toption a 'x\\'":                            "t.m=a\nt.m.a='x\\'\n",
		"config a m\n\toption a \"x\\ny\"":                        "t.m=a\nt.m.a='xny'\n",
		"":                                                        "",
		"# nothing\n\n \t\n;":                                     "",
	} {
		sections, _, err := uci.Parse([]byte(in))
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if got := show("t", sections); got != want {
			t.Errorf("%q\n got %q\nwant %q", in, got, want)
		}
	}
}

// Files that the real program refuses are refused, with the line and a sentence.
func TestWrongFiles(t *testing.T) {
	for in, want := range map[string]string{
		"option x y":                                  "line 1: option stands before the first section",
		"\n\nlist x y":                                "line 3: list stands before the first section",
		"config a\n\toption x \"un\n":                 "line 2: the quote that begins here has no end",
		"config a\n\tfoo x y":                         "line 2: a line begins with config, option or list",
		"config a b c":                                "line 1: config takes a type and a name, and no more",
		"config":                                      "line 1: config takes a type, and may take a name",
		"\nconfig 'device' 'd-1'":                     "line 2: the name of a section holds letters, digits and _ only",
		"config 'a b'":                                "line 1: the type of a section holds letters, digits, _ and - only",
		"config a m\n\toption a x y":                  "line 2: option takes one value; one with blanks stands in quotes",
		"config a m\n\toption":                        "line 2: option takes a name and a value",
		"config a m\n\toption a-b x":                  "line 2: the name of an option holds letters, digits and _ only",
		"package a b":                                 "line 1: package takes one name",
		"config a m\n option a '1\n2'\nnope x":        "line 4: a line begins with config, option or list",
		"config a\n\toption routing_secret hush hush": "line 2: option takes one value; one with blanks stands in quotes",
	} {
		sections, _, err := uci.Parse([]byte(in))
		if err == nil || err.Error() != want || sections != nil {
			t.Errorf("%q: got %v, %v\nwant %s", in, sections, err, want)
		}
	}
	_, _, err := uci.Parse(make([]byte, uci.MaxBytes+1))
	if err == nil || err.Error() != "line 1: the file is larger than 262144 bytes" {
		t.Errorf("a file that is too large: %v", err)
	}
	var many strings.Builder
	many.WriteString("config a")
	for i := range uci.MaxOptions + 1 {
		fmt.Fprintf(&many, "\noption o%d x", i)
	}
	if _, _, err := uci.Parse([]byte(many.String())); err == nil || err.Error() != "line 1026: a section holds at most 1024 options" {
		t.Errorf("too many options: %v", err)
	}
}

func TestNoticesAreBounded(t *testing.T) {
	_, notices, err := uci.Parse([]byte("config a\n" + strings.Repeat("option x 1; option y 2\n", 100)))
	if err != nil || len(notices) != 8 {
		t.Errorf("%d notices, %v, want 8", len(notices), err)
	}
}

func TestBool(t *testing.T) {
	for text, want := range map[string][2]bool{
		"1": {true, true}, "on": {true, true}, "true": {true, true}, "yes": {true, true}, "enabled": {true, true},
		"0": {false, true}, "off": {false, true}, "false": {false, true}, "no": {false, true}, "disabled": {false, true},
		"": {}, "2": {}, "ON": {}, "y": {},
	} {
		if value, ok := uci.Bool(text); [2]bool{value, ok} != want {
			t.Errorf("%q: %v, %v", text, value, ok)
		}
	}
}

// Whatever a file holds, what is read from it is within bounds, and is the same when it is written
// as `uci export` does and read again.
func FuzzParse(f *testing.F) {
	odd, err := os.ReadFile("testdata/odd.conf")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(odd)
	for _, seed := range []string{
		"config a m\n\toption a 1; option b 2", "config a\n\tlist c ''\n\tlist c \"x\\\"\"\n",
		"config a b\noption x un'quo'\"ted\"#c", "option",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		sections, notices, err := uci.Parse(data)
		if err != nil {
			if sections != nil || len(err.Error()) > 200 {
				t.Errorf("%d sections, %v", len(sections), err)
			}
			return
		}
		total := 0
		for _, s := range sections {
			total += len(s.Type) + len(s.Name)
			for _, o := range s.Options {
				total += len(o.Name)
				for _, v := range o.Values {
					total += len(v)
				}
			}
		}
		if total > len(data) || len(notices) > 8 {
			t.Errorf("%d bytes of text and %d notices out of %d bytes", total, len(notices), len(data))
		}
		text := export("p", sections)
		if len(text) > uci.MaxBytes {
			return
		}
		again, _, err := uci.Parse([]byte(text))
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if !slices.EqualFunc(sections, again, same) {
			t.Errorf("%q\nread again\n%q", show("p", sections), show("p", again))
		}
	})
}

func same(a, b *uci.Section) bool {
	return a.Type == b.Type && a.Name == b.Name && slices.EqualFunc(a.Options, b.Options, func(x, y uci.Option) bool {
		return x.Name == y.Name && x.List == y.List && slices.Equal(x.Values, y.Values)
	})
}
