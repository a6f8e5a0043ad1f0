package config

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"edgesync/wal/disk"
)

// ErrInvalid is what every error about the configuration is. It ends the program with exit code 78.
var ErrInvalid = errors.New("configuration")

// Error lists everything that is wrong, one sentence each, so that nobody has to repair and try
// again and again. It never contains a secret.
type Error struct{ Problems []error }

// Error is one problem a line.
func (e *Error) Error() string { return errors.Join(e.Problems...).Error() }

// Is makes errors.Is(err, ErrInvalid) true.
func (e *Error) Is(target error) bool { return target == ErrInvalid }

// Unwrap returns the problems.
func (e *Error) Unwrap() []error { return e.Problems }

// Flags are what the command line says about the configuration: --config and one flag for every
// key.
type Flags struct {
	file  string
	named bool
	none  bool // no file at all is read
	set   []assignment
}

type assignment struct {
	key   *key
	value string
}

// Register adds the flags to fs. Values are only noted: Load checks them together with everything
// else.
func (f *Flags) Register(fs *flag.FlagSet) {
	fs.Func("config", "configuration file", func(s string) error {
		f.file, f.named = s, true
		return nil
	})
	for i := range keys {
		k := &keys[i]
		note := func(s string) error {
			f.set = append(f.set, assignment{k, s})
			return nil
		}
		if _, ok := k.field(new(Config)).(*bool); ok {
			fs.BoolFunc(k.path, k.doc, note)
		} else {
			fs.Func(k.path, k.doc, note)
		}
	}
}

// Value is one key of the effective configuration, for people.
type Value struct {
	Key    string
	Value  string // "***" for a secret that is set
	Source string // "default", "config.toml:12", "CLOUD_RPC_HOST", "--cloud.host"
}

// Loaded is a configuration and where it came from.
type Loaded struct {
	Config  Config
	File    string   // the file that was read; "" = none
	Notices []string // worth a line in the log, nothing to stop for

	sources map[string]string
	uci     bool        // File is in OpenWrt's form
	service [][2]string // options of the section main that are the init script's, but for enabled
}

// Defaults returns the configuration of an agent that nobody configured.
func Defaults() (c Config) {
	for i := range keys {
		if k := &keys[i]; k.def != "" {
			if err := k.set(&c, k.def); err != nil {
				panic("default of " + k.path + ": " + err.Error()) // a test parses them all
			}
		}
	}
	return c
}

// Load makes the configuration out of defaults, the file, the environment (as os.Environ gives
// it) and flags; later wins. An error is an *Error; the Loaded is there all the same, with
// everything that could be understood. What a link to the cloud needs beyond that is for Complete.
func Load(f *Flags, environ []string) (*Loaded, error) {
	l := &Loaded{Config: Defaults(), sources: make(map[string]string, len(keys))}
	var e Error
	l.readFile(f, &e)
	l.readEnv(environ, &e)
	for _, a := range f.set {
		l.assign(a.key, a.value, "--"+a.key.path, &e)
	}
	l.findData(&e)
	if c := &l.Config.Reconnect; c.MaxInterval < c.Interval {
		e.add("reconnect.max_interval = %s (%s): must not be below reconnect.interval, which is %s (%s)", formatDuration(c.MaxInterval),
			l.source("reconnect.max_interval"), formatDuration(c.Interval), l.source("reconnect.interval"))
	}
	// Keys are copied from a page, and blanks or line feeds come along.
	cloud := &l.Config.Cloud
	cloud.RoutingKey, cloud.RoutingSecret = strings.TrimSpace(cloud.RoutingKey), strings.TrimSpace(cloud.RoutingSecret)
	return l, e.orNil()
}

// LeastSecret is how many bytes a secret should have: a shorter one can be guessed, and taking it
// out of a text would tell it.
const LeastSecret = 6

