package registry

import (
	"errors"
	"strings"

	"edgesync/proto"
)

func (r *Registry) applyDevice(c *change) (bool, error) {
	if c.deleted {
		return r.removeDevice(c.id)
	}
	r.mark(devices, c.id) // first: a device whose update is malformed is still this edge's
	text := []byte(c.text)
	d, ok := decodeDevice(text)
	if !ok {
		return false, errMalformed
	}
	if old, here := r.ByID(c.id); r.texts+textsOf(&d)-textsOf(&old) > maxTexts {
		if !here {
			return false, errFull
		}
		d.Name, d.Type, d.Label = old.Name, old.Type, old.Label
		return false, errors.Join(errFull, r.adopt(c.id, d))
	}
	if err := r.put(devices.key(c.id), text); err != nil {
		if r.HasDevice(c.id) {
			// What the device may do counts from now on, whether it can be stored or not.
			err = errors.Join(err, r.adopt(c.id, d))
		}
		return false, err
	}
	err := r.known(c.id, d.Name)
	had := r.packagesOf(c.id)
	r.noteAssigned(c.id, assignedIn([]byte(c.text)))
	err = errors.Join(err, r.adopt(c.id, d))
	return true, errors.Join(err, r.announce(c.id, had))
}

// textsOf is what a device has of the bytes in Registry.texts.
func textsOf(d *Device) int { return len(d.Name) + len(d.Type) + len(d.Label) }

// adopt puts a device in force and notes for the watcher what changed.
func (r *Registry) adopt(id proto.UUID, d Device) (err error) {
	r.mu.Lock()
	var old Device
	e := r.devices[id]
	isNew := e == nil
	if !isNew {
		old = e.Device
	}
	r.putDevice(id, d)
	r.mu.Unlock()
	if isNew {
		r.fresh[id] = struct{}{}
		// Its credentials may have come before it.
		if text, ok := r.get(deviceCredentials.key(id)); ok {
			if c, ok := decodeCredentials(text); ok {
				err = r.assign(c)
			}
		}
	}
	d, _ = r.ByID(id)
	alias := r.creations[id].alias
	switch {
	case isNew:
		r.notify(d, DeviceCreated)
	default:
		var what Change
		if d.Name != old.Name {
			what |= DeviceRenamed
			if old.Name != alias {
				d.WasNamed = old.Name
			}
		}
		if d.Gateway != old.Gateway {
			what |= GatewayChanged
		}
		if d.ProfileID != old.ProfileID || d.Type != old.Type {
			what |= ProfileChanged
		}
		r.notify(d, what)
	}
	return err
}

// putDevice indexes d under id. The caller holds mu.
func (r *Registry) putDevice(id proto.UUID, d Device) {
	e := r.devices[id]
	if e == nil {
		e = new(entry)
		r.devices[id] = e
	}
	r.unname(e)
	d.ID, d.Credentials = id, e.Credentials
	// A device that was made here has no profile id until the cloud sends it back. It gets the
	// profile of that name, as the cloud will find it.
	if d.ProfileID == (proto.UUID{}) {
		for _, p := range r.profiles {
			if p.Name == d.Type {
				d.ProfileID = p.ID
			}
		}
	}
	if p, ok := r.profiles[d.ProfileID]; ok {
		d.Type = p.Name
	}
	r.texts += textsOf(&d) - textsOf(&e.Device)
	e.Device = d
	e.alias = r.creations[id].alias
	r.shadowed = r.shadowed || r.names[d.Name] != nil
	r.names[d.Name] = e
	switch {
	case e.alias == "":
	case r.names[e.alias] == nil:
		r.names[e.alias] = e
	default:
		r.shadowed = true
	}
}

// unname takes a device out of the index of names. The caller holds mu.
func (r *Registry) unname(e *entry) {
	for _, n := range []string{e.Name, e.alias} {
		if n == "" || r.names[n] != e {
			continue
		}
		delete(r.names, n)
		if !r.shadowed { // no other device has the name
			continue
		}
		for _, other := range r.devices {
			if other != e && (other.Name == n || other.alias == n && r.names[n] == nil) {
				r.names[n] = other
			}
		}
	}
}

// removeDevice forgets a device and its credentials. Deleted and unassigned look the same
// (CONTRACT.md 6.3). Deletions of devices that were never here come by the hundred and cost two
// look-ups each.
func (r *Registry) removeDevice(id proto.UUID) (bool, error) {
	device, err := r.remove(devices.key(id))
	creds, err2 := r.remove(deviceCredentials.key(id))
	if !device && !creds {
		return false, nil
	}
	_, err3 := r.remove(creations.key(id))
	delete(r.creations, id)
	r.gone[id] = struct{}{}
	r.mu.Lock()
	e := r.devices[id]
	var was Device
	if e != nil {
		was = e.Device
		r.unindex(e)
		r.unname(e)
		r.texts -= textsOf(&e.Device)
		delete(r.devices, id)
		delete(r.assigned, id)
	}
	r.mu.Unlock()
	if e != nil {
		r.notify(was, DeviceDeleted)
	}
	return true, errors.Join(err, err2, err3)
}

