package sync

import (
	"context"
	"fmt"
	"slices"
	"time"

	"edgesync/proto"
	"edgesync/wal"
)

// Create implements Creations. The device is durable before its creation is queued, and found by
// nobody until it is queued, so that no data of the device can stand before it in the queue
// (CONTRACT.md 4.7).
func (a *Agent) Create(ctx context.Context, n *NewDevice) (proto.UUID, error) {
	a.creating.Lock()
	defer a.creating.Unlock()
	b, taken, err := a.Registry.Prepare(n, a.now())
	switch {
	case err != nil:
		return proto.UUID{}, fmt.Errorf("make device %q: %w", n.Name, err)
	case taken:
		return b.ID, ErrNameTaken
	}
	if err := a.announce(ctx, &b); err != nil {
		if e := a.Registry.Discard(b.ID); e != nil {
			a.Log.Warn("a device that could not be announced is made at the next start", "device", n.Name, "error", e)
		}
		return proto.UUID{}, fmt.Errorf("make device %q: %w", n.Name, err)
	}
	if n.Entity == "" { // else people have made it, over REST
		a.tellMade(&b)
	}
	return b.ID, nil
}

// announce queues the creation of a device, its credentials and its relation to its gateway, all or
// none, and makes the device visible.
func (a *Agent) announce(ctx context.Context, b *proto.Creation) error {
	now := a.Clock.Stamp()
	event := func(k proto.Kind, action proto.Action, f []byte) wal.Event {
		return wal.Event{Kind: uint8(k), Action: uint8(action), Time: now, Entity: b.ID, Fragment: f}
	}
	const created = proto.UpdateMsgType_ENTITY_CREATED_RPC_MESSAGE
	events := []wal.Event{
		event(proto.KindDevice, proto.ActionAdded, proto.AppendUpdate(nil, proto.KindDevice, created, b.ID, b.Device)),
		// The server makes none by itself (CONTRACT.md 5.5).
		event(proto.KindDeviceCredentials, proto.ActionCredentialsUpdated,
			proto.AppendUpdate(nil, proto.KindDeviceCredentials, 0, b.ID, b.Credentials)),
	}
	if b.Gateway != (proto.UUID{}) {
		relation := `{"from":{"entityType":"DEVICE","id":"` + proto.FormatUUID(b.Gateway) +
			`"},"to":{"entityType":"DEVICE","id":"` + proto.FormatUUID(b.ID) +
			`"},"type":"Created","typeGroup":"COMMON","additionalInfo":null}`
		events = append(events, event(proto.KindRelation, proto.ActionRelationAddOrUpdate,
			proto.AppendUpdate(nil, proto.KindRelation, created, b.ID, relation)))
	}
	if err := a.Queue.Append(ctx, events...); err != nil {
		return err
	}
	if err := a.Registry.Adopt(b.ID, a.Queue.End().Seq); err != nil {
		// The creation is on its way. Only the mark of that is not on flash, and then the device is
		// announced once more at the next start.
		a.Log.Warn("the registry cannot be written", "error", err)
	}
	return nil
}

func (a *Agent) tellMade(b *proto.Creation) {
	if a.Made != nil {
		a.Made(b)
	}
}

// Bounds of the gateways that are noted, so that two gateways that name the same devices in turn
// wear no flash.
const (
	noteEvery = time.Hour // of one device
	maxNoted  = 256       // devices that are remembered for that, about 10 KiB
)

// noted is a device whose gateway was noted.
type noted struct {
	device proto.UUID
	at     time.Time
}

// Connected implements Creations. The whole device goes up, so it goes while the cloud's changes of
// the device are here: not before the backlog is worked off and the sync has ended.
func (a *Agent) Connected(ctx context.Context, device, gateway proto.UUID) error {
	if p := a.board.read(); p.state != Processing && p.state != Connected || p.sync != "" {
		return nil
	}
	a.creating.Lock()
	defer a.creating.Unlock()
	now := time.Now()
	for _, n := range a.noted {
		if n.device == device && now.Sub(n.at) < noteEvery {
			return nil
		}
	}
	entity, ok := a.Registry.WithGateway(device, gateway)
	if !ok {
		return nil
	}
	f := proto.AppendUpdate(nil, proto.KindDevice, proto.UpdateMsgType_ENTITY_UPDATED_RPC_MESSAGE, device, entity)
	err := a.Queue.Append(ctx, wal.Event{
		Kind: uint8(proto.KindDevice), Action: uint8(proto.ActionUpdated), Time: a.Clock.Stamp(), Entity: device, Fragment: f,
	})
	if err != nil {
		return fmt.Errorf("note the gateway of a device: %w", err)
	}
	a.noted = append(slices.DeleteFunc(a.noted, func(n noted) bool { return n.device == device }), noted{device, now})
	if len(a.noted) > maxNoted {
		a.noted = slices.Delete(a.noted, 0, 1)
	}
	return a.Registry.SetGateway(device, entity, a.Queue.End().Seq)
}

// announcePending queues the creations that a crash left behind, before any door is open.
func (a *Agent) announcePending() {
	for _, b := range a.Registry.PendingCreations() {
		ctx, cancel := context.WithTimeout(context.Background(), announceLimit)
		if err := a.announce(ctx, &b); err != nil {
			a.Log.Warn("a device made here is not announced to the cloud yet", "error", err)
		} else {
			a.tellMade(&b)
		}
		cancel()
	}
}
