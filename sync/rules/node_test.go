package rules

import (
	"strings"
	"testing"

	"edgesync/proto"
)

// one runs steps through one node behind which each relation leads to a push, with the relation's
// name as what is pushed.
func one(t *testing.T, node string, relations ...string) *Trial {
	t.Helper()
	e := testEdge(t, Options{})
	nodes := []string{node}
	var links []string
	for _, name := range relations {
		i := len(nodes)
		nodes = append(nodes, `transform.TbTransformMsgNode|`+name+`|{"scriptLang":"TBEL","tbelScript":"return {msg: {r: '`+name+
			`', d: msg, m: metadata.size()}, metadata: {ts: metadata.ts}, msgType: 'POST_TELEMETRY_REQUEST'};"}`, push)
		links = append(links, "0>"+decimal(int64(i))+":"+name, decimal(int64(i))+">"+decimal(int64(i+1))+":Success")
	}
	e.chain(t, rootID, true, nodes, links...)
	return e
}

func TestRelationNodes(t *testing.T) {
	e := one(t, `filter.TbCheckRelationNode|c|{"direction":"TO","relationType":"Contains","checkForSingleEntity":false}`, "True", "False")
	want(t, e.post(t, 0, `{}`), `cloud {"r":"True","d":{},"m":1}`)
	want(t, e.send(t, 1, secondID, PostTelemetry, `{}`), `cloud {"r":"False","d":{},"m":1}`) // its profile's chain is not here: root
	e = one(t, `transform.TbChangeOriginatorNode|c|{"originatorSource":"RELATED","relationsQuery":{"direction":"TO","maxLevel":1,`+
		`"filters":[{"relationType":"Contains","entityTypes":["ASSET"],"negate":false}]}}`, "Success", "Failure")
	want(t, e.post(t, 0, `{}`), `cloud {"r":"Success","d":{},"m":1}`)
	e.values["00000000-0000-0000-0000-0000000000a1SERVER_SCOPEsn"] = Stored{0, `"S7"`}
	node := `metadata.TbGetRelatedAttributeNode|c|{"fetchTo":"DATA","dataMapping":{"sn":"serial"},"dataToFetch":"ATTRIBUTES",` +
		`"relationsQuery":{"direction":"TO","maxLevel":1,"filters":[]}}`
	e.chain(t, rootID, true, []string{node, push}, "0>1:Success")
	want(t, e.post(t, 1, `{"a":1}`), `cloud {"a":1,"serial":"S7"}`)
	e.chain(t, rootID, true, []string{
		`action.TbCreateRelationNode|c|{"direction":"TO","relationType":"Contains","entityType":"ASSET","entityNamePattern":"room"}`,
		`action.TbDeleteRelationNode|d|{"direction":"TO","relationType":"Contains","entityType":"ASSET",` +
			`"entityNamePattern":"none","deleteForSingleEntity":true}`,
		push,
	}, "0>1:Success", "1>2:Failure")
	out, err := e.step(`{"at":2,"in":{"msgType":"POST_TELEMETRY_REQUEST","originator":{"entityType":"DEVICE",` +
		`"id":"` + deviceID + `"},"data":{"z":1}}}`)
	if err != nil || len(out.get("changes").items) != 1 || len(out.get("cloud").items) != 1 {
		t.Error(out, err)
	}
}

func TestOwnersAndTenants(t *testing.T) {
	e := one(t, `metadata.TbGetCustomerDetailsNode|c|{"fetchTo":"DATA","detailsList":["TITLE","EMAIL","ID"]}`, "Success", "Failure")
	want(t, e.post(t, 0, `{"a":1}`), `cloud {"r":"Success","d":{"a":1,"customer_title":"ACME","customer_email":"a@b.c",`+
		`"customer_id":"00000000-0000-0000-0000-0000000000b1"},"m":1}`)
	e.entities[Entity{"DEVICE", proto.UUID{15: 0xd1}}].set("customer", &tree{})
	want(t, e.post(t, 1, `{"a":1}`), `cloud {"r":"Failure","d":{"a":1},"m":1}`)
	e = one(t, `action.TbAssignToCustomerNode|c|{"customerNamePattern":"$[who]"}`, "Success", "Failure")
	want(t, e.post(t, 0, `{"who":"ACME"}`), `cloud {"r":"Success","d":{"who":"ACME"},"m":1}; changes null`)
	want(t, e.post(t, 1, `{"who":"x"}`), `cloud {"r":"Failure","d":{"who":"x"},"m":1}`)
	e = one(t, deltaNode, "Success")
	want(t, e.post(t, 0, `{"n":0}`), `cloud {"r":"Success","d":{"n":0,"d":0,"p":0},"m":1}`)
	want(t, e.post(t, 1, `{"n":3e15}`), `cloud {"r":"Success","d":{"n":3.0E15,"d":3000000000000000,"p":1},"m":1}`)
	e = one(t, `action.TbDeviceStateNode|c|{"event":"CONNECT_EVENT"}`, "Success", "Rate limited")
	want(t, e.post(t, 0, `{}`), `cloud {"r":"Success","d":{},"m":1}; changes null`)
	want(t, e.post(t, 999, `{}`), `cloud {"r":"Rate limited","d":{},"m":1}`)
	want(t, e.post(t, 1001, `{}`), `cloud {"r":"Success","d":{},"m":1}; changes null`)
}

