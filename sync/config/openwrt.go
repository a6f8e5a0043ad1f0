package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"edgesync/sync/config/uci"
	"edgesync/sync/device/foreign"
)

const (
	// uciFile is where OpenWrt and its users keep the settings of this service.
	uciFile = "/etc/config/edgesync"
	// uciData is data_dir where that file does not say another one: a relative path is of no use to
	// a service.
	uciData = "/srv/edgesync"
	// uciMain is the section of the keys that stand in no section of TOML, and of serviceOptions.
	uciMain = "main"
)

// ShippedUCI is what the package puts there: a router's flash has a budget.
const ShippedUCI = `
config edgesync 'main'
	option enabled '0'

config section 'queue'
	option flash_budget '1GiB'
`

// Tests replace these.
var (
	// uciSecret holds the secret where neither that file nor anything else names another place.
	uciSecret = "/etc/edgesync/secret"
	// uciAuto is a link to the directory that the init script has found for data_dir 'auto'.
	uciAuto = "/var/run/edgesync/data_dir"
)

// serviceOptions are options of the section main that are the init script's; the first two are
// true or false.
var serviceOptions = []string{"enabled", "jail", "config", "memory_limit"}

var errNotTruth = errors.New("must be 1 or 0")

// uciName is the key as uci writes it behind "edgesync.": the section is that of TOML with
// underscores for its points, and the option is the rest. A list of tables is a type of sections,
// each of which is one table.
func (k *key) uciName() string {
	i := strings.LastIndexByte(k.path, '.')
	switch {
	case k.tables():
		return strings.ReplaceAll(k.path, ".", "_")
	case i < 0:
		return uciMain + "." + k.path
	}
	return strings.ReplaceAll(k.path[:i], ".", "_") + k.path[i:]
}

