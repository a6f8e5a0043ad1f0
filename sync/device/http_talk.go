package device

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/registry"
)

// What devices ask and are told over HTTP, by long polling (device API 2).

const (
	maxRPCBody = 64 << 10         // of …/rpc
	waitLimit  = 30 * time.Second // of every request that waits
)

// get handles what brings no body.
func (h *HTTP) get(w http.ResponseWriter, r *http.Request, device *registry.Device, to target) {
	switch to.endpoint {
	case attributes:
		h.readAttributes(w, r, device)
	case updates:
		h.poll(w, r, device, pollAttributes)
	case rpc:
		h.poll(w, r, device, pollCalls)
	default:
		h.download(w, r, device, to.endpoint == software)
	}
}

// readAttributes answers from the registry. Only what has keys is asked for; no key at all asks for everything.
func (h *HTTP) readAttributes(w http.ResponseWriter, r *http.Request, device *registry.Device) {
	query := r.URL.Query()
	list := func(name string) []string {
		keys := []string{}
		for _, v := range query[name] {
			keys = append(keys, splitKeys(v)...)
		}
		return keys
	}
	q := question{clientKeys: list("clientKeys"), sharedKeys: list("sharedKeys")}
	q.client, q.shared = len(q.clientKeys) > 0, len(q.sharedKeys) > 0
	if !q.client && !q.shared {
		q = question{client: true, shared: true}
	}
	succeed(w, appendAttributes(nil, h.Lookups, device.ID, q))
}

// succeed answers with JSON.
func succeed(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body)
}

// patience reads ?timeout=: how long to wait, and what to say then. Without a timeout, or with a long one, the general limit acts.
func patience(r *http.Request) (wait time.Duration, status int, ok bool) {
	text := r.URL.Query().Get("timeout")
	if text == "" {
		return waitLimit, http.StatusServiceUnavailable, true
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return 0, 0, false
	case ms == 0 || ms >= waitLimit.Milliseconds():
		return waitLimit, http.StatusServiceUnavailable, true
	}
	return time.Duration(max(ms, 0)) * time.Millisecond, http.StatusRequestTimeout, true
}

// poll waits for the next change of shared attributes, or for a command.
func (h *HTTP) poll(w http.ResponseWriter, r *http.Request, device *registry.Device, what pollKind) {
	wait, status, ok := patience(r)
	if !ok {
		fail(w, http.StatusBadRequest, codeBadRequest, `"timeout" must be a number of milliseconds`)
		return
	}
	p := &poll{kind: what, got: make(chan pollResult, 1)}
	if !h.wait(device.ID, p) {
		w.Header().Set("Retry-After", retryAfter)
		fail(w, http.StatusServiceUnavailable, codeGeneral, "too many requests of this device wait already")
		return
	}
	defer h.forget(device.ID, p)
	if what == pollCalls {
		// The oldest that has no answer, also if it was delivered before (device API 2).
		if calls := h.Calls.Pending(device.ID); len(calls) > 0 {
			h.giveCall(w, &calls[0])
			return
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case got := <-p.got:
		switch {
		case got.deleted:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "Device was deleted!")
		case got.call != nil:
			h.giveCall(w, got.call)
		default:
			succeed(w, got.body)
		}
	case <-timer.C:
		waited(w, status)
	case <-r.Context().Done():
	}
}

// waited answers that nothing came.
func waited(w http.ResponseWriter, status int) {
	w.Header().Set("Connection", "close")
	if status == http.StatusRequestTimeout {
		w.WriteHeader(status)
		return
	}
	fail(w, status, codeGeneral, "nothing came in 30 seconds")
}

// giveCall answers a poll with a command.
func (h *HTTP) giveCall(w http.ResponseWriter, c *agent.Call) {
	b := append([]byte(nil), `{"id":`...)
	b = strconv.AppendInt(b, int64(c.ID), 10)
	b = append(b, `,"method":`...)
	b = proto.AppendJSONString(b, c.Method)
	b = append(b, `,"params":`...)
	if c.Params == "" {
		b = append(b, "null"...)
	}
	b = append(append(b, c.Params...), '}')
	succeed(w, b)
	h.Calls.Delivered(c.Device, c.ID)
}

// answer takes the answer to a command; an unknown one is none of the device's business.
func (h *HTTP) answer(w http.ResponseWriter, device *registry.Device, id int32, body []byte) {
	h.Calls.Answer(device.ID, id, string(body))
	w.WriteHeader(http.StatusOK)
}

