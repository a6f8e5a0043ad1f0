package device

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"edgesync/sync/device/plainpost"
)

// Bounds of a talk.
const (
	talkBuffer = 4 << 10     // bytes that are read at a time; a larger head is net/http's
	timeSlack  = time.Second // by which deadlines may be late, so that not each post has to move them
)

// The states of a talk.
const (
	waits   = iota // for a request, or the rest of its head
	answers        // a request
	ended          // by Server.end
)

// talk is a connection over which nothing but plain posts has come so far. Its goroutine reads,
// answers and owns all of it but state and what presence guards.
type talk struct {
	front *front
	conn  net.Conn
	slot  *slot // of conn; nil in tests without slots
	state atomic.Uint32

	in       *[talkBuffer]byte
	from, to int       // of in: what has come and is not read
	posted   bool      // the last that came was a post
	readBy   time.Time // the deadline of conn; zero: somebody else has set it
	writeBy  time.Time
	failed   error // of a read, in the middle of a head

	head     plainpost.Head
	request  *http.Request
	types    [1]string // the Content-Type
	body     plainBody
	answer   answer
	presence presence
}

var talkBuffers = sync.Pool{New: func() any { return new([talkBuffer]byte) }}

// talk reads and answers plain posts over c, until it ends or is handed over.
func (f *front) talk(c net.Conn) {
	t := &talk{front: f, conn: c, in: talkBuffers.Get().(*[talkBuffer]byte)}
	t.slot, _ = c.(*slot)
	t.presence.talk, t.body.talk = t, t
	defer talkBuffers.Put(t.in)
	if !f.server.enter(t) {
		_ = c.Close()
		return
	}
	defer f.server.leave(t)
	if !t.run() || !t.hand() {
		_ = c.Close()
	}
}

// run answers plain posts. It returns true when the connection is to be handed over.
func (t *talk) run() (handOver bool) {
	defer func() {
		if r := recover(); r != nil {
			t.presence.end()
			if r != http.ErrAbortHandler { // as net/http does
				t.front.server.inner.ErrorLog.Printf("http: panic serving %v: %v\n%s", t.conn.RemoteAddr(), r, debug.Stack())
			}
		}
	}()
	_ = t.conn.SetReadDeadline(time.Now().Add(headerLimit))
	for {
		switch t.next() {
		case plainpost.Other:
			return true
		case plainpost.Partial:
			return false
		}
		if !t.state.CompareAndSwap(waits, answers) || !t.post() {
			return false
		}
		t.state.Store(waits)
		if t.front.server.closing.Load() {
			return false
		}
	}
}

// hand hands the connection over to net/http, with all that has come of the next request.
func (t *talk) hand() bool {
	if !t.writeBy.IsZero() {
		_ = t.conn.SetWriteDeadline(time.Time{})
	}
	return t.front.pass(&handed{t.conn, append([]byte(nil), t.in[t.from:t.to]...), t.failed})
}

// next reads until the next request is known to be a plain post or not. Partial is the end of the
// connection where no answer is due.
func (t *talk) next() plainpost.Verdict {
	for timed := !t.posted; ; {
		// After a post net/http waits for four bytes, under the limit between requests, and
		// forgives ends of lines among them.
		few := t.posted && t.to-t.from < 4
		switch {
		case few:
		case t.posted:
			for n := 0; n < 4 && (t.in[t.from] == '\r' || t.in[t.from] == '\n'); n++ {
				t.from++
			}
			t.posted = false
			fallthrough
		default:
			if t.from == t.to {
				break
			}
			v := plainpost.Parse(t.in[t.from:t.to], &t.head)
			if v != plainpost.Partial {
				return v
			}
			if t.to-t.from == len(t.in) {
				return plainpost.Other
			}
		}
		if !few && !timed {
			timed, t.readBy = true, time.Time{}
			_ = t.conn.SetReadDeadline(time.Now().Add(headerLimit))
		}
		if t.from > 0 {
			t.from, t.to = 0, copy(t.in[:], t.in[t.from:t.to])
		}
		n, err := t.conn.Read(t.in[t.to:])
		t.to += n
		switch {
		case n > 0 || err == nil:
		case !few && t.to > 0:
			t.failed = err
			return plainpost.Other // net/http knows how to answer that
		default:
			return plainpost.Partial
		}
	}
}

