package sync

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	gosync "sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"edgesync/proto"
	"edgesync/sync/clock"
	boxrig "edgesync/sync/cloudtest/rig"
	"edgesync/sync/config"
	"edgesync/sync/link"
	"edgesync/sync/registry"
	"edgesync/wal"
)

// script is a cloud that answers exactly as a test says, without delays of its own, so that a test
// under a fake clock can compare durations exactly. It does not behave as the real server does; the
// cloud in a box (cloudtest) does.
type script struct {
	proto.UnimplementedEdgeRpcServiceServer
	start time.Time

	// What to do with each message; each function may be nil, and a nil answer means none. end ends
	// the stream with the error that it returns.
	connect func(session int, c *proto.ConnectRequestMsg) *proto.ConnectResponseMsg
	uplink  func(session int, u *proto.UplinkMsg) *proto.UplinkResponseMsg
	sync    func(session int, s *proto.SyncRequestMsg) []*proto.DownlinkMsg
	end     func(session int, r *proto.RequestMsg) (end bool, err error)
	silent  bool          // a question is acknowledged, and brings no downlinks
	ahead   time.Duration // of the server's clock
	takes   bool          // calls

	mu       gosync.Mutex
	connects []time.Duration    // since start
	uplinks  []*proto.UplinkMsg // without questions
	asked    []*proto.AttributesRequestMsg
	calls    []Call          // delivered, if takes is set
	at       []time.Duration // of uplinks, since start
	acks     []int32         // downlink ids acknowledged with success
	syncs    []bool          // fullSync of each request
	escapes  int
	secrets  []string
	streams  map[int]func(*proto.ResponseMsg) error
}

func (s *script) HandleMsgs(st grpc.BidiStreamingServer[proto.RequestMsg, proto.ResponseMsg]) error {
	session := 0
	var sending gosync.Mutex
	send := func(m *proto.ResponseMsg) error {
		sending.Lock()
		defer sending.Unlock()
		return st.Send(m)
	}
	for {
		m, err := st.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		if c := m.GetConnectRequestMsg(); c != nil {
			s.connects = append(s.connects, time.Since(s.start))
			s.secrets = append(s.secrets, c.GetEdgeSecret())
			session = len(s.connects)
			s.streams[session] = send
		}
		if u := m.GetUplinkMsg(); len(u.GetAttributesRequestMsg()) > 0 {
			// The edge asks after each sync; the answer is an attribute of the edge.
			s.asked = append(s.asked, u.AttributesRequestMsg...)
			s.mu.Unlock()
			send(&proto.ResponseMsg{UplinkResponseMsg: ok(u)})
			if !s.silent {
				send(&proto.ResponseMsg{DownlinkMsg: edgeAttributes(int32(2000+session), time.Now().Add(s.ahead))})
			}
			continue
		}
		if u := m.GetUplinkMsg(); u != nil && m.GetMsgType() == proto.RequestMsgType_UPLINK_RPC_MESSAGE {
			s.uplinks = append(s.uplinks, u)
			s.at = append(s.at, time.Since(s.start))
		}
		if r := m.GetDownlinkResponseMsg(); r.GetSuccess() {
			s.acks = append(s.acks, r.GetDownlinkMsgId())
		}
		if m.GetMsgType() == proto.RequestMsgType_SYNC_REQUEST_RPC_MESSAGE {
			if r := m.GetSyncRequestMsg(); r != nil {
				s.syncs = append(s.syncs, r.GetFullSync())
			} else {
				s.escapes++
			}
		}
		s.mu.Unlock()
		if s.end != nil {
			if end, err := s.end(session, m); end {
				return err
			}
		}
		if c := m.GetConnectRequestMsg(); c != nil {
			r := accepted()
			if s.connect != nil {
				r = s.connect(session, c)
			}
			if r == nil {
				continue
			}
			send(&proto.ResponseMsg{ConnectResponseMsg: r})
			if r.ResponseCode != proto.ConnectResponseCode_ACCEPTED {
				return context.Canceled
			}
		}
		if u := m.GetUplinkMsg(); u != nil {
			r := ok(u)
			if s.uplink != nil {
				r = s.uplink(session, u)
			}
			if r != nil {
				send(&proto.ResponseMsg{UplinkResponseMsg: r})
			}
		}
		if r := m.GetSyncRequestMsg(); r != nil {
			down := []*proto.DownlinkMsg{{DownlinkMsgId: int32(1000 + session), SyncCompletedMsg: &proto.SyncCompletedMsg{}}}
			if s.sync != nil {
				down = s.sync(session, r)
			}
			for _, d := range down {
				send(&proto.ResponseMsg{DownlinkMsg: d})
			}
		}
	}
}

