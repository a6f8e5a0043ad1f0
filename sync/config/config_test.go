package config

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// load parses args as the program does. No file is found by itself.
func load(t testing.TB, env []string, args ...string) (*Loaded, error) {
	t.Helper()
	old := configFiles
	configFiles = nil
	defer func() { configFiles = old }()
	var f Flags
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f.Register(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return Load(&f, env)
}

func writeFile(t testing.TB, name, content string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDefaults(t *testing.T) {
	c := Defaults()
	want := Config{
		DataDir:   "edgesync-data",
		Cloud:     Cloud{Host: "localhost", Port: 7070, Timeout: 5 * time.Second, EdgeVersion: 12},
		Batch:     Batch{Size: 100, Timeout: time.Second},
		Retry:     Retry{Interval: 3 * time.Second, Max: 10},
		Reconnect: Reconnect{Interval: 3 * time.Second, MaxInterval: time.Minute},
		Keepalive: Keepalive{Time: 30 * time.Second, Timeout: 10 * time.Second},
		Queue:     Queue{Durability: "always", SyncInterval: time.Second, Policy: "drop_oldest", MaxDelay: time.Second},
		HTTP:      HTTP{Listen: ":8080", MaxBody: 16 << 20},
	}
	want.Sync, want.MQTT.Listen = Sync{Full: "first", Repeat: 10 * time.Second}, ":1883"
	want.Rules = Rules{Mode: "cloud", OnFailure: "push"}
	want.Report.Interval = 5 * time.Minute
	want.Log = Log{Level: "info", Format: "text", Target: "auto"}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("defaults\n%+v, want\n%+v", c, want)
	}
}

// People script against the keys: one that goes, comes or is renamed must be noticed here.
func TestKeysAreFixed(t *testing.T) {
	want := strings.Fields(`data_dir
		cloud.host cloud.port cloud.timeout cloud.routing_key cloud.routing_secret cloud.routing_secret_file cloud.edge_version
		cloud.max_inbound_message_size cloud.tls.enabled cloud.tls.ca_file cloud.tls.server_name batch.size batch.timeout retry.interval retry.max
		reconnect.interval reconnect.max_interval keepalive.time keepalive.timeout
		queue.durability queue.sync_interval queue.max_bytes queue.max_age queue.policy queue.keep_acknowledged queue.flash_budget queue.max_delay queue.flash_endurance
		registry.keep rules.mode rules.on_failure rules.file sync.full sync.repeat report.interval http.listen http.max_body
		http.tls.listen http.tls.cert_file http.tls.key_file mqtt.listen mqtt.map
		mqtt.tls.listen mqtt.tls.cert_file mqtt.tls.key_file log.level log.format log.target`)
	if got := paths(); !reflect.DeepEqual(got, want) {
		t.Errorf("keys %q, want %q", got, want)
	}
}

// config.toml.example, with its keys uncommented, is exactly the defaults, and it has every key.
func TestExampleFile(t *testing.T) {
	data, err := os.ReadFile("../../config.toml.example")
	if err != nil {
		t.Fatal(err)
	}
	commented := regexp.MustCompile(`(?m)^#([a-z_]+ = .*)$`)
	if n := len(commented.FindAll(data, -1)); n != len(keys) {
		t.Errorf("%d commented keys in the example, want %d", n, len(keys))
	}
	name := writeFile(t, "config.toml", string(commented.ReplaceAll(data, []byte("$1"))))
	l, err := load(t, nil, "--config", name)
	if err != nil {
		t.Fatal(err)
	}
	c := l.Config
	c.Registry.Keep = nil // [] and absent mean the same
	if want := Defaults(); !reflect.DeepEqual(c, want) {
		t.Errorf("the example gives\n%+v, the defaults are\n%+v", c, want)
	}
	for _, v := range l.Values() {
		if !strings.HasPrefix(v.Source, name+":") {
			t.Errorf("%s is not in the example (its source is %s)", v.Key, v.Source)
		}
	}
	l, err = load(t, nil, "--config", writeFile(t, "asis.toml", string(data)))
	if err != nil || !reflect.DeepEqual(l.Config, Defaults()) {
		t.Errorf("the example as it is: %v, %+v", err, l.Config)
	}
}

// Each key through each source, with a value of its own, with plain numbers in its unit, and out of
// its bounds.
func TestEveryKey(t *testing.T) {
	type test struct {
		toml, text, want string
		bad              []string // TOML values
		message          string   // part of what each bad one is answered
	}
	tests := map[string]test{
		"data_dir": {`"/srv/edgesync"`, "/srv/edgesync", "/srv/edgesync", []string{`""`, `5`, `"a\nb"`, `["x"]`}, "must "},
		"cloud.host": {
			`"tb.example.org"`, "tb.example.org", "tb.example.org",
			[]string{`""`, `"https://tb/"`, `"tb:7070"`, `"[::1]"`, `"a b"`, `1`},
			"must ",
		},
		"cloud.port": {
			`7071`, "7071", "7071",
			[]string{`0`, `65536`, `-1`, `"x"`, `1.5`, `true`, `9223372036854775807`},
			"from 1 to 65535",
		},
		"cloud.timeout": {
			`1500`, "1500", "1.5s",
			[]string{
				`99`, `"2h"`, `"soon"`, `true`, `nan`, `inf`, `1e300`, `"-5s"`,
				`"0x10"`,
			},
			"must be from 100ms to 1h; a plain number means milliseconds",
		},
		"cloud.routing_key":         {`"b2a3"`, "b2a3", "b2a3", []string{`12`, `true`}, "double quotes"},
		"cloud.routing_secret":      {`"hush"`, "hush", "***", []string{`12`, `"a\u0000b"`}, "must "},
		"cloud.routing_secret_file": {`"/etc/s"`, "/etc/s", "/etc/s", []string{`12`}, "double quotes"},
		"cloud.edge_version":        {`4313`, "4313", "4313", []string{`-1`, `100000`}, "from 0 to 99999"},
		"cloud.tls.enabled":         {`true`, "true", "true", []string{`1`, `"maybe"`}, "true or false"},
		"cloud.tls.ca_file":         {`"/ca.pem"`, "/ca.pem", "/ca.pem", []string{`1`}, "double quotes"},
		"cloud.tls.server_name":     {`"tb"`, "tb", "tb", []string{`1`}, "double quotes"},
		"cloud.max_inbound_message_size": {
			`"16MiB"`, "16777216", "16MiB",
			[]string{`0`, `1048575`, `"257MiB"`, `"all"`, `-1`},
			`must be from 1MiB to 256MiB, as a number of bytes or with a unit, such as "64MiB", or "auto"`,
		},
		"batch.size":             {`1`, "1", "1", []string{`0`, `10001`}, "from 1 to 10000"},
		"batch.timeout":          {`250`, "250", "250ms", []string{`60001`, `-1`}, "from 0 to 1m; a plain number means milliseconds"},
		"retry.interval":         {`2500`, "2500", "2.5s", []string{`9`, `"25h"`}, "from 10ms to 1d; a plain number means milliseconds"},
		"retry.max":              {`0`, "0", "0", []string{`-1`, `1000001`}, "from 0 to 1000000"},
		"reconnect.interval":     {`1000`, "1000", "1s", []string{`9`, `"25h"`}, "milliseconds"},
		"reconnect.max_interval": {`120000`, "120000", "2m", []string{`9`, `"25h"`}, "milliseconds"},
		"keepalive.time":         {`360`, "360", "6m", []string{`9`, `"9s"`, `"25h"`}, "from 10s to 1d; a plain number means seconds"},
		"keepalive.timeout":      {`1.5`, "1.5", "1.5s", []string{`0`, `"2h"`}, "from 1s to 1h; a plain number means seconds"},
		"queue.durability":       {`"interval"`, "interval", "interval", []string{`"never"`, `""`}, "always"},
		"queue.sync_interval":    {`250`, "250", "250ms", []string{`9`, `60001`}, "milliseconds"},
		"queue.keep_acknowledged": {
			`"4MiB"`, "4194304", "4MiB",
			[]string{`-1`, `"2TiB"`, `"much"`},
			"from 0 to",
		},
		"queue.flash_endurance": {`"2TiB"`, "2TiB", "2TiB", []string{`-1`, `"2000000TiB"`}, "from 0 to"},
		"queue.max_bytes": {
			`"64MiB"`, "67108864", "64MiB",
			[]string{
				`0`, `1048575`, `"2TiB"`, `"much"`, `-1`, `"1e9"`, `"99999999TiB"`,
				`"Auto?"`,
			},
			`must be from 1MiB to 1TiB, as a number of bytes or with a unit, such as "64MiB", or "auto"`,
		},
		"queue.max_age": {
			`86400`, "1d", "1d",
			[]string{`-1`, `"20000d"`, `"300000d"`, `"1y"`},
			"from 0 to 18250d; a plain number means seconds",
		},
		"queue.policy":       {`"thin"`, "thin", "thin", []string{`"drop"`, `1`}, ""},
		"queue.flash_budget": {`"1GiB"`, "1GiB", "1GiB", []string{`-1`, `"2TiB"`}, "from 0 to 1TiB"},
		"queue.max_delay":    {`100`, "100", "100ms", []string{`60001`}, "milliseconds"},
		"rules.mode":         {`"off"`, "off", "off", []string{`"edge"`, `true`, `""`}, ""},
		"rules.on_failure":   {`"drop"`, "drop", "drop", []string{`"retry"`, `0`}, ""},
		"rules.file":         {`"/etc/chain.json"`, "/etc/chain.json", "/etc/chain.json", []string{`7`}, ""},
		"registry.keep":      {`["ota", "images"]`, "ota, images", "ota,images", []string{`["all"]`, `[1]`, `7`, `"x"`}, ""},
		"sync.full":          {`"never"`, "never", "never", []string{`"yes"`, `true`}, ""},
		"sync.repeat":        {`0`, "0", "0", []string{`-1`, `61`}, "from 0 to 1m; a plain number means seconds"},
		"report.interval":    {`600`, "10m", "10m", []string{`-1`, `"25h"`}, "from 0 to 1d; a plain number means seconds"},
		"http.listen": {
			`"[::1]:0"`, "[::1]:0", "[::1]:0",
			[]string{`"8080"`, `":65536"`, `":http"`, `":-1"`, `":080"`, `8080`, `"http://:80"`},
			"must ",
		},
		"http.max_body":      {`"512KiB"`, "524288", "512KiB", []string{`1023`, `"17MiB"`}, "from 1KiB to 16MiB"},
		"http.tls.listen":    {`":8443"`, ":8443", ":8443", []string{`"x"`, `8443`}, "must "},
		"http.tls.cert_file": {`"/c.pem"`, "/c.pem", "/c.pem", []string{`1`}, "double quotes"},
		"http.tls.key_file":  {`"/k.pem"`, "/k.pem", "/k.pem", []string{`1`}, "double quotes"},
		"mqtt.listen":        {`""`, "", "", []string{`"x"`}, "must "},
		"mqtt.map": {
			`[{filter = "tele/+/SENSOR", device = 1}]`, `[{device = "$1", filter = 'tele/+/SENSOR'}]`,
			`[{filter = "tele/+/SENSOR", device = "$1", as = "telemetry"}]`,
			[]string{`"tele/+/SENSOR"`, `5`, `["a"]`, `[{filter = "a"}]`, `[1, {}]`, `"[{"`, `"[]\ny=1"`},
			"",
		},
		"mqtt.tls.listen":    {`":8883"`, ":8883", ":8883", []string{`"x"`, `8883`}, "must "},
		"mqtt.tls.cert_file": {`"/c.pem"`, "/c.pem", "/c.pem", []string{`1`}, "double quotes"},
		"mqtt.tls.key_file":  {`"/k.pem"`, "/k.pem", "/k.pem", []string{`1`}, "double quotes"},
		"log.format":         {`"json"`, "json", "json", []string{`"xml"`, `""`}, "must be one of: text, json"},
		"log.target":         {`"procd"`, "procd", "procd", []string{`"syslog"`, `""`}, "must be one of: auto, stderr, procd, journal"},
		"log.level":          {`"debug"`, "debug", "debug", []string{`"loud"`, `""`}, "must be one of: debug, info, warn, error"},
	}
	value := func(l *Loaded, path string) Value {
		for _, v := range l.Values() {
			if v.Key == path {
				return v
			}
		}
		t.Fatalf("no value for %s", path)
		return Value{}
	}
	for _, k := range keys {
		t.Run(k.path, func(t *testing.T) {
			tt, ok := tests[k.path]
			if !ok {
				t.Fatal("a key without a test")
			}
			file := writeFile(t, "c.toml", "\n\n"+k.path+" = "+tt.toml+"\n")
			sources := []struct {
				env    []string
				args   []string
				source string
			}{
				{nil, []string{"--config", file}, file + ":3"},
				{[]string{k.env() + "=" + tt.text}, nil, k.env()},
				{nil, []string{"--" + k.path + "=" + tt.text}, "--" + k.path},
				// Each beats the one before.
				{[]string{k.env() + "=" + tt.text}, []string{"--config", file}, k.env()},
				{[]string{k.env() + "=" + tt.text}, []string{"--config", file, "-" + k.path + "=" + tt.text}, "--" + k.path},
			}
			for _, s := range sources {
				l, err := load(t, s.env, s.args...)
				if err != nil {
					t.Errorf("%q %q: %v", s.env, s.args, err)
					continue
				}
				if got, want := value(l, k.path), (Value{k.path, tt.want, s.source}); got != want {
					t.Errorf("%q %q: %q, want %q", s.env, s.args, got, want)
				}
			}
			for _, bad := range tt.bad {
				file := writeFile(t, "bad.toml", "# x\n"+k.path+" = "+bad+"\n")
				l, err := load(t, nil, "--config", file)
				if !errors.Is(err, ErrInvalid) {
					t.Errorf("%s = %s: %v, want ErrInvalid", k.path, bad, err)
					continue
				}
				for _, part := range []string{k.path, file + ":2", tt.message} {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%s = %s: %q lacks %q", k.path, bad, err, part)
					}
				}
				if v := value(l, k.path); v.Source != "default" {
					t.Errorf("%s = %s was taken: %q", k.path, bad, v)
				}
			}
		})
	}
}

