package rules

import (
	"strings"
	"testing"

	"edgesync/proto"
)

// Each connection of a relation that a node names takes part, two to one node too (RULES.md 3.2).
func TestTwoConnectionsToOneNode(t *testing.T) {
	e := testEdge(t, Options{})
	e.chain(t, rootID, true, []string{tbel("filter.TbJsSwitchNode", "sw", "return ['a', 'A', 'b'];"), push}, "0>1:A", "0>1:B", "0>1:c")
	want(t, e.post(t, 0, `{"t":1}`), `cloud {"t":1}; cloud {"t":1}`)
	if s := e.e.Sums(); s.Made != 1 || s.Accepted != 2 {
		t.Errorf("%+v", s)
	}
}

func TestPatternsInPatterns(t *testing.T) {
	m := &Message{Data: `{"a":{"b":"x"},"x":5}`}
	m.setMeta("k", "v")
	m.setMeta("d", "$[x]")
	for text, result := range map[string]string{
		"${a${k}}": "${av}", "${k${k}": "${kv", "$[a.${k}]": "$[a.v]", "$[x$[x]]": "$[x$[x]]", "${d}${k}": "5v", "${ k }": "${ k }",
		"$[a.b]": "x", "$[a..b]": "$[a..b]",
	} {
		got, ok := m.pattern(text)
		if want(t, got, result); !ok {
			t.Error(text)
		}
	}
}

// Only the names of fields that are data look at the data.
func TestFieldsOfNoObject(t *testing.T) {
	for conf, result := range map[string]string{
		`{"messageNames":[],"metadataNames":["ts"],"checkAllKeys":true}`:    "True",
		`{"messageNames":[],"metadataNames":["no"],"checkAllKeys":false}`:   "False",
		`{"messageNames":["a"],"metadataNames":["ts"],"checkAllKeys":true}`: "Failure",
	} {
		e := one(t, `filter.TbCheckMessageNode|c|`+conf, "True", "False", "Failure")
		want(t, e.post(t, 0, `[1]`), `cloud {"r":"`+result+`","d":[1],"m":1}`)
	}
}

// What a store makes of values: digits behind the point count, and a null is none.
func TestTypesOfValues(t *testing.T) {
	huge := strings.Repeat("9", 400)
	for in, out := range map[string]string{
		`21.50`: `21.5`, `5.0`: `5.0`, `-0.0`: `0.0`, `1E-5`: `1.0E-5`, `1e3`: `1000`, `1.0E7`: `10000000`, `1.2345E3`: `1234.5`,
		`10000000.0`: `1.0E7`, `123456789.5`: `1.234567895E8`, `9223372036854775807`: `9223372036854775807`,
		`1.2345678901234567E18`: `1234567890123456700`, `92233720368547758080`: `"92233720368547758080"`, `1e19`: `"1e19"`,
		`1.0E300`: `"1.0E300"`, `0.3333333333333333`: `0.3333333333333333`, `0.30000000000000004`: `"0.30000000000000004"`,
		`1.234567890123456E-5`: `"1.234567890123456E-5"`, `1e-300`: `"1e-300"`, `0e5`: `0`, `0e-5`: `0`, `-0e-5`: `0`,
		`1e-99999999999`: `"1e-99999999999"`, `1e99999999999`: `"1e99999999999"`,
		`"0012"`: `12`, `"1.50"`: `1.5`, `"-7"`: `-7`, `"100"`: `100`, `".5"`: `0.5`, `"5."`: `"5."`, `"1e5"`: `"1e5"`, `"+7"`: `"+7"`,
		`""`: `""`, `"-"`: `"-"`, `true`: `true`, `{"a":[1.50]}`: `{"a":[1.5]}`,
		huge + `.5`: `"` + huge + `.5"`, `"-` + huge + `.5"`: `"-` + huge + `.5"`,
	} {
		v, err := parseTree(in)
		if err != nil {
			t.Fatal(in, err)
		}
		if got := typed(v); got != out {
			t.Errorf("%s: %s, want %s", in, got, out)
		}
	}
	e := testEdge(t, Options{Drop: true})
	e.chain(t, rootID, true, []string{save, push}, "0>1:Success")
	for data, result := range map[string]string{
		`{"a":null,"b":1}`:                         `failed save`,
		`[{"ts":5,"values":{"a":1}},2]`:            `failed save`,
		`[[{"a":1}]]`:                              `failed save`,
		`{"ts":"x","values":{"a":1}}`:              `failed save`,
		`{"ts":5,"values":"x"}`:                    `failed save`,
		`[{"ts":5,"values":{}}]`:                   `failed save`,
		`[]`:                                       `failed save`,
		`[{"ts":"5","values":{"a":1}},{"ts":"5"}]`: `cloud [{"ts":"5","values":{"a":1}},{"ts":"5"}]; saved {"a":1}; saved {"ts":5}`,
	} {
		want(t, e.post(t, 0, data), result)
	}
}

