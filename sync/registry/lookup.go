package registry

import (
	"crypto/sha256"
	"crypto/sha3"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"

	"edgesync/proto"
)

// digest is the key of the index of credentials; false for what cannot be an id of credentials. The
// digest is keyed anew in each process, so the time of a lookup says nothing of the ids that are
// known.
func (r *Registry) digest(id string) (d digest, ok bool) {
	if id == "" || len(id) > maxToken {
		return digest{}, false
	}
	p := append(make([]byte, 0, 64), r.key[:]...) // it escapes, for each post; few tokens need more
	sum := sha256.Sum256(append(p, id...))
	return digest(sum[:len(d)]), true
}

// byCredentials finds the device whose credentials have that id.
func (r *Registry) byCredentials(id string) (Device, bool) {
	d, ok := r.digest(id)
	if !ok {
		return Device{}, false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.credentials[d]; e != nil {
		return e.Device, true
	}
	return Device{}, false
}

// ByToken finds the device with this access token. Only credentials of type ACCESS_TOKEN count. Any
// goroutine.
func (r *Registry) ByToken(token string) (Device, bool) {
	d, ok := r.byCredentials(token)
	if !ok || d.Credentials != AccessToken {
		return Device{}, false
	}
	return d, true
}

// ByMQTT finds the device that these fields of an MQTT CONNECT prove, in the order of API.md 3.2.
// Any goroutine.
func (r *Registry) ByMQTT(clientID, userName string, password []byte) (Device, bool) {
	if len(clientID) > maxToken || len(userName) > maxToken {
		return Device{}, false
	}
	if userName == "" {
		if clientID == "" {
			return Device{}, false
		}
		d, v := r.basic(sha3Hex(clientID), clientID, userName, password)
		return d, v == basicValid
	}
	switch d, v := r.basic(sha3Hex(clientID+"|"+userName), clientID, userName, password); v {
	case basicValid:
		return d, true
	case basicPassword: // the user name must not be tried as a token then
		return Device{}, false
	}
	if d, ok := r.byCredentials(userName); ok && d.Credentials == AccessToken {
		return d, true
	}
	d, v := r.basic(userName, clientID, userName, password)
	return d, v == basicValid
}

// Outcomes of comparing the fields of a CONNECT with MQTT_BASIC credentials.
const (
	basicUnknown = iota
	basicOther
	basicPassword
	basicValid
)

// basic compares the fields with the MQTT_BASIC credentials of that id. Fields that the credentials
// leave out are not compared.
func (r *Registry) basic(id, clientID, userName string, password []byte) (Device, int) {
	d, ok := r.byCredentials(id)
	if !ok || d.Credentials != MQTTBasic {
		return Device{}, basicUnknown
	}
	text, ok := r.get(deviceCredentials.key(d.ID))
	if !ok {
		return Device{}, basicUnknown
	}
	c, ok := decodeCredentials(text)
	var want jsonBasic
	if !ok || c.kind != MQTTBasic || !decode([]byte(c.value), &want) {
		return Device{}, basicUnknown
	}
	switch {
	case want.ClientID != "" && !sameSecret(want.ClientID, clientID), want.UserName != "" && !sameSecret(want.UserName, userName):
		return Device{}, basicOther
	case want.Password != "" && !sameSecret(want.Password, string(password)):
		return Device{}, basicPassword
	}
	return d, basicValid
}

// sameSecret compares in a time that does not depend on where the two differ, or on how long they
// are.
func sameSecret(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// sha3Hex is the hash from which ThingsBoard makes ids of credentials (CONTRACT.md 5.5).
func sha3Hex(s string) string {
	sum := sha3.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// ByCertificate finds the device with this X.509 certificate (DER). Validity dates and chain are
// the caller's to check. Any goroutine.
func (r *Registry) ByCertificate(der []byte) (Device, bool) {
	if len(der) == 0 || len(der) > maxCertificate {
		return Device{}, false
	}
	d, ok := r.byCredentials(sha3Hex(base64.StdEncoding.EncodeToString(der)))
	if !ok || d.Credentials != X509Certificate {
		return Device{}, false
	}
	return d, true
}

// maxCertificate bounds a certificate in bytes.
const maxCertificate = 16 << 10

// ByID finds a device. Any goroutine.
func (r *Registry) ByID(id proto.UUID) (Device, bool) {
	r.mu.RLock() // without defer: each message asks
	var d Device
	e := r.devices[id]
	if e != nil {
		d = e.Device
	}
	r.mu.RUnlock()
	return d, e != nil
}

// ByName finds a device by its exact name, or by the name that it was made with here if the server
// gave it another (CONTRACT.md 4.8). Any goroutine.
func (r *Registry) ByName(name string) (Device, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.names[name]; e != nil {
		return e.Device, true
	}
	return Device{}, false
}

// Each calls fn for the devices, in no order, until it returns false. Any goroutine; fn must not
// call the registry.
func (r *Registry) Each(fn func(Device) bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, e := range r.devices {
		if !fn(e.Device) {
			return
		}
	}
}

// Devices counts the devices. Any goroutine.
func (r *Registry) Devices() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.devices)
}

// HasDevice reports whether this device is here. Any goroutine.
func (r *Registry) HasDevice(id proto.UUID) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.devices[id] != nil
}

// Credentials reads a device's credentials, of whatever type, as ThingsBoard's JSON (CONTRACT.md
// 6.4). Any goroutine.
func (r *Registry) Credentials(id proto.UUID) (json []byte, ok bool) {
	return r.get(deviceCredentials.key(id))
}

// Profile reads what the doors need of a device profile. Any goroutine.
func (r *Registry) Profile(id proto.UUID) (Profile, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if p := r.profiles[id]; p != nil {
		return p.Profile, true
	}
	return Profile{}, false
}

// Provision finds the profile with this provisioning key and secret, if its strategy takes requests
// (API.md 5). All profiles are compared, so that the time says nothing. Any goroutine.
func (r *Registry) Provision(key, secret string) (found Profile, ok bool) {
	// digest refuses an empty text: a profile without a secret is open to nobody.
	k, ok1 := r.digest(key)
	s, ok2 := r.digest(secret)
	if !ok1 || !ok2 {
		return Profile{}, false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, p := range r.profiles {
		if p.provisions && subtle.ConstantTimeCompare(p.key[:], k[:])&subtle.ConstantTimeCompare(p.secret[:], s[:]) == 1 {
			found, ok = p.Profile, true
		}
	}
	return found, ok
}
