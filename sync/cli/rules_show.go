package cli

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"edgesync/sync/config"
	"edgesync/sync/ruling"
	"edgesync/sync/status"
)

// rulesCommand shows the rule chains of the running agent.
func (p *program) rulesCommand(args []string) int {
	var settings config.Flags
	var asJSON bool
	code, done := p.parse("rules", args, &settings, func(fs *flag.FlagSet) []string {
		fs.BoolVar(&asJSON, "json", false, "")
		return []string{"json"}
	})
	if done {
		return code
	}
	l, err := config.Load(&settings, p.env)
	if err != nil {
		return p.fail(err)
	}
	a, err := status.Ask(l.Config.DataDir, status.Request{Do: status.Rules})
	if err == nil && !a.OK {
		err = errors.New(a.Error)
	}
	var r ruling.Report
	if err == nil {
		err = json.Unmarshal(a.Rules, &r)
	}
	switch {
	case err != nil:
		return p.fail(noAgentOn(l.Config.DataDir, err))
	case asJSON:
		fmt.Fprintf(p.stdout, "%s\n", a.Rules)
	default:
		printRules(p.stdout, &r)
	}
	return exitOK
}

// printRules prints a report for people. What people name in the cloud leaves the terminal as it
// is.
func printRules(w io.Writer, r *ruling.Report) {
	for _, f := range r.Facts {
		fmt.Fprintln(w, printable(f))
	}
	fmt.Fprintf(w, "messages: %d made, %d filtered, %d waiting in %d windows (%d bytes), %d merged, %d failed, %d pushed as they came\n",
		r.Made, r.Filtered, r.Held, r.Windows, r.HeldBytes, r.Merged, r.Failed, r.Instead)
	for i := range r.Chains {
		c := &r.Chains[i]
		root := ""
		if c.Root {
			root = " (root)"
		}
		fmt.Fprintf(w, "\nchain %q%s, %d nodes\n", c.Name, root, len(c.Nodes))
		if c.Root && r.RootSince > 0 {
			fmt.Fprintf(w, "  root since %s\n", time.UnixMilli(r.RootSince).UTC().Format(time.RFC3339))
		}
		if len(c.Profiles) > 0 {
			fmt.Fprintf(w, "  of the profiles %s\n", printable(strings.Join(c.Profiles, ", ")))
		}
		for k := range c.Nodes {
			printNode(w, &c.Nodes[k])
		}
	}
	if r.More > 0 {
		fmt.Fprintf(w, "\nand %d nodes more\n", r.More)
	}
}

func printNode(w io.Writer, n *ruling.Node) {
	typ := n.Type[strings.LastIndexByte(n.Type, '.')+1:]
	fmt.Fprintf(w, "  %-28s %-30s in %d", printable(n.Name), printable(typ), n.In)
	relations := make([]string, 0, len(n.Out))
	for relation, taken := range n.Out {
		if taken > 0 { // a switch has many
			relations = append(relations, relation)
		}
	}
	sort.Strings(relations)
	for _, relation := range relations {
		fmt.Fprintf(w, ", %s %d", printable(relation), n.Out[relation])
	}
	if n.Ended > 0 {
		fmt.Fprintf(w, ", ended %d", n.Ended)
	}
	if n.Failed > 0 {
		fmt.Fprintf(w, ", failed %d", n.Failed)
	}
	if n.Waiting > 0 {
		fmt.Fprintf(w, ", %d waiting", n.Waiting)
	}
	fmt.Fprintln(w)
	if !n.Supported {
		fmt.Fprintf(w, "    not executed: %s; %s\n", printable(n.Reason), n.Instead)
	}
	if n.LastError != "" {
		fmt.Fprintf(w, "    last error, %s: %s\n", time.UnixMilli(n.LastAt).UTC().Format(time.RFC3339), printable(n.LastError))
	}
}