// Complete reads the secret's file and checks what only a link to the cloud needs. Its error is an
// *Error.
func (l *Loaded) Complete() error {
	var e Error
	c := &l.Config.Cloud
	if c.RoutingKey == "" {
		e.add("cloud.routing_key is missing: in ThingsBoard open Edge management, Instances, this edge, " +
			"\"Copy edge key\"; put it into the configuration file or into CLOUD_ROUTING_KEY")
	}
	if _, err := os.Stat(uciSecret); l.uci && err == nil && c.RoutingSecret == "" && c.RoutingSecretFile == "" {
		c.RoutingSecretFile = uciSecret
	}
	switch {
	case c.RoutingSecret != "" && c.RoutingSecretFile != "":
		e.add("cloud.routing_secret (%s) and cloud.routing_secret_file (%s) are both set: keep one, set the other to empty",
			l.source("cloud.routing_secret"), l.source("cloud.routing_secret_file"))
	case c.RoutingSecretFile != "":
		secret, notice, err := readSecret(c.RoutingSecretFile)
		if err != nil {
			e.add("cloud.routing_secret_file (%s): %w", l.source("cloud.routing_secret_file"), err)
			break
		}
		l.notice(notice)
		c.RoutingSecret = secret
		l.sources["cloud.routing_secret"] = c.RoutingSecretFile
	case c.RoutingSecret == "":
		e.add("cloud.routing_secret is missing: in ThingsBoard open Edge management, Instances, this edge, " +
			"\"Copy edge secret\"; put it into the configuration file, " +
			"a file of its own (cloud.routing_secret_file) or CLOUD_ROUTING_SECRET")
	}
	if n := len(c.RoutingSecret); n > 0 && n < LeastSecret {
		l.notice("cloud.routing_secret is so short that it can be guessed, and that errors of the server cannot be shown: " +
			"give the edge a longer one in ThingsBoard")
	}
	if c.TLS.CAFile != "" {
		if !c.TLS.Enabled {
			l.notice("cloud.tls.ca_file is set but cloud.tls.enabled is not: the link to the cloud is not encrypted")
		} else if err := checkCA(c.TLS.CAFile); err != nil {
			e.add("cloud.tls.ca_file = %s (%s): %w", strconv.Quote(c.TLS.CAFile), l.source("cloud.tls.ca_file"), err)
		}
	}
	for _, door := range []struct {
		name string
		DoorTLS
	}{{"http.tls", l.Config.HTTP.TLS}, {"mqtt.tls", l.Config.MQTT.TLS}} {
		if door.Listen == "" {
			continue
		}
		if door.CertFile == "" || door.KeyFile == "" {
			e.add("%s.listen (%s) needs %s.cert_file and %s.key_file", door.name, l.source(door.name+".listen"), door.name, door.name)
		} else if _, err := tls.LoadX509KeyPair(door.CertFile, door.KeyFile); err != nil {
			e.add("%s.cert_file and %s.key_file: %w", door.name, door.name, err)
		}
	}
	return e.orNil()
}

// Files lists the files that the configuration and its secret stand in, and the one before, those
// that exist.
func (l *Loaded) Files() (list []string) {
	place := Place{File: l.File, UCI: l.uci, Secret: l.Config.Cloud.RoutingSecretFile}
	if place.Secret == "" && l.uci {
		place.Secret = uciSecret
	}
	for _, name := range []string{place.Secret, place.Before(), place.File} {
		if i, err := os.Stat(name); err == nil && i.Mode().IsRegular() {
			list = append(list, name)
		}
	}
	return list
}

// Forget takes what is configured out of a file of Files: the file is removed, but one of OpenWrt
// is left as the package brings it.
func (l *Loaded) Forget(name string) error {
	if l.uci && name == l.File {
		return disk.Replace(name, []byte(ShippedUCI))
	}
	return os.Remove(name)
}

// Values is the effective configuration in the order of config.toml.example, secrets masked.
func (l *Loaded) Values() []Value {
	vs := make([]Value, 0, len(keys))
	for i := range keys {
		k := &keys[i]
		v := k.get(&l.Config)
		if k.secret && v != "" {
			v = "***"
		}
		vs = append(vs, Value{Key: k.path, Value: v, Source: l.source(k.path)})
	}
	return vs
}

func (l *Loaded) source(path string) string {
	if s, ok := l.sources[path]; ok {
		return s
	}
	return "default"
}

func (l *Loaded) notice(s string) {
	if s != "" {
		l.Notices = append(l.Notices, s)
	}
}

func (l *Loaded) assign(k *key, v any, source string, e *Error) {
	if err := k.set(&l.Config, v); err != nil {
		var tables tableErrors
		switch {
		case errors.As(err, &tables):
			for _, err := range tables {
				e.add("%s (%s): %w", k.path, source, err)
			}
		case k.secret:
			e.add("%s (%s): %w", k.path, source, err)
		default:
			e.add("%s = %s (%s): %w", k.path, quote(v), source, err)
		}
		return
	}
	l.sources[k.path] = source
}

func (e *Error) add(format string, args ...any) {
	e.Problems = append(e.Problems, fmt.Errorf(format, args...))
}

func (e *Error) orNil() error {
	if len(e.Problems) == 0 {
		return nil
	}
	return e
}

// Help is one line for each key: its flag, what it is for, its default.
func Help() string {
	var b strings.Builder
	for i := range keys {
		k := &keys[i]
		def := ""
		if k.def != "" && k.def != "false" {
			def = " (" + k.def + ")"
		}
		fmt.Fprintf(&b, "  --%-26s %s%s\n", k.path, k.doc, def)
	}
	return b.String()
}

// Nearest is the name, of names, that a person who wrote name most likely meant; "" when none is
// near.
func Nearest(name string, names ...string) string { return nearest(name, names) }
