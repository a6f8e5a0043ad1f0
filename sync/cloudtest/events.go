package cloudtest

import (
	"encoding/json"
	"strconv"

	pb "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"edgesync/proto"
)

// keepRule is whether an event is kept for an edge that is away (CONTRACT.md 3.5).
type keepRule int

const (
	keepByKind keepRule = iota // depends on the message
	keepAlways                 // answers to the edge's own requests, what a push node wrote, DELETED
	keepNever                  // UNASSIGNED, which looks like DELETED
)

// keptKinds are the parts of a DownlinkMsg that are kept for an edge that is away, whatever the
// action.
var keptKinds = map[protoreflect.Name]bool{
	"alarmUpdateMsg": true, "alarmCommentUpdateMsg": true, "ruleChainUpdateMsg": true, "ruleChainMetadataUpdateMsg": true,
	"userUpdateMsg": true, "userCredentialsUpdateMsg": true, "customerUpdateMsg": true, "tenantUpdateMsg": true,
	"tenantProfileUpdateMsg": true,
	"widgetsBundleUpdateMsg": true, "widgetTypeUpdateMsg": true, "adminSettingsUpdateMsg": true, "otaPackageUpdateMsg": true,
	"queueUpdateMsg": true, "relationUpdateMsg": true, "calculatedFieldUpdateMsg": true, "aiModelUpdateMsg": true, "apiKeyUpdateMsg": true,
	"notificationRuleUpdateMsg": true, "notificationTargetUpdateMsg": true, "notificationTemplateUpdateMsg": true,
}

func keptOffline(m *proto.DownlinkMsg) (kept bool) {
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		kept = keptKinds[f.Name()]
		return !kept
	})
	return kept
}

// enqueue puts an event into the table of an edge. Nothing is stored before the edge's first
// connect.
func (c *Cloud) enqueue(edge proto.UUID, m *proto.DownlinkMsg, keep keepRule) {
	if m == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(c.links[edge], m, keep)
}

// enqueueAll puts an event into the tables of all edges, as the server does with DELETED
// (CONTRACT.md 6.3).
func (c *Cloud) enqueueAll(m *proto.DownlinkMsg) {
	if m == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.links {
		c.put(l, m, keepAlways)
	}
}

// enqueueOthers queues a message for every edge but the one that caused it.
func (c *Cloud) enqueueOthers(cause proto.UUID, m *proto.DownlinkMsg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, l := range c.links {
		if id != cause {
			c.put(l, m, keepAlways)
		}
	}
}

// put is enqueue for a caller that holds c.mu.
func (c *Cloud) put(l *link, m *proto.DownlinkMsg, keep keepRule) {
	switch {
	case l == nil:
		return
	case l.session == nil && (keep == keepNever || keep == keepByKind && !keptOffline(m)):
		return
	}
	if len(l.queue) >= maxEvents {
		l.queue = l.queue[1:]
	}
	l.nextSeq++
	l.queue = append(l.queue, event{l.nextSeq, m})
	c.stallIfPending(l)
}

// stallIfPending stops the events of all edges while this edge has not acknowledged an RPC
// (CONTRACT.md 6.1). The caller holds c.mu.
func (c *Cloud) stallIfPending(l *link) {
	if l.session != nil && l.session.rpcPending && c.stalledBy == nil {
		c.stalledBy = l.session
	}
}

