package cloudtest

import (
	"encoding/json"
	"regexp"
	"strings"

	"edgesync/proto"
)

var uuidPattern = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// change applies to the tenant what a recorded REST call did on the server.
func (p *player) change(l tapeLine) {
	var r rest
	if err := json.Unmarshal(l.JSON, &r); err != nil {
		p.t.Fatal(err)
	}
	t, path := p.tenant, strings.TrimPrefix(l.Note, "rest ")
	var ids []proto.UUID
	for _, s := range uuidPattern.FindAllString(path, -1) {
		ids = append(ids, mustUUID(s))
	}
	path = uuidPattern.ReplaceAllString(path, "ID")
	now := p.now(l)
	switch path {
	case "POST /api/edge":
		p.addEdge(l, r.Answer)
	case "POST /api/customer/ID/edge/ID", "DELETE /api/customer/edge/ID":
		st := t.edges[ids[len(ids)-1]]
		if st == nil {
			return
		}
		customer := proto.NullUUID
		if len(ids) == 2 {
			customer = ids[0]
		}
		t.AssignCustomer(st.ID, customer)
	case "DELETE /api/edge/ID":
		t.DeleteEdge(ids[0])
	case "POST /api/edge/ID/device/ID", "POST /api/edge/ID/asset/ID", "POST /api/edge/ID/dashboard/ID",
		"POST /api/edge/ID/entityView/ID", "POST /api/edge/ID/ruleChain/ID":
		for typ := range entityTypes {
			if rec := t.find(typ, ids[1]); rec != nil {
				rec.assign(ids[0])
			}
		}
	case "POST /api/plugins/telemetry/DEVICE/ID/SHARED_SCOPE", "POST /api/plugins/telemetry/DEVICE/ID/SERVER_SCOPE":
		e, err := parseLenient(string(r.Body))
		if err != nil {
			p.t.Fatal(err)
		}
		var kv []*proto.KeyValueProto
		for i, name := range e.names {
			v, _ := e.items[i].value()
			kv = append(kv, keyValue(name, v))
		}
		if t.SetAttributes(ids[0], "DEVICE", path[strings.LastIndexByte(path, '/')+1:], kv, now) == nil {
			p.errorf(l, "attributes of an unknown device")
		}
	case "POST /api/relation":
		var o object
		if err := json.Unmarshal(r.Body, &o); err != nil {
			p.t.Fatal(err)
		}
		from, _, _ := o.originator("from", "")
		to, _, _ := o.originator("to", "")
		t.saveRelation(relation{relationKey{from, to, o.text("type"), o.text("typeGroup")}, "null"})
	case "POST /api/alarm/ID/ack":
		t.AckAlarm(ids[0], now)
	case "POST /api/alarm/ID/clear":
		t.ClearAlarm(ids[0], now)
	case "DELETE /api/alarm/ID":
		t.remove(ref{typeAlarm, ids[0]})
	case "POST /api/ruleChain/metadata", "POST /api/alarm":
		// No later part of a recording depends on these.
	default:
		switch {
		case strings.HasPrefix(path, "POST /api/v1/"):
			p.postTelemetry(path, r.Body)
		case strings.HasPrefix(path, "POST /api/"):
			p.insert(l, r.Answer)
			if path == "POST /api/calculatedField" {
				// The server calculated the field at once; the cloud in a box does not calculate.
				r := t.find(typeDevice, mustUUID("3b83cc50-e771-11f1-a01d-1d06ed9e169e"))
				r.seriesOf("double").put(1795460897960, Value{Type: proto.KeyValueType_DOUBLE_V, Dbl: 2})
			}
		default:
			p.errorf(l, "unknown call %s", path)
		}
	}
}

func (p *player) addEdge(l tapeLine, answer json.RawMessage) {
	var o object
	if err := json.Unmarshal(answer, &o); err != nil {
		p.t.Fatal(err)
	}
	e := Edge{
		ID: refOf(o["id"], typeEdge).id, Customer: refOf(o["customerId"], typeCustomer).id, Name: o.text("name"), Type: o.text("type"),
		RoutingKey: o.text("routingKey"), Secret: o.text("secret"),
	}
	p.tenant.AddEdge(e)
	if e.ID == (proto.UUID{}) {
		p.errorf(l, "an edge without id")
	}
}

// insert adds an entity as the REST API answered it.
func (p *player) insert(l tapeLine, answer json.RawMessage) {
	var o object
	if err := json.Unmarshal(answer, &o); err != nil {
		p.t.Fatal(err)
	}
	id, ok, err := o.originator("id", "")
	if !ok || err != nil || templates[id.typ] == nil {
		p.errorf(l, "no entity in %s", answer)
		return
	}
	if old := p.tenant.records[id]; old != nil {
		p.tenant.rename(old, o.text("name"))
		return
	}
	r := newRecord(id)
	for i, name := range templates[id.typ].members {
		r.fields[i] = o.given(name)
	}
	r.version = 1
	p.tenant.rename(r, o.text("name"))
	p.tenant.insert(r)
}

// postTelemetry stores what a device posted over HTTP.
func (p *player) postTelemetry(path string, body json.RawMessage) {
	e, err := parseLenient(text(body))
	if err != nil {
		p.t.Fatal(err)
	}
	device := p.tenant.byCred[strings.Split(path, "/")[3]]
	var pairs []pair
	for i, name := range e.names {
		v, _ := e.items[i].value()
		pairs = append(pairs, pair{name, v})
	}
	u := &uplink{t: p.tenant, now: p.base}
	u.store(p.tenant.find(typeDevice, device), 0, pairs)
}
