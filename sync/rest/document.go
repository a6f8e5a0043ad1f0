package rest

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"edgesync/proto"
	"edgesync/sync/registry"
)

// document is an entity's JSON, field by field.
type document map[string]json.RawMessage

func decodeDocument(text []byte) (document, bool) {
	var d document
	return d, registry.ValidObject(text) && json.Unmarshal(text, &d) == nil
}

// glance reads of an entity what says its name and who may see it. A long text is not taken apart
// whole: that would take its size once more. A long one comes from the cloud only (maxBody).
func glance(text []byte) (document, bool) {
	if len(text) <= maxBody {
		return decodeDocument(text)
	}
	var g struct {
		Name     json.RawMessage `json:"name"`
		Title    json.RawMessage `json:"title"`
		Customer json.RawMessage `json:"customerId"`
		Assigned json.RawMessage `json:"assignedCustomers"`
	}
	ok := registry.ValidObject(text) && json.Unmarshal(text, &g) == nil
	return document{"name": g.Name, "title": g.Title, "customerId": g.Customer, "assignedCustomers": g.Assigned}, ok
}

func (d document) text(name string) (s string) {
	_ = json.Unmarshal(d[name], &s)
	return s
}

// id is the id in a field that holds {"id":…}.
func (d document) id(name string) (proto.UUID, string, bool) {
	var ref reference
	if json.Unmarshal(d[name], &ref) != nil {
		return proto.UUID{}, "", false
	}
	id, ok := proto.ParseUUID(ref.ID)
	return id, ref.Type, ok
}

func (d document) encode() []byte {
	b, _ := json.Marshal(d) // of texts that were decoded
	return b
}

type reference struct {
	Type string `json:"entityType"`
	ID   string `json:"id"`
}

func refJSON(typ string, id proto.UUID) json.RawMessage {
	return json.RawMessage(`{"entityType":"` + typ + `","id":"` + proto.FormatUUID(id) + `"}`)
}

func isNull(v json.RawMessage) bool { return len(v) == 0 || string(v) == "null" }

// badText says why the server would refuse a text for good; "" if it would not.
func badText(s string) string {
	switch {
	case utf8.RuneCountInString(s) > 255:
		return "length must be equal or less than 255"
	case strings.ContainsAny(s, "\x00<>"):
		return "is malformed"
	}
	return ""
}

// same reports whether two texts are the same JSON, apart from blanks and order.
func same(a, b json.RawMessage) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return bytes.Equal(p, q)
}