// unstall lets the events of all edges flow again and wakes all sessions. The caller holds c.mu.
func (c *Cloud) unstall() {
	c.stalledBy = nil
	for s := range c.sessions {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (c *Cloud) isStalled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stalledBy != nil
}

// page returns the next events of the edge. They stay in the table until delivered. A session that
// was replaced gets none.
func (c *Cloud) page(l *link, s *session) []event {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.session != s {
		return nil
	}
	return append([]event(nil), l.queue[:min(pageSize, len(l.queue))]...)
}

// delivered moves the edge's position behind a page.
func (c *Cloud) delivered(l *link, s *session, page []event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.session != s {
		return
	}
	upTo := page[len(page)-1].seq
	n := 0
	for n < len(l.queue) && l.queue[n].seq <= upTo {
		n++
	}
	l.queue = l.queue[n:]
	l.last = page
}

// merge makes the messages of a page. Identical events and several updates of one entity become one
// message, at the position of the first and with the content of the last; attribute updates of one
// entity and scope are merged (CONTRACT.md 6.1, 6.3).
func merge(page []event) []*proto.DownlinkMsg {
	out := make([]*proto.DownlinkMsg, 0, len(page))
	at := make(map[string]int, len(page))
	for _, e := range page {
		key, attributes := mergeKey(e.msg)
		i, again := at[key]
		switch {
		case !again:
			at[key] = len(out)
			out = append(out, e.msg)
		case attributes:
			out[i] = mergeAttributes(out[i], e.msg)
		default:
			out[i] = e.msg
		}
	}
	return out
}

// mergeKey names what an event is about (parts, actions, ids), so that two events with one key
// become one message. For a part without ids the key is the whole content.
func mergeKey(m *proto.DownlinkMsg) (key string, attributes bool) {
	if len(m.EntityData) == 1 && m.EntityData[0].AttributesUpdatedMsg != nil &&
		m.EntityData[0].PostTelemetryMsg == nil && m.EntityData[0].AttributeDeleteMsg == nil {
		d := m.EntityData[0]
		return "attributes " + strconv.FormatInt(d.EntityIdMSB, 16) + strconv.FormatInt(d.EntityIdLSB, 16) + d.PostAttributeScope, true
	}
	if c := m.DeviceCredentialsUpdateMsg; len(c) == 1 && len(m.DeviceUpdateMsg) == 0 {
		var j struct {
			DeviceID struct{ ID string } `json:"deviceId"`
		}
		if json.Unmarshal([]byte(c[0].Entity), &j) == nil && j.DeviceID.ID != "" {
			return "credentials " + j.DeviceID.ID, false
		}
	}
	var parts []byte
	ids := true
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if !f.IsList() || v.List().Len() != 1 {
			ids = false
			return false
		}
		e := v.List().Get(0).Message()
		fields := e.Descriptor().Fields()
		msb, lsb, typ := fields.ByName("idMSB"), fields.ByName("idLSB"), fields.ByName("msgType")
		if msb == nil || lsb == nil || typ == nil {
			return true // a companion, such as the credentials beside a device
		}
		parts = strconv.AppendInt(append(parts, f.Name()...), int64(e.Get(typ).Enum()), 10)
		parts = strconv.AppendInt(append(parts, ' '), e.Get(msb).Int(), 16)
		parts = strconv.AppendInt(append(parts, ' '), e.Get(lsb).Int(), 16)
		return true
	})
	if ids && len(parts) > 0 && len(m.RelationUpdateMsg) == 0 {
		return "entity " + string(parts), false
	}
	b, _ := pb.MarshalOptions{Deterministic: true}.Marshal(m)
	return "whole " + string(b), false
}

// mergeAttributes adds the values of b to those of a; where both have a key, the value of b stays.
func mergeAttributes(a, b *proto.DownlinkMsg) *proto.DownlinkMsg {
	out := pb.Clone(a).(*proto.DownlinkMsg)
	d, n := out.EntityData[0], b.EntityData[0]
	at := map[string]int{}
	for i, kv := range d.AttributesUpdatedMsg.Kv {
		at[kv.Key] = i
	}
	for _, kv := range n.AttributesUpdatedMsg.Kv {
		if i, ok := at[kv.Key]; ok {
			d.AttributesUpdatedMsg.Kv[i] = kv
			continue
		}
		at[kv.Key] = len(d.AttributesUpdatedMsg.Kv)
		d.AttributesUpdatedMsg.Kv = append(d.AttributesUpdatedMsg.Kv, kv)
	}
	if n.AttributeTs != nil {
		d.AttributeTs = n.AttributeTs
	}
	return out
}
