package rest

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"time"

	"edgesync/proto"
)

// Visitor is a user who is logged in, for others that show something to users. It counts for one
// request.
type Visitor struct {
	Name  string // the user's e-mail address
	Admin bool   // a tenant administrator; else a user of a customer
	call  call
}

// Visitor finds who sends a request by its token; false if nobody does who is logged in.
func (h *Handler) Visitor(r *http.Request) (v Visitor, ok bool) {
	u, err := h.session(r, time.Now())
	if err != nil {
		return v, false
	}
	var text struct{ Email string }
	_ = json.Unmarshal(u.Text, &text) // a name only
	v = Visitor{Name: text.Email, call: call{Handler: h, user: u}}
	v.Admin = v.call.admin()
	return v, true
}

// Sees reports whether the visitor may see a device, an asset or an entity view: a customer's user
// sees what is assigned to the customer, and nothing that is not here any more.
func (v *Visitor) Sees(id proto.UUID) bool {
	if v.Admin {
		return true
	}
	for _, def := range [...]*entityDef{deviceDef, assetDef, viewDef} {
		if text, ok := v.call.Registry.Entity(def.kind, id); ok {
			d, ok := glance(text)
			return ok && v.call.sees(def, d)
		}
	}
	return false
}

// Overheard reports whether a password in a request could be read on its way: it came neither over
// TLS nor from a private address.
func Overheard(r *http.Request, secure bool) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	a := from.Addr().Unmap()
	return !secure && (err != nil || !a.IsLoopback() && !a.IsPrivate() && !a.IsLinkLocalUnicast())
}

var errOverheard = &failure{
	http.StatusForbidden, codePermission,
	"not over plain HTTP from a public address: the password could be read on its way; use HTTPS (http.tls)",
}
