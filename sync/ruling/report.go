package ruling

import (
	"encoding/json"
	"sort"
	"strconv"
	"strings"
	"time"

	"edgesync/proto"
)

// Report is what people want to know of the rule chains (RULES.md 7.6). A field once published
// keeps its name and meaning.
type Report struct {
	Mode string `json:"mode"` // "cloud", "off"; "file": one chain in place of the cloud's
	Root string `json:"root"` // name; "" while none is known: then telemetry and attributes go up
	// RootSince is when it became the root in this life, ms since the epoch; 0: there is none.
	RootSince int64 `json:"root_since,omitempty"`
	// Messages over the life of the data directory.
	Made        uint64 `json:"made"`
	Filtered    uint64 `json:"filtered"`
	Held        uint64 `json:"held"`
	Merged      uint64 `json:"merged"`
	Instead     uint64 `json:"pushed_instead"` // originals that were pushed because a chain could not decide
	Failed      uint64 `json:"failed"`
	Unsupported uint64 `json:"unsupported"` // messages that met a node that is not executed

	HeldBytes int64    `json:"held_bytes"`
	Windows   int      `json:"windows"` // that are open
	Chains    []Chain  `json:"chains"`
	Facts     []string `json:"facts"`          // in words, each once
	More      int      `json:"more,omitempty"` // nodes that are left out
}

// Chain is one chain of a Report, the root first, the others by name.
type Chain struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Root    bool   `json:"root"`
	Problem string `json:"problem,omitempty"` // why its last update is not executed
	// Profiles are the device and asset profiles that name it.
	Profiles []string `json:"profiles,omitempty"`
	Nodes    []Node   `json:"nodes"`
}

// Node is one node of a Chain. Counters are of this life.
type Node struct {
	Name      string            `json:"name"`
	Type      string            `json:"type"`
	Supported bool              `json:"supported"`
	Reason    string            `json:"reason,omitempty"`  // why not
	Instead   string            `json:"instead,omitempty"` // what is done instead
	In        uint32            `json:"in"`
	Out       map[string]uint32 `json:"out,omitempty"`   // by relation
	Ended     uint32            `json:"ended,omitempty"` // left by a relation that leads nowhere, though others do
	Failed    uint32            `json:"failed,omitempty"`
	LastError string            `json:"last_error,omitempty"`
	LastAt    int64             `json:"last_error_at,omitempty"` // ms since the epoch
	Waiting   int               `json:"waiting,omitempty"`       // messages
	Windows   int               `json:"windows,omitempty"`
}

// Bounds of a Report.
const (
	maxNodes    = 1000
	maxProfiles = 200
	maxNamed    = 5 // nodes that a fact names
)

// Root is the root chain; zero: none is known.
type Root struct {
	id    string
	Name  string
	Since time.Time // in this life
	Nodes int
}

// RootChain is the root chain as it was when chains changed last.
func (r *Rules) RootChain() Root {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.root
}

// profiles are the names of the profiles that name a chain, by chain.
func (r *Rules) profiles() map[string][]string {
	all, n := make(map[string][]string), 0
	for _, kind := range [...]proto.Kind{proto.KindDeviceProfile, proto.KindAssetProfile} {
		r.Registry.Entities(kind, func(_ proto.UUID, text []byte) bool {
			var j struct {
				Name  string
				Chain ref `json:"defaultEdgeRuleChainId"`
			}
			if json.Unmarshal(text, &j) == nil && j.Chain.ID != "" {
				all[j.Chain.ID] = append(all[j.Chain.ID], j.Name)
				n++
			}
			return n < maxProfiles
		})
	}
	return all
}

// notExecuted is in each fact that names something not executed; such facts are logged as warnings.
const notExecuted = " not executed: "

const insteadWords = "messages pass it; telemetry and attributes that reach no push node go up as they came"

