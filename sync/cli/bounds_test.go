//go:build !race

package cli

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
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
	more   int // bytes that it may take beyond oneBound
	// alone: it is not driven beside the others, because it changes what the cloud does to all, or
	// because another one of its kind is driven there.
	alone bool
	// cloud: it is the cloud that strains, by what it sends without a pause. It begins when the
	// others are at their bounds, for it would hold up what they wait for.
	cloud bool
}

// hoardNode is a window in which much waits.
const hoardNode = `deduplication.TbMsgDeduplicationNode|hoard|{"interval":3600,"strategy":"ALL","outMsgType":"X","maxPendingMsgs":20000}`

// traffic is what honest devices do meanwhile.
type traffic struct {
	stop     chan struct{}
	done     chan struct{}
	accepted atomic.Int64
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
			n := h.accepted.Load()
			switch code, _ := post(r.http, "token-0", fmt.Sprintf(`{"ts":%d,"values":{"n":%d}}`, 1000+n, n)); code {
			case http.StatusOK:
				h.accepted.Add(1)
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
			t.Parallel() // each agent is a process with a memory of its own
			strained(t, oneBound+c.more, c)
		})
	}
}

// The same with all of them at once.
func TestMemoryAtAllBounds(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	t.Parallel()
	var list []strain
	for _, c := range strains {
		if !c.alone {
			list = append(list, c)
		}
	}
	strained(t, allBounds, list...)
}

func strained(t *testing.T, most int, list ...strain) {
	s := newSite(t, filepath.Join(t.TempDir(), "data"))
	s.exe = builtAgent(t)
	for _, c := range list {
		if c.before != nil {
			c.before(s)
		}
	}
	r := s.synced()
	began := r.memory("VmHWM")
	h := r.honest()
	for _, cloud := range []bool{false, true} {
		var work sync.WaitGroup
		for _, c := range list {
			if c.cloud == cloud {
				work.Go(func() { c.drive(r) })
			}
		}
		work.Wait()
	}
	held := r.memory("VmRSS")
	s.calm()
	was := h.accepted.Load()
	s.eventually("honest devices are served", func() bool { return h.accepted.Load() >= was+20 })
	close(h.stop)
	<-h.done
	s.eventually("all that was accepted arrives, or is in a window", func() bool {
		n := r.snapshot()
		return n.Accepted+n.Held+n.Merged >= uint64(h.accepted.Load()) && n.Pending == 0
	})
	balanced(t, r.snapshot())
	highest := r.memory("VmHWM")
	t.Logf("%.1f MB at most, %.1f MB before, %.1f MB at the end of it; %d readings",
		float64(highest)/1e6, float64(began)/1e6, float64(held)/1e6, h.accepted.Load())
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
	r.floods.Lock() // the cloud sends one thing without a pause
	defer r.floods.Unlock()
	had := r.snapshot().Downlinks
	r.cloud.Flood(f)
	r.eventually(fmt.Sprintf("%d messages are taken", messages), func() bool { return r.snapshot().Downlinks >= had+uint64(messages) })
	r.cloud.Flood(nil)
}

func dashboardOf(id proto.UUID, bytes int) *proto.DownlinkMsg {
	m := &proto.DashboardUpdateMsg{Entity: `{"title":"t","x":"` + strings.Repeat("x", bytes-20) + `"}`}
	m.IdMSB, m.IdLSB = proto.Halves(id)
	return &proto.DownlinkMsg{DashboardUpdateMsg: []*proto.DashboardUpdateMsg{m}}
}

const maxMessage = 8<<20 - 1<<10

