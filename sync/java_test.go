package sync_test

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	gosync "sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"
	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/sync"
	"edgesync/sync/cloudtest"
	"edgesync/sync/cloudtest/rig"
	"edgesync/sync/config"
	"edgesync/sync/device"
	"edgesync/sync/registry"
)

// What a Java edge sent in the recording java-edge, by the line, without what devices did: REST means that a user acted at the edge, which the tests of
// the local REST API compare.
var javaByREST = map[int]string{
	35: "server attributes saved", 38: "shared attributes saved", 41: "same shared attribute again", 44: "server attribute deleted", 49: "device created",
	52: "device updated", 55: "device credentials updated", 58: "device with MQTT basic credentials", 61: "asset created", 64: "relation added",
	67: "relation with additional info", 70: "relation deleted", 75: "two relations, then all deleted", 79: "alarm severity updated: a comment",
	82: "alarm comment", 85: "alarm acknowledged: a comment", 88: "alarm cleared: a comment", 91: "alarm deleted", 94: "entity view created",
	97: "dashboard created", 100: "asset updated", 103: "asset deleted", 104: "asset deleted: its relation", 108: "device deleted",
}

// javaMore are those of them for which the local REST API sends something else.
var javaMore = map[int]string{
	79:  "the alarm; the Java edge sends only a comment on it",
	82:  "nothing: no comments are made here",
	85:  "the acknowledgement; the Java edge sends only a comment on it",
	88:  "the clearing; the Java edge sends only a comment on it",
	104: "the relations of an asset go with it in the cloud",
}

// Reasons why ours sends nothing for a line.
var javaOnly = map[int]string{
	29:  "counters of the Java edge about itself, each minute; ours are in status and metrics, and cost no uplink",
	72:  "as 29",
	113: "as 29",
	145: "as 29",
}

// javaTape is the recording.
type javaTape struct {
	up   map[int]*proto.UplinkMsg
	down map[int]*proto.DownlinkMsg
}

func readJavaTape(t *testing.T) *javaTape {
	t.Helper()
	tape := &javaTape{up: map[int]*proto.UplinkMsg{}, down: map[int]*proto.DownlinkMsg{}}
	for _, file := range []string{filepath.Join("cloudtest", "testdata", "java-edge.jsonl"), filepath.Join("testdata", "downlinks.jsonl")} {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		s := bufio.NewScanner(f)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			var j struct {
				Recording, Up, Down string
				Line                int
			}
			if err := json.Unmarshal(s.Bytes(), &j); err != nil {
				t.Fatal(err)
			}
			if j.Recording != "" && j.Recording != "java-edge" {
				continue
			}
			up, err1 := base64.StdEncoding.DecodeString(j.Up)
			down, err2 := base64.StdEncoding.DecodeString(j.Down)
			var q proto.RequestMsg
			var p proto.ResponseMsg
			if err := errors.Join(err1, err2, pb.Unmarshal(up, &q), pb.Unmarshal(down, &p)); err != nil {
				t.Fatal(err)
			}
			if q.UplinkMsg != nil {
				tape.up[j.Line] = q.UplinkMsg
			}
			if p.DownlinkMsg != nil {
				tape.down[j.Line] = p.DownlinkMsg
			}
		}
	}
	return tape
}

// javaRig is a whole agent with its doors, in the place of the recorded Java edge.
type javaRig struct {
	*testing.T
	*javaTape
	base    time.Time // of the recording
	cloud   *cloudtest.Cloud
	edge    proto.UUID
	agent   *sync.Agent
	reg     *registry.Registry
	http    http.Handler
	mqtt    *bufconn.Listener
	told    map[int]bool
	mu      gosync.Mutex
	uplinks []*proto.UplinkMsg
}

