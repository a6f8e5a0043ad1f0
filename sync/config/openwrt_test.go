package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// uciFixture has OpenWrt's places below a directory of the test.
func uciFixture(t *testing.T) (dir string) {
	dir = t.TempDir()
	secret, auto := uciSecret, uciAuto
	uciSecret, uciAuto = filepath.Join(dir, "secret"), filepath.Join(dir, "data_dir")
	t.Cleanup(func() { uciSecret, uciAuto = secret, auto })
	return dir
}

// Each key has one name in OpenWrt's form, by one rule, and is read back from there with the line
// and that name as its source.
func TestEveryKeyInUCI(t *testing.T) {
	uciFixture(t)
	special := map[string]string{
		"cloud.host": "tb.example.org", "queue.durability": "interval", "queue.policy": "thin", "sync.full": "never",
		"registry.keep": "ota,images", "log.level": "debug", "log.format": "json", "log.target": "procd", "sync.repeat": "5s",
		"rules.mode": "off", "rules.on_failure": "drop",
		"cloud.edge_version": "11", "batch.size": "7", "retry.max": "8", "cloud.port": "7071",
	}
	names := map[string]bool{}
	for i := range keys {
		k := &keys[i]
		name := k.uciName()
		if names[name] {
			t.Errorf("%s is the name of two keys", name)
		}
		names[name] = true
		if k.tables() {
			continue // TestUCIMaps
		}
		section, option, _ := strings.Cut(name, ".")
		back := strings.ReplaceAll(section, "_", ".") + "." + option
		if section == "main" {
			back = option
		}
		if back != k.path {
			t.Errorf("%s became %s: a section of TOML must hold no underscore", k.path, back)
		}
		text := special[k.path]
		if text == "" {
			switch k.field(new(Config)).(type) {
			case *bool:
				text = "true"
			case *int64:
				text = "2MiB"
			default:
				text = "17s"
				if k.unit == 0 {
					text = ":17"
				}
			}
		}
		doc := "config section 'log'\n\nconfig edgesync '" + section + "'\n"
		if _, ok := k.field(new(Config)).(*[]string); ok {
			for _, item := range strings.Split(text, ",") {
				doc += "\tlist " + option + " '" + item + "'\n"
			}
		} else {
			doc += "\n\toption " + option + " '" + text + "'\n"
		}
		file := writeFile(t, "edgesync", doc)
		l, err := load(t, nil, "--config", file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := Value{k.path, text, file + ":5, option " + name}
		if k.secret {
			want.Value = "***"
		}
		if !slices.Contains(l.Values(), want) {
			t.Errorf("%s: no %q in %q", name, want, l.Values())
		}
	}
}

// A whole file, and what comes after it.
func TestUCI(t *testing.T) {
	dir := uciFixture(t)
	doc := `
config edgesync 'main'
	option enabled '1'
	option jail 'off'
	option memory_limit '16MiB'

config section 'cloud'
	option host 'tb.example.org'
	option routing_key ' k '

config section 'cloud_tls'
	option enabled 'yes'

config section 'http'
	option listen 'off'

config section 'mqtt'
	option listen ''

config section 'cloud'
	option port '7071'; option host 'x'
`
	file := writeFile(t, "edgesync", doc)
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("hush-hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := load(t, []string{"EDGESYNC_CLOUD_PORT=7072"}, "--config", file, "--cloud.host=flag")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Complete(); err != nil {
		t.Error(err)
	}
	want := Defaults()
	want.DataDir, want.HTTP.Listen = "/srv/edgesync", ""
	want.Cloud.Host, want.Cloud.Port, want.Cloud.RoutingKey, want.Cloud.TLS.Enabled = "flag", 7072, "k", true
	want.Cloud.RoutingSecret, want.Cloud.RoutingSecretFile = "hush-hush", filepath.Join(dir, "secret")
	if !reflect.DeepEqual(l.Config, want) {
		t.Errorf("got\n%+v, want\n%+v", l.Config, want)
	}
	if len(l.Notices) != 1 || !strings.Contains(l.Notices[0], file+": line 21: what stands behind the ; is ignored") {
		t.Errorf("notices %q", l.Notices)
	}
}

// The form is known by the first word, or by the directory.
func TestUCIOrTOML(t *testing.T) {
	for doc, want := range map[string]bool{
		"":                                    false,
		"# x\n\n[cloud]\n":                    false,
		"config = 1\n":                        false,
		"config=1\n":                          false,
		"option = 1":                          false,
		"\n# x\n  config edgesync 'main'\n":   true,
		"package edgesync\n":                  true,
		"option x y\n":                        true,
		"list keep 'x'":                       true,
		"configuration x":                     false,
		"data_dir = 'x'\nconfig edgesync a\n": false,
	} {
		if got := isUCI("edgesync", []byte(doc)); got != want {
			t.Errorf("%q: %v, want %v", doc, got, want)
		}
	}
	if !isUCI("/etc/config/edgesync", nil) {
		t.Error("an empty file of OpenWrt is none")
	}
}

// What is wrong is said with file, line, section and option.
func TestUCIProblems(t *testing.T) {
	uciFixture(t)
	for doc, want := range map[string][]string{
		"config edgesync main\n\toption enabled maybe\n": {":2, option main.enabled: must be 1 or 0"},
		"config edgesync main\n\toption enabld 1\n": {
			`:2, option main.enabld: there is no such option; did you mean main.enabled?`,
		},
		"config edgesync main\n\toption datadir x\n": {
			`:2, option main.datadir: there is no such option; did you mean main.data_dir?`,
		},
		"config section cloud\n\toption prot 1\n": {
			`:2, option cloud.prot: there is no such option; did you mean cloud.port?`,
		},
		"config section cloud\n\toption tls_enabled 1\n": {
			`:2, option cloud.tls_enabled: there is no such option; did you mean cloud_tls.enabled?`,
		},
		"config section cloud_tls\n\toption tls_enabled 1\n": {
			`:2, option cloud_tls.tls_enabled: there is no such option; did you mean cloud_tls.enabled?`,
		},
		"config section cloud_tls\n\toption enabld 1\n": {
			`:2, option cloud_tls.enabld: there is no such option; did you mean cloud_tls.enabled?`,
		},
		"config section cloudtls\n\toption enabled 1\n": {
			`:1, section cloudtls: there is no such section; did you mean config section 'cloud_tls'?`,
		},
		"config cloud\n\toption host x\n": {
			`:1, section @cloud: there is no such section; did you mean config section 'cloud'?`,
		},
		"config section zzzzzzzzzzzz\n": {`:1, section zzzzzzzzzzzz: there is no such section; `},
		"config section mqtt_map\n\toption filter a\n": {
			`:1, section mqtt_map: there is no such section; did you mean config mqtt_map?`,
		},
		"config section mqtt\n\toption map a\n": {`:2, option mqtt.map: there is no such option`},
		"config section cloud\n\toption port 0\n": {
			`cloud.port = "0" (`, ":2, option cloud.port): must be a whole number from 1 to 65535",
		},
		"config section cloud\n\tlist host a\n\tlist host b\n": {":3, option cloud.host: has one value: write option, not list"},
		"config section cloud_tls\n\toption enabled True\n":    {":2, option cloud_tls.enabled: must be 1 or 0"},
		"config section registry\n\tlist keep a\n":             {`:2, option registry.keep): must be one of: `},
		"config section cloud\n\toption x 'un\n":               {":2: the quote that begins here has no end"},
		"option x y\n":                                         {":1: option stands before the first section"},
		"config mqtt_map\n\toption filter a\n\toption devise 1": {
			`:1, section mqtt_map: unknown key "devise"; did you mean "device"?`,
		},
		"config edgesync main\n\toption data_dir auto\n": {"data_dir = 'auto' (", ":2, option main.data_dir): the service finds"},
	} {
		file := writeFile(t, "edgesync", doc)
		_, err := load(t, nil, "--config", file)
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", doc, err)
			continue
		}
		for _, part := range want {
			if part[0] == ':' {
				part = file + part
			}
			if !strings.Contains(err.Error(), strings.TrimPrefix(part, file)) || !strings.Contains(err.Error(), file) {
				t.Errorf("%q: %q lacks %q", doc, err, part)
			}
		}
	}
	_, err := load(t, nil, "--config", writeFile(t, "many", "config section cloud\n"+manyOptions(1000)))
	var ce *Error
	if !errors.As(err, &ce) || len(ce.Problems) != maxUnknown+1 || !strings.Contains(err.Error(), "980 problems more") {
		t.Errorf("%.300v", err)
	}
}

