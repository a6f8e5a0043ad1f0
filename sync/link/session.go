package link

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"edgesync/proto"
	"edgesync/sync/share"
)

const (
	// Slots is the number of messages that a session holds until its stream takes them.
	Slots = 256
	// inboxSlots and InboxBytes bound the responses received and not yet handled, by their number
	// and by what they take decoded. One that is larger comes alone. Beyond that nothing is read
	// from the stream, and the flow control of HTTP/2 slows the server down.
	inboxSlots = 64
	InboxBytes = 1 << 20
)

// Session is one stream that the server accepted. One goroutine, the loop's, calls its methods;
// none of them waits for the network.
type Session interface {
	// Config is the edge as the server described it with ACCEPTED. Read only.
	Config() *proto.EdgeConfiguration
	// ServerMax is the largest RequestMsg in bytes that the server takes.
	ServerMax() int
	// Send hands over a complete RequestMsg. The bytes stay untouched until the server has
	// acknowledged the message: the transport may still hold them. False: all Slots are taken, and
	// the message is not sent.
	Send(b []byte) bool
	// Queued is the number of messages, of Slots, that the stream has not taken yet.
	Queued() int
	// Inbox brings what the server sends. An Inbound with Err set is the last.
	Inbox() <-chan Inbound
	// Heard is when the last bytes of a large message came, which need not be whole yet, and now
	// while a package is being stored, during which nothing is read; zero: never. Whatever else the
	// server has sent comes behind it.
	Heard() time.Time
	// Finish closes the sending side. The server answers with the acknowledgements still due and a
	// clean end (CONTRACT.md 2.3). Nothing may be sent afterwards; Close is still due.
	Finish()
	// Close ends the session and returns at once. The session is gone when Done is closed, some
	// seconds later at most: no two sessions of an edge may live side by side (CONTRACT.md 2.6).
	Close()
	Done() <-chan struct{}
}

// Inbound is a message of the server, or the end of the stream.
type Inbound struct {
	Msg  *proto.ResponseMsg
	Size int // of Msg in bytes, uncompressed
	// TooLarge: the message would take more than MaxCost bytes decoded. Msg holds the id of its
	// downlink and nothing else.
	TooLarge bool
	// Packages are what is to be called for large packages, which are not in Msg, after the rest of
	// it was applied; see [Packages].
	Packages []func() (used bool, err error)
	Err      error

	cost int // of Msg, decoded, in bytes
	of   *held
}

// Empty says that Msg is not needed any more: a copy of the Inbound that still stands on some stack
// would keep it in memory. Parts of the message that somebody holds stay as they are.
func (in *Inbound) Empty() {
	if in.of != nil {
		in.Msg.Reset()
	}
}

// Handled says that nothing is left of the message in memory, and empties it. The receiver waits
// for this call.
func (in *Inbound) Handled() {
	in.Empty()
	if in.of != nil {
		in.of.give(in.cost)
		in.of = nil
	}
}

// held counts the bytes of what was received and not yet handled. The receiver takes, the loop
// gives back.
type held struct {
	bytes atomic.Int64
	freed chan struct{} // of size 1
}

// take waits until so many bytes fit, or nothing else is held. False: done was closed first.
func (h *held) take(bytes int, done <-chan struct{}) bool {
	for {
		if now := h.bytes.Load(); now == 0 || now+int64(bytes) <= InboxBytes {
			h.bytes.Add(int64(bytes))
			return true
		}
		select {
		case <-h.freed:
		case <-done:
			return false
		}
	}
}

func (h *held) give(bytes int) {
	h.bytes.Add(-int64(bytes))
	select {
	case h.freed <- struct{}{}:
	default:
	}
}

// session is the Session over gRPC. Its receiver and its sender goroutine only carry messages
// between the stream and the channels, and end when the session is closed.
type session struct {
	conn      *grpc.ClientConn
	stream    grpc.ClientStream
	cancel    context.CancelFunc
	out       chan []byte  // to the sender
	in        chan Inbound // from the receiver
	sent      chan struct{}
	received  chan struct{}
	done      chan struct{}
	held      held
	large     func() // Dialer.Large
	lane      share.Lane
	inLane    bool // the receiver owns it
	packages  Packages
	buffers   *buffers
	storing   atomic.Bool // a package; nothing is read meanwhile
	config    *proto.EdgeConfiguration
	serverMax int
}