// Deliver takes every call and answers none: the script stands for the doors too.
func (s *script) Deliver(c *Call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, *c)
	return true
}

// call sends a call over the first stream, in the downlink id.
func (s *script) call(id int32, c *proto.DeviceRpcCallMsg) {
	m := &proto.DownlinkMsg{DownlinkMsgId: id, DeviceRpcCallMsg: []*proto.DeviceRpcCallMsg{c}}
	s.streams[1](&proto.ResponseMsg{DownlinkMsg: m})
}

// edgeAttributes returns the server's answer to the question about the edge itself, with the time
// of the server's clock.
func edgeAttributes(id int32, now time.Time) *proto.DownlinkMsg {
	ts := now.UnixMilli()
	version := &proto.KeyValueProto{Key: "edgeVersion", Type: proto.KeyValueType_STRING_V, StringV: "V_4_2_0"}
	return &proto.DownlinkMsg{DownlinkMsgId: id, EntityData: []*proto.EntityDataProto{{
		EntityIdMSB: 1, EntityIdLSB: 2, EntityType: "EDGE", PostAttributeScope: "SERVER_SCOPE", AttributeTs: &ts,
		AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: []*proto.KeyValueProto{version}},
	}}}
}

func accepted() *proto.ConnectResponseMsg {
	limit := int32(4 << 20)
	edge := &proto.EdgeConfiguration{EdgeIdMSB: 1, EdgeIdLSB: 2, Name: "test", CloudType: "CE"}
	return &proto.ConnectResponseMsg{MaxInboundMessageSize: &limit, Configuration: edge}
}

func ok(u *proto.UplinkMsg) *proto.UplinkResponseMsg {
	return &proto.UplinkResponseMsg{UplinkMsgId: u.UplinkMsgId, Success: true}
}

func no(u *proto.UplinkMsg, text string) *proto.UplinkResponseMsg {
	return &proto.UplinkResponseMsg{UplinkMsgId: u.UplinkMsgId, ErrorMsg: text}
}

// order returns the timestamps of all telemetry that arrived, in order of arrival.
func (s *script) order() (ts []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.uplinks {
		ts = append(ts, stamps(u)...)
	}
	return ts
}

// stamps returns the timestamps of all telemetry in an uplink.
func stamps(u *proto.UplinkMsg) (ts []int64) {
	for _, e := range u.GetEntityData() {
		for _, l := range e.GetPostTelemetryMsg().GetTsKvList() {
			ts = append(ts, l.Ts)
		}
	}
	return ts
}

// rig is an agent on a real queue against a script, inside a bubble with a fake clock.
type rig struct {
	*testing.T
	agent   *Agent
	queue   *wal.Queue
	dead    *wal.DeadLog
	reg     *fakeRegistry
	real    *registry.Registry // used instead of reg, if set before run
	config  *config.Config
	intake  *Intake
	script  *script
	dir     string
	stop    func()
	stopped time.Time // when the agent had stopped
	link    *boxrig.Link
	clock   *clock.Clock
	history *link.History
	seq     int64
	syncing []bool // arguments of the calls of Deps.Syncing
}

// inBubble runs f with a rig that is running already, and checks the balance of the counters at the
// end.
func inBubble(t *testing.T, s *script, adjust func(*config.Config), f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, s, adjust)
		r.run()
		defer func() { // also when f ends the test: a goroutine that still runs would hold the bubble
			r.stop()
			r.identity()
			if err := errors.Join(r.queue.Close(), r.dead.Close()); err != nil {
				t.Error(err)
			}
		}()
		f(r)
	})
}

