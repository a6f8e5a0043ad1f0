package registry

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"edgesync/proto"
)

// Devices are made here when a gateway names an unknown one or a device provisions itself (API.md
// 4.3, 5), also without a link. The order keeps data from reaching the cloud before its device,
// where it would be acknowledged and dropped (CONTRACT.md 4.7):
//
//	Prepare   records on flash, invisible: a pending creation. After a crash PendingCreations
//	          lists it at the next start
//	          the caller queues the entity event
//	Adopt     visible to lookups
//
// A creation is remembered until the cloud sends the device down, so that a sync which began before
// the creation does not take the device for gone.

// creation is what is remembered of a device that was made here.
type creation struct {
	queued bool       // its event is in the queue; false: a pending creation
	known  bool       // the cloud has sent the device down; only the alias is still needed
	seq    uint64     // of the queue, at or behind its event
	parent proto.UUID // the gateway whose device it is; zero: none
	alias  string     // the name it was made with, if the server gave it another
	half   bool       // the cloud has it, assigned to nobody
}

const creationLen = 1 + 8 + 16

func (b *creation) encode() []byte {
	v := make([]byte, creationLen, creationLen+len(b.alias))
	if b.queued {
		v[0] |= 1
	}
	if b.known {
		v[0] |= 2
	}
	if b.half {
		v[0] |= 4
	}
	binary.BigEndian.PutUint64(v[1:], b.seq)
	copy(v[9:], b.parent[:])
	return append(v, b.alias...)
}

func decodeCreation(v []byte) (b creation, ok bool) {
	if len(v) < creationLen || len(v) > creationLen+maxName {
		return b, false
	}
	return creation{
		queued: v[0]&1 != 0, known: v[0]&2 != 0, half: v[0]&4 != 0, seq: binary.BigEndian.Uint64(v[1:]),
		parent: proto.UUID(v[9:creationLen]), alias: string(v[creationLen:]),
	}, true
}

// ErrName means that a name is empty, too long, or cannot be sent.
var ErrName = errors.New("registry: not a name")

// ErrCredentials means that credentials are of a type that is unknown here, or that their value is
// none of that type.
var ErrCredentials = errors.New("registry: not credentials")

// ErrFull means that there is no room for another device.
var ErrFull = errFull

// Prepare makes a device durable and leaves it invisible until Adopt. taken means that the name
// belongs to a device, whose id is in b, or that the credentials are another device's; then, and on
// any error, nothing was made. Any goroutine.
func (r *Registry) Prepare(n *proto.NewDevice, now time.Time) (b proto.Creation, taken bool, err error) {
	r.write.Lock()
	defer r.unlock()
	if len(r.creations) >= maxCreations {
		return b, false, errFull
	}
	r.room.making = true
	defer func() { r.room.making = false }()
	if err := r.relieve(); err != nil {
		return b, false, err
	}
	if n.Name == "" || len([]rune(n.Name)) > 255 || !validName(n.Name) || !validName(n.Type) || len([]rune(n.Type)) > 255 {
		return b, false, ErrName
	}
	if d, ok := r.ByName(n.Name); ok {
		b.ID = d.ID
		return b, true, nil
	}
	c := credentials{kind: AccessToken, id: n.CredentialsID}
	if n.CredentialsType != "" {
		if err := c.kind.UnmarshalText([]byte(n.CredentialsType)); err != nil {
			return b, false, errors.Join(ErrCredentials, err)
		}
		c.value = n.CredentialsValue
	}
	if err := c.complete(); err != nil {
		return b, false, err
	}
	if _, taken := r.byCredentials(c.id); taken {
		return b, true, nil
	}
	b.ID, b.Gateway = proto.NewUUID(), n.Gateway
	if b.Device = n.Entity; n.Entity == "" {
		b.Device = r.deviceJSON(b.ID, n, now)
	} else {
		b.ID = n.ID
		d, ok := decodeDevice([]byte(n.Entity))
		if _, twice := r.creations[n.ID]; !ok || d.Name != n.Name || twice || n.ID == (proto.UUID{}) || r.has(devices.key(n.ID)) {
			return proto.Creation{}, false, errMalformed
		}
	}
	b.Credentials = credentialsJSON(b.ID, c)
	mark := creation{parent: n.Gateway}
	for _, rec := range []struct {
		k *kind
		v []byte
	}{{devices, []byte(b.Device)}, {deviceCredentials, []byte(b.Credentials)}, {creations, mark.encode()}} {
		if err = r.put(rec.k.key(b.ID), rec.v); err != nil {
			break
		}
	}
	if err == nil {
		err = r.flush()
	}
	if err != nil {
		return b, false, errors.Join(err, r.forget(b.ID))
	}
	r.creations[b.ID] = mark
	return b, false, nil
}

