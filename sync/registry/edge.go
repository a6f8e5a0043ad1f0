package registry

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"slices"
	"strings"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/sync/plain"
)

// edgeState is which edge this is, and how far its syncs are.
type edgeState struct {
	config *proto.EdgeConfiguration
	synced bool
	// full means that a full sync has completed; kept names the bulky kinds that it brought.
	full bool
	kept string
	// bound is salt and hash of the configured secret that the stored secret replaces; empty: not
	// known yet.
	bound []byte
	// configured is the secret that Secret was asked with last: the one of this session's connect.
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
	if v, ok := r.get(keySynced); ok && len(v) > 0 {
		r.edge.synced, r.edge.full, r.edge.kept = true, v[0] == syncedFull, string(v[1:])
	}
}

// First byte of the record keySynced. Behind syncedFull follow the bulky kinds that were kept,
// sorted, with a comma behind each.
const (
	syncedOnce = 1
	syncedFull = 2
)

// setSynced remembers that a sync has completed.
func (r *Registry) setSynced(full bool) error {
	r.mu.Lock()
	r.edge.synced = true
	if full {
		r.edge.full, r.edge.kept = true, ""
		for _, k := range slices.Sorted(slices.Values(r.o.Keep)) {
			r.edge.kept += k + ","
		}
	}
	r.mu.Unlock()
	if !r.edge.full {
		return r.putFixed(keySynced, []byte{syncedOnce})
	}
	return r.putFixed(keySynced, append([]byte{syncedFull}, r.edge.kept...))
}

// FullySynced reports whether a full sync has completed for this edge that brought every bulky kind
// to be kept now. Any goroutine.
func (r *Registry) FullySynced() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, k := range r.o.Keep {
		if !strings.Contains(","+r.edge.kept, ","+k+",") {
			return false
		}
	}
	return r.edge.full
}

// EdgeID is the id of this edge; false while the cloud has not sent it. Any goroutine.
func (r *Registry) EdgeID() (proto.UUID, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	c := r.edge.config
	if c == nil {
		return proto.UUID{}, false
	}
	return proto.UUIDOf(c.GetEdgeIdMSB(), c.GetEdgeIdLSB()), true
}

// SetEdge stores the edge's configuration, durably. Another edge than before wipes all that the old
// one had (ChangeEdge). After an error the new configuration is in force and not yet durable; the
// next Flush tries again.
func (r *Registry) SetEdge(c *proto.EdgeConfiguration) error { return r.ChangeEdge(c, nil) }

// ChangeEdge is SetEdge, but that a change of the edge keeps the devices made here that mine picks:
// their creations, which stand in the queue at or before seq, have not been accepted yet, and make
// them at the new edge. nil picks none. ChangeEdge decides by itself where the queue has no
// creation yet: a pending creation stays.
func (r *Registry) ChangeEdge(c *proto.EdgeConfiguration, mine func(id proto.UUID, seq uint64) bool) error {
	r.lock()
	defer r.unlock()
	if err := r.setEdge(c, mine); err != nil {
		return err
	}
	return r.flush()
}

func (r *Registry) setEdge(c *proto.EdgeConfiguration, mine func(id proto.UUID, seq uint64) bool) error {
	if c.GetEdgeIdMSB() == 0 && c.GetEdgeIdLSB() == 0 {
		return errNoEdge
	}
	c = pb.Clone(c).(*proto.EdgeConfiguration)
	old := r.edge.config
	other := old != nil && (old.EdgeIdMSB != c.EdgeIdMSB || old.EdgeIdLSB != c.EdgeIdLSB)
	if c.Secret == "" && old != nil && !other {
		c.Secret = old.Secret
	}
	boundEdge(c)
	value, err := pb.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return err
	}
	if other {
		r.log.Warn("the cloud says that this is another edge; what the old one had is removed")
		if err := r.wipe(value, mine); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.edge.config = c
	rebind := r.edge.hasConfigured && !matches(r.edge.bound, r.edge.configured)
	if rebind {
		r.edge.bound = bind(r.edge.configured)
	}
	r.mu.Unlock()
	err = r.putFixed(keyEdge, value)
	if !other { // a change that could not be carried out, and is taken back
		_, e := r.remove(keyWipe)
		err = errors.Join(err, e)
	}
	if rebind {
		err = errors.Join(err, r.putFixed(keySecret, r.edge.bound))
	}
	if old != nil && !other && (old.CustomerIdMSB != c.CustomerIdMSB || old.CustomerIdLSB != c.CustomerIdLSB) {
		// The server deletes none of the old customer's users one by one (CONTRACT.md 2.8).
		_, e := r.dropUsers(func(u *jsonUser) bool { return !r.mayAct(u) })
		err = errors.Join(err, e)
	}
	return err
}

// boundEdge cuts the texts of a configuration, which stays in memory. What cannot be cut, such as a
// secret, is left out if it is too long, and so is what nothing here knows.
func boundEdge(c *proto.EdgeConfiguration) {
	c.Name, c.Type, c.CloudType = plain.Cut(c.Name, maxName), plain.Cut(c.Type, maxName), plain.Cut(c.CloudType, maxName)
	c.RoutingKey, c.Secret, c.AdditionalInfo = bounded(c.RoutingKey), bounded(c.Secret), bounded(c.AdditionalInfo)
	c.ProtoReflect().SetUnknown(nil)
}

// Edge is the last stored configuration, nil if there is none. It must not be changed. Any
// goroutine.
func (r *Registry) Edge() *proto.EdgeConfiguration {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.edge.config
}

// Secret is the routing secret to connect with: the cloud's last one while configured is the secret
// that was configured when the cloud's was stored, otherwise configured itself (CONTRACT.md 2.8).
// Only a salted hash of the configured secret is stored.
func (r *Registry) Secret(configured string) string {
	r.write.Lock()
	defer r.unlock()
	r.mu.Lock()
	r.edge.configured, r.edge.hasConfigured = configured, true
	c, bound := r.edge.config, r.edge.bound
	r.mu.Unlock()
	if c == nil || c.Secret == "" {
		return configured
	}
	if bound == nil {
		// The configuration was stored before anybody asked: the first who asks has the secret of
		// that time.
		bound = bind(configured)
		r.mu.Lock()
		r.edge.bound = bound
		r.mu.Unlock()
		if err := r.stage(keySecret, bound); err != nil {
			r.log.Warn("the registry cannot be written", "error", err)
		}
	}
	if matches(bound, configured) {
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