func TestSavesThatAreNotEachMessage(t *testing.T) {
	saves := func(settings string) *Trial {
		e := testEdge(t, Options{Drop: true})
		e.chain(t, rootID, true, []string{`telemetry.TbMsgTimeseriesNode|save|` + settings, push}, "0>1:Success")
		return e
	}
	// With the clock for time, intervals are those of the clock.
	e := saves(`{"useServerTs":true,"processingSettings":{"type":"DEDUPLICATE","deduplicationIntervalSecs":10}}`)
	old := `{"at":%,"in":{"msgType":"POST_TELEMETRY_REQUEST","originator":{"entityType":"DEVICE","id":"` + deviceID +
		`"},"metadata":{"ts":"7"},"data":{"a":1}}}`
	want(t, e.say(t, filled(old, "0")), `cloud {"a":1}; saved {"a":1}`)
	want(t, e.say(t, filled(old, "9999")), `cloud {"a":1}`)
	want(t, e.say(t, filled(old, "10000")), `cloud {"a":1}; saved {"a":1}`)
	// Data are looked at unless nobody wants them.
	const every, skip = `{"type":"ON_EVERY_MESSAGE"}`, `{"type":"SKIP"}`
	advanced := `{"type":"ADVANCED","timeseries":` + skip + `,"latest":` + skip + `,"webSockets":` + skip + `,"calculatedFields":`
	for settings, result := range map[string]string{
		`{"type":"WEBSOCKETS_ONLY"}`: `failed save`, advanced + every + `}`: `failed save`, advanced + skip + `}`: `cloud {}`,
	} {
		e = saves(`{"processingSettings":` + settings + `}`)
		want(t, e.post(t, 0, `{}`), result)
	}
	want(t, saves(`{"processingSettings":{"type":"WEBSOCKETS_ONLY"}}`).post(t, 0, `{"a":1}`), `cloud {"a":1}`)
	// An unknown scope is none where there is nothing to save.
	e = testEdge(t, Options{Drop: true})
	e.chain(t, rootID, true, []string{`telemetry.TbMsgAttributesNode|save|{}`})
	for data, result := range map[string]string{`{}`: ``, `{"a":1}`: `failed save`, `{"a":null}`: `failed save`, `[]`: `failed save`} {
		want(t, e.say(t, `{"at":0,"in":{"msgType":"POST_ATTRIBUTES_REQUEST","originator":{"entityType":"DEVICE","id":"`+deviceID+
			`"},"metadata":{"scope":"NOPE"},"data":`+data+`}}`), result)
	}
}

// Latest values come behind attributes, as on a real edge: the later one of equal keys stays.
func TestOrderOfAttributes(t *testing.T) {
	e := one(t, `metadata.TbGetAttributesNode|a|{"fetchTo":"DATA","latestTsKeyNames":["ss_n"],"serverAttributeNames":["n"],`+
		`"clientAttributeNames":["n"],"sharedAttributeNames":["n"],"getLatestValueWithTs":true}`, "Success")
	for key, value := range map[string]string{"SERVER_SCOPEn": "1", "CLIENT_SCOPEn": "2", "SHARED_SCOPEn": "3", "ss_n": "4"} {
		e.values[deviceID+key] = Stored{5, value}
	}
	want(t, e.post(t, 0, `{}`), `cloud {"r":"Success","d":{"cs_n":2,"shared_n":3,"ss_n":{"ts":5,"value":4}},"m":1}`)
}