func TestGeofencing(t *testing.T) {
	square := `\"polygonsDefinition\":\"[[0,0],[0,10],[10,10],[10,0]]\"`
	square = strings.ReplaceAll(square, `\"`, `"`)
	e := one(t, `geo.TbGpsGeofencingFilterNode|g|{"latitudeKeyName":"lat","longitudeKeyName":"lon","perimeterType":"POLYGON",`+square+`}`,
		"True", "False", "Failure")
	want(t, e.post(t, 0, `{"lat":5,"lon":5}`), `cloud {"r":"True","d":{"lat":5,"lon":5},"m":1}`)
	want(t, e.post(t, 1, `{"lat":5,"lon":11}`), `cloud {"r":"False","d":{"lat":5,"lon":11},"m":1}`)
	want(t, e.post(t, 2, `{"lat":5}`), `cloud {"r":"Failure","d":{"lat":5},"m":1}`)
	e = one(t, `geo.TbGpsGeofencingActionNode|g|{"latitudeKeyName":"lat","longitudeKeyName":"lon","perimeterType":"CIRCLE",`+
		`"centerLatitude":50,"centerLongitude":10,"range":2,"rangeUnit":"KILOMETER","minInsideDuration":1,`+
		`"minInsideDurationTimeUnit":"MINUTES"}`,
		"Success", "Entered", "Left", "Inside", "Outside")
	for i, c := range []struct {
		at   int
		lat  string
		want string
	}{
		{0, "50.01", "Entered"},
		{30_000, "50.01", "Success"},
		{60_000, "50.01", "Success"},
		{60_001, "50.01", "Inside"},
		{90_000, "50.01", "Success"},
		{100_000, "50.02", "Left"},
		{110_000, "50", "Entered"},
	} {
		if got := e.post(t, c.at, `{"lat":`+c.lat+`,"lon":10}`); !strings.Contains(got, `"r":"`+c.want+`"`) {
			t.Errorf("step %d: %s, want %s", i, got, c.want)
		}
	}
}

func TestTimeNodes(t *testing.T) {
	e := one(t, `delay.TbMsgDelayNode|d|{"periodInSeconds":5,"maxPendingMsgs":1}`, "Success", "Failure")
	want(t, e.post(t, 0, `{"a":1}`), ``)
	want(t, e.post(t, 1, `{"a":2}`), `cloud {"r":"Failure","d":{"a":2},"m":1}`)
	want(t, e.send(t, 5000, deviceID, "", ""), `cloud {"r":"Success","d":{"a":1},"m":1}`)

	e = one(t, `debug.TbMsgGeneratorNode|g|{"msgCount":2,"periodInSeconds":2,"originatorType":"DEVICE","originatorId":"`+deviceID+
		`","scriptLang":"TBEL","tbelScript":"return {msg: {n: (prevMsg.n == null ? 1 : prevMsg.n + 1)}, metadata: {a: 'b'},`+
		` msgType: 'X'};"}`, "Success")
	want(t, e.send(t, 1999, deviceID, "", ""), ``)
	want(t, e.send(t, 2000, deviceID, "", ""), `cloud {"r":"Success","d":{"n":1},"m":1}`)
	want(t, e.send(t, 9000, deviceID, "", ""), `cloud {"r":"Success","d":{"n":2},"m":1}`)
	if _, ok := e.e.Due(); ok {
		t.Error("a timer behind the last message")
	}

	e = one(t, `action.TbMsgCountNode|c|{"interval":10,"telemetryPrefix":"n"}`, "Success")
	e.post(t, 0, `{"a":1}`)
	e.post(t, 1, `{"a":1}`)
	want(t, e.send(t, 10_000, deviceID, "", ""), `cloud {"r":"Success","d":{"n_edgesync":2},"m":1}`)

	e = testEdge(t, Options{})
	e.chain(t, rootID, true, []string{
		save,
		`metadata.TbGetTelemetryNode|h|{"latestTsKeyNames":["t"],"startInterval":1,"startIntervalTimeUnit":"MINUTES",` +
			`"endInterval":0,"fetchMode":"ALL","aggregation":"AVG"}`,
		`transform.TbCopyKeysNode|c|{"copyFrom":"METADATA","keys":["t"]}`, push,
	}, "0>1:Success", "1>2:Success", "2>3:Success")
	e.post(t, 0, `{"t":1}`)
	e.post(t, 70_000, `{"t":2}`)
	e.post(t, 80_000, `{"t":5}`)
	want(t, e.post(t, 80_001, `{"x":1}`), `cloud {"x":1,"t":"[{\"ts\":1767225650001,\"value\":3.5}]"}; saved {"x":1}`)
}