func TestAliases(t *testing.T) {
	tests := []struct {
		env  []string
		path string
		want string
	}{
		{[]string{"CLOUD_ROUTING_KEY=k"}, "cloud.routing_key", "k"},
		{[]string{"CLOUD_ROUTING_SECRET=s"}, "cloud.routing_secret", "***"},
		{[]string{"CLOUD_RPC_HOST=h"}, "cloud.host", "h"},
		{[]string{"CLOUD_RPC_PORT=7"}, "cloud.port", "7"},
		{[]string{"CLOUD_RPC_TIMEOUT=100"}, "cloud.timeout", "100ms"},
		{[]string{"CLOUD_RPC_TIMEOUT=99"}, "cloud.timeout", "1m39s"},
		{[]string{"CLOUD_RPC_TIMEOUT=5"}, "cloud.timeout", "5s"},
		{[]string{"CLOUD_RPC_TIMEOUT=7s"}, "cloud.timeout", "7s"},
		{[]string{"CLOUD_RPC_SSL_ENABLED=true"}, "cloud.tls.enabled", "true"},
		{[]string{"CLOUD_RPC_SSL_CERT=/x"}, "cloud.tls.ca_file", "/x"},
		{[]string{"CLOUD_RPC_HOST=h", "EDGESYNC_CLOUD_HOST=ours"}, "cloud.host", "ours"},
		{[]string{"EDGESYNC_CLOUD_HOST=ours", "CLOUD_RPC_HOST=h"}, "cloud.host", "ours"},
		{[]string{"HTTP_BIND_ADDRESS=127.0.0.1"}, "http.listen", "127.0.0.1:8080"},
		{[]string{"HTTP_BIND_PORT=0"}, "http.listen", ":0"},
		{[]string{"HTTP_BIND_ADDRESS=::1", "HTTP_BIND_PORT=9"}, "http.listen", "[::1]:9"},
		{[]string{"HTTP_BIND_ADDRESS=0.0.0.0", "EDGESYNC_HTTP_LISTEN="}, "http.listen", ""},
		{[]string{"MQTT_BIND_ADDRESS=10.0.0.1", "MQTT_BIND_PORT=1884"}, "mqtt.listen", "10.0.0.1:1884"},
	}
	for _, tt := range tests {
		l, err := load(t, tt.env)
		if err != nil {
			t.Errorf("%q: %v", tt.env, err)
			continue
		}
		for _, v := range l.Values() {
			if v.Key == tt.path && v.Value != tt.want {
				t.Errorf("%q: %s = %q, want %q", tt.env, v.Key, v.Value, tt.want)
			}
		}
	}
	l, err := load(t, []string{"CLOUD_RPC_TIMEOUT=5", "CLOUD_RPC_PROT=1", "CLOUD_RPC_KEEP_ALIVE_TIME_SEC=10", "CLOUD_RUN=x"})
	if err != nil || len(l.Notices) != 2 || !strings.Contains(l.Notices[0], "5 seconds") ||
		!strings.Contains(l.Notices[1], "CLOUD_RPC_PORT") {
		t.Errorf("notices %q (%v), want one on the timeout and one on the slip", l.Notices, err)
	}
	if _, err := load(t, []string{"HTTP_BIND_PORT=http"}); err == nil || !strings.Contains(err.Error(), `HTTP_BIND_PORT = "http"`) {
		t.Errorf("HTTP_BIND_PORT=http: %v", err)
	}
	// A listener that is off is not opened by an address alone.
	file := writeFile(t, "c.toml", "http.listen = ''\n")
	if l, err := load(t, []string{"HTTP_BIND_ADDRESS=127.0.0.1"}, "--config", file); err != nil || l.Config.HTTP.Listen != "" {
		t.Errorf("off and an address: %v, %q", err, l.Config.HTTP.Listen)
	}
}

