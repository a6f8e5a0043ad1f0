package link

import (
	"context"
	"io"

	"google.golang.org/grpc"

	"edgesync/proto"
)

const (
	// Slots is the number of messages that a session holds until its stream takes them.
	Slots = 256
	// inboxSlots bounds the responses received and not yet handled. Behind them the flow control of
	// HTTP/2 slows the server down.
	inboxSlots = 64
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
	Err  error
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
	config    *proto.EdgeConfiguration
	serverMax int
}

// begin makes a session of a stream that was accepted.
func begin(
	ctx context.Context, cancel func(), conn *grpc.ClientConn, stream grpc.ClientStream, accepted *proto.ConnectResponseMsg,
) *session {
	s := &session{
		conn: conn, stream: stream, cancel: cancel,
		config: accepted.GetConfiguration(), serverMax: int(accepted.GetMaxInboundMessageSize()),
		out: make(chan []byte, Slots), in: make(chan Inbound, inboxSlots),
		sent: make(chan struct{}), received: make(chan struct{}), done: make(chan struct{}),
	}
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
	var in Inbound // escapes once a session, not once a message
	for {
		in = Inbound{Msg: new(proto.ResponseMsg)}
		err := s.stream.RecvMsg(&in)
		if err != nil {
			in = Inbound{Err: endOf(err)}
		}
		select {
		case s.in <- in:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
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
