package device

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/guess"
	"edgesync/sync/refusal"
	"edgesync/sync/registry"
	"edgesync/sync/share"
)

// Bounds of what devices ask over HTTP and wait for in long polls (API.md 2).
const (
	maxRPCBody = 64 << 10         // bytes of a call or of an answer to a command
	waitLimit  = 30 * time.Second // how long a request may wait
)

// get answers requests without a body.
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

// readAttributes answers from the registry: with the attributes of the scopes for which the query
// has keys, or with all of both scopes if it has none.
func (h *HTTP) readAttributes(w http.ResponseWriter, r *http.Request, device *registry.Device) {
	query := r.URL.Query()
	list := func(name string) []string {
		keys := []string{}
		for _, v := range query[name] {
			keys = append(keys, splitKeys(v)...)
		}
		return once(keys)
	}
	q := question{clientKeys: list("clientKeys"), sharedKeys: list("sharedKeys")}
	q.client, q.shared = len(q.clientKeys) > 0, len(q.sharedKeys) > 0
	if !q.client && !q.shared {
		q = question{client: true, shared: true}
	}
	id := device.ID // the device itself stays off the heap
	h.reply(w, r, id, func(limit int) ([]byte, bool) {
		return readAttributes(h.Lookups, id, q, limit)
	})
}

// readTimeout reads ?timeout= and returns how long to wait and the status for when nothing comes.
// Without a timeout, or with one of waitLimit and more, it is waitLimit.
func readTimeout(r *http.Request) (wait time.Duration, status int, ok bool) {
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
	wait, status, ok := readTimeout(r)
	if !ok {
		h.wrong(w, r, device, `"timeout" must be a number of milliseconds`)
		return
	}
	p := &poll{kind: what, got: make(chan pollResult, 1)}
	if !h.wait(device.ID, p) {
		h.note(r, refusal.Busy, device.Name, "too many requests of this device wait already")
		w.Header().Set("Retry-After", retryAfter)
		fail(w, http.StatusServiceUnavailable, codeGeneral, "too many requests of this device wait already")
		return
	}
	defer h.forget(device.ID, p)
	if what == pollCalls {
		// The oldest command without an answer, also if it was delivered before (API.md 2).
		if calls := h.Calls.Pending(device.ID); len(calls) > 0 {
			h.sendCommand(w, r, &calls[0])
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
			h.sendCommand(w, r, got.call)
		default:
			h.succeed(w, r, device.ID, got.body)
		}
	case <-timer.C:
		nothingCame(w, status)
	case <-r.Context().Done():
	}
}

// nothingCame answers a request that has waited in vain.
func nothingCame(w http.ResponseWriter, status int) {
	w.Header().Set("Connection", "close")
	if status == http.StatusRequestTimeout {
		w.WriteHeader(status)
		return
	}
	fail(w, status, codeGeneral, "nothing came in 30 seconds")
}

// sendCommand answers a poll with a command.
func (h *HTTP) sendCommand(w http.ResponseWriter, r *http.Request, c *agent.Call) {
	b := append([]byte(nil), `{"id":`...)
	b = strconv.AppendInt(b, int64(c.ID), 10)
	if h.succeed(w, r, c.Device, appendCommand(append(b, ','), c)) {
		h.Calls.Delivered(c.Device, c.ID)
	}
}

// answer takes the answer to a command. An answer to an unknown command gets the same reply.
func (h *HTTP) answer(w http.ResponseWriter, device *registry.Device, id int32, body []byte) {
	h.Calls.Answer(device.ID, id, string(body))
	w.WriteHeader(http.StatusOK)
}

// request sends a device's own call to the cloud. The function that it returns waits for the
// answer; it is nil if the request has been answered with an error.
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
		h.wrongBody(w, r, device, err.Error())
		return nil
	}
	got := &held{came: make(chan struct{})}
	reads := reader{http.NewResponseController(w)}
	id := device.ID // the device itself stays off the heap
	err = h.Doors.request(&agent.Request{
		Device: id, Method: method, Params: params, Timeout: waitLimit,
		Reply: func(b []byte, err error) { got.set(h.answers, id, reads, b, err) },
	})
	if err != nil {
		h.note(r, refusal.Busy, device.Name, err.Error())
		w.Header().Set("Retry-After", retryAfter)
		fail(w, http.StatusServiceUnavailable, codeGeneral, err.Error())
		return nil
	}
	return func() {
		defer got.close()
		select {
		case <-got.came:
			switch {
			case errors.Is(got.err, agent.ErrTimeout):
				nothingCame(w, http.StatusServiceUnavailable)
			case errors.Is(got.err, share.ErrFull), errors.Is(got.err, share.ErrEvicted):
				h.busy(w, r, id, wordsAnswersWait, got.err)
			case got.err != nil:
				sendAnswer(w, callError(got.err), nil)
			default:
				sendAnswer(w, got.body, got.pass)
			}
		case <-r.Context().Done():
		}
	}
}

// claim records that a device may be claimed. It returns false if the intake may still be reading
// the event.
func (h *HTTP) claim(w http.ResponseWriter, r *http.Request, device *registry.Device, body []byte) bool {
	said, err := readClaim(body)
	if err != nil {
		h.wrongBody(w, r, device, err.Error())
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

// download sends the firmware or software that is assigned to the device, or a chunk of it (API.md
// 2).
func (h *HTTP) download(w http.ResponseWriter, r *http.Request, device *registry.Device, software bool) {
	query := r.URL.Query()
	var number [2]int64
	for i, name := range []string{"size", "chunk"} {
		if v := query.Get(name); v != "" {
			n, err := strconv.ParseInt(v, 10, 32)
			if err != nil {
				h.wrong(w, r, device, name+" must be a number")
				return
			}
			number[i] = n
		}
	}
	if !query.Has("title") || !query.Has("version") {
		h.wrong(w, r, device, `"title" and "version" are needed`)
		return
	}
	p, ok := h.Packages.Package(device.ID, software)
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		return
	case !means(query.Get("title"), p.Title) || !means(query.Get("version"), p.Version):
		h.wrong(w, r, device, "another package is assigned to the device")
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

// lowerFileName is a header as ThingsBoard spells it. It is no constant, which staticcheck would
// take for a mistake.
var lowerFileName = "x-filename"

// headerText returns text without the characters that would end a header.
func headerText(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text)
}

// provision answers a device that has no credentials yet (API.md 5).
func (h *HTTP) provision(w http.ResponseWriter, r *http.Request) {
	// The body is small because its sender is not known yet.
	h.withBody(w, r, reading{limit: min(h.maxBody, smallBody)},
		func(s *scratch) bool {
			request, err := readProvision(s.text)
			if err != nil {
				h.note(r, refusal.Provisioning, "", err.Error())
				fail(w, http.StatusBadRequest, codeBadRequest, err.Error())
				return true
			}
			answer, err := h.provisioned(r.Context(), r.RemoteAddr, &request)
			if errors.Is(err, guess.ErrTooMany) {
				h.refuseGuess(w, r)
				return true
			}
			if errors.Is(err, errNotSynced) {
				h.notSynced(w, r, "")
				return true
			}
			if err != nil {
				h.note(r, notTaken(err), "", "it could not be provisioned: "+err.Error())
				w.Header().Set("Retry-After", retryAfter)
				fail(w, http.StatusServiceUnavailable, codeGeneral, "not made; ask again later")
				return true
			}
			if why := noCredentials(answer); why != nil {
				h.note(r, refusal.Provisioning, "", why.Error())
			}
			w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
			w.WriteHeader(http.StatusOK)
			_, _ = w.Write(answer)
			return true
		})
}