func TestUnknownNames(t *testing.T) {
	file := writeFile(t, "c.toml", `
max.retries = 3
dta_dir = "x"
[clod]
host = "x"
[cloud]
hots = "x"
[cloud.tls]
cafile = "x"
[queue]
max_byte = 1
zzzzzzzzzzzzz = 1
`)
	_, err := load(t, []string{
		"EDGESYNC_CLOUD_HOTS=x", "EDGESYNC_ROUTING_KEY=x", "EDGESYNC_MAX_RETRIES=3",
		"EDGESYNC_XYZZY=1",
	}, "--config", file)
	if err == nil {
		t.Fatal("unknown names were taken")
	}
	for _, want := range []string{
		file + `:3: unknown key "dta_dir"; did you mean "data_dir"?`,
		file + `:4: unknown section "clod"; did you mean "cloud"?`,
		file + `:7: unknown key "cloud.hots"; did you mean "cloud.host"?`,
		file + `:9: unknown key "cloud.tls.cafile"; did you mean "cloud.tls.ca_file"?`,
		file + `:11: unknown key "queue.max_byte"; did you mean "queue.max_bytes"?`,
		file + `:12: unknown key "queue.zzzzzzzzzzzzz"; `,
		`unknown variable "EDGESYNC_CLOUD_HOTS"; did you mean EDGESYNC_CLOUD_HOST?`,
		`unknown variable "EDGESYNC_ROUTING_KEY"; did you mean EDGESYNC_CLOUD_ROUTING_KEY?`,
		`unknown variable "EDGESYNC_MAX_RETRIES"; did you mean EDGESYNC_RETRY_MAX?`,
		`unknown variable "EDGESYNC_XYZZY"; ` + "`edgesync help run` lists all",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q\nlacks %q", err, want)
		}
	}
	for name, want := range map[string]string{
		"-cloud-prot": "--cloud.port", "cloud.secret": "--cloud.routing_secret", "cloud.key": "--cloud.routing_key",
		"secret": "--cloud.routing_secret", "queue.bytes": "--queue.max_bytes", "tls.enabled": "--cloud.tls.enabled",
		"queue.max": "", "foo": "", "x": "",
	} {
		if got := SuggestFlag(name, "from", "form"); got != want {
			t.Errorf("%s: flag suggestion %q, want %q", name, got, want)
		}
	}
	if got := Nearest("foo", "log", "run", "for"); got != "for" {
		t.Errorf("%q", got)
	}
}