func (r *javaRig) settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// at lets it become that many milliseconds since the beginning of the recording.
func (r *javaRig) at(ms int) {
	r.Helper()
	due := r.base.Add(time.Duration(ms) * time.Millisecond)
	if due.Before(time.Now()) {
		r.Fatalf("%d ms are over since %v", ms, time.Since(due))
	}
	r.settle(time.Until(due))
	if u := r.new(); !pb.Equal(u, &proto.UplinkMsg{}) {
		r.Errorf("sent before %d ms: %v", ms, u)
	}
}

// new returns what was sent since it was called last, all parts in one message; probes and ids are left out.
func (r *javaRig) new() *proto.UplinkMsg {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := &proto.UplinkMsg{}
	for _, u := range r.uplinks {
		pb.Merge(all, u)
	}
	slices.SortStableFunc(all.AttributesRequestMsg, func(a, b *proto.AttributesRequestMsg) int { return strings.Compare(a.Scope, b.Scope) }) // in any order
	r.uplinks, all.UplinkMsgId = nil, 0
	return all
}

// same compares what is sent within two seconds with lines of the recording, put together; times that the edge itself gives may differ by one.
func (r *javaRig) same(lines ...int) {
	r.Helper()
	r.settle(2 * time.Second)
	want := &proto.UplinkMsg{}
	for _, line := range lines {
		if r.up[line] == nil {
			r.Fatalf("line %d is no uplink", line)
		}
		r.told[line] = true
		pb.Merge(want, r.up[line])
	}
	want.UplinkMsgId = 0
	got := r.new()
	for i, e := range got.EntityData {
		if i >= len(want.EntityData) {
			break
		}
		w := want.EntityData[i]
		near := func(a, b int64) bool { return max(a-b, b-a) <= 1000 }
		for k, l := range e.GetPostTelemetryMsg().GetTsKvList() {
			if ws := w.GetPostTelemetryMsg().GetTsKvList(); k < len(ws) && near(l.Ts, ws[k].Ts) {
				l.Ts = ws[k].Ts
			}
		}
		if e.AttributeTs != nil && w.AttributeTs != nil && near(*e.AttributeTs, *w.AttributeTs) {
			*e.AttributeTs = *w.AttributeTs
		}
	}
	if !pb.Equal(got, want) {
		r.Errorf("lines %v: sent\n%v\nthe Java edge\n%v", lines, got, want)
	}
}

// better says why ours sends something else than the lines, and checks what.
func (r *javaRig) better(reason, want string, lines ...int) {
	r.Helper()
	r.settle(2 * time.Second)
	for _, line := range lines {
		if r.up[line] == nil {
			r.Fatalf("line %d is no uplink", line)
		}
		r.told[line] = true
	}
	if got := oneLine(r.new()); got != want {
		r.Errorf("lines %v (%s): sent\n%s, want\n%s", lines, reason, got, want)
	}
}

// oneLine is a message as text that does not change from run to run.
func oneLine(m pb.Message) string {
	return strings.Join(strings.Fields(fmt.Sprint(m)), " ")
}

// push sends a recorded downlink and expects its acknowledgement.
func (r *javaRig) push(line int) {
	r.Helper()
	m := r.down[line]
	if m == nil {
		r.Fatalf("line %d is no downlink", line)
	}
	m.DownlinkMsgId = 0 // the cloud gives one
	before := r.cloud.Stats().DownlinkAcks
	r.cloud.Push(r.edge, m)
	r.settle(1500 * time.Millisecond)
	if got := r.cloud.Stats().DownlinkAcks - before; got != 1 {
		r.Errorf("line %d: %d acknowledgements", line, got)
	}
}

// post is a device's HTTP request.
func (r *javaRig) post(token, what, body string) {
	r.Helper()
	w := httptest.NewRecorder()
	q := httptest.NewRequestWithContext(r.Context(), http.MethodPost, "/api/v1/"+token+"/"+what, strings.NewReader(body))
	q.Header.Set("Content-Type", "application/json")
	r.http.ServeHTTP(w, q)
	if w.Code != http.StatusOK {
		r.Fatalf("%s: %d %s", what, w.Code, w.Body)
	}
}

