package device

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// storedText writes the values in fragments of telemetry or attributes, as ts{key=value} or {…}.
func storedText(t *testing.T, fragments ...string) string {
	t.Helper()
	var b strings.Builder
	for _, f := range fragments {
		var m proto.UplinkMsg
		if err := pb.Unmarshal([]byte(f), &m); err != nil || len(m.EntityData) != 1 {
			t.Fatalf("%q: %v", f, err)
		}
		kvs := m.EntityData[0].GetPostAttributesMsg().GetKv()
		if lists := m.EntityData[0].GetPostTelemetryMsg().GetTsKvList(); lists != nil {
			kvs = lists[0].Kv
		}
		b.WriteByte('{')
		for i, kv := range kvs {
			if i > 0 {
				b.WriteByte(' ')
			}
			k := proto.KVOf(kv)
			fmt.Fprintf(&b, "%s=%s", kv.Key, proto.AppendJSONValue(nil, &k))
		}
		b.WriteByte('}')
	}
	return b.String()
}

// TestCharsets posts bodies in the charsets of API.md 2.
func TestCharsets(t *testing.T) {
	const json = "application/json"
	long := `{"a":"` + strings.Repeat("é", 3000) + `"}`
	wide := func(text string, little bool) string {
		var b strings.Builder
		for _, r := range text {
			if little {
				b.WriteByte(byte(r))
			}
			b.WriteByte(byte(r >> 8))
			if !little {
				b.WriteByte(byte(r))
			}
		}
		return b.String()
	}
	latin := func(text string) string {
		var b strings.Builder
		for _, r := range text {
			b.WriteByte(byte(r))
		}
		return b.String()
	}
	for _, c := range []struct {
		kind, body string
		status     int
		want       string
	}{
		{json + "; charset=ISO-8859-1", "{\"unit\":\"\xb0C\",\"K\xfcche\":21.5}", 200, `{unit="°C" Küche=21.5}`},
		{json + `;charset="iso-8859-1"`, latin(long), 200, `{a="` + strings.Repeat("é", 3000) + `"}`},
		{"text/plain;charset=latin1", "{a:\xe9}", 200, `{a="é"}`},
		{json + "; charset=windows-1252", "{a:'\x80 \x81'}", 200, `{a="€ �"}`},
		{json + "; charset=Cp1252", "{a:'\x93x\x94'}", 200, `{a="“x”"}`},
		{json + "; charset=US-ASCII", "{a:'K\xfcche',b:1}", 200, `{a="K�che" b=1}`},
		{json + "; charset=UTF-16", "\xfe\xff" + wide(`{"ä":"€"}`, false), 200, `{ä="€"}`},
		{json + "; charset=UTF-16", "\xff\xfe" + wide(`{"ä":"€"}`, true), 200, `{ä="€"}`},
		{json + "; charset=UTF-16", wide(`{"ä":"€"}`, false), 200, `{ä="€"}`},
		{json + "; charset=UTF-16LE", wide(`{"ä":"€"}`, true), 200, `{ä="€"}`},
		{json + "; charset=UTF-16LE", wide("\ufeff"+`{"ä":"€"}`, true), 200, `{ä="€"}`},
		{json + "; charset=utf-16be", wide(long, false), 200, `{a="` + strings.Repeat("é", 3000) + `"}`},
		{json + "; charset=windows-1251", "{a:'\xf2\xe5\xef\xeb\xee'}", 200, `{a="тепло"}`},
		{json + "; charset=utf-8", "{\"a\":\"K\xfcche\",\"\xb0\":1}", 200, `{a="K�che" �=1}`},
		{json, "{\"a\":\"\xe2\x82\",\"b\":\"\xed\xa0\x80\"}", 200, `{a="�" b="�"}`},
		{json, "{\"a\":\"" + strings.Repeat("\xff", 5000) + "\",\"b\":1}", 200, `{a="` + strings.Repeat("�", 5000) + `" b=1}`},
		{json, long, 200, `{a="` + strings.Repeat("é", 3000) + `"}`},
		{json + "; charset=foo", `{"a":1}`, 415, ""},
		{json + "; charset=utf-8x", `{"a":1}`, 415, ""},
		{json + "; charset=UTF-16", `{"a":1}`, 400, ""},
		{json + "; charset=UTF-16BE", wide(`{"a":1}`, false) + "\x00", 400, ""},
	} {
		for _, path := range []string{"telemetry", "attributes"} {
			intake := &fakeIntake{}
			h := newTestDoor(intake, 0)
			r := httptest.NewRequest("POST", "/api/v1/"+goodToken+"/"+path, strings.NewReader(c.body))
			r.Header.Set("Content-Type", c.kind)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if got := storedText(t, intake.got...); w.Code != c.status || got != c.want {
				t.Errorf("%s as %s: %d %s\n%.100s, want %d %.100s", path, c.kind, w.Code, w.Body, got, c.status, c.want)
			}
			if n := h.bodies.Used(); n != 0 {
				t.Errorf("%s as %s: %d bytes are left", path, c.kind, n)
			}
		}
	}
}