func newRig(t *testing.T, s *script, adjust func(*config.Config)) *rig {
	t.Helper()
	c := config.Defaults()
	c.DataDir = t.TempDir()
	c.Cloud.RoutingKey, c.Cloud.RoutingSecret = "key", "top-secret"
	if adjust != nil {
		adjust(&c)
	}
	r := &rig{T: t, config: &c, script: s, reg: &fakeRegistry{}, dir: c.DataDir, link: boxrig.NewLink()}
	var err error
	r.queue, err = wal.Open(wal.Options{Dir: filepath.Join(r.dir, "queue"), CorruptDir: filepath.Join(r.dir, "corrupt")})
	if err != nil {
		t.Fatal(err)
	}
	r.dead, err = wal.OpenDead(filepath.Join(r.dir, "dead"), 1<<20, r.queue.Committed().Offset, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.intake = NewIntake(r.queue)
	return r
}

// run starts server and agent. stop ends both and may be called once.
func (r *rig) run() {
	s := r.script
	s.start, s.streams = time.Now(), map[int]func(*proto.ResponseMsg) error{}
	pings := keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}
	g := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(pings), grpc.MaxRecvMsgSize(64<<20))
	proto.RegisterEdgeRpcServiceServer(g, s)
	go g.Serve(r.link)
	reg := Registry(r.reg)
	if r.real != nil {
		reg = r.real
	}
	r.agent = NewAgent(Deps{
		Config: r.config, Queue: r.queue, Dead: r.dead, Registry: reg, Log: slog.New(slog.DiscardHandler), Version: "test", Clock: r.clock,
		History: r.history, Syncing: func(running bool) { r.syncing = append(r.syncing, running) },
	})
	if s.takes {
		r.agent.SetDoors(s)
	}
	r.agent.jitter = func(d time.Duration) time.Duration { return d }
	r.agent.dialer.Dial = r.link.Dial
	halt := boxrig.Go(r.Context(), r.agent.Run)
	r.stop = gosync.OnceFunc(func() {
		halt()
		r.stopped = time.Now()
		g.Stop()
		r.link.Close()
	})
}

// post appends n telemetry events of one device with the timestamps 1, 2, 3, …
func (r *rig) post(n int) {
	r.Helper()
	events := make([]proto.Event, n)
	for i := range events {
		r.seq++
		events[i] = telemetryEvent(r.seq, 0)
	}
	if err := r.intake.Accept(r.Context(), events); err != nil {
		r.Fatal(err)
	}
}

// telemetryEvent returns an event with the value ts at the time ts, and a text of padding bytes.
func telemetryEvent(ts int64, padding int) proto.Event {
	id := proto.UUID{1}
	kv := []proto.KV{{Key: []byte("t"), Type: proto.KeyValueType_LONG_V, Long: ts}}
	if padding > 0 {
		kv = append(kv, proto.KV{Key: []byte("s"), Type: proto.KeyValueType_STRING_V, Str: bytes.Repeat([]byte("x"), padding)})
	}
	return proto.Event{
		Kind: proto.KindEntityData, Action: proto.ActionTimeseriesUpdated, Time: time.Now().UnixMilli(), Entity: id,
		Fragment: proto.AppendTelemetry(nil, id, "DEVICE", ts, kv),
	}
}

