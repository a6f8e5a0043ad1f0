package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

const help = `away 30s               cut the link and refuse connections for that long
stall 10s              accept everything, answer nothing for that long
refuse on|off          refuse CONNECT with BAD_CREDENTIALS
ratelimit on|off       answer uplinks with "Rate limit reached"
creations 30s TEXT     refuse new devices with TEXT for that long; 0s ends it, "on" lasts until then
limit KIND N           swallow creations beyond N devices, assets, views or dashboards; off ends it
dropacks N             lose the next N acknowledgements
flood BYTES|off        send dashboards of that size without a pause
longsync N 30s         bring N assets more in each sync, for that long at most; 0 is no bound, -1 0s is off
maxmessage BYTES       announce that limit for messages at the next connect; 0 is the server's
kick                   end all sessions cleanly
rpc DEVICE METHOD JSON call a device and print its answer
attr DEVICE KEY=VALUE  set a shared attribute and push it to the edge
package BYTES          upload a firmware of that size, which every edge gets in one message of 4/3 of it
attrs N                set N shared attributes of every device and push them
chain FILE             assign a rule chain to the edge, as ThingsBoard's user interface exports it;
                       if the edge has one of that name, it is changed
root FILE|NAME         the same, and make it the edge's root; NAME: of a chain that the edge has
unassign [NAME]        take a rule chain from the edge; all of them without a name, so that the root
                       is what it was at first
chains                 list the edge's rule chains
add NAME               create a device
delete NAME            delete a device
rename NAME NEW        rename a device
show DEVICE            what arrived of a device
stats                  counters
quit                   stop
A name with spaces goes between double quotes.`

// maxSeen bounds the keys remembered per device for show.
const maxSeen = 1000

// maxFlood bounds what flood sends in one message, in bytes.
const maxFlood = 8 << 20

// maxPackage bounds the firmware that package uploads, in bytes.
const maxPackage = 128 << 20

// maxAttrs bounds the attributes that attrs sets.
const maxAttrs = 100

// operator executes commands, from standard input and from the control endpoint. Safe for
// concurrent use.
type operator struct {
	cloud *cloudtest.Cloud
	out   *printer
	quit  func()
	edge  cloudtest.Edge   // the first, to which the commands refer
	edges []cloudtest.Edge // all
	tries attempts

	mu     sync.Mutex
	latest map[proto.UUID]map[string]string // the last value of each key, for show
	timers map[string]*time.Timer           // each ends an away or a stall
}

func newOperator(c *cloudtest.Cloud, out *printer, quit func()) *operator {
	return &operator{cloud: c, out: out, quit: quit, latest: map[proto.UUID]map[string]string{}, timers: map[string]*time.Timer{}}
}

// printer serialises what several goroutines print.
type printer struct {
	mu sync.Mutex
	w  io.Writer
}

func (p *printer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.w.Write(b)
}

func (o *operator) addEdge(e cloudtest.Edge) cloudtest.Edge {
	e.ID = o.cloud.Tenant().NewID()
	if o.edges = append(o.edges, e); len(o.edges) == 1 {
		o.edge = e
	}
	o.cloud.Tenant().AddEdge(e)
	return e
}

// addDevice creates a device of the edge, with a random token if token is "".
func (o *operator) addDevice(edge cloudtest.Edge, name, token string) cloudtest.Device {
	if token == "" {
		var b [10]byte
		_, _ = rand.Read(b[:])
		token = hex.EncodeToString(b[:])
	}
	d := cloudtest.Device{ID: o.cloud.Tenant().NewID(), Name: name, CredentialsType: "ACCESS_TOKEN", CredentialsID: token}
	o.cloud.AddDevice(edge.ID, d)
	return d
}

func (o *operator) device(name string) (cloudtest.Device, error) {
	for _, d := range o.cloud.Tenant().Devices() {
		if d.Name == name {
			return d, nil
		}
	}
	return cloudtest.Device{}, fmt.Errorf("no device %q", name)
}