// Adopt makes a prepared device visible; its event is in the queue at or before seq. Any goroutine.
func (r *Registry) Adopt(id proto.UUID, seq uint64) error {
	r.lock()
	defer r.unlock()
	mark, ok := r.creations[id]
	text, there := r.get(devices.key(id))
	d, readable := decodeDevice(text)
	if !ok || !there || !readable {
		return errMalformed
	}
	mark.queued, mark.seq = true, seq
	r.creations[id] = mark
	// If a power cut loses this record, the event is queued again at the next start; a second
	// creation is legal (CONTRACT.md 4.8).
	err := errors.Join(r.put(creations.key(id), mark.encode()), r.adopt(id, d))
	delete(r.fresh, id) // the cloud has nothing of it to ask for
	return err
}

// Discard removes a prepared device. Any goroutine.
func (r *Registry) Discard(id proto.UUID) error {
	r.write.Lock()
	defer r.unlock()
	delete(r.creations, id)
	return r.forget(id)
}

func (r *Registry) forget(id proto.UUID) (err error) {
	for _, k := range []*kind{devices, deviceCredentials, creations} {
		_, e := r.remove(k.key(id))
		err = errors.Join(err, e)
	}
	return errors.Join(err, r.flush())
}

// PendingCreations lists the devices that were prepared and not adopted, because a crash came
// between. Any goroutine.
func (r *Registry) PendingCreations() (list []proto.Creation) {
	r.write.Lock()
	defer r.unlock()
	for id, b := range r.creations {
		if b.queued {
			continue
		}
		device, ok1 := r.get(devices.key(id))
		creds, ok2 := r.get(deviceCredentials.key(id))
		if ok1 && ok2 {
			list = append(list, proto.Creation{ID: id, Gateway: b.parent, Device: string(device), Credentials: string(creds)})
		}
	}
	return list
}

// known notes that the cloud knows a device, and under which name.
func (r *Registry) known(id proto.UUID, name string) error {
	b, ok := r.creations[id]
	if !ok {
		return nil
	}
	b.queued = true
	r.mu.RLock()
	e := r.devices[id]
	was := ""
	if e != nil {
		was = e.Name
	}
	r.mu.RUnlock()
	switch {
	case renamedByServer(was, name):
		// A gateway that uses the old name must find the device, or it would make it again, and the
		// server would rename it again.
		r.log.Warn("the name of a device made here is taken in the cloud, which gave it another", "name", was, "now", name)
		b.known, b.alias = true, was
	case b.alias != "" && name == was:
		return nil
	default:
		delete(r.creations, id)
		_, err := r.remove(creations.key(id))
		return err
	}
	r.creations[id] = b
	return r.putFixed(creations.key(id), b.encode())
}

// complete computes the id of credentials from their value (CONTRACT.md 5.5).
func (c *credentials) complete() error {
	switch c.kind {
	case AccessToken:
		if c.value = ""; c.id == "" {
			c.id = newToken()
		}
	case MQTTBasic:
		var b jsonBasic
		if !decode([]byte(c.value), &b) || b.ClientID == "" && b.UserName == "" {
			return ErrCredentials
		}
		switch {
		case b.ClientID == "":
			c.id = b.UserName
		case b.UserName == "":
			c.id = sha3Hex(b.ClientID)
		default:
			c.id = sha3Hex(b.ClientID + "|" + b.UserName)
		}
	case X509Certificate:
		// The server keeps whatever text is left, and computes the id from it.
		if c.value = certificateBody.Replace(c.value); c.value == "" {
			return ErrCredentials
		}
		c.id = sha3Hex(c.value)
	}
	if len(c.id) > maxToken {
		return ErrCredentials
	}
	return nil
}

