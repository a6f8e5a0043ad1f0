//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"edgesync/proto"
	"edgesync/scripts/internal/rig"
	"edgesync/sync/cloudtest"
)

const (
	memoryLimit     = 32 << 20         // bytes, VmHWM of a life of the agent
	backLimit       = 3 * time.Minute  // from the end of an attack to a new reading in the cloud
	quietLimit      = 2 * time.Minute  // until everything that was accepted is deployed
	quitLimit       = 2 * time.Minute  // to print all goroutines, whose table of lines is read from flash
	settleLimit     = 90 * time.Second // until the descriptors of an attack are gone
	slackFiles      = 8                // files of the queue come and go
	slackGoroutines = 12
	maxChildren     = 200 // of the gateway
	provisionKey    = "soak-key"
	provisionSecret = "soak-provision"
)

// soak is one run. The goroutine of run owns what has no note; the devices use the rest.
type soak struct {
	out    io.Writer
	seed   uint64
	brief  bool // a run of a minute: short attacks
	random *rand.Rand
	bin    string
	// agentBin is bin, or what runs it in a memory cgroup.
	agentBin string
	cgroup   *cgroup // nil = none
	dir      string  // of this run: configuration, data_dir, logs
	dataDir  string
	config   string
	logPath  string

	cloud  *cloudtest.Cloud
	edge   cloudtest.Edge
	link   *link
	agent  *rig.Agent
	client *http.Client // of the soak itself
	base   baseline
	lives  int
	peak   int64 // bytes of memory, the highest of all lives
	marks  int   // readings of the device "marker"
	churns int   // devices that churn made

	// Safe for concurrent use.
	httpAddress, mqttAddress atomic.Pointer[string]
	holds                    holds
	gate                     gate
	lat                      latencies
	up, down, born           answers // calls of devices, of the cloud; provisioning
	children                 atomic.Int64
	shared                   [meters]atomic.Int64

	mu       sync.Mutex
	streams  []*stream
	counters []*counter
	ids      map[string]proto.UUID // of streams whose device had another name, and of those deleted their rows
	breaches []string
}

// newSoak starts the cloud and the link, and writes the agent's configuration.
func newSoak(out io.Writer, dir, bin string, seed uint64, brief bool) (*soak, error) {
	s := &soak{
		out: out, seed: seed, brief: brief, bin: bin, agentBin: bin, dir: dir, random: rand.New(rand.NewPCG(seed, 0x50ac)),
		dataDir: filepath.Join(dir, "data"), config: filepath.Join(dir, "config.toml"), logPath: filepath.Join(dir, "agent.log"),
		client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}},
		lat:    latencies{failed: map[string]int{}}, ids: map[string]proto.UUID{},
		cloud: cloudtest.New(cloudtest.Options{Seed: seed}),
	}
	tenant := s.cloud.Tenant()
	tenant.SetWidgetTypes(40)
	s.edge = cloudtest.Edge{
		ID: tenant.NewID(), Name: "soak", RoutingKey: rig.RoutingKey, Secret: rig.Secret,
		Customer: proto.NullUUID, Created: time.Now().Add(-time.Hour),
	}
	tenant.AddEdge(s.edge)
	tenant.AllowProvisioning("newborns", provisionKey, provisionSecret)
	add := func(name, token string, gateway bool) {
		s.cloud.AddDevice(s.edge.ID, cloudtest.Device{
			ID: tenant.NewID(), Name: name, CredentialsType: "ACCESS_TOKEN", CredentialsID: token, Gateway: gateway,
		})
	}
	for i := range meters {
		add(fmt.Sprint("meter ", i), fmt.Sprint("meter-", i), false)
	}
	for i := range pumps {
		add(fmt.Sprint("pump ", i), fmt.Sprint("pump-", i), false)
	}
	add("hub", "hub-0", true)
	add("marker", "marker-0", false)
	add("hoard", "hoard-0", false)
	s.cloud.AnswerRPC(func(call *proto.DeviceRpcCallMsg) *proto.RpcResponseMsg {
		return &proto.RpcResponseMsg{Response: call.GetRequestMsg().GetParams()}
	})
	address, err := s.serve()
	if err != nil {
		return nil, err
	}
	if s.link, err = newLink(address); err != nil {
		return nil, err
	}
	return s, rig.WriteConfig(s.config, rig.Config{
		DataDir: s.dataDir, Cloud: s.link.address(), HTTPListen: "127.0.0.1:0", MQTTListen: "127.0.0.1:0",
		// Dead letters are tried until they are accepted, so that nothing rests at the end.
		Extra: "\n[batch]\ntimeout = \"200ms\"\n\n[retry]\ninterval = \"500ms\"\nmax = 1000000\n",
	})
}

// serve lets the cloud listen and returns its address.
func (s *soak) serve() (string, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		if err := s.cloud.Serve(lis); err != nil {
			s.breach("the cloud in a box: %v", err)
		}
	}()
	return lis.Addr().String(), nil
}

