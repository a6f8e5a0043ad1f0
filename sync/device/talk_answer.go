package device

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

// maxAnswerKept is the most bytes that a talk keeps for its next answer.
const maxAnswerKept = 1 << 10

// answer is an http.ResponseWriter whose answer is sent in one piece when the handler has returned,
// with the fields that net/http would send. The goroutine of the talk uses it.
type answer struct {
	header http.Header
	status int // 0: not known yet
	body   []byte
	out    []byte

	second int64 // of date
	date   [len(http.TimeFormat)]byte
}

// begin forgets the answer before.
func (a *answer) begin() {
	clear(a.header)
	a.status, a.body = 0, a.body[:0]
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	a.body = append(a.body, b...)
	return len(b), nil
}

// closes reports whether the handler wants the connection to end.
func (a *answer) closes() bool { return a.header.Get("Connection") == "close" }

// bytes is the whole answer. It is valid until the next one begins.
func (a *answer) bytes(now time.Time, ends bool) []byte {
	a.WriteHeader(http.StatusOK)
	if ends {
		a.header.Set("Connection", "close")
	}
	if cap(a.out) > maxAnswerKept {
		a.out = nil
	}
	b := append(a.out[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(a.status), 10)
	b = append(append(append(b, ' '), http.StatusText(a.status)...), "\r\n"...)
	_, typed := a.header["Content-Type"]
	if len(a.header) > 0 {
		w := bytes.NewBuffer(b)
		_ = a.header.Write(w)
		b = w.Bytes()
	}
	if s := now.Unix(); s != a.second {
		a.second = s
		now.UTC().AppendFormat(a.date[:0], http.TimeFormat)
	}
	b = append(append(b, "Date: "...), a.date[:]...)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(a.body)), 10)
	if !typed && len(a.body) > 0 {
		b = append(append(b, "\r\nContent-Type: "...), http.DetectContentType(a.body)...)
	}
	b = append(b, "\r\n\r\n"...)
	a.out = append(b, a.body...)
	if cap(a.body) > maxAnswerKept {
		a.body = nil
	}
	return a.out
}
