package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"edgesync/proto"
)

// oneBound and allBounds are what the agent's memory may take at most, in bytes, with any one of
// its bounds reached, and with all of them.
const (
	oneBound  = 32 << 20
	allBounds = 48 << 20
)

// strain drives one of the bounds of BOUNDS.md there.
type strain struct {
	name string
	// drive returns when the bound is reached. What it leaves is undone at the end of the test.
	drive func(r *running)
	// before the agent starts.
	before func(s *site)
}

// builtAgent is the program as it is shipped: the test binary holds more, and one with the race
// detector much more.
var builtAgent = sync.OnceValues(func() (exe string, err error) {
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		return "", err
	}
	exe = filepath.Join(dir, "edgesync")
	build := exec.Command("go", "build", "-tags", "grpcnotrace,nethttpomithttp2", "-ldflags", "-s -w", "-o", exe, "../..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return exe, nil
})

// memory reads a line of /proc/PID/status, in bytes: VmRSS, or VmHWM, the most it ever was.
func (r *running) memory(line string) int {
	r.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.PID()))
	if err != nil {
		r.Fatal(err)
	}
	for l := range bytes.Lines(text) {
		if f := bytes.Fields(l); len(f) == 3 && string(f[0]) == line+":" {
			n, err := strconv.Atoi(string(f[1]))
			if err != nil {
				r.Fatal(err)
			}
			return n << 10
		}
	}
	r.Fatalf("no %s in\n%s", line, text)
	return 0
}

// traffic is what honest devices do meanwhile.
type traffic struct {
	stop     chan struct{}
	done     chan struct{}
	accepted int
}

// honest posts readings of one device until it is stopped.
func (r *running) honest() *traffic {
	h := &traffic{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(h.done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-h.stop:
				return
			case <-tick.C:
			}
			switch code, _ := post(r.http, "token-0", fmt.Sprintf(`{"ts":%d,"values":{"n":%d}}`, 1000+h.accepted, h.accepted)); code {
			case http.StatusOK:
				h.accepted++
			case http.StatusServiceUnavailable: // it is busy, and says so
			default:
				r.Errorf("an honest device got %d", code)
				return
			}
		}
	}()
	return h
}

// Memory stays small with each of the bounds reached, beside honest traffic, and all that was
// accepted arrives.
func TestMemoryAtEveryBound(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, c := range strains {
		t.Run(c.name, func(t *testing.T) {
			strained(t, oneBound, c)
		})
	}
}

func strained(t *testing.T, most int, list ...strain) {
	exe, err := builtAgent()
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.exe = exe
	for _, c := range list {
		if c.before != nil {
			c.before(s)
		}
	}
	r := s.synced()
	began := r.memory("VmHWM")
	h := r.honest()
	for _, c := range list {
		c.drive(r)
	}
	held := r.memory("VmRSS")
	t.Log("anon", r.memory("RssAnon"), "file", r.memory("RssFile"))
	s.calm()
	close(h.stop)
	<-h.done
	s.eventually("all that was accepted arrives", func() bool {
		n := r.snapshot()
		return h.accepted > 0 && n.Accepted >= uint64(h.accepted) && n.Pending == 0
	})
	balanced(t, r.snapshot())
	highest := r.memory("VmHWM")
	t.Logf("%.1f MB at most, %.1f MB before, %.1f MB at the end of it; %d readings", float64(highest)/1e6, float64(began)/1e6, float64(held)/1e6, h.accepted)
	if highest > most {
		t.Errorf("%d bytes of memory, at most %d", highest, most)
	}
}

// calm ends the faults of the cloud.
func (s *site) calm() {
	s.cloud.Flood(nil)
	s.cloud.LongSync(-1, 0)
	s.cloud.RefuseUplink(nil)
	s.cloud.DelayAcks(0)
}

// flooded sends a message without a pause until the agent has taken so many, however it comes.
func flooded(r *running, messages int, f func() *proto.DownlinkMsg) {
	r.Helper()
	had := r.snapshot().Downlinks
	r.cloud.Flood(f)
	r.eventually(fmt.Sprintf("%d messages are taken", messages), func() bool { return r.snapshot().Downlinks >= had+uint64(messages) })
	r.cloud.Flood(nil)
}

