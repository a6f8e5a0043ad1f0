package sync_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// doorsDiffer are the recorded answers that the doors do not give, each with what they do instead
// and why; API.md 10 has them too.
var doorsDiffer = map[string]struct {
	reason string
	adjust func(want map[string]any)
}{
	"gw.connect.itself": {
		"a gateway that names itself keeps its connection", func(want map[string]any) { want["mqtt"].(map[string]any)["closed"] = false },
	},
	"rpc.mqtt.no-puback.q1-oneway": {
		"a one-way call is answered {} over an edge (CONTRACT.md 8.1)",
		func(want map[string]any) { want["caller"].(map[string]any)["body"] = map[string]any{} },
	},
}

// TestDoorsAnswerAsRecorded says to the doors what was said to a live server, and compares the
// answers and what the cloud has afterwards.
func TestDoorsAnswerAsRecorded(t *testing.T) {
	f, err := os.Open(filepath.Join("testdata", "doors.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	synctest.Test(t, func(t *testing.T) {
		p := newPlayer(t)
		rows := 0
		for s := bufio.NewScanner(f); s.Scan(); rows++ {
			var row struct {
				ID      string
				Request []string
				Server  map[string]any
			}
			if err := json.Unmarshal(s.Bytes(), &row); err != nil {
				t.Fatal(err)
			}
			p.begin(rows)
			got := p.play(row.ID, row.Request)
			if d, ok := doorsDiffer[row.ID]; ok {
				d.adjust(row.Server)
			}
			for part, want := range row.Server {
				if !reflect.DeepEqual(p.plain(got[part]), p.plain(want)) {
					t.Errorf("%s, %s:\ngot  %s\nwant %s", row.ID, part, p.text(got[part]), p.text(want))
				}
			}
		}
		if rows != 29 {
			t.Errorf("%d rows", rows)
		}
	})
}

// player plays recorded requests.
type player struct {
	*doorsRig
	device, gateway, after cloudtest.Device
	words                  map[string]string // of what the recording calls <…>
	client                 *doorsClient
	sum                    string // of the package that was assigned
	polled                 chan string
}

func newPlayer(t *testing.T) *player {
	p := &player{doorsRig: newDoorsRig(t, cloudtest.Edge{ID: proto.UUID{1, 2, 3}, Name: "e", RoutingKey: "key", Secret: "secret"}, "ota")}
	p.run()
	p.elapse(time.Minute)
	make1 := func(name string, gateway bool) cloudtest.Device {
		d := cloudtest.Device{
			ID: p.cloud.Tenant().NewID(), Name: name, CredentialsType: "ACCESS_TOKEN", CredentialsID: "token-" + name, Gateway: gateway,
		}
		p.cloud.AddDevice(p.edge, d)
		return d
	}
	p.device, p.gateway, p.after = make1("dev", false), make1("gw", true), make1("after", false)
	profile := p.cloud.Tenant().NewID()
	msb, lsb := proto.Halves(profile)
	p.cloud.Push(p.edge, &proto.DownlinkMsg{DeviceProfileUpdateMsg: []*proto.DeviceProfileUpdateMsg{{
		IdMSB: msb, IdLSB: lsb, Entity: `{"name":"made","provisionType":"ALLOW_CREATE_NEW_DEVICES","provisionDeviceKey":"pk",` +
			`"profileData":{"provisionConfiguration":{"provisionDeviceSecret":"ps"}}}`,
	}}})
	p.elapse(10 * time.Second)
	p.begin(0)
	return p
}

// begin lets the recording's names stand for new devices and credentials, and ends the connection
// of the row before.
func (p *player) begin(row int) {
	if p.client != nil {
		p.client.conn.Close()
		p.client = nil
	}
	n := strconv.Itoa(row)
	p.words = map[string]string{
		"<dev.token>": "token-dev", "<gw.token>": "token-gw", "<gw>": "gw", "<after>": "after",
		"<gw.id>": proto.FormatUUID(p.gateway.ID), "<profile.key>": "pk", "<profile.secret>": "ps", "<profile>": "made", "<title>": "fw",
		"<a>": "A" + n, "<b>": "B" + n, "<child>": "child" + n, "<new>": "new" + n, "<issued>": "MIIBnonsense-" + n,
	}
}

