package ruling

import (
	"encoding/json"
	"strconv"
	"strings"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/sync/rules"
	"edgesync/sync/rules/script"
)

// source is where a message comes from that waits to enter its chain. Each source has a bound of
// its own, so that none keeps another out: anybody on the local network can fail to provision.
type source uint8

const (
	ofCloud  source = iota
	ofCalls         // states of persistent calls
	ofMade          // devices that were made here
	ofFailed        // provisionings that failed
	sources
)

// maxDown bounds what waits of each source, in bytes as on the wire and downCost for each message.
var maxDown = [sources]int{ofCloud: 512 << 10, ofCalls: 128 << 10, ofMade: 128 << 10, ofFailed: 32 << 10}

const downCost = 128

// coming is what has come, and waits to enter its chain.
type coming struct {
	do   func()
	size int
	from source
}

// cameIn runs the next of the messages that wait. Calls of devices, and the end, go between two of
// them.
func (r *Rules) cameIn() {
	c := &r.calls
	c.mu.Lock()
	if len(c.came) == 0 {
		c.mu.Unlock()
		return
	}
	next := c.came[0]
	c.came[0] = coming{}
	if c.came = c.came[1:]; len(c.came) == 0 {
		c.came = nil
	}
	c.mu.Unlock()
	next.do()
	c.mu.Lock()
	c.down[next.from] -= next.size
	more := len(c.came) > 0
	c.mu.Unlock()
	if more {
		rouse(c.wake)
	}
}