// request carries a device's own call to the cloud; what it returns waits for the answer.
func (h *HTTP) request(w http.ResponseWriter, r *http.Request, device *registry.Device, body []byte) func() {
	var members map[string]json.RawMessage
	err := readObject(body, &members)
	if err == nil && (members["method"] == nil || members["params"] == nil) {
		err = errors.New(`a call needs "method" and "params"`)
	}
	var method, params string
	if err == nil {
		method, params, err = readCall(body)
	}
	if err != nil {
		fail(w, http.StatusBadRequest, codeBadRequest, err.Error())
		return nil
	}
	type reply struct {
		body []byte
		err  error
	}
	got := make(chan reply, 1)
	err = h.Calls.Request(&agent.Request{Device: device.ID, Method: method, Params: params, Timeout: waitLimit, Reply: func(b []byte, err error) {
		got <- reply{append([]byte(nil), b...), err}
	}})
	if err != nil {
		w.Header().Set("Retry-After", retryAfter)
		fail(w, http.StatusServiceUnavailable, codeGeneral, err.Error())
		return nil
	}
	return func() {
		select {
		case a := <-got:
			switch {
			case errors.Is(a.err, agent.ErrTimeout):
				waited(w, http.StatusServiceUnavailable)
			case a.err != nil:
				succeed(w, callError(a.err))
			default:
				succeed(w, a.body)
			}
		case <-r.Context().Done():
		}
	}
}

// claim records that a device may be claimed; false if the intake may still be reading what it was given.
func (h *HTTP) claim(w http.ResponseWriter, r *http.Request, device *registry.Device, body []byte) bool {
	said, err := readClaim(body)
	if err != nil {
		fail(w, http.StatusBadRequest, codeBadRequest, err.Error())
		return true
	}
	if events := h.claimEvent(nil, device.ID, said); len(events) > 0 {
		if err := h.Intake.Accept(r.Context(), events); err != nil {
			h.refuse(w, r, device, err)
			return false
		}
		h.claimed(events)
	}
	w.WriteHeader(http.StatusOK)
	return true
}

// download sends the firmware or software that is assigned to the device, or a chunk of it (device API 2).
func (h *HTTP) download(w http.ResponseWriter, r *http.Request, device *registry.Device, software bool) {
	query := r.URL.Query()
	var number [2]int64
	for i, name := range []string{"size", "chunk"} {
		if v := query.Get(name); v != "" {
			n, err := strconv.ParseInt(v, 10, 32)
			if err != nil {
				fail(w, http.StatusBadRequest, codeBadRequest, name+" must be a number")
				return
			}
			number[i] = n
		}
	}
	if !query.Has("title") || !query.Has("version") {
		fail(w, http.StatusBadRequest, codeBadRequest, `"title" and "version" are needed`)
		return
	}
	p, ok := h.Packages.Package(device.ID, software)
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		return
	case !isTold(p.Title, query.Get("title")) || !isTold(p.Version, query.Get("version")):
		fail(w, http.StatusBadRequest, codeBadRequest, "another package is assigned to the device")
		return
	}
	f, from, size, err := openChunk(p.Path, number[0], number[1])
	if err != nil {
		h.complain("an OTA package cannot be read", device.Name, err)
		fail(w, http.StatusInternalServerError, codeGeneral, "the package cannot be read")
		return
	}
	defer f.Close()
	if p.ContentType == "" {
		p.ContentType = "application/octet-stream"
	}
	head := w.Header()
	head.Set("Content-Type", headerText(p.ContentType))
	head.Set("Content-Disposition", "attachment;filename="+headerText(p.FileName))
	head[lowerFileName] = []string{headerText(p.FileName)}
	head.Set("Content-Length", strconv.FormatInt(size, 10))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = io.Copy(w, io.NewSectionReader(f, from, size))
	}
}

// lowerFileName is a header as ThingsBoard spells it.
var lowerFileName = "x-filename"

// headerText is text without what would end a header.
func headerText(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text)
}

// provision answers a device without credentials (device API 5).
func (h *HTTP) provision(w http.ResponseWriter, r *http.Request) {
	h.withBody(w, r, min(h.maxBody, smallBody), false, // from somebody who is nobody yet
		func(s *scratch) bool {
			request, err := readProvision(s.body)
			if err != nil {
				fail(w, http.StatusBadRequest, codeBadRequest, err.Error())
				return true
			}
			answer, err := h.provisioned(r.Context(), &request)
			if err != nil {
				h.complain("a device could not be provisioned; it is told to retry", "", err)
				w.Header().Set("Retry-After", retryAfter)
				fail(w, http.StatusServiceUnavailable, codeGeneral, "not made; ask again later")
				return true
			}
			if string(answer) == provisionNotFound && !h.wrong.allow(r.RemoteAddr, time.Now()) && !h.wrong.wait(r.Context()) {
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(http.StatusTooManyRequests)
				return true
			}
			w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
			w.WriteHeader(http.StatusOK)
			_, _ = w.Write(answer)
			return true
		})
}