// named is a text of the recording with the names of this run.
func (p *player) named(text string) string {
	for word, name := range p.words {
		text = strings.ReplaceAll(text, word, name)
	}
	return text
}

// plain makes values comparable: as they are in JSON, with the names of this run.
func (p *player) plain(v any) (w any) {
	_ = json.Unmarshal([]byte(p.text(v)), &w)
	return w
}

func (p *player) text(v any) string {
	b := new(bytes.Buffer)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
	return p.named(b.String())
}

// play sends the requests, and returns what came of them under the names of the recording.
func (p *player) play(id string, requests []string) map[string]any {
	got := map[string]any{}
	called := false
	for i, request := range requests {
		request = p.named(request)
		word, rest, _ := strings.Cut(request, " ")
		switch word {
		case "GET", "POST":
			if id == "http.firmware.attributes-set" {
				p.assign(p.device)
				got["shared"] = p.post(request)["body"].(map[string]any)["json"]
				continue
			}
			name := "http"
			if i > 0 {
				name = map[bool]string{true: "post", false: "http.2"}[strings.HasPrefix(id, "provision")]
			}
			got[name] = p.post(request)
			if token, ok := p.issued(got[name]); ok && i == 0 {
				p.words["<credentialsId>"] = token
			}
		case "CONNECT":
			p.client = p.connect(rest)
		case "SUBSCRIBE":
			p.client.subscribe(rest)
		case "PUBLISH":
			if strings.Contains(rest, `"id":0`) { // the answer to a call, made now
				got["caller"], called = p.call(p.mustBe(p.named("<child>")), false, rest), true
				continue
			}
			p.client.publish(rest)
		}
		p.elapse(time.Second)
	}
	if strings.HasPrefix(id, "rpc.") && !called {
		began := time.Now()
		got["caller"] = p.call(p.device.ID, true, "")
		if got["after"] = "at once"; time.Since(began) > 2*time.Second {
			got["after"] = time.Since(began).String()
		}
	}
	p.elapse(30 * time.Second)
	if p.client != nil {
		got["mqtt"] = p.client.seen()
	}
	switch {
	case id == "gw.connect.existing-device":
		got["after"] = map[string]any{
			"additionalInfo": p.entity(p.after.ID)["additionalInfo"], "customer": "none", "label": nil,
			"relations": []string{}, "type": "default",
		}
	case strings.HasPrefix(id, "provision."):
		got["device"] = p.provisioned()
	case strings.HasPrefix(id, "value."):
		got["stored"] = p.stored("dev")
	default:
		got["stored a"], got["stored b"], got["child"] = p.stored(p.named("<a>")), p.stored(p.named("<b>")), p.stored(p.named("<child>"))
	}
	return got
}

func (p *player) issued(answer any) (string, bool) {
	body, _ := answer.(map[string]any)["body"].(map[string]any)
	fields, _ := body["json"].(map[string]any)
	token, ok := fields["credentialsValue"].(string)
	return token, ok && fields["credentialsType"] == "ACCESS_TOKEN"
}

// post sends a request of HTTP, which the recording has as text.
func (p *player) post(text string) map[string]any {
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	method, rest, _ := strings.Cut(head, " ")
	path, _, _ := strings.Cut(rest, " ")
	q := httptest.NewRequestWithContext(p.Context(), method, path, strings.NewReader(body))
	q.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	p.http.ServeHTTP(w, q)
	a := map[string]any{"status": w.Code, "body": w.Body.String(), "headers": map[string]any{}}
	var j any
	if json.Unmarshal(w.Body.Bytes(), &j) == nil {
		a["body"] = map[string]any{"json": j}
		a["headers"] = map[string]any{"content-type": w.Header().Get("Content-Type")}
	}
	return a
}

func (p *player) find(name string) (cloudtest.Device, bool) {
	for _, d := range p.cloud.Tenant().Devices() {
		if d.Name == name {
			return d, true
		}
	}
	return cloudtest.Device{}, false
}

func (p *player) mustBe(name string) proto.UUID {
	d, ok := p.find(name)
	if !ok {
		p.Fatalf("no device %s", name)
	}
	return d.ID
}

