package registry

import (
	"errors"

	"google.golang.org/protobuf/reflect/protoreflect"

	"edgesync/proto"
)

// Names of the parts of DownlinkMsg that are understood.
const (
	partSyncCompleted = "syncCompletedMsg"
	partEdge          = "edgeConfiguration"
	partProfile       = "deviceProfileUpdateMsg"
	partDevice        = "deviceUpdateMsg"
	partCredentials   = "deviceCredentialsUpdateMsg"
)

// Apply stages what m brings, in the order of wire contract 6.2; used tells whether any part of it was understood and kept. What is not
// understood or malformed is counted and no error. An error means that the medium refused; m may then be applied again.
func (r *Registry) Apply(m *proto.DownlinkMsg) (used bool, err error) {
	if m == nil {
		return false, nil
	}
	if r.stagedBytes > maxStaged {
		// The medium refused before. What waits must not grow without bound.
		if err := r.Flush(); err != nil {
			return false, err
		}
	}
	r.countReceived(m)
	tell := func(part string, kept bool, e error) {
		switch {
		case errors.Is(e, errMalformed), errors.Is(e, errFull):
			r.count(part, func(c *Count) { c.Malformed++ })
			if e == errMalformed {
				// Its content may hold secrets; its part is all that is told.
				r.log.Warn("the cloud sent something malformed, which is ignored", "part", part)
			}
		case e != nil:
			err = errors.Join(err, e)
		case kept:
			used = true
			r.count(part, func(c *Count) { c.Kept++ })
		}
	}
	if m.SyncCompletedMsg != nil {
		tell(partSyncCompleted, true, nil) // the loop's affair
	}
	if c := m.EdgeConfiguration; c != nil {
		kept, e := r.applyEdge(c)
		tell(partEdge, kept, e)
	}
	for _, u := range m.DeviceProfileUpdateMsg {
		kept, e := r.applyProfile(u)
		tell(partProfile, kept, e)
	}
	for _, u := range m.DeviceUpdateMsg {
		kept, e := r.applyDevice(u)
		tell(partDevice, kept, e)
	}
	for _, u := range m.DeviceCredentialsUpdateMsg {
		kept, e := r.applyCredentials([]byte(u.GetEntity()))
		tell(partCredentials, kept, e)
	}
	return used, err
}

// countReceived counts the parts of m by their names.
func (r *Registry) countReceived(m *proto.DownlinkMsg) {
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsList():
			r.count(string(f.Name()), func(c *Count) { c.Received += uint64(v.List().Len()) })
		case f.Message() != nil:
			r.count(string(f.Name()), func(c *Count) { c.Received++ })
		}
		return true
	})
}

// count changes the counters of a part. There are as many as DownlinkMsg has fields.
func (r *Registry) count(part string, change func(*Count)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counts[part]
	if c == nil {
		c = &Count{Part: part}
		r.counts[part] = c
	}
	change(c)
}

var errMalformed = errors.New("registry: malformed")

// applyEdge takes the configuration that comes when the edge's customer changes. Another edge cannot speak in our session.
func (r *Registry) applyEdge(c *proto.EdgeConfiguration) (bool, error) {
	if e := r.edge.config; e != nil && (e.EdgeIdMSB != c.EdgeIdMSB || e.EdgeIdLSB != c.EdgeIdLSB) {
		return false, errMalformed
	}
	err := r.setEdge(c)
	if errors.Is(err, errNoEdge) {
		err = errMalformed
	}
	return true, err
}

func recordKey(kind byte, id proto.UUID) string {
	var k [keyLen]byte
	k[0] = kind
	copy(k[1:], id[:])
	return string(k[:])
}

