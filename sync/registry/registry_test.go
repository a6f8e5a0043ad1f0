package registry_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	pb "google.golang.org/protobuf/proto"

	edgesync "edgesync/sync"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// The loop takes a *Registry.
var _ edgesync.Registry = (*registry.Registry)(nil)

func open(t testing.TB, dir string) *registry.Registry {
	t.Helper()
	r, err := registry.Open(registry.Options{Dir: filepath.Join(dir, "registry"), CorruptDir: filepath.Join(dir, "corrupt")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func apply(t testing.TB, r *registry.Registry, m *proto.DownlinkMsg) bool {
	t.Helper()
	used, err := r.Apply(m)
	if err == nil {
		err = r.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return used
}

// id makes an id of a number.
func id(n int) (u proto.UUID) {
	u[6], u[14], u[15] = 0x11, byte(n>>8), byte(n)
	return u
}

func device(n int, name string) *proto.DeviceUpdateMsg {
	msb, lsb := proto.Halves(id(n))
	return &proto.DeviceUpdateMsg{IdMSB: msb, IdLSB: lsb, Entity: `{"name":"` + name + `","type":"default","label":null,"additionalInfo":{"gateway":true},` +
		`"deviceData":{"configuration":{"type":"DEFAULT","type":"DEFAULT"}},"unknown":[1]}`}
}

func gone(n int) *proto.DeviceUpdateMsg {
	msb, lsb := proto.Halves(id(n))
	return &proto.DeviceUpdateMsg{MsgType: proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE, IdMSB: msb, IdLSB: lsb}
}

func creds(n int, kind, value string) *proto.DeviceCredentialsUpdateMsg {
	return &proto.DeviceCredentialsUpdateMsg{Entity: `{"deviceId":{"entityType":"DEVICE","id":"` + proto.FormatUUID(id(n)) +
		`"},"credentialsType":"` + kind + `","credentialsId":"` + value + `","credentialsValue":null}`}
}

func devices(u ...*proto.DeviceUpdateMsg) *proto.DownlinkMsg {
	return &proto.DownlinkMsg{DeviceUpdateMsg: u}
}

func tokens(u ...*proto.DeviceCredentialsUpdateMsg) *proto.DownlinkMsg {
	return &proto.DownlinkMsg{DeviceCredentialsUpdateMsg: u}
}

// state prints the devices with the token of each of the candidates that finds it.
func state(r *registry.Registry, candidates ...string) string {
	var lines []string
	r.Each(func(d registry.Device) bool {
		lines = append(lines, fmt.Sprintf("%s/%s/%s/%v", d.Name, d.Type, d.Label, d.Credentials))
		return true
	})
	if len(lines) > 1 && lines[0] > lines[1] {
		lines[0], lines[1] = lines[1], lines[0]
	}
	for _, c := range candidates {
		if d, ok := r.ByToken(c); ok {
			lines = append(lines, c+"="+d.Name)
		}
	}
	return strings.Join(lines, " ")
}

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

// replay feeds a recording as the loop would, a sync being asked for at each connect in syncs, and calls step after each frame.
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

// The devices of the first session, then what the second sync brings after changes while the edge was away (wire contract 3.5).
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

func TestAnotherEdgeWipes(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	if err := r.SetEdge(&proto.EdgeConfiguration{EdgeIdMSB: 1, Name: "one", Secret: "s1"}); err != nil {
		t.Fatal(err)
	}
	r.BeginSync(false, 0)
	apply(t, r, &proto.DownlinkMsg{
		DeviceUpdateMsg: []*proto.DeviceUpdateMsg{device(1, "a")}, DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{creds(1, "ACCESS_TOKEN", "t1")},
	})
	if n, err := r.EndSync(); n != 0 || err != nil || !r.Synced() {
		t.Fatal(n, err)
	}
	// A downlink cannot make us another edge, a connect can.
	if apply(t, r, &proto.DownlinkMsg{EdgeConfiguration: &proto.EdgeConfiguration{EdgeIdMSB: 2}}) || r.Devices() != 1 {
		t.Error("a downlink wiped the registry")
	}
	if err := r.SetEdge(&proto.EdgeConfiguration{EdgeIdMSB: 2, Name: "two", Secret: "s2"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if r.Devices() != 0 || r.Synced() || r.Edge().GetName() != "two" || state(r, "t1") != "" {
			t.Errorf("%d devices, synced %v, edge %v", r.Devices(), r.Synced(), r.Edge().GetName())
		}
		r.Close()
		r = open(t, dir)
	}
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	check := func(want string) {
		t.Helper()
		for range 2 {
			if got := state(r, "t1", "t2", "t3"); got != want {
				t.Fatalf("%q, want %q", got, want)
			}
			r.Close()
			r = open(t, dir)
		}
	}
	apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "t1"))) // before its device
	check("")
	apply(t, r, devices(device(1, "a"), device(2, "b")))
	check("a/default//ACCESS_TOKEN b/default//NONE t1=a")
	apply(t, r, tokens(creds(2, "ACCESS_TOKEN", "t2")))
	check("a/default//ACCESS_TOKEN b/default//ACCESS_TOKEN t1=a t2=b")
	apply(t, r, tokens(creds(2, "ACCESS_TOKEN", "t1"))) // moves
	check("a/default//NONE b/default//ACCESS_TOKEN t1=b")
	apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "t2")))
	check("a/default//ACCESS_TOKEN b/default//ACCESS_TOKEN t1=b t2=a")
	apply(t, r, tokens(creds(1, "X509_CERTIFICATE", "t2")))
	check("a/default//X509_CERTIFICATE b/default//ACCESS_TOKEN t1=b")
	apply(t, r, devices(device(2, "c"))) // a rename keeps the token
	check("a/default//X509_CERTIFICATE c/default//ACCESS_TOKEN t1=c")
	apply(t, r, devices(gone(2)))
	check("a/default//X509_CERTIFICATE")
	apply(t, r, devices(device(2, "c"))) // its old credentials are gone with it
	check("a/default//X509_CERTIFICATE c/default//NONE")
	if d, ok := r.ByID(id(1)); !ok || d.Name != "a" || !d.Gateway || d.CustomerID != proto.NullUUID {
		t.Errorf("%+v %v", d, ok)
	}
	if j, ok := r.Credentials(id(1)); !ok || string(j) != creds(1, "X509_CERTIFICATE", "t2").Entity {
		t.Errorf("credentials %s", j)
	}
}

