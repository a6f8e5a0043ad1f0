package cloudtest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// fakeTenant is the smallest database that the cloud can work with.
type fakeTenant struct {
	mu      sync.Mutex
	edges   map[proto.UUID]Edge
	devices map[proto.UUID]Device
	owner   map[proto.UUID]proto.UUID
	steps   [][]*proto.DownlinkMsg
	outcome func(*proto.UplinkMsg) Outcome
	got     []int32
	state   map[string]*proto.KeyValueProto
}

func newFake() *fakeTenant {
	return &fakeTenant{
		edges: map[proto.UUID]Edge{}, devices: map[proto.UUID]Device{},
		owner: map[proto.UUID]proto.UUID{}, state: map[string]*proto.KeyValueProto{},
	}
}

func (t *fakeTenant) Process(_ proto.UUID, u *proto.UplinkMsg, _ time.Time) Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.got = append(t.got, u.UplinkMsgId)
	if t.outcome != nil {
		return t.outcome(u)
	}
	return Outcome{Success: true, RPCReplies: u.DeviceRpcCallMsg}
}

func (t *fakeTenant) Steps(proto.UUID, bool) [][]*proto.DownlinkMsg { return t.steps }

func (t *fakeTenant) EdgeByKey(key string) (Edge, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.edges {
		if e.RoutingKey == key {
			return e, true
		}
	}
	return Edge{}, false
}

func (t *fakeTenant) SaveEdge(e Edge) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.edges[e.ID] = e
}

func (t *fakeTenant) AssignCustomer(id, customer proto.UUID) []*proto.DownlinkMsg {
	t.mu.Lock()
	e := t.edges[id]
	e.Customer = customer
	t.edges[id] = e
	t.mu.Unlock()
	conf := &proto.DownlinkMsg{EdgeConfiguration: t.Configuration(id)}
	if customer == proto.NullUUID {
		deleted := &proto.CustomerUpdateMsg{MsgType: proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE}
		return []*proto.DownlinkMsg{conf, {CustomerUpdateMsg: []*proto.CustomerUpdateMsg{deleted}}}
	}
	return []*proto.DownlinkMsg{
		{CustomerUpdateMsg: []*proto.CustomerUpdateMsg{{IdMSB: 1, Entity: "{}"}}},
		conf,
		{UserUpdateMsg: []*proto.UserUpdateMsg{{IdMSB: 2, Entity: "{}"}}},
	}
}

func (t *fakeTenant) RemakeEdge(proto.UUID) Edge { return Edge{} }

func (t *fakeTenant) DeleteEdge(id proto.UUID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.edges, id)
}

func (t *fakeTenant) Configuration(id proto.UUID) *proto.EdgeConfiguration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &proto.EdgeConfiguration{Name: t.edges[id].Name, Secret: t.edges[id].Secret, CloudType: "CE"}
}

func (t *fakeTenant) event(d Device, typ proto.UpdateMsgType) *proto.DownlinkMsg {
	m := &proto.DeviceUpdateMsg{MsgType: typ}
	m.IdMSB, m.IdLSB = proto.Halves(d.ID)
	if typ != proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE {
		m.Entity = fmt.Sprintf(`{"name":%q}`, d.Name)
	}
	return &proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{m}}
}

func (t *fakeTenant) AddDevice(edge proto.UUID, d Device) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.devices[d.ID], t.owner[d.ID] = d, edge
	return t.event(d, proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE)
}

func (t *fakeTenant) SaveDevice(d Device) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.devices[d.ID] = d
	return t.event(d, proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE)
}

func (t *fakeTenant) SetCredentials(id proto.UUID, _, credID, _ string) *proto.DownlinkMsg {
	return &proto.DownlinkMsg{DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{{
		Entity: fmt.Sprintf(`{"deviceId":{"id":%q},"credentialsId":%q}`, proto.FormatUUID(id), credID),
	}}}
}

func (t *fakeTenant) Unassign(id proto.UUID) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.owner, id)
	return t.event(Device{ID: id}, proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE)
}

func (t *fakeTenant) Delete(id proto.UUID) *proto.DownlinkMsg {
	m := t.Unassign(id)
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.devices, id)
	return m
}

func (t *fakeTenant) SetAttributes(id proto.UUID, typ, scope string, kv []*proto.KeyValueProto, now time.Time) *proto.DownlinkMsg {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, v := range kv {
		t.state[typ+" "+v.Key] = v
	}
	d := &proto.EntityDataProto{
		EntityType: typ, PostAttributeScope: scope, AttributeTs: ptr(now.UnixMilli()),
		AttributesUpdatedMsg: &proto.PostAttributeMsg{Kv: kv},
	}
	d.EntityIdMSB, d.EntityIdLSB = proto.Halves(id)
	return &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{d}}
}