func (r *Registry) applyProfile(u *proto.DeviceProfileUpdateMsg) (bool, error) {
	id := proto.UUIDOf(u.GetIdMSB(), u.GetIdLSB())
	key := recordKey(kindProf, id)
	if u.GetMsgType() == proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE {
		there, err := r.remove(key)
		if there {
			r.mu.Lock()
			delete(r.profiles, id)
			r.mu.Unlock()
		}
		return there, err
	}
	if r.seenProfile != nil {
		r.seenProfile[id] = struct{}{}
	}
	p, ok := decodeProfile([]byte(u.GetEntity()))
	if !ok {
		return false, errMalformed
	}
	err := r.put(key, []byte(u.GetEntity()))
	if errors.Is(err, errFull) {
		return false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.profiles[id] != p.Name {
		r.profiles[id] = p.Name
		for _, e := range r.devices {
			if e.ProfileID == id {
				e.Type = p.Name
			}
		}
	}
	return true, err
}

func (r *Registry) applyDevice(u *proto.DeviceUpdateMsg) (bool, error) {
	id := proto.UUIDOf(u.GetIdMSB(), u.GetIdLSB())
	if u.GetMsgType() == proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE {
		return r.removeDevice(id)
	}
	if r.seen != nil {
		// Marked first: a device whose update is malformed is ours all the same.
		r.seen[id] = struct{}{}
	}
	d, ok := decodeDevice([]byte(u.GetEntity()))
	if !ok {
		return false, errMalformed
	}
	err := r.put(recordKey(kindDevice, id), []byte(u.GetEntity()))
	if errors.Is(err, errFull) {
		return false, err
	}
	r.mu.Lock()
	known := r.devices[id] != nil
	r.putDevice(id, d)
	r.mu.Unlock()
	if !known {
		// Its credentials may have come before it.
		if text, ok := r.get(recordKey(kindCreds, id)); ok {
			if c, ok := decodeCredentials(text); ok {
				err = errors.Join(err, r.assign(c))
			}
		}
	}
	return true, err
}

// putDevice makes d known under id. The caller holds mu.
func (r *Registry) putDevice(id proto.UUID, d Device) {
	e := r.devices[id]
	if e == nil {
		e = new(entry)
		r.devices[id] = e
	}
	d.ID, d.Credentials = id, e.Credentials
	if name, ok := r.profiles[d.ProfileID]; ok {
		d.Type = name
	}
	e.Device = d
}

// removeDevice forgets a device and its credentials: deleted or unassigned, they look the same (wire contract 6.3). Ids that we never had
// come by the hundred and cost two look-ups.
func (r *Registry) removeDevice(id proto.UUID) (bool, error) {
	device, err := r.remove(recordKey(kindDevice, id))
	creds, err2 := r.remove(recordKey(kindCreds, id))
	if !device && !creds {
		return false, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.devices[id]; e != nil {
		r.unindex(e)
		delete(r.devices, id)
	}
	return true, errors.Join(err, err2)
}

func (r *Registry) applyCredentials(text []byte) (bool, error) {
	c, ok := decodeCredentials(text)
	if !ok {
		return false, errMalformed
	}
	err := r.put(recordKey(kindCreds, c.device), text)
	if errors.Is(err, errFull) {
		return false, err
	}
	return true, errors.Join(err, r.assign(c))
}

// assign puts credentials in force.
func (r *Registry) assign(c credentials) error {
	r.mu.Lock()
	loser, moved := r.index(c.device, c)
	r.mu.Unlock()
	if !moved {
		return nil
	}
	// A token has one device. The other's credentials are out of date, and a restart must not bring them back.
	_, err := r.remove(recordKey(kindCreds, loser))
	return err
}

// index gives credentials to a device, if it is known. When that takes a token away from another device it tells from which.
// The caller holds mu.
func (r *Registry) index(id proto.UUID, c credentials) (loser proto.UUID, moved bool) {
	e := r.devices[id]
	if e == nil {
		return loser, false
	}
	r.unindex(e)
	e.Credentials = c.kind
	if c.kind != AccessToken {
		return loser, false
	}
	d, ok := r.digest(c.token)
	if !ok {
		return loser, false
	}
	if other := r.tokens[d]; other != nil {
		loser, moved = other.ID, true
		r.unindex(other)
	}
	e.token, e.tokens = d, true
	r.tokens[d] = e
	return loser, moved
}

// unindex takes a device's credentials away. The caller holds mu.
func (r *Registry) unindex(e *entry) {
	if e.tokens {
		delete(r.tokens, e.token)
	}
	e.token, e.tokens, e.Credentials = digest{}, false, NoCredentials
}

// Credentials reads a device's credentials, of whatever type, as the cloud sent them (wire contract 6.4). The loop's goroutine.
func (r *Registry) Credentials(id proto.UUID) (json []byte, ok bool) {
	return r.get(recordKey(kindCreds, id))
}
