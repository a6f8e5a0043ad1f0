package cloudtest

import (
	"fmt"
	"time"

	"edgesync/proto"
)

// AddDevice creates a device and assigns it to the edge; the edge gets it within a second
// (CONTRACT.md 6.3).
func (c *Cloud) AddDevice(edge proto.UUID, d Device) {
	c.enqueue(edge, c.tenant.AddDevice(edge, d), keepByKind)
}

// RenameDevice gives a device another name. It returns an error for an unknown device.
func (c *Cloud) RenameDevice(id proto.UUID, name string) error {
	d, edge, ok := c.tenant.DeviceOf(id)
	if !ok {
		return fmt.Errorf("cloudtest: rename: no device %s", proto.FormatUUID(id))
	}
	d.Name = name
	c.enqueue(edge, c.tenant.SaveDevice(d), keepByKind)
	return nil
}

// SetCredentials changes the credentials of a device.
func (c *Cloud) SetCredentials(id proto.UUID, typ, credID, credValue string) {
	_, edge, _ := c.tenant.DeviceOf(id)
	c.enqueue(edge, c.tenant.SetCredentials(id, typ, credID, credValue), keepByKind)
}

// UnassignDevice takes a device from its edge. The event is not kept for an edge that is away
// (CONTRACT.md 3.5).
func (c *Cloud) UnassignDevice(id proto.UUID) {
	_, edge, _ := c.tenant.DeviceOf(id)
	c.enqueue(edge, c.tenant.Unassign(id), keepNever)
}

// DeleteDevice deletes a device; every edge of the tenant gets the event (CONTRACT.md 6.3).
func (c *Cloud) DeleteDevice(id proto.UUID) { c.enqueueAll(c.tenant.Delete(id)) }

// UploadPackage saves an OTA package. Every edge of the tenant gets it, assigned or not, wanted or
// not, in one message; one that is larger than what an edge announced is dropped, and that edge's
// page stands still for 60 s (CONTRACT.md 13.2).
func (c *Cloud) UploadPackage(p Package) proto.UUID {
	id, m := c.tenant.UploadPackage(p)
	c.enqueueAll(m)
	return id
}

// DeletePackage deletes an OTA package; every edge of the tenant hears of it (CONTRACT.md 6.3).
func (c *Cloud) DeletePackage(id proto.UUID) { c.enqueueAll(c.tenant.DeletePackage(id)) }

// SetSharedAttributes writes shared attributes of a device. The edge gets them only if the rule
// chain has a push-to-edge node, which the default chain lacks (CONTRACT.md 6.3): push is whether
// there is such a node.
func (c *Cloud) SetSharedAttributes(id proto.UUID, kv []*proto.KeyValueProto, push bool) {
	_, edge, _ := c.tenant.DeviceOf(id)
	m := c.tenant.SetAttributes(id, "DEVICE", "SHARED_SCOPE", kv, time.Now())
	if push {
		c.enqueue(edge, m, keepAlways)
	}
}

// SaveEdge replaces the edge entity with that id; a connected edge gets an EdgeUpdateMsg at once,
// with the new secret if that changed (CONTRACT.md 2.8).
func (c *Cloud) SaveEdge(e Edge) {
	c.tenant.SaveEdge(e)
	if s := c.sessionOf(e.ID); s != nil {
		s.edgeUpdate()
	}
}

// DeleteEdge deletes the edge entity. Its stream stays open; the next CONNECT is refused
// (CONTRACT.md 2.6).
func (c *Cloud) DeleteEdge(id proto.UUID) { c.tenant.DeleteEdge(id) }

// AssignCustomer assigns the edge to a customer, or to none with [proto.NullUUID]. The edge gets an
// EdgeUpdateMsg at once, then the customer, its configuration and the customer's users; without a
// customer, only the configuration and CUSTOMER DELETED (CONTRACT.md 2.8).
func (c *Cloud) AssignCustomer(edge, customer proto.UUID) {
	events := c.tenant.AssignCustomer(edge, customer)
	if s := c.sessionOf(edge); s != nil {
		s.edgeUpdate()
	}
	for _, m := range events {
		c.enqueue(edge, m, keepByKind)
	}
}

// StartSync begins a full sync that the edge did not ask for, as an operator does over the REST API
// (CONTRACT.md 3.1). It returns false if the edge is not connected.
func (c *Cloud) StartSync(edge proto.UUID) bool {
	s := c.sessionOf(edge)
	if s == nil {
		return false
	}
	s.syncRequest(&proto.SyncRequestMsg{FullSync: ptr(true)})
	return true
}

// FloodDeleted sends every edge n DELETED of devices that the edge never had, as a busy tenant does
// (CONTRACT.md 6.3).
func (c *Cloud) FloodDeleted(n int) {
	for range n {
		d := &proto.DeviceUpdateMsg{MsgType: proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE}
		d.IdMSB, d.IdLSB = proto.Halves(c.randomUUID())
		c.enqueueAll(&proto.DownlinkMsg{DeviceUpdateMsg: []*proto.DeviceUpdateMsg{d}})
	}
}

// Push queues any message for an edge: the way for messages that have no method here.
func (c *Cloud) Push(edge proto.UUID, m *proto.DownlinkMsg) { c.enqueue(edge, m, keepByKind) }

func (c *Cloud) sessionOf(edge proto.UUID) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.links[edge]; l != nil {
		return l.session
	}
	return nil
}

func ptr[T any](v T) *T { return &v }
