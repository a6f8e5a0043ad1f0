package ruling

import (
	"encoding/json"
	"strconv"
	"strings"

	pb "google.golang.org/protobuf/proto"

	"edgesync/proto"
	"edgesync/sync/rules"
)

// maxDown bounds what comes from the cloud and waits to enter its chains, in bytes as on the wire.
const maxDown = 512 << 10

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
	return func() {
		for _, d := range d.GetEntityData() {
			if r.wanted(d) {
				r.run(pb.Size(d), func() { r.cameFor(d) })
			}
		}
		for _, m := range list {
			r.run(len(m.Data), func() {
				if r.Registry.Here(m.Originator.Type, m.Originator.ID) || strings.HasSuffix(m.Originator.Type, "_PROFILE") {
					r.handleQuietly(m)
				}
			})
		}
	}
}

// run has something run later that takes so many bytes until then.
func (r *Rules) run(size int, do func()) {
	if r.down.Add(int64(size)) <= maxDown && r.later(func() {
		do()
		r.down.Add(-int64(size))
	}) {
		return
	}
	r.down.Add(-int64(size))
	r.complain("what the cloud has sent does not enter its rule chain: too much is to be done", "", "")
}

// entityUpdate is the update of an entity.
type entityUpdate interface {
	GetIdMSB() int64
	GetIdLSB() int64
	GetEntity() string
}

// fresh are the messages of entities that are new here.
func (r *Rules) fresh(d *proto.DownlinkMsg) (list []*rules.Message) {
	if w, ok := r.engine.WayOf(proto.UUID{}, "ENTITY_CREATED"); r.Off || !ok || !w.Run && !r.several.Load() {
		return nil
	}
	add := func(typ string, u entityUpdate) {
		id := proto.UUIDOf(u.GetIdMSB(), u.GetIdLSB())
		if _, here := r.Registry.EntityText(typ, id); !here && u.GetEntity() != "" {
			list = append(list, &rules.Message{
				Type: "ENTITY_CREATED", Originator: rules.Entity{Type: typ, ID: id}, Time: r.Clock.Now(), Data: u.GetEntity(), Up: true,
			})
		}
	}
	for _, u := range d.GetDeviceUpdateMsg() {
		add(proto.DeviceEntity, u)
	}
	for _, u := range d.GetAssetUpdateMsg() {
		add("ASSET", u)
	}
	for _, u := range d.GetEntityViewUpdateMsg() {
		add("ENTITY_VIEW", u)
	}
	for _, u := range d.GetDashboardUpdateMsg() {
		add("DASHBOARD", u)
	}
	for _, u := range d.GetDeviceProfileUpdateMsg() {
		add("DEVICE_PROFILE", u)
	}
	for _, u := range d.GetAssetProfileUpdateMsg() {
		add("ASSET_PROFILE", u)
	}
	return list
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
		_, chain, _ = r.Profile(e)
	}
	w, ok := r.engine.WayOf(chain, typ)
	return ok && w.Run && r.Registry.Here(e.Type, e.ID)
}

// cameFor runs the messages of what came.
func (r *Rules) cameFor(d *proto.EntityDataProto) {
	e := rules.Entity{Type: d.GetEntityType(), ID: proto.UUIDOf(d.GetEntityIdMSB(), d.GetEntityIdLSB())}
	run := func(list []*proto.KeyValueProto, key, value string) {
		m := &rules.Message{Type: downType(d), Originator: e, Time: r.Clock.Now()}
		b := []byte{'{'}
		for _, p := range list {
			kv := proto.KVOf(p)
			b = appendValue(append(proto.AppendJSONString(b, kv.Key), ':'), &kv)
			b = append(b, ',')
		}
		if len(list) > 0 {
			b = b[:len(b)-1]
		}
		m.Data = string(append(b, '}'))
		var j struct{ Name, Type string }
		if text, ok := r.Fields(e); ok {
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
