package cloudtest

import (
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// The endings of a stream that a client can see (CONTRACT.md 1.1, 2.3, 2.5).
var (
	errApplication = status.Error(codes.Unknown, "Application error processing RPC")
	errRefused     = status.Error(codes.Unknown, "")
	errCancelled   = status.Error(codes.Canceled, "RST_STREAM closed stream. HTTP/2 error code: CANCEL")
)

// verdict is how a stream ends.
type verdict struct {
	err   error
	flush bool // send the waiting frames first, and the acknowledgements held back
}

// session is one stream. Its reader goroutine owns connected, edge and the dispatch; the delivery
// goroutine owns packs and syncs; the writer goroutine alone writes to the stream. What they share
// is guarded by mu, or by Cloud.mu where it says so.
type session struct {
	cloud  *Cloud
	stream grpc.ServerStream
	conn   *conn

	out     chan []byte   // frames for the writer
	floods  chan []byte   // the same, from flooded
	end     chan verdict  // only the first one is read
	flush   chan struct{} // closed: the writer sends the waiting frames and stops
	flushed chan struct{} // closed by the writer then
	done    chan struct{} // closed when the stream has ended
	stopped chan struct{} // closed when the call has returned its status

	connected bool // reader's
	edge      Edge // reader's; as it was at CONNECT
	maxIn     int  // reader's; bytes of a RequestMsg
	maxSize   int  // announced by the edge; 0 = no limit (CONTRACT.md 2.5); set before delivery starts

	syncs chan bool     // requested syncs for the delivery goroutine; true = full
	wake  chan struct{} // the stall is over: look for events now

	mu      sync.Mutex
	syncing bool
	pack    *pack
	held    map[*heldAck]struct{}

	rpcQueue   []*proto.DownlinkMsg // Cloud.mu; lost with the session (CONTRACT.md 8.1)
	flooding   bool                 // Cloud.mu; flooded runs
	rpcPending bool                 // Cloud.mu; an RPC pack waits for its acknowledgements
}

// handle runs one stream from its beginning to its end.
func (c *Cloud) handle(st grpc.ServerStream) error {
	// Downlinks are never compressed (CONTRACT.md 2.1).
	if err := grpc.SetSendCompressor(st.Context(), "identity"); err != nil {
		return err
	}
	s := &session{
		cloud: c, stream: st, conn: connOf(st.Context()),
		floods: make(chan []byte), maxIn: MaxRequest,
		out: make(chan []byte, maxOut), end: make(chan verdict, 1), flush: make(chan struct{}), flushed: make(chan struct{}),
		done: make(chan struct{}), stopped: make(chan struct{}), syncs: make(chan bool, 1), wake: make(chan struct{}, 1),
		held: map[*heldAck]struct{}{},
	}
	defer close(s.stopped)
	c.mu.Lock()
	c.sessions[s] = struct{}{}
	c.mu.Unlock()
	c.work.Add(2)
	go s.read()
	go s.write()

	var v verdict
	select {
	case v = <-s.end:
	case <-st.Context().Done():
		v.err = status.FromContextError(st.Context().Err()).Err()
	}
	if v.flush {
		s.releaseHeld()
		close(s.flush)
		select {
		case <-s.flushed:
		case <-st.Context().Done():
		}
	}
	c.detach(s)
	close(s.done)
	s.dropHeld()
	c.notify()
	return v.err
}

// finish ends the stream with v unless it is ending already.
func (s *session) finish(v verdict) {
	select {
	case s.end <- v:
	default:
	}
}

// detach removes the session from all lists. The late end of a session that was replaced does not
// make its edge inactive (CONTRACT.md 2.7).
func (c *Cloud) detach(s *session) {
	c.mu.Lock()
	delete(c.sessions, s)
	if c.stalledBy == s {
		c.unstall()
	}
	s.rpcQueue, s.rpcPending = nil, false
	var inactive *link
	for _, l := range c.links {
		if l.session == s {
			l.session, inactive = nil, l
		}
	}
	c.mu.Unlock()
	if inactive != nil {
		c.log.Info("edge disconnected", "edge", proto.FormatUUID(inactive.id))
		c.saveState(inactive.id, boolKV("active", false), longKV("lastDisconnectTime", time.Now().UnixMilli()))
	}
}

// post hands a frame to the writer. It blocks while maxOut frames wait, which holds up the reader
// as a busy server does.
func (s *session) post(b []byte) {
	select {
	case s.out <- b:
	case <-s.done:
	}
}

func (s *session) write() {
	defer s.cloud.work.Done()
	send := func(b []byte) bool {
		if err := s.stream.SendMsg(b); err != nil {
			s.finish(verdict{err: err})
			return false
		}
		return true
	}
	for {
		select {
		case b := <-s.out:
			if !send(b) {
				return
			}
		case b := <-s.floods:
			if !send(b) {
				return
			}
		case <-s.flush:
			defer close(s.flushed)
			for {
				select {
				case b := <-s.out:
					if !send(b) {
						return
					}
				default:
					return
				}
			}
		case <-s.done:
			return
		}
	}
}

// read processes the messages of the stream one after the other (CONTRACT.md 4.3).
func (s *session) read() {
	defer s.cloud.work.Done()
	var f frame
	for {
		if !s.cloud.faults.stalled.wait(s.done) {
			return
		}
		if err := s.stream.RecvMsg(&f); err != nil {
			if errors.Is(err, io.EOF) { // half-close: messages on their way are still answered (CONTRACT.md 2.3)
				s.finish(verdict{flush: true})
			} else {
				s.finish(verdict{err: err})
			}
			return
		}
		// A stall also holds a message that arrived before it began.
		ok := s.cloud.faults.stalled.wait(s.done) && s.receive(f.bytes())
		f.free()
		if !ok {
			return
		}
	}
}

// oversized ends the stream as the server does; the edge cannot know in advance which of the three
// endings it gets (CONTRACT.md 2.5).
func (s *session) oversized() {
	s.cloud.seen.oversized.Add(1)
	how := s.cloud.faults.oversize()
	if how == OversizeAuto {
		how = OversizeCancelled
		if compressed(s.stream) {
			how = OversizeUnknown
		}
	}
	switch how {
	case OversizeOK:
		s.finish(verdict{})
	case OversizeUnknown:
		s.finish(verdict{err: errApplication})
	default:
		s.finish(verdict{err: errCancelled})
	}
}

// receive dispatches one message (CONTRACT.md 2.3). It returns false when the stream is over.
func (s *session) receive(b []byte) bool {
	c := s.cloud
	if len(b) > s.maxIn {
		s.oversized()
		return false
	}
	c.seen.bytes.Add(uint64(len(b)))
	if c.opt.Discard && s.connected {
		n, err := count(b)
		if err != nil {
			s.finish(verdict{err: errApplication})
			return false
		}
		if n.uplink && !n.other {
			if n.msgType == uint64(proto.RequestMsgType_UPLINK_RPC_MESSAGE) {
				s.discard(n)
			}
			return true
		}
	}
	m := new(proto.RequestMsg)
	if err := pb.Unmarshal(b, m); err != nil {
		s.finish(verdict{err: errApplication})
		return false
	}
	switch m.MsgType {
	case proto.RequestMsgType_CONNECT_RPC_MESSAGE:
		if m.ConnectRequestMsg != nil && !s.connected {
			return s.connect(m.ConnectRequestMsg)
		}
	case proto.RequestMsgType_UPLINK_RPC_MESSAGE:
		if !s.connected {
			break
		}
		if m.UplinkMsg != nil {
			if how, ends := c.faults.endsStream(m.UplinkMsg); ends {
				s.endAs(how)
				return false
			}
			s.uplink(m.UplinkMsg)
		}
		if m.DownlinkResponseMsg != nil {
			s.answered(m.DownlinkResponseMsg)
		}
	case proto.RequestMsgType_SYNC_REQUEST_RPC_MESSAGE:
		if s.connected {
			s.syncRequest(m.SyncRequestMsg)
		}
	}
	return true
}

// connect answers CONNECT (CONTRACT.md 2.3).
func (s *session) connect(r *proto.ConnectRequestMsg) bool {
	c := s.cloud
	c.hooks.connected(r)
	c.seen.connects.Add(1)
	e, ok := c.tenant.EdgeByKey(r.EdgeRoutingKey)
	code, text := c.faults.refuse(), ""
	switch {
	case code == proto.ConnectResponseCode_SERVER_UNAVAILABLE:
		text = "Failed to process edge connection!"
	case !ok:
		code, text = proto.ConnectResponseCode_BAD_CREDENTIALS, "Failed to find the edge! Routing key: "+r.EdgeRoutingKey
	case code == proto.ConnectResponseCode_BAD_CREDENTIALS || e.Secret != r.EdgeSecret:
		code, text = proto.ConnectResponseCode_BAD_CREDENTIALS, "Failed to validate the edge! Provided request secret: "+r.EdgeSecret
	}
	if code != proto.ConnectResponseCode_ACCEPTED {
		c.seen.refusedConnects.Add(1)
		c.log.Info("connect refused", "code", code.String())
		s.postMsg(&proto.ResponseMsg{ConnectResponseMsg: &proto.ConnectResponseMsg{
			ResponseCode: code, ErrorMsg: text, Configuration: &proto.EdgeConfiguration{},
		}})
		s.finish(verdict{err: errRefused, flush: true})
		return false
	}

	s.edge, s.connected = e, true
	s.maxSize, s.maxIn = int(r.GetMaxInboundMessageSize()), c.faults.maxRequest()
	c.mu.Lock()
	l := c.linkOf(e.ID)
	old := l.session
	l.session = s
	if c.faults.duplicate() && len(l.last) > 0 {
		// The server sent these, and they were acknowledged, but it had not stored its position
		// yet.
		l.queue = append(slices.Clone(l.last), l.queue...)
		l.last = nil
	}
	c.mu.Unlock()
	if old != nil && !c.faults.isHalfOpen() {
		old.finish(verdict{}) // completed with OK before the new ACCEPTED (CONTRACT.md 2.6)
		select {
		case <-old.stopped:
		case <-s.done:
			return false
		}
	}
	c.log.Info("edge connected", "edge", e.Name, "replaces", old != nil)
	s.postMsg(&proto.ResponseMsg{ConnectResponseMsg: &proto.ConnectResponseMsg{
		Configuration: c.tenant.Configuration(e.ID), MaxInboundMessageSize: ptr(int32(s.maxIn)),
	}})
	if !e.Created.IsZero() && time.Since(e.Created) < youngEdge {
		s.edgeUpdate()
	}
	c.seen.accepted.Add(1)
	kv := []*proto.KeyValueProto{
		boolKV("active", true), longKV("lastConnectTime", time.Now().UnixMilli()),
		textKV("edgeVersion", versionName(r.EdgeVersion)),
	}
	if old != nil {
		kv = kv[1:] // active stays as it was (CONTRACT.md 2.7)
	}
	c.saveState(e.ID, kv...)
	c.mu.Lock()
	c.flood(s)
	c.mu.Unlock()
	c.work.Add(1)
	go s.deliver(l, !c.faults.isPollingOff())
	c.notify()
	return true
}

// edgeUpdate sends EdgeUpdateMsg with the configuration of now (CONTRACT.md 2.8).
func (s *session) edgeUpdate() {
	s.postMsg(&proto.ResponseMsg{EdgeUpdateMsg: &proto.EdgeUpdateMsg{Configuration: s.cloud.tenant.Configuration(s.edge.ID)}})
}

func (s *session) postMsg(m *proto.ResponseMsg) {
	b, err := pb.Marshal(m)
	if err != nil {
		s.cloud.log.Error("answer cannot be encoded", "error", err)
		return
	}
	s.post(b)
}

// syncRequest starts a sync, ignores a request while one runs, and clears the mark of a running
// sync if the request has no body (CONTRACT.md 2.3, 3.1).
func (s *session) syncRequest(r *proto.SyncRequestMsg) {
	s.mu.Lock()
	running := s.syncing
	s.syncing = r != nil
	s.mu.Unlock()
	if r == nil || running {
		return
	}
	select {
	case s.syncs <- r.GetFullSync():
	default: // one waits already
	}
}

// saveState writes the attributes that the server keeps of an edge (CONTRACT.md 2.7).
func (c *Cloud) saveState(edge proto.UUID, kv ...*proto.KeyValueProto) {
	c.tenant.SetAttributes(edge, "EDGE", "SERVER_SCOPE", kv, time.Now())
}

func versionName(v proto.EdgeVersion) string {
	if n, ok := proto.EdgeVersion_name[int32(v)]; ok {
		return n
	}
	return "UNRECOGNIZED" // CONTRACT.md 2.4
}

func boolKV(key string, v bool) *proto.KeyValueProto {
	return &proto.KeyValueProto{Key: key, Type: proto.KeyValueType_BOOLEAN_V, BoolV: v}
}

func longKV(key string, v int64) *proto.KeyValueProto {
	return &proto.KeyValueProto{Key: key, Type: proto.KeyValueType_LONG_V, LongV: v}
}

func textKV(key, v string) *proto.KeyValueProto {
	return &proto.KeyValueProto{Key: key, Type: proto.KeyValueType_STRING_V, StringV: v}
}
