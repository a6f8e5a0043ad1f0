package device

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"edgesync/proto"
	agent "edgesync/sync"
	"edgesync/sync/guess"
	"edgesync/sync/refusal"
	"edgesync/sync/registry"
)

// What particular refusals add to their reason.
var (
	errNoSlot        = errors.New("more devices want to be connected than there are slots")
	errRevoked       = errors.New("its credentials were taken back while it connected")
	errFilter        = errors.New("it subscribes to a filter that does not exist")
	errOnlyProvision = errors.New("a client named \"provision\" may only ask for credentials")
)

// mark tells one token from another without saying it: the first 16 bits of its SHA-256, in hex. A
// person who has a token at hand can compare (`echo -n TOKEN | sha256sum`); of all others so few
// bits say nothing.
func mark(token string) string {
	if token == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:2])
}

// address is where somebody is, without the port, and of IPv6 without what a host chooses itself.
func address(remote string) string {
	if a := guess.Address(remote).Addr(); a.IsValid() {
		return a.String()
	}
	return ""
}

// detail is the text of an error that may be nil.
func detail(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// note leaves a trace of what was refused over a connection. device is "" while it is not known;
// err may be nil.
func (m *MQTT) note(conn *mqttConn, reason refusal.Reason, device, topic string, err error) {
	m.refusals.Note(time.Now(), refusal.Case{
		Door: refusal.MQTT, Reason: reason, Device: device, Address: address(conn.RemoteAddr().String()), Topic: topic,
		Detail: detail(err),
	})
}

// unknown leaves a trace of a CONNECT whose credentials no device here has.
func (m *MQTT) unknown(conn *mqttConn, reason refusal.Reason, clientID, user string) {
	m.refusals.Note(time.Now(), refusal.Case{
		Door: refusal.MQTT, Reason: reason, Address: address(conn.RemoteAddr().String()), Mark: mark(cmp.Or(user, clientID)),
	})
}

// note leaves a trace of what was refused to the device of the session.
//
//go:noinline
func (s *session) note(reason refusal.Reason, topic string, err error) {
	s.m.note(s.conn, reason, s.device.Name, topic, err)
}

// noteProvision leaves a trace of an answer without credentials.
func (s *session) noteProvision(answer []byte) {
	if why := noCredentials(answer); why != nil {
		s.note(refusal.Provisioning, "", why)
	}
}

// noCredentials says why an answer of provisioned has no credentials, nil where it has them.
func noCredentials(answer []byte) error {
	switch string(answer) {
	case provisionNotFound:
		return errors.New("no device profile here has this provisioning key and secret")
	case provisionFailure:
		return errors.New("a device of this name is there already, or is not as the profile wants it")
	}
	return nil
}

// notTaken is the reason of an error of the intake, or of the creation of a device.
func notTaken(err error) refusal.Reason {
	switch {
	case errors.Is(err, agent.ErrNoRoom):
		return refusal.NoRoom
	case errors.Is(err, errNotSynced):
		return refusal.NotSynced
	}
	return refusal.Full
}

// notMadeReason is the reason of an error of speakFor.
func notMadeReason(err *notMade) refusal.Reason {
	if err.reason == reasonQuota {
		return refusal.NoRoom
	}
	return refusal.BadPayload
}

// unanswered is the reason of an error of buildAnswer.
func unanswered(err error) refusal.Reason {
	if errors.Is(err, errLargeAnswer) {
		return refusal.BadRequest
	}
	return refusal.Busy
}

// note leaves a trace of a request that was refused. device is "" while it is not known.
func (h *HTTP) note(r *http.Request, reason refusal.Reason, device, why string) {
	h.refusals.Note(time.Now(), refusal.Case{
		Door: refusal.HTTP, Reason: reason, Device: device, Address: address(r.RemoteAddr), Detail: why,
	})
}

// unknown leaves a trace of a request whose token no device here has.
func (h *HTTP) unknown(r *http.Request, reason refusal.Reason, token string) {
	h.refusals.Note(time.Now(), refusal.Case{
		Door: refusal.HTTP, Reason: reason, Address: address(r.RemoteAddr), Mark: mark(token),
	})
}

// nameOf is the name of a device, "" for the id of none.
//
//go:noinline
func (d *Doors) nameOf(id proto.UUID) string {
	if id == (proto.UUID{}) {
		return ""
	}
	dev, _ := d.Lookups.ByID(id)
	return dev.Name
}

// wrong answers a request that is wrong beside its body, with 400, and leaves a trace.
func (h *HTTP) wrong(w http.ResponseWriter, r *http.Request, device *registry.Device, why string) {
	h.note(r, refusal.BadRequest, device.Name, why)
	fail(w, http.StatusBadRequest, codeBadRequest, why)
}

// wrongBody answers a request whose body cannot be used, with 400, and leaves a trace.
func (h *HTTP) wrongBody(w http.ResponseWriter, r *http.Request, device *registry.Device, why string) {
	h.note(r, refusal.BadPayload, device.Name, why)
	fail(w, http.StatusBadRequest, codeBadRequest, why)
}