// breach notes that something does not hold. Safe for concurrent use.
func (s *soak) breach(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.breaches) == maxBreaches {
		return
	}
	s.breaches = append(s.breaches, text)
	fmt.Fprintf(s.out, "%s  BREACH: %s\n", clock(), text)
}

// maxBreaches bounds what a run that has failed already notes.
const maxBreaches = 50

func (s *soak) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%s  %s\n", clock(), fmt.Sprintf(format, args...))
}

func clock() string { return time.Now().Format("15:04:05") }

// stream begins the readings of a device.
func (s *soak) stream(device string) *stream {
	st := &stream{device: device}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams = append(s.streams, st)
	return st
}

// counter begins the attribute of a device.
func (s *soak) counter(device string) *counter {
	c := &counter{device: device}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counters = append(s.counters, c)
	return c
}

// idOf is the id of the device of that name in the cloud.
func (s *soak) idOf(name string) (proto.UUID, bool) {
	s.mu.Lock()
	id, ok := s.ids[name]
	s.mu.Unlock()
	if ok {
		return id, true
	}
	for _, d := range s.cloud.Tenant().Devices() {
		if d.Name == name {
			return s.knownAs(name, d.ID), true
		}
	}
	return proto.UUID{}, false
}

// knownAs notes the id of a device that keeps its id whatever its name will be.
func (s *soak) knownAs(name string, id proto.UUID) proto.UUID {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids[name] = id
	return id
}

// traffic starts the honest devices. stop ends them and waits.
func (s *soak) traffic(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	each := 6 * time.Second
	if s.brief {
		each = 3 * time.Second
	}
	for i := range meters {
		all.Go(func() { s.meter(ctx, i) })
	}
	for i := range pumps {
		all.Go(func() { s.pump(ctx, i) })
	}
	all.Go(func() { s.hub(ctx, each) })
	all.Go(func() { s.poller(ctx) })
	all.Go(func() { s.newborns(ctx, each) })
	all.Go(func() { s.caller(ctx) })
	all.Go(func() { s.setter(ctx) })
	return func() {
		cancel()
		all.Wait()
	}
}

// mark sends a new reading to the cloud and waits until it is there: what the agent had waiting for
// its turn went up before it.
func (s *soak) mark(ctx context.Context, limit time.Duration) (took time.Duration, err error) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	id, _ := s.idOf("marker")
	s.marks++
	body := fmt.Sprintf(`{"ts":%d,"values":{"mark":%d}}`, firstTime+int64(s.marks), s.marks)
	for {
		if code, _ := s.ask(ctx, s.client, http.MethodPost, "/api/v1/marker-0/telemetry", body); code == http.StatusOK {
			break
		}
		if err := rig.Pause(ctx, 20*time.Millisecond); err != nil {
			return 0, fmt.Errorf("a new reading is not accepted within %v", limit)
		}
	}
	arrived := func() bool {
		p := s.cloud.Tenant().Series(id, "mark")
		return len(p) > 0 && p[len(p)-1].Value.Long == int64(s.marks)
	}
	if s.cloud.WaitFor(ctx, arrived) != nil {
		return 0, fmt.Errorf("a new reading is not in the cloud within %v", limit)
	}
	return time.Since(begun), nil
}

// verify compares everything that was acknowledged with the cloud. The devices must be quiet.
func (s *soak) verify(ctx context.Context) (v verdict) {
	tenant := s.cloud.Tenant()
	s.mu.Lock()
	streams, counters := s.streams, s.counters
	s.mu.Unlock()
	for _, st := range streams {
		id, ok := s.idOf(st.device)
		if sent, acked := st.counts(); !ok {
			if acked > 0 {
				v.complain("%s: the cloud does not have the device, of whose %d readings %d were acknowledged", st.device, sent, acked)
			}
			continue
		}
		st.compare(tenant.Series, id, &v)
	}
	for _, c := range counters {
		if id, ok := s.idOf(c.device); ok {
			value, _, found := tenant.Attribute(id, "CLIENT_SCOPE", "count")
			c.check(value, found, &v)
		}
	}
	for i := range meters {
		want := s.shared[i].Load()
		got := ""
		err := until(ctx, time.Minute, "", func() bool {
			_, got = s.ask(ctx, s.client, http.MethodGet, fmt.Sprintf("/api/v1/meter-%d/attributes?sharedKeys=set", i), "")
			var a struct{ Shared struct{ Set int64 } }
			return json.Unmarshal([]byte(got), &a) == nil && a.Shared.Set == want
		})
		if err != nil {
			v.complain("meter %d: the shared attribute set is %d in the cloud, and %.100q here", i, want, got)
		}
	}
	return v
}

// baseline is the agent at the first quiet point.
type baseline struct{ files, goroutines int }

// openFiles counts the descriptors of a process.
func openFiles(pid int) (int, error) {
	d, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(d), err
}
