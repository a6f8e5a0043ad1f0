package cloudtest

import (
	"edgesync/proto"
)

const inRequests = "DefaultEdgeRequestsService.processAttributesRequestMsg(DefaultEdgeRequestsService.java:137)"

// hiddenAttributes are those that the server keeps for itself and never sends (CONTRACT.md 7.3).
var hiddenAttributes = map[string]bool{
	"active": true, "lastConnectTime": true, "lastDisconnectTime": true, "lastActivityTime": true, "inactivityAlarmTime": true,
}

// attributesRequests answers with the attributes of the scope and, for each entity asked about,
// with all latest telemetry grouped by ts (CONTRACT.md 7.3). A request for two scopes in one uplink
// brings the telemetry once.
func (u *uplink) attributesRequests(m *proto.UplinkMsg) error {
	answered := make(map[ref]bool)
	return all(u, m.GetAttributesRequestMsg(), func(q *proto.AttributesRequestMsg) error {
		typ, err := typeOf(q.GetEntityType(), inRequests)
		if err != nil {
			return err
		}
		sc, err := scopeNamed(q.GetScope(), inRequests)
		if err != nil {
			return err
		}
		r := u.t.find(typ, proto.UUIDOf(q.GetEntityIdMSB(), q.GetEntityIdLSB()))
		if r == nil {
			u.drop()
			return nil
		}
		var kv []*proto.KeyValueProto
		for _, a := range r.attrs[sc].list {
			if !hiddenAttributes[a.key] {
				kv = append(kv, keyValue(a.key, asAnswer(a.val)))
			}
		}
		if kv != nil {
			d := dataFor(r.ref)
			// The message has no time: the delivery stamps it with the time of its conversion.
			d.AttributesUpdatedMsg, d.PostAttributeScope = &proto.PostAttributeMsg{Kv: kv}, q.GetScope()
			u.attrs = append(u.attrs, &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{d}})
		}
		if !answered[r.ref] {
			answered[r.ref] = true
			u.series = append(u.series, r.latestDown()...)
		}
		return nil
	})
}

// asAnswer converts a stored value once more on its way down: JSON comes as a string
// (CONTRACT.md 7.3).
func asAnswer(v Value) Value {
	switch v.Type {
	case proto.KeyValueType_JSON_V, proto.KeyValueType_STRING_V:
		return convertString(v.Str)
	case proto.KeyValueType_DOUBLE_V:
		return convertDouble(v.Dbl)
	}
	return v
}

// latestDown returns one message for each distinct ts among the latest values. Their order is that
// of the hash table in which the server collects them, not that of ts.
func (r *record) latestDown() []*proto.DownlinkMsg {
	var times []int64
	groups := make(map[int64][]*proto.KeyValueProto)
	for _, key := range r.keys {
		s := r.series[key]
		s.merge()
		row := s.latest()
		if _, seen := groups[row.ts]; !seen {
			times = append(times, row.ts)
		}
		groups[row.ts] = append(groups[row.ts], keyValue(key, asAnswer(row.value())))
	}
	var list []*proto.DownlinkMsg
	for _, ts := range hashOrder(times) {
		d := dataFor(r.ref)
		d.PostTelemetryMsg = &proto.PostTelemetryMsg{TsKvList: []*proto.TsKvListProto{{Ts: ts, Kv: groups[ts]}}}
		list = append(list, &proto.DownlinkMsg{EntityData: []*proto.EntityDataProto{d}})
	}
	return list
}

// hashOrder sorts numbers in the order in which Java's HashMap iterates over them.
func hashOrder(keys []int64) []int64 {
	size := uint32(16)
	for uint32(len(keys)) > size/4*3 {
		size *= 2
	}
	buckets := make([][]int64, size)
	for _, k := range keys {
		h := uint32(uint64(k) ^ uint64(k)>>32)
		b := (h ^ h>>16) & (size - 1)
		buckets[b] = append(buckets[b], k)
	}
	out := make([]int64, 0, len(keys))
	for _, b := range buckets {
		out = append(out, b...)
	}
	return out
}

// relationRequests answers with one message per relation, in both directions, except those that
// touch an edge (CONTRACT.md 5.9).
func (u *uplink) relationRequests(m *proto.UplinkMsg) error {
	return all(u, m.GetRelationRequestMsg(), func(q *proto.RelationRequestMsg) error {
		typ, err := typeOf(q.GetEntityType(), inRequests)
		if err != nil {
			return err
		}
		r := ref{typ, proto.UUIDOf(q.GetEntityIdMSB(), q.GetEntityIdLSB())}
		for _, x := range u.t.relations {
			if x.group == "COMMON" && (x.from == r || x.to == r) && x.from.typ != typeEdge && x.to.typ != typeEdge {
				u.requests = append(u.requests, &proto.DownlinkMsg{RelationUpdateMsg: []*proto.RelationUpdateMsg{{Entity: x.marshal()}}})
			}
		}
		return nil
	})
}

