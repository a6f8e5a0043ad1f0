package foreign

import (
	"fmt"
	"strings"
)

// Set is the maps of a configuration, in their order. It does not change; any goroutine may use it.
type Set struct{ maps []compiled }

type compiled struct {
	Map
	levels []string // of the filter
}

// Compile makes a set of maps, nil of none. Its error is that of Map.Check, or says that there are
// more than MaxMaps.
func Compile(maps []Map) (*Set, error) {
	if len(maps) == 0 {
		return nil, nil
	}
	if len(maps) > MaxMaps {
		return nil, fmt.Errorf("there are %d maps of topics; at most %d are taken", len(maps), MaxMaps)
	}
	s := &Set{maps: make([]compiled, len(maps))}
	for i, m := range maps {
		if err := m.Check(); err != nil {
			return nil, fmt.Errorf("map %d: %w", i+1, err)
		}
		s.maps[i] = compiled{m, strings.Split(m.Filter, "/")}
	}
	return s, nil
}

// Match is a topic and the first map whose filter matches it. It keeps the topic.
type Match struct {
	*Map
	topic string
	wilds [maxWildcards]string // what stood for each wildcard
}

// Find returns the first map that matches the topic. It allocates nothing.
func (s *Set) Find(topic string) (m Match, ok bool) {
	if s == nil {
		return m, false
	}
	m.topic = topic
	for i := range s.maps {
		c := &s.maps[i]
		if c.match(topic, &m.wilds) {
			m.Map = &c.Map
			return m, true
		}
	}
	return Match{}, false
}

// match notes what stands for each wildcard. As on a broker, a filter that begins with a wildcard
// matches no topic that begins with a dollar, where brokers speak of themselves. Otherwise than on
// a broker, # needs a level of its own: no device would have a name without it.
func (c *compiled) match(topic string, wilds *[maxWildcards]string) bool {
	if strings.HasPrefix(topic, "$") && (c.levels[0] == "+" || c.levels[0] == "#") {
		return false
	}
	rest, more, n := topic, true, 0
	for _, want := range c.levels {
		if !more {
			return false
		}
		if want == "#" {
			wilds[n] = rest
			return true
		}
		var level string
		level, rest, more = strings.Cut(rest, "/")
		switch want {
		case "+":
			wilds[n] = level
			n++
		case level:
		default:
			return false
		}
	}
	return !more
}

// Device is the name of the device that the message is about.
func (m *Match) Device() string { return m.expand(m.Map.Device) }

// Key is the key of a payload that is no object, without the prefix.
func (m *Match) Key() string {
	if m.Map.Key == "" {
		return m.topic[strings.LastIndexByte(m.topic, '/')+1:]
	}
	return m.expand(m.Map.Key)
}

// Prefix stands in front of each key.
func (m *Match) Prefix() string { return m.expand(m.Map.Prefix) }

// expand writes a template out.
func (m *Match) expand(template string) string {
	i := strings.IndexByte(template, '$')
	if i < 0 {
		return template
	}
	if i == 0 && len(template) == 2 && template[1] != '$' {
		return m.wilds[template[1]-'1']
	}
	var b strings.Builder
	for ; i >= 0; i = strings.IndexByte(template, '$') {
		b.WriteString(template[:i])
		if c := template[i+1]; c == '$' {
			b.WriteByte('$')
		} else {
			b.WriteString(m.wilds[c-'1'])
		}
		template = template[i+2:]
	}
	b.WriteString(template)
	return b.String()
}