// javaDevice is a device over MQTT 3.1.1. What it gets is in got, as topic and payload.
type javaDevice struct {
	r    *javaRig
	conn net.Conn
	mu   gosync.Mutex
	got  []string
	on   func(topic, payload string) // called by the reading goroutine; may publish
}

var callID = regexp.MustCompile(`rpc/request/\d+ `)

func field(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }

func (d *javaDevice) send(head byte, parts ...[]byte) {
	body := slices.Concat(parts...)
	if _, err := d.conn.Write(append(binary.AppendUvarint([]byte{head}, uint64(len(body))), body...)); err != nil {
		d.r.Error(err)
	}
}

func (d *javaDevice) publish(topic, payload string) {
	d.send(0x32, field(topic), []byte{0, 7}, []byte(payload))
}

func (r *javaRig) connect(token string, topics ...string) *javaDevice {
	r.Helper()
	c, err := r.mqtt.DialContext(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	d := &javaDevice{r: r, conn: c}
	d.send(0x10, field("MQTT"), []byte{4, 0x82, 0, 60}, field(""), field(token))
	for _, topic := range topics {
		d.send(0x82, []byte{0, 1}, field(topic), []byte{1})
	}
	go d.read()
	synctest.Wait()
	return d
}

func (d *javaDevice) read() {
	in := bufio.NewReader(d.conn)
	for {
		head, err := in.ReadByte()
		if err != nil {
			return
		}
		n, err := binary.ReadUvarint(in)
		body := make([]byte, n)
		if _, err2 := io.ReadFull(in, body); err != nil || err2 != nil {
			return
		}
		if head>>4 != 3 {
			continue
		}
		topic := string(body[2 : 2+binary.BigEndian.Uint16(body)])
		rest := body[2+len(topic):]
		if head&6 != 0 {
			d.send(0x40, rest[:2])
			rest = rest[2:]
		}
		d.mu.Lock()
		d.got = append(d.got, topic+" "+string(rest))
		on := d.on
		d.mu.Unlock()
		if on != nil {
			on(topic, string(rest))
		}
	}
}

func (d *javaDevice) received(want ...string) {
	d.r.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.got { // the Java edge counts from 0; ours anywhere, so that a late answer of an earlier life meets no call of this one
		d.got[i] = callID.ReplaceAllString(d.got[i], "rpc/request/N ")
	}
	if !slices.Equal(d.got, want) {
		d.r.Errorf("the device got %q, want %q", d.got, want)
	}
	d.got = nil
}

func newJavaRig(t *testing.T) *javaRig {
	r := &javaRig{T: t, javaTape: readJavaTape(t), told: map[int]bool{}, base: time.UnixMilli(1795463544805)}
	time.Sleep(time.Until(r.base))
	tenant := cloudtest.NewTenant()
	r.edge = proto.UUIDOf(5937482434482213361, -9129274334117131605)
	tenant.AddEdge(cloudtest.Edge{ID: r.edge, Name: "java", RoutingKey: "key", Secret: "secret"})
	r.cloud = cloudtest.New(cloudtest.Options{Tenant: tenant, Seed: 1})
	r.cloud.OnUplink(func(_ proto.UUID, u *proto.UplinkMsg) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.uplinks = append(r.uplinks, u)
	})
	link := rig.NewLink()
	go r.cloud.Serve(link)
	c := config.Defaults()
	c.DataDir = t.TempDir()
	c.Cloud.RoutingKey, c.Cloud.RoutingSecret = "key", "secret"
	log := slog.New(slog.DiscardHandler)
	data := rig.OpenData(t, c.DataDir, log, nil)
	r.reg = data.Registry
	r.agent = sync.NewAgent(sync.Deps{Config: &c, Queue: data.Queue, Dead: data.Dead, Registry: r.reg, Log: log, Version: "test"})
	r.agent.DialWith(link.Dial)
	intake := sync.NewIntake(data.Queue)
	intake.Remember(r.reg)
	doors := device.NewDoors(device.Ports{Intake: intake, Lookups: r.reg, Packages: r.reg, Calls: r.agent, Births: r.agent, Log: log})
	r.agent.SetDoors(doors)
	r.reg.Watch(doors)
	r.http = device.NewHTTP(doors, c.HTTP.MaxBody)
	mqtt := device.NewMQTT(doors)
	r.mqtt = bufconn.Listen(1 << 16)
	go mqtt.Serve(r.mqtt)
	halt := rig.Go(t.Context(), r.agent.Run)
	t.Cleanup(func() {
		mqtt.Close()
		halt()
		r.cloud.Stop()
		link.Close()
		if err := data.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// credentialsIn is the token that a recorded downlink brings.
func credentialsIn(m *proto.DownlinkMsg) string {
	var j struct{ CredentialsID string }
	_ = json.Unmarshal([]byte(m.GetDeviceCredentialsUpdateMsg()[0].GetEntity()), &j)
	return j.CredentialsID
}

// For each thing that a device did to a Java edge, or the cloud to its devices, ours sends what the Java edge sent, or what is told here with the
// reason. Downlinks are the recorded ones, everything at its recorded time.
func TestAsTheJavaEdge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newJavaRig(t)
		r.settle(5 * time.Second)
		if c := r.cloud.LastConnect(); c.GetEdgeRoutingKey() != "key" || c.GetEdgeSecret() != "secret" || c.GetEdgeVersion() == 0 || c.GetMaxInboundMessageSize() == 0 {
			t.Errorf("connected with %v", c)
		}
		if s := r.cloud.Stats(); s.Syncs != 1 || s.SyncsCompleted != 1 || s.Downlinks == 0 || s.Downlinks != s.DownlinkAcks {
			t.Errorf("synchronised: %+v", s)
		}
		r.new()

		r.at(11125) // the device is assigned: it is asked about, in one message
		r.push(3)
		r.same(5, 6, 7)
		token := credentialsIn(r.down[3])
		r.at(16500)
		r.post(token, "telemetry", `{"warmup":1}`)
		r.same(11)

		r.at(19740)
		r.post(token, "telemetry", `{"ts":1767225600123,"values":{"l":5,"d":21.5,"b":true,"s":"on","j":{"unit":"C","a":[1,2]}}}`)
		r.same(14)
		r.at(24580)
		r.post(token, "telemetry", `{"temperature":20.25}`)
		r.same(17)
		r.at(27851) // an array goes up in one message, in the device's order; the Java edge sent three, 2 before 1
		r.post(token, "telemetry", `[{"ts":1767225601000,"values":{"a":1}},{"ts":1767225602000,"values":{"a":2}},{"ts":1767225603000,"values":{"a":3}}]`)
		r.same(21, 20, 22)
		r.at(32650)
		r.post(token, "telemetry", `{"i":9223372036854775807,"m":-9223372036854775808,"big":92233720368547758080,"e":1e3,"f":5.0,"num":"12","dec":"1.5","u":"żółw ☂",`+
			`"long":"0.12345678901234567890"}`)
		r.same(27)
		r.at(36690)
		r.post(token, "attributes", `{"fw":1.2,"on":true,"n":7}`)
		for _, l := range r.up[32].EntityData {
			l.AttributeTs = nil // without a time they count from their arrival: a wrong clock of the edge cannot block the key (wire contract 7.2)
		}
		r.same(32)

		r.at(150000)
		d := r.connect(token, "v1/devices/me/rpc/request/+", "v1/devices/me/attributes/response/+", "v1/devices/me/rpc/response/+")
		d.answer(`{"ok":true,"pin":4}`)
		r.at(153867)
		r.push(111)
		r.same(115)
		d.received(`v1/devices/me/rpc/request/N {"method":"setGpio","params":{"pin":4}}`)
		d.answer("")
		r.at(162035)
		r.push(118)
		r.same(120)
		d.received(`v1/devices/me/rpc/request/N {"method":"beep","params":true}`)
		d.answer(`{"pin":5}`)
		r.at(167164)
		r.push(123)
		r.better("the Java edge answers with an id of its own, and the device's answer stays at the edge",
			`deviceRpcCallMsg:{deviceIdMSB:7970211565720244721 deviceIdLSB:-6909334337722902882 requestUuidMSB:-886509354220107104 requestUuidLSB:-7715430190055509621 `+
				`requestId:2 expirationTime:1795463722855 responseMsg:{response:"{\"pin\":5}"}}`, 125)
		d.received(`v1/devices/me/rpc/request/N {"method":"setGpio","params":{"pin":5}}`)

		r.at(171202) // of the cloud's shared attributes nothing comes by itself; what the edge has it answers from
		r.cloud.Push(r.edge, &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{fan()}})
		r.at(175218)
		d.publish("v1/devices/me/attributes/request/1", `{"sharedKeys":"fan"}`)
		r.better("as the Java edge, nothing", "")
		d.received(`v1/devices/me/attributes/response/1 {"shared":{"fan":false}}`)
		r.at(181219)
		d.publish("v1/devices/me/rpc/request/5", `{"method":"getTime","params":{}}`)
		r.settle(time.Second)
		u := r.new()
		if c := u.GetDeviceRpcCallMsg(); len(c) != 1 || c[0].GetRequestMsg().GetMethod() != "getTime" || c[0].GetDeviceIdMSB() != 7970211565720244721 || c[0].GetSessionId() == "" {
			t.Errorf("the call of a device: %v; the Java edge sends none, and the device waits in vain (wire contract 8.2)", u)
		}
		d.received() // the cloud in a box has not been told an answer
		r.at(186160)
		d.publish("v1/devices/me/telemetry", `{"m":1}`)
		r.same(131)

		r.at(190000)
		d.conn.Close()
		r.at(191220)
		r.push(134)
		r.settle(10 * time.Second)
		r.better("the caller hears the true word: nobody was there to call; the Java edge says TIMEOUT",
			strings.Replace(oneLine(&proto.UplinkMsg{DeviceRpcCallMsg: r.up[136].DeviceRpcCallMsg}), "TIMEOUT", "NO_ACTIVE_CONNECTION", 1), 136)

		r.at(208000)
		r.push(139)
		r.better("as the Java edge, nothing", "")
		if d, ok := r.reg.ByToken(token); !ok || d.Name != "je-renamed-463556" {
			t.Errorf("renamed: %+v %v", d, ok)
		}
		r.at(215000)
		r.push(142)
		r.better("as the Java edge, nothing", "")
		_, old := r.reg.ByToken(token)
		if _, ok := r.reg.ByToken("jenew2463556"); !ok || old {
			t.Errorf("new token %v, old token %v", ok, old)
		}
		r.gateway("jenew2463556")
		r.complete()
	})
}

