package status

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"edgesync/proto"
)

// User is a user of the cloud who is logged in here.
type User struct {
	Name  string
	Admin bool                         // a tenant administrator; else a user of a customer
	Sees  func(entity proto.UUID) bool // what of an entity is this user's to see
}

// Login says who may see contents, beside who asks on this machine (local.go).
type Login struct {
	// User finds who sends a request by its token.
	User func(r *http.Request) (User, bool)
	// Secure reports whether a request came over TLS, Overheard whether its password and its token
	// could be read on their way.
	Secure, Overheard func(r *http.Request) bool
	HTTPS             string // address of the listener over TLS; "": there is none
}

// Ways to log in.
const (
	wayOpen   = "open"   // here
	wayHTTPS  = "https"  // over HTTPS, which is there
	wayClosed = "closed" // nowhere: plain HTTP from a public address, or nobody asks
)

func (l *Login) way(r *http.Request) string {
	switch {
	case l == nil:
		return wayClosed
	case l.Secure(r):
		return wayOpen
	case l.HTTPS != "":
		return wayHTTPS
	case l.Overheard(r):
		return wayClosed
	}
	return wayOpen
}

// viewer is who asks. Who asks on this machine is an administrator, unless with a user's token. ok
// is false for who sees no contents.
func (l *Login) viewer(r *http.Request) (u User, ok bool) {
	here := local(r)
	if l != nil && (here || l.way(r) == wayOpen) {
		if u, ok = l.User(r); ok {
			return u, true
		}
	}
	return User{Admin: true, Sees: func(proto.UUID) bool { return true }}, here
}

// Me is the JSON of GET /api/edgesync/me: what who asks may do.
type Me struct {
	User  string `json:"user,omitempty"`  // who is logged in
	Local bool   `json:"local"`           // asks on this machine
	Sees  bool   `json:"sees"`            // contents
	Admin bool   `json:"admin"`           // may act
	Login string `json:"login"`           // "open", "https" or "closed"
	HTTPS string `json:"https,omitempty"` // port for HTTPS
}

func serveMe(w http.ResponseWriter, r *http.Request, src Source, _ url.Values, _ *answers) {
	u, ok := src.Login.viewer(r)
	m := Me{User: u.Name, Local: local(r), Sees: ok, Admin: ok && u.Admin, Login: src.Login.way(r)}
	if src.Login != nil {
		m.HTTPS = src.Login.HTTPS[strings.LastIndexByte(src.Login.HTTPS, ':')+1:]
	}
	data, _ := json.Marshal(&m) // of plain values
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data)
}

// needs returns who asks, or answers that this is for who is logged in, or for administrators.
func needs(w http.ResponseWriter, r *http.Request, src Source, admin bool) (u User, ok bool) {
	u, ok = src.Login.viewer(r)
	switch {
	case !ok:
		http.Error(w, "log in first", http.StatusUnauthorized)
	case admin && !u.Admin:
		http.Error(w, "for tenant administrators", http.StatusForbidden)
	default:
		return u, true
	}
	return u, false
}

// ours reports whether a request that changes something comes from the page, or from a program, and
// not from the page of somebody else: a browser sends the header to another origin only if that
// agrees, which this one never does.
func ours(r *http.Request) bool {
	if r.Header.Get("X-Edgesync") == "" {
		return false
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host
}

// webOrders are the requests that may come over HTTP. A hold belongs to a connection of agent.sock.
const webOrders = " " + doRetry + " " + doDrop + " " + doFormerRetry + " " + doFormerDrop + " " + doAck + " reconnect sync log_level "

// doAtMost bounds the body of an order in bytes.
const doAtMost = maxRequest

// serveDo carries out an order of an administrator: a Request, as on agent.sock, that gets an
// Answer.
func serveDo(w http.ResponseWriter, r *http.Request, src Source, going *answers) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		http.Error(w, "only POST", http.StatusMethodNotAllowed)
		return
	}
	if !ours(r) {
		http.Error(w, "not from another page; a program sends the header X-Edgesync: 1", http.StatusForbidden)
		return
	}
	if _, ok := needs(w, r, src, true); !ok {
		return
	}
	line := make([]byte, 0, doAtMost+1)
	for len(line) < cap(line) {
		n, err := r.Body.Read(line[len(line):cap(line)])
		if line = line[:len(line)+n]; err != nil {
			break
		}
	}
	s := Server{snapshot: src.Snapshot, dead: src.Dead}
	a := &Answer{Error: "the page does not ask for that"}
	if q, err := parseRequest(line); err != nil || strings.Contains(webOrders, " "+q.Do+" ") {
		a = s.answer(r.Context(), nil, line)
	}
	data, err := json.Marshal(a)
	if err != nil {
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	going.reply(w, r, "application/json", data)
}
