package cli

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"edgesync/sync/rules"
)

const rulesHelp = `Usage:
  edgesync rules [--json]
                     show what the rule chains of the running agent do: for each
                     node what came and what became of it, what waits, failed
                     last, or is not executed, and what is done instead
  edgesync rules try EDGE STEPS [--on-failure=push|drop]
                     run the chains of a file on messages from another one, and
                     print what comes out. drop: exactly as a ThingsBoard Edge
                     does, where a message ends at a node that fails or is not
                     executed; push, the default: what would be lost is pushed
  edgesync rules eval FILE [--lang=TBEL|JS]
                     run scripts, one JSON object a line, and print what each
                     gives

try and eval work without an agent and without a cloud. EDGE is a rule chain as
ThingsBoard's user interface exports it, or {"world":{"entities":[…],
"attributes":{…},"latest":{…},"deviceProfiles":{…}},"downlinks":[…]} with chains
as a server sends them. A line of STEPS is, with any UUID for the device,
{"at":ms,"in":{"msgType":"POST_TELEMETRY_REQUEST","originator":{"entityType":
"DEVICE","id":"bc0f55fc-d999-5b11-8e60-6c4bedc035ef"},"metadata":{"deviceName":
"a"},"data":{"t":21.5}}}, or {"at":ms,"in":null} to let time pass, or
{"at":ms,"rpcAnswer":{"device","response"}}. For each the output has an object
of lists: cloud, saved, attributes, device, failed, unsupported, dropped.

A line of FILE is {"n":1,"script":"return msg.t > 20;","msg":{"t":21.5},
"metadata":{"deviceName":"a"},"msgType":"POST_TELEMETRY_REQUEST"}; n is printed
again, "scriptLang" may be TBEL or JS, "args" may hold other names for msg,
metadata and msgType. The language is else that of --lang, else JS for a FILE
whose name has js in front of its extension, else TBEL. The output has
{"n":1,"json":"true","type":"bool"}, or {"n":1,"error":"…"}. Scripts run as in a
chain, with the zone UTC.

STEPS and FILE may be - for standard input. Exit code 1: a line or a chain
cannot be read; errors of scripts and nodes are results.

Example:
  edgesync rules try chain.json steps.jsonl --on-failure=drop
`

const (
	// maxEdge bounds the file of an edge, in bytes.
	maxEdge = 8 << 20
	// maxLine bounds a line of a file of steps or scripts, in bytes.
	maxLine = 1 << 20
)

// rules is the command rules try or rules eval.
func (p *program) rules(args []string) int {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") && args[0] != "-h" && args[0] != "-help" && args[0] != "--help" {
		return p.rulesCommand(args)
	}
	name, code, done := p.subcommand("rules", args)
	if done {
		return code
	}
	fs := flag.NewFlagSet("rules "+name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	own, first, second, takes, number := "on-failure", "push", "drop", "two files, EDGE and STEPS", 2
	if name == "eval" {
		own, first, second, takes, number = "lang", "TBEL", "JS", "one file", 1
	}
	word := fs.String(own, "", "")
	limitMemory(p.env)
	switch what, err := parse(fs, args[1:], []string{own}, number); {
	case err != nil:
		return p.help("rules")
	case what != "":
		return p.usage("rules", what)
	case fs.NArg() != number:
		return p.usage("rules", "edgesync rules "+name+" takes "+takes)
	case *word != "" && !strings.EqualFold(*word, first) && !strings.EqualFold(*word, second):
		return p.usage("rules", "--"+own+" is "+first+" or "+second)
	}
	w := bufio.NewWriter(p.stdout)
	var err error
	if chosen := strings.EqualFold(*word, second); name == "try" {
		err = p.tryFile(w, fs.Arg(0), fs.Arg(1), chosen)
	} else {
		err = evalFile(w, fs.Arg(0), chosen || *word == "" && namesJS(fs.Arg(0)))
	}
	if err = errors.Join(err, w.Flush()); err != nil {
		return p.fail(err)
	}
	return exitOK
}

// tryFile runs the steps of a file against the chains of another one. Nodes that are not executed
// are named first; a chain that is refused is an error when all steps have run.
func (p *program) tryFile(w *bufio.Writer, edge, steps string, drop bool) error {
	f, err := os.Open(edge)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxEdge+1))
	if err != nil {
		return err
	}
	if len(text) > maxEdge {
		return fmt.Errorf("%s has more than %d bytes: leave out what the steps do not need", strconv.Quote(edge), maxEdge)
	}
	t, refused := rules.NewTrial(text, rules.Options{Drop: drop, Likeness: drop})
	if refused != nil {
		refused = fmt.Errorf("%s: %w", strconv.Quote(edge), refused)
	}
	if t == nil {
		return refused
	}
	tellChains(p.stderr, "edgesync: ", t)
	err = eachLine(steps, func(_ int, line []byte) error {
		out, err := t.Step(line)
		if err != nil {
			return err
		}
		w.Write(out)
		return w.WriteByte('\n')
	})
	return errors.Join(refused, err)
}

// tellChains says what surprises in the chains of a trial, a line each: nodes that are not
// executed, and facts.
func tellChains(w io.Writer, before string, t *rules.Trial) {
	for _, c := range t.Report() {
		for _, n := range c.Nodes {
			if n.Reason != "" {
				fmt.Fprintf(w, "%srule chain %q: node %q is not executed: %s\n", before, c.Name, n.Name, n.Reason)
			}
		}
		for _, f := range c.Facts() {
			fmt.Fprintf(w, "%srule chain %q: %s\n", before, c.Name, f)
		}
	}
}

// eachLine calls do with each line of a file that is not blank, and its number, until there is an
// error; name may be - for standard input. An error says in which line it was.
func eachLine(name string, do func(n int, line []byte) error) error {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	scan := bufio.NewScanner(in)
	scan.Buffer(nil, maxLine)
	n := 0
	for scan.Scan() {
		n++
		line := bytes.TrimSpace(scan.Bytes())
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(line) == 0 {
			continue
		}
		if err := do(n, line); err != nil {
			return inLine(name, n, err)
		}
	}
	if errors.Is(scan.Err(), bufio.ErrTooLong) {
		return inLine(name, n+1, fmt.Errorf("more than %d bytes", maxLine-1))
	}
	return scan.Err()
}

// inLine is an error in a line of a file.
func inLine(name string, n int, err error) error {
	return fmt.Errorf("%s, line %d: %w", strconv.Quote(name), n, err)
}
