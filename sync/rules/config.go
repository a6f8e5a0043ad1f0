package rules

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"edgesync/proto"
	"edgesync/sync/rules/script"
)

// config reads the configuration of a node. The first thing that is wrong in it is err; a node
// with an error is not executed (RULES.md 3.6, 7.2).
type config struct {
	_   uncompared
	t   *tree
	err error
	in  *config // this is a part of it, and so is its error
}

//go:noinline
func (c *config) bad(key, what string) {
	for c.in != nil {
		c = c.in
	}
	if c.err == nil {
		c.err = errorText(`configuration: "` + key + `" ` + what)
	}
}

// part is the configuration of a part of the node.
//
//go:noinline
func (c *config) part(t *tree) *config { return &config{t: t, in: c} }

// Types of fields that are read in a way of their own.
type (
	scope   string // of attributes; SERVER_SCOPE where it is missing
	seconds int64  // in ms, from 1 s to a year
)

// fill reads the fields of work. Their tags have the key and, behind a blank, what a number is
// where it is missing, or the text that a bool is asked for, with ! the text that it is not. A
// table of this kind is data, where a call for each field is code.
func (c *config) fill(v reflect.Value) {
	for i := range v.NumField() {
		tag, known := v.Type().Field(i).Tag.Lookup("conf")
		if !known {
			continue
		}
		key, word, _ := strings.Cut(tag, " ")
		otherwise, _ := strconv.ParseInt(word, 10, 64)
		f := v.Field(i)
		if f.Kind() == reflect.Struct {
			part := c
			if key != "" {
				part = c.part(c.t.get(key))
			}
			part.fill(f)
			continue
		}
		switch to := f.Addr().Interface().(type) {
		case *string:
			*to = c.text(key)
		case *bool:
			if text := strings.TrimPrefix(word, "!"); text == "" {
				*to = c.flag(key)
			} else {
				*to = (c.text(key) == text) == (text == word)
			}
		case *int64:
			*to = c.whole(key, otherwise)
		case *int:
			*to = c.size(key, otherwise)
		case *[]string:
			*to = c.list(key)
		case *map[string]bool:
			*to = setOf(c.list(key))
		case *[]script.Pair:
			*to = c.pairs(key)
		case *proto.UUID:
			*to = c.id(key)
		case *scope:
			*to = c.scope(key)
		case *seconds:
			*to = seconds(c.seconds(key, maxPeriod))
		case *time.Duration:
			*to = c.unit(key)
		case **script.Program:
			*to = c.program(key, word, script.Arguments)
		case **query:
			*to = c.query(key)
		case *matcher:
			*to = c.matcher(key)
		}
	}
}

// text is a text; "" where it is missing or null.
func (c *config) text(key string) string {
	v := c.t.get(key)
	switch {
	case v.null():
		return ""
	case v.kind >= isList:
		c.bad(key, "must be a text")
		return ""
	}
	return v.plain()
}

// flag is a boolean, also one that is written as text.
func (c *config) flag(key string) bool {
	v := c.t.get(key)
	return v != nil && (v.kind == isTrue || v.kind == isText && is(v.text, "true"))
}

// whole is a whole number; otherwise where it is missing or null.
func (c *config) whole(key string, otherwise int64) int64 {
	v := c.t.get(key)
	if v.null() {
		return otherwise
	}
	f, ok := v.number()
	if !ok || f > 1e15 || f < -1e15 {
		c.bad(key, "must be a number")
		return otherwise
	}
	return int64(f)
}

// size is a whole number that fits in an int of 32 bits.
func (c *config) size(key string, otherwise int64) int {
	return int(min(max(c.whole(key, otherwise), -1), 1<<30))
}

// list is a list of texts, without those that are no texts.
func (c *config) list(key string) (texts []string) {
	v := c.t.get(key)
	if v.null() {
		return nil
	}
	if v.kind != isList {
		c.bad(key, "must be a list")
		return nil
	}
	for _, item := range v.items {
		if item.kind == isText {
			texts = addString(texts, item.text)
		}
	}
	return texts
}

