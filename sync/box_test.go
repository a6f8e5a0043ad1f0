package sync

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	gosync "sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
	boxrig "edgesync/sync/cloudtest/rig"
	"edgesync/sync/config"
	"edgesync/sync/former"
	"edgesync/sync/registry"
	"edgesync/wal"
	"edgesync/wal/disk"
)

// box is an agent with a real registry on a real queue against the cloud in a box, inside a bubble
// with a fake clock.
type box struct {
	*testing.T
	cloud  *cloudtest.Cloud
	tenant *cloudtest.Tenant
	edge   cloudtest.Edge
	config *config.Config
	dir    string
	link   *boxrig.Link
	log    boxrig.Log

	agent  *Agent
	queue  *wal.Queue
	dead   *wal.DeadLog
	former *former.Store
	// overflow is what the dead-letter log has no room for.
	overflow *former.Store
	meters   []disk.Meter // see boxrig.OpenData
	room     int64        // of former, in bytes; 0: no bound
	// overRoom is that of overflow; noOverflow: the agent has none.
	overRoom   int64
	noOverflow bool
	reg        *registry.Registry
	intake     *Intake
	doors      *testDoors
	halt       func()                                                   // of the agent
	dial       func(ctx context.Context, addr string) (net.Conn, error) // instead of link's; nil: that

	deadBytes int64 // of the dead-letter log; 0: as boxrig has it
	// keep has the queue keep so many acknowledged bytes, in small segments; 0: none. atMost is
	// the queue's quota then; 0: none.
	keep, atMost int64

	mu      gosync.Mutex
	uplinks []*proto.UplinkMsg
	bad     []string // what the uplinks must never hold, see never
}

// innocent asserts that no uplink held what it must never hold, and that neither log nor status
// shows a secret, whatever the test did.
func (b *box) innocent() {
	b.Helper()
	for _, s := range b.bad {
		b.Errorf("went out: %s", s)
	}
	b.expect("oversized", b.cloud.Stats().Oversized, 0)
	for what, text := range map[string]string{"log": b.log.String(), "last error": b.agent.Snapshot().LastError} {
		for _, secret := range []string{"hush-hush", "token-"} {
			if strings.Contains(text, secret) {
				b.Errorf("the %s shows a secret: %s", what, text)
			}
		}
	}
}

// testDoors gives each call to the handler of its device, if there is one, and records what is
// reported to it.
type testDoors struct {
	boxrig.Watcher
	mu       gosync.Mutex
	agent    *Agent
	handlers map[proto.UUID]func(c *Call)
	calls    []Call
}

func (d *testDoors) Deliver(c *Call) bool {
	d.mu.Lock()
	d.calls = append(d.calls, *c)
	handler := d.handlers[c.Device]
	d.mu.Unlock()
	if handler == nil {
		return false
	}
	handler(c)
	return true
}

// take lets f handle the calls of a device from now on; with nil the device is not there.
func (d *testDoors) take(device proto.UUID, f func(c *Call)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handlers[device] = f
}

// heard returns and forgets the calls, the changes of shared attributes and the changes of devices.
func (d *testDoors) heard() (calls []Call, shared, changes []string) {
	changes, shared = d.Take()
	d.mu.Lock()
	defer d.mu.Unlock()
	calls, d.calls = d.calls, nil
	return calls, shared, changes
}

// inBox runs f with an agent that is connected and synchronised, and checks the balance of the
// counters at the end.
func inBox(t *testing.T, adjust func(*config.Config), f func(b *box)) { inBoxOf(t, 0, adjust, f) }

// inBoxOf is inBox with a dead-letter log of so many bytes.
func inBoxOf(t *testing.T, deadBytes int64, adjust func(*config.Config), f func(b *box)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, adjust)
		b.deadBytes = deadBytes
		b.start()
		defer func() {
			b.stop()
			b.cloud.Stop()
			b.link.Close()
			b.innocent()
		}()
		b.elapse(time.Minute)
		f(b)
	})
}

func newBox(t *testing.T, adjust func(*config.Config)) *box {
	c := config.Defaults()
	c.DataDir = t.TempDir()
	c.Cloud.RoutingKey, c.Cloud.RoutingSecret = "key", "hush-hush"
	c.Cloud.MaxInbound = 8 << 20 // whatever machine this is
	if adjust != nil {
		adjust(&c)
	}
	b := &box{T: t, tenant: cloudtest.NewTenant(), config: &c, dir: c.DataDir, link: boxrig.NewLink()}
	b.tenant.SetWidgetTypes(5)
	b.edge = cloudtest.Edge{ID: b.tenant.NewID(), Name: "Gateway 7", RoutingKey: "key", Secret: "hush-hush"}
	b.tenant.AddEdge(b.edge)
	b.cloud = cloudtest.New(cloudtest.Options{Tenant: b.tenant, Seed: 1})
	b.cloud.OnUplink(func(_ proto.UUID, u *proto.UplinkMsg) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.uplinks = append(b.uplinks, u)
		b.bad = append(b.bad, never(u, b.tenant.TenantID())...)
	})
	go b.cloud.Serve(b.link)
	return b
}

