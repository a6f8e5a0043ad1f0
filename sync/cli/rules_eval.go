package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"

	"edgesync/proto"
	"edgesync/sync/rules/script"
)

// namesJS reports whether a file's name has js in front of its extension, as a word.
func namesJS(name string) bool {
	name = filepath.Base(name)
	for _, word := range strings.FieldsFunc(strings.TrimSuffix(name, filepath.Ext(name)), func(c rune) bool {
		return strings.ContainsRune(" ._-", c)
	}) {
		if strings.EqualFold(word, "js") {
			return true
		}
	}
	return false
}

// evalFile runs the scripts of a file. The error is that of the first line that cannot be read;
// the lines behind it run all the same, unless it is too long.
func evalFile(w *bufio.Writer, name string, js bool) error {
	var first error
	err := eachLine(name, func(n int, line []byte) error {
		out, err := evalLine(n, line, js)
		if err != nil {
			out = append(strconv.AppendInt([]byte(`{"line":`), int64(n), 10), `,"error":`...)
			out = append(proto.AppendJSONString(out, err.Error()), '}')
			if first == nil {
				first = inLine(name, n, err)
			}
		}
		w.Write(out)
		return w.WriteByte('\n')
	})
	return errors.Join(first, err)
}

// evalLine runs the script of line n of a file, and says what came of it. The error is one of the
// line, not of its script.
func evalLine(n int, line []byte, js bool) ([]byte, error) {
	var source, lang *string
	var msgType, msg string
	var names []string
	var metadata []script.Pair
	id := strconv.Itoa(n)
	err := members(line, func(key string, raw json.RawMessage) (err error) {
		switch key {
		case "n":
			id = string(raw)
		case "script":
			err = json.Unmarshal(raw, &source)
		case "scriptLang":
			err = json.Unmarshal(raw, &lang)
		case "args":
			err = json.Unmarshal(raw, &names)
		case "msg":
			msg = string(raw)
		case "msgType":
			err = json.Unmarshal(raw, &msgType)
		case "metadata":
			err = members(raw, func(key string, raw json.RawMessage) error {
				text := string(raw)
				if raw[0] == '"' {
					_ = json.Unmarshal(raw, &text)
				}
				if string(raw) != "null" {
					metadata = append(metadata, script.Pair{Key: key, Value: text})
				}
				return nil
			})
		}
		if err != nil {
			err = errors.New(strconv.Quote(key) + " has the wrong type")
		}
		return err
	})
	if err == nil && source == nil {
		err = errors.New(`"script" is missing`)
	}
	if err != nil {
		return nil, err
	}
	if lang != nil && *lang != "" {
		if js = strings.EqualFold(*lang, "JS"); !js && !strings.EqualFold(*lang, "TBEL") {
			return nil, errors.New(`"scriptLang" is TBEL or JS`)
		}
	}
	language, args := script.TBEL, script.Arguments
	if js {
		language = script.JavaScript
	}
	if len(names) == 3 {
		args = script.Names{Msg: names[0], Metadata: names[1], MsgType: names[2]}
	}
	text, kind, err := evaluate(language, *source, args, msg, metadata, msgType)
	out := append(append([]byte(`{"n":`), id...), ',')
	if err != nil {
		return append(proto.AppendJSONString(append(out, `"error":`...), err.Error()), '}'), nil
	}
	out = proto.AppendJSONString(append(out, `"json":`...), text)
	return append(proto.AppendJSONString(append(out, `,"type":`...), kind), '}'), nil
}

// members calls do with each member of a JSON object, in its order.
func members(object []byte, do func(key string, raw json.RawMessage) error) error {
	if !json.Valid(object) {
		return errors.New("no JSON")
	}
	d := json.NewDecoder(bytes.NewReader(object))
	if t, _ := d.Token(); t == nil {
		return nil
	} else if t != json.Delim('{') {
		return errors.New("no JSON object")
	}
	for d.More() {
		t, err := d.Token()
		key, _ := t.(string)
		var raw json.RawMessage
		if err == nil {
			err = d.Decode(&raw)
		}
		if err == nil {
			err = do(key, raw)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// evaluate compiles and runs one script, and returns its result as JSON and the result's type.
func evaluate(lang script.Language, source string, names script.Names, msg string, metadata []script.Pair, msgType string,
) (text, kind string, err error) {
	p, err := script.Compile(lang, source, names)
	if err != nil {
		return "", "", err
	}
	if msg == "" {
		msg = "null"
	}
	var doc script.Doc
	if err := doc.Parse(msg); err != nil {
		return "", "", err
	}
	v, err := p.Run(script.Env{Random: rand.Float64}, script.Args{Msg: &doc, Metadata: metadata, MsgType: msgType})
	if err != nil {
		return "", "", err
	}
	kind = v.Kind().String()
	if lang == script.JavaScript {
		switch v.Kind() {
		case script.Unset:
			return "undefined", "undefined", nil
		case script.Double:
			kind = "number"
		}
	}
	b, err := lang.AppendJSON(nil, v, script.AsScript)
	return string(b), kind, err
}
