package device

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"edgesync/proto"
	"edgesync/sync/share"
)

// Bounds of answers, so that a short question makes no long answer, and many questions no memory
// without end.
const (
	smallAnswer   = 16 << 10            // bytes; a larger answer takes bytes of largeAnswers
	maxAnswer     = 1 << 20             // bytes of attributes in one answer over HTTP
	maxAnswerMQTT = maxOut - 2*stallOut // bytes of attributes in one answer over MQTT
	largeAnswers  = 4 << 20             // bytes of all large answers in memory
	answerChunk   = 16 << 10            // bytes that are written at a time
)

// errLargeAnswer is wrapped by the error for a question whose answer would be too large.
var errLargeAnswer = errors.New("the answer would be larger")

// buildAnswer makes an answer of at most so many bytes. build is called with a bound and reports
// whether the whole answer stays within it; beyond smallAnswer it is called again when the bytes
// are there. pass is nil for a small answer, else the caller closes it.
func (d *Doors) buildAnswer(
	device proto.UUID, most int, done <-chan struct{}, build func(limit int) (b []byte, whole bool),
) (b []byte, pass *share.Pass, err error) {
	b, whole := build(min(smallAnswer, most))
	if whole {
		return b, nil, nil
	}
	pass = new(share.Pass)
	d.answers.Open(pass, device, nil)
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
	b, pass, err := h.buildAnswer(device, maxAnswer, r.Context().Done(), build)
	switch {
	case errors.Is(err, errLargeAnswer):
		fail(w, http.StatusBadRequest, codeBadRequest, err.Error())
		return
	case err != nil:
		h.busy(w, r, "large answers wait for each other; those that are read slowly are cut off", err)
		return
	}
	if pass != nil {
		pass.Close()
	}
	h.succeed(w, r, device, b)
}

// succeed answers with JSON. A large answer takes bytes of largeAnswers until the device has read
// it; it returns false if there are none, or the device was too slow.
func (h *HTTP) succeed(w http.ResponseWriter, r *http.Request, device proto.UUID, body []byte) bool {
	if len(body) <= smallAnswer {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(body)
		return true
	}
	var pass share.Pass
	h.answers.Open(&pass, device, reader{http.NewResponseController(w)})
	defer pass.Close()
	if _, err := pass.Grow(len(body), r.Context().Done()); err != nil {
		h.busy(w, r, "large answers wait for each other; those that are read slowly are cut off", err)
		return false
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	for len(body) > 0 {
		n, err := w.Write(body[:min(len(body), answerChunk)])
		body = body[n:]
		if pass.Moved(n) != nil || err != nil {
			panic(http.ErrAbortHandler) // what has come is not to be taken for the whole
		}
	}
	return true
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