// TestCharsetsAreBounded posts bodies that take three times their bytes as UTF-8. They may have as
// many bytes as any other, and what they take in memory comes out of the same budget.
func TestCharsetsAreBounded(t *testing.T) {
	const limit = 100_000
	for name, c := range map[string]struct{ kind, head, fill string }{
		"malformed": {"application/json", `{"a":"`, "\xff"}, "windows-1252": {"text/plain;charset=cp1252", `{"a":"`, "\x80"},
	} {
		for size, want := range map[int]int{limit: 200, limit + 1: 413} {
			intake := &fakeIntake{hold: make(chan struct{})}
			h := newTestDoor(intake, limit)
			body := c.head + strings.Repeat(c.fill, size-len(c.head)-2) + `"}`
			r := telemetryPost(&countingReader{r: strings.NewReader(body)})
			r.ContentLength = -1
			r.Header.Set("Content-Type", c.kind)
			w := httptest.NewRecorder()
			done := make(chan struct{})
			go func() { h.ServeHTTP(w, r); close(done) }()
			if want == 200 {
				for intake.waiting.Load() == 0 {
					select {
					case <-done:
						t.Fatal(w.Code, w.Body)
					default:
					}
				}
				if n := h.bodies.Used(); n < 3*(size-20) || n > 5*size {
					t.Errorf("%s: %d bytes are held", name, n)
				}
			}
			close(intake.hold)
			<-done
			if _, events := intake.count(); w.Code != want || (events == 1) != (want == 200) {
				t.Errorf("%s, %d bytes: %d, %d events", name, size, w.Code, events)
			}
		}
	}
}