// credentialsDown takes credentials that the cloud sends.
func (r *Registry) credentialsDown(text []byte) (bool, error) {
	c, ok := decodeCredentials(text)
	if (ok || c.device != proto.UUID{}) && (r.edited(deviceCredentials.id(c.device)) || r.goneHere(c.device)) {
		return false, nil
	}
	if !ok && c.device != (proto.UUID{}) {
		// Credentials of a type that is unknown here: the device has others than before.
		return false, errors.Join(errMalformed, r.revoke(c.device))
	}
	return r.applyCredentials(text)
}

// revoke takes a device's credentials out of force, now and after a restart.
func (r *Registry) revoke(id proto.UUID) error {
	_, err := r.remove(deviceCredentials.key(id))
	r.mu.Lock()
	e := r.devices[id]
	had := e != nil && e.Credentials != NoCredentials
	if had {
		r.unindex(e)
	}
	r.mu.Unlock()
	if d, ok := r.ByID(id); ok && had {
		r.notify(d, CredentialsChanged)
	}
	return err
}

func (r *Registry) applyCredentials(text []byte) (bool, error) {
	c, ok := decodeCredentials(text)
	if !ok {
		return false, errMalformed
	}
	key := deviceCredentials.key(c.device)
	old, had := r.get(key)
	var was credentials
	if had {
		was, had = decodeCredentials(old)
	}
	err := r.put(key, text)
	if errors.Is(err, errFull) {
		// The old credentials must not come back with a restart. The new ones are in force until
		// then; the next sync brings them again.
		_, e := r.remove(key)
		err = errors.Join(err, e)
	}
	// In force at once, also where the medium refuses: the message comes again then.
	err = errors.Join(err, r.assign(c))
	if d, ok := r.ByID(c.device); ok && (!had || c != was) {
		r.notify(d, CredentialsChanged)
	}
	return err == nil, err
}

// assign puts credentials in force.
func (r *Registry) assign(c credentials) error {
	r.mu.Lock()
	loser, moved := r.index(c.device, c)
	r.mu.Unlock()
	if !moved {
		return nil
	}
	// A token has one device. The other device's credentials are out of date, and a restart must
	// not bring them back.
	_, err := r.remove(deviceCredentials.key(loser))
	if d, ok := r.ByID(loser); ok {
		r.notify(d, CredentialsChanged)
	}
	return err
}

// index gives credentials to a device, if the device is known. moved means that another device,
// loser, had their id and has lost it. The caller holds mu.
func (r *Registry) index(id proto.UUID, c credentials) (loser proto.UUID, moved bool) {
	e := r.devices[id]
	if e == nil {
		return loser, false
	}
	r.unindex(e)
	e.Credentials = c.kind
	d, ok := r.digest(c.id)
	if !ok {
		return loser, false
	}
	if other := r.credentials[d]; other != nil {
		loser, moved = other.ID, true
		r.unindex(other)
	}
	e.credentialsID, e.indexed = d, true
	r.credentials[d] = e
	return loser, moved
}

// unindex takes a device's credentials away. The caller holds mu.
func (r *Registry) unindex(e *entry) {
	if e.indexed {
		delete(r.credentials, e.credentialsID)
	}
	e.credentialsID, e.indexed, e.Credentials = digest{}, false, NoCredentials
}

// profile is a device profile in memory.
type profile struct {
	Profile
	key, secret digest // of provisioning
	provisions  bool   // key and secret count
}

func (r *Registry) applyProfile(c *change) (bool, error) {
	key := deviceProfiles.key(c.id)
	if c.deleted {
		there, err := r.remove(key)
		r.mu.Lock()
		delete(r.profiles, c.id)
		r.mu.Unlock()
		return there, errors.Join(err, r.reassign(c.id, assigned{}))
	}
	r.mark(deviceProfiles, c.id)
	p, ok := r.decodeProfile(c.id, []byte(c.text))
	if !ok {
		return false, errMalformed
	}
	err := r.put(key, []byte(c.text))
	if errors.Is(err, errFull) {
		// The old secret of provisioning must not come back with a restart.
		_, e := r.remove(key)
		err = errors.Join(err, e)
	}
	var changed []Device
	r.mu.Lock()
	old := r.profiles[c.id]
	if old == nil || *old != *p {
		r.profiles[c.id] = p
		for _, e := range r.devices {
			if e.ProfileID == c.id {
				r.texts += len(p.Name) - len(e.Type)
				e.Type = p.Name
				if old != nil && old.Profile != p.Profile {
					changed = append(changed, e.Device)
				}
			}
		}
	}
	r.mu.Unlock()
	for _, d := range changed {
		r.notify(d, ProfileChanged)
	}
	err = errors.Join(err, r.reassign(c.id, assignedIn([]byte(c.text))))
	return err == nil, err
}

// renamedByServer reports whether the server gave a device that was made here another name because
// its own was taken: the old name, an underscore and 15 letters (CONTRACT.md 5.5).
func renamedByServer(was, is string) bool {
	suffix, ok := strings.CutPrefix(is, was+"_")
	if !ok || len(suffix) != 15 {
		return false
	}
	for _, c := range suffix {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}
