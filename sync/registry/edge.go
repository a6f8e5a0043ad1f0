package registry

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
)

// edgeState is who we are.
type edgeState struct {
	config *proto.EdgeConfiguration
	synced bool
	// bound is salt and hash of the configured secret that the stored one stands in for; empty: not known yet.
	bound []byte
	// configured is the secret that Secret was asked with last: the one this session connected with.
	configured    string
	hasConfigured bool
}

var errNoEdge = errors.New("registry: a configuration without an edge id")

func (r *Registry) loadEdge() {
	if v, ok := r.get(keyEdge); ok {
		c := new(proto.EdgeConfiguration)
		if pb.Unmarshal(v, c) == nil {
			r.edge.config = c
		}
	}
	if v, ok := r.get(keySecret); ok && len(v) == 16+sha256.Size {
		r.edge.bound = v
	}
	r.edge.synced = r.has(keySynced)
}

// EdgeID is the id of this edge; false while the cloud has not told it. Any goroutine.
func (r *Registry) EdgeID() (proto.UUID, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	c := r.edge.config
	if c == nil {
		return proto.UUID{}, false
	}
	return proto.UUIDOf(c.GetEdgeIdMSB(), c.GetEdgeIdLSB()), true
}

// SetEdge stores who we are, durably. A different edge than before wipes all that the old one had. After an error the new
// configuration is in force and not yet durable; the next Flush tries again.
func (r *Registry) SetEdge(c *proto.EdgeConfiguration) error {
	if err := r.setEdge(c); err != nil {
		return err
	}
	return r.Flush()
}

func (r *Registry) setEdge(c *proto.EdgeConfiguration) error {
	if c.GetEdgeIdMSB() == 0 && c.GetEdgeIdLSB() == 0 {
		return errNoEdge
	}
	c = pb.Clone(c).(*proto.EdgeConfiguration)
	old := r.edge.config
	other := old != nil && (old.EdgeIdMSB != c.EdgeIdMSB || old.EdgeIdLSB != c.EdgeIdLSB)
	if c.Secret == "" && old != nil && !other {
		c.Secret = old.Secret
	}
	value, err := pb.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if other {
		r.log.Warn("the cloud says that this is another edge; what the old one had is removed")
		r.wipe()
	}
	r.edge.config = c
	err = r.putFixed(keyEdge, value)
	if r.edge.hasConfigured && !matches(r.edge.bound, r.edge.configured) {
		r.edge.bound = bind(r.edge.configured)
		err = errors.Join(err, r.putFixed(keySecret, r.edge.bound))
	}
	return err
}

// putFixed is put for the few records that always have a place.
func (r *Registry) putFixed(key string, value []byte) error {
	if old, ok := r.get(key); ok && string(old) == string(value) {
		return nil
	}
	return r.stage(key, value)
}

// wipe stages the removal of every record and empties memory. The caller holds mu.
func (r *Registry) wipe() {
	clear(r.staged)
	r.stagedBytes = 0
	for _, key := range r.store.Keys("") {
		r.staged[key] = nil
		r.stagedBytes += len(key)
	}
	clear(r.devices)
	clear(r.tokens)
	clear(r.profiles)
	r.seen, r.seenProfile = nil, nil
	r.edge.synced, r.edge.bound = false, nil
}

// Edge is the last stored configuration, nil if there is none. It must not be changed. Any goroutine.
func (r *Registry) Edge() *proto.EdgeConfiguration {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.edge.config
}

// Secret is the routing secret to connect with: the cloud's last one while configured is the secret that was configured when the
// cloud's was stored, otherwise configured itself (wire contract 2.8). Only a salted hash of the configured one is stored.
func (r *Registry) Secret(configured string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.edge.configured, r.edge.hasConfigured = configured, true
	c := r.edge.config
	if c == nil || c.Secret == "" {
		return configured
	}
	if r.edge.bound == nil {
		// Stored before anybody asked: the first who asks has the secret of that time.
		r.edge.bound = bind(configured)
		r.staged[keySecret] = r.edge.bound
		r.stagedBytes += len(keySecret) + len(r.edge.bound)
	}
	if matches(r.edge.bound, configured) {
		return c.Secret
	}
	return configured
}

// bind makes salt and hash of a secret.
func bind(secret string) []byte {
	salt := make([]byte, 16, 16+sha256.Size)
	rand.Read(salt)
	return append(salt, saltedHash(salt, secret)...)
}

func matches(bound []byte, secret string) bool {
	return len(bound) == 16+sha256.Size && subtle.ConstantTimeCompare(bound[16:], saltedHash(bound[:16], secret)) == 1
}

func saltedHash(salt []byte, secret string) []byte {
	h := sha256.New()
	h.Write(salt)
	h.Write([]byte(secret))
	return h.Sum(nil)
}