var strains = []strain{
	{name: "the link, messages of 8 MiB", cloud: true, drive: func(r *running) {
		m := dashboardOf(r.edge.ID, maxMessage)
		flooded(r, 5, func() *proto.DownlinkMsg { return m })
	}},
	{
		name: "the link, messages of 60 MiB that are no packages", cloud: true, alone: true, more: 56 << 20,
		before: func(s *site) { s.link = "max_inbound_message_size = \"64MiB\"\n" },
		drive: func(r *running) {
			m, decoded := dashboardOf(r.edge.ID, 60<<20), dashboardOf(r.edge.ID, 12<<20-4<<10)
			n := 0
			flooded(r, 6, func() *proto.DownlinkMsg {
				if n++; n%2 == 0 {
					return m
				}
				return decoded
			})
		},
	},
	packages("the link, packages of 8 MiB that are not kept", 8, ""),
	packages("the link, packages of 8 MiB that are kept", 8, "[registry]\nkeep = [\"ota\"]\n"),
	packages("the link, packages of 64 MiB that are not kept", 64, ""),
	packages("the link, packages of 64 MiB that are kept", 64, "[registry]\nkeep = [\"ota\"]\n"),
	{name: "the link, entities of 4 MiB", cloud: true, drive: func(r *running) {
		m := dashboardOf(r.edge.ID, 4<<20)
		other := dashboardOf(r.edge.ID, 4<<20-1)
		n := 0
		flooded(r, 8, func() *proto.DownlinkMsg {
			if n++; n%2 == 0 {
				return m
			}
			return other
		})
	}},
	{name: "the link, devices of 1 MiB", cloud: true, alone: true, drive: func(r *running) {
		d := r.cloud.Tenant().Devices()[1]
		n := 0
		flooded(r, 6, func() *proto.DownlinkMsg {
			n++
			m := &proto.DeviceUpdateMsg{Entity: `{"name":"station 1","type":"default","additionalInfo":{"description":"` +
				strings.Repeat("d", 1<<20-200-n%2) + `"}}`}
			m.IdMSB, m.IdLSB = proto.Halves(d.ID)
			return &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{m, m, m, m, m, m, m}}
		})
	}},
	{name: "the link, entities of 100 KiB", cloud: true, alone: true, drive: func(r *running) {
		n := 0
		flooded(r, 300, func() *proto.DownlinkMsg { n++; return dashboardOf(r.edge.ID, 100<<10+n%7) })
	}},
	{name: "the link, millions of parts", cloud: true, drive: func(r *running) {
		m := &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{PostTelemetryMsg: &proto.PostTelemetryMsg{
			TsKvList: []*proto.TsKvListProto{{Kv: make([]*proto.KeyValueProto, 2<<20)}},
		}}}}
		for i := range m.EntityData[0].PostTelemetryMsg.TsKvList[0].Kv {
			m.EntityData[0].PostTelemetryMsg.TsKvList[0].Kv[i] = &proto.KeyValueProto{}
		}
		flooded(r, 5, func() *proto.DownlinkMsg { return m })
	}},
	{name: "the link, as many parts as are decoded", cloud: true, alone: true, drive: func(r *running) {
		m := &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{{PostTelemetryMsg: &proto.PostTelemetryMsg{
			TsKvList: []*proto.TsKvListProto{{}},
		}}}}
		l := m.EntityData[0].PostTelemetryMsg.TsKvList[0]
		for range 70_000 {
			l.Kv = append(l.Kv, &proto.KeyValueProto{})
		}
		flooded(r, 8, func() *proto.DownlinkMsg { return m })
	}},
	{name: "a sync without an end", cloud: true, drive: func(r *running) {
		r.cloud.LongSync(0, 0)
		had := r.snapshot().Downlinks
		last := had
		r.eventually("a long sync", func() bool {
			now := r.snapshot().Downlinks
			if now == last { // there was no session, or a sync was at its end
				r.cloud.StartSync(r.edge.ID)
			}
			last = now
			return now >= had+5_000
		})
		r.cloud.LongSync(-1, 0)
	}},
	{name: "calls that wait", cloud: true, drive: func(r *running) {
		params := `"` + strings.Repeat("p", 60<<10) + `"`
		devices := r.cloud.Tenant().Devices()
		n := 0
		flooded(r, 1500, func() *proto.DownlinkMsg {
			n++
			c := &proto.DeviceRpcCallMsg{
				RequestId: int32(n), ExpirationTime: time.Now().Add(time.Hour).UnixMilli(),
				RequestMsg: &proto.RpcRequestMsg{Method: "m", Params: params},
			}
			c.RequestUuidMSB, c.RequestUuidLSB = int64(n), 1
			c.DeviceIdMSB, c.DeviceIdLSB = proto.Halves(devices[n%len(devices)].ID)
			if n%2 == 0 {
				c.DeviceIdLSB = int64(n) // nobody's
			}
			return &proto.DownlinkMsg{DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{c}}
		})
	}},
	{name: "windows of rule chains", alone: true, before: func(s *site) {
		for i := range 1000 {
			s.cloud.AddDevice(s.edge.ID, cloudtest.Device{
				ID: s.cloud.Tenant().NewID(), Name: fmt.Sprint("meter ", i),
				CredentialsType: "ACCESS_TOKEN", CredentialsID: fmt.Sprint("meter-", i),
			})
		}
	}, drive: func(r *running) {
		r.chain("hoard", []string{hoardNode})
		r.ruled("hoard")
		r.eventually("the devices are known", func() bool { return r.snapshot().Devices == 1003 })
		most := uint64(0)
		for n := range 1000 {
			text := []byte{'['}
			for k := range 60 {
				text = fmt.Appendf(text, `{"a":"%x"},`, sha256.Sum256([]byte{byte(n), byte(n >> 8), byte(k)}))
			}
			text[len(text)-1] = ']'
			r.mustPost(r.T, fmt.Sprint("meter-", n), string(text))
			if n%50 == 49 {
				most = max(most, r.snapshot().Held)
			}
		}
		if most < 30_000 {
			r.Errorf("%d messages waited", most)
		}
	}},
	{name: "one window", alone: true, drive: func(r *running) {
		r.chain("hoard", []string{hoardNode})
		r.ruled("hoard")
		most := uint64(0)
		for n := range 110 {
			text := []byte{'['}
			for k := range 100 {
				text = fmt.Appendf(text, `{"a%d":%d,"text":%q},`, n, k, strings.Repeat("x", 40))
			}
			text[len(text)-1] = ']'
			r.mustPost(r.T, "token-1", string(text))
			most = max(most, r.snapshot().Held)
		}
		if most < 4000 {
			r.Errorf("%d messages waited", most)
		}
	}},
	{name: "long reasons of refusals", alone: true, drive: func(r *running) {
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
	{name: "the registry, full of devices", alone: true, before: func(s *site) {
		for i := range 16_000 {
			s.cloud.AddDevice(s.edge.ID, cloudtest.Device{
				ID: s.cloud.Tenant().NewID(), Name: fmt.Sprint("pump ", i),
				CredentialsType: "ACCESS_TOKEN", CredentialsID: fmt.Sprint("pump-", i),
			})
		}
	}, drive: func(r *running) {
		if n := r.snapshot().Devices; n < 14_900 {
			r.Errorf("%d devices", n)
		}
	}},
	{name: "REST, entities of 4 MiB", drive: func(r *running) {
		ids := r.dashboards(4)
		get := r.reads(r.admin())
		for i := range 10 {
			get.slow("/api/dashboard/" + proto.FormatUUID(ids[i%len(ids)]))
		}
		for range 10 {
			get.fast("/api/tenant/dashboards?pageSize=1000&page=0", "/api/dashboard/"+proto.FormatUUID(ids[0]))
		}
		get.wait()
	}},
	{name: "REST, alarms and relations", drive: func(r *running) {
		d := r.cloud.Tenant().Devices()[1]
		of := proto.FormatUUID(d.ID)
		text := strings.Repeat("x", 1<<20-1000)
		for n := range 8 {
			m := &proto.AlarmUpdateMsg{Entity: fmt.Sprintf(
				`{"type":"a%d","createdTime":%d,"originator":{"entityType":"DEVICE","id":%q},"severity":"MAJOR","details":{"x":%q}}`,
				n, n, of, text)}
			m.IdMSB, m.IdLSB = proto.Halves(r.cloud.Tenant().NewID())
			r.cloud.Push(r.edge.ID, &proto.DownlinkMsg{
				AlarmUpdateMsg: []*proto.AlarmUpdateMsg{m},
				RelationUpdateMsg: []*proto.RelationUpdateMsg{{Entity: fmt.Sprintf(
					`{"from":{"entityType":"DEVICE","id":%q},"to":{"entityType":"DEVICE","id":%q},"type":"t%d",`+
						`"typeGroup":"COMMON","additionalInfo":{"x":%q}}`,
					of, of, n, text[:900_000])}},
			})
		}
		r.eventually("they are here", func() bool { return r.part("alarmUpdateMsg") >= 8 && r.part("relationUpdateMsg") >= 8 })
		get := r.reads(r.admin())
		for range 10 {
			get.slow("/api/alarm/DEVICE/" + of + "?pageSize=1000&page=0")
			get.slow("/api/relations/from/DEVICE/" + of)
			get.slow("/api/relations/from/DEVICE/" + of + "/t1")
		}
		for range 5 {
			get.fast("/api/alarm/DEVICE/"+of+"?pageSize=1000&page=0",
				"/api/relations/from/DEVICE/"+of, "/api/relations/to/DEVICE/"+of+"/t1")
		}
		get.wait()
	}},
	{name: "answers of the doors", drive: func(r *running) {
		d := r.cloud.Tenant().Devices()[2]
		var kv []*proto.KeyValueProto
		for n := range 20 {
			kv = append(kv, &proto.KeyValueProto{
				Key: fmt.Sprint("k", n), Type: proto.KeyValueType_STRING_V, StringV: strings.Repeat("v", 45<<10),
			})
		}
		r.cloud.SetSharedAttributes(d.ID, kv, true)
		r.eventually("the attributes are here", func() bool { return r.part("entityData") > 0 })
		get := r.reads("")
		for range 40 {
			get.slow("/api/v1/token-2/attributes")
		}
		get.fast("/api/v1/token-2/attributes", "/api/v1/token-2/attributes", "/api/v1/token-2/attributes")
		get.wait()
	}},
	{name: "bodies of devices", drive: func(r *running) {
		body := `{"ts":1,"values":{"v":"` + strings.Repeat("v", 1<<20-100) + `"}}`
		for range 20 { // they never end
			c, err := net.Dial("tcp", r.http)
			if err != nil {
				r.Fatal(err)
			}
			r.Cleanup(func() { c.Close() })
			fmt.Fprintf(c, "POST /api/v1/token-1/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s",
				len(body), body[:len(body)-10])
		}
		var work sync.WaitGroup
		for range 8 {
			work.Go(func() { post(r.http, "token-2", body) })
		}
		work.Wait()
	}},
	{name: "objects of 3 MiB", alone: true, drive: func(r *running) {
		var keys strings.Builder
		for i := 0; keys.Len() < 3<<20-200; i++ {
			fmt.Fprintf(&keys, `,"key-%07d":"%0100d"`, i, i)
		}
		many, long := "{"+keys.String()[1:]+"}", `{"long":"`+strings.Repeat("x", 1<<20)+`"}`
		for range 5 {
			for i, body := range []string{many, long, many} {
				code, _ := post(r.http, fmt.Sprint("token-", i%2+1), body)
				if code != http.StatusOK && code != http.StatusServiceUnavailable {
					r.Errorf("%d bytes: %d", len(body), code)
				}
			}
		}
	}},
	{name: "the window, with events of 256 KiB", before: func(s *site) {
		s.cloud.DelayAcks(100 * time.Millisecond)
	}, drive: func(r *running) {
		for n := range 40 {
			post(r.http, "token-1", fmt.Sprintf(`{"ts":%d,"values":{"v":%q}}`, n+1, strings.Repeat("v", 250<<10)))
		}
	}},
	{name: "dead letters", alone: true, drive: func(r *running) {
		r.cloud.RefuseUplink(func(u *proto.UplinkMsg) string {
			for _, d := range u.GetEntityData() {
				for _, l := range d.GetPostTelemetryMsg().GetTsKvList() {
					for _, kv := range l.GetKv() {
						if kv.GetKey() == "bad" {
							return "Validation error: no"
						}
					}
				}
			}
			return ""
		})
		for n := range 100 {
			r.eventually("it is taken", func() bool { // others may be in its way
				code, _ := post(r.http, "token-1", fmt.Sprintf(`{"ts":%d,"values":{"bad":%q}}`, n+1, strings.Repeat("b", 4000)))
				return code == http.StatusOK
			})
		}
		r.eventually("they rest", func() bool { return r.snapshot().Dead == 100 })
	}},
	{name: "a tiny, then a proper limit of the cloud", alone: true, before: func(s *site) {
		s.cloud.AnnounceMax(300)
	}, drive: func(r *running) {
		for n := range 20 {
			post(r.http, "token-1", fmt.Sprintf(`{"ts":%d,"values":{"long":%q}}`, n+1, strings.Repeat("l", 2000)))
		}
		r.eventually("they are set aside", func() bool { return r.snapshot().Dead == 20 })
		r.cloud.AnnounceMax(0)
		r.cloud.EndSessions(cloudtest.EndOK)
		r.eventually("they arrive", func() bool { n := r.snapshot(); return n.Dead == 0 && n.Pending == 0 })
	}},
	{name: "the page and its parts", drive: func(r *running) {
		for n := range 200 {
			post(r.http, "token-1", fmt.Sprintf(`{"ts":%d,"values":{"t":%q}}`, n+1, strings.Repeat("<", 900)))
		}
		get := r.reads("")
		for range 30 {
			get.slow("/api/edge/events?limit=200")
			get.slow("/api/edge/status")
			get.slow("/metrics")
			get.slow("/")
		}
		for range 5 {
			get.fast("/api/edge/events?limit=200", "/api/edge/status", "/metrics", "/")
		}
		get.wait()
	}},
}

// part counts what the agent kept of a part of the cloud's messages.
func (r *running) part(name string) uint64 {
	for _, p := range r.snapshot().Parts {
		if p.Name == name {
			return p.Kept
		}
	}
	return 0
}

// dashboards sends down so many dashboards of 4 MiB.
func (r *running) dashboards(n int) (ids []proto.UUID) {
	r.Helper()
	had := r.part("dashboardUpdateMsg")
	for range n {
		id := r.cloud.Tenant().NewID()
		ids = append(ids, id)
		r.cloud.Push(r.edge.ID, dashboardOf(id, 4<<20))
	}
	r.eventually("the dashboards are here", func() bool { return r.part("dashboardUpdateMsg") >= had+uint64(n) })
	return ids
}

// reads are clients that ask over HTTP.
type reads struct {
	r     *running
	token string
	work  sync.WaitGroup
}

func (r *running) reads(token string) *reads { return &reads{r: r, token: token} }

func (g *reads) text(path string) string {
	head := "GET " + path + " HTTP/1.1\r\nHost: x\r\n"
	if g.token != "" {
		head += "X-Authorization: Bearer " + g.token + "\r\n"
	}
	return head + "\r\n"
}

// slow asks on a connection of its own, again and again, and reads nothing.
func (g *reads) slow(path string) {
	g.r.Helper()
	c, err := net.Dial("tcp", g.r.http)
	if err != nil {
		g.r.Fatal(err)
	}
	g.r.Cleanup(func() { c.Close() })
	_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
	_, _ = c.Write([]byte(strings.Repeat(g.text(path), 20)))
}

// fast asks for each of the paths at once and reads all of the answers.
func (g *reads) fast(paths ...string) {
	for _, path := range paths {
		g.work.Go(func() {
			q, _ := http.NewRequest("GET", "http://"+g.r.http+path, nil)
			if g.token != "" {
				q.Header.Set("X-Authorization", "Bearer "+g.token)
			}
			client := http.Client{Timeout: 2 * time.Second}
			res, err := client.Do(q)
			if err != nil {
				return // cut off, as one of many
			}
			defer res.Body.Close()
			_, _ = io.Copy(io.Discard, res.Body)
		})
	}
}

func (g *reads) wait() { g.work.Wait() }