// TestWindows: which message of a window goes on, and what a full one does.
func TestWindows(t *testing.T) {
	for strategy, result := range map[string]string{"FIRST": `cloud {"a":2}`, "LAST": `cloud {"a":3}`} {
		e := testEdge(t, Options{})
		e.chain(t, rootID, true, []string{
			`deduplication.TbMsgDeduplicationNode|w|{"interval":10,"strategy":"` + strategy + `","maxPendingMsgs":3}`, push,
		}, "0>1:Success")
		in := func(at int, ts string, data string) string {
			return e.say(t, `{"at":`+decimal(int64(at))+`,"in":{"msgType":"POST_TELEMETRY_REQUEST",`+
				`"originator":{"entityType":"DEVICE","id":"`+
				deviceID+`"},"metadata":{"ts":"`+ts+`"},"data":`+data+`}}`)
		}
		want(t, in(0, "1767225601000", `{"a":1}`), ``)
		want(t, in(1, "1767225600000", `{"a":2}`), ``)
		want(t, in(2, "1767225602000", `{"a":3}`), ``)
		want(t, in(3, "1767225603000", `{"a":4}`), `cloud {"a":4} failure; failed w`)
		want(t, e.send(t, 10_001, deviceID, "", ""), result)
		if s := e.e.Sums(); s.Merged != 3 || s.Made != 1 || s.Held != 0 {
			t.Errorf("%+v", s)
		}
	}
}

// TestWindowsLoseNothing: what a window took together is pushed as it came where its result
// fails, but for what was pushed before it.
func TestWindowsLoseNothing(t *testing.T) {
	fails := `filter.TbJsFilterNode|fails|{"scriptLang":"TBEL","tbelScript":"return 1;"}`
	e := testEdge(t, Options{})
	e.chain(t, rootID, true, []string{onlyHot, push, minute, fails}, "0>1:True", "0>2:False", "1>2:Success", "2>3:Success")
	want(t, e.post(t, 0, `{"t":1}`), ``)
	want(t, e.post(t, 1, `{"t":31}`), `cloud {"t":31}`)
	want(t, e.post(t, 2, `{"t":2}`), ``)
	want(t, e.send(t, 60_001, deviceID, "", ""), `cloud {"t":1} failure; cloud {"t":2} failure; failed fails`)
	if s := e.e.Sums(); s.Merged != 3 || s.Safety != 2 || s.Received != 3 || s.Made != 3 || s.Accepted != 3 || s.Filtered != 0 {
		t.Errorf("%+v", s)
	}
	e.e.opt.Drop = true
	want(t, e.post(t, 70_000, `{"t":1}`), ``)
	want(t, e.send(t, 130_001, deviceID, "", ""), `failed fails`)
	// A node before the window that is not executed counts, also when failures are dropped.
	e.chain(t, rootID, true, []string{kafka, minute, fails}, "0>1:Success", "1>2:Success")
	want(t, e.post(t, 200_000, `{"t":5}`), `unsupported kafka`)
	want(t, e.send(t, 260_001, deviceID, "", ""), `cloud {"t":5} unreached; failed fails`)
}

