package device

import (
	"encoding/json"
	"errors"
	"time"

	"edgesync/proto"
)

// A claim is the message in which a device allows a customer to claim it, with a secret and for how
// long. The link to the cloud has no message for a claim (API.md 5), so the claim is recorded like
// other events that cannot be transferred: it is durable before the device is answered, and ends
// among the dead letters, where somebody who waits for it finds it. The secret is not kept.

// Bounds of claims, so that they do not push other events out of the dead letters.
const (
	claimEvery = time.Hour // one claim of a device is recorded in this time; each is answered
	maxClaims  = 256       // claims that are remembered for claimEvery
)

// claimScope stands in the record of a claim where events of attributes have their scope.
const claimScope = "CLAIM"

// claim is the payload of a claim.
type claim struct {
	SecretKey  json.RawMessage `json:"secretKey"`
	DurationMs json.RawMessage `json:"durationMs"`
}

// readClaim reads a claim and returns what is recorded of it. An empty payload is valid.
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

// claimed is a device whose claim was recorded.
type claimed struct {
	id proto.UUID
	at time.Time
}

// claimEvent appends the record of a claim to events, unless one of the device was recorded less
// than claimEvery ago.
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
