package uci

import (
	"fmt"
	"strconv"
)

// MaxBytes bounds a file, in bytes. A router's largest have some ten KiB.
const MaxBytes = 256 << 10

// MaxOptions bounds the options of a section.
const MaxOptions = 1024

// Section is a section of a file: its options in the order in which each came first.
type Section struct {
	Type    string
	Name    string // "" = it has none; others call it @TYPE[n]
	Line    int    // where it begins, counted from 1
	Options []Option
}

// Option is an option of a section, with the values that count.
type Option struct {
	Name   string
	Values []string // one, or those of a list
	List   bool     // it was written, or continued, with "list"
	Line   int      // of what counts last
}

// Error is the first thing that is wrong with a file. Its text repeats nothing of the file, which
// may hold a secret.
type Error struct {
	Line int // counted from 1
	Text string
}

// Error is the line and what is wrong there.
func (e *Error) Error() string { return "line " + strconv.Itoa(e.Line) + ": " + e.Text }

// Parse reads a file. The notices name lines with something that uci ignores and nobody wants
// ignored. An error is an *Error, and nothing else is returned then. The result holds copies of at
// most len(data) bytes of text.
func Parse(data []byte) (sections []*Section, notices []string, err error) {
	if len(data) > MaxBytes {
		return nil, nil, &Error{1, fmt.Sprintf("the file is larger than %d bytes", MaxBytes)}
	}
	r := reader{words: words{data: data, line: 1}}
	for {
		command, line, err := r.words.command()
		if err != nil {
			return nil, nil, err
		}
		if command == nil {
			break
		}
		if err := r.take(command, line); err != nil {
			return nil, nil, err
		}
	}
	for _, s := range r.sections {
		s.prune()
	}
	return r.sections, r.words.notices, nil
}

// Option is the option of a name; nil if it is not set.
func (s *Section) Option(name string) *Option {
	for i := range s.Options {
		if s.Options[i].Name == name {
			return &s.Options[i]
		}
	}
	return nil
}

// prune takes out the options that an empty value has unset. An empty item of a list stays.
func (s *Section) prune() {
	kept := s.Options[:0]
	for _, o := range s.Options {
		if len(o.Values) > 0 {
			kept = append(kept, o)
		}
	}
	s.Options = kept
}

// reader makes sections out of commands.
type reader struct {
	words    words
	sections []*Section
	named    map[string]*Section
	section  *Section // that the options belong to
}

// take does what a command says.
func (r *reader) take(command []string, line int) error {
	wrong := func(text string) error { return &Error{line, text} }
	args := command[1:]
	switch command[0] {
	case "package":
		if len(args) != 1 {
			return wrong("package takes one name")
		}
		return nil
	case "config":
		switch {
		case len(args) == 0:
			return wrong("config takes a type, and may take a name")
		case len(args) > 2:
			return wrong("config takes a type and a name, and no more")
		case !isName(args[0], true):
			return wrong("the type of a section holds letters, digits, _ and - only")
		}
		return r.begin(args, line)
	case "option", "list":
		switch {
		case r.section == nil:
			return wrong(command[0] + " stands before the first section")
		case len(args) == 0:
			return wrong(command[0] + " takes a name and a value")
		case len(args) > 2:
			return wrong(command[0] + " takes one value; one with blanks stands in quotes")
		case !isName(args[0], false):
			return wrong("the name of an option holds letters, digits and _ only")
		}
		return r.set(command[0] == "list", args, line)
	}
	return wrong("a line begins with config, option or list")
}

// begin begins a section, or continues the one of this name.
func (r *reader) begin(args []string, line int) error {
	name := ""
	if len(args) == 2 {
		name = args[1]
	}
	if name != "" {
		if !isName(name, false) {
			return &Error{line, "the name of a section holds letters, digits and _ only"}
		}
		if s := r.named[name]; s != nil {
			s.Type, r.section = args[0], s
			return nil
		}
	}
	r.section = &Section{Type: args[0], Name: name, Line: line}
	r.sections = append(r.sections, r.section)
	if name != "" {
		if r.named == nil {
			r.named = make(map[string]*Section)
		}
		r.named[name] = r.section
	}
	return nil
}

// set sets an option of the section, or appends to it.
func (r *reader) set(list bool, args []string, line int) error {
	value := ""
	if len(args) == 2 {
		value = args[1]
	}
	o := r.section.Option(args[0])
	if o == nil {
		if len(r.section.Options) == MaxOptions {
			return &Error{line, fmt.Sprintf("a section holds at most %d options", MaxOptions)}
		}
		r.section.Options = append(r.section.Options, Option{Name: args[0]})
		o = &r.section.Options[len(r.section.Options)-1]
	}
	o.Line = line
	switch {
	case list:
		o.Values, o.List = append(o.Values, value), true
	case value == "":
		o.Values, o.List = nil, false
	default:
		o.Values, o.List = []string{value}, false
	}
	return nil
}

// isName reports whether a word may be a name; types may hold a hyphen.
func isName(s string, hyphen bool) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || hyphen && c == '-') {
			return false
		}
	}
	return s != ""
}

// Bool reads a truth in uci's words; false for ok if it is none.
func Bool(text string) (value, ok bool) {
	switch text {
	case "1", "on", "true", "yes", "enabled":
		return true, true
	case "0", "off", "false", "no", "disabled":
		return false, true
	}
	return false, false
}