func TestSyncSweeps(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	apply(t, r, devices(device(1, "a"), device(2, "b"), device(3, "c")))
	apply(t, r, tokens(creds(1, "ACCESS_TOKEN", "t1"), creds(2, "ACCESS_TOKEN", "t2"), creds(9, "ACCESS_TOKEN", "t3")))

	r.BeginSync(false, 0)
	apply(t, r, devices(device(2, "b")))
	r.AbortSync()
	if n, err := r.EndSync(); n != 0 || err != nil || r.Devices() != 3 { // a sync that nobody here began
		t.Fatalf("removed %d, %v", n, err)
	}

	r.BeginSync(false, 0)
	broken := device(3, "c")
	broken.Entity = "{"
	apply(t, r, devices(device(2, "b"), broken)) // ours, though it cannot be read
	if n, err := r.EndSync(); n != 1 || err != nil {
		t.Fatalf("removed %d, %v", n, err)
	}
	for range 2 {
		if got := state(r, "t1", "t2", "t3"); got != "b/default//ACCESS_TOKEN c/default//NONE t2=b" {
			t.Errorf("left %q", got)
		}
		if _, ok := r.Credentials(id(9)); ok {
			t.Error("credentials of a device that never came are kept")
		}
		r.Close()
		r = open(t, dir)
	}
}

// What is stored already, and what was never ours, costs no write.
func TestNothingNewIsNotWritten(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	m := &proto.DownlinkMsg{
		DeviceUpdateMsg: []*proto.DeviceUpdateMsg{device(1, "a")}, DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{creds(1, "ACCESS_TOKEN", "t1")},
	}
	apply(t, r, m)
	size := func() int64 {
		st, err := os.Stat(filepath.Join(dir, "registry", "store"))
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	before := size()
	if !apply(t, r, m) || apply(t, r, devices(gone(77))) || size() != before {
		t.Errorf("the store grew from %d to %d", before, size())
	}
}

func TestHostileJSON(t *testing.T) {
	r := open(t, t.TempDir())
	apply(t, r, devices(device(1, "a")))
	for _, bad := range []string{
		"", "{", "null", "[]", `{"name":""}`, `{"name":5}`, `{"name":"x","label":7}`, `{"name":"x","deviceProfileId":{"id":"zz"}}`,
		`{"name":"` + strings.Repeat("n", 2000) + `"}`, `{"name":"x","y":` + strings.Repeat("[", 100000),
		`{"name":"x","y":` + strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 66),
	} {
		u := device(1, "a")
		u.Entity = bad
		if apply(t, r, devices(u)) {
			t.Errorf("%.40q was used", bad)
		}
	}
	for _, bad := range []string{"", "{}", creds(1, "PASSWORD", "x").Entity, creds(1, "ACCESS_TOKEN", "").Entity} {
		if apply(t, r, tokens(&proto.DeviceCredentialsUpdateMsg{Entity: bad})) {
			t.Errorf("%.40q was used", bad)
		}
	}
	if got := state(r); got != "a/default//NONE" {
		t.Errorf("left %q", got)
	}
	if used, err := r.Apply(nil); used || err != nil {
		t.Error(used, err)
	}
}