// start opens data_dir and runs the agent on it, as the command run does.
func (b *box) start() {
	b.Helper()
	log := b.log.Logger()
	var known atomic.Pointer[registry.Registry]
	record := GapRecord(nil, func() (id proto.UUID, ok bool) {
		if r := known.Load(); r != nil {
			id, ok = r.EdgeID()
		}
		return id, ok
	}, func() uint64 { return b.dead.Stats().Discarded })
	data := boxrig.OpenData(b.T, b.dir, log, record, b.meters...)
	b.queue, b.dead, b.former, b.overflow, b.reg = data.Queue, data.Dead, data.Former, data.Overflow, data.Registry
	if b.keep > 0 {
		o := wal.Options{
			Dir: filepath.Join(b.dir, "queue"), CorruptDir: filepath.Join(b.dir, "corrupt"), Record: record, Log: log,
			SegmentSize: 16 << 10, KeepBytes: b.keep, MaxBytes: b.atMost,
		}
		if p, err := LoadReplay(filepath.Join(b.dir, "replay")); err == nil && p != nil {
			o.Pinned = max(p.Offset, 1)
		}
		err := b.queue.Close()
		if err != nil {
			b.Fatal(err)
		}
		if b.queue, err = wal.Open(o); err != nil {
			b.Fatal(err)
		}
		b.reg.Follow(b.queue)
	}
	if b.deadBytes > 0 {
		var err error
		b.dead, err = wal.OpenDead(filepath.Join(b.dir, "dead"), b.deadBytes, b.queue.Committed().Offset, log)
		if err := errors.Join(err, data.Dead.Close()); err != nil {
			b.Fatal(err)
		}
	}
	if b.room > 0 {
		if err := b.former.Close(); err != nil {
			b.Fatal(err)
		}
		var err error
		if b.former, err = former.Open(former.Options{Dir: filepath.Join(b.dir, "former"), MaxBytes: b.room}); err != nil {
			b.Fatal(err)
		}
	}
	if b.overRoom > 0 {
		var err error
		err2 := b.overflow.Close()
		b.overflow, err = former.Open(former.Options{Dir: filepath.Join(b.dir, "overflow"), MaxBytes: b.overRoom})
		if err := errors.Join(err, err2); err != nil {
			b.Fatal(err)
		}
	}
	over := b.overflow
	if b.noOverflow {
		over = nil
	}
	known.Store(b.reg)
	b.agent = NewAgent(Deps{
		Config: b.config, Queue: b.queue, Dead: b.dead, Former: b.former, Overflow: over, Replays: filepath.Join(b.dir, "replay"),
		Registry: b.reg, Log: log, Version: "test",
	})
	b.agent.jitter = func(d time.Duration) time.Duration { return d }
	if b.agent.dialer.Dial = b.dial; b.dial == nil {
		b.agent.dialer.Dial = b.link.Dial
	}
	b.doors = &testDoors{agent: b.agent, handlers: map[proto.UUID]func(*Call){}}
	b.agent.SetDoors(b.doors)
	b.reg.Watch(b.doors)
	b.intake = NewIntake(b.queue)
	b.intake.Remember(b.reg)
	b.intake.Limit(b.agent.Room())
	b.halt = boxrig.Go(b.Context(), b.agent.Run)
}

// stop stops the agent cleanly and asserts that no event has vanished.
func (b *box) stop() {
	b.Helper()
	b.halt()
	s := b.agent.Snapshot()
	if s.Accepted != s.Deployed+s.Pending+s.Dropped+s.Dead+s.Damaged {
		b.Errorf("accepted %d != deployed %d + pending %d + dropped %d + dead %d + damaged %d",
			s.Accepted, s.Deployed, s.Pending, s.Dropped, s.Dead, s.Damaged)
	}
	if err := errors.Join(b.queue.Close(), b.dead.Close(), b.former.Close(), b.overflow.Close(), b.reg.Close()); err != nil {
		b.Error(err)
	}
}

// elapse lets d pass on the fake clock, then waits until every goroutine is idle.
func (b *box) elapse(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// offline cuts the link for as long as f runs.
func (b *box) offline(f func()) {
	b.Helper()
	b.link.Refuse.Store(true)
	b.cloud.EndSessions(cloudtest.EndReset)
	b.elapse(2 * time.Second)
	if b.cloud.Connected(b.edge.ID) {
		b.Fatal("still connected")
	}
	f()
	b.link.Refuse.Store(false)
	b.elapse(3 * time.Minute)
	if !b.cloud.Connected(b.edge.ID) {
		b.Fatal("did not come back")
	}
}

// offlineThenSync is offline, and after the reconnect lets the whole sync come down before the
// cloud takes any event of the queue.
func (b *box) offlineThenSync(f func()) {
	b.Helper()
	b.offline(func() {
		f()
		b.cloud.RateLimit(true)
	})
	if s := b.agent.Snapshot(); s.Sync != "" || s.Pending == 0 {
		b.Fatalf("sync %q, %d pending", s.Sync, s.Pending)
	}
	b.cloud.RateLimit(false)
	b.elapse(2 * time.Minute)
}

// device makes a device in the cloud, assigns it to the edge, and waits until the registry has it.
func (b *box) device(name string) cloudtest.Device {
	b.Helper()
	d := cloudtest.Device{ID: b.tenant.NewID(), Name: name, CredentialsType: "ACCESS_TOKEN", CredentialsID: "token-" + name}
	b.cloud.AddDevice(b.edge.ID, d)
	b.elapse(5 * time.Second)
	if !b.reg.HasDevice(d.ID) {
		b.Fatalf("device %s did not come", name)
	}
	b.doors.heard()
	return d
}

// sent returns and forgets the uplinks that match.
func (b *box) sent(match func(u *proto.UplinkMsg) bool) (list []*proto.UplinkMsg) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, u := range b.uplinks {
		if match(u) {
			list = append(list, u)
		}
	}
	b.uplinks = nil
	return list
}

