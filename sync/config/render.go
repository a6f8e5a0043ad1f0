package config

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"edgesync/sync/device/foreign"
)

// Place is where `edgesync setup` puts a configuration.
type Place struct {
	File   string
	UCI    bool   // in OpenWrt's form, else TOML
	Secret string // the file of the secret
}

// Before is where `edgesync setup` keeps the file that it replaces. Whatever lies in OpenWrt's
// /etc/config is a configuration, so there it is beside the secret.
func (p Place) Before() string {
	if p.UCI {
		return filepath.Join(filepath.Dir(p.Secret), "config.before")
	}
	return p.File + ".before"
}

// PlaceOf is where the service looks for a configuration of a form.
func PlaceOf(uci bool) Place {
	if uci {
		return Place{uciFile, true, uciSecret}
	}
	return Place{configFiles[0], false, uciSecret}
}

// DefaultPlace is where the service of this machine looks for its configuration: OpenWrt's file
// where there is a directory for such, and nobody has chosen TOML.
func DefaultPlace() Place {
	i, err := os.Stat(filepath.Dir(uciFile))
	_, chosen := os.Stat(configFiles[0])
	return PlaceOf(err == nil && i.IsDir() && chosen != nil)
}

// Check is the error about a value of a key, as a person would write it; nil: it is taken.
func Check(path, value string) error { return keyOf(path).set(new(Config), value) }

// Set gives a key a value that wins over a file and over variables, and not over flags.
func (f *Flags) Set(path, value string) {
	f.set = slices.Insert(f.set, 0, assignment{keyOf(path), value})
}

// Has reports whether a flag gives a value to the key.
func (f *Flags) Has(path string) bool {
	return slices.ContainsFunc(f.set, func(a assignment) bool { return a.key.path == path })
}

// UseFile has Load read this file; "" is none at all.
func (f *Flags) UseFile(name string) { f.file, f.named, f.none = name, name != "", name == "" }

// File is what --config names; "" = nothing.
func (f *Flags) File() string { return f.file }

// Render writes the configuration as a file for a place: every key that somebody has set, but for
// the secret, which stands in a file of its own.
func (l *Loaded) Render(p Place) []byte {
	var b bytes.Buffer
	if p.UCI {
		b.WriteString("\nconfig edgesync 'main'\n\toption enabled '1'\n")
		for _, o := range l.service {
			b.WriteString("\toption " + o[0] + " " + quoteUCI(o[1]) + "\n")
		}
	} else {
		b.WriteString("# Written by edgesync setup. config.toml.example describes every key.\n")
	}
	section, tables := "", false
	if p.UCI {
		section = uciMain
	}
	for i := range keys {
		k := &keys[i]
		value := k.get(&l.Config)
		switch {
		case k.secret:
			continue
		case k.path == "cloud.routing_secret_file":
			if value = p.Secret; p.UCI && value == uciSecret {
				continue // it is looked for there
			}
		case l.source(k.path) == "default":
			continue
		}
		if maps, ok := k.field(&l.Config).(*[]foreign.Map); ok && p.UCI {
			for i := range *maps {
				writeMap(&b, k.uciName(), &(*maps)[i])
			}
			tables = true
			continue
		}
		name := k.path
		if p.UCI {
			name = k.uciName()
		}
		s, option := "", name
		if i := strings.LastIndexByte(name, '.'); i >= 0 {
			s, option = name[:i], name[i+1:]
		}
		if s != section || tables {
			section, tables = s, false
			if p.UCI {
				b.WriteString("\nconfig section '" + s + "'\n")
			} else {
				b.WriteString("\n[" + s + "]\n")
			}
		}
		if p.UCI {
			k.writeUCI(&b, option, value, &l.Config)
		} else {
			b.WriteString(option + " = " + k.toml(value, &l.Config) + "\n")
		}
	}
	return b.Bytes()
}

// toml is the value in TOML.
func (k *key) toml(value string, c *Config) string {
	switch f := k.field(c).(type) {
	case *bool, *int:
		return value
	case *[]string:
		var quoted []string
		for _, s := range *f {
			quoted = append(quoted, quoteTOML(s))
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case *[]foreign.Map:
		return value
	}
	return quoteTOML(value)
}

func (k *key) writeUCI(b *bytes.Buffer, option, value string, c *Config) {
	switch f := k.field(c).(type) {
	case *[]string:
		for _, s := range *f {
			b.WriteString("\tlist " + option + " " + quoteUCI(s) + "\n")
		}
		return
	case *bool:
		value = map[bool]string{true: "1", false: "0"}[*f]
	}
	if value == "" && strings.HasSuffix(k.path, ".listen") {
		value = "off"
	}
	b.WriteString("\toption " + option + " " + quoteUCI(value) + "\n")
}

func writeMap(b *bytes.Buffer, name string, m *foreign.Map) {
	b.WriteString("\nconfig " + name + "\n")
	for _, f := range mapFields {
		value := ""
		switch f := f.field(m).(type) {
		case *string:
			value = *f
		case *bool:
			if *f {
				value = "1"
			}
		}
		if value != "" {
			b.WriteString("\toption " + f.name + " " + quoteUCI(value) + "\n")
		}
	}
}

func quoteUCI(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// IsKey reports whether there is a key of this name.
func IsKey(path string) bool { return keyOf(path) != nil }