func (t *fakeTenant) DeviceOf(id proto.UUID) (Device, proto.UUID, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d, ok := t.devices[id]
	return d, t.owner[id], ok
}

func (t *fakeTenant) UploadPackage(p Package) (proto.UUID, *proto.DownlinkMsg) {
	return p.ID, &proto.DownlinkMsg{OtaPackageUpdateMsg: []*proto.OtaPackageUpdateMsg{packageMsg(p, proto.UUID{}, time.Now())}}
}

func (t *fakeTenant) DeletePackage(proto.UUID) *proto.DownlinkMsg { return nil }

func (t *fakeTenant) ids() []int32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]int32(nil), t.got...)
}

func (t *fakeTenant) active() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state["EDGE active"].GetBoolV()
}

var (
	edgeA = Edge{ID: proto.UUID{0xa}, Name: "A", RoutingKey: "key-a", Secret: "secret-a", Customer: proto.NullUUID}
	edgeB = Edge{ID: proto.UUID{0xb}, Name: "B", RoutingKey: "key-b", Secret: "secret-b", Customer: proto.NullUUID}
)

// rig is a cloud with two edges on an in-memory connection.
type rig struct {
	*testing.T
	cloud  *Cloud
	tenant *fakeTenant
	lis    *bufconn.Listener
	start  time.Time
}

// inBubble runs f with a new rig under a fake clock.
func inBubble(t *testing.T, f func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Options{Seed: 1})
		defer r.cloud.Stop()
		f(r)
	})
}

func newRig(t *testing.T, o Options) *rig {
	r := &rig{T: t, tenant: newFake(), lis: bufconn.Listen(1 << 20), start: time.Now()}
	r.tenant.SaveEdge(edgeA)
	r.tenant.SaveEdge(edgeB)
	r.cloud = newCloud(o, r.tenant)
	go func() { _ = r.cloud.Serve(r.lis) }()
	return r
}

// client is one stream. down holds what it received; err is how it ended, valid once ended is
// closed.
type client struct {
	r     *rig
	conn  *grpc.ClientConn
	st    grpc.BidiStreamingClient[proto.RequestMsg, proto.ResponseMsg]
	ack   func(*proto.DownlinkMsg) *proto.DownlinkResponseMsg // a nil answer is not sent
	ended chan struct{}

	mu   sync.Mutex
	got  []*proto.ResponseMsg
	when []time.Duration
	err  error
}

func ackAll(m *proto.DownlinkMsg) *proto.DownlinkResponseMsg {
	return &proto.DownlinkResponseMsg{Success: true, DownlinkMsgId: m.DownlinkMsgId}
}

func ackNone(*proto.DownlinkMsg) *proto.DownlinkResponseMsg { return nil }

// open opens a stream and sends nothing.
func (r *rig) open(ack func(*proto.DownlinkMsg) *proto.DownlinkResponseMsg, opts ...grpc.CallOption) *client {
	r.Helper()
	conn, err := grpc.NewClient("passthrough:///cloud", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return r.lis.DialContext(ctx) }))
	if err != nil {
		r.Fatal(err)
	}
	st, err := proto.NewEdgeRpcServiceClient(conn).HandleMsgs(context.Background(), opts...)
	if err != nil {
		r.Fatal(err)
	}
	c := &client{r: r, conn: conn, st: st, ack: ack, ended: make(chan struct{})}
	r.Cleanup(func() { _ = conn.Close(); <-c.ended })
	go c.receive()
	return c
}

func (c *client) receive() {
	defer close(c.ended)
	for {
		m, err := c.st.Recv()
		c.mu.Lock()
		if err != nil {
			c.err = err
			c.mu.Unlock()
			return
		}
		c.got = append(c.got, m)
		c.when = append(c.when, time.Since(c.r.start))
		c.mu.Unlock()
		if d := m.DownlinkMsg; d != nil {
			if a := c.ack(d); a != nil {
				c.send(&proto.RequestMsg{MsgType: proto.RequestMsgType_UPLINK_RPC_MESSAGE, DownlinkResponseMsg: a})
			}
		}
	}
}

func (c *client) send(m *proto.RequestMsg) { _ = c.st.Send(m) }

func (c *client) connect(e Edge) {
	c.send(&proto.RequestMsg{ConnectRequestMsg: &proto.ConnectRequestMsg{
		EdgeRoutingKey: e.RoutingKey, EdgeSecret: e.Secret, EdgeVersion: proto.EdgeVersion_V_4_2_0,
	}})
}