// run executes one command line and returns the text to print.
func (o *operator) run(line string) (string, error) {
	w, err := words(line)
	if err != nil || len(w) == 0 {
		return "", err
	}
	need := map[string]int{
		"away": 1, "stall": 1, "refuse": 1, "ratelimit": 1, "dropacks": 1, "creations": 1, "limit": 2, "rpc": 3, "attr": 2,
		"flood": 1, "longsync": 2, "maxmessage": 1, "attrs": 1, "package": 1, "chain": 1, "root": 1,
		"add": 1, "delete": 1, "rename": 2, "show": 1,
	}
	if n := need[w[0]]; len(w)-1 < n || n > 0 && w[0] != "rpc" && w[0] != "attr" && w[0] != "creations" && len(w)-1 > n {
		return "", fmt.Errorf("%s wants %d words behind it (help shows them)", w[0], n)
	}
	switch w[0] {
	case "help":
		return help, nil
	case "away":
		return o.during("away", w[1], o.cloud.Away)
	case "stall":
		return o.during("stall", w[1], o.cloud.Stall)
	case "refuse":
		on, err := onOff(w[1])
		if err != nil {
			return "", err
		}
		code := proto.ConnectResponseCode_ACCEPTED
		if on {
			code = proto.ConnectResponseCode_BAD_CREDENTIALS
		}
		o.cloud.RefuseConnect(code)
		return "refuse " + w[1], nil
	case "ratelimit":
		on, err := onOff(w[1])
		if err != nil {
			return "", err
		}
		o.cloud.RateLimit(on)
		return "ratelimit " + w[1], nil
	case "creations":
		text := strings.Join(w[2:], " ")
		if text == "" {
			text = "Devices limit reached"
		}
		d := time.Duration(0)
		if w[1] != "on" {
			if d, err = time.ParseDuration(w[1]); err != nil || d < 0 {
				return "", fmt.Errorf("creations: %q is neither on nor a duration such as 30s", w[1])
			}
			if d == 0 {
				text = ""
			}
		}
		o.cloud.RefuseCreations(text, d)
		return "creations " + w[1], nil
	case "limit":
		n := -1
		if w[2] != "off" {
			if n, err = strconv.Atoi(w[2]); err != nil || n < 0 {
				return "", fmt.Errorf("limit: %q is neither off nor a number from 0 on", w[2])
			}
		}
		if err := o.cloud.Tenant().Limit(w[1], n); err != nil {
			return "", err
		}
		return "limit " + w[1] + " " + w[2], nil
	case "dropacks":
		n, err := strconv.Atoi(w[1])
		if err != nil || n < 0 {
			return "", fmt.Errorf("dropacks: %q is not a number from 0 on", w[1])
		}
		o.cloud.DropAcks(n)
		return "dropacks " + w[1], nil
	case "flood", "longsync", "maxmessage", "package":
		return o.strain(w)
	case "kick":
		return fmt.Sprintf("ended %d sessions", o.cloud.EndSessions(cloudtest.EndOK)), nil
	case "add":
		d := o.addDevice(o.edge, w[1], "")
		return fmt.Sprintf("device: %s token: %s", d.Name, d.CredentialsID), nil
	case "attrs":
		n, err := strconv.Atoi(w[1])
		if err != nil || n < 1 || n > maxAttrs {
			return "", fmt.Errorf("attrs: %q is not a number from 1 to %d", w[1], maxAttrs)
		}
		devices := o.cloud.Tenant().Devices()
		for i, d := range devices {
			o.cloud.SetSharedAttributes(d.ID, sharedAttributes(i, n), true)
		}
		return fmt.Sprintf("%d attributes of %d devices set", n*len(devices), len(devices)), nil
	case "chain", "root", "unassign", "chains":
		return o.chains(w)
	case "stats":
		b, err := json.MarshalIndent(o.stats(), "", "  ")
		return string(b), err
	case "quit":
		o.quit()
		return "", nil
	case "rpc", "attr", "delete", "rename", "show":
		d, err := o.device(w[1])
		if err != nil {
			return "", err
		}
		return o.runDevice(w, d)
	}
	return "", fmt.Errorf("unknown command %q (try help)", w[0])
}

// sharedAttributes returns n attributes for device i of the list by name: "attr-1" is a whole
// number, the others are texts. No two values are equal.
func sharedAttributes(i, n int) []*proto.KeyValueProto {
	kv := []*proto.KeyValueProto{{Key: "attr-1", Type: proto.KeyValueType_LONG_V, LongV: int64(i)}}
	for k := 2; k <= n; k++ {
		kv = append(kv, &proto.KeyValueProto{
			Key: fmt.Sprintf("attr-%d", k), Type: proto.KeyValueType_STRING_V,
			StringV: fmt.Sprintf("text %d of device %d", k, i),
		})
	}
	return kv
}

