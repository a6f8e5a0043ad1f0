package sync_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	gosync "sync"
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
		t.Run(row.ID, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlayer(t)
				got := p.play(row.ID, row.Request)
				if d, ok := doorsDiffer[row.ID]; ok {
					d.adjust(row.Server)
				}
				for part, want := range row.Server {
					if !reflect.DeepEqual(p.plain(got[part]), p.plain(want)) {
						t.Errorf("%s:\ngot  %s\nwant %s", part, p.text(got[part]), p.text(want))
					}
				}
			})
		})
	}
	if rows != 29 {
		t.Errorf("%d rows", rows)
	}
}

// player plays one recorded request.
type player struct {
	*doorsRig
	device, gateway, after cloudtest.Device
	names                  *strings.Replacer // of what the recording calls <…>
	client                 *doorsClient
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
	p.names = strings.NewReplacer("<dev.token>", "token-dev", "<gw.token>", "token-gw", "<gw>", "gw", "<after>", "after", "<a>", "A", "<b>", "B",
		"<child>", "child", "<new>", "new", "<profile.key>", "pk", "<profile.secret>", "ps", "<profile>", "made",
		"<issued>", "MIIBnonsense-1", "<gw.id>", proto.FormatUUID(p.gateway.ID), "<title>", "fw")
	return p
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
	return p.names.Replace(b.String())
}