// elapse lets d pass on the fake clock, then waits until every goroutine is idle.
func (r *rig) elapse(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// identity asserts that no event vanished.
func (r *rig) identity() {
	r.Helper()
	s := r.agent.Snapshot()
	if s.Accepted != s.Deployed+s.Pending+s.Dropped+s.Dead+s.Damaged {
		r.Errorf("accepted %d != deployed %d + pending %d + dropped %d + dead %d + damaged %d",
			s.Accepted, s.Deployed, s.Pending, s.Dropped, s.Dead, s.Damaged)
	}
}

// counts asserts accepted, deployed, pending and dead.
func (r *rig) counts(accepted, deployed, pending, dead uint64) {
	r.Helper()
	s := r.agent.Snapshot()
	if s.Accepted != accepted || s.Deployed != deployed || s.Pending != pending || s.Dead != dead {
		r.Errorf("accepted %d, deployed %d, pending %d, dead %d; want %d, %d, %d, %d",
			s.Accepted, s.Deployed, s.Pending, s.Dead, accepted, deployed, pending, dead)
	}
}

func (r *rig) state(want State) {
	r.Helper()
	if s := r.agent.Snapshot(); s.State != want {
		r.Errorf("state %v, want %v (last error %q)", s.State, want, s.LastError)
	}
}

// fakeRegistry records the calls of its methods.
type fakeRegistry struct {
	slow    time.Duration // each Apply, by the bubble's clock
	mu      gosync.Mutex
	fail    error
	applied []*proto.DownlinkMsg
	flushes int
	synced  bool
	ended   int
	aborted int

	incomplete int
	edge       *proto.EdgeConfiguration
}

func (f *fakeRegistry) Apply(m *proto.DownlinkMsg) (bool, error) {
	pause(f.slow)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied = append(f.applied, m)
	return len(m.GetDeviceUpdateMsg()) > 0, f.fail
}

func (f *fakeRegistry) TakePackage(*proto.OtaPackageUpdateMsg, int, func() io.Reader) func() (bool, error) {
	return func() (bool, error) { return false, nil }
}

func (f *fakeRegistry) Flush() error                 { f.mu.Lock(); defer f.mu.Unlock(); f.flushes++; return f.fail }
func (f *fakeRegistry) Awaits(func(proto.UUID) bool) {}
func (f *fakeRegistry) BeginSync(bool, uint64)       {}
func (f *fakeRegistry) EndSync() (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended++
	f.synced = true
	return 0, nil
}
func (f *fakeRegistry) RemoveNothing() {}
func (f *fakeRegistry) Incomplete()    { f.mu.Lock(); defer f.mu.Unlock(); f.incomplete++ }
func (f *fakeRegistry) AbortSync()     { f.mu.Lock(); defer f.mu.Unlock(); f.aborted++ }
func (f *fakeRegistry) Synced() bool   { f.mu.Lock(); defer f.mu.Unlock(); return f.synced }
func (f *fakeRegistry) SetEdge(c *proto.EdgeConfiguration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.edge = c
	return nil
}

func (f *fakeRegistry) ChangeEdge(c *proto.EdgeConfiguration, _ func(proto.UUID, uint64) bool) error {
	return f.SetEdge(c)
}

func (f *fakeRegistry) Edge() *proto.EdgeConfiguration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.edge
}

func (f *fakeRegistry) Secret(configured string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.edge.GetSecret(); s != "" {
		return s
	}
	return configured
}
func (f *fakeRegistry) Devices() int                     { return 0 }
func (f *fakeRegistry) AlarmID(id proto.UUID) proto.UUID { return id }

func (f *fakeRegistry) FullySynced() bool                                        { return f.Synced() }
func (f *fakeRegistry) ToAsk(bool, func(proto.UUID, string, bool))               {}
func (f *fakeRegistry) KeepCall(*proto.DeviceRpcCallMsg) error                   { return nil }
func (f *fakeRegistry) DropCall(*proto.DeviceRpcCallMsg) error                   { return nil }
func (f *fakeRegistry) Calls() []*proto.DeviceRpcCallMsg                         { return nil }
func (f *fakeRegistry) HasDevice(proto.UUID) bool                                { return true }
func (f *fakeRegistry) SetHalfMade(proto.UUID, bool) error                       { return nil }
func (f *fakeRegistry) TakenAway(proto.UUID) bool                                { return false }
func (f *fakeRegistry) HalfMade(proto.UUID) bool                                 { return false }
func (f *fakeRegistry) Knows(proto.UUID) bool                                    { return true }
func (f *fakeRegistry) DeviceNamed(string) (proto.UUID, bool)                    { return proto.UUID{}, false }
func (f *fakeRegistry) Named(func(proto.UUID, string, string) bool)              {}
func (f *fakeRegistry) Adopt(proto.UUID, uint64) error                           { return nil }
func (f *fakeRegistry) Discard(proto.UUID) error                                 { return nil }
func (f *fakeRegistry) WithGateway(_, _ proto.UUID) (string, bool)               { return "", false }
func (f *fakeRegistry) SetGateway(proto.UUID, string, uint64) error              { return nil }
func (f *fakeRegistry) PendingCreations() []proto.Creation                       { return nil }
func (f *fakeRegistry) Posted(proto.UUID, string, *proto.PostAttributeMsg) error { return nil }
func (f *fakeRegistry) Prepare(*proto.NewDevice, time.Time) (proto.Creation, bool, error) {
	return proto.Creation{}, false, errors.New("not here")
}

// pause lets d pass for one goroutine inside the bubble.
//
//sleeps:bubble the cloud's handlers call it; tests define them before the bubble begins
func pause(d time.Duration) { time.Sleep(d) }
