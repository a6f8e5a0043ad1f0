package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"edgesync/sync/device/foreign"
)

// The tables of the file, with every key, become maps in their order; in a variable the same tables
// mean the same.
func TestMapsOfTopics(t *testing.T) {
	doc := `
[mqtt]
listen = ":0"

[[mqtt.map]]
filter = "zigbee2mqtt/bridge/#"
as = "ignore"

[[mqtt.map]]
filter = "+/status/+"
device = "shelly \"$1\" \\ ü"
type = "shelly"
as = "attributes"
key = 2
prefix = "$2."
flatten = true

[[mqtt.map]]
filter = "tele/+/SENSOR"
device = 1

[mqtt.tls]
listen = ""
`
	want := []foreign.Map{
		{Filter: "zigbee2mqtt/bridge/#", As: "ignore"},
		{Filter: "+/status/+", Device: `shelly "$1" \ ü`, Type: "shelly", As: "attributes", Key: "$2", Prefix: "$2.", Flatten: true},
		{Filter: "tele/+/SENSOR", Device: "$1", As: "telemetry"},
	}
	l, err := load(t, nil, "--config", writeFile(t, "c.toml", doc))
	if err != nil || !reflect.DeepEqual(l.Config.MQTT.Maps, want) {
		t.Fatalf("%v\n%+v, want\n%+v", err, l.Config.MQTT.Maps, want)
	}
	text := ""
	for _, v := range l.Values() {
		if v.Key == "mqtt.map" {
			text = v.Value
		}
	}
	if want := `[{filter = "zigbee2mqtt/bridge/#", as = "ignore"}, ` +
		`{filter = "+/status/+", device = "shelly \"$1\" \\ ü", type = "shelly", as = "attributes", key = "$2", ` +
		`prefix = "$2.", flatten = true}, ` +
		`{filter = "tele/+/SENSOR", device = "$1", as = "telemetry"}]`; text != want {
		t.Errorf("shown as %s\nwant %s", text, want)
	}
	for _, l := range []func() (*Loaded, error){
		func() (*Loaded, error) { return load(t, []string{"EDGESYNC_MQTT_MAP=" + text}) },
		func() (*Loaded, error) { return load(t, nil, "--mqtt.map", text) },
	} {
		if l, err := l(); err != nil || !reflect.DeepEqual(l.Config.MQTT.Maps, want) {
			t.Errorf("%v: %+v", err, l.Config.MQTT.Maps)
		}
	}
	// An empty variable means none, as with every key.
	file := writeFile(t, "c.toml", doc)
	if l, err := load(t, []string{"EDGESYNC_MQTT_MAP="}, "--config", file); err != nil || l.Config.MQTT.Maps != nil {
		t.Errorf("an empty variable: %v, %+v", err, l.Config.MQTT.Maps)
	}
}

// What is wrong in a table is said with the table and the key, of all tables at once.
func TestMapsOfTopicsSayWhatIsWrong(t *testing.T) {
	tables := func(n int, body string) string {
		return strings.Repeat("[[mqtt.map]]\n"+body+"\n", n)
	}
	for _, c := range []struct {
		doc      string
		problems int
		want     []string
	}{
		{
			tables(1, `filter = "a/+"`+"\ndevice = 1") + tables(1, `filter = "a/#/b"`+"\ndevice = 1") + tables(1, `filtre = "a"`),
			2,
			[]string{
				`mqtt.map (`, `c.toml): table 2: filter = "a/#/b": must have # as its last level only`,
				`: table 3: unknown key "filtre"; did you mean "filter"?`,
			},
		},
		{tables(1, `filter = "a/+"`), 1, []string{"table 1: device is missing"}},
		{tables(1, `filter = "a/+"`+"\ndevice = 2"), 1, []string{`table 1: device = 2: names wildcard 2, and the filter has 1`}},
		{tables(1, `filter = "a/+"`+"\ndevice = 0"), 1, []string{"table 1: device = 0: must be text in double quotes, or the number"}},
		{tables(1, `filter = "a/+"`+"\ndevice = 1.5"), 1, []string{"table 1: device = 1.5: must be text"}},
		{tables(1, `filter = 7`), 1, []string{"table 1: filter = 7: must be text in double quotes"}},
		{tables(1, `filter = "a"`+"\ndevice = 'd'\nflatten = 1"), 1, []string{"table 1: flatten = 1: must be true or false"}},
		{
			tables(1, `filter = "a"`+"\ndevice = 'd'\nas = 'values'"), 1,
			[]string{`table 1: as = "values": must be one of: telemetry, attributes, ignore`},
		},
		{
			tables(1, `filter = "a"`+"\nxyzzy = 1"), 1,
			[]string{`table 1: unknown key "xyzzy"; there are filter, device, type, as, key, prefix, flatten`},
		},
		{tables(1, `filter = "`+strings.Repeat("x", 257)+`"`), 1, []string{"table 1: filter = \"", "must be at most 256 bytes long"}},
		{tables(65, `filter = "a"`+"\nas = 'ignore'"), 1, []string{"must be at most 64 tables, and is 65"}},
		{tables(64, `filter = ""`), maxTableErrors, []string{"table 10: filter"}},
		{"[mqtt.map]\nfilter = 'a'", 1, []string{"c.toml:1: each table of mqtt.map is written with two brackets: [[mqtt.map]]"}},
		{"mqtt.map = 'nonsense'", 1, []string{`mqtt.map = "nonsense" (`, "must be tables: [[mqtt.map]]"}},
	} {
		l, err := load(t, nil, "--config", writeFile(t, "c.toml", c.doc))
		var e *Error
		if !errors.As(err, &e) || len(e.Problems) != c.problems {
			t.Errorf("%.60q: %v, want %d problems", c.doc, err, c.problems)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%.60q: %v lacks %q", c.doc, err, want)
			}
		}
		if l.Config.MQTT.Maps != nil {
			t.Errorf("%.60q: taken: %+v", c.doc, l.Config.MQTT.Maps)
		}
	}
	file := writeFile(t, "c.toml", tables(64, `filter = "a"`+"\nas = 'ignore'"))
	if l, err := load(t, nil, "--config", file); err != nil || len(l.Config.MQTT.Maps) != 64 {
		t.Errorf("64 tables: %v, %d", err, len(l.Config.MQTT.Maps))
	}
	if _, err := load(t, []string{"EDGESYNC_MQTT_MAP=[" + strings.Repeat(" ", maxTables) + "]"}); err == nil ||
		!strings.Contains(err.Error(), "must be at most 128KiB long") {
		t.Errorf("a long variable: %.200v", err)
	}
	if _, err := load(t, []string{fmt.Sprintf("EDGESYNC_MQTT_MAP=[{filter=%q}]", "a/+")}); err == nil ||
		!strings.Contains(err.Error(), "mqtt.map (EDGESYNC_MQTT_MAP): table 1: device is missing") {
		t.Errorf("a variable: %v", err)
	}
}
