package sync_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// TestProvisioningThroughTheCloud asks for credentials over HTTP and MQTT in forms of which each
// has one answer, and finds in the cloud what was answered (API.md 5).
func TestProvisioningThroughTheCloud(t *testing.T) {
	const failure = `{"errorMsg":"Failed to provision device!","status":"FAILURE"}`
	certificate := func(text string) string {
		return `{"credentialsValue":"` + text + `","credentialsType":"X509_CERTIFICATE","status":"SUCCESS"}`
	}
	token := func(text string) string {
		return `{"credentialsValue":"` + text + `","credentialsType":"ACCESS_TOKEN","status":"SUCCESS"}`
	}
	const of = `"deviceName":"a#","credentialsType":"X509_CERTIFICATE","hash":`
	cases := []struct{ members, answer, name, id string }{ // # is a number that is new each time
		{of + `"-----BEGIN CERTIFICATE-----\nMIIB#\nAAEC\n-----END CERTIFICATE-----\n"`, certificate("MIIB#AAEC"), "a#", "sha3 MIIB#AAEC"},
		{
			of + `"-----BEGIN CERTIFICATE-----\r\nMIIB#\r\nAA==\r\n-----END CERTIFICATE-----"`,
			certificate("MIIB#AA=="), "a#", "sha3 MIIB#AA==",
		},
		{of + `"no base64! #"`, certificate("no base64! #"), "a#", "sha3 no base64! #"},
		{of + `"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"`, failure, "", ""},
		{`"deviceName":"\t a b# \n","token":"t#"`, token("t#"), "a b#", "t#"},
		{`"deviceName":" dev ","token":"t#"`, failure, "", ""}, // the name is taken
		{`"deviceName":"a < b","token":"t#"`, failure, "", ""},
		{`"deviceName":"` + strings.Repeat("x", 256) + `"`, failure, "", ""},
		{`"deviceName":"a#","token":"` + strings.Repeat("t", 2000) + `"`, failure, "", ""},
		{`"deviceName":"a#","token":"token-dev"`, failure, "", ""}, // is taken
	}
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(t)
		for n := range 2 * len(cases) {
			c := cases[n/2]
			for _, text := range []*string{&c.members, &c.answer, &c.name, &c.id} {
				*text = strings.ReplaceAll(*text, "#", strconv.Itoa(n))
			}
			if hashed, ok := strings.CutPrefix(c.id, "sha3 "); ok {
				sum := sha3.Sum256([]byte(hashed))
				c.id = hex.EncodeToString(sum[:])
			}
			before := len(p.cloud.Tenant().Devices())
			body := `{"provisionDeviceKey":"pk","provisionDeviceSecret":"ps",` + c.members + `}`
			var answer string
			if n%2 == 0 {
				q := httptest.NewRequestWithContext(p.Context(), "POST", "/api/v1/provision", strings.NewReader(body))
				w := httptest.NewRecorder()
				p.http.ServeHTTP(w, q)
				answer = w.Body.String()
				if w.Code != 200 {
					t.Errorf("%s: status %d", c.members, w.Code)
				}
			} else {
				d := p.connect(`v4 {"user": "provision"}`)
				d.publish("q1 /provision/request " + body)
				p.elapse(time.Second)
				d.mu.Lock()
				if len(d.bodies) == 1 {
					_, answer, _ = strings.Cut(d.bodies[0], " ")
				}
				d.mu.Unlock()
				d.conn.Close()
			}
			if answer != c.answer {
				t.Errorf("%s:\ngot  %s\nwant %s", c.members, answer, c.answer)
			}
			p.elapse(30 * time.Second)
			d, ok := p.find(c.name)
			if ok != (c.name != "") || ok && d.CredentialsID != c.id || !ok && len(p.cloud.Tenant().Devices()) != before {
				t.Errorf("%s: the cloud has %v %+v", c.members, ok, d)
			}
		}
	})
}

// get asks for something of the device over HTTP.
func (p *player) get(path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	p.http.ServeHTTP(w, httptest.NewRequestWithContext(p.Context(), "GET", "/api/v1/token-dev/"+path, nil))
	return w
}

