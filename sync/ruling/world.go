package ruling

import (
	"encoding/json"

	"edgesync/proto"
	"edgesync/sync/registry"
	"edgesync/sync/rules"
)

// What nodes read: Rules is a rules.Registry.

// uncompared is in a struct whose values nobody compares, so that there is no code for it.
type uncompared [0]func()

// ref is an entity's id in JSON.
type ref struct {
	_    uncompared
	Type string `json:"entityType"`
	ID   string `json:"id"`
}

func (r ref) entity() (e rules.Entity, ok bool) {
	id, ok := proto.ParseUUID(r.ID)
	if !ok || id == proto.NullUUID {
		return e, false
	}
	return rules.Entity{Type: r.Type, ID: id}, true
}

// Fields implements rules.Registry.
func (r *Rules) Fields(e *rules.Entity) (string, bool) {
	if e.Type == proto.EdgeEntity {
		c := r.Registry.Edge()
		if id, ok := r.Registry.EdgeID(); !ok || id != e.ID {
			return "", false
		}
		b := append([]byte(`{"id":{"entityType":"EDGE","id":"`), proto.FormatUUID(e.ID)...)
		b = proto.AppendJSONString(append(b, `"},"name":`...), []byte(c.GetName()))
		b = proto.AppendJSONString(append(b, `,"type":`...), []byte(c.GetType()))
		return string(append(b, '}')), true
	}
	text, ok := r.Registry.EntityText(e.Type, e.ID)
	return string(text), ok
}

// Profile implements rules.Registry.
func (r *Rules) Profile(e *rules.Entity) (name string, chain proto.UUID, ok bool) {
	var id proto.UUID
	switch e.Type {
	case proto.DeviceEntity:
		d, ok := r.Registry.ByID(e.ID)
		p, _ := r.Registry.Profile(d.ProfileID)
		return d.Type, p.Chain, ok
	case "DEVICE_PROFILE":
		p, ok := r.Registry.Profile(e.ID)
		return p.Name, p.Chain, ok
	case "ASSET":
		var j struct {
			Profile ref `json:"assetProfileId"`
		}
		if text, ok := r.Registry.EntityText(e.Type, e.ID); !ok || json.Unmarshal(text, &j) != nil {
			return "", chain, false
		}
		id, _ = proto.ParseUUID(j.Profile.ID)
	case "ASSET_PROFILE":
		id = e.ID
	}
	var j struct {
		Name  string `json:"name"`
		Chain ref    `json:"defaultEdgeRuleChainId"`
	}
	text, ok := r.Registry.EntityText("ASSET_PROFILE", id)
	if !ok || json.Unmarshal(text, &j) != nil {
		return "", chain, false
	}
	chain, _ = proto.ParseUUID(j.Chain.ID)
	return j.Name, chain, true
}

// Attribute implements rules.Registry.
func (r *Rules) Attribute(e *rules.Entity, scope, key string) (v rules.Stored, ok bool) {
	if scope == "SERVER_SCOPE" && e.Type == proto.DeviceEntity {
		if v, ok = r.activityOf(e.ID, key); ok {
			return v, true
		}
	}
	s, known := scopes[scope]
	if scope == "" {
		s, known = registry.Latest, true
	}
	if !known {
		return v, false
	}
	take := func(ts int64, kv *proto.KV) {
		if !ok || ts >= v.Time {
			v, ok = rules.Stored{Time: ts, Value: string(appendValue(nil, kv))}, true
		}
	}
	r.Registry.TimedAttributes(e.ID, s, []string{key}, take)
	if scope == "" {
		if !r.readsLatest.Load() {
			r.readsLatest.Store(true)
		}
		if ts, kv, here := r.Latest.Value(e.ID, key); here {
			take(ts, &kv)
		}
	}
	return v, ok
}

// appendValue appends a value as JSON, a double as Java writes it.
func appendValue(b []byte, kv *proto.KV) []byte {
	if kv.Type == proto.KeyValueType_DOUBLE_V {
		return rules.AppendDouble(b, kv.Double)
	}
	return proto.AppendJSONValue(b, kv)
}

// History implements rules.Registry: no history is kept here.
func (r *Rules) History(*rules.Entity, string, int64, int64) []rules.Stored { return nil }

// Find implements rules.Registry.
func (r *Rules) Find(kind, name string) (rules.Entity, bool) {
	id, ok := r.Registry.EntityNamed(kind, name)
	return rules.Entity{Type: kind, ID: id}, ok
}

// Owner implements rules.Registry.
func (r *Rules) Owner(e *rules.Entity) (rules.Entity, bool) {
	switch e.Type {
	case "CUSTOMER":
		return *e, true
	case proto.DeviceEntity:
		d, ok := r.Registry.ByID(e.ID)
		return rules.Entity{Type: "CUSTOMER", ID: d.CustomerID}, ok && d.CustomerID != proto.NullUUID && d.CustomerID != proto.UUID{}
	}
	var j struct {
		Customer ref `json:"customerId"`
	}
	if text, ok := r.Registry.EntityText(e.Type, e.ID); !ok || json.Unmarshal(text, &j) != nil {
		return rules.Entity{}, false
	}
	j.Customer.Type = "CUSTOMER"
	return j.Customer.entity()
}

// Tenant implements rules.Registry.
func (r *Rules) Tenant() rules.Entity {
	c := r.Registry.Edge()
	return rules.Entity{Type: "TENANT", ID: proto.UUIDOf(c.GetTenantIdMSB(), c.GetTenantIdLSB())}
}

// Related implements rules.Registry.
func (r *Rules) Related(e *rules.Entity, out bool) (list []rules.Relation) {
	r.Registry.Relations(e.ID, !out, func(text []byte) {
		var j struct {
			From, To ref
			Type     string
			Group    string `json:"typeGroup"`
		}
		if json.Unmarshal(text, &j) != nil || j.Group != "COMMON" && j.Group != "" {
			return
		}
		other := j.From
		if out {
			other = j.To
		}
		if o, ok := other.entity(); ok {
			list = append(list, rules.Relation{Type: j.Type, Other: o})
		}
	})
	return list
}

// Credentials implements rules.Registry.
func (r *Rules) Credentials(e *rules.Entity) (kind, value string, ok bool) {
	text, ok := r.Registry.Credentials(e.ID)
	var j struct {
		Type  string `json:"credentialsType"`
		ID    string `json:"credentialsId"`
		Value string `json:"credentialsValue"`
	}
	if !ok || e.Type != proto.DeviceEntity || json.Unmarshal(text, &j) != nil {
		return "", "", false
	}
	if j.Value == "" {
		j.Value = j.ID
	}
	return j.Type, j.Value, true
}