// fan is a shared attribute of the recorded device.
func fan() *proto.EntityDataProto {
	ts := int64(1795463593703)
	return &proto.EntityDataProto{
		EntityIdMSB: 7970211565720244721, EntityIdLSB: -6909334337722902882, EntityType: "DEVICE", PostAttributeScope: "SHARED_SCOPE", AttributeTs: &ts,
		AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{{Key: "fan", Type: proto.KeyValueType_BOOLEAN_V}}},
	}
}

// answer makes the device answer the next calls; empty: not at all.
func (d *javaDevice) answer(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.on = func(topic, _ string) {
		if id, ok := strings.CutPrefix(topic, "v1/devices/me/rpc/request/"); ok && text != "" {
			d.publish("v1/devices/me/rpc/response/"+id, text)
		}
	}
}

// gateway lets the recorded device become a gateway, which names a device that nobody knows. The recording has no such step; what goes up is compared
// with the device that a user made at the Java edge.
func (r *javaRig) gateway(token string) {
	r.Helper()
	m := r.down[139]
	entity := &m.DeviceUpdateMsg[0].Entity
	*entity = strings.Replace(*entity, `"additionalInfo":null`, `"additionalInfo":{"gateway":true}`, 1)
	m.DeviceCredentialsUpdateMsg = nil
	r.push(139)
	g := r.connect(token)
	g.publish("v1/gateway/connect", `{"device":"je-local-463556","type":"default"}`)
	r.settle(2 * time.Second)
	got, want := r.new(), r.up[49]
	if n := len(got.RelationUpdateMsg); n != 1 || !strings.Contains(got.RelationUpdateMsg[0].Entity, `"type":"Created"`) {
		r.Errorf("%d relations to the gateway: %v", n, got.RelationUpdateMsg)
	}
	want = &proto.UplinkMsg{DeviceUpdateMsg: want.DeviceUpdateMsg, DeviceCredentialsUpdateMsg: want.DeviceCredentialsUpdateMsg} // the profile would overwrite the tenant's (wire contract 5.5)
	got.RelationUpdateMsg = nil
	a, b := plain(r.T, got), plain(r.T, want)
	for key, reason := range map[string]string{
		"label": "the user's", "customerId": "none is unassigned", "deviceProfileId": "one that the server does not know is refused; it goes by the type",
		"deviceData": "the server makes the default one", // all wire contract 5.5
	} {
		if b[0][key] == nil || a[0][key] != nil {
			r.Errorf("%s (%s): ours %v, the Java edge %v", key, reason, a[0][key], b[0][key])
		}
		delete(b[0], key)
	}
	if got := fmt.Sprint(a[0]["additionalInfo"]); got != "map[lastConnectedGateway:ID]" {
		r.Errorf("additionalInfo: %v", got)
	}
	delete(a[0], "additionalInfo")
	delete(b[1], "id") // of the credentials themselves, which the server gives
	if !reflect.DeepEqual(a, b) {
		r.Errorf("made by a gateway\n%v\nby a user of the Java edge\n%v", a, b)
	}
}

