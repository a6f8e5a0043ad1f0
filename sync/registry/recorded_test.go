package registry_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// frame is one recorded message; connection a is the first, b the second.
type frame struct {
	Line int
	S    string
	Raw  []byte
}

func recorded(t *testing.T, name string) (frames []frame) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var j struct {
			Line int
			S    string
			Raw  string
		}
		if err := json.Unmarshal(s.Bytes(), &j); err != nil {
			t.Fatal(err)
		}
		raw, err := base64.StdEncoding.DecodeString(j.Raw)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, frame{j.Line, j.S, raw})
	}
	if len(frames) == 0 {
		t.Fatal("no frames in " + name)
	}
	return frames
}

// replay feeds a recording as the loop would, with a sync at each connect if syncs is true, and
// calls step after each frame.
func replay(t *testing.T, reg **registry.Registry, name string, syncs bool, step func(line int)) {
	t.Helper()
	for _, f := range recorded(t, name) {
		r := *reg // step may open it anew
		var m proto.ResponseMsg
		if err := pb.Unmarshal(f.Raw, &m); err != nil {
			t.Fatalf("line %d: %v", f.Line, err)
		}
		var err error
		switch {
		case m.ConnectResponseMsg.GetConfiguration().GetEdgeIdMSB() != 0:
			err = r.SetEdge(m.ConnectResponseMsg.Configuration)
			if syncs {
				r.BeginSync(false, 0)
			}
		case m.EdgeUpdateMsg != nil:
			err = r.SetEdge(m.EdgeUpdateMsg.Configuration)
		case m.DownlinkMsg != nil:
			apply(t, r, m.DownlinkMsg)
			if m.DownlinkMsg.SyncCompletedMsg != nil {
				_, err = r.EndSync()
			}
		}
		if err != nil {
			t.Fatalf("line %d: %v", f.Line, err)
		}
		step(f.Line)
	}
}

func TestRecordedServerActions(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	candidates := []string{"8dKrhg0OP738HoEzi98N", "tok-tape-c8929e37"}
	const name = "dev-tape-c8929e37/"
	want := map[int]string{
		27:  "",
		35:  "", // a foreign device
		46:  name + "default//ACCESS_TOKEN 8dKrhg0OP738HoEzi98N=dev-tape-c8929e37",
		52:  name + "default/L/ACCESS_TOKEN 8dKrhg0OP738HoEzi98N=dev-tape-c8929e37",
		62:  name + "default/L2/ACCESS_TOKEN 8dKrhg0OP738HoEzi98N=dev-tape-c8929e37",
		68:  name + "default/L2/ACCESS_TOKEN tok-tape-c8929e37=dev-tape-c8929e37",
		74:  name + "default/L2/MQTT_BASIC",
		196: name + "prof-tape-c8929e37/L2/MQTT_BASIC",
		263: "",
		268: name + "prof-tape-c8929e37/L2/MQTT_BASIC",
		273: "",
	}
	met := 0
	replay(t, &r, "downlink-each", true, func(line int) {
		if r.Synced() != (line >= 27) {
			t.Errorf("line %d: synced %v", line, r.Synced())
		}
		w, ok := want[line]
		if !ok {
			return
		}
		met++
		if got := state(r, candidates...); got != w {
			t.Errorf("line %d: %q, want %q", line, got, w)
		}
		// A restart at any moment changes nothing.
		r.Close()
		r = open(t, dir)
		if got := state(r, candidates...); got != w {
			t.Errorf("line %d after a restart: %q, want %q", line, got, w)
		}
	})
	if met != len(want) {
		t.Errorf("%d of %d lines met", met, len(want))
	}
}

