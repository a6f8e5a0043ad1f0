package cloudtest

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // the server inflates what the edge compresses (CONTRACT.md 2.1)
	"google.golang.org/grpc/keepalive"

	"edgesync/proto"
)

// Numbers of the server, with their section of CONTRACT.md.
const (
	MaxRequest   = 4194304          // bytes of a RequestMsg, as received and inflated (2.5)
	pageSize     = 50               // events of a page, messages of a pack (2.1, 6.1)
	pollInterval = time.Second      // between two looks for new events (2.1)
	resendAfter  = 60 * time.Second // until an unacknowledged pack is sent again (2.1, 6.1)
	sendAttempts = 3                // a pack is given up right after the third (6.1)
	maxRPCQueue  = 10000            // high-priority events of a session (2.1)
	pingAfter    = 10 * time.Second // of silence (2.1)
	pingTimeout  = 5 * time.Second  // for the answer (2.1)
	minPing      = time.Second      // the edge may not ping faster (2.1)
	youngEdge    = 2 * time.Second  // an edge younger than this gets an EdgeUpdateMsg behind ACCEPTED (2.8)
	flowWindow   = 1 << 20          // of stream and connection, as grpc-java has it
	maxOut       = 4096             // frames waiting for the writer; with more the reader waits
	maxHeld      = 4096             // acknowledgements held back at a time
	maxEvents    = 100000           // events kept for one edge; the oldest go first
	seenIDs      = 4096             // uplink ids remembered for counting duplicates
)

// tenant is what the cloud needs of [Tenant]. It is an interface so that tests of the cloud can use
// a fake database.
type tenant interface {
	Process(edge proto.UUID, u *proto.UplinkMsg, now time.Time) Outcome
	Steps(edge proto.UUID, full bool) [][]*proto.DownlinkMsg
	EdgeByKey(key string) (Edge, bool)
	SaveEdge(e Edge)
	DeleteEdge(id proto.UUID)
	RemakeEdge(id proto.UUID) Edge
	AssignCustomer(edge, customer proto.UUID) []*proto.DownlinkMsg
	Configuration(id proto.UUID) *proto.EdgeConfiguration
	AddDevice(edge proto.UUID, d Device) *proto.DownlinkMsg
	SaveDevice(d Device) *proto.DownlinkMsg
	SetCredentials(id proto.UUID, typ, credID, credValue string) *proto.DownlinkMsg
	Unassign(device proto.UUID) *proto.DownlinkMsg
	Delete(device proto.UUID) *proto.DownlinkMsg
	SetAttributes(entity proto.UUID, entityType, scope string, kv []*proto.KeyValueProto, now time.Time) *proto.DownlinkMsg
	DeviceOf(id proto.UUID) (d Device, edge proto.UUID, ok bool)
	UploadPackage(p Package) (proto.UUID, *proto.DownlinkMsg)
	DeletePackage(id proto.UUID) *proto.DownlinkMsg
}

// Options of a cloud.
type Options struct {
	// Tenant is the database; nil = a new one.
	Tenant *Tenant
	// TLS makes the listener speak TLS with ALPN h2; nil = plaintext (CONTRACT.md 2.1).
	TLS *tls.Config
	// Log gets a line, without secrets, for each session that begins or ends; nil = none.
	Log *slog.Logger
	// Seed of the ids and of the order of acknowledgements, so that a run can be repeated; 0 is a
	// seed like any other.
	Seed uint64
	// Discard makes the cloud count the events of uplinks and acknowledge them without decoding:
	// nothing is stored, OnUplink is not called, and the faults that look into an uplink see one
	// that holds only its id.
	Discard bool
	// Patience is how much longer than ThingsBoard the cloud waits for the answer to a ping: for an
	// edge in an emulator.
	Patience time.Duration
}

// Cloud is the server's end of the edge link. All its methods are safe for concurrent use.
type Cloud struct {
	opt    Options
	tenant tenant
	log    *slog.Logger
	faults faults
	rpc    rpcCalls
	seen   counters
	memory memory
	hooks  hooks

	work sync.WaitGroup // goroutines of the sessions

	rngMu sync.Mutex
	rng   *rand.Rand

	mu        sync.Mutex
	servers   map[*grpc.Server]struct{}
	conns     map[*conn]struct{}
	sessions  map[*session]struct{} // streams, connected or not
	links     map[proto.UUID]*link
	stalledBy *session // whose unacknowledged RPC holds up the events of all edges (CONTRACT.md 6.1)
}

