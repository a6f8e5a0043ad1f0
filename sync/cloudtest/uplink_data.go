package cloudtest

import (
	"encoding/json"
	"math"
	"slices"

	"edgesync/proto"
)

const inTelemetry = "telemetry.BaseTelemetryProcessor.processTelemetryMsg(BaseTelemetryProcessor.java:121)"

// entityData processes telemetry and attributes (CONTRACT.md 4.7, 5.3, 5.4, 7.2).
func (u *uplink) entityData(m *proto.UplinkMsg) error {
	return all(u, m.GetEntityData(), u.dataElement)
}

func (u *uplink) dataElement(d *proto.EntityDataProto) error {
	typ, err := typeOf(d.GetEntityType(), inTelemetry)
	if err != nil {
		return err
	}
	post, update, remove := d.GetPostAttributesMsg(), d.GetAttributesUpdatedMsg(), d.GetAttributeDeleteMsg()
	u.out.Mixed = u.out.Mixed || post != nil || update != nil || remove != nil
	var r *record
	if typ.hasTelemetry() {
		r = u.t.find(typ, proto.UUIDOf(d.GetEntityIdMSB(), d.GetEntityIdLSB()))
	}
	if r == nil {
		u.drop()
	} else {
		if d.GetPostTelemetryMsg() != nil {
			if err := u.telemetry(r, d.GetPostTelemetryMsg()); err != nil {
				return err
			}
		}
		ts := u.now.UnixMilli()
		if d.AttributeTs != nil {
			ts = d.GetAttributeTs()
		}
		if post != nil {
			if err := u.attributes(r, d.GetPostAttributeScope(), post, ts, true); err != nil {
				return err
			}
		}
		if update != nil {
			if err := u.attributes(r, d.GetPostAttributeScope(), update, ts, false); err != nil {
				return err
			}
		}
		u.active(r)
	}
	if remove == nil {
		return nil
	}
	sc, err := scopeNamed(remove.GetScope(), inTelemetry)
	if err != nil {
		return err
	}
	if r != nil {
		for _, key := range remove.GetAttributeNames() {
			r.attrs[sc].remove(key)
		}
	}
	return nil
}

// active refreshes the activity of a device with the server's clock (CONTRACT.md 5.3).
func (u *uplink) active(r *record) {
	if r.typ != typeDevice {
		return
	}
	r.lastActivity = u.now.UnixMilli()
	if r.activeSince == 0 {
		r.activeSince = r.lastActivity
	}
}

// telemetry stores each list on its own. For a message without lists the answer never comes
// (CONTRACT.md 4.3).
func (u *uplink) telemetry(r *record, m *proto.PostTelemetryMsg) error {
	if len(m.GetTsKvList()) == 0 {
		u.never = true
		return nil
	}
	for _, list := range m.GetTsKvList() {
		pairs, err := convertList(u.t.scratch[:0], list.GetKv())
		u.t.scratch = pairs[:0]
		if err != nil {
			return &thrown{err.Error(), "telemetry.BaseTelemetryProcessor.processPostTelemetry(BaseTelemetryProcessor.java:213)"}
		}
		if given := len(list.GetKv()); len(pairs) < given {
			u.t.counts.Dropped += uint64(given - len(pairs))
		}
		u.store(r, list.GetTs(), pairs)
	}
	return nil
}

// store puts the pairs of one list into the time series.
func (u *uplink) store(r *record, ts int64, pairs []pair) {
	if ts, pairs, trapped := timestamped(pairs); trapped {
		u.storeAt(r, ts, pairs)
		return
	}
	u.storeAt(r, ts, pairs)
}

func (u *uplink) storeAt(r *record, ts int64, pairs []pair) {
	if ts == math.MaxInt64 || !storable(pairs) {
		u.drop()
		return
	}
	var own []string
	if r.typ == typeEntityView {
		own = r.viewed()
	}
	for i := range pairs {
		if pairs[i].val.Type == skipped || r.typ == typeEntityView && !slices.Contains(own, pairs[i].key) {
			u.drop()
			continue
		}
		if r.seriesOf(pairs[i].key).put(ts, pairs[i].val) {
			u.t.counts.Points++
		} else {
			u.t.counts.Duplicates++
		}
	}
}

// viewed lists the time series of an entity view. Telemetry of a view shows only in the view's own
// keys (CONTRACT.md 5.3).
func (r *record) viewed() []string {
	var keys struct {
		Timeseries []string `json:"timeseries"`
	}
	if json.Unmarshal(r.field("keys"), &keys) != nil {
		return nil
	}
	return keys.Timeseries
}

// timestamped recognises a list with both keys "ts" and "values". The server takes such a list for
// the timestamped form: it stores the members of values at that ts, and nothing under the two names
// (CONTRACT.md 5.3). With a ts that is no number or values that are no object the server stores
// nothing.
func timestamped(pairs []pair) (ts int64, members []pair, trapped bool) {
	at, values := -1, -1
	for i := range pairs {
		switch pairs[i].key {
		case "ts":
			at = i
		case "values":
			values = i
		}
	}
	if at < 0 || values < 0 {
		return 0, nil, false
	}
	switch v := pairs[at].val; v.Type {
	case proto.KeyValueType_LONG_V:
		ts = v.Long
	case proto.KeyValueType_DOUBLE_V:
		ts = int64(v.Dbl)
	default:
		return 0, nil, true
	}
	if pairs[values].val.Type != proto.KeyValueType_JSON_V {
		return 0, nil, true
	}
	e, err := parseLenient(pairs[values].val.Str)
	if err != nil || e.kind != elementObject {
		return 0, nil, true
	}
	for i, name := range e.names {
		if v, ok := e.items[i].value(); ok {
			members = append(members, pair{name, v})
		}
	}
	return ts, members, true
}

// attributes stores the keys whose stored lastUpdateTs is older than ts (CONTRACT.md 7.2). A post
// goes through the rule chain: it is stored with the server's clock and only when the value
// changes. An update is stored with ts. As in telemetry, one key that cannot be stored loses the
// whole message; the recordings do not show that for attributes.
func (u *uplink) attributes(r *record, scopeName string, m *proto.PostAttributeMsg, ts int64, post bool) error {
	pairs, err := convertList(nil, m.GetKv())
	if err != nil {
		return &thrown{err.Error(), inTelemetry}
	}
	sc, err := scopeNamed(scopeName, inTelemetry)
	if err != nil {
		return err
	}
	if !storable(pairs) {
		u.drop()
		return nil
	}
	for _, p := range pairs {
		old := r.attrs[sc].get(p.key)
		switch {
		case p.val.Type == skipped, old != nil && old.ts >= ts:
			u.drop()
		case !post:
			r.attrs[sc].set(p.key, p.val, ts)
		case old == nil || old.val != p.val:
			r.attrs[sc].set(p.key, p.val, u.now.UnixMilli())
		}
	}
	return nil
}
