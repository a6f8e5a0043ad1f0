// Command rules tries rule chains and their scripts, without an agent and without a cloud.
//
// It is a program of its own: with the engines of chains and scripts (sync/rules) the agent's
// file would be larger than its bound (make cross).
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"edgesync/sync/rules"
	"edgesync/sync/rules/script"
)

const usage = `Usage:
  rules [-on-failure drop] try EDGE STEPS
                               run the chains of a file on messages from another one, and print what
                               comes out
                               -on-failure drop: exactly as a real edge does, so that a message
                               ends where a node fails or is not executed; otherwise what would be
                               lost is pushed
  rules [-lang JS] eval FILE   run scripts, one JSON object a line, and print what each gives; FILE
                               may be - for standard input
                               -lang JS: scripts are JavaScript unless a line says otherwise

EDGE is {"world":{"entities":[…],"attributes":{…},"latest":{…},"deviceProfiles":{…}},"downlinks":[…]},
with chains as a server sends them. A line of STEPS is {"at":ms,"in":{"msgType","originator",
"metadata","data"}}, {"at":ms,"in":null} to let time pass, or {"at":ms,"rpcAnswer":{"device","response"}}.
A line of the output has, of the step, the lists cloud, saved, attributes, device, failed, unsupported
and dropped, and answered if a call of the cloud was answered.

A line of FILE:
  {"n":1,"script":"return msg.t > 20;","msg":{"t":21.5},"metadata":{"deviceName":"th-1"},
   "msgType":"POST_TELEMETRY_REQUEST"}
n is any number or text and is printed again. scriptLang is TBEL (also where nothing says otherwise)
or JS; a FILE whose name begins with js is JavaScript. args are other names for msg, metadata and
msgType, in this order.

A line of the output:
  {"n":1,"json":"true","type":"bool"}          the result as JSON text, and its type: int, long,
                                               float, double, string, char, bool, list, map, null
  {"n":2,"error":"script failed: …","stage":"run"}
                                               stage is compile, run or limit

Scripts run as in a rule chain: 100,000 steps, 1 MiB of values, 64 calls deep; the zone is UTC. What
is not supported is an error that says so. A line is at most 1 MiB. Exit code 1: a line is no JSON
or too long; errors of scripts are results.
`

// maxScriptLine bounds one line of a file of scripts, in bytes.
const maxScriptLine = 1 << 20

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	f := flag.NewFlagSet("rules", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() { fmt.Fprint(stderr, usage) }
	lang := f.String("lang", "", "")
	failure := f.String("on-failure", "push", "")
	if err := f.Parse(args); err != nil {
		return 2
	}
	if f.NArg() > 0 && f.Arg(0) == "try" {
		var names []string // the flag may stand between and behind them
		for rest := f.Args()[1:]; len(rest) > 0; {
			if err := f.Parse(rest); err != nil {
				return 2
			}
			if rest = f.Args(); len(rest) > 0 {
				names, rest = append(names, rest[0]), rest[1:]
			}
		}
		if len(names) != 2 || *failure != "push" && *failure != "drop" {
			f.Usage()
			return 2
		}
		if err := tryFiles(stdout, names[0], names[1], *failure == "drop"); err != nil {
			fmt.Fprintln(stderr, "rules:", err)
			return 1
		}
		return 0
	}
	l := strings.ToUpper(*lang)
	if f.NArg() != 2 || f.Arg(0) != "eval" || l != "" && l != "TBEL" && l != "JS" {
		f.Usage()
		return 2
	}
	if err := evalFile(stdout, f.Arg(1), l); err != nil {
		fmt.Fprintln(stderr, "rules:", err)
		return 1
	}
	return 0
}

// tryFiles runs the steps of a file against the chains of another one.
func tryFiles(w io.Writer, edge, steps string, likeness bool) error {
	text, err := os.ReadFile(edge)
	if err != nil {
		return err
	}
	in, err := os.Open(steps)
	if err != nil {
		return err
	}
	defer in.Close()
	out := bufio.NewWriter(w)
	err = rules.Try(text, in, out, rules.Options{Drop: likeness, Likeness: likeness})
	return errors.Join(err, out.Flush())
}

// evalFile runs the scripts of a file. The error says which line could not be read; the lines
// before it and behind it are evaluated all the same, unless it was too long.
func evalFile(w io.Writer, name, lang string) error {
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
		if lang == "" && strings.HasPrefix(strings.ToLower(filepath.Base(name)), "js") {
			lang = "JS"
		}
	}
	out := bufio.NewWriterSize(w, 64<<10)
	defer out.Flush()
	scan := bufio.NewScanner(in)
	scan.Buffer(make([]byte, 0, 64<<10), maxScriptLine)
	var first error
	n := 0
	for scan.Scan() {
		n++
		if len(bytes.TrimSpace(scan.Bytes())) == 0 {
			continue
		}
		line, err := evalLine(scan.Bytes(), lang)
		if err != nil {
			line, _ = json.Marshal(map[string]any{"line": n, "error": err.Error()})
			if first == nil {
				first = fmt.Errorf("line %d of %s: %w", n, strconv.Quote(name), err)
			}
		}
		out.Write(onlyASCII(line))
		out.WriteByte('\n')
	}
	if err := scan.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("line %d of %s is longer than %d bytes: shorten it", n+1, strconv.Quote(name), maxScriptLine)
	} else if err != nil {
		return err
	}
	return first
}