// certificateBody takes the armour and the line breaks of PEM from a certificate, as the server
// does (CONTRACT.md 5.5).
var certificateBody = strings.NewReplacer("-----BEGIN CERTIFICATE-----", "", "-----END CERTIFICATE-----", "", "\n", "", "\r", "")

func (r *Registry) deviceJSON(id proto.UUID, n *proto.NewDevice, now time.Time) string {
	profile := n.Type
	if profile == "" {
		profile = "default"
	}
	b := make([]byte, 0, 512)
	b = append(b, `{"id":{"entityType":"DEVICE","id":"`...)
	b = append(b, proto.FormatUUID(id)...)
	b = append(b, `"},"createdTime":`...)
	b = appendInt(b, now.UnixMilli())
	b = append(b, `,"tenantId":{"entityType":"TENANT","id":"`...)
	tenant := proto.UUID{}
	if e := r.edge.config; e != nil {
		tenant = proto.UUIDOf(e.TenantIdMSB, e.TenantIdLSB)
	}
	b = append(b, proto.FormatUUID(tenant)...)
	b = append(b, `"},"name":`...)
	b = proto.AppendJSONString(b, n.Name)
	b = append(b, `,"type":`...)
	b = proto.AppendJSONString(b, profile)
	if d, ok := r.ByID(n.Gateway); ok && d.CustomerID != proto.NullUUID {
		b = append(b, `,"customerId":{"entityType":"CUSTOMER","id":"`...)
		b = append(b, proto.FormatUUID(d.CustomerID)...)
		b = append(b, `"}`...)
	}
	b = append(b, `,"additionalInfo":{`...)
	sep := ""
	if n.IsGateway {
		b, sep = append(b, `"gateway":true`...), ","
	}
	if n.Gateway != (proto.UUID{}) {
		b = append(b, sep...)
		b = append(b, `"lastConnectedGateway":"`...)
		b = append(b, proto.FormatUUID(n.Gateway)...)
		b = append(b, '"')
	}
	return string(append(b, "}}"...))
}

// WithGateway is the JSON of a device with the gateway as its lastConnectedGateway. ok is false
// where that stands there already, or the device is not here. Any goroutine.
func (r *Registry) WithGateway(device, gateway proto.UUID) (entity string, ok bool) {
	if d, here := r.ByID(device); !here || d.LastGateway == gateway {
		return "", false
	}
	text, _ := r.get(devices.key(device))
	var fields, info map[string]json.RawMessage
	if json.Unmarshal(text, &fields) != nil || fields == nil {
		return "", false
	}
	if json.Unmarshal(fields["additionalInfo"], &info) != nil || info == nil {
		info = map[string]json.RawMessage{} // of null, or of what is no object
	}
	info["lastConnectedGateway"] = json.RawMessage(`"` + proto.FormatUUID(gateway) + `"`)
	var err error
	if fields["additionalInfo"], err = json.Marshal(info); err != nil {
		return "", false
	}
	b, err := json.Marshal(fields)
	return string(b), err == nil
}

// SetGateway stores the JSON of WithGateway, whose event is in the queue at or before seq. Any
// goroutine.
func (r *Registry) SetGateway(device proto.UUID, entity string, seq uint64) error {
	return r.Edit(seq, Edit{Kind: proto.KindDevice, ID: device, Text: entity})
}

func credentialsJSON(device proto.UUID, c credentials) string {
	b := make([]byte, 0, 256)
	b = append(b, `{"deviceId":{"entityType":"DEVICE","id":"`...)
	b = append(b, proto.FormatUUID(device)...)
	b = append(b, `"},"credentialsType":"`...)
	b = append(b, c.kind.String()...)
	b = append(b, `","credentialsId":`...)
	b = proto.AppendJSONString(b, c.id)
	b = append(b, `,"credentialsValue":`...)
	if c.value == "" {
		b = append(b, "null"...)
	} else {
		b = proto.AppendJSONString(b, c.value)
	}
	return string(append(b, '}'))
}

// newToken makes an access token of 20 letters and digits, as ThingsBoard does.
func newToken() string {
	return rand.Text()[:20]
}