// post answers a plain post. It returns false when the connection is to be closed.
func (t *talk) post() (goOn bool) {
	t.from += t.head.Size
	t.prepare()
	if t.to-t.from >= t.head.Length {
		t.become(served)
		t.front.server.handler.ServeHTTP(&t.answer, t.request)
	} else {
		t.become(arriving)
		t.readBy = time.Time{}
		_ = t.conn.SetReadDeadline(time.Now().Add(bodyLimit)) // arrivals knows better, if there is a slot
		arrivals{t.front.server.handler}.ServeHTTP(&t.answer, t.request)
	}
	t.presence.end()
	ends := t.answer.closes()
	if !ends && !t.body.drain() || t.front.server.closing.Load() {
		ends = true
	}
	now := time.Now()
	if t.writeBy.Sub(now) < answerLimit {
		t.writeBy = now.Add(2 * answerLimit)
		_ = t.conn.SetWriteDeadline(t.writeBy)
	}
	if t.slot == nil {
		_, err := t.conn.Write(t.answer.bytes(now, ends))
		ends = ends || err != nil
	} else {
		t.become(sending)
		_, err := t.slot.Conn.Write(t.answer.bytes(now, ends))
		ends = ends || err != nil
	}
	if ends {
		t.body.drain() // or the answer is lost with what was not read
		return false
	}
	t.become(idle)
	if t.readBy.Sub(now) < restLimit {
		t.readBy = now.Add(restLimit + timeSlack)
		_ = t.conn.SetReadDeadline(t.readBy)
	}
	t.posted = true
	return true
}

func (t *talk) become(what phase) {
	if t.slot != nil {
		t.slot.become(what, false)
	}
}

// prepare makes the request of the head that has come. It is the same for all posts of the talk.
func (t *talk) prepare() {
	r := t.request
	if r == nil {
		r = (&http.Request{
			Method: http.MethodPost, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			URL: new(url.URL), Header: make(http.Header, 1), RemoteAddr: t.conn.RemoteAddr().String(),
		}).WithContext(&t.presence)
		t.request = r
		t.answer.header = make(http.Header, 2)
	}
	if string(t.head.Path) != r.RequestURI {
		r.RequestURI = string(t.head.Path)
		*r.URL = url.URL{Path: r.RequestURI}
	}
	if string(t.head.Host) != r.Host {
		r.Host = string(t.head.Host)
	}
	switch h := t.head.Type; {
	case h == nil:
		clear(r.Header)
	case string(h) != t.types[0] || len(r.Header) == 0:
		t.types[0] = string(h)
		r.Header["Content-Type"] = t.types[:]
	}
	r.ContentLength = int64(t.head.Length)
	t.body.left = t.head.Length
	r.Body = &t.body
	t.presence.begin(t.to-t.from >= t.head.Length)
	t.answer.begin()
}

// plainBody is the body of a plain post.
type plainBody struct {
	talk *talk
	left int // bytes that are not read
}

// Read implements io.Reader.
func (b *plainBody) Read(p []byte) (n int, err error) {
	t := b.talk
	if b.left == 0 {
		return 0, io.EOF
	}
	if len(p) > b.left {
		p = p[:b.left]
	}
	if t.from < t.to {
		n = copy(p, t.in[t.from:t.to])
		t.from += n
	} else if n, err = t.conn.Read(p); errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if b.left -= n; b.left == 0 {
		err = io.EOF
		t.presence.whole()
	}
	return n, err
}

// Close implements io.Closer. What is not read then, drain reads.
func (b *plainBody) Close() error { return nil }

// drain reads what the handler has left of the body; it returns false when that does not come.
func (b *plainBody) drain() bool {
	if b.left > 0 {
		_, _ = io.CopyN(io.Discard, b, int64(b.left))
	}
	return b.left == 0
}