// scriptLine is one line of a file of scripts.
type scriptLine struct {
	N          json.RawMessage `json:"n"`
	Script     *string         `json:"script"`
	ScriptLang string          `json:"scriptLang"`
	Args       []string        `json:"args"`
	Msg        json.RawMessage `json:"msg"`
	Metadata   json.RawMessage `json:"metadata"`
	MsgType    string          `json:"msgType"`
}

// outcome is one line of the output.
type outcome struct {
	N     json.RawMessage `json:"n"`
	JSON  *string         `json:"json,omitempty"`
	Type  string          `json:"type,omitempty"`
	Error string          `json:"error,omitempty"`
	Stage string          `json:"stage,omitempty"`
}

// evalLine runs the script of one line. An error is one of the line, not of its script.
func evalLine(raw []byte, lang string) ([]byte, error) {
	var l scriptLine
	if err := json.Unmarshal(raw, &l); err != nil {
		return nil, fmt.Errorf("no JSON of a script: %w", err)
	}
	if l.Script == nil {
		return nil, errors.New(`"script" is missing`)
	}
	metadata, err := textMembers(l.Metadata)
	if err != nil {
		return nil, fmt.Errorf(`"metadata": %w`, err)
	}
	language := script.TBEL
	if l.ScriptLang != "" {
		lang = strings.ToUpper(l.ScriptLang)
	}
	if lang == "JS" {
		language = script.JavaScript
	}
	names := script.Arguments
	if len(l.Args) == 3 {
		names = script.Names{Msg: l.Args[0], Metadata: l.Args[1], MsgType: l.Args[2]}
	}
	o := outcome{N: l.N}
	text, kind, stage, err := evalScript(language, *l.Script, names, string(l.Msg), metadata, l.MsgType)
	if err != nil {
		o.Error, o.Stage = err.Error(), stage
	} else {
		o.JSON, o.Type = &text, kind
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(o); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// evalScript compiles and runs one script. stage is where an error came from.
func evalScript(lang script.Language, source string, names script.Names, msg string, metadata []script.Pair, msgType string,
) (text, kind, stage string, err error) {
	p, err := script.Compile(lang, source, names)
	if err != nil {
		return "", "", "compile", err
	}
	if msg == "" {
		msg = "null"
	}
	var doc script.Doc
	if err := doc.Parse(msg); err != nil {
		return "", "", stageOf(err), err
	}
	v, err := p.Run(script.Env{Random: rand.Float64}, script.Args{Msg: &doc, Metadata: metadata, MsgType: msgType})
	if err != nil {
		return "", "", stageOf(err), err
	}
	if lang == script.JavaScript && v.Kind() == script.Unset {
		return "undefined", "undefined", "", nil
	}
	b, err := lang.AppendJSON(nil, v, script.AsScript)
	if err != nil {
		return "", "", stageOf(err), err
	}
	kind = v.Kind().String()
	if lang == script.JavaScript && v.Kind() == script.Double {
		kind = "number"
	}
	return string(b), kind, "", nil
}

func stageOf(err error) string {
	if errors.Is(err, &script.Error{Reason: script.Limit}) {
		return "limit"
	}
	return "run"
}

// textMembers are the members of a JSON object in their order. Texts keep their text, everything
// else its JSON; null is left out.
func textMembers(raw json.RawMessage) (list []script.Pair, err error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("no JSON object")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, _ := t.(string)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		text := string(value)
		if value[0] == '"' {
			if err := json.Unmarshal(value, &text); err != nil {
				return nil, err
			}
		}
		if string(value) != "null" {
			list = append(list, script.Pair{Key: key, Value: text})
		}
	}
	return list, nil
}

// onlyASCII escapes every other character of a JSON text, which keeps its meaning: nothing of
// what scripts give reaches a terminal as it is.
func onlyASCII(line []byte) []byte {
	out := make([]byte, 0, len(line))
	for i := 0; i < len(line); {
		if line[i] < utf8.RuneSelf {
			out = append(out, line[i])
			i++
			continue
		}
		c, n := utf8.DecodeRune(line[i:])
		i += n
		for _, u := range utf16.AppendRune(nil, c) {
			out = fmt.Appendf(out, "\\u%04x", u)
		}
	}
	return out
}