// TestTextsStayTexts sends texts that look like something else to a device and to a gateway: they
// hear the type that the cloud has sent, in every form (API.md 2, 4.1, 4.3). What devices publish
// is converted as ever (API.md 1.3).
func TestTextsStayTexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(t)
		texts := map[string]string{
			"a": "42", "b": "1.10", "c": "true", "d": "null", "e": "-0", "f": "٣٤", "g": "0012", "h": "12345678901234567890", "i": "1e5",
			"j": `{"x":1}`, "k": ".5", "l": "NaN", "m": "14.0",
		}
		var kvs []*proto.KeyValueProto
		for _, key := range slices.Sorted(maps.Keys(texts)) {
			kvs = append(kvs, &proto.KeyValueProto{Key: key, Type: proto.KeyValueType_STRING_V, StringV: texts[key]})
		}
		push := func(id proto.UUID) {
			msb, lsb := proto.Halves(id)
			p.cloud.Push(p.edge, &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
				EntityType: "DEVICE", EntityIdMSB: msb, EntityIdLSB: lsb, PostAttributeScope: "SHARED_SCOPE",
				AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: kvs},
			}}})
			p.elapse(5 * time.Second)
		}
		same := func(what, text string, path ...string) {
			t.Helper()
			var v any
			_ = json.Unmarshal([]byte(text), &v)
			for _, name := range path {
				fields, _ := v.(map[string]any)
				v = fields[name]
			}
			want, _ := json.Marshal(texts)
			if got, _ := json.Marshal(v); string(got) != string(want) {
				t.Errorf("%s: %s", what, text)
			}
		}
		d := p.connect(`v4 {"user": "token-dev"}`)
		d.subscribe(`["v1/devices/me/attributes", "v1/devices/me/attributes/response/+"]`)
		g := p.connect(`v5 {"user": "token-gw"}`)
		g.subscribe(`["v1/gateway/attributes", "v1/gateway/attributes/response"]`)
		g.publish(`q1 v1/gateway/connect {"device":"after"}`)
		polled := make(chan string, 1)
		go func() {
			polled <- p.get("attributes/updates?timeout=20000").Body.String()
		}()
		p.elapse(time.Second)
		push(p.device.ID)
		push(p.after.ID)
		same("poll", <-polled)
		d.publish(`q1 v1/devices/me/attributes/request/1 {}`)
		g.publish(`q1 v1/gateway/attributes/request {"id":1,"device":"after","client":false,"keys":[]}`)
		same("HTTP", p.get("attributes").Body.String(), "shared")
		p.elapse(time.Second)
		last := func(c *doorsClient, back int) string {
			c.mu.Lock()
			defer c.mu.Unlock()
			_, text, _ := strings.Cut(c.bodies[len(c.bodies)-back], " ")
			return text[strings.IndexByte(text, '{'):]
		}
		same("push", last(d, 2))
		same("answer", last(d, 1), "shared")
		same("push to the gateway", last(g, 2), "data")
		same("answer to the gateway", last(g, 1), "values")

		d.publish(`q1 v1/devices/me/attributes {"x":"42"}`)
		p.elapse(30 * time.Second)
		if v, _, _ := p.cloud.Tenant().Attribute(p.device.ID, "CLIENT_SCOPE", "x"); v.Type != proto.KeyValueType_LONG_V || v.Long != 42 {
			t.Errorf("a device's %+v", v)
		}
	})
}

// TestFirmwareIsAnnounced assigns a package to a device and to one of a gateway: both, and a poll,
// are told of it at once, in texts, and what the cloud says later does not change that (API.md 2,
// 4.1, CONTRACT.md 13.3).
func TestFirmwareIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(t)
		d := p.connect(`v4 {"user": "token-dev"}`)
		d.subscribe(`["v1/devices/me/attributes", "v1/devices/me/attributes/response/+"]`)
		g := p.connect(`v5 {"user": "token-gw"}`)
		g.subscribe(`["v1/gateway/attributes"]`)
		g.publish(`q1 v1/gateway/connect {"device":"after"}`)
		polled := make(chan string, 1)
		go func() {
			polled <- p.get("attributes/updates?timeout=29000").Body.String()
		}()
		p.elapse(time.Second)
		p.assign(p.device)
		p.assign(p.after)
		sum := p.sum
		want := `{"fw_title":"fw","fw_version":"1.0","fw_size":1024,"fw_checksum_algorithm":"SHA256","fw_checksum":"` + sum + `"}`
		told := func(c *doorsClient, want ...string) {
			t.Helper()
			c.mu.Lock()
			defer c.mu.Unlock()
			if !slices.Equal(c.bodies, want) {
				t.Errorf("told %q, want %q", c.bodies, want)
			}
			c.bodies = nil
		}
		if got := <-polled; got != want {
			t.Errorf("polled %s", got)
		}
		told(d, "v1/devices/me/attributes "+want)
		told(g, `v1/gateway/attributes {"device":"after","data":`+want+"}")
		msb, lsb := proto.Halves(p.device.ID)
		p.cloud.Push(p.edge, &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{
			EntityType: "DEVICE", EntityIdMSB: msb, EntityIdLSB: lsb, PostAttributeScope: "SHARED_SCOPE",
			AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{
				{Key: "fw_title", Type: proto.KeyValueType_STRING_V, StringV: "fw"},
				{Key: "fw_version", Type: proto.KeyValueType_DOUBLE_V, DoubleV: 1},
				{Key: "fw_size", Type: proto.KeyValueType_LONG_V, LongV: 1024},
				{Key: "fan", Type: proto.KeyValueType_LONG_V, LongV: 1},
			}},
		}}})
		p.elapse(5 * time.Second)
		told(d, `v1/devices/me/attributes {"fan":1}`)
		d.publish(`q1 v1/devices/me/attributes/request/1 {"sharedKeys":"fw_version,fw_size"}`)
		p.elapse(time.Second)
		told(d, `v1/devices/me/attributes/response/1 {"shared":{"fw_version":"1.0","fw_size":1024}}`)
		// What is told names the package that can be fetched.
		d.publish(`q1 v2/fw/request/1/chunk/0 `)
		p.elapse(time.Second)
		told(d, "v2/fw/response/1/chunk/0 "+strings.Repeat("edge", 256))
		if w := p.get("firmware?title=fw&version=1.0"); w.Code != 200 || w.Body.Len() != 1024 {
			t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
		}
	})
}