// strain executes the commands that take the edge to its bounds.
func (o *operator) strain(w []string) (string, error) {
	n, err := strconv.Atoi(w[1])
	answer := strings.Join(w, " ")
	switch w[0] {
	case "flood":
		if w[1] == "off" {
			o.cloud.Flood(nil)
			return answer, nil
		}
		if err != nil || n < 0 || n > maxFlood {
			return "", fmt.Errorf("flood: %q is neither off nor a number from 0 to %d", w[1], maxFlood)
		}
		entity := `{"title":"` + strings.Repeat("x", n) + `"}`
		o.cloud.Flood(func() *proto.DownlinkMsg {
			m := &proto.DashboardUpdateMsg{Entity: entity}
			m.IdMSB, m.IdLSB = proto.Halves(o.edge.ID)
			return &proto.DownlinkMsg{DashboardUpdateMsg: []*proto.DashboardUpdateMsg{m}}
		})
	case "longsync":
		d, wrong := time.ParseDuration(w[2])
		if err != nil || wrong != nil || n < -1 || d < 0 {
			return "", fmt.Errorf("longsync: %q is not a number from -1 on, or %q no duration such as 30s", w[1], w[2])
		}
		o.cloud.LongSync(n, d)
	case "package":
		if err != nil || n < 0 || n > maxPackage {
			return "", fmt.Errorf("package: %q is not a number from 0 to %d", w[1], maxPackage)
		}
		data := make([]byte, n)
		_, _ = rand.Read(data)
		o.cloud.UploadPackage(cloudtest.Package{Title: "firmware", Version: strconv.Itoa(n), Data: data})
		return "package: firmware " + strconv.Itoa(n), nil
	default:
		if err != nil || n < 0 || n > cloudtest.MaxRequest {
			return "", fmt.Errorf("maxmessage: %q is not a number from 0 to %d", w[1], cloudtest.MaxRequest)
		}
		o.cloud.AnnounceMax(n)
	}
	return answer, nil
}

// runDevice executes the commands that name a device.
func (o *operator) runDevice(w []string, d cloudtest.Device) (string, error) {
	switch w[0] {
	case "rpc":
		params := strings.Join(w[3:], " ")
		if !json.Valid([]byte(params)) {
			return "", fmt.Errorf("rpc: %s is not JSON", params)
		}
		answer, err := o.cloud.CallRPC(context.Background(), d.ID, w[2], params, false, 0)
		return "rpc answer: " + answer, err
	case "attr":
		var kv []*proto.KeyValueProto
		for _, a := range w[2:] {
			key, value, ok := strings.Cut(a, "=")
			if !ok || key == "" {
				return "", fmt.Errorf("attr: %q is not KEY=VALUE", a)
			}
			kv = append(kv, keyValue(key, value))
		}
		o.cloud.SetSharedAttributes(d.ID, kv, true)
		return "attribute set", nil
	case "delete":
		o.cloud.DeleteDevice(d.ID)
		return "deleted", nil
	case "rename":
		return "renamed", o.cloud.RenameDevice(d.ID, w[2])
	}
	return o.show(d), nil
}

// during switches a fault on, and off again after the duration in text; 0s switches it off now.
func (o *operator) during(name, text string, f func(bool)) (string, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return "", fmt.Errorf("%s: %q is not a duration such as 30s", name, text)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if t := o.timers[name]; t != nil {
		t.Stop()
	}
	f(d > 0)
	if d > 0 {
		o.timers[name] = time.AfterFunc(d, func() {
			f(false)
			fmt.Fprintln(o.out, name+" is over")
		})
	}
	return name + " " + text, nil
}

func onOff(s string) (bool, error) {
	switch s {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither on nor off", s)
}

// words splits a command line at spaces; double quotes at the beginning of a word keep its spaces.
func words(line string) ([]string, error) {
	var w []string
	for {
		line = strings.TrimLeft(line, " \t\r")
		switch {
		case line == "":
			return w, nil
		case line[0] == '"' && len(w) < 3:
			end := strings.IndexByte(line[1:], '"')
			if end < 0 {
				return nil, errors.New("a double quote is not closed")
			}
			w, line = append(w, line[1:1+end]), line[end+2:]
		default:
			word, rest, _ := strings.Cut(line, " ")
			w, line = append(w, strings.TrimRight(word, "\r")), rest
		}
	}
}

// keyValue gives a value the type that JSON gives it (true, 12, 1.5, {"a":1}); anything else is
// text.
func keyValue(key, v string) *proto.KeyValueProto {
	kv := &proto.KeyValueProto{Key: key, Type: proto.KeyValueType_STRING_V, StringV: v}
	if b, err := strconv.ParseBool(v); err == nil && len(v) > 1 {
		return &proto.KeyValueProto{Key: key, Type: proto.KeyValueType_BOOLEAN_V, BoolV: b}
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		return &proto.KeyValueProto{Key: key, Type: proto.KeyValueType_LONG_V, LongV: n}
	}
	if f, err := strconv.ParseFloat(v, 64); err == nil {
		return &proto.KeyValueProto{Key: key, Type: proto.KeyValueType_DOUBLE_V, DoubleV: f}
	}
	if strings.HasPrefix(v, "{") || strings.HasPrefix(v, "[") {
		return &proto.KeyValueProto{Key: key, Type: proto.KeyValueType_JSON_V, JsonV: v}
	}
	return kv
}
