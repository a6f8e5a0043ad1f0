package foreign

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func compile(t testing.TB, maps ...Map) *Set {
	t.Helper()
	for i := range maps {
		if maps[i].As == "" {
			maps[i].As = Telemetry
		}
		if maps[i].Device == "" && maps[i].As != Ignore {
			maps[i].Device = "d"
		}
	}
	s, err := Compile(maps)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The topics that Tasmota, ESPHome, Shelly and zigbee2mqtt publish, and what stands beside them.
func TestFind(t *testing.T) {
	s := compile(t,
		Map{Filter: "zigbee2mqtt/bridge/#", As: Ignore},
		Map{Filter: "zigbee2mqtt/+/availability", Device: "$1", Prefix: "availability."},
		Map{Filter: "zigbee2mqtt/#", Device: "$1", Type: "zigbee"},
		Map{Filter: "tele/+/SENSOR", Device: "tasmota $1", Flatten: true},
		Map{Filter: "stat/+/RESULT", Device: "$1"},
		Map{Filter: "shellies/+/#", Device: "$1", Key: "$2"},
		Map{Filter: "+/status/+", Device: "$1", Prefix: "$2."},
		Map{Filter: "+/+/+/state", Device: "$1", Key: "$3 ($2, $$)", Prefix: "$$$1/"},
		Map{Filter: "boiler/temperature", Device: "Boiler room"},
		Map{Filter: "home//+", Device: "$1"},
	)
	for _, c := range []struct{ topic, want string }{
		{"tele/kitchen/SENSOR", "tasmota kitchen|SENSOR|"},
		{"tele/DVES 3F/SENSOR", "tasmota DVES 3F|SENSOR|"},
		{"tele//SENSOR", "tasmota |SENSOR|"},
		{"tele/kitchen/STATE", ""},
		{"tele/kitchen/SENSOR/", ""},
		{"tele/kitchen", ""},
		{"Tele/kitchen/SENSOR", ""},
		{"stat/plug/RESULT", "plug|RESULT|"},
		{"shellies/shelly1pm-AABB/relay/0/power", "shelly1pm-AABB|relay/0/power|"},
		{"shellies/shelly1pm-AABB/online", "shelly1pm-AABB|online|"},
		{"shellies/announce", ""},
		{"shellies/", ""},
		{"shellyplus1-08b61f/status/switch:0", "shellyplus1-08b61f|switch:0|switch:0."},
		{"node/sensor/water temperature/state", "node|water temperature (sensor, $)|$node/"},
		{"node/sensor/x/command", ""},
		{"zigbee2mqtt/bridge/state", "ignore"},
		{"zigbee2mqtt/bridge/log/more", "ignore"},
		{"zigbee2mqtt/bridge", "bridge|bridge|"}, // # is one level at least
		{"zigbee2mqtt/lamp/availability", "lamp|availability|availability."},
		{"zigbee2mqtt/floor 1/lamp", "floor 1/lamp|lamp|"},
		{"zigbee2mqtt/pantry", "pantry|pantry|"},
		{"zigbee2mqtt", ""},
		{"boiler/temperature", "Boiler room|temperature|"},
		{"home//x", "x|x|"},
		{"home/x", ""},
		{"$SYS/status/load", ""}, // what a broker says of itself
		{"", ""},
		{"/", ""},
		{"//", ""},
	} {
		got := ""
		if m, ok := s.Find(c.topic); ok {
			if got = m.As; got != Ignore {
				got = m.Device() + "|" + m.Key() + "|" + m.Prefix()
			}
		}
		if got != c.want {
			t.Errorf("%q is %q, want %q", c.topic, got, c.want)
		}
	}
	all := compile(t, Map{Filter: "#", Device: "$1"})
	if m, ok := all.Find("a/b"); !ok || m.Device() != "a/b" {
		t.Errorf("# finds %v, device %q", ok, m.Device())
	}
	if _, ok := all.Find("$SYS/broker/uptime"); ok {
		t.Error("# finds what a broker says of itself")
	}
	if _, ok := compile(t, Map{Filter: "$SYS/+/uptime"}).Find("$SYS/broker/uptime"); !ok {
		t.Error("a filter that names $SYS does not find it")
	}
	if m, ok := (*Set)(nil).Find("a"); ok {
		t.Errorf("no maps find %v", m.Map)
	}
}

func TestCheck(t *testing.T) {
	long := strings.Repeat("x", MaxText+1)
	for _, c := range []struct {
		m    Map
		want string // the key, and part of the text
	}{
		{Map{Filter: "tele/+/SENSOR", Device: "$1", As: Telemetry}, ""},
		{Map{Filter: "a", Device: "Boiler", As: Attributes, Key: "k", Prefix: "p.", Type: "$x is no template", Flatten: true}, ""},
		{Map{Filter: "zigbee2mqtt/bridge/#", As: Ignore}, ""},
		{Map{Filter: "+/+/+/+/+/+/+/+/#", Device: "$9", As: Telemetry}, ""},
		{Map{Filter: strings.Repeat("x", MaxFilter), Device: "d", As: Telemetry}, ""},
		{Map{Device: "d", As: Telemetry}, "filter is missing"},
		{Map{Filter: strings.Repeat("x", MaxFilter+1), Device: "d", As: Telemetry}, "filter must be at most 256 bytes"},
		{Map{Filter: "a/\x00", Device: "d", As: Telemetry}, "filter must not contain"},
		{Map{Filter: "a\xff", Device: "d", As: Telemetry}, "filter must be UTF-8"},
		{Map{Filter: "#/a", Device: "d", As: Telemetry}, "filter must have # as its last level"},
		{Map{Filter: "a/b#", Device: "d", As: Telemetry}, "filter must have + and # as whole levels"},
		{Map{Filter: "a/+b/c", Device: "d", As: Telemetry}, "filter must have + and # as whole levels"},
		{Map{Filter: "+/+/+/+/+/+/+/+/+/#", Device: "d", As: Telemetry}, "filter must have at most 9 wildcards"},
		{Map{Filter: "a/+", As: Telemetry}, "device is missing"},
		{Map{Filter: "a/+", Device: "$2", As: Telemetry}, "device names wildcard 2, and the filter has 1"},
		{Map{Filter: "a/b", Device: "$1", As: Telemetry}, "device names wildcard 1, and the filter has 0"},
		{Map{Filter: "a/+", Device: "$1", Key: "$x", As: Telemetry}, "key must have a number"},
		{Map{Filter: "a/+", Device: "$1", Key: "$0", As: Telemetry}, "key must have a number"},
		{Map{Filter: "a/+", Device: "$1", Prefix: "a$", As: Telemetry}, "prefix must have a number"},
		{Map{Filter: "a/+", Device: "$1", Prefix: "$$$", As: Telemetry}, "prefix must have a number"},
		{Map{Filter: "a/+", Device: long, As: Telemetry}, "device must be at most 255"},
		{Map{Filter: "a/+", Device: "$1", Type: long, As: Telemetry}, "type must be at most 255"},
		{Map{Filter: "a/+", Device: "$1", Key: "a\nb", As: Telemetry}, "key must not contain"},
		{Map{Filter: "a/+", Device: "$1", As: "values"}, "as must be one of: telemetry, attributes, ignore"},
		{Map{Filter: "a/+", Device: "$1", As: Ignore}, "device means nothing"},
		{Map{Filter: "a/+", Prefix: "x", As: Ignore}, "prefix means nothing"},
		{Map{Filter: "a/+", Flatten: true, As: Ignore}, "flatten means nothing"},
	} {
		err := c.m.Check()
		var ke *KeyError
		switch {
		case c.want == "":
			if err != nil {
				t.Errorf("%+v: %v", c.m, err)
			}
		case !errors.As(err, &ke) || !strings.HasPrefix(err.Error(), c.want):
			t.Errorf("%+v: %v, want %q", c.m, err, c.want)
		}
	}
	if s, err := Compile(nil); s != nil || err != nil {
		t.Errorf("no maps: %v, %v", s, err)
	}
	many := make([]Map, MaxMaps+1)
	for i := range many {
		many[i] = Map{Filter: "a", As: Ignore}
	}
	if _, err := Compile(many); err == nil || !strings.Contains(err.Error(), "65") {
		t.Errorf("65 maps: %v", err)
	}
	many[3].As = ""
	if _, err := Compile(many[:MaxMaps]); err == nil || !strings.HasPrefix(err.Error(), "map 4: as must") {
		t.Errorf("a bad fourth map: %v", err)
	}
}

// A topic costs no allocation, whether a map matches or not.
func TestFindAllocatesNothing(t *testing.T) {
	maps := make([]Map, MaxMaps)
	for i := range maps {
		maps[i] = Map{Filter: fmt.Sprintf("+/x%d/#", i), Device: "$1"}
	}
	s := compile(t, maps...)
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := s.Find("node/y/state"); ok {
			t.Error("found")
		}
		if m, ok := s.Find("node/x63/state"); !ok || m.Device() != "node" || m.Key() != "state" {
			t.Error("not found")
		}
		if _, ok := (*Set)(nil).Find("node/y/state"); ok {
			t.Error("found")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// matches is what a filter means, said in another way: level by level, from both lists.
func matches(filter, topic string) (wilds []string, ok bool) {
	f, l := strings.Split(filter, "/"), strings.Split(topic, "/")
	if topic != "" && topic[0] == '$' && (f[0] == "+" || f[0] == "#") {
		return nil, false
	}
	if last := len(f) - 1; f[last] == "#" && len(l) >= len(f) {
		l = append(l[:last:last], strings.Join(l[last:], "/"))
	}
	if len(f) != len(l) {
		return nil, false
	}
	for i := range f {
		switch f[i] {
		case "+", "#":
			wilds = append(wilds, l[i])
		case l[i]:
		default:
			return nil, false
		}
	}
	return wilds, true
}

func FuzzFind(f *testing.F) {
	for _, s := range [][3]string{
		{"tele/+/SENSOR", "tele/kitchen/SENSOR", "$1"},
		{"zigbee2mqtt/#", "zigbee2mqtt/floor 1/lamp", "x$1$$"},
		{"+/+/+/state", "node/sensor/t/state", "$3.$2.$1"},
		{"#", "$SYS/x", "$1"},
		{"a//+", "a//", "$1"},
		{"/", "/", ""},
		{"+/#", "+", "$9"},
		{"a/#", "a", "$"},
		{"\xff", "\xff", "d"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, filter, topic, template string) {
		m := Map{Filter: filter, Device: template, As: Telemetry}
		set, err := Compile([]Map{m})
		if err != nil {
			return
		}
		got, ok := set.Find(topic)
		wilds, want := matches(filter, topic)
		if ok != want {
			t.Fatalf("%q matches %q: %v, want %v", filter, topic, ok, want)
		}
		if !ok {
			return
		}
		pairs := []string{"$$", "$"}
		for i, w := range wilds {
			pairs = append(pairs, fmt.Sprint("$", i+1), w)
		}
		if want := strings.NewReplacer(pairs...).Replace(template); got.Device() != want {
			t.Fatalf("%q of %q in %q is %q, want %q", template, topic, filter, got.Device(), want)
		}
		if key := got.Key(); !strings.HasSuffix("/"+topic, "/"+key) || strings.Contains(key, "/") {
			t.Fatalf("the key of %q is %q", topic, key)
		}
	})
}