// begin makes a session of a stream that was accepted.
func begin(
	ctx context.Context, cancel func(), conn *grpc.ClientConn, stream grpc.ClientStream, accepted *proto.ConnectResponseMsg,
	d *Dialer, buffers *buffers,
) *session {
	s := &session{
		conn: conn, stream: stream, cancel: cancel, large: d.Large, lane: d.Lane, packages: d.Packages, buffers: buffers,
		config: accepted.GetConfiguration(), serverMax: int(accepted.GetMaxInboundMessageSize()),
		out: make(chan []byte, Slots), in: make(chan Inbound, inboxSlots),
		sent: make(chan struct{}), received: make(chan struct{}), done: make(chan struct{}),
		held: held{freed: make(chan struct{}, 1)},
	}
	s.config.AdditionalInfo = "" // nothing needs it, and it may be long
	if s.serverMax <= 0 {
		s.serverMax = DefaultServerMax
	}
	go s.send(ctx)
	go s.receive(ctx)
	return s
}

func (s *session) Config() *proto.EdgeConfiguration { return s.config }
func (s *session) ServerMax() int                   { return s.serverMax }
func (s *session) Queued() int                      { return len(s.out) }
func (s *session) Inbox() <-chan Inbound            { return s.in }
func (s *session) Done() <-chan struct{}            { return s.done }
func (s *session) Finish()                          { close(s.out) }

func (s *session) Heard() time.Time {
	if s.storing.Load() {
		return time.Now()
	}
	return s.buffers.heard()
}

func (s *session) Send(b []byte) bool {
	select {
	case s.out <- b:
		return true
	default:
		return false
	}
}

// Close leaves the waiting to a goroutine of its own: gRPC gives the last frame of a connection up
// to five seconds.
func (s *session) Close() {
	s.cancel()
	go func() {
		s.conn.Close()
		<-s.sent
		<-s.received
		s.buffers.forget()
		close(s.done)
	}()
}

func endOf(err error) error {
	if err == io.EOF {
		return ErrCleanEnd
	}
	return err
}

func (s *session) receive(ctx context.Context) {
	defer close(s.received)
	defer s.leaveLane()
	var w wire // escapes once a session, not once a message
	large := false
	for {
		// What is held must leave room, so that beside the room there is at most one large message.
		if !s.held.take(0, ctx.Done()) {
			return
		}
		if large && s.large != nil {
			s.large() // it is handled now
		}
		s.leaveLane()
		in := s.next(ctx, &w)
		large = in.cost >= largeMessage
		select {
		case s.in <- in:
		case <-ctx.Done():
			return
		}
		if in.Err != nil {
			return
		}
	}
}

// leaveLane lets others do what takes much memory.
func (s *session) leaveLane() {
	if s.inLane {
		s.inLane = false
		s.lane.Leave()
	}
}

// next receives one message, and decodes it when there is room for it.
func (s *session) next(ctx context.Context, w *wire) Inbound {
	if err := s.stream.RecvMsg(w); err != nil {
		return Inbound{Err: endOf(err)}
	}
	cost, packages := costOf(w.data, s.packages != nil)
	switch {
	case packages && cost > InboxBytes: // no server sends both in one message
		cost, packages = MaxCost+1, false
	case packages:
		cost = w.data.Len() // it comes alone, and what it was is garbage before the next is read
	}
	if !s.held.take(cost, ctx.Done()) {
		return Inbound{Err: ctx.Err()}
	}
	if cost >= largeMessage && !packages {
		if !s.lane.Enter(ctx.Done()) {
			return Inbound{Err: ctx.Err()}
		}
		s.inLane = true
	}
	if cost >= largeMessage && s.large != nil {
		s.large()
	}
	var in Inbound
	var err error
	if packages {
		s.storing.Store(true)
		in, err = w.takePackages(ctx, s.packages)
		s.storing.Store(false)
		in.cost = cost
	} else {
		in, err = w.decode(cost, s.large)
	}
	if err != nil {
		return Inbound{Err: fmt.Errorf("a message of the cloud cannot be read: %w", err)}
	}
	in.of = &s.held
	return in
}

// send writes what was handed over, and may wait while the server does not read. An error is not
// reported here: the receiver gets the status of the stream.
func (s *session) send(ctx context.Context) {
	defer close(s.sent)
	for {
		select {
		case b, ok := <-s.out:
			if !ok {
				s.stream.CloseSend()
				return
			}
			if s.stream.SendMsg(b) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
