package chains

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
	"edgesync/sync/rules"
)

// chains are the names of the ready chains.
var chains = []string{"important", "by-exception", "minute", "raw-while-alarm", "hysteresis", "uniform", "budget"}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSteps: what comes out of each chain is exactly what was expected of it.
// testdata/NAME.want.jsonl is what edgesync rules try NAME.json testdata/NAME.steps.jsonl prints.
func TestSteps(t *testing.T) {
	for _, name := range chains {
		e, err := rules.NewTrial(read(t, name+".json"), rules.Options{})
		if err != nil {
			t.Fatal(name, err)
		}
		want := strings.Split(strings.TrimSuffix(string(read(t, "testdata/"+name+".want.jsonl")), "\n"), "\n")
		steps := strings.Split(strings.TrimSuffix(string(read(t, "testdata/"+name+".steps.jsonl")), "\n"), "\n")
		if len(steps) != len(want) {
			t.Fatalf("%s: %d steps, %d results", name, len(steps), len(want))
		}
		for i, step := range steps {
			got, err := e.Step([]byte(step))
			if err != nil || string(got) != want[i] {
				t.Errorf("%s, step %d: %v\n got %s\nwant %s", name, i+1, err, got, want[i])
			}
			for _, list := range []string{`"failed":[]`, `"unsupported":[]`, `"dropped":[]`} {
				if !bytes.Contains(got, []byte(list)) {
					t.Errorf("%s, step %d: not %s in %s", name, i+1, list, got)
				}
			}
		}
	}
}

// export is a chain as ThingsBoard's user interface exports it.
type export struct {
	RuleChain struct {
		Name           string `json:"name"`
		Type           string `json:"type"`
		AdditionalInfo struct {
			Description string `json:"description"`
		} `json:"additionalInfo"`
	} `json:"ruleChain"`
	Metadata struct {
		Nodes []struct {
			Type          string                     `json:"type"`
			Name          string                     `json:"name"`
			Version       int                        `json:"configurationVersion"`
			Configuration map[string]json.RawMessage `json:"configuration"`
			Info          struct {
				X, Y int
			} `json:"additionalInfo"`
		} `json:"nodes"`
		Connections []struct {
			From int    `json:"fromIndex"`
			Type string `json:"type"`
		} `json:"connections"`
	} `json:"metadata"`
}

// component is a type of nodes as a server lists it.
type component struct {
	Type            string                     `json:"type"`
	Version         int                        `json:"configurationVersion"`
	Relations       []string                   `json:"relations"`
	CustomRelations bool                       `json:"customRelations"`
	Default         map[string]json.RawMessage `json:"default"`
}

// TestImport: a server takes each chain, and the engine executes all of its nodes. A node has the
// version and the members of configuration that a server gives a new one, and only relations of
// its type.
func TestImport(t *testing.T) {
	components := map[string]component{}
	lines := bufio.NewScanner(bytes.NewReader(read(t, "../../sync/rules/testdata/nodes.jsonl")))
	for lines.Scan() {
		var c component
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		components[c.Type] = c
	}
	files, _ := filepath.Glob("*.json")
	if len(files) != len(chains) {
		t.Errorf("%d chains, %d of them tested", len(files), len(chains))
	}
	cloud := cloudtest.New(cloudtest.Options{})
	defer cloud.Stop()
	readme := string(read(t, "README.md"))
	for _, name := range chains {
		text := read(t, name+".json")
		if _, err := cloud.SaveChain(proto.UUID{}, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var x export
		if err := json.Unmarshal(text, &x); err != nil {
			t.Fatal(name, err)
		}
		if x.RuleChain.Type != "EDGE" || x.RuleChain.Name == "" || x.RuleChain.AdditionalInfo.Description == "" {
			t.Errorf("%s: type, name or description is missing", name)
		}
		names := map[string]bool{}
		for _, n := range x.Metadata.Nodes {
			c := components[n.Type]
			if n.Version != c.Version || !slices.Equal(sorted(n.Configuration), sorted(c.Default)) {
				t.Errorf("%s, %s: version %d, %q; a server's is version %d, %q", name, n.Name, n.Version, sorted(n.Configuration),
					c.Version, sorted(c.Default))
			}
			if names[n.Name] {
				t.Errorf("%s: two nodes have the name %q", name, n.Name)
			}
			names[n.Name] = true
		}
		for _, l := range x.Metadata.Connections {
			n := x.Metadata.Nodes[l.From]
			if c := components[n.Type]; !slices.Contains(c.Relations, l.Type) && !strings.HasSuffix(n.Type, "TbJsSwitchNode") {
				t.Errorf("%s, %s has no relation %q", name, n.Name, l.Type)
			}
		}
		checkReport(t, name, text)
		checkReadme(t, name, readme, &x)
	}
}

func sorted(m map[string]json.RawMessage) []string { return slices.Sorted(maps.Keys(m)) }

// checkReport compiles a chain.
func checkReport(t *testing.T, name string, text []byte) {
	t.Helper()
	head, metadata, err := rules.Export(text)
	if err != nil {
		t.Fatal(name, err)
	}
	e := rules.New(nil, nil, rules.Options{Now: func() int64 { return 0 }})
	if err := e.Head(head); err != nil {
		t.Fatal(name, err)
	}
	if _, err := e.Metadata(metadata); err != nil {
		t.Fatal(name, err)
	}
	r := e.Report()
	if len(r) != 1 || !r[0].Root || r[0].Silent || r[0].SilentAlarms {
		t.Errorf("%s: %+v", name, r)
	}
	for _, n := range r[0].Nodes {
		if n.Reason != "" {
			t.Errorf("%s, %s is not executed: %s", name, n.Name, n.Reason)
		}
	}
}

// checkReadme looks for the chain and its own nodes in the README.
func checkReadme(t *testing.T, name, readme string, x *export) {
	t.Helper()
	_, section, _ := strings.Cut(readme, "\n## "+x.RuleChain.Name+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !strings.Contains(section, "`"+name+".json`") {
		t.Errorf("README.md has no section on %s", name)
	}
	for _, n := range x.Metadata.Nodes[7:] { // behind those that all chains have
		if !strings.Contains(section, n.Name) {
			t.Errorf("README.md, %s: the node %q is not in the picture", name, n.Name)
		}
	}
}