// stored is what the cloud has of a device.
func (p *player) stored(name string) any {
	d, ok := p.find(name)
	if !ok {
		return "no such device"
	}
	word := func(v cloudtest.Value) []any {
		typ := strings.TrimSuffix(v.Type.String(), "_V")
		switch v.Type {
		case proto.KeyValueType_LONG_V:
			return []any{typ, v.Long}
		case proto.KeyValueType_STRING_V:
			return []any{typ, v.Str}
		}
		return []any{typ, v.Dbl}
	}
	client, telemetry := map[string]any{}, map[string]any{}
	for _, key := range []string{"x", "y", "v"} {
		if v, _, ok := p.cloud.Tenant().Attribute(d.ID, "CLIENT_SCOPE", key); ok {
			client[key] = word(v)
		}
		if rows := p.cloud.Tenant().Series(d.ID, key); len(rows) > 0 {
			telemetry[key] = word(rows[len(rows)-1].Value)
			if name != "dev" {
				telemetry[key] = append(telemetry[key].([]any), "<now>")
			}
		}
	}
	return map[string]any{"client": client, "telemetry": telemetry}
}

func (p *player) entity(id proto.UUID) (fields map[string]any) {
	text, _ := p.cloud.Tenant().Entity("DEVICE", id)
	_ = json.Unmarshal([]byte(text), &fields)
	return fields
}

// provisioned is the device "new" as the cloud has it.
func (p *player) provisioned() any {
	d, ok := p.find(p.named("<new>"))
	if !ok {
		return "no such device"
	}
	m := map[string]any{
		"additionalInfo": nil, "credentialsType": d.CredentialsType, "credentialsValue": nil, "type": d.Profile, "provisionState": nil,
	}
	if d.CredentialsValue != "" {
		m["credentialsValue"] = d.CredentialsValue
	}
	if info, ok := p.entity(d.ID)["additionalInfo"].(map[string]any); ok && len(info) > 0 {
		m["additionalInfo"] = info
	}
	if v, _, ok := p.cloud.Tenant().Attribute(d.ID, "SERVER_SCOPE", "provisionState"); ok {
		m["provisionState"] = v.Str
	}
	return m
}

// call calls a device, which answers with the publish reply, and returns what its caller gets.
func (p *player) call(id proto.UUID, oneway bool, reply string) map[string]any {
	type result struct {
		response string
		err      error
	}
	done := make(chan result, 1)
	go func() {
		response, err := p.cloud.CallRPC(p.Context(), id, "setMode", `{"m":"eco"}`, oneway, 10*time.Second)
		done <- result{response, err}
	}()
	p.elapse(2 * time.Second)
	if reply != "" {
		p.client.publish(strings.Replace(reply, `"id":0`, fmt.Sprintf(`"id":%v`, p.client.callID()), 1))
	}
	r := <-done
	if r.err != nil {
		return map[string]any{"status": r.err.Error(), "body": ""}
	}
	var body any
	_ = json.Unmarshal([]byte(r.response), &body)
	return map[string]any{"status": 200, "body": body}
}

// assign gives the device a firmware, as a server does: the package, and the device that names it.
func (p *player) assign(d cloudtest.Device) {
	data := bytes.Repeat([]byte("edge"), 256)
	sum := sha256.Sum256(data)
	id := p.cloud.Tenant().NewID()
	msb, lsb := proto.Halves(id)
	p.cloud.Push(p.edge, &proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: fmt.Sprintf(
		`{"type":"FIRMWARE","title":"fw","version":"1.0","tag":null,"url":null,"fileName":"f","contentType":"a/b",`+
			`"checksumAlgorithm":"SHA256","checksum":%q,"dataSize":1024,"data":%q}`,
		hex.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(data))}}})
	msb, lsb = proto.Halves(d.ID)
	p.cloud.Push(p.edge, &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{{
		MsgType: proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE, IdMSB: msb, IdLSB: lsb,
		Entity: `{"name":"` + d.Name + `","type":"default","firmwareId":{"entityType":"OTA_PACKAGE","id":"` + proto.FormatUUID(id) + `"}}`,
	}}})
	p.elapse(5 * time.Second)
	p.sum = hex.EncodeToString(sum[:])
	p.words["785b0751fc2c53dc14a4ce3d800e69ef9ce1009eb327ccf458afe09c242c26c9"] = p.sum
}
