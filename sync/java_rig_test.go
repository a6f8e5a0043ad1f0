package sync_test

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	gosync "sync"
	"testing"
	"testing/synctest"
	"time"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// javaTape is the recording java-edge, by its lines.
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

// javaRig is a whole agent with its doors; it stands where the Java edge stood in the recording.
type javaRig struct {
	*doorsRig
	*javaTape
	base    time.Time    // of the recording
	checked map[int]bool // lines whose uplink is compared or explained
	mu      gosync.Mutex
	uplinks []*proto.UplinkMsg
}

// at lets time pass until ms after the beginning of the recording, and asserts that nothing is sent
// meanwhile.
func (r *javaRig) at(ms int) {
	r.Helper()
	due := r.base.Add(time.Duration(ms) * time.Millisecond)
	if due.Before(time.Now()) {
		r.Fatalf("%d ms are over since %v", ms, time.Since(due))
	}
	r.elapse(time.Until(due))
	if u := r.new(); !pb.Equal(u, &proto.UplinkMsg{}) {
		r.Errorf("sent before %d ms: %v", ms, u)
	}
}

// new returns what was sent since the last call of new, all parts in one message; probes and ids
// are left out.
func (r *javaRig) new() *proto.UplinkMsg {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := &proto.UplinkMsg{}
	for _, u := range r.uplinks {
		pb.Merge(all, u)
	}
	slices.SortStableFunc(all.AttributesRequestMsg, func(a, b *proto.AttributesRequestMsg) int { // sent in any order
		return strings.Compare(a.Scope, b.Scope)
	})
	r.uplinks, all.UplinkMsgId = nil, 0
	return all
}

// same compares what is sent within two seconds with lines of the recording, put together. Times
// that the edge itself gives may differ by one second.
func (r *javaRig) same(lines ...int) {
	r.Helper()
	r.elapse(2 * time.Second)
	want := &proto.UplinkMsg{}
	for _, line := range lines {
		if r.up[line] == nil {
			r.Fatalf("line %d is no uplink", line)
		}
		r.checked[line] = true
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

// better asserts what is sent within two seconds when that is not what the lines hold, and says
// why.
func (r *javaRig) better(reason, want string, lines ...int) {
	r.Helper()
	r.elapse(2 * time.Second)
	for _, line := range lines {
		if r.up[line] == nil {
			r.Fatalf("line %d is no uplink", line)
		}
		r.checked[line] = true
	}
	if got := oneLine(r.new()); got != want {
		r.Errorf("lines %v (%s): sent\n%s, want\n%s", lines, reason, got, want)
	}
}

// oneLine returns a message as text that does not change from run to run.
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
	r.elapse(1500 * time.Millisecond)
	if got := r.cloud.Stats().DownlinkAcks - before; got != 1 {
		r.Errorf("line %d: %d acknowledgements", line, got)
	}
}

// post sends an HTTP request of a device.
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

// javaDevice is a device that talks MQTT 3.1.1.
type javaDevice struct {
	r    *javaRig
	conn net.Conn
	mu   gosync.Mutex
	got  []string                    // topics and payloads that arrived
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
	// The Java edge numbers its calls from 0. This agent starts at a random number, so that a late
	// answer to a call from before a restart meets no call of today.
	for i := range d.got {
		d.got[i] = callID.ReplaceAllString(d.got[i], "rpc/request/N ")
	}
	if !slices.Equal(d.got, want) {
		d.r.Errorf("the device got %q, want %q", d.got, want)
	}
	d.got = nil
}

func newJavaRig(t *testing.T) *javaRig {
	r := &javaRig{javaTape: readJavaTape(t), checked: map[int]bool{}, base: time.UnixMilli(1795463544805)}
	time.Sleep(time.Until(r.base))
	r.doorsRig = newDoorsRig(t, cloudtest.Edge{
		ID: proto.UUIDOf(5937482434482213361, -9129274334117131605), Name: "java", RoutingKey: "key", Secret: "secret",
	})
	r.cloud.OnUplink(func(_ proto.UUID, u *proto.UplinkMsg) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.uplinks = append(r.uplinks, u)
	})
	r.run()
	return r
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
