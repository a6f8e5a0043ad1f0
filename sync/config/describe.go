package config

import (
	"time"

	"edgesync/sync/device/foreign"
)

// Description is what a form needs to know of a key.
type Description struct {
	Key     string
	Section string // as uci names it; of a list of tables their type
	Option  string // "" for a list of tables
	Kind    string // "text", "flag", "number", "size", "time", "list", "tables"
	Default string
	Doc     string
	Choices []string
	Secret  bool
}

// Describe describes all keys, in the order of config.toml.example.
func Describe() (list []Description) {
	for i := range keys {
		k := &keys[i]
		d := Description{Key: k.path, Section: k.uciName(), Kind: "text", Default: k.def, Doc: k.doc, Choices: k.choices, Secret: k.secret}
		for i, c := range d.Section {
			if c == '.' {
				d.Section, d.Option = d.Section[:i], d.Section[i+1:]
				break
			}
		}
		switch k.field(new(Config)).(type) {
		case *bool:
			d.Kind = "flag"
		case *int:
			d.Kind = "number"
		case *int64:
			d.Kind = "size"
		case *time.Duration:
			d.Kind = "time"
		case *[]string:
			d.Kind = "list"
		case *[]foreign.Map:
			d.Kind = "tables"
		}
		if d.Key == "data_dir" {
			d.Default = uciData
		}
		list = append(list, d)
	}
	return list
}

// MapFields are the options of a table of mqtt.map.
func MapFields() (names []string) {
	for _, f := range mapFields {
		names = append(names, f.name)
	}
	return names
}
