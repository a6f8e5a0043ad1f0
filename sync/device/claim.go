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
	maxClaims  = 1024 // devices remembered for it
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

// claimEvent is the record of a claim; ok is false if the device has one already.
func (d *Doors) claimEvent(id proto.UUID, said []proto.KV) (e proto.Event, ok bool) {
	d.mu.Lock()
	last, known := d.claims[id]
	d.mu.Unlock()
	if known && time.Since(last) < claimEvery {
		return e, false
	}
	now := d.Clock.Stamp()
	return proto.Event{
		Kind: proto.KindEntityData, Action: proto.ActionClaim, Time: now, Entity: id,
		Fragment: proto.AppendAttributesUpdated(nil, id, proto.DeviceEntity, claimScope, now, said),
	}, true
}

// claimed remembers the devices whose claims are recorded.
func (d *Doors) claimed(events []proto.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for i := range events {
		if len(d.claims) >= maxClaims {
			for id, at := range d.claims {
				if now.Sub(at) >= claimEvery {
					delete(d.claims, id)
				}
			}
			if len(d.claims) >= maxClaims {
				return
			}
		}
		d.claims[events[i].Entity] = now
	}
}