// The devices of the first session, then what the second sync brings after changes while the edge
// was away (CONTRACT.md 3.5).
func TestRecordedDiff(t *testing.T) {
	r := open(t, t.TempDir())
	candidates := []string{"utbQDYiP56HkmQTtkcZK", "offlineP56HkmQTtkcZK", "VFqzB6d19pks5teIZFs9"}
	replay(t, &r, "sync-diff", true, func(line int) {
		want, ok := map[int]string{
			43: "dev-tape-e6dbe5e5/default//ACCESS_TOKEN utbQDYiP56HkmQTtkcZK=dev-tape-e6dbe5e5",
			60: "dev-tape-e6dbe5e5/default//ACCESS_TOKEN utbQDYiP56HkmQTtkcZK=dev-tape-e6dbe5e5",
			86: "dev-tape-e6dbe5e5/default/offline/ACCESS_TOKEN new-tape-e6dbe5e5/default//ACCESS_TOKEN" +
				" offlineP56HkmQTtkcZK=dev-tape-e6dbe5e5 VFqzB6d19pks5teIZFs9=new-tape-e6dbe5e5",
		}[line]
		if got := state(r, candidates...); ok && got != want {
			t.Errorf("line %d: %q, want %q", line, got, want)
		}
	})
}

func TestRecordedFullSync(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	replay(t, &r, "sync-full", false, func(int) {})
	if !r.Synced() {
		t.Error("not synced")
	}
	received := map[string]registry.Count{}
	for _, c := range r.Counts() {
		received[c.Part] = c
	}
	for part, want := range map[string]registry.Count{
		"adminSettingsUpdateMsg": {Received: 2},
		"deviceProfileUpdateMsg": {Received: 5, Kept: 5},
		"queueUpdateMsg":         {Received: 2},
		"syncCompletedMsg":       {Received: 1, Kept: 1},
	} {
		if want.Part = part; received[part] != want {
			t.Errorf("counted %+v, want %+v", received[part], want)
		}
	}
	r.Close()
	stored, err := os.ReadFile(filepath.Join(dir, "registry", "store"))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"jsonValue", "activateToken"} {
		if strings.Contains(string(stored), secret) {
			t.Errorf("the store holds %q", secret)
		}
	}
}

func TestRecordedEdge(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	var secrets []string
	for _, f := range recorded(t, "edge-update") {
		var m proto.ResponseMsg
		if err := pb.Unmarshal(f.Raw, &m); err != nil {
			t.Fatal(err)
		}
		if c := m.ConnectResponseMsg.GetConfiguration(); c.GetSecret() != "" {
			secrets = append(secrets, c.Secret)
			if r.Secret(c.Secret) != c.Secret {
				t.Fatal("another secret before any was stored")
			}
		}
		if c := m.EdgeUpdateMsg.GetConfiguration(); f.Line == 33 {
			secrets = append(secrets, c.Secret)
		}
	}
	if len(secrets) != 2 || secrets[0] == secrets[1] {
		t.Fatalf("%d secrets in the recording", len(secrets))
	}
	customers := map[int]bool{6: false, 16: true, 19: true, 25: false, 26: false, 33: false}
	replay(t, &r, "edge-update", false, func(line int) {
		if want, ok := customers[line]; ok {
			e := r.Edge()
			null := e.CustomerIdMSB == 0x138140001dd211b2
			if null == want {
				t.Errorf("line %d: customer %x", line, uint64(e.CustomerIdMSB))
			}
		}
	})
	for range 2 {
		if r.Secret(secrets[0]) != secrets[1] {
			t.Error("the cloud's new secret does not win")
		}
		if got := r.Secret("changed by hand"); got != "changed by hand" {
			t.Error("the changed configuration does not win")
		}
		if r.Secret(secrets[0]) != secrets[1] {
			t.Error("the configuration was put back, and the cloud's secret does not win")
		}
		r.Close()
		r = open(t, dir)
	}
	stored, _ := os.ReadFile(filepath.Join(dir, "registry", "store"))
	if strings.Contains(string(stored), "changed by hand") {
		t.Error("a configured secret is stored")
	}
}

