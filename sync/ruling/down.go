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

// Came takes data of entities that the cloud has sent and the registry has taken: they enter the
// chains too, with source=cloud (RULES.md 2.2), later and in their order. A push node does not send
// them back. While too much waits already they are left out, which is logged. The loop calls it; it
// does not block.
func (r *Rules) Came(list []*proto.EntityDataProto) {
	for _, d := range list {
		if !r.wanted(d) {
			continue
		}
		size := int64(pb.Size(d))
		if r.down.Add(size) <= maxDown && r.later(func() {
			r.cameFor(d)
			r.down.Add(-size)
		}) {
			continue
		}
		r.down.Add(-size)
		r.complain("data of the cloud do not enter their rule chain: too much is to be done", "", "")
	}
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