func (c *client) uplink(id int32) {
	c.send(&proto.RequestMsg{MsgType: proto.RequestMsgType_UPLINK_RPC_MESSAGE, UplinkMsg: &proto.UplinkMsg{UplinkMsgId: id}})
}

func (c *client) sync() {
	c.send(&proto.RequestMsg{
		MsgType:        proto.RequestMsgType_SYNC_REQUEST_RPC_MESSAGE,
		SyncRequestMsg: &proto.SyncRequestMsg{FullSync: ptr(false)},
	})
}

// session opens a stream and connects.
func (r *rig) session(e Edge, ack func(*proto.DownlinkMsg) *proto.DownlinkResponseMsg) *client {
	r.Helper()
	c := r.open(ack)
	c.connect(e)
	synctest.Wait()
	if f := c.frames(); len(f) == 0 || f[0] != "ACCEPTED" {
		r.Fatalf("connect: got %q", f)
	}
	return c
}

// messages returns the messages that came down so far.
func (c *client) messages() []*proto.ResponseMsg {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*proto.ResponseMsg(nil), c.got...)
}

// frames names the messages that came down, without ids.
func (c *client) frames() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, m := range c.got {
		out = append(out, name(m))
	}
	return out
}

func name(m *proto.ResponseMsg) string {
	switch {
	case m.ConnectResponseMsg != nil:
		return m.ConnectResponseMsg.ResponseCode.String()
	case m.EdgeUpdateMsg != nil:
		return "edgeUpdate " + m.EdgeUpdateMsg.Configuration.Secret
	case m.UplinkResponseMsg != nil:
		return fmt.Sprintf("ack %d %v", m.UplinkResponseMsg.UplinkMsgId, m.UplinkResponseMsg.Success)
	}
	d := m.DownlinkMsg
	switch {
	case d.SyncCompletedMsg != nil:
		return "synced"
	case len(d.DeviceRpcCallMsg) > 0:
		return fmt.Sprintf("rpc %d", d.DeviceRpcCallMsg[0].RequestId)
	case len(d.DeviceUpdateMsg) > 0:
		return fmt.Sprintf("device %d %s", d.DeviceUpdateMsg[0].MsgType, d.DeviceUpdateMsg[0].Entity)
	case len(d.EntityData) > 0:
		return "data"
	case d.EdgeConfiguration != nil:
		return "configuration"
	}
	return "other"
}

// downlink is a downlink that came down: second, id and name.
type downlink struct {
	at   time.Duration
	id   int32
	name string
}

func (c *client) downlinks() (out []downlink) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, m := range c.got {
		if m.DownlinkMsg != nil {
			out = append(out, downlink{c.when[i].Truncate(time.Second), m.DownlinkMsg.DownlinkMsgId, name(m)})
		}
	}
	return out
}

func (c *client) end() string {
	select {
	case <-c.ended:
	default:
		return "open"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := status.FromError(c.err); ok {
		return fmt.Sprintf("%v: %s", s.Code(), s.Message())
	}
	return c.err.Error()
}

// close cuts the client's end of the link without a goodbye.
func (c *client) close() {
	_ = c.conn.Close()
	<-c.ended
	synctest.Wait()
}

func (r *rig) want(what string, got, want any) {
	r.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		r.Errorf("%s:\n got %s\nwant %s", what, g, w)
	}
}

func device(n byte, name string) Device { return Device{ID: proto.UUID{0xd, n}, Name: name} }

// sized returns a RequestMsg of exactly n bytes: an uplink with a field that the server does not
// know.
func sized(t *testing.T, n int) *proto.RequestMsg {
	t.Helper()
	u := &proto.UplinkMsg{UplinkMsgId: 7}
	m := &proto.RequestMsg{MsgType: proto.RequestMsgType_UPLINK_RPC_MESSAGE, UplinkMsg: u}
	pad := n - 64
	for {
		u.DeviceUpdateMsg = []*proto.DeviceUpdateMsg{{Entity: string(make([]byte, pad))}}
		switch d := n - pb.Size(m); {
		case d == 0:
			return m
		default:
			pad += d
		}
	}
}

func newListener() *bufconn.Listener { return bufconn.Listen(1 << 20) }

// rawClient is a codec that sends bytes unchanged.
type rawClient struct{}

func (rawClient) Name() string { return "proto" }

func (rawClient) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (rawClient) Unmarshal(b mem.BufferSlice, v any) error {
	return pb.Unmarshal(b.Materialize(), v.(pb.Message))
}
