package rest

import (
	"encoding/json"
	"net/http"
	"time"

	"edgesync/sync/share"
)

// ThingsBoard's numbers in error answers.
const (
	codeGeneral     = 2
	codeAuth        = 10
	codeExpired     = 11
	codePermission  = 20
	codeArguments   = 31
	codeNotFound    = 32
	codeTooMany     = 33
	headerJSON      = "application/json"
	wordsForbidden  = "You don't have permission to perform this operation!"
	wordsNotFound   = "Requested item wasn't found!"
	wordsBadLogin   = "Invalid username or password"
	wordsNoSession  = "Authentication failed"
	wordsExpired    = "Token has expired"
	wordsNotStored  = "not stored, the queue takes no events now; send it again later"
	wordsBusy       = "too much is being transferred; try again later"
	wordsNotHere    = "on its way to the cloud, but not stored here: the medium refuses or there is no room"
	wordsNotOffered = "no such path here"
)

// retryAfter is how long a refused client is to wait, in seconds.
const retryAfter = "5"

// failure is an answer other than a success.
type failure struct {
	status, code int
	message      string
}

func (f *failure) Error() string { return f.message }

var (
	errForbidden = &failure{http.StatusForbidden, codePermission, wordsForbidden}
	errBusy      = &failure{http.StatusServiceUnavailable, codeGeneral, wordsBusy}
	errNotFound  = &failure{http.StatusNotFound, codeNotFound, wordsNotFound}
)

func bad(message string) error { return &failure{http.StatusBadRequest, codeArguments, message} }

// answer writes a success: nothing, or JSON text. A reader that is too slow while others wait is
// cut off.
func answer(w http.ResponseWriter, text []byte, pass *share.Pass) {
	if text == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	w.Header().Set("Content-Type", headerJSON)
	for len(text) > 0 {
		n, err := w.Write(text[:min(len(text), answerChunk)])
		text = text[n:]
		if err != nil || pass != nil && pass.Moved(n) != nil {
			panic(http.ErrAbortHandler) // what has come is not to be taken for the whole
		}
	}
}

// fail answers with an error as ThingsBoard words it.
func fail(w http.ResponseWriter, f *failure) {
	text, _ := json.Marshal(struct {
		Status    int    `json:"status"`
		Message   string `json:"message"`
		ErrorCode int    `json:"errorCode"`
		Timestamp int64  `json:"timestamp"`
	}{f.status, f.message, f.code, time.Now().UnixMilli()})
	w.Header().Set("Content-Type", headerJSON)
	if f.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(f.status)
	_, _ = w.Write(text)
}
