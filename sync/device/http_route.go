package device

import (
	"math"
	"net/http"
	"strconv"
	"strings"
)

// endpoint is what a path is about (API.md 2).
type endpoint uint8

const (
	telemetry endpoint = iota
	attributes
	updates
	rpc
	rpcAnswer
	claiming
	firmware
	software
	provision
)

// The methods of an endpoint; HEAD goes with GET.
const (
	gets = 1 << iota
	posts
)

// endpoints are what stands behind the token in a path, and the methods of each.
var endpoints = [...]struct {
	path    string
	methods uint8
}{
	telemetry:  {"telemetry", posts},
	attributes: {"attributes", gets | posts},
	updates:    {"attributes/updates", gets},
	rpc:        {"rpc", gets | posts},
	rpcAnswer:  {"rpc/", posts}, // followed by the id of the command
	claiming:   {"claim", posts},
	firmware:   {"firmware", gets},
	software:   {"software", gets},
	provision:  {"", posts},
}

// target is what the path of a request asks for.
type target struct {
	token    string
	endpoint endpoint
	id       int32 // of the command that rpcAnswer answers
}

// route finds the target in the path. status is 0, 400 or 404. Paths that proxies read differently
// are refused (API.md 2).
func route(r *http.Request) (to target, status int) {
	path := r.URL.Path
	rest, ok := strings.CutPrefix(path, "/api/v1/")
	if !ok {
		return to, http.StatusNotFound
	}
	if strings.Contains(path, "//") || strings.Contains(path, ";") ||
		strings.Contains(path+"/", "/./") || strings.Contains(path+"/", "/../") ||
		strings.Contains(r.URL.RawPath, "%2F") || strings.Contains(r.URL.RawPath, "%2f") {
		return to, http.StatusBadRequest
	}
	if rest == "provision" {
		return target{endpoint: provision}, 0
	}
	token, name, _ := strings.Cut(rest, "/")
	if token == "" {
		return to, http.StatusBadRequest
	}
	to.token = token
	for e, p := range endpoints[:provision] {
		if name == p.path && endpoint(e) != rpcAnswer {
			to.endpoint = endpoint(e)
			return to, 0
		}
	}
	number, ok := strings.CutPrefix(name, endpoints[rpcAnswer].path)
	if ok && number != "" && !strings.Contains(number, "/") {
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil || n < math.MinInt32 {
			return to, http.StatusBadRequest
		}
		to.endpoint, to.id = rpcAnswer, int32(n)
		return to, 0
	}
	return to, http.StatusNotFound
}

// otherMethod answers a request whose method the endpoint does not have. It returns false if that
// was no refusal but the question of a browser.
func otherMethod(w http.ResponseWriter, r *http.Request, methods uint8) (refused bool) {
	allow := http.MethodPost
	switch {
	case methods == gets:
		allow = "GET, HEAD"
	case methods&gets != 0:
		allow = "GET, HEAD, POST"
	}
	switch r.Method {
	case http.MethodOptions:
		if r.Header.Get("Origin") == "" || r.Header.Get("Access-Control-Request-Method") == "" {
			fail(w, http.StatusForbidden, codePermission, "OPTIONS is answered only as a CORS preflight")
			return true
		}
		w.Header().Set("Access-Control-Allow-Methods", allow)
		if headers := r.Header.Get("Access-Control-Request-Headers"); headers != "" {
			w.Header().Set("Access-Control-Allow-Headers", headers)
		}
		w.Header().Set("Access-Control-Max-Age", "1800")
		w.WriteHeader(http.StatusOK)
		return false
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		w.Header().Set("Allow", allow)
		fail(w, http.StatusMethodNotAllowed, codeBadRequest, "use "+allow+" here")
	default:
		w.WriteHeader(http.StatusBadRequest)
	}
	return true
}