// TestUpgrades: configurations of older servers become those that are executed (RULES.md 4.2).
func TestUpgrades(t *testing.T) {
	for _, c := range []struct {
		typ        string
		from       int64
		conf, want string
	}{
		{"telemetry.TbMsgTimeseriesNode", 0, `{"skipLatestPersistence":true}`, `"latest":{"type":"SKIP"}`},
		{"telemetry.TbMsgTimeseriesNode", 0, `{}`, `{"processingSettings":{"type":"ON_EVERY_MESSAGE"}}`},
		{"telemetry.TbMsgAttributesNode", 0, `{}`, `"updateAttributesOnlyOnValueChange":"false"`},
		{"telemetry.TbMsgAttributesNode", 1, `{}`, `"updateAttributesOnlyOnValueChange":"true"`},
		{"transform.TbCopyKeysNode", 0, `{"fromMetadata":true}`, `"copyFrom":"METADATA"`},
		{"transform.TbCopyKeysNode", 1, `{"fromMetadata":"DATA"}`, `"copyFrom":"DATA"`},
		{"transform.TbDeleteKeysNode", 1, `{"dataToFetch":"METADATA"}`, `"deleteFrom":"METADATA"`},
		{"transform.TbDeleteKeysNode", 1, `{"deleteFrom":"METADATA"}`, `"deleteFrom":"METADATA"`},
		{"transform.TbRenameKeysNode", 0, `{"fromMetadata":false}`, `"renameIn":"DATA"`},
		{"metadata.TbGetAttributesNode", 0, `{"fetchToData":true}`, `"fetchTo":"DATA"`},
		{
			"metadata.TbGetCustomerAttributeNode", 0, `{"telemetry":true,"attrMapping":{"a":"b"}}`,
			`"dataToFetch":"LATEST_TELEMETRY","dataMapping":{"a":"b"},"fetchTo":"METADATA"`,
		},
		{"metadata.TbGetOriginatorFieldsNode", 0, `{"fieldsMapping":{"a":"b"}}`, `"dataMapping":{"a":"b"}`},
		{"metadata.TbGetTenantDetailsNode", 0, `{"addToMetadata":true}`, `"fetchTo":"METADATA"`},
		{"metadata.TbFetchDeviceCredentialsNode", 0, `{"fetchToMetadata":false}`, `"fetchTo":"DATA"`},
		{"metadata.TbGetTelemetryNode", 0, `{"fetchMode":""}`, `"fetchMode":"LAST"`},
		{"filter.TbCheckRelationNode", 0, `{"direction":"FROM"}`, `"direction":"TO"`},
		{"action.TbCreateRelationNode", 0, `{"direction":"TO","entityCacheExpiration":300}`, `"direction":"FROM"`},
		{"action.TbDeleteRelationNode", 0, `{"direction":"TO"}`, `"direction":"TO"`},
	} {
		conf, err := parseTree(c.conf)
		if err != nil {
			t.Fatal(err)
		}
		if upgrade(c.typ, c.from, conf); !strings.Contains(conf.String(), c.want) {
			t.Errorf("%s %d %s: %s, want %s", c.typ, c.from, c.conf, conf, c.want)
		}
	}
}

func TestCustomFunctions(t *testing.T) {
	for text, result := range map[string]float64{
		"{[x + 1] * 2}y": 30, "sqrt[4]": 2, "1/2x": 1, "xy": 10, "2^-x^2": 0.0625, "2^2x": 8, "-x%3": -2, "1E-2 + .5x": 1.01, "2 --x": 4,
	} {
		x, err := parseExpression(text, []string{"x", "y"})
		if err != nil {
			t.Error(err)
			continue
		}
		if got, err := x.compute([]float64{2, 5}); got != result || err != nil {
			t.Errorf("%s = %v %v, want %v", text, got, err, result)
		}
	}
}

