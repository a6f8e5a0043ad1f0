package registry

import (
	"crypto/sha256"
	"encoding/json"
	"errors"

	"edgesync/proto"
)

// applyCustomer keeps a customer. Its users go with it: the server does not delete them one by one
// (CONTRACT.md 2.8).
func (r *Registry) applyCustomer(c *change) (bool, error) {
	kept, err := r.applyEntity(c)
	if c.deleted {
		n, e := r.dropUsers(func(u *jsonUser) bool { return u.CustomerID.ID == proto.FormatUUID(c.id) })
		return kept || n > 0, errors.Join(err, e)
	}
	return kept, err
}

// mayAct reports whether a user may act here: tenant administrators and the users of the edge's own
// customer. Users of other customers come to every edge of the tenant, with hashes and activation
// tokens (CONTRACT.md 6.3).
func (r *Registry) mayAct(u *jsonUser) bool {
	switch u.Authority {
	case "TENANT_ADMIN":
		return true
	case "CUSTOMER_USER":
		e := r.edge.config
		if e == nil {
			return false
		}
		own := proto.UUIDOf(e.CustomerIdMSB, e.CustomerIdLSB)
		id, ok := proto.ParseUUID(u.CustomerID.ID)
		return ok && id == own && own != proto.NullUUID && own != proto.UUID{}
	}
	return false
}

func (r *Registry) applyUser(c *change) (bool, error) {
	if c.deleted {
		return r.removeUser(c.id)
	}
	var u jsonUser
	if !decode([]byte(c.text), &u) {
		return false, errMalformed
	}
	if !r.mayAct(&u) {
		return r.removeUser(c.id) // the user may have been allowed before
	}
	kept, err := r.applyEntity(c)
	refused := err != nil && (!errors.Is(err, errMalformed) || errors.Is(err, errLong))
	if refused && r.has(users.key(c.id)) && !r.same(users.key(c.id), []byte(c.text)) {
		// What the user may do has changed and cannot be stored: nothing is left of it.
		_, e := r.removeUser(c.id)
		err = errors.Join(err, e)
	}
	return kept, err
}

func (r *Registry) removeUser(id proto.UUID) (bool, error) {
	there, err := r.remove(users.key(id))
	_, err2 := r.remove(userCredentials.key(id))
	return there, errors.Join(err, err2)
}

// dropUsers removes the users that match and counts them.
func (r *Registry) dropUsers(match func(u *jsonUser) bool) (n int, err error) {
	for _, id := range r.idsOf(users) {
		text, _ := r.get(users.key(id))
		var u jsonUser
		if json.Unmarshal(text, &u) == nil && match(&u) {
			_, e := r.removeUser(id)
			err = errors.Join(err, e)
			n++
		}
	}
	return n, err
}

// storedUserCredentials is all that is kept of a user's credentials: tokens for activation and
// reset have no use here.
type storedUserCredentials struct {
	Enabled  bool    `json:"enabled"`
	Password *string `json:"password"` // bcrypt
}

func (r *Registry) applyUserCredentials(text []byte) (bool, error) {
	var j struct {
		UserID jsonID `json:"userId"`
		storedUserCredentials
	}
	if !decode(text, &j) {
		return false, errMalformed
	}
	id, ok := proto.ParseUUID(j.UserID.ID)
	if !ok {
		return false, errMalformed
	}
	if !r.has(users.key(id)) {
		return false, nil // of somebody who may not act here
	}
	value, err := json.Marshal(j.storedUserCredentials)
	if err != nil {
		return false, errMalformed
	}
	key := userCredentials.key(id)
	if err := r.put(key, value); err != nil {
		if errors.Is(err, errFull) { // the old password is out of force all the same
			_, e := r.remove(key)
			err = errors.Join(err, e)
		}
		return false, err
	}
	return true, nil
}

// relationKeyLen is the length of a relation's key: letter, from, to, and eight bytes of a hash of
// the rest.
const relationKeyLen = 1 + 16 + 16 + 8

// relationKey is the key of a relation, made of all that identifies it; false for what is no
// relation.
func relationKey(text []byte) (string, bool) {
	var j jsonRelation
	if !decode(text, &j) {
		return "", false
	}
	from, ok1 := proto.ParseUUID(j.From.ID)
	to, ok2 := proto.ParseUUID(j.To.ID)
	if !ok1 || !ok2 || j.Type == "" {
		return "", false
	}
	key := make([]byte, 0, relationKeyLen)
	key = append(append(append(key, relations.letter), from[:]...), to[:]...)
	sum := sha256.Sum256([]byte(j.Type + "\x00" + j.Group + "\x00" + j.From.Type + "\x00" + j.To.Type))
	return string(append(key, sum[:8]...)), true
}

// applyRelation keeps a relation. A deletion carries the relation's JSON, because a relation has no
// id (CONTRACT.md 6.3).
func (r *Registry) applyRelation(t proto.UpdateMsgType, text []byte) (bool, error) {
	key, ok := relationKey(text)
	if !ok {
		return false, errMalformed
	}
	if t == proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE {
		return r.remove(key)
	}
	if err := r.put(key, text); err != nil {
		return false, err
	}
	return true, nil
}

// applyAlarm keeps an alarm while it is open. One that is cleared and acknowledged is history,
// which the cloud keeps.
func (r *Registry) applyAlarm(c *change) (bool, error) {
	if !c.deleted {
		var j struct{ Acknowledged, Cleared bool }
		if !decode([]byte(c.text), &j) {
			return false, errMalformed
		}
		if j.Acknowledged && j.Cleared {
			return r.removeEntity(alarms, c.id)
		}
	}
	return r.applyEntity(c)
}

// applyComment keeps the comments of the alarms that are kept. A system comment is the only sign
// that an edge of a default installation gets of an alarm that a user acknowledged or cleared
// (CONTRACT.md 6.3).
func (r *Registry) applyComment(t proto.UpdateMsgType, text []byte) (bool, error) {
	var j jsonComment
	if !decode(text, &j) {
		return false, errMalformed
	}
	id, ok1 := proto.ParseUUID(j.ID.ID)
	alarm, ok2 := proto.ParseUUID(j.Alarm.ID)
	if !ok1 || !ok2 {
		return false, errMalformed
	}
	if t == proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE {
		return r.remove(alarmComments.key(id))
	}
	if !r.has(alarms.key(alarm)) {
		return false, nil
	}
	if err := r.put(alarmComments.key(id), text); err != nil {
		return false, err
	}
	if j.Type == "SYSTEM" {
		switch j.Comment.Subtype {
		case "ACKED_BY_USER":
			return true, r.setAlarm(alarm, "acknowledged", "ackTs", j.Created)
		case "CLEARED_BY_USER":
			return true, r.setAlarm(alarm, "cleared", "clearTs", j.Created)
		}
	}
	return true, nil
}

// setAlarm sets a flag of a stored alarm and its time.
func (r *Registry) setAlarm(id proto.UUID, flag, stamp string, ts int64) error {
	text, _ := r.get(alarms.key(id))
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &fields) != nil {
		return nil // unreadable; the cloud's next update brings it whole
	}
	fields[flag] = json.RawMessage("true")
	fields[stamp], _ = json.Marshal(ts)
	text, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	_, err = r.applyAlarm(&change{kind: alarms, id: id, text: string(text)})
	return err
}