// A document of thousands of unknown keys is answered with a bounded report.
func TestManyUnknownKeys(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		b.WriteString("k" + strings.Repeat("y", i%40) + string(rune('a'+i%26)) + formatSize(int64(i)) + " = 1\n")
	}
	_, err := load(t, nil, "--config", writeFile(t, "c.toml", b.String()))
	var ce *Error
	if !errors.As(err, &ce) || len(ce.Problems) != maxUnknown+1 || !strings.Contains(err.Error(), "4980 unknown keys more") {
		t.Errorf("%d problems: %.300s", len(ce.Problems), err)
	}
}

func TestFiles(t *testing.T) {
	old := configFiles
	defer func() { configFiles = old }()
	second := writeFile(t, "second.toml", "cloud.port = 2")
	configFiles = []string{filepath.Join(t.TempDir(), "none.toml"), second}
	l, err := Load(new(Flags), nil)
	if err != nil || l.File != second || l.Config.Cloud.Port != 2 {
		t.Errorf("second file: %v, %q, port %d", err, l.File, l.Config.Cloud.Port)
	}
	for name, want := range map[string]string{
		filepath.Join(t.TempDir(), "gone.toml"): "no such file",
		t.TempDir():                             "is a directory",
		writeFile(t, "big.toml", strings.Repeat("#", maxConfigFile+1)): "larger than 1MiB",
		writeFile(t, "syntax.toml", "a = 1\nb = = 2\n"):                "syntax.toml:2: not TOML: ",
		writeFile(t, "twice.toml", "[cloud]\n[cloud]\n"):               "twice.toml:2: not TOML: ",
		writeFile(t, "binary.toml", "\x00\xff"):                        "binary.toml",
		writeFile(t, "section.toml", "cloud = 1\n"):                    "section.toml:1: cloud is a section: write [cloud]",
		writeFile(t, "list.toml", "[[cloud]]\nhost='x'\n"):             "list.toml:1: cloud is a section: write [cloud]",
		writeFile(t, "table.toml", "[cloud.host]\n"):                   "cloud.host (",
		"": "no such file",
	} {
		if _, err := load(t, nil, "--config", name); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if l, err := load(t, nil, "--config",
		writeFile(t, "bom.toml", "\ufeffcloud.port = 5\r\n[log]\r\nlevel='warn'\r\n")); err != nil ||
		l.Config.Cloud.Port != 5 || l.Config.Log.Level != "warn" {
		t.Errorf("byte order mark and CRLF: %v", err)
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	file := writeFile(t, "c.toml", "cloud.port = 0\nnope = 1\n")
	_, err := load(t, []string{"EDGESYNC_BATCH_SIZE=", "EDGESYNC_LOG_LEVLE=info"}, "--config", file,
		"--http.listen=x", "--reconnect.interval=2m")
	var ce *Error
	if !errors.As(err, &ce) || len(ce.Problems) != 6 {
		t.Fatalf("%v, want six problems", err)
	}
	for _, want := range []string{
		"cloud.port = 0 (" + file + ":1)", "nope", "EDGESYNC_BATCH_SIZE",
		"EDGESYNC_LOG_LEVEL", "--http.listen", "reconnect.max_interval = 1m (default)",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

// A secret that can be guessed is told, and used all the same: it may be the cloud's own.
func TestShortSecret(t *testing.T) {
	for secret, want := range map[string]int{"hush5": 1, "hush-6": 0} {
		l, err := load(t, nil, "--cloud.routing_key=k", "--cloud.routing_secret="+secret)
		if err != nil || l.Complete() != nil || l.Config.Cloud.RoutingSecret != secret {
			t.Fatalf("%v, %v", err, l.Complete())
		}
		if len(l.Notices) != want || want == 1 && !strings.Contains(l.Notices[0], "so short that it can be guessed") {
			t.Errorf("%q: notices %q", secret, l.Notices)
		}
	}
}

func TestComplete(t *testing.T) {
	secret := writeFile(t, "secret", "\n  hush-hush \n")
	empty := writeFile(t, "empty", " \n")
	open := writeFile(t, "open", "hush-hush")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	noCA := writeFile(t, "ca.pem", "nothing")
	tests := []struct {
		args   []string
		want   []string // parts of the error; none: no error
		notice string
	}{
		{nil, []string{"cloud.routing_key is missing", "Copy edge key", "cloud.routing_secret is missing", "Copy edge secret"}, ""},
		{[]string{"--cloud.routing_key=k", "--cloud.routing_secret=hush-hush"}, nil, ""},
		{[]string{"--cloud.routing_key=k", "--cloud.routing_secret_file=" + secret}, nil, ""},
		{[]string{"--cloud.routing_key=k", "--cloud.routing_secret_file=" + open}, nil, "chmod 600"},
		{[]string{"--cloud.routing_key=k", "--cloud.routing_secret_file=" + empty}, []string{"is empty", empty}, ""},
		{[]string{"--cloud.routing_key=k", "--cloud.routing_secret_file=/nowhere/x"}, []string{"/nowhere/x", "no such file"}, ""},
		{[]string{
			"--cloud.routing_key=k", "--cloud.routing_secret=hush-hush",
			"--cloud.routing_secret_file=" + secret,
		}, []string{"both set"}, ""},
		{[]string{"--cloud.routing_key=k", "--cloud.routing_secret=hush-hush", "--cloud.tls.ca_file=x"}, nil, "not encrypted"},
		{[]string{
			"--cloud.routing_key=k", "--cloud.routing_secret=hush-hush", "--cloud.tls.enabled",
			"--cloud.tls.ca_file=" + noCA,
		}, []string{"no certificate", noCA}, ""},
		{[]string{
			"--cloud.routing_key=k", "--cloud.routing_secret=hush-hush", "--cloud.tls.enabled",
			"--cloud.tls.ca_file=/nowhere/x",
		}, []string{"/nowhere/x", "no such file"}, ""},
		{
			[]string{"--cloud.routing_key=k", "--cloud.routing_secret=hush-hush", "--mqtt.tls.listen=:0"},
			[]string{"needs mqtt.tls.cert_file"},
			"",
		},
		{
			[]string{"--cloud.routing_key=k", "--cloud.routing_secret=hush-hush", "--http.tls.listen=:0", "--http.tls.key_file=x"},
			[]string{"needs http.tls.cert_file"},
			"",
		},
		{[]string{
			"--cloud.routing_key=k", "--cloud.routing_secret=hush-hush", "--mqtt.tls.listen=:0",
			"--mqtt.tls.cert_file=/nowhere/x", "--mqtt.tls.key_file=" + noCA,
		}, []string{"/nowhere/x", "no such file"}, ""},
	}
	for _, tt := range tests {
		l, err := load(t, nil, tt.args...)
		if err != nil {
			t.Fatal(err)
		}
		err = l.Complete()
		if len(tt.want) == 0 {
			if err != nil {
				t.Errorf("%q: %v", tt.args, err)
			}
			if l.Config.Cloud.RoutingSecret != "hush-hush" {
				t.Errorf("%q: the secret was not read", tt.args)
			}
		} else if !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", tt.args, err)
		}
		for _, w := range tt.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %v lacks %q", tt.args, err, w)
			}
		}
		if got := strings.Join(l.Notices, "\n"); (tt.notice == "") != (got == "") || !strings.Contains(got, tt.notice) {
			t.Errorf("%q: notices %q, want %q", tt.args, got, tt.notice)
		}
		for _, v := range l.Values() {
			if strings.Contains(v.Value, "hush") {
				t.Errorf("%q: %s shows the secret", tt.args, v.Key)
			}
		}
	}
}

// However wrong it is written, a secret does not come back in an error.
func TestErrorsHideTheSecret(t *testing.T) {
	const hush = "c0ffee5ecre7"
	docs := []string{
		"cloud.routing_secret = " + hush,
		"cloud.routing_secret = \"" + hush,
		"cloud.routing_secret = \"" + hush + "\\q\"",
		"cloud.routing_secret = \"" + hush + "\n\"",
		"cloud.routing_secret = [\"" + hush + "\"]",
		"cloud.routing_secret = {x = \"" + hush + "\"}",
		"cloud.routing_secrte = \"" + hush + "\"",
		"cloud.routing_secret = \"" + hush + "\\u0001\"",
		"[cloud]\nrouting_secret = '" + hush + "'\nrouting_secret = '" + hush + "'",
		"cloud.routing_secret_" + "x = '" + hush + "'",
	}
	for _, doc := range docs {
		_, err := load(t, nil, "--config", writeFile(t, "c.toml", doc))
		if err == nil {
			t.Errorf("%q was taken", doc)
		} else if strings.Contains(err.Error(), hush) {
			t.Errorf("%q: %v", doc, err)
		}
	}
	if _, err := load(t, []string{
		"CLOUD_ROUTING_SECRET=" + hush + "\x01",
		"EDGESYNC_CLOUD_ROUTING_SECRT=" + hush,
	}); err == nil || strings.Contains(err.Error(), hush) {
		t.Errorf("environment: %v", err)
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"host", "hots", 1}, {"host", "host", 0}, {
		"kitten", "sitting",
		3,
	}, {"ab", "ba", 1}, {"abc", "cab", 2}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	example, err := os.ReadFile("../../config.toml.example")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(example), "EDGESYNC_CLOUD_TIMEOUT", "5", "64MiB")
	f.Add("[cloud]\nport = 1\n[queue]\nmax_bytes = 'auto'", "CLOUD_RPC_TIMEOUT", "99", "1e9")
	f.Add("cloud = [[[[1]]]]\nx.y.z = 1979-05-27", "HTTP_BIND_ADDRESS", "::1", "-9223372036854775808")
	f.Add("registry.keep = ['a', 1, {}]\nbatch.timeout = inf", "EDGESYNC_", "", "9e999TiB")
	f.Fuzz(func(t *testing.T, doc, name, value, text string) {
		l := &Loaded{sources: map[string]string{}}
		var e Error
		for i := range keys {
			if keys[i].def != "" {
				l.assign(&keys[i], keys[i].def, "default", &e)
			}
		}
		l.decode("c.toml", []byte(doc), &e)
		l.readEnv([]string{name + "=" + value}, &e)
		for i := range keys {
			k := &keys[i]
			// Whatever is accepted is inside its bounds and, written out, means the same again.
			_ = k.set(&l.Config, text)
			var again Config
			if k.get(&l.Config) != k.get(&again) {
				if err := k.set(&again, k.get(&l.Config)); err != nil {
					t.Fatalf("%s = %q was taken and is refused when written out: %v", k.path, k.get(&l.Config), err)
				}
			}
			if a, b := k.get(&l.Config), k.get(&again); a != b {
				t.Fatalf("%s: %q became %q", k.path, a, b)
			}
		}
		if len(e.Problems) > 2*len(keys)+2*maxUnknown+4 {
			t.Fatalf("%d problems", len(e.Problems))
		}
	})
}

// Keys are copied from a page, and what comes along around them is no part of them.
func TestKeysAreTrimmed(t *testing.T) {
	for _, c := range [][2]string{{" k\n", "\ts s "}, {"k\r\n", "s s\u00a0"}, {"\u00a0k", "\n\ns s"}, {"k", "s s"}} {
		l, err := load(t, nil, "--cloud.routing_key="+c[0], "--cloud.routing_secret="+c[1])
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Config.Cloud; got.RoutingKey != "k" || got.RoutingSecret != "s s" || l.Complete() != nil {
			t.Errorf("%q: key %q, secret %q", c, got.RoutingKey, got.RoutingSecret)
		}
	}
	l, err := load(t, nil, "--cloud.routing_key= \n", "--cloud.routing_secret=\u00a0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Complete(); err == nil || !strings.Contains(err.Error(), "cloud.routing_key is missing") ||
		!strings.Contains(err.Error(), "cloud.routing_secret is missing") {
		t.Errorf("blanks alone: %v", err)
	}
}