func TestDeltaOfABoolean(t *testing.T) {
	e := one(t, deltaNode, "Success", "Failure")
	want(t, e.post(t, 0, `{"n":false}`), `cloud {"r":"Success","d":{"n":false,"d":0,"p":0},"m":1}`)
	want(t, e.post(t, 1, `{"n":true}`), `cloud {"r":"Success","d":{"n":true,"d":1,"p":1},"m":1}`)
	want(t, e.post(t, 2, `{"n":" 3 "}`), `cloud {"r":"Success","d":{"n":" 3 ","d":2,"p":1},"m":1}`)
}

func TestHistoryNode(t *testing.T) {
	for conf, result := range map[string]string{
		`"fetchMode":"FIRST"`:                     `"\"5\""`,
		`"fetchMode":"LAST"`:                      `"\"2\""`,
		`"fetchMode":"ALL","aggregation":"SUM"`:   `"[{\"ts\":1767225600001,\"value\":7}]"`,
		`"fetchMode":"ALL","aggregation":"MAX"`:   `"[{\"ts\":1767225600001,\"value\":5}]"`,
		`"fetchMode":"ALL","aggregation":"AVG"`:   `"[{\"ts\":1767225600001,\"value\":3.5}]"`,
		`"fetchMode":"ALL","aggregation":"COUNT"`: `"[{\"ts\":1767225600001,\"value\":2}]"`,
		`"fetchMode":"ALL","aggregation":"NONE","orderBy":"DESC"`: `"[{\"ts\":1767225600001,\"value\":2},` +
			`{\"ts\":1767225600000,\"value\":5}]"`,
		`"fetchMode":"ALL","aggregation":"NONE","startInterval":0`: ``,
	} {
		e := testEdge(t, Options{Drop: true})
		e.chain(t, rootID, true, []string{
			save, `metadata.TbGetTelemetryNode|h|{"latestTsKeyNames":["t"],"startInterval":4,"startIntervalTimeUnit":"MILLISECONDS",` +
				`"endInterval":1,"endIntervalTimeUnit":"MILLISECONDS",` + conf + `}`,
			`transform.TbCopyKeysNode|c|{"copyFrom":"METADATA","keys":["t"]}`, push,
		}, "0>1:Success", "1>2:Success", "2>3:Success")
		e.post(t, 0, `{"t":5}`)
		e.post(t, 1, `{"t":2}`)
		if got := e.post(t, 4, `{"x":1}`); result == "" {
			want(t, got, `saved {"x":1}; failed h`)
		} else {
			want(t, got, `cloud {"x":1,"t":`+result+`}; saved {"x":1}`)
		}
	}
}