// uciSections are all names of sections, and types of sections that are tables.
func uciSections() (list []string) {
	for i := range keys {
		if s, _, _ := strings.Cut(keys[i].uciName(), "."); !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// isUCI reports whether a file is in OpenWrt's form: by its directory, or by its first word, which
// begins no TOML document.
func isUCI(name string, data []byte) bool {
	if strings.HasPrefix(name, "/etc/config/") {
		return true
	}
	for line := range bytes.Lines(data) {
		words := bytes.Fields(line)
		if len(words) == 0 || words[0][0] == '#' {
			continue
		}
		first := string(words[0])
		return len(words) > 1 && words[1][0] != '=' &&
			(first == "config" || first == "package" || first == "option" || first == "list")
	}
	return false
}

// uciReader takes the values of a file in OpenWrt's form.
type uciReader struct {
	loaded   *Loaded
	name     string
	errs     *Error
	problems int // but for those of values
}

// decodeUCI takes the values of a file in OpenWrt's form. If the option config of its section main
// names another file, that one counts and nothing else is taken.
func (l *Loaded) decodeUCI(name string, data []byte, e *Error) (other string) {
	sections, notices, err := uci.Parse(data)
	if err != nil {
		var ue *uci.Error
		errors.As(err, &ue)
		e.add("%s:%d: %s", name, ue.Line, ue.Text)
		return ""
	}
	for _, n := range notices {
		l.notice(name + ": " + n)
	}
	l.Config.DataDir, l.uci = uciData, true
	d := uciReader{loaded: l, name: name, errs: e}
	for _, s := range sections {
		if o := s.Option("config"); s.Name == uciMain && o != nil {
			l.Config.DataDir, l.uci = Defaults().DataDir, false
			return o.Values[0]
		}
	}
	for _, s := range sections {
		d.section(s)
	}
	if d.problems > maxUnknown {
		e.add("%s: %d problems more", name, d.problems-maxUnknown)
	}
	if l.Config.Cloud.RoutingSecret != "" {
		l.notice("the secret stands in " + name + ", which everybody reads who may use uci over the web, " +
			"and so do backups of the system: put it into " + uciSecret + " and delete the option")
	}
	return ""
}

// wrong notes a problem; what says where in the file.
func (d *uciReader) wrong(line int, what string, err error) {
	if d.problems++; d.problems <= maxUnknown {
		d.errs.add("%s: %w", d.at(line, what), err)
	}
}

// at is a place in the file.
func (d *uciReader) at(line int, what string) string {
	return d.name + ":" + strconv.Itoa(line) + ", " + what
}

// noSuch says that there is no such section or option, and which one was most likely meant.
func (d *uciReader) noSuch(line int, what, name, meant string) {
	if meant != "" {
		meant = "; did you mean " + meant + "?"
	} else {
		meant = "; `edgesync help run` lists all"
	}
	d.wrong(line, what+" "+shorten(name), errors.New("there is no such "+what+meant))
}

// section takes the options of a section.
func (d *uciReader) section(s *uci.Section) {
	all := uciSections()
	prefix := strings.ReplaceAll(s.Name, "_", ".") + "."
	switch {
	case keyOf(strings.ReplaceAll(s.Type, "_", ".")) != nil && slices.Contains(all, s.Type):
		d.table(keyOf(strings.ReplaceAll(s.Type, "_", ".")), s)
		return
	case s.Name == uciMain:
		prefix = ""
	case !slices.Contains(all, s.Name) || keyOf(prefix[:len(prefix)-1]) != nil:
		name, meant := s.Name, nearest(s.Name, all)
		if name == "" {
			name, meant = "@"+s.Type, nearest(s.Type, all)
		}
		if k := keyOf(strings.ReplaceAll(meant, "_", ".")); k != nil {
			meant = "config " + meant // one of a list of tables
		} else if meant != "" {
			meant = "config section '" + meant + "'"
		}
		d.noSuch(s.Line, "section", name, meant)
		return
	}
	for i := range s.Options {
		o := &s.Options[i]
		name, path := s.Name+"."+o.Name, prefix+o.Name
		what := "option " + name
		service := slices.Index(serviceOptions, path)
		k := keyOf(path)
		switch {
		case service >= 0:
			if _, ok := uci.Bool(o.Values[0]); service < 2 && !ok {
				d.wrong(o.Line, what, errNotTruth)
			} else if service > 0 {
				d.loaded.service = append(d.loaded.service, [2]string{o.Name, o.Values[0]})
			}
		case k == nil || k.tables():
			meant := ""
			if prefix == "" {
				meant = nearest(path, serviceOptions)
			}
			if k := keyOf(nearest(path, paths())); meant != "" {
				meant = uciMain + "." + meant
			} else if k != nil {
				meant = k.uciName()
			}
			d.noSuch(o.Line, "option", name, meant)
		default:
			v, err := k.fromUCI(o)
			if err != nil {
				d.wrong(o.Line, what, err)
				continue
			}
			d.loaded.assign(k, v, d.at(o.Line, what), d.errs)
		}
	}
}

// fromUCI is the value of an option in a form that set takes. UCI has texts only, and none that is
// empty: a listener that is off says so in a word.
func (k *key) fromUCI(o *uci.Option) (any, error) {
	text := o.Values[0]
	switch k.field(new(Config)).(type) {
	case *[]string:
		return strings.Join(o.Values, ","), nil
	case *bool:
		b, ok := uci.Bool(text)
		if !ok {
			return nil, errNotTruth
		}
		return b, nil
	}
	switch {
	case o.List:
		return nil, errors.New("has one value: write option, not list")
	case text == "off" && strings.HasSuffix(k.path, ".listen"):
		return "", nil
	}
	return text, nil
}

// table takes a section that is one of a list of tables.
func (d *uciReader) table(k *key, s *uci.Section) {
	list, _ := k.field(&d.loaded.Config).(*[]foreign.Map)
	what := "section " + s.Type
	if len(*list) == foreign.MaxMaps {
		d.wrong(s.Line, what, fmt.Errorf("there may be at most %d", foreign.MaxMaps))
		return
	}
	t := make(map[string]any, len(s.Options))
	for i := range s.Options {
		o := &s.Options[i]
		text := o.Values[0]
		t[o.Name] = text
		for _, f := range mapFields {
			_, truth := f.field(new(foreign.Map)).(*bool)
			b, ok := uci.Bool(text)
			switch {
			case f.name != o.Name:
			case truth && ok:
				t[o.Name] = b
			case f.numbered && len(text) == 1 && '1' <= text[0] && text[0] <= '9':
				t[o.Name] = int64(text[0] - '0')
			}
		}
	}
	m, err := parseMap(t)
	if err != nil {
		d.wrong(s.Line, what, err)
		return
	}
	*list = append(*list, m)
	d.loaded.sources[k.path] = d.at(s.Line, what)
}

// findData replaces data_dir 'auto' of OpenWrt by the directory that the service has found.
func (l *Loaded) findData(e *Error) {
	if !l.uci || l.Config.DataDir != "auto" {
		return
	}
	dir, err := os.Readlink(uciAuto)
	if err != nil {
		e.add("data_dir = 'auto' (%s): the service finds the directory when it starts, and has not: start it, or say --data_dir",
			l.source("data_dir"))
		return
	}
	l.Config.DataDir = dir
}

// unusedUCI is the notice about settings of OpenWrt's file that do not count, because another file
// was found first.
func unusedUCI(used string) string {
	data, err := readBounded(uciFile)
	if err != nil {
		return ""
	}
	sections, _, _ := uci.Parse(data)
	for _, s := range sections {
		if s.Name == "cloud" {
			return fmt.Sprintf("the settings of %s do not count, because there is %s: move one of the two away", uciFile, used)
		}
	}
	return ""
}