func (u *uplink) calculatedFieldRequests(m *proto.UplinkMsg) error {
	return all(u, m.GetCalculatedFieldRequestMsg(), func(q *proto.CalculatedFieldRequestMsg) error {
		typ, err := typeOf(q.GetEntityType(), inRequests)
		if err != nil {
			return err
		}
		about := ref{typ, proto.UUIDOf(q.GetEntityIdMSB(), q.GetEntityIdLSB())}
		for _, id := range u.t.order[typeCalculatedField] {
			if f := u.t.find(typeCalculatedField, id); refOf(f.field("entityId"), typ) == about {
				u.requests = append(u.requests, calculatedFieldDown(f))
			}
		}
		return nil
	})
}

// ruleChainMetadataRequests and the functions below answer the deprecated requests, as the server
// still does.
func (u *uplink) ruleChainMetadataRequests(m *proto.UplinkMsg) error {
	return all(u, m.GetRuleChainMetadataRequestMsg(), func(q *proto.RuleChainMetadataRequestMsg) error {
		r := u.t.find(typeRuleChain, proto.UUIDOf(q.GetRuleChainIdMSB(), q.GetRuleChainIdLSB()))
		if r == nil {
			u.drop()
			return nil
		}
		u.requests = append(u.requests, &proto.DownlinkMsg{RuleChainMetadataUpdateMsg: []*proto.RuleChainMetadataUpdateMsg{metadataMsg(r)}})
		return nil
	})
}

func (u *uplink) userCredentialsRequests(m *proto.UplinkMsg) error {
	return all(u, m.GetUserCredentialsRequestMsg(), func(q *proto.UserCredentialsRequestMsg) error {
		r := u.t.find(typeUser, proto.UUIDOf(q.GetUserIdMSB(), q.GetUserIdLSB()))
		if r == nil || r.secret == nil {
			u.drop()
			return nil
		}
		u.requests = append(u.requests, &proto.DownlinkMsg{
			UserCredentialsUpdateMsg: []*proto.UserCredentialsUpdateMsg{{Entity: string(r.secret)}},
		})
		return nil
	})
}

func (u *uplink) deviceCredentialsRequests(m *proto.UplinkMsg) error {
	return all(u, m.GetDeviceCredentialsRequestMsg(), func(q *proto.DeviceCredentialsRequestMsg) error {
		r := u.t.find(typeDevice, proto.UUIDOf(q.GetDeviceIdMSB(), q.GetDeviceIdLSB()))
		if r == nil || r.credentials == nil {
			u.drop()
			return nil
		}
		u.requests = append(u.requests, &proto.DownlinkMsg{
			DeviceCredentialsUpdateMsg: []*proto.DeviceCredentialsUpdateMsg{{Entity: r.credentialsJSON()}},
		})
		return nil
	})
}

func (u *uplink) widgetBundleTypesRequests(m *proto.UplinkMsg) error {
	return all(u, m.GetWidgetBundleTypesRequestMsg(), func(q *proto.WidgetBundleTypesRequestMsg) error {
		id := proto.UUIDOf(q.GetWidgetBundleIdMSB(), q.GetWidgetBundleIdLSB())
		for n := range systemBundles {
			if u.t.fixtureID(groupBundle, n) != id {
				continue
			}
			for w := n; w < u.t.widgetTypes; w += systemBundles {
				u.requests = append(u.requests, &proto.DownlinkMsg{WidgetTypeUpdateMsg: []*proto.WidgetTypeUpdateMsg{u.t.widget(w)}})
			}
			return nil
		}
		u.drop()
		return nil
	})
}

func (u *uplink) entityViewsRequests(m *proto.UplinkMsg) error {
	return all(u, m.GetEntityViewsRequestMsg(), func(q *proto.EntityViewsRequestMsg) error {
		typ, err := typeOf(q.GetEntityType(), inRequests)
		if err != nil {
			return err
		}
		about := ref{typ, proto.UUIDOf(q.GetEntityIdMSB(), q.GetEntityIdLSB())}
		for _, id := range u.t.order[typeEntityView] {
			if v := u.t.find(typeEntityView, id); v.assigned(u.edge.ID) && refOf(v.field("entityId"), typ) == about {
				u.requests = append(u.requests, entityViewDown(v, created))
			}
		}
		return nil
	})
}