// Every server action of a recording leaves what it should, and a restart at any moment changes
// nothing (CONTRACT.md 6.3).
func TestRecordedEntities(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	want := map[int]string{
		41:  "", // a user of a foreign customer
		92:  "asset 1, devcreds 1, device 1",
		103: "asset 1, devcreds 1, device 1, relation 1",
		108: "asset 1, devcreds 1, device 1",
		114: "asset 1, devcreds 1, device 1, view 1",
		126: "asset 1, dashboard 1, devcreds 1, device 1, view 1",
		143: "asset 1, chain 1, dashboard 1, devcreds 1, device 1, metadata 1, view 1",
		150: "asset 1, chain 1, customer 1, dashboard 1, devcreds 1, device 1, metadata 1, view 1",
		173: "asset 1, chain 1, customer 1, dashboard 1, devcreds 1, device 1, metadata 1, user 1, usercreds 1, view 1",
		210: "asset 1, chain 1, customer 1, dashboard 1, devcreds 1, device 1, field 1, metadata 1, user 1, usercreds 1, view 1",
		// An OTA package and a resource are not kept.
		220: "asset 1, chain 1, customer 1, dashboard 1, devcreds 1, device 1, metadata 1, user 1, usercreds 1, view 1",
		225: "asset 1, chain 1, customer 1, dashboard 1, devcreds 1, device 1, metadata 1, view 1",
		233: "asset 1, chain 1, dashboard 1, devcreds 1, device 1, metadata 1, view 1",
		238: "asset 1, chain 1, dashboard 1, devcreds 1, device 1, metadata 1",
		243: "asset 1, chain 1, devcreds 1, device 1, metadata 1",
		253: "chain 1, devcreds 1, device 1, metadata 1",
		263: "chain 1, metadata 1",
		268: "chain 1, devcreds 1, device 1, metadata 1",
		273: "chain 1, metadata 1",
	}
	met := 0
	replay(t, &r, "downlink-each", true, func(line int) {
		w, ok := want[line]
		if !ok {
			return
		}
		met++
		for range 2 {
			if got := r.Kinds("devprofile", "assetprofile", "former"); got != w {
				t.Errorf("line %d: %q, want %q", line, got, w)
			}
			r.Close()
			r = open(t, dir)
		}
	})
	if met != len(want) {
		t.Errorf("%d of %d lines met", met, len(want))
	}
}

// A recording of a tenant with a push-to-edge node: attributes, telemetry, alarms (CONTRACT.md 6.3,
// 7.3).
func TestRecordedPush(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	dev := proto.UUIDOf(-5719559084652162575, -6909334337722902882)
	shared := map[int]string{
		22:  `deep={"a":1} num=12 sh=1 text="x"`,
		34:  `deep={"a":1} fast=2 num=12 sh=1 text="x"`,
		39:  `deep={"a":1} fast=2 num=12 text="x"`,
		97:  `again=1 deep={"a":1} fast=2 num=12 text="x"`,
		109: `again=1 deep={"a":1} fast=2 num=12 off=2 text="x"`,
	}
	// Activity is not kept.
	server := map[int]string{27: "se=1", 46: "inactivityTimeout=600000 se=1", 51: "ca=1 inactivityTimeout=600000 se=1"}
	kinds := map[int]string{
		// Cleared by a user's comment, so over.
		61: "alarm 1, attrs 3", 66: "alarm 1, attrs 3, comment 1", 71: "attrs 3",
		78: "attrs 3", 113: "alarm 1, attrs 3", 115: "alarm 1, attrs 3, comment 1",
	}
	met := 0
	replay(t, &r, "downlink-push", false, func(line int) {
		for range 2 {
			if w, ok := shared[line]; ok {
				met++
				if got := values(r, dev, registry.SharedScope); got != w {
					t.Errorf("line %d: shared %s, want %s", line, got, w)
				}
			}
			if w, ok := server[line]; ok {
				met++
				if got := values(r, dev, registry.ServerScope); got != w {
					t.Errorf("line %d: server %s, want %s", line, got, w)
				}
			}
			if w, ok := kinds[line]; ok {
				met++
				if got := r.Kinds("devprofile", "device", "devcreds", "former"); got != w {
					t.Errorf("line %d: %s, want %s", line, got, w)
				}
			}
			r.Close()
			r = open(t, dir)
		}
	})
	if met != 2*(len(shared)+len(server)+len(kinds)) {
		t.Errorf("%d checks met", met)
	}
	if got := values(r, dev, registry.Latest); !strings.Contains(got, "off=1") || !strings.Contains(got, "b=\"x\"") {
		t.Errorf("latest telemetry %s", got)
	}
}