// play sends the requests, and returns what came of them under the names of the recording.
func (p *player) play(id string, requests []string) map[string]any {
	got := map[string]any{}
	called := false
	for i, request := range requests {
		request = p.names.Replace(request)
		word, rest, _ := strings.Cut(request, " ")
		switch word {
		case "GET", "POST":
			if id == "http.firmware.attributes-set" {
				p.assign()
				got["shared"] = p.post(request)["body"].(map[string]any)["json"]
				continue
			}
			name := "http"
			if i > 0 {
				name = map[bool]string{true: "post", false: "http.2"}[strings.HasPrefix(id, "provision")]
			}
			got[name] = p.post(request)
			if token, ok := p.issued(got[name]); ok && i == 0 {
				p.names = strings.NewReplacer("<credentialsId>", token, "<new>", "new", "<profile>", "made", "<issued>", "MIIBnonsense-1")
			}
		case "CONNECT":
			p.client = p.connect(rest)
		case "SUBSCRIBE":
			p.client.subscribe(rest)
		case "PUBLISH":
			if strings.Contains(rest, `"id":0`) { // the answer to a call, made now
				got["caller"], called = p.call(p.mustBe("child"), false, rest), true
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
			"additionalInfo": p.entity(p.after.ID)["additionalInfo"], "customer": "none", "label": nil, "relations": []string{}, "type": "default",
		}
	case strings.HasPrefix(id, "provision."):
		got["device"] = p.provisioned()
	case strings.HasPrefix(id, "value."):
		got["stored"] = p.stored("dev")
	default:
		got["stored a"], got["stored b"], got["child"] = p.stored("A"), p.stored("B"), p.stored("child")
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

func (p *player) named(name string) (cloudtest.Device, bool) {
	for _, d := range p.cloud.Tenant().Devices() {
		if d.Name == name {
			return d, true
		}
	}
	return cloudtest.Device{}, false
}

func (p *player) mustBe(name string) proto.UUID {
	d, ok := p.named(name)
	if !ok {
		p.Fatalf("no device %s", name)
	}
	return d.ID
}

// stored is what the cloud has of a device.
func (p *player) stored(name string) any {
	d, ok := p.named(name)
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
	d, ok := p.named("new")
	if !ok {
		return "no such device"
	}
	m := map[string]any{"additionalInfo": nil, "credentialsType": d.CredentialsType, "credentialsValue": nil, "type": d.Profile, "provisionState": nil}
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
func (p *player) assign() {
	data := bytes.Repeat([]byte("edge"), 256)
	sum := sha256.Sum256(data)
	id := p.cloud.Tenant().NewID()
	msb, lsb := proto.Halves(id)
	p.cloud.Push(p.edge, &proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{{IdMSB: msb, IdLSB: lsb, Entity: fmt.Sprintf(
		`{"type":"FIRMWARE","title":"fw","version":"1.0","tag":null,"url":null,"fileName":"f","contentType":"a/b","checksumAlgorithm":"SHA256",`+
			`"checksum":%q,"dataSize":1024,"data":%q}`, hex.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(data))}}})
	msb, lsb = proto.Halves(p.device.ID)
	p.cloud.Push(p.edge, &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{{
		MsgType: proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE, IdMSB: msb, IdLSB: lsb,
		Entity: `{"name":"dev","type":"default","firmwareId":{"entityType":"OTA_PACKAGE","id":"` + proto.FormatUUID(id) + `"}}`,
	}}})
	p.elapse(5 * time.Second)
	p.names = strings.NewReplacer("<title>", "fw", "785b0751fc2c53dc14a4ce3d800e69ef9ce1009eb327ccf458afe09c242c26c9", hex.EncodeToString(sum[:]))
}

// doorsClient is an MQTT client that writes down what it is sent.
type doorsClient struct {
	p       *player
	conn    net.Conn
	version byte
	nextID  uint16

	mu         gosync.Mutex
	acks       []any
	messages   []any
	bodies     []string
	disconnect []int
	closed     bool
}

// connect takes `v4 {"user": "…"}`.
func (p *player) connect(text string) *doorsClient {
	version, options, _ := strings.Cut(text, " ")
	var o struct{ User string }
	_ = json.Unmarshal([]byte(options), &o)
	conn, err := p.mqtt.Dial()
	if err != nil {
		p.Fatal(err)
	}
	c := &doorsClient{p: p, conn: conn, version: version[1] - '0', nextID: 1}
	p.Cleanup(func() { conn.Close() })
	go c.read()
	b := append(mqttText("MQTT"), c.version, 0x82, 0, 0)
	if c.version == 5 {
		b = append(b, 0)
	}
	c.send(0x10, append(append(b, mqttText("")...), mqttText(o.User)...))
	return c
}

func mqttText(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }

func (c *doorsClient) send(head byte, body []byte) {
	_, _ = c.conn.Write(append(binary.AppendUvarint([]byte{head}, uint64(len(body))), body...))
}

func (c *doorsClient) id() []byte {
	b := binary.BigEndian.AppendUint16(nil, c.nextID)
	if c.nextID++; c.version == 5 {
		b = append(b, 0)
	}
	return b
}

// subscribe takes a list of filters, each alone or with its quality of service.
func (c *doorsClient) subscribe(text string) {
	var filters []any
	if err := json.Unmarshal([]byte(text), &filters); err != nil {
		c.p.Fatal(err)
	}
	b := c.id()
	for _, f := range filters {
		if pair, ok := f.([]any); ok {
			f = pair[0]
		}
		b = append(append(b, mqttText(f.(string))...), 1)
	}
	c.send(0x82, b)
}

// publish takes "q1 TOPIC PAYLOAD".
func (c *doorsClient) publish(text string) {
	_, text, _ = strings.Cut(text, " ")
	topic, payload, _ := strings.Cut(text, " ")
	c.send(0x32, append(append(mqttText(topic), c.id()...), payload...))
}

func (c *doorsClient) read() {
	in := bufio.NewReader(c.conn)
	for {
		head, err := in.ReadByte()
		var n uint64
		if err == nil {
			n, err = binary.ReadUvarint(in)
		}
		body := make([]byte, n)
		if err == nil {
			_, err = io.ReadFull(in, body)
		}
		c.mu.Lock()
		if c.closed = err != nil; c.closed {
			c.mu.Unlock()
			return
		}
		c.note(head, body)
		c.mu.Unlock()
	}
}

// note writes down a packet in the words of the recording.
func (c *doorsClient) note(head byte, body []byte) {
	switch head >> 4 {
	case 2:
		c.acks = append(c.acks, []any{"CONNACK", body[0], body[1]})
	case 9:
		codes := []int{}
		from := 2
		if c.version == 5 {
			from = 3
		}
		for _, code := range body[from:] {
			codes = append(codes, int(code))
		}
		c.acks = append(c.acks, []any{"SUBACK", codes})
	case 4:
		ack := []any{"PUBACK", binary.BigEndian.Uint16(body)}
		if len(body) > 2 && body[2] != 0 {
			ack = append(ack, int(body[2]))
		}
		c.acks = append(c.acks, ack)
	case 14:
		c.disconnect = append(c.disconnect, int(body[0]))
	case 3:
		n := binary.BigEndian.Uint16(body)
		topic, payload := string(body[2:2+n]), string(body[4+n:])
		var j any
		_ = json.Unmarshal([]byte(payload), &j)
		c.bodies = append(c.bodies, topic+" "+payload)
		c.messages = append(c.messages, []any{
			topic, map[string]any{"dup": head >> 3 & 1, "qos": head >> 1 & 3, "retain": head & 1}, map[string]any{"json": j},
		})
	}
}

// callID is the number of the last command, which a server counts from 0 and this agent does not.
func (c *doorsClient) callID() json.Number {
	c.mu.Lock()
	defer c.mu.Unlock()
	var j struct {
		Data struct{ ID json.Number }
	}
	_, payload, _ := strings.Cut(c.bodies[len(c.bodies)-1], " ")
	_ = json.Unmarshal([]byte(payload), &j)
	return j.Data.ID
}

// seen is what came, in the words of the recording; the numbers of commands are 0.
func (c *doorsClient) seen() map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.messages {
		m := m.([]any)
		m[0] = callID.ReplaceAllString(m[0].(string)+" ", "rpc/request/0 ")
		m[0] = strings.TrimSpace(m[0].(string))
		if fields, ok := m[2].(map[string]any)["json"].(map[string]any); ok {
			if data, ok := fields["data"].(map[string]any); ok && data["method"] != nil {
				data["id"] = 0
			}
			if fields["method"] != nil { // the recording calls the method m, without parameters
				fields["method"], fields["params"] = "m", map[string]any{}
			}
		}
	}
	if c.messages == nil {
		c.messages = []any{}
	}
	m := map[string]any{"acks": c.acks, "closed": c.closed, "messages": c.messages}
	if len(c.disconnect) > 0 {
		m["disconnect"] = c.disconnect
	}
	return m
}

