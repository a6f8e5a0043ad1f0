package device

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"edgesync/proto"
	"edgesync/sync/refusal"
	"edgesync/sync/share"
)

// Bounds of answers, so that a short question makes no long answer, and many questions no memory
// without end.
const (
	smallAnswer   = 16 << 10            // bytes; a larger answer takes bytes of largeAnswers
	maxAnswer     = 1 << 20             // bytes of attributes in one answer over HTTP
	maxAnswerMQTT = maxOut - 2*stallOut // bytes of attributes in one answer over MQTT
	largeAnswers  = 3 << 20             // bytes of all large answers in memory
	answerChunk   = 16 << 10            // bytes that are written at a time
)

// errLargeAnswer is wrapped by the error for a question whose answer would be too large.
var errLargeAnswer = errors.New("the answer would be larger")

// buildAnswer makes an answer of at most so many bytes. build is called with a bound and reports
// whether the whole answer stays within it; beyond smallAnswer it is called again when the bytes
// are there. pass is nil for a small answer; else the caller closes it, and it is ours until the
// caller says otherwise, from when on cut, which may be nil, is called if it has to give way.
func (d *Doors) buildAnswer(
	device proto.UUID, most int, done <-chan struct{}, cut share.Cutter, build func(limit int) (b []byte, whole bool),
) (b []byte, pass *share.Pass, err error) {
	b, whole := build(min(smallAnswer, most))
	if whole {
		return b, nil, nil
	}
	pass = new(share.Pass)
	d.answers.Open(pass, device, cut)
	_ = pass.Ours()
	if _, err = pass.Grow(most, done); err == nil {
		if b, whole = build(most); !whole {
			err = fmt.Errorf("%w than %d bytes: ask for fewer keys", errLargeAnswer, most)
		} else {
			_, err = pass.Grow(len(b), done)
		}
	}
	if err != nil {
		pass.Close()
		return nil, nil, err
	}
	return b, pass, nil
}

// reply answers with JSON that build makes, or says why there is no answer.
func (h *HTTP) reply(w http.ResponseWriter, r *http.Request, device proto.UUID, build func(limit int) ([]byte, bool)) {
	b, pass, err := h.buildAnswer(device, maxAnswer, r.Context().Done(), reader{http.NewResponseController(w)}, build)
	switch {
	case errors.Is(err, errLargeAnswer):
		h.note(r, refusal.BadRequest, h.nameOf(device), err.Error())
		fail(w, http.StatusBadRequest, codeBadRequest, err.Error())
		return
	case err != nil:
		h.busy(w, r, device, wordsAnswersWait, err)
		return
	}
	if pass != nil { // it is kept: others would take its bytes, and the answer would have been built for nothing
		defer pass.Close()
		pass.Theirs()
	}
	sendAnswer(w, b, pass)
}

// succeed answers with JSON. A large answer takes bytes of largeAnswers until the device has read
// it; it returns false if there are none, or the device was too slow.
func (h *HTTP) succeed(w http.ResponseWriter, r *http.Request, device proto.UUID, body []byte) bool {
	if len(body) <= smallAnswer {
		sendAnswer(w, body, nil)
		return true
	}
	var pass share.Pass
	h.answers.Open(&pass, device, reader{http.NewResponseController(w)})
	defer pass.Close()
	if _, err := pass.Grow(len(body), r.Context().Done()); err != nil {
		h.busy(w, r, device, wordsAnswersWait, err)
		return false
	}
	sendAnswer(w, body, &pass)
	return true
}

const wordsAnswersWait = "large answers wait for each other; those that are read slowly are cut off"

// sendAnswer writes JSON; pass is nil for a small answer.
func sendAnswer(w http.ResponseWriter, body []byte, pass *share.Pass) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	if pass == nil {
		_, _ = w.Write(body)
		return
	}
	for len(body) > 0 {
		n, err := w.Write(body[:min(len(body), answerChunk)])
		body = body[n:]
		if pass.Moved(n) != nil || err != nil {
			panic(http.ErrAbortHandler) // what has come is not to be taken for the whole
		}
	}
}

// held is the cloud's answer to a device's call, from its coming until the device has read it. A
// large one takes bytes of largeAnswers as soon as it comes: it waits for its goroutine in memory.
type held struct {
	mu     sync.Mutex
	came   chan struct{} // closed by set
	closed bool
	body   []byte
	err    error
	pass   *share.Pass
}

// noWait is a channel that is closed: who comes with it takes bytes at once or not at all.
var noWait = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// set takes the answer and does not wait for anything. body stays the caller's.
func (a *held) set(b *share.Budget, device proto.UUID, w reader, body []byte, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.err = err
	if len(body) > smallAnswer {
		a.pass = new(share.Pass)
		b.Open(a.pass, device, w)
		if _, a.err = a.pass.Grow(len(body), noWait); a.err != nil {
			body = nil
		}
	}
	a.body = append([]byte(nil), body...)
	close(a.came)
}

// close gives the bytes back. An answer that comes later is dropped.
func (a *held) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed = true; a.pass != nil {
		a.pass.Close()
	}
}

// reader is a device that reads an answer.
type reader struct{ *http.ResponseController }

// Cut implements share.Cutter.
func (r reader) Cut() { _ = r.SetWriteDeadline(time.Unix(1, 0)) }

// once removes the keys that are in the list already: a key is answered once, however often it is
// asked.
func once(keys []string) []string {
	if len(keys) < 2 {
		return keys
	}
	seen := make(map[string]struct{}, len(keys))
	kept := keys[:0]
	for _, k := range keys {
		if _, twice := seen[k]; !twice {
			seen[k] = struct{}{}
			kept = append(kept, k)
		}
	}
	return kept
}

// memberSize is the most bytes that an attribute takes in an answer.
func memberSize(kv *proto.KV) int { return jsonSize(kv.Key) + jsonSize(kv.Str) + 32 }

// jsonSize is how many bytes a text takes in JSON, without its quotes.
func jsonSize(text []byte) int {
	n := len(text)
	for _, c := range text {
		switch {
		case c == '"', c == '\\', c == '\n', c == '\t':
			n++
		case c < ' ', c == 0x7f:
			n += 5
		}
	}
	return n
}