func manyOptions(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("\toption zzzzzz" + formatSize(int64(i)) + " 1\n")
	}
	return b.String()
}

// Each section of a type that is a list of tables is one table.
func TestUCIMaps(t *testing.T) {
	uciFixture(t)
	file := writeFile(t, "edgesync", `
config mqtt_map
	option filter 'tele/+/SENSOR'
	option device '1'
	option flatten '1'

config mqtt_map 'esp'
	option filter '+/sensor/+/state'
	option device 'plug $1'
	option key '2'
`)
	l, err := load(t, nil, "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	want := Value{
		"mqtt.map", `[{filter = "tele/+/SENSOR", device = "$1", as = "telemetry", flatten = true}, ` +
			`{filter = "+/sensor/+/state", device = "plug $1", as = "telemetry", key = "$2"}]`, file + ":7, section mqtt_map",
	}
	if !slices.Contains(l.Values(), want) {
		t.Errorf("got %q", l.Values())
	}
	_, err = load(t, nil, "--config", writeFile(t, "many", strings.Repeat(
		"config mqtt_map\n\toption filter 'a/+'\n\toption device 1\n", 70)))
	var ce *Error
	if !errors.As(err, &ce) || len(ce.Problems) != 6 || !strings.Contains(err.Error(), ":193, section mqtt_map: there may be at most 64") {
		t.Errorf("%v", err)
	}
}