func TestMathNode(t *testing.T) {
	node := func(result, argument string) string {
		return `math.TbMathNode|m|{"operation":"DIV","arguments":[{"name":"x","key":"x",` + argument + `},` +
			`{"name":"y","type":"CONSTANT","key":"3"}],"result":{"key":"q",` + result + `}}`
	}
	body := `"type":"MESSAGE_BODY","defaultValue":1`
	for _, c := range []struct{ node, data, want string }{
		{
			node(`"type":"TIME_SERIES","resultValuePrecision":2,"addToBody":true`, body), `{"x":2}`,
			`cloud {"r":"Success","d":{"x":2,"q":0.67},"m":1}; saved {"q":0.6666666666666666}`,
		},
		{
			node(`"type":"TIME_SERIES","resultValuePrecision":0`, body), `{"x":5}`,
			`cloud {"r":"Success","d":{"x":5},"m":1}; saved {"q":1.6666666666666667}`,
		},
		{
			node(`"type":"ATTRIBUTE","resultValuePrecision":2`, body), `{"x":2}`,
			`cloud {"r":"Success","d":{"x":2},"m":1}; attributes {"q":0.67}`,
		},
		{node(`"type":"MESSAGE_BODY","resultValuePrecision":1`, body), `{"x":" "}`, `cloud {"r":"Success","d":{"x":" ","q":0.3},"m":1}`},
		{node(`"type":"MESSAGE_BODY","resultValuePrecision":1`, body), `{"x":{}}`, `cloud {"r":"Failure","d":{"x":{}},"m":1}`},
		{node(`"type":"MESSAGE_METADATA","resultValuePrecision":1`, body), `[1]`, `cloud {"r":"Failure","d":[1],"m":1}`},
		{
			node(`"type":"MESSAGE_BODY","resultValuePrecision":1`, `"type":"MESSAGE_METADATA","defaultValue":6`), `{}`,
			`cloud {"r":"Success","d":{"q":2.0},"m":1}`,
		},
	} {
		want(t, one(t, c.node, "Success", "Failure").post(t, 0, c.data), c.want)
	}
	if f, err := operate("FLOOR_DIV", 1e300, 2); f != 4611686018427387903 || err != nil {
		t.Error(f, err)
	}
}

// An alarm of the message's own data has its times too.
func TestTimesOfAnAlarm(t *testing.T) {
	for data, result := range map[string]string{
		`"startTs":5,"endTs":7`:        `"startTs":5,"endTs":7`,
		`"startTs":5`:                  `"startTs":5,"endTs":5`,
		`"endTs":7`:                    `"startTs":1767225600000,"endTs":7`,
		`"details":1`:                  `"startTs":1767225600000,"endTs":1767225600000`,
		`"startTs":8,"endTs":7`:        `failure`,
		`"startTs":"x"`:                `failure`,
		`"propagateRelationTypes":"x"`: `failure`,
		`"startTs":1e300,"endTs":1.5`:  `failure`,
	} {
		e := testEdge(t, Options{})
		e.chain(t, rootID, true, []string{
			`filter.TbMsgTypeFilterNode|only|{"messageTypes":["POST_TELEMETRY_REQUEST"]}`,
			`action.TbCreateAlarmNode|create|{"useMessageAlarmData":true}`, push,
		}, "0>1:True", "1>2:Created")
		got := e.say(t, `{"at":0,"in":{"msgType":"POST_TELEMETRY_REQUEST","originator":{"entityType":"DEVICE","id":"`+deviceID+
			`"},"metadata":{"ts":"3"},"data":{"type":"own","severity":"WARNING",`+data+`}}}`)
		if !strings.Contains(got, result) {
			t.Errorf("%s: %s, want %s", data, got, result)
		}
	}
}

func TestDeletedKeys(t *testing.T) {
	e := testEdge(t, Options{Drop: true})
	e.chain(t, rootID, true, []string{`telemetry.TbMsgDeleteAttributesNode|del|{"scope":"SERVER_SCOPE","keys":["$[k]"," b","$[k]"]}`, ack})
	in := `{"at":0,"in":{"msgType":"X","originator":{"entityType":"DEVICE","id":"` + deviceID +
		`"},"metadata":{"scope":"%"},"data":{"k":" "}}}`
	want(t, e.say(t, filled(in, "")), `attributes [" b"]`)
	want(t, e.say(t, filled(in, "NOPE")), `failed del`)
	e.chain(t, rootID, true, []string{`telemetry.TbMsgDeleteAttributesNode|del|{"scope":"SERVER_SCOPE","keys":["$[k]"]}`, ack})
	want(t, e.say(t, filled(in, "NOPE")), ``) // nothing to delete, no scope needed
}