// errorKinds are beginnings of texts of errors that quote nothing of messages, scripts or
// configurations.
var errorKinds = [...]string{
	"syntax error", "not supported", "script failed", "limit exceeded", "internal fault", "configuration", "the type is unknown",
	"the type is not executed here", "TIMEOUT", "Wrong result type", "Unsupported msg type", "Unsupported originator type",
	"Message body is no", "Message is processed by more than", "Max limit of pending messages reached", "Msg body is empty",
	"Failed to find", "too many messages wait", "rule chain", "head of a rule chain",
}

// kindOfError is what of an error's text may be told to anybody.
func kindOfError(text string) string {
	for _, k := range errorKinds {
		if strings.HasPrefix(text, k) {
			return k + "…"
		}
	}
	return "an error…"
}

// Report describes the chains. Without contents it has the kinds of errors in place of their texts,
// which may quote messages, and configurations with what is secret in them.
func (r *Rules) Report(contents bool) *Report {
	told := func(text string) string {
		if text == "" || contents {
			return text
		}
		return kindOfError(text)
	}
	c := r.Counts()
	all := &Report{
		Mode: "cloud", Made: c.Made, Filtered: c.Filtered, Held: c.Held, Merged: c.Merged, Instead: c.Safety, Failed: c.Failed,
		Unsupported: c.Unsupported, HeldBytes: r.engine.Sums().HeldBytes, Chains: []Chain{}, Facts: []string{},
	}
	fact := func(text string) { all.Facts = append(all.Facts, text) }
	switch {
	case r.Off:
		all.Mode = "off"
		fact("Rule chains are off (rules.mode): everything goes to the cloud.")
		return all
	case r.File != nil:
		all.Mode = "file"
		fact("The chain of rules.file counts, in place of those of the cloud.")
	}
	list := r.engine.Report()
	sort.Slice(list, func(i, j int) bool {
		if list[i].Root != list[j].Root {
			return list[i].Root
		}
		return list[i].Name < list[j].Name
	})
	named := r.profiles()
	r.mu.Lock()
	defer r.mu.Unlock()
	nodes := 0
	seen := make(map[proto.UUID]bool)
	for i := range list {
		in := &list[i]
		seen[in.ID] = true
		chain := Chain{ID: proto.FormatUUID(in.ID), Name: in.Name, Root: in.Root, Problem: told(r.problems[in.ID]), Nodes: []Node{}}
		chain.Profiles = named[chain.ID]
		var not []string
		for k := range in.Nodes {
			n := &in.Nodes[k]
			all.Windows += n.Windows
			if n.Reason != "" && len(not) <= maxNamed {
				not = append(not, strconv.Quote(n.Name))
			}
			if nodes++; nodes > maxNodes {
				all.More++
				continue
			}
			node := Node{
				Name: n.Name, Type: n.Type, Supported: n.Reason == "", Reason: told(n.Reason), In: n.In, Ended: n.Ended, Failed: n.Failed,
				LastError: told(n.Last), LastAt: n.LastAt, Waiting: n.Waiting, Windows: n.Windows,
			}
			if n.Reason != "" {
				node.Instead = insteadWords
			}
			for _, o := range n.Out {
				if node.Out == nil {
					node.Out = make(map[string]uint32)
				}
				node.Out[o.Relation] = o.Taken
			}
			chain.Nodes = append(chain.Nodes, node)
		}
		all.Chains = append(all.Chains, chain)
		name := `Chain "` + in.Name + `": `
		if in.Root {
			if all.Root = in.Name; r.root.id == chain.ID {
				all.RootSince = r.root.Since.UnixMilli()
			}
		}
		if len(not) > maxNamed {
			not[maxNamed] = "…"
		}
		if len(not) > 0 {
			fact(name + "some of its nodes are" + notExecuted + strings.Join(not, ", ") + "; " + insteadWords + ".")
		}
		for _, f := range in.Facts() {
			fact(name + f)
		}
		if chain.Problem != "" {
			fact(name + "its last update is" + notExecuted + chain.Problem)
		}
	}
	for id, text := range r.problems {
		if !seen[id] {
			fact("Chain " + proto.FormatUUID(id) + " is" + notExecuted + told(text))
		}
	}
	if len(list) == 0 || !list[0].Root {
		fact("No root chain is known: telemetry and attributes of devices go to the cloud.")
	}
	return all
}