// link is what the server keeps of one edge between its sessions. Guarded by Cloud.mu.
type link struct {
	id      proto.UUID
	session *session // the accepted one; nil = inactive
	queue   []event
	nextSeq uint64
	last    []event // the pack acknowledged last, for DuplicateDownlinks
	seen    idRing
}

// event is one entry of an edge's event table. msg is never written to.
type event struct {
	seq uint64
	msg *proto.DownlinkMsg
}

// New returns a cloud that does not listen yet.
func New(o Options) *Cloud {
	if o.Tenant == nil {
		o.Tenant = NewTenant()
	}
	return newCloud(o, o.Tenant)
}

func newCloud(o Options, t tenant) *Cloud {
	c := &Cloud{
		opt: o, tenant: t, log: o.Log,
		rng:      rand.New(rand.NewPCG(o.Seed, 0x5eed)),
		servers:  map[*grpc.Server]struct{}{},
		conns:    map[*conn]struct{}{},
		sessions: map[*session]struct{}{},
		links:    map[proto.UUID]*link{},
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.faults.reorder = reorderTelemetry
	c.rpc.init()
	c.memory.tenant = t
	return c
}

// Tenant returns the database behind the cloud.
func (c *Cloud) Tenant() *Tenant { return c.opt.Tenant }

// Serve accepts edges on lis until Stop, and then returns nil. Serve may be called on several
// listeners at once, and again after Stop: the edges' queues and the counters outlive it.
func (c *Cloud) Serve(lis net.Listener) error {
	s := grpc.NewServer(
		grpc.ForceServerCodecV2(codec{}),
		grpc.Creds(newConnCreds(c.opt.TLS)),
		// Bounds memory only: the server never gives gRPC's own answer, RESOURCE_EXHAUSTED.
		grpc.MaxRecvMsgSize(16*MaxRequest),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout + c.opt.Patience}),
		grpc.InitialWindowSize(flowWindow), grpc.InitialConnWindowSize(flowWindow),
		grpc.StatsHandler(meter{c}),
		grpc.WaitForHandlers(true),
	)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: proto.EdgeRpcService_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName: "handleMsgs", ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, st grpc.ServerStream) error { return c.handle(st) },
		}},
	}, c)
	c.mu.Lock()
	c.servers[s] = struct{}{}
	c.mu.Unlock()
	err := s.Serve(&listener{Listener: lis, cloud: c})
	c.mu.Lock()
	delete(c.servers, s)
	c.mu.Unlock()
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// Stop closes all listeners and connections and waits for the sessions to end. Callers of CallRPC
// run into their timeout.
func (c *Cloud) Stop() {
	c.mu.Lock()
	all := make([]*grpc.Server, 0, len(c.servers))
	for s := range c.servers {
		all = append(all, s)
	}
	c.mu.Unlock()
	for _, s := range all {
		s.Stop()
	}
	c.work.Wait()
	c.memory.lose()
}

// randomID returns a random positive int32, which is the form of the server's downlink ids
// (CONTRACT.md 6.1).
func (c *Cloud) randomID() int32 {
	c.rngMu.Lock()
	defer c.rngMu.Unlock()
	return c.rng.Int32N(1<<31-1) + 1
}

// randomUUID returns a random id (version 4) that depends on the seed.
func (c *Cloud) randomUUID() (u proto.UUID) {
	c.rngMu.Lock()
	defer c.rngMu.Unlock()
	for i := range u {
		u[i] = byte(c.rng.Uint32())
	}
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

func (c *Cloud) randomFloat() float64 {
	c.rngMu.Lock()
	defer c.rngMu.Unlock()
	return c.rng.Float64()
}

// linkOf returns the link of an edge and creates it if there is none: an edge is known from its
// first connect on (CONTRACT.md 3.5). The caller holds c.mu.
func (c *Cloud) linkOf(id proto.UUID) *link {
	l := c.links[id]
	if l == nil {
		l = &link{id: id}
		c.links[id] = l
	}
	return l
}
