package device

import (
	"encoding/json"
	"errors"
	"time"

	"edgesync/proto"
)

// Claims: a device says that it may be claimed by a customer, with a secret and for how long. That stays here: the link to the cloud has no word for it
// (device API 5). So that somebody who waits for it finds out, it is recorded like other things that cannot be transferred: durable before the
// device is answered, and then shown among the dead letters. The secret is not kept.

// A device is recorded once in claimEvery; what it says in between is answered all the same. So claims do not push other letters out.
const (
	claimEvery = time.Hour
	maxClaims  = 256 // remembered for it
)

// claimScope stands where events of attributes have their scope.
const claimScope = "CLAIM"

// claim is what a device says to be claimed.
type claim struct {
	SecretKey  json.RawMessage `json:"secretKey"`
	DurationMs json.RawMessage `json:"durationMs"`
}

// readClaim reads a claim as what is recorded of it; an empty one is fine.
func readClaim(payload []byte) (said []proto.KV, err error) {
	if len(payload) == 0 {
		return nil, nil
	}
	var c claim
	if err := readObject(payload, &c); err != nil {
		return nil, err
	}
	if c.SecretKey != nil {
		if c.SecretKey[0] == '{' || c.SecretKey[0] == '[' {
			return nil, errors.New(`"secretKey" must be a string`)
		}
		said = append(said, proto.KV{Key: []byte("secretKey"), Type: proto.KeyValueType_STRING_V, Str: []byte("***")})
	}
	if c.DurationMs != nil {
		ms, err := number(c.DurationMs)
		if err != nil {
			return nil, errors.New(`"durationMs" must be a number`)
		}
		said = append(said, proto.KV{Key: []byte("durationMs"), Type: proto.KeyValueType_LONG_V, Long: ms})
	}
	return said, nil
}

// claimed is a device whose claim is recorded.
type claimed struct {
	id proto.UUID
	at time.Time
}

// claimEvent appends the record of a claim to events, unless the device has one already.
func (d *Doors) claimEvent(events []proto.Event, id proto.UUID, said []proto.KV) []proto.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.claims {
		if c := &d.claims[i]; c.id == id && time.Since(c.at) < claimEvery {
			return events
		}
	}
	now := d.Clock.Stamp()
	return append(events, proto.Event{
		Kind: proto.KindEntityData, Action: proto.ActionClaim, Time: now, Entity: id,
		Fragment: proto.AppendAttributesUpdated(nil, id, proto.DeviceEntity, claimScope, now, said),
	})
}

// claimed remembers the devices whose claims are durable.
func (d *Doors) claimed(events []proto.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range events {
		if len(d.claims) == maxClaims {
			d.claims = d.claims[:copy(d.claims, d.claims[1:])]
		}
		d.claims = append(d.claims, claimed{events[i].Entity, time.Now()})
	}
}
