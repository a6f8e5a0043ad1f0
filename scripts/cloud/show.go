package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

// printUplink prints an uplink, one line per time and entity.
func (o *operator) printUplink(_ proto.UUID, u *proto.UplinkMsg) {
	var b strings.Builder
	for _, d := range u.EntityData {
		id := proto.UUIDOf(d.EntityIdMSB, d.EntityIdLSB)
		name := d.EntityType
		if dev, _, ok := o.cloud.Tenant().DeviceOf(id); ok {
			name = dev.Name
		}
		for _, l := range d.GetPostTelemetryMsg().GetTsKvList() {
			o.line(&b, id, name, time.UnixMilli(l.Ts).UTC().Format("2006-01-02T15:04:05.000Z"), l.Kv)
		}
		for _, a := range []*proto.PostAttributeMsg{d.PostAttributesMsg, d.AttributesUpdatedMsg} {
			if a != nil {
				o.line(&b, id, name, d.PostAttributeScope, a.Kv)
			}
		}
	}
	for _, d := range u.DeviceUpdateMsg {
		fmt.Fprintf(&b, "device update %s\n", d.MsgType)
	}
	for _, a := range u.AlarmUpdateMsg {
		var j struct{ Type, Severity, Status, OriginatorName string }
		_ = json.Unmarshal([]byte(a.Entity), &j) // of a message that says less, less is shown
		fmt.Fprintf(&b, "alarm %s %s %s of %s\n", strconv.Quote(j.Type), j.Severity, j.Status, j.OriginatorName)
	}
	for _, r := range u.DeviceRpcCallMsg {
		if r.ResponseMsg != nil {
			fmt.Fprintf(&b, "rpc answer %d\n", r.RequestId)
		} else if r.RequestMsg != nil {
			fmt.Fprintf(&b, "rpc from a device: %s\n", r.RequestMsg.Method)
		}
	}
	_, _ = o.out.Write([]byte(b.String()))
}

func (o *operator) line(b *strings.Builder, id proto.UUID, name, when string, kv []*proto.KeyValueProto) {
	fmt.Fprintf(b, "%s %s", name, when)
	o.mu.Lock()
	defer o.mu.Unlock()
	last := o.latest[id]
	if last == nil && len(o.latest) < maxSeen {
		last = map[string]string{}
		o.latest[id] = last
	}
	for _, v := range kv {
		text := valueText(v)
		fmt.Fprintf(b, " %s=%s", v.Key, text)
		if _, known := last[v.Key]; last != nil && (known || len(last) < maxSeen) {
			last[v.Key] = text + "  (" + when + ")"
		}
	}
	b.WriteByte('\n')
}

func valueText(v *proto.KeyValueProto) string {
	switch v.Type {
	case proto.KeyValueType_BOOLEAN_V:
		return strconv.FormatBool(v.BoolV)
	case proto.KeyValueType_LONG_V:
		return strconv.FormatInt(v.LongV, 10)
	case proto.KeyValueType_DOUBLE_V:
		return strconv.FormatFloat(v.DoubleV, 'g', -1, 64)
	case proto.KeyValueType_JSON_V:
		return v.JsonV
	}
	return strconv.Quote(v.StringV)
}

// show returns what arrived from a device since the start: the last value of each key.
func (o *operator) show(d cloudtest.Device) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var keys []string
	for k := range o.latest[d.ID] {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)", d.Name, d.CredentialsType)
	for _, k := range keys {
		fmt.Fprintf(&b, "\n  %s = %s", k, o.latest[d.ID][k])
	}
	return b.String()
}
