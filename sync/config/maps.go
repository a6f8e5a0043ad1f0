package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"edgesync/sync/device/foreign"
)

// maxTables bounds the text of a list of tables, in a variable or flag, in bytes.
const maxTables = 128 << 10

// maxTableErrors bounds what is said about one list of tables.
const maxTableErrors = 10

// tableErrors is what is wrong with a list of tables: at most one error for each of them, which
// names the table and the key.
type tableErrors []error

// Error implements error.
func (e tableErrors) Error() string { return errors.Join(e...).Error() }

// mapFields are the keys of a table of mqtt.map, in the order in which they are shown. A *string
// may be the number of a wildcard too where numbered is set.
var mapFields = []struct {
	name     string
	field    func(*foreign.Map) any // *string or *bool
	numbered bool
}{
	{"filter", func(m *foreign.Map) any { return &m.Filter }, false},
	{"device", func(m *foreign.Map) any { return &m.Device }, true},
	{"type", func(m *foreign.Map) any { return &m.Type }, false},
	{"as", func(m *foreign.Map) any { return &m.As }, false},
	{"key", func(m *foreign.Map) any { return &m.Key }, true},
	{"prefix", func(m *foreign.Map) any { return &m.Prefix }, false},
	{"flatten", func(m *foreign.Map) any { return &m.Flatten }, false},
}

// parseMaps reads tables as TOML has them, or the text of a variable or flag, which is a TOML array
// of them. An empty text is no tables. The error is of type tableErrors where it is about tables.
func parseMaps(v any) ([]foreign.Map, error) {
	if text, ok := v.(string); ok {
		if text = strings.TrimSpace(text); text == "" {
			return nil, nil
		}
		if len(text) > maxTables {
			return nil, fmt.Errorf("must be at most %s long", formatSize(maxTables))
		}
		var doc map[string]any
		if _, err := toml.Decode("x = "+text, &doc); err != nil || len(doc) != 1 {
			return nil, errNotTables
		}
		v = doc["x"]
	}
	var tables []map[string]any
	switch v := v.(type) {
	case []map[string]any:
		tables = v
	case []any:
		for _, t := range v {
			table, ok := t.(map[string]any)
			if !ok {
				return nil, errNotTables
			}
			tables = append(tables, table)
		}
	default:
		return nil, errNotTables
	}
	if len(tables) > foreign.MaxMaps {
		return nil, fmt.Errorf("must be at most %d tables, and is %d", foreign.MaxMaps, len(tables))
	}
	var list []foreign.Map
	var errs tableErrors
	for i, t := range tables {
		m, err := parseMap(t)
		switch {
		case err == nil:
			list = append(list, m)
		case len(errs) < maxTableErrors:
			errs = append(errs, fmt.Errorf("table %d: %w", i+1, err))
		}
	}
	if errs != nil {
		return nil, errs
	}
	return list, nil
}

var errNotTables = errors.New(`must be tables: [[mqtt.map]] with the keys below, or [{filter = "tele/+/SENSOR", device = 1}]`)

func parseMap(t map[string]any) (foreign.Map, error) {
	m := foreign.Map{As: foreign.Telemetry}
	names := make([]string, len(mapFields))
	for i, f := range mapFields {
		names[i] = f.name
	}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		i := slices.Index(names, name)
		if i < 0 {
			did := "; there are " + strings.Join(names, ", ")
			if n := nearest(name, names); n != "" {
				did = "; did you mean " + strconv.Quote(n) + "?"
			}
			return m, fmt.Errorf("unknown key %s%s", quote(name), did)
		}
		value := t[name]
		switch f := mapFields[i].field(&m).(type) {
		case *bool:
			b, ok := value.(bool)
			if !ok {
				return m, fmt.Errorf("%s = %s: must be true or false", name, quote(value))
			}
			*f = b
		case *string:
			n, isNumber := value.(int64)
			text, isText := value.(string)
			switch {
			case isText:
				*f = text
			case isNumber && mapFields[i].numbered && 1 <= n && n <= 9:
				*f = "$" + strconv.FormatInt(n, 10)
			case mapFields[i].numbered:
				return m, fmt.Errorf("%s = %s: must be text in double quotes, or the number of a wildcard of the filter, from 1 to 9",
					name, quote(value))
			default:
				return m, fmt.Errorf("%s = %s: must be text in double quotes", name, quote(value))
			}
		}
	}
	err := m.Check()
	var ke *foreign.KeyError
	if errors.As(err, &ke) {
		if value, ok := t[ke.Key]; ok {
			return m, fmt.Errorf("%s = %s: %w", ke.Key, quote(value), ke.Err)
		}
	}
	return m, err
}

// formatMaps writes maps as parseMaps reads them.
func formatMaps(list []foreign.Map) string {
	var b strings.Builder
	for i := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('{')
		first := true
		for _, f := range mapFields {
			value := ""
			switch f := f.field(&list[i]).(type) {
			case *string:
				if *f != "" {
					value = quoteTOML(*f)
				}
			case *bool:
				if *f {
					value = "true"
				}
			}
			if value == "" {
				continue
			}
			if !first {
				b.WriteString(", ")
			}
			first = false
			b.WriteString(f.name + " = " + value)
		}
		b.WriteByte('}')
	}
	if b.Len() == 0 {
		return ""
	}
	return "[" + b.String() + "]"
}

// quoteTOML writes a text without control characters as a basic string.
func quoteTOML(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