// A list of JavaScript may hold what has no members of a message: the message then, as it was.
func TestListsOfScripts(t *testing.T) {
	e := testEdge(t, Options{Drop: true})
	e.chain(t, rootID, true, []string{
		`transform.TbTransformMsgNode|js|{"scriptLang":"JS","jsScript":"return [{msg: 1}, 2, 'a', null, {}];"}`, push,
	}, "0>1:Success")
	want(t, e.post(t, 0, `{"a":1}`), `cloud 1; cloud {"a":1}; cloud {"a":1}; cloud {"a":1}; cloud {"a":1}`)
	// A type is what is written of it.
	for text, typ := range map[string]string{"5": "5", "true": "true", "''": PostTelemetry, "'A'": "A", "1.50": "1.5"} {
		e.chain(t, rootID, true, []string{
			tbel("transform.TbTransformMsgNode", "t", "return {msgType: "+text+"};"),
			tbel("transform.TbTransformMsgNode", "u", "return {msg: msgType, msgType: '"+PostTelemetry+"'};"), push,
		}, "0>1:Success", "1>2:Success")
		want(t, e.post(t, 1, `{}`), `cloud "`+typ+`"`)
	}
}

func TestAreasOfOldServers(t *testing.T) {
	conf := func(more string) string {
		return `geo.TbGpsGeofencingFilterNode|g|{"latitudeKeyName":"lat","longitudeKeyName":"lon",` +
			`"fetchPerimeterInfoFromMessageMetadata":true` + more + `}`
	}
	circle := `,"perimeterType":"CIRCLE","perimeterKeyName":"p"`
	area := `"p":"{\"latitude\":50,\"longitude\":10,\"radius\":9}","lon":"10","lat":"50"`
	for _, c := range []struct{ more, metadata, data, want string }{
		{``, `"perimeter":"[[49,9],[49,11],[51,11],[51,9]]"`, `{"lat":50,"lon":10}`, `True`},
		{``, `"perimeter":"[[49,9],[49,11],[51,11],[51,9]]"`, `{"lat":52,"lon":10}`, `False`},
		{``, `"centerLatitude":"50","centerLongitude":"10","range":"3","rangeUnit":"KILOMETER"`, `{"lat":50.02,"lon":10}`, `True`},
		{``, `"centerLatitude":"50","centerLongitude":"10","range":"2","rangeUnit":"KILOMETER"`, `{"lat":50.02,"lon":10}`, `False`},
		{``, `"range":"2"`, `{"lat":50.02,"lon":10}`, `Failure`},
		{circle, area, `{"lat":null,"lon":{}}`, `True`},
		{circle, area, `[]`, `Failure`},
	} {
		e := one(t, conf(c.more), "True", "False", "Failure")
		got := e.say(t, `{"at":0,"in":{"msgType":"POST_TELEMETRY_REQUEST","originator":{"entityType":"DEVICE","id":"`+deviceID+
			`"},"metadata":{`+c.metadata+`},"data":`+c.data+`}}`)
		if !strings.Contains(got, `"r":"`+c.want+`"`) {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestCountsAndRelations(t *testing.T) {
	e := testEdge(t, Options{})
	e.chain(t, rootID, true, []string{
		`action.TbMsgCountNode|c|{"interval":10,"telemetryPrefix":"n"}`,
		`transform.TbCopyKeysNode|k|{"copyFrom":"METADATA","keys":["delta"]}`, push,
	}, "0>1:Success", "1>2:Success")
	want(t, e.send(t, 10_000, deviceID, "", ""), `cloud {"n_edgesync":0,"delta":"10000"}`)
	// Where the clock jumps, as when a router learns the time, what was missed is not made up for.
	e.now += 3_600_000
	want(t, e.send(t, 3_615_000, deviceID, "", ""), `cloud {"n_edgesync":0,"delta":"3600000"}`)
	want(t, e.send(t, 3_620_000, deviceID, "", ""), `cloud {"n_edgesync":0,"delta":"10000"}`)
	// The type is for an entity that is made; one that is found may have another.
	e = one(t, `action.TbCreateRelationNode|c|{"direction":"FROM","relationType":"Uses","entityType":"ASSET","entityNamePattern":"room",`+
		`"entityTypePattern":"other"}`, "Success", "Failure")
	want(t, e.post(t, 0, `{}`), `cloud {"r":"Success","d":{},"m":1}; changes null`)
}

func TestDetailsOfCustomers(t *testing.T) {
	e := one(t, `metadata.TbGetCustomerDetailsNode|c|{"fetchTo":"DATA","detailsList":["ADDITIONAL_INFO","ADDRESS2"]}`, "Success", "Failure")
	customer := e.entities[Entity{"CUSTOMER", proto.UUID{15: 0xb1}}]
	customer.set("additionalInfo", members("description", textTree("d")))
	customer.set("address2", &tree{})
	want(t, e.post(t, 0, `{}`), `cloud {"r":"Success","d":{"customer_additionalInfo":"d"},"m":1}`)
}

// An alarm without details has none before an update; a call needs a method.
func TestNothingBefore(t *testing.T) {
	e := testEdge(t, Options{})
	e.chain(t, rootID, true, []string{
		`filter.TbMsgTypeFilterNode|only|{"messageTypes":["POST_TELEMETRY_REQUEST"]}`,
		`action.TbCreateAlarmNode|create|{"alarmType":"a","severity":"MAJOR","scriptLang":"TBEL",` +
			`"alarmDetailsBuildTbel":"return msg.first ? null : {n: metadata.prevAlarmDetails == null};"}`, push,
	}, "0>1:True", "1>2:Created", "1>2:Updated")
	for i, result := range []string{`"details":null}`, `"details":{"n":true}}`, `"details":{"n":false}}`} {
		if got := e.post(t, i, `{"first":`+map[bool]string{true: "true", false: "false"}[i == 0]+`}`); !strings.HasSuffix(got, result) {
			t.Errorf("%d: %s, want %s", i, got, result)
		}
	}
	e = one(t, `rpc.TbSendRPCRequestNode|call|{"timeoutInSeconds":5}`, "Failure")
	for _, method := range []string{`{}`, `["a"]`} {
		data := `{"method":` + method + `,"params":1}`
		want(t, e.post(t, 0, data), `cloud {"r":"Failure","d":`+data+`,"m":1}`)
	}
}

// Java's way to name all keys but some.
func TestAllKeysButSome(t *testing.T) {
	for keys, result := range map[string]string{
		`"^(?!a$|b$).*"`:   `{"a":1,"b":2}`,
		`"(?!(a|[b]$)).*"`: `{"a":1,"b":2,"ab":3}`,
		`"(?!ab)a.*","b"`:  `{"ab":3,"c":4}`,
		`"(?!a\\)).*"`:     `{}`,
		`"(?!a"`:           `{"a":1,"b":2,"ab":3,"c":4}`,
		`"(?!a)"`:          `{"a":1,"b":2,"ab":3,"c":4}`,
		`"a","b|c"`:        `{"ab":3}`,
		`"^a$"`:            `{"b":2,"ab":3,"c":4}`,
		`"(?=a).*"`:        `{"a":1,"b":2,"ab":3,"c":4}`,
		`"c","(?!\\"`:      `{"a":1,"b":2,"ab":3,"c":4}`,
		`" a"," "`:         `{"a":1,"b":2,"ab":3,"c":4}`,
		`"[ab]{1}(?i)B?"`:  `{"c":4}`,
	} {
		e := testEdge(t, Options{})
		e.chain(t, rootID, true, []string{`transform.TbDeleteKeysNode|d|{"deleteFrom":"DATA","keys":[` + keys + `]}`, push}, "0>1:Success")
		got := e.post(t, 0, `{"a":1,"b":2,"ab":3,"c":4}`)
		got, _, _ = strings.Cut(strings.TrimPrefix(got, "cloud "), ";")
		if got != result {
			t.Errorf("%s: %s, want %s", keys, got, result)
		}
	}
}

// Fields go into data in the order of a HashMap: name, label and type are in its buckets 8, 11, 12.
func TestOrderOfFields(t *testing.T) {
	e := one(t, `metadata.TbGetOriginatorFieldsNode|f|{"fetchTo":"DATA","dataMapping":{"name":"type","label":"name","type":"label"}}`,
		"Success")
	want(t, e.post(t, 0, `{"z":1}`), `cloud {"r":"Success","d":{"z":1,"name":"Hall","label":"thermostat","type":"th-1"},"m":1}`)
	// Details of customers come in the order of their list.
	e = one(t, `metadata.TbGetCustomerDetailsNode|c|{"fetchTo":"DATA","detailsList":["TITLE","EMAIL","ID"]}`, "Success")
	want(t, e.post(t, 0, `{}`), `cloud {"r":"Success","d":{"customer_title":"ACME","customer_email":"a@b.c",`+
		`"customer_id":"00000000-0000-0000-0000-0000000000b1"},"m":1}`)
}

// Expressions of no length have a bound too; and nobody is the customer with the null id.
func TestManyExpressions(t *testing.T) {
	const long = `configuration: "keys" is longer than 10000 bytes`
	for _, c := range []struct {
		n            int
		text, reason string
	}{{1999, "", ""}, {2000, "", long}, {18, "(?!a).*", ""}, {19, "(?!a).*", long}} {
		e := testEdge(t, Options{})
		e.chain(t, rootID, true, []string{
			`transform.TbDeleteKeysNode|d|{"keys":[` + strings.Repeat(`"`+c.text+`",`, c.n) + `"` + c.text + `"]}`,
		})
		if got := e.e.first.Load().first.reason; got != c.reason {
			t.Errorf("%d: %q, want %q", c.n, got, c.reason)
		}
	}
	e := one(t, `transform.TbChangeOriginatorNode|c|{"originatorSource":"CUSTOMER"}`, "Success", "Failure")
	e.entities[Entity{"DEVICE", proto.UUID{15: 0xd1}}].set("customer", (&Entity{"CUSTOMER", proto.NullUUID}).ref())
	want(t, e.post(t, 0, `{}`), `cloud {"r":"Failure","d":{},"m":1}`)
}

func TestUnitsOfTime(t *testing.T) {
	for text, ms := range map[string]int64{
		"": 60_000, "MILLISECONDS": 1, "SECONDS": 1000, "MINUTES": 60_000, "HOURS": 3_600_000, "DAYS": 86_400_000, "WEEKS": 0,
	} {
		c := &config{t: members("u", textTree(text))}
		if got := c.unit("u").Milliseconds(); got != ms || (c.err != nil) != (ms == 0) {
			t.Errorf("%q: %d ms, %v", text, got, c.err)
		}
	}
}

// What functions look at is bounded as what paths find is.
func TestFunctionsOfPathsAreBounded(t *testing.T) {
	wide := &tree{kind: isObject}
	for i := range 5000 {
		wide.set(decimal(int64(i)), wholeTree(1))
	}
	data := members("w", &tree{kind: isList, items: []*tree{wide}})
	for n, fails := range map[int]bool{15: false, 25: true} {
		p, err := parsePath("$.w[" + strings.Repeat("0,", n) + "0].keys()")
		if err != nil {
			t.Fatal(err)
		}
		if v, err := p.find(data); (err != nil) != fails || err == nil && len(v.items) != n+1 {
			t.Error(n, err)
		}
	}
}

// Of a failure that quotes what a device has sent a node remembers the beginning.
func TestLongFailures(t *testing.T) {
	for _, node := range []string{
		save, `filter.TbJsFilterNode|f|{"scriptLang":"TBEL","tbelScript":"for (k : msg.keys()) return (int) k;"}`,
	} {
		e := one(t, node)
		e.post(t, 0, `{"`+strings.Repeat("k", 100_000)+`":null}`)
		if r := e.Report()[0].Nodes[0]; r.Failed != 1 || len(r.Last) == 0 || len(r.Last) > 1100 {
			t.Errorf("%s: %d failures, the last of %d bytes", r.Name, r.Failed, len(r.Last))
		}
	}
}
