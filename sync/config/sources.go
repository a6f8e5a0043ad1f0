package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"edgesync/wal/disk"
)

// configFiles are looked for in this order when no file is named.
var configFiles = []string{"/etc/edgesync/config.toml", uciFile, "config.toml"}

// readFile reads the configuration file: the one that is named, which must exist, else the first of
// configFiles that exists. A file in OpenWrt's form may name the one to read instead.
func (l *Loaded) readFile(f *Flags, e *Error) {
	names, named := configFiles, f.named
	switch {
	case f.none:
		return
	case named:
		names = []string{f.file}
	}
	for i := 0; i < len(names); i++ {
		name := names[i]
		data, err := readBounded(name)
		if errors.Is(err, fs.ErrNotExist) && !named {
			continue
		}
		last := l.File // which named this one
		l.File = name
		switch {
		case err != nil:
			e.add("configuration file %s: %w", strconv.Quote(name), disk.Reason(err))
		case isUCI(name, data) && last == "":
			if other := l.decodeUCI(name, data, e); other != "" {
				names, i, named = []string{other}, -1, true
				continue
			}
		default:
			l.decode(name, data, e)
			if slices.Index(configFiles, name) == 0 {
				l.notice(unusedUCI(name))
			}
		}
		return
	}
}

// decode takes the values of a TOML document.
func (l *Loaded) decode(name string, data []byte, e *Error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var doc map[string]toml.Primitive
	md, err := toml.NewDecoder(bytes.NewReader(data)).Decode(&doc)
	if err != nil {
		e.add("%w", syntaxError(name, data, err))
		return
	}
	d := tomlReader{loaded: l, md: &md, name: name, errs: e}
	d.table("", doc)
	if d.unknown > maxUnknown {
		e.add("%s: %d unknown keys more", name, d.unknown-maxUnknown)
	}
}

// maxUnknown bounds the report about keys that do not exist.
const maxUnknown = 20

// tomlReader walks a decoded document, so that each value is known together with its line.
type tomlReader struct {
	loaded  *Loaded
	md      *toml.MetaData
	name    string
	errs    *Error
	unknown int
}

// probe takes a value out of the TOML library. It returns an error, because the library adds the
// line of the key to errors only.
type probe struct{ value any }

var errProbe = errors.New("probe")

// UnmarshalTOML implements toml.Unmarshaler.
func (p *probe) UnmarshalTOML(v any) error {
	p.value = v
	return errProbe
}

func (d *tomlReader) table(prefix string, table map[string]toml.Primitive) {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if d.unknown > maxUnknown {
			d.unknown++ // counted only: finding the line costs a pass over the file
			continue
		}
		path := prefix + name
		var p probe
		line := 0
		var pe toml.ParseError
		if err := d.md.PrimitiveDecode(table[name], &p); errors.As(err, &pe) {
			line = pe.Position.Line
		}
		source := d.name
		// Of several tables the library knows the line of the last one only.
		if tables, _ := p.value.([]map[string]any); line > 0 && len(tables) < 2 {
			source += ":" + strconv.Itoa(line)
		}
		k := keyOf(path)
		_, isTable := p.value.(map[string]any)
		switch {
		case k != nil && isTable && k.tables():
			d.errs.add("%s: each table of %s is written with two brackets: [[%s]]", source, path, path)
		case k != nil && isTable:
			d.errs.add("%s (%s): is a key with a value, not a section", path, source)
		case k != nil:
			d.loaded.assign(k, p.value, source, d.errs)
		case isTable && isSection(path):
			var sub map[string]toml.Primitive
			if err := d.md.PrimitiveDecode(table[name], &sub); err != nil {
				d.errs.add("%s: section %s cannot be read", source, path)
				continue
			}
			d.table(path+".", sub)
		case isSection(path):
			d.errs.add("%s: %s is a section: write [%s] and its keys below", source, path, path)
		default:
			d.unknown++
			if d.unknown <= maxUnknown {
				what := "key"
				if isTable {
					what = "section"
				}
				d.errs.add("%s: unknown %s %s%s", source, what, quote(path), suggest(path, knownNames(isTable)))
			}
		}
	}
}

// ofKubernetes reports whether a variable is one of those that Kubernetes gives each container for
// a service of the namespace: of one that is called edgesync, EDGESYNC_SERVICE_HOST,
// EDGESYNC_PORT=tcp://… and more; of one that is called edgesync-web, EDGESYNC_WEB_SERVICE_HOST.
func ofKubernetes(name, value string) bool {
	_, port, ok := strings.Cut(name, "_SERVICE_PORT")
	switch {
	case strings.HasSuffix(name, "_SERVICE_HOST"), ok && (port == "" || port[0] == '_'):
		return true
	case strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://"):
		return true
	}
	_, port, ok = strings.Cut(name, "_PORT_")
	number, protocol, _ := strings.Cut(port, "_")
	_, err := strconv.ParseUint(number, 10, 16)
	protocol, _, _ = strings.Cut(protocol, "_")
	return ok && err == nil && (protocol == "TCP" || protocol == "UDP" || protocol == "SCTP")
}

// readEnv takes the variables of other programs first, then our own, which win.
func (l *Loaded) readEnv(environ []string, e *Error) {
	vars := make(map[string]string)
	for _, kv := range environ {
		if name, v, ok := strings.Cut(kv, "="); ok && (strings.HasPrefix(name, envPrefix) || strings.Contains(name, "_")) {
			vars[name] = v
		}
	}
	var foreign []string
	for i := range keys {
		k := &keys[i]
		for _, a := range k.aliases {
			foreign = append(foreign, a.name)
			v, ok := vars[a.name]
			if !ok {
				continue
			}
			if a.convert != nil {
				var notice string
				var err error
				if v, notice, err = a.convert(v, k.get(&l.Config)); err != nil {
					e.add("%s = %s: %w", a.name, quote(vars[a.name]), err)
					continue
				}
				l.notice(notice)
			}
			l.assign(k, v, a.name, e)
		}
		if v, ok := vars[k.env()]; ok {
			l.assign(k, v, k.env(), e)
			delete(vars, k.env())
		}
	}
	unknown := 0
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		switch {
		case ofKubernetes(name, vars[name]):
		case strings.HasPrefix(name, envPrefix):
			if unknown++; unknown <= maxUnknown {
				e.add("environment: unknown variable %s%s", quote(name), suggestEnv(name))
			}
		case strings.HasPrefix(name, "CLOUD_R"):
			// This may be a variable of ThingsBoard Edge that has no use here, or a slip that would
			// go unnoticed.
			if s := nearest(name, foreign); s != "" && s != name {
				l.notice(fmt.Sprintf("the variable %s is not known and was ignored; did you mean %s?", quote(name), s))
			}
		}
	}
}