// TestLargePackageIsServed uploads a package whose message is as large as what was announced: it is
// announced to the device that has it assigned, and served byte by byte as it was uploaded; the
// next message comes behind it (CONTRACT.md 13.2, 13.3).
func TestLargePackageIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(t)
		d := p.connect(`v4 {"user": "token-dev"}`)
		d.subscribe(`["v1/devices/me/attributes"]`)
		data := make([]byte, 8<<20/4*3-1000)
		for i := range data {
			data[i] = byte(i * i >> 7)
		}
		id := p.cloud.UploadPackage(cloudtest.Package{Title: "fw", Version: "1.10", Data: data})
		msb, lsb := proto.Halves(p.device.ID)
		p.cloud.Push(p.edge, &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{{
			MsgType: proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE, IdMSB: msb, IdLSB: lsb, Entity: `{"name":"` + p.device.Name +
				`","type":"default","firmwareId":{"entityType":"OTA_PACKAGE","id":"` + proto.FormatUUID(id) + `"}}`,
		}}})
		p.elapse(5 * time.Second)
		sum := sha256.Sum256(data)
		want := `v1/devices/me/attributes {"fw_title":"fw","fw_version":"1.10","fw_tag":"fw 1.10","fw_size":` + strconv.Itoa(len(data)) +
			`,"fw_checksum_algorithm":"SHA256","fw_checksum":"` + hex.EncodeToString(sum[:]) + `"}`
		d.mu.Lock()
		defer d.mu.Unlock()
		if !slices.Equal(d.bodies, []string{want}) {
			t.Errorf("told %q, want %q", d.bodies, want)
		}
		if w := p.get("firmware?title=fw&version=1.10"); w.Code != 200 || !bytes.Equal(w.Body.Bytes(), data) {
			t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
		}
		if n := p.cloud.Stats().TooBig; n != 0 {
			t.Errorf("the cloud dropped %d", n)
		}
	})
}

// TestGatewaysAreNotedWhenTheLinkIsUp lets a gateway name a device while the link is down: the
// device goes up later, as the cloud has changed it meanwhile, and no more often than once an hour,
// whoever names it (API.md 4.3).
func TestGatewaysAreNotedWhenTheLinkIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(t)
		p.cloud.AddDevice(p.edge, cloudtest.Device{
			ID: p.cloud.Tenant().NewID(), Name: "gw2", CredentialsType: "ACCESS_TOKEN", CredentialsID: "token-gw2", Gateway: true,
		})
		p.elapse(10 * time.Second)
		p.cloud.Away(true)
		p.elapse(time.Minute)
		one := p.connect(`v4 {"user": "token-gw"}`)
		say := func(c *doorsClient) {
			c.publish(`q1 v1/gateway/telemetry {"after":[{"x":1}]}`)
			p.elapse(10 * time.Second)
		}
		last := func(want string) {
			t.Helper()
			info, _ := p.entity(p.after.ID)["additionalInfo"].(map[string]any)
			if got, _ := info["lastConnectedGateway"].(string); got != want {
				t.Errorf("the cloud has the gateway %q, want %q", got, want)
			}
		}
		say(one)
		p.after.Label = "new"
		msg := p.cloud.Tenant().SaveDevice(p.after)
		p.cloud.Away(false)
		p.elapse(5 * time.Minute)
		last("")
		p.cloud.Push(p.edge, msg)
		p.elapse(time.Minute)
		say(one)
		p.elapse(time.Minute)
		last(proto.FormatUUID(p.gateway.ID))
		if label := p.entity(p.after.ID)["label"]; label != "new" {
			t.Errorf("the label is %v", label)
		}
		two := p.connect(`v4 {"user": "token-gw2"}`)
		for range 5 {
			say(two)
			say(one)
		}
		p.elapse(time.Minute)
		last(proto.FormatUUID(p.gateway.ID))
		p.elapse(time.Hour)
		say(p.connect(`v4 {"user": "token-gw2"}`)) // the old connection has ended, silent
		p.elapse(time.Minute)
		last(proto.FormatUUID(p.mustBe("gw2")))
	})
}