func dashboardOf(id proto.UUID, bytes int) *proto.DownlinkMsg {
	m := &proto.DashboardUpdateMsg{Entity: `{"title":"` + strings.Repeat("x", bytes-12) + `"}`}
	m.IdMSB, m.IdLSB = proto.Halves(id)
	return &proto.DownlinkMsg{DashboardUpdateMsg: []*proto.DashboardUpdateMsg{m}}
}

const maxMessage = 8<<20 - 1<<10

var strains = []strain{
	{name: "the link, messages of 8 MiB", drive: func(r *running) {
		m := dashboardOf(r.edge.ID, maxMessage)
		flooded(r, 30, func() *proto.DownlinkMsg { return m })
	}},
	{name: "the link, entities of 4 MiB", drive: func(r *running) {
		m := dashboardOf(r.edge.ID, 4<<20)
		other := dashboardOf(r.edge.ID, 4<<20-1)
		n := 0
		flooded(r, 20, func() *proto.DownlinkMsg {
			if n++; n%2 == 0 {
				return m
			}
			return other
		})
	}},
	{name: "the link, devices of 1 MiB", drive: func(r *running) {
		d := r.cloud.Tenant().Devices()[1]
		n := 0
		flooded(r, 50, func() *proto.DownlinkMsg {
			n++
			m := &proto.DeviceUpdateMsg{Entity: `{"name":"station 1","type":"default","additionalInfo":{"description":"` +
				strings.Repeat("d", 1<<20-200-n%2) + `"}}`}
			m.IdMSB, m.IdLSB = proto.Halves(d.ID)
			return &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{m, m, m, m, m, m, m}}
		})
	}},
	{name: "the link, entities of 100 KiB", drive: func(r *running) {
		n := 0
		flooded(r, 1000, func() *proto.DownlinkMsg { n++; return dashboardOf(r.edge.ID, 100<<10+n%7) })
	}},
	{name: "the link, millions of parts", drive: func(r *running) {
		m := &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{PostTelemetryMsg: &proto.PostTelemetryMsg{
			TsKvList: []*proto.TsKvListProto{{Kv: make([]*proto.KeyValueProto, 2<<20)}},
		}}}}
		for i := range m.EntityData[0].PostTelemetryMsg.TsKvList[0].Kv {
			m.EntityData[0].PostTelemetryMsg.TsKvList[0].Kv[i] = &proto.KeyValueProto{}
		}
		flooded(r, 10, func() *proto.DownlinkMsg { return m })
	}},
	{name: "the link, as many parts as are decoded", drive: func(r *running) {
		m := &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{PostTelemetryMsg: &proto.PostTelemetryMsg{
			TsKvList: []*proto.TsKvListProto{{}},
		}}}}
		l := m.EntityData[0].PostTelemetryMsg.TsKvList[0]
		for range 70_000 {
			l.Kv = append(l.Kv, &proto.KeyValueProto{})
		}
		flooded(r, 20, func() *proto.DownlinkMsg { return m })
	}},
	{name: "a sync without an end", drive: func(r *running) {
		r.cloud.LongSync(0, 0)
		had := r.snapshot().Downlinks
		r.cloud.StartSync(r.edge.ID)
		r.eventually("a long sync", func() bool { return r.snapshot().Downlinks >= had+20_000 })
	}},
	{name: "calls that wait", drive: func(r *running) {
		params := `"` + strings.Repeat("p", 60<<10) + `"`
		devices := r.cloud.Tenant().Devices()
		n := 0
		flooded(r, 3000, func() *proto.DownlinkMsg {
			n++
			c := &proto.DeviceRpcCallMsg{
				RequestId: int32(n), ExpirationTime: time.Now().Add(time.Hour).UnixMilli(), RequestMsg: &proto.RpcRequestMsg{Method: "m", Params: params},
			}
			c.RequestUuidMSB, c.RequestUuidLSB = int64(n), 1
			c.DeviceIdMSB, c.DeviceIdLSB = proto.Halves(devices[n%len(devices)].ID)
			if n%2 == 0 {
				c.DeviceIdLSB = int64(n) // nobody's
			}
			return &proto.DownlinkMsg{DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{c}}
		})
	}},
	{name: "long reasons of refusals", drive: func(r *running) {
		reason := "no, because " + strings.Repeat("why ", 1<<20)
		refused := make(chan struct{}, 1000)
		r.cloud.RefuseUplink(func(*proto.UplinkMsg) string {
			select {
			case refused <- struct{}{}:
			default:
			}
			return reason
		})
		for range 10 {
			<-refused
		}
	}},
}