var (
	anyID    = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	volatile = []string{"createdTime", "credentialsId"}
)

// plain is what the JSON of the entities in a message says, without what differs from one to the other; absent is null (wire contract 5.1).
func plain(t *testing.T, u *proto.UplinkMsg) (list []map[string]any) {
	t.Helper()
	var texts []string
	for _, d := range u.DeviceUpdateMsg {
		texts = append(texts, d.Entity)
	}
	for _, c := range u.DeviceCredentialsUpdateMsg {
		texts = append(texts, c.Entity)
	}
	for _, text := range texts {
		m := map[string]any{}
		if err := json.Unmarshal([]byte(anyID.ReplaceAllString(text, "ID")), &m); err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(m, func(k string, v any) bool { return v == nil || slices.Contains(volatile, k) })
		list = append(list, m)
	}
	return list
}

// complete checks that nothing of the recording is left out, here and in the tests of the local REST API, if that is here.
func (r *javaRig) complete() {
	r.Helper()
	for line := range r.up {
		byREST, only := javaByREST[line] != "", javaOnly[line] != ""
		if n := len(slices.DeleteFunc([]bool{byREST, only, r.told[line]}, func(b bool) bool { return !b })); n != 1 {
			r.Errorf("line %d: by REST %v, only the Java edge %v, told %v", line, byREST, only, r.told[line])
		}
	}
	text, err := os.ReadFile(filepath.Join("rest", "java_test.go"))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		r.Fatal(err)
	}
	compared := map[string]bool{}
	for _, m := range regexp.MustCompile(`same\((\d+),`).FindAllStringSubmatch(string(text), -1) {
		compared[m[1]] = true
	}
	for line, step := range javaByREST {
		if _, more := javaMore[line]; !more && !compared[strconv.Itoa(line)] {
			r.Errorf("line %d (%s) is compared nowhere", line, step)
		}
	}
}