// rouse has the reader of wake, which holds one signal, look at what there is to do.
func rouse(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// Coming makes the messages of what the cloud has sent, before the registry takes it: data of
// entities, with source=cloud, and entities that are new here (RULES.md 2.2). What it returns,
// unless it is nil, has them run, later and in their order, once the registry has taken it. A push
// node does not send data back. While too much waits already they are left out, which is logged.
// The loop calls both; they do not block.
func (r *Rules) Coming(d *proto.DownlinkMsg) (came func()) {
	list := r.fresh(d)
	if len(list) == 0 && len(d.GetEntityData()) == 0 {
		return nil
	}
	known := r.known(d)
	return func() {
		for i, d := range d.GetEntityData() {
			if d.PostTelemetryMsg != nil && d.GetEntityType() == proto.DeviceEntity && r.cares() {
				r.run(ofCloud, 0, func() { r.heardOf(proto.UUIDOf(d.GetEntityIdMSB(), d.GetEntityIdLSB())) })
			}
			if r.wanted(d) {
				r.run(ofCloud, pb.Size(d), func() { r.cameFor(d, known[i]) })
			}
		}
		for _, m := range list {
			r.run(ofCloud, 0, func() {
				// The text is read now, so that a first sync of thousands does not wait in memory.
				if text, ok := r.Registry.EntityText(m.Originator.Type, m.Originator.ID); ok {
					m.Data = string(text)
					r.handleQuietly(m)
				}
			})
		}
	}
}

// known are the keys of the attributes that the cloud has changed and that are not newer than what
// is stored, by the place of their entity in d: as after each sync, in which all of them come.
func (r *Rules) known(d *proto.DownlinkMsg) map[int]map[string]bool {
	all := make(map[int]map[string]bool)
	for i, e := range d.GetEntityData() {
		scope, ok := scopes[e.GetPostAttributeScope()]
		if e.AttributesUpdatedMsg == nil || e.AttributeTs == nil || !ok || !r.wanted(e) {
			continue
		}
		var keys []string
		for _, kv := range e.AttributesUpdatedMsg.GetKv() {
			keys = append(keys, kv.GetKey())
		}
		id := proto.UUIDOf(e.GetEntityIdMSB(), e.GetEntityIdLSB())
		r.Registry.TimedAttributes(id, scope, keys, func(ts int64, kv *proto.KV) {
			if ts < e.GetAttributeTs() {
				return
			}
			if all[i] == nil {
				all[i] = make(map[string]bool)
			}
			all[i][string(kv.Key)] = true
		})
	}
	return all
}

// run has something run later that takes so many bytes until then.
func (r *Rules) run(from source, size int, do func()) {
	size += downCost
	c := &r.calls
	c.mu.Lock()
	if c.down[from]+size <= maxDown[from] {
		c.down[from] += size
		c.came = append(c.came, coming{do, size, from})
		c.mu.Unlock()
		rouse(c.wake)
		return
	}
	c.mu.Unlock()
	r.complain("what has come does not enter its rule chain: too much is to be done", "", "")
}

// fresh are the messages of entities that are new here.
func (r *Rules) fresh(d *proto.DownlinkMsg) (list []*rules.Message) {
	if w, ok := r.engine.WayOf(proto.UUID{}, "ENTITY_CREATED"); r.Off || !ok || !w.Run && !r.several.Load() {
		return nil
	}
	add := func(typ string, msb, lsb int64, text string) {
		id := proto.UUIDOf(msb, lsb)
		if _, here := r.Registry.EntityText(typ, id); !here && text != "" {
			list = append(list, &rules.Message{
				Type: "ENTITY_CREATED", Originator: rules.Entity{Type: typ, ID: id}, Time: r.Clock.Now(), Up: true,
			})
		}
	}
	for _, u := range d.GetDeviceUpdateMsg() {
		add(proto.DeviceEntity, u.GetIdMSB(), u.GetIdLSB(), u.GetEntity())
	}
	for _, u := range d.GetAssetUpdateMsg() {
		add("ASSET", u.GetIdMSB(), u.GetIdLSB(), u.GetEntity())
	}
	for _, u := range d.GetEntityViewUpdateMsg() {
		add("ENTITY_VIEW", u.GetIdMSB(), u.GetIdLSB(), u.GetEntity())
	}
	for _, u := range d.GetDashboardUpdateMsg() {
		add("DASHBOARD", u.GetIdMSB(), u.GetIdLSB(), u.GetEntity())
	}
	for _, u := range d.GetDeviceProfileUpdateMsg() {
		add("DEVICE_PROFILE", u.GetIdMSB(), u.GetIdLSB(), u.GetEntity())
	}
	for _, u := range d.GetAssetProfileUpdateMsg() {
		add("ASSET_PROFILE", u.GetIdMSB(), u.GetIdLSB(), u.GetEntity())
	}
	for _, u := range d.GetCalculatedFieldUpdateMsg() {
		add("CALCULATED_FIELD", u.GetIdMSB(), u.GetIdLSB(), u.GetEntity())
	}
	return list
}

// Made has the message of a device run that was made here, whose creation is in the queue: by a
// gateway, or by provisioning (RULES.md 2.2). Any goroutine; it does not block.
func (r *Rules) Made(c *proto.Creation) {
	if r.Off {
		return
	}
	var j struct{ Name string }
	_ = json.Unmarshal([]byte(c.Device), &j) // it is ours
	m := &rules.Message{
		Type: "ENTITY_CREATED", Originator: rules.Entity{Type: proto.DeviceEntity, ID: c.ID}, Time: r.Clock.Now(), Data: c.Device, Up: true,
		Metadata: []script.Pair{pair("entityName", j.Name), pair("entityType", proto.DeviceEntity)},
	}
	if c.Gateway != (proto.UUID{}) {
		m.Metadata = append(m.Metadata, pair("gatewayId", proto.FormatUUID(c.Gateway)))
	}
	r.run(ofMade, len(m.Data), func() { r.handleQuietly(m) })
}

// Provisioned has the message of a provisioning request run that is about a device (RULES.md 2.2).
// Any goroutine; it does not block.
func (r *Rules) Provisioned(device proto.UUID, ok bool, key, credentialsType string) {
	if r.Off {
		return
	}
	typ, from := "PROVISION_FAILURE", ofFailed
	if ok {
		typ, from = "PROVISION_SUCCESS", ofMade
	}
	r.run(from, len(key), func() {
		text, here := r.Registry.EntityText(proto.DeviceEntity, device)
		if !here {
			return
		}
		m := r.about(device, typ, string(text), "provisionDeviceKey", key)
		if credentialsType != "" {
			m.Metadata = append(m.Metadata, pair("credentialsType", credentialsType))
		}
		r.handleQuietly(m)
	})
}

// downType is the type of the message of what came; "" if it makes none.
func downType(d *proto.EntityDataProto) string {
	switch {
	case d.PostTelemetryMsg != nil:
		return rules.PostTelemetry
	case d.PostAttributesMsg != nil:
		return rules.PostAttributes
	case d.AttributesUpdatedMsg != nil:
		return rules.AttributesUpdated
	}
	return ""
}

// wanted reports whether a chain does anything with what came.
func (r *Rules) wanted(d *proto.EntityDataProto) bool {
	typ := downType(d)
	if r.Off || typ == "" {
		return false
	}
	e := rules.Entity{Type: d.GetEntityType(), ID: proto.UUIDOf(d.GetEntityIdMSB(), d.GetEntityIdLSB())}
	var chain proto.UUID
	if r.several.Load() {
		_, chain, _ = r.Profile(&e)
	}
	w, ok := r.engine.WayOf(chain, typ)
	return ok && w.Run && r.Registry.Here(e.Type, e.ID)
}

// cameFor runs the messages of what came, without the attributes that are known.
func (r *Rules) cameFor(d *proto.EntityDataProto, known map[string]bool) {
	e := rules.Entity{Type: d.GetEntityType(), ID: proto.UUIDOf(d.GetEntityIdMSB(), d.GetEntityIdLSB())}
	run := func(list []*proto.KeyValueProto, key, value string) {
		m := &rules.Message{Type: downType(d), Originator: e, Time: r.Clock.Now()}
		b := []byte{'{'}
		for _, p := range list {
			kv := proto.KVOf(p)
			if known[p.GetKey()] {
				continue
			}
			if len(b) > 1 {
				b = append(b, ',')
			}
			b = appendValue(append(proto.AppendJSONString(b, kv.Key), ':'), &kv)
		}
		m.Data = string(append(b, '}'))
		var j struct{ Name, Type string }
		if text, ok := r.Fields(&e); ok {
			_ = json.Unmarshal([]byte(text), &j) // what has no name has none
		}
		first, rest, _ := strings.Cut(strings.ToLower(e.Type), "_") // DEVICE: deviceName; ENTITY_VIEW: entityViewName
		if rest != "" {
			first += strings.ToUpper(rest[:1]) + rest[1:]
		}
		m.Metadata = append(m.Metadata, pair(first+"Name", j.Name), pair(first+"Type", j.Type), pair("source", "cloud"))
		m.Metadata = append(m.Metadata, pair(key, value))
		r.handleQuietly(m)
	}
	switch {
	case d.PostTelemetryMsg != nil:
		for _, l := range d.PostTelemetryMsg.GetTsKvList() {
			run(l.GetKv(), "ts", strconv.FormatInt(l.GetTs(), 10))
		}
	case d.PostAttributesMsg != nil:
		run(d.PostAttributesMsg.GetKv(), "scope", d.GetPostAttributeScope())
	default:
		run(d.AttributesUpdatedMsg.GetKv(), "scope", d.GetPostAttributeScope())
	}
}