// TestLenientDoors posts what devices in the field send over both doors (API.md 1.3, 2).
func TestLenientDoors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{temperature:25}`, `{temperature=25}`},
		{`{volt:12.30}`, `{volt=12.3}`},
		{
			`{"Time":"2024-02-03T04:05:06","AM2301-04":{"Temperature":nan,"Humidity":nan},"Unit":"C"}`,
			`{Time="2024-02-03T04:05:06" AM2301-04={"Temperature":"nan","Humidity":"nan"} Unit="C"}`,
		},
		{"{\"unit\":\"\xb0C\",\"name\":\"K\xfcche\",\"t\":21.5}", `{unit="�C" name="K�che" t=21.5}`},
		{"{'on': True, 'fault': None, 'note': 'it\\'s\nwet'}", `{on=true fault="None" note="it's\nwet"}`},
		{`{rssi=-071;"up"=>4210./*s*/}`, `{rssi=-71 up="4210."}`},
		{"# state\n{t:inf,\xb5:1}", `{t="inf" �=1}`},
	} {
		intake := &fakeIntake{}
		w := httptest.NewRecorder()
		newTestDoor(intake, 0).ServeHTTP(w, telemetryPost(strings.NewReader(c.text)))
		if got := storedText(t, intake.got...); w.Code != 200 || got != c.want {
			t.Errorf("HTTP %q: %d %s, want %s", c.text, w.Code, got, c.want)
		}
		for _, v := range versions {
			for _, topic := range []string{"v1/devices/me/telemetry", "v1/devices/me/attributes"} {
				s := newStand(t, true)
				d := s.dial(v, "lamp")
				d.ask(topic, c.text, 1)
				d.publish(topic, `{"b":1}`, 0)
				d.alive()
				var got []string
				for _, e := range s.intake.durable() {
					got = append(got, string(e.Fragment))
				}
				if text := storedText(t, got...); text != c.want+"{b=1}" {
					t.Errorf("MQTT %d, %s, %q: %s, want %s", v, topic, c.text, text, c.want)
				}
			}
		}
	}
}

// TestAnswersInOtherCharsets answers a command in a charset that is not UTF-8: its caller gets
// UTF-8 (API.md 2).
func TestAnswersInOtherCharsets(t *testing.T) {
	for _, c := range []struct{ kind, body, want string }{
		{"application/json;charset=iso-8859-1", "\"K\xfcche\"", `"Küche"`},
		{"application/json", "\"K\xfcche\"", `"K�che"`},
		{"text/plain;charset=UTF-16", "\x00\"\x00\xe9\x00\"", `"é"`},
	} {
		s := newStand(t, true)
		r := httptest.NewRequest("POST", "/api/v1/lamp/rpc/5", strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		w := httptest.NewRecorder()
		NewHTTP(s.Doors, 0).ServeHTTP(w, r)
		if _, answers := s.calls.said(); w.Code != 200 || fmt.Sprint(answers) != fmt.Sprintf("[01/5 %s]", c.want) {
			t.Errorf("%s %q: %d %q, want %s", c.kind, c.body, w.Code, answers, c.want)
		}
	}
}

// TestLenientQuestions reads calls, claims, requests for attributes and for credentials in the
// words that the server's reader takes too (API.md 1.3).
func TestLenientQuestions(t *testing.T) {
	for text, want := range map[string]string{
		`{method:getTime,params:{}}`:                       "getTime {}",
		`{'method'='getTime';params=>{zone:nan,'a':[1,]}}`: `getTime {"zone":"nan","a":[1,null]}`,
		`{"method":getTime/*now*/}`:                        "getTime null",
		"{method:m,params:\"K\xfcche\\n\"}":                `m "K�che\n"`,
		`{method:m,params:NULL}`:                           "m null",
		`{method:m,params:TRUE}`:                           "m true",
		`{method:m,}`:                                      "refused",
		`{method:NULL}`:                                    "refused",
		`{method:m}//`:                                     "refused",
		`method`:                                           "refused",
		``:                                                 "refused",
	} {
		method, params, err := readCall([]byte(text))
		got := method + " " + params
		if err != nil {
			got = "refused"
		}
		if got != want {
			t.Errorf("%q: %s (%v), want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		`{secretKey:s,durationMs:60000}`: `secretKey="***" durationMs=60000`, `{'durationMs'='5'}`: `durationMs=5`,
		`{durationMs:soon}`: "refused", "{secretKey:\"\xff\"}": `secretKey="***"`,
	} {
		said, err := readClaim([]byte(text))
		var got []string
		for i := range said {
			got = append(got, fmt.Sprintf("%s=%s", said[i].Key, proto.AppendJSONValue(nil, &said[i])))
		}
		if err != nil {
			got = []string{"refused"}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q (%v), want %s", text, got, err, want)
		}
	}
	r, err := readProvision([]byte("{provisionDeviceKey:k;'provisionDeviceSecret'=>s,deviceName:'K\xfcche'}"))
	if err != nil || *r.Key != "k" || *r.Secret != "s" || string(r.DeviceName) != `"K�che"` {
		t.Errorf("%+v, %v", r, err)
	}
}