// shared returns a shared attribute of a device in the registry, as JSON; "" if there is none.
func (b *box) shared(device proto.UUID, key string) (text string) {
	b.reg.Attributes(device, registry.SharedScope, []string{key}, func(kv *proto.KV) { text = string(proto.AppendJSONValue(nil, kv)) })
	return text
}

// pushShared sends a shared attribute of a device down, with a time in milliseconds since the Unix
// epoch, and waits until it is here.
func (b *box) pushShared(device proto.UUID, ts int64, key string, value int) {
	m := &proto.EntityDataProto{
		EntityType: "DEVICE", PostAttributeScope: "SHARED_SCOPE", AttributeTs: &ts,
		AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: longs(key, value)},
	}
	m.EntityIdMSB, m.EntityIdLSB = proto.Halves(device)
	b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{m}})
	b.elapse(2 * time.Second)
}

// longs returns key-value pairs of type LONG; kv alternates keys and ints.
func longs(kv ...any) (list []*proto.KeyValueProto) {
	for i := 0; i < len(kv); i += 2 {
		list = append(list, &proto.KeyValueProto{Key: kv[i].(string), Type: proto.KeyValueType_LONG_V, LongV: int64(kv[i+1].(int))})
	}
	return list
}

// post appends telemetry of a device, one event for each time.
func (b *box) post(device proto.UUID, times ...int64) {
	b.Helper()
	var events []proto.Event
	for _, ts := range times {
		kv := []proto.KV{{Key: []byte("t"), Type: proto.KeyValueType_LONG_V, Long: ts}}
		events = append(events, proto.Event{
			Kind: proto.KindEntityData, Action: proto.ActionTimeseriesUpdated, Time: time.Now().UnixMilli(), Entity: device,
			Fragment: proto.AppendTelemetry(nil, device, "DEVICE", ts, kv),
		})
	}
	if err := b.intake.Accept(b.Context(), events); err != nil {
		b.Fatal(err)
	}
}

// callResult is what the caller in the cloud got.
type callResult struct {
	response string
	word     string // of the error; "" if there is none
	took     time.Duration
}

// call calls a device as the server's REST API does, and waits for the answer.
func (b *box) call(device proto.UUID, params string, oneway bool, timeout time.Duration) callResult {
	began := time.Now()
	response, err := b.cloud.CallRPC(b.Context(), device, "do", params, oneway, timeout)
	r := callResult{response: response, took: time.Since(began)}
	var rpc *cloudtest.RPCError
	if errors.As(err, &rpc) {
		r.word = rpc.Word
	} else if err != nil {
		r.word = err.Error()
	}
	return r
}

// rawCall returns a call as the server sends it.
func rawCall(device proto.UUID, uuid int64, expires time.Time, persisted bool) *proto.DeviceRpcCallMsg {
	c := &proto.DeviceRpcCallMsg{
		RequestUuidMSB: uuid, RequestUuidLSB: -uuid, RequestId: int32(uuid), ExpirationTime: expires.UnixMilli(), Persisted: &persisted,
		RequestMsg: &proto.RpcRequestMsg{Method: "do", Params: `"x"`},
	}
	c.DeviceIdMSB, c.DeviceIdLSB = proto.Halves(device)
	return c
}

// pushCalls sends calls to the edge in one downlink.
func (b *box) pushCalls(calls ...*proto.DeviceRpcCallMsg) {
	b.cloud.Push(b.edge.ID, &proto.DownlinkMsg{DeviceRpcCallMsg: calls})
}

// answersTo lists the answers sent to a raw call: each the response or the word of the error.
func (b *box) answersTo(uuid int64) (list []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, u := range b.uplinks {
		for _, c := range u.DeviceRpcCallMsg {
			if c.RequestUuidMSB == uuid && c.RequestUuidLSB == -uuid && c.RequestId == int32(uuid) {
				list = append(list, c.ResponseMsg.GetError()+c.ResponseMsg.GetResponse())
			}
		}
	}
	return list
}

func (b *box) expect(what string, got, want any) {
	b.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.Errorf("%s: %v, want %v", what, got, want)
	}
}
