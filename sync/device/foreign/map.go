package foreign

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of the maps, which hold them in memory for the life of the process.
const (
	MaxMaps   = 64  // maps of a configuration
	MaxFilter = 256 // bytes of a filter
	MaxText   = 255 // bytes of each other text: no name and no key may be longer (API.md 1.4)

	maxWildcards = 9 // of one filter: a template names them by one digit
)

// The values of Map.As.
const (
	Telemetry  = "telemetry"
	Attributes = "attributes"
	Ignore     = "ignore"
)

// Map says what becomes of the messages of some topics. Device, Key and Prefix are templates: $1
// stands for what the first wildcard of the filter has matched, $2 for the second, $$ for a dollar.
type Map struct {
	Filter  string // of topics: + is one level, # at the end one or more
	Device  string // the name of the device
	Type    string // the profile of a device that is made; "" is the default one
	As      string // Telemetry, Attributes (of the client scope) or Ignore
	Key     string // of a payload that is no object; "" is the last level of the topic
	Prefix  string // in front of each key
	Flatten bool   // the members of an object in an object become keys of their own
}

// KeyError is what is wrong with one key of a map.
type KeyError struct {
	Key string // "filter", "device", …
	Err error
}

// Error implements error.
func (e *KeyError) Error() string { return e.Key + " " + e.Err.Error() }

// Unwrap returns the error without the key.
func (e *KeyError) Unwrap() error { return e.Err }

// Check returns the first thing that is wrong with the map, a *KeyError, or nil.
func (m *Map) Check() error {
	wildcards, err := checkFilter(m.Filter)
	if err != nil {
		return &KeyError{"filter", err}
	}
	switch m.As {
	case Telemetry, Attributes:
		if m.Device == "" {
			return &KeyError{"device", errors.New(
				`is missing: the number of the wildcard that stands for the device's name, as 1, or a name, as "plug $1"`)}
		}
	case Ignore:
		for _, t := range m.texts() {
			if *t.text != "" {
				return &KeyError{t.key, errors.New(`means nothing with as = "ignore"`)}
			}
		}
		if m.Flatten {
			return &KeyError{"flatten", errors.New(`means nothing with as = "ignore"`)}
		}
	default:
		return &KeyError{"as", fmt.Errorf("must be one of: %s, %s, %s", Telemetry, Attributes, Ignore)}
	}
	for _, t := range m.texts() {
		err := checkText(*t.text, MaxText)
		if err == nil && t.key != "type" {
			err = checkTemplate(*t.text, wildcards)
		}
		if err != nil {
			return &KeyError{t.key, err}
		}
	}
	return nil
}

type text struct {
	key  string
	text *string
}

// texts are the texts of the map beside the filter and As.
func (m *Map) texts() [4]text {
	return [4]text{{"device", &m.Device}, {"type", &m.Type}, {"key", &m.Key}, {"prefix", &m.Prefix}}
}

func checkText(s string, most int) error {
	switch {
	case len(s) > most:
		return fmt.Errorf("must be at most %d bytes long", most)
	case !utf8.ValidString(s):
		return errors.New("must be UTF-8")
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("must not contain line breaks or other control characters")
	}
	return nil
}

// checkFilter returns how many wildcards the filter has.
func checkFilter(filter string) (wildcards int, err error) {
	if filter == "" {
		return 0, errors.New(`is missing: a topic with + for one level and # for all that follow, as "tele/+/SENSOR"`)
	}
	if err := checkText(filter, MaxFilter); err != nil {
		return 0, err
	}
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		switch {
		case level == "#" && i < len(levels)-1:
			return 0, errors.New("must have # as its last level only")
		case level == "+" || level == "#":
			wildcards++
		case strings.ContainsAny(level, "+#"):
			return 0, errors.New("must have + and # as whole levels only, between slashes")
		}
	}
	if wildcards > maxWildcards {
		return 0, fmt.Errorf("must have at most %d wildcards", maxWildcards)
	}
	return wildcards, nil
}

// checkTemplate is the error about a dollar that stands for nothing.
func checkTemplate(s string, wildcards int) error {
	for i := strings.IndexByte(s, '$'); i >= 0 && i < len(s); i++ {
		if s[i] != '$' {
			continue
		}
		i++
		switch {
		case i < len(s) && s[i] == '$':
		case i < len(s) && '1' <= s[i] && s[i] <= '9':
			if n := int(s[i] - '0'); n > wildcards {
				return fmt.Errorf("names wildcard %d, and the filter has %d", n, wildcards)
			}
		default:
			return errors.New("must have a number from 1 to 9 behind each $, or another $ where a dollar is meant")
		}
	}
	return nil
}