// The option config names the file that counts, and nothing of the rest does.
func TestUCIToAnotherFile(t *testing.T) {
	uciFixture(t)
	toml := writeFile(t, "c.toml", "cloud.host = 'there'\n")
	file := writeFile(t, "edgesync", "config section cloud\n\toption port 1\n\nconfig edgesync main\n\toption config '"+toml+"'\n")
	l, err := load(t, nil, "--config", file)
	want := Defaults()
	want.Cloud.Host = "there"
	if err != nil || l.File != toml || !reflect.DeepEqual(l.Config, want) {
		t.Errorf("%v, %q, %+v", err, l.File, l.Config)
	}
	for _, doc := range []string{file, "/nowhere/x.toml"} {
		file := writeFile(t, "edgesync", "config edgesync main\n\toption config '"+doc+"'\n")
		if _, err := load(t, nil, "--config", file); err == nil || !strings.Contains(err.Error(), doc) {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

// data_dir 'auto' is the directory that the service has found, unless somebody says another one.
func TestUCIAuto(t *testing.T) {
	uciFixture(t)
	file := writeFile(t, "edgesync", "config edgesync main\n\toption data_dir auto\n")
	if err := os.Symlink("/mnt/sda1/edgesync", uciAuto); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{"/mnt/sda1/edgesync", "--config=" + file}, {"/else", "--data_dir=/else"}} {
		l, err := load(t, nil, "--config", file, c[1])
		if err != nil || l.Config.DataDir != c[0] {
			t.Errorf("%q: %v, %q", c, err, l.Config.DataDir)
		}
	}
}

// A secret in OpenWrt's file is taken, told, and shown nowhere, however wrong it is written.
func TestUCIHidesTheSecret(t *testing.T) {
	uciFixture(t)
	const hush = "c0ffee5ecre7"
	l, err := load(t, nil, "--config", writeFile(t, "edgesync", "config section cloud\n\toption routing_secret "+hush+"\n"))
	if err != nil || l.Config.Cloud.RoutingSecret != hush || len(l.Notices) != 1 || strings.Contains(l.Notices[0], hush) {
		t.Errorf("%v, %q", err, l.Notices)
	}
	for _, doc := range []string{
		"config section cloud\n\toption routing_secret '" + hush + "\n",
		"config section cloud\n\toption routing_secret '" + hush + "\n'\n\toption routing_secret 'a\x01" + hush + "'\n",
		"config section cloud\n\toption routing_secret a " + hush + "\n",
		"config section cloud\n\tlist routing_secret " + hush + "\n",
		"config section cloud\n\toption routing_secrt " + hush + "\n",
		"config section cloud\n\toption_routing_secret " + hush + "\n",
		"config section cloud routing_secret " + hush + "\n",
	} {
		if _, err := load(t, nil, "--config", writeFile(t, "edgesync", doc)); err == nil || strings.Contains(err.Error(), hush) {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

func FuzzUCI(f *testing.F) {
	f.Add("config edgesync main\n\toption enabled 1\n\toption data_dir auto\nconfig section cloud\n\toption port 7070\n")
	f.Add("config mqtt_map\n\toption filter 'a/+'\n\toption device 1\n\toption flatten yes\nconfig section registry\n\tlist keep ota\n")
	f.Add("config section mqtt_map\nconfig section ''\nconfig x\nconfig section main\n\toption config ''\n\toption jail \"\\\n\"\n")
	f.Add("config section http_tls\n\toption listen off\n\tlist listen ''\nconfig section _\nconfig section cloud_\n\toption _ 1\n")
	f.Fuzz(func(t *testing.T, doc string) {
		l := &Loaded{Config: Defaults(), sources: map[string]string{}}
		var e Error
		if other := l.decodeUCI("edgesync", []byte(doc), &e); other != "" {
			return
		}
		if len(e.Problems) > len(keys)+maxUnknown+1 {
			t.Fatalf("%d problems", len(e.Problems))
		}
		if len(l.Notices) > 9 || len(l.Config.MQTT.Maps) > 64 {
			t.Fatalf("%d notices, %d maps", len(l.Notices), len(l.Config.MQTT.Maps))
		}
		// Whatever is accepted is inside its bounds and, written out, means the same again.
		for i := range keys {
			k := &keys[i]
			var again Config
			text := k.get(&l.Config)
			if text != k.get(&again) {
				if err := k.set(&again, text); err != nil {
					t.Fatalf("%s = %q was taken and is refused when written out: %v", k.path, text, err)
				}
			}
			if got := k.get(&again); got != text {
				t.Fatalf("%s: %q became %q", k.path, text, got)
			}
		}
	})
}
