package registry_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	return &proto.DeviceUpdateMsg{
		IdMSB: msb, IdLSB: lsb,
		Entity: `{"name":"` + name + `","type":"default","label":null,"additionalInfo":{"gateway":true},` +
			`"deviceData":{"configuration":{"type":"DEFAULT","type":"DEFAULT"}},"unknown":[1]}`,
	}
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

func TestAnotherEdgeWipes(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	if err := r.SetEdge(&proto.EdgeConfiguration{EdgeIdMSB: 1, Name: "one", Secret: "s1"}); err != nil {
		t.Fatal(err)
	}
	r.BeginSync(false, 0)
	apply(t, r, &proto.DownlinkMsg{
		DeviceUpdateMsg:            []*proto.DeviceUpdateMsg{device(1, "a")},
		DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{creds(1, "ACCESS_TOKEN", "t1")},
	})
	if n, err := r.EndSync(); n != 0 || err != nil || !r.Synced() {
		t.Fatal(n, err)
	}
	// A downlink cannot make this another edge, a connect can.
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

// A power cut at every byte of the last flush: before or after, never between.
func TestPowerCut(t *testing.T) {
	base := t.TempDir()
	r := open(t, base)
	path := filepath.Join(base, "registry", "store")
	apply(t, r, &proto.DownlinkMsg{
		DeviceUpdateMsg:            []*proto.DeviceUpdateMsg{device(1, "a")},
		DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{creds(1, "ACCESS_TOKEN", "t1")},
	})
	st, _ := os.Stat(path)
	apply(t, r, &proto.DownlinkMsg{
		DeviceUpdateMsg:            []*proto.DeviceUpdateMsg{gone(1), device(2, "b")},
		DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{creds(2, "ACCESS_TOKEN", "t1")},
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
