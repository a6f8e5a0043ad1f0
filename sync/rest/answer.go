package rest

import (
	"encoding/json"
	"net/http"
	"time"
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
	wordsNotHere    = "on its way to the cloud, but not stored here: the medium refuses or there is no room"
	wordsNotOffered = "no such path here"
)

// failure is an answer other than a success.
type failure struct {
	status, code int
	message      string
}

func (f *failure) Error() string { return f.message }

var (
	errForbidden = &failure{http.StatusForbidden, codePermission, wordsForbidden}
	errNotFound  = &failure{http.StatusNotFound, codeNotFound, wordsNotFound}
)

func bad(message string) error { return &failure{http.StatusBadRequest, codeArguments, message} }

// answer writes a success: nothing, JSON text, or what is marshalled to it.
func answer(w http.ResponseWriter, result any) {
	var text []byte
	switch v := result.(type) {
	case nil:
		w.WriteHeader(http.StatusOK)
		return
	case json.RawMessage:
		text = v
	default:
		var err error
		if text, err = json.Marshal(v); err != nil {
			fail(w, &failure{http.StatusInternalServerError, codeGeneral, "internal error"})
			return
		}
	}
	w.Header().Set("Content-Type", headerJSON)
	_, _ = w.Write(text)
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
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(f.status)
	_, _ = w.Write(text)
}
