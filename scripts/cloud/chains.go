package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// chains executes the commands about rule chains.
func (o *operator) chains(w []string) (string, error) {
	switch {
	case w[0] == "unassign" && len(w) > 2 || w[0] == "chains" && len(w) > 1:
		return "", fmt.Errorf("%s: too many words behind it (help shows them)", w[0])
	case w[0] == "chains":
		var b strings.Builder
		for _, c := range o.cloud.Tenant().Chains(o.edge.ID) {
			b.WriteString(c.Name)
			if c.Root {
				b.WriteString(" (root)")
			}
			b.WriteByte('\n')
		}
		return strings.TrimRight(b.String(), "\n"), nil
	case w[0] == "unassign":
		return o.unassign(w[1:])
	}
	name, id, err := o.saveChain(w[0], w[1])
	if err != nil {
		return "", err
	}
	if w[0] == "root" {
		return "root: " + name, o.cloud.SetRootChain(o.edge.ID, id)
	}
	return "chain: " + name, nil
}

// saveChain stores the chain of a file and assigns it, or finds the chain of that name.
func (o *operator) saveChain(command, file string) (name string, id proto.UUID, err error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) && command == "root" {
		if c, ok := o.chainNamed(file); ok {
			return c.Name, c.ID, nil
		}
	}
	if err != nil {
		return "", id, err
	}
	defer f.Close()
	export, err := io.ReadAll(io.LimitReader(f, cloudtest.MaxChain+1))
	if err != nil {
		return "", id, err
	}
	var head struct {
		RuleChain struct {
			Name string `json:"name"`
		} `json:"ruleChain"`
	}
	_ = json.Unmarshal(export, &head)
	old, known := o.chainNamed(head.RuleChain.Name)
	if id, err = o.cloud.SaveChain(old.ID, export); err != nil {
		return "", id, fmt.Errorf("%s %s: %w", command, file, err)
	}
	if !known {
		err = o.cloud.AssignChain(o.edge.ID, id)
	}
	return head.RuleChain.Name, id, err
}

func (o *operator) chainNamed(name string) (cloudtest.Chain, bool) {
	for _, c := range o.cloud.Tenant().Chains(o.edge.ID) {
		if c.Name == name {
			return c, true
		}
	}
	return cloudtest.Chain{}, false
}

// unassign takes the chain of a name from the edge, or all but the one that was its root at first.
func (o *operator) unassign(names []string) (string, error) {
	if len(names) == 1 {
		c, ok := o.chainNamed(names[0])
		if !ok {
			return "", fmt.Errorf("the edge has no rule chain %q", names[0])
		}
		return "unassigned: " + c.Name, o.cloud.UnassignChain(o.edge.ID, c.ID)
	}
	first := o.cloud.Tenant().RootChain()
	all := o.cloud.Tenant().Chains(o.edge.ID)
	for _, c := range all {
		if c.Root && c.ID != first {
			if err := o.cloud.SetRootChain(o.edge.ID, first); err != nil {
				return "", err
			}
		}
	}
	n := 0
	for _, c := range all {
		if c.ID != first {
			if err := o.cloud.UnassignChain(o.edge.ID, c.ID); err != nil {
				return "", err
			}
			n++
		}
	}
	return fmt.Sprintf("unassigned: %d", n), nil
}