// pairs are the members of an object of texts.
func (c *config) pairs(key string) (pairs []script.Pair) {
	v := c.t.get(key)
	if v.null() {
		return nil
	}
	if v.kind != isObject {
		c.bad(key, "must be an object")
		return nil
	}
	for i, k := range v.keys {
		pairs = addPair(pairs, k, v.items[i].plain())
	}
	return pairs
}

func (c *config) id(key string) (id proto.UUID) {
	text := c.text(key)
	if text == "" {
		return id
	}
	id, ok := proto.ParseUUID(text)
	if !ok {
		c.bad(key, "must be an id")
	}
	return id
}

// seconds is a time in seconds between 1 and most, in ms.
func (c *config) seconds(key string, most int64) int64 {
	n := c.whole(key, 0)
	if n < 1 || n > most {
		c.bad(key, "must be between 1 and "+decimal(most)+" seconds")
		return 1000
	}
	return n * 1000
}

// matcher is a list of regular expressions, each for the whole key.
type matcher func(key string) bool

// keyPattern is what a key must be, and, unless it is nil, what the key must not begin with.
type keyPattern struct{ is, not *regexp.Regexp }

// matcher reads one. Java's (?!…) at the beginning, for all keys but some, is an expression of its
// own: Go's have none.
func (c *config) matcher(key string) matcher {
	compile := func(text string) *regexp.Regexp {
		re, err := regexp.Compile("^(?:" + text)
		if err != nil {
			c.bad(key, "has a regular expression that is not supported: "+err.Error())
		}
		return re
	}
	var all []keyPattern
	plain, size := "", 0
	for _, text := range c.list(key) {
		not, rest, but := cutNot(text)
		if size += 5 + len(text); but {
			size += 500 // what two machines take
		}
		switch {
		case size > 10_000:
			c.bad(key, "is longer than 10000 bytes")
			return nil
		case but:
			all = append(all, keyPattern{compile(rest + ")$"), compile(not + ")")})
		default:
			plain += "|(?:" + text + ")"
		}
	}
	if plain != "" {
		all = append(all, keyPattern{is: compile(plain[1:] + ")$")})
	}
	return func(key string) bool {
		for _, p := range all {
			if p.is.MatchString(key) && (p.not == nil || !p.not.MatchString(key)) {
				return true
			}
		}
		return false
	}
}

// cutNot cuts the (?!…) off with which an expression begins; ok is false if there is none.
func cutNot(text string) (not, rest string, ok bool) {
	text, ok = strings.CutPrefix(strings.TrimPrefix(text, "^"), "(?!")
	open := 1
	for i := 0; ok && i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '(':
			open++
		case ')':
			if open--; open == 0 {
				return text[:i], text[i+1:], true
			}
		}
	}
	return "", "", false
}

// program compiles the script of a node: the field is tbel or js, by scriptLang (RULES.md 5.1).
func (c *config) program(tbel, js string, names script.Names) *script.Program {
	lang, field := script.JavaScript, js
	if strings.EqualFold(c.text("scriptLang"), "TBEL") {
		lang, field = script.TBEL, tbel
	}
	p, err := script.Compile(lang, c.text(field), names)
	if err != nil {
		c.bad(field, "does not compile: "+err.Error())
	}
	return p
}

// scope is a scope of attributes, as a word that servers know.
func (c *config) scope(key string) scope {
	s := c.text(key)
	if s == "" {
		return "SERVER_SCOPE"
	}
	if !knownScope(s) {
		c.bad(key, "names no scope: "+s)
	}
	return scope(s)
}

//go:noinline
func knownScope(s string) bool {
	return s == "CLIENT_SCOPE" || s == "SHARED_SCOPE" || s == "SERVER_SCOPE"
}

// units are units of time as Java names them, in ms.
var units = table{"", "60000", "MINUTES", "60000", "MILLISECONDS", "1", "SECONDS", "1000", "HOURS", "3600000", "DAYS", "86400000"}

func (c *config) unit(key string) time.Duration {
	ms, err := strconv.Atoi(units.find(c.text(key)))
	if err != nil {
		c.bad(key, "names no unit of time")
	}
	return time.Duration(ms) * time.Millisecond
}