func TestPaths(t *testing.T) {
	data, _ := parseTree(`{"a":[{"x":1,"y":"p"},{"x":2,"y":"q"},{"z":{"x":3}}],"b":{"x":4},"c":[[1,2],[3]]}`)
	many := &tree{kind: isList}
	for i := range 5000 {
		many.items = append(many.items, wholeTree(int64(i)))
	}
	data.set("many", many)
	for text, result := range map[string]string{
		"$.many[?(@ in $.many)]":          `error`,
		"$[?(@.many subsetof $.many)]":    `error`,
		"$['many'][0,1].x":                `[]`,
		"$.many.sum()":                    `1.24975E7`,
		"$..x":                            `[1,2,3,4]`,
		"$.a[?(@.x in [2,3])].y":          `["q"]`,
		"$.a[?(@.x nin [2,3])].y":         `["p"]`,
		"$.a[?(@.y =~ /P/i)].x":           `[1]`,
		"$.a[?(@.x >= 2 && !(@.y=='p'))]": `[{"x":2,"y":"q"}]`,
		"a[0].x":                          `1`,
		"$.a[9]":                          `null`,
		"$.a[9].x":                        `error`,
		"$.b['x','q']":                    `{"x":4}`,
		"$.a.last()":                      `{"z":{"x":3}}`,
		"$.a.index(-3).y":                 `error`,
		"$.a.index(-3)":                   `{"x":1,"y":"p"}`,
		"$.a.index( 3 )":                  `error`,
		"$.a[?(@.x == '1')].y":            `["p"]`,
		"$.a[?(@.y == 1 || @.x === '2')]": `[]`,
		"$.a[?(@.x =~ /[12]/)].y":         `["p","q"]`,
		"$.a[?(@.y nin ['p'])].x":         `[2]`,
		"$.a[?(@.x nin [1])].z.x":         `[3]`,
		"$.a[?(@.q != @.p)].x":            `[1,2]`,
		"$.a[?(@.y size 1)].x":            `[1,2]`,
		"$.a[?(@.z empty false)].z.x":     `[3]`,
		"$[?(@.a size 3)].b.x":            `[4]`,
		"$.c[?(@ anyof [1, 9])]":          `[[1,2]]`,
		"$.c[?(@ noneof [1, 9])]":         `[[3]]`,
		"$.c[?(@ subsetof ['1', 2, 4])]":  `[[1,2]]`,
		"$..*..*..*..*..*":                `[]`,
		"$.c[0][1:-1]":                    `[]`,
		"$.c[-1:1]":                       `[[3],[1,2]]`,
		"$.c[-3:1]":                       `[null,[1,2],[3],[1,2]]`,
		"$.c[0,2]":                        `[[1,2],null]`,
		"$.c[5].*":                        `[]`,
		"$..c.length()":                   `2`,
		"$..x.sum()":                      `10.0`,
		"$.c[*].length()":                 `[2,1]`,
		"$.c[*].max()":                    `[2.0,3.0]`,
		"$.a[*].x.max()":                  `error`,
		"$.b.x[?(@.y)]":                   `error`,
		"$..[?(@.x > 2)].x":               `[3,4]`,
		"$.a[":                            `no path`,
		"$.a[?(":                          `no path`,
		"$.a[?(@.x == )]":                 `no path`,
		"$.":                              `no path`,
		"":                                `no path`,
		"$.a[?(" + strings.Repeat("(", 100) + "@.x": `no path`,
	} {
		p, err := parsePath(text)
		got := "no path"
		if err == nil {
			v, err := p.find(data)
			if got = "error"; err == nil {
				got = v.String()
			}
		}
		if got != result {
			t.Errorf("%s: %s, want %s", text, got, result)
		}
	}
	far, err := parsePath("$.c[-100000:1]")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := far.find(data); err != nil || len(v.items) != maxAbsent+3 {
		t.Errorf("%d items, %v, want %d", len(v.items), err, maxAbsent+3)
	}
}

func TestTrees(t *testing.T) {
	for in, out := range map[string]string{
		`{"a":1,"b":2,"a":3}`:         `{"a":3,"b":2}`,
		`[21.50,1e3,5.0,1e-5,-0,1E7]`: `[21.5,1000.0,5.0,1.0E-5,0,1.0E7]`,
		`"\u00e9\ud83d\ude00\n\/"`:    "\"é😀\\n/\"",
		`[1.5e300,123456789.5]`:       `[1.5E300,1.234567895E8]`,
		` [ ] `:                       `[]`,
		`[1,]`:                        `no JSON`,
		`{"a" 1}`:                     `no JSON`,
		`01`:                          `no JSON`,
		`"\x"`:                        `no JSON`,
		"\"\x01\"":                    `no JSON`,
		`nul`:                         `no JSON`,
		`"\ud83`:                      `no JSON`,
	} {
		got := "no JSON"
		if v, err := parseTree(in); err == nil {
			got = v.String()
		}
		if got != out {
			t.Errorf("%s: %s, want %s", in, got, out)
		}
	}
	big := &tree{kind: isObject}
	for i := range 100 {
		big.set(decimal(int64(i)), wholeTree(int64(i)))
	}
	big.keep(func(key string) bool { return key != "50" })
	if big.get("99").String() != "99" || big.get("50") != nil || len(big.keys) != 99 {
		t.Error(big)
	}
	m := &Message{Data: `{"a":{"b":1.50},"n":null,"l":[1]}`}
	m.setMeta("k", "v")
	got, ok := m.pattern(`${k} ${x} $[a.b] $[n] $[l] $[*] ${*} ${`)
	want(t, got, `v ${x} 1.5 null $[l] {"a":{"b":1.5},"n":null,"l":[1]} {"k":"v"} ${`)
	if _, bad := (&Message{Data: "x"}).pattern("$[a]"); !ok || bad {
		t.Error(ok, bad)
	}
}