// A power cut at every byte of the last flush: before or after, never between.
func TestPowerCut(t *testing.T) {
	base := t.TempDir()
	r := open(t, base)
	path := filepath.Join(base, "registry", "store")
	apply(t, r, &proto.DownlinkMsg{
		DeviceUpdateMsg: []*proto.DeviceUpdateMsg{device(1, "a")}, DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{creds(1, "ACCESS_TOKEN", "t1")},
	})
	st, _ := os.Stat(path)
	apply(t, r, &proto.DownlinkMsg{
		DeviceUpdateMsg: []*proto.DeviceUpdateMsg{gone(1), device(2, "b")}, DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{creds(2, "ACCESS_TOKEN", "t1")},
	})
	r.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := st.Size(); cut <= int64(len(whole)); cut++ {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		want := "a/default//ACCESS_TOKEN t1=a"
		if cut == int64(len(whole)) {
			want = "b/default//ACCESS_TOKEN t1=b"
		}
		r := open(t, base)
		if got := state(r, "t1"); got != want {
			t.Fatalf("cut at %d of %d: %q, want %q", cut, len(whole), got, want)
		}
		r.Close()
	}
}

func TestLookupsWhileApplying(t *testing.T) {
	r := open(t, t.TempDir())
	apply(t, r, devices(device(1, "a"), device(2, "b")))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if d, ok := r.ByToken("t"); ok && d.Name != "a" && d.Name != "b" {
					t.Errorf("found %q", d.Name)
					return
				}
				r.ByID(id(1))
				r.Each(func(registry.Device) bool { return true })
				r.Devices()
				r.Counts()
				r.Synced()
			}
		})
	}
	for i := range 100 {
		if _, err := r.Apply(tokens(creds(1+i%2, "ACCESS_TOKEN", "t"))); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	if got := state(r, "t"); got != "a/default//NONE b/default//ACCESS_TOKEN t=b" {
		t.Error(got)
	}
}

// 5,000 devices: what the heap holds of them. The bound leaves 20 MB of the 24 MB to all else.
func TestMemoryOfFiveThousandDevices(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	dir := t.TempDir()
	r := open(t, dir)
	for n := range 5000 {
		m := devices(device(n, fmt.Sprintf("meter-%d", n)))
		m.DeviceCredentialsUpdateMsg = tokens(creds(n, "ACCESS_TOKEN", fmt.Sprintf("A1B2C3D4E5F6G7H8%04d", n))).DeviceCredentialsUpdateMsg
		if _, err := r.Apply(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	before := heap()
	r = open(t, dir)
	used := heap() - before
	t.Logf("%d bytes of heap for %d devices", used, r.Devices())
	if d, ok := r.ByToken("A1B2C3D4E5F6G7H84999"); r.Devices() != 5000 || !ok || d.Name != "meter-4999" {
		t.Errorf("%d devices, %+v %v", r.Devices(), d, ok)
	}
	if used > 4<<20 {
		t.Errorf("%d bytes of heap", used)
	}
}

func FuzzApply(f *testing.F) {
	m := &proto.DownlinkMsg{
		DeviceUpdateMsg:            []*proto.DeviceUpdateMsg{device(1, "a"), gone(2)},
		DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{creds(1, "ACCESS_TOKEN", "t1")},
		EdgeConfiguration:          &proto.EdgeConfiguration{EdgeIdMSB: 1, Secret: "s"},
		DeviceProfileUpdateMsg:     []*proto.DeviceProfileUpdateMsg{{IdMSB: 1, Entity: `{"name":"default"}`}},
	}
	raw, err := pb.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{})
	every := everyKind(3)
	every.EdgeConfiguration = edgeOf(7)
	if raw, err = pb.Marshal(every); err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m proto.DownlinkMsg
		if pb.Unmarshal(raw, &m) != nil {
			return
		}
		dir := t.TempDir()
		r := openKeeping(t, dir, "widgets", "images", "ota")
		apply(t, r, &m)
		apply(t, r, &m)
		n, kinds, edge := r.Devices(), r.Kinds(), r.Edge()
		apply(t, r, &m)
		if r.Kinds() != kinds {
			t.Fatalf("%s, and once more %s", kinds, r.Kinds())
		}
		r.Close()
		r = openKeeping(t, dir, "widgets", "images", "ota")
		if r.Devices() != n || r.Kinds() != kinds || !pb.Equal(r.Edge(), edge) {
			t.Fatalf("%d devices, %s before and %d, %s after a restart", n, kinds, r.Devices(), r.Kinds())
		}
	})
}
