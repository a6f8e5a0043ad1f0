package registry

import (
	"bytes"
	"encoding/json"
	"slices"
	"sort"
	"strings"

	"edgesync/proto"
)

// What the REST API reads. Any goroutine may call these methods; the functions that they call must
// not call the registry.

// Entity reads an entity's JSON as the cloud sent it, or as it was made here. Devices count from
// when they are visible to lookups.
func (r *Registry) Entity(kind proto.Kind, id proto.UUID) ([]byte, bool) {
	k := localKinds[kind]
	if k == nil || k == devices && !r.HasDevice(id) {
		return nil, false
	}
	return r.get(k.key(id))
}

// Entities calls fn for the entities of a kind, by id, until it returns false. text is fn's to
// keep.
func (r *Registry) Entities(kind proto.Kind, fn func(id proto.UUID, text []byte) bool) {
	k := localKinds[kind]
	if k == nil {
		return
	}
	r.write.Lock()
	ids := r.idsOf(k)
	r.write.Unlock()
	sort.Slice(ids, func(i, j int) bool { return bytes.Compare(ids[i][:], ids[j][:]) < 0 })
	for _, id := range ids {
		if text, ok := r.Entity(kind, id); ok && !fn(id, text) {
			return
		}
	}
}

// Relations calls fn for the relations that begin at an entity, or, if to is true, end at it.
func (r *Registry) Relations(id proto.UUID, to bool, fn func(text []byte)) {
	r.write.Lock()
	keys := r.keysOf(relations)
	r.write.Unlock()
	slices.Sort(keys)
	from, till := 1, 17
	if to {
		from, till = 17, 33
	}
	for _, key := range keys {
		if len(key) != relationKeyLen || key[from:till] != string(id[:]) {
			continue
		}
		if text, ok := r.get(key); ok {
			fn(text)
		}
	}
}

// Relation reads the relation that has the ends, type and group of text; false if there is none.
func (r *Registry) Relation(text []byte) ([]byte, bool) {
	key, ok := relationKey(text)
	if !ok {
		return nil, false
	}
	return r.get(key)
}

// Here reports whether an entity is one whose data are kept here: devices, assets and entity views
// that are here, this edge, its tenant, its customer.
func (r *Registry) Here(entityType string, id proto.UUID) bool {
	if entityType == proto.DeviceEntity {
		return r.HasDevice(id)
	}
	r.write.Lock()
	defer r.write.Unlock()
	return r.ours(entityType, id)
}

// Exists reports whether an entity of any kept kind is here.
func (r *Registry) Exists(entityType string, id proto.UUID) bool {
	switch entityType {
	case "DASHBOARD":
		return r.has(dashboards.key(id))
	case "USER":
		return r.has(users.key(id))
	case "CUSTOMER":
		return r.has(customers.key(id)) || r.Here(entityType, id)
	case "RULE_CHAIN":
		return r.has(ruleChains.key(id))
	}
	return r.Here(entityType, id)
}

// DeviceProfile finds a device profile by name, or with an empty name the default one.
func (r *Registry) DeviceProfile(name string) (Profile, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, p := range r.profiles {
		if name == "" && p.Default || name != "" && p.Name == name {
			return p.Profile, true
		}
	}
	return Profile{}, false
}

// CredentialsJSON writes credentials of a device as ThingsBoard's JSON, with the id that belongs to
// their value (CONTRACT.md 5.5). holder is another device that has this id; zero if there is none.
func (r *Registry) CredentialsJSON(device proto.UUID, kind, id, value string) (text string, holder proto.UUID, err error) {
	c := credentials{device: device, id: id, value: value}
	if err := c.kind.UnmarshalText([]byte(kind)); err != nil {
		return "", holder, err
	}
	if err := c.complete(); err != nil {
		return "", holder, err
	}
	if d, ok := r.byCredentials(c.id); ok && d.ID != device {
		holder = d.ID
	}
	return credentialsJSON(device, c), holder, nil
}

// ValidObject reports whether text is a JSON object within the registry's bounds of size and depth.
func ValidObject(text []byte) bool { return validObject(text) }

// User is somebody who may act here.
type User struct {
	ID        proto.UUID
	Authority string     // TENANT_ADMIN or CUSTOMER_USER
	Customer  proto.UUID // of a CUSTOMER_USER
	Hash      string     // bcrypt; "" for somebody who cannot log in: not activated, disabled
	Text      []byte     // JSON
}

// User finds a user.
func (r *Registry) User(id proto.UUID) (u User, ok bool) {
	text, ok := r.get(users.key(id))
	if !ok {
		return u, false
	}
	var j jsonUser
	if json.Unmarshal(text, &j) != nil {
		return u, false
	}
	u = User{ID: id, Authority: j.Authority, Text: text}
	u.Customer, _ = proto.ParseUUID(j.CustomerID.ID)
	if text, ok := r.get(userCredentials.key(id)); ok {
		var c storedUserCredentials
		if json.Unmarshal(text, &c) == nil && c.Enabled && c.Password != nil {
			u.Hash = *c.Password
		}
	}
	return u, true
}

// UserNamed finds a user by e-mail address, in any case.
func (r *Registry) UserNamed(email string) (User, bool) {
	r.write.Lock()
	ids := r.idsOf(users)
	r.write.Unlock()
	for _, id := range ids {
		text, _ := r.get(users.key(id))
		var j struct {
			Email string `json:"email"`
		}
		if json.Unmarshal(text, &j) == nil && strings.EqualFold(j.Email, email) {
			return r.User(id)
		}
	}
	return User{}, false
}
